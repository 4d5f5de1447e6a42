//! Random trees survive the way.

use std::fs;

use driftless_testkit::arb::Ops;
use driftless_testkit::compare::{CompareOptions, differences};

use crate::support::{Place, Program, age};

#[test]
fn random_trees_arrive_in_both_directions() {
    let seed = Ops::seed_from_environment();
    let place = Place::new();
    for name in ["src", "outside", "pulled", "pushed"] {
        fs::create_dir(place.path(name)).unwrap();
    }
    let mut ops = Ops::new(seed, &place.path("src"), &place.path("outside"));
    let option_sets: [&[&str]; 4] = [
        &["-aH", "--delete"],
        &["-aH", "--delete", "--no-inc-recursive"],
        &["-aHc", "--delete", "--protocol=31"],
        &["-aHz", "--delete-after", "-I"],
    ];
    let compare = CompareOptions { hard_links: true, ..CompareOptions::default() };
    for options in option_sets.into_iter().cycle().take(12) {
        ops.burst(60);
        age(&place.path("src"));
        let pull = place.pull(Program::Ours, &[options, &["-I"]].concat(), &["src/"], "pulled");
        assert!(pull.status.success(), "{options:?} {pull:?}\n{}", ops.report(&[]));
        let push = place.push(Program::Ours, &[options, &["-I"]].concat(), &["src/"], "pushed");
        assert!(push.status.success(), "{options:?} {push:?}\n{}", ops.report(&[]));
        for to in ["pulled", "pushed"] {
            let found = differences(&place.path("src"), &place.path(to), &compare).unwrap();
            assert!(found.is_empty(), "{options:?} {to}\n{found:?}\n{}", ops.report(&[]));
        }
    }
}

#[test]
fn many_directories_stay_ahead_of_the_receiving_side() {
    let place = Place::new();
    for dir in 0..150 {
        let folder = place.path(&format!("src/{:02}/{dir}", dir % 12));
        fs::create_dir_all(&folder).unwrap();
        for file in 0..25 {
            fs::write(folder.join(format!("{file}")), format!("{dir} {file}")).unwrap();
        }
    }
    age(&place.path("src"));
    place.same_pull(&["-aH"], &["src/"]);
    place.same_push(&["-aH"], &["src"]);
    place.same_pull(&["-a", "--timeout=20"], &["src/"]);
}

#[test]
fn names_are_converted_on_the_way() {
    use std::os::unix::ffi::OsStrExt;
    let place = Place::new();
    let latin = |name: &[u8]| place.path("src").join(std::ffi::OsStr::from_bytes(name));
    fs::create_dir_all(latin(b"gr\xfc\xdfe/\xe4")).unwrap();
    for name in [&b"gr\xfc\xdfe/\xf6"[..], b"gr\xfc\xdfe/z", b"\xe9t\xe9", b"b"] {
        fs::write(latin(name), name).unwrap();
    }
    std::os::unix::fs::symlink(std::ffi::OsStr::from_bytes(b"\xe9t\xe9"), latin(b"l")).unwrap();
    age(&place.path("src"));
    for more in [&["-a"][..], &["-aH", "--no-inc-recursive"]] {
        place.same_pull(&[more, &["--iconv=utf8,latin1"]].concat(), &["src/"]);
        assert!(place.path("ours/grüße/ö").exists());
        place.same_push(&[more, &["--iconv=latin1,utf8"]].concat(), &["src/"]);
        assert!(place.path("ours/été").exists());
    }
    // What the other side has no form for is left out, and told.
    fs::write(place.path("src/日"), "x").unwrap();
    place.same_push(&["-a", "--iconv=ascii,utf8"], &["src/"]);
}
