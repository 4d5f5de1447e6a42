//! We push to a stock server.

use std::fs;
use std::path::Path;

use crate::support::{Place, Program};

#[test]
fn every_protocol_version_carries_every_kind_of_file() {
    let place = Place::with_trees();
    for protocol in ["--protocol=29", "--protocol=30", "--protocol=31", "--protocol=32"] {
        place.same_push(&["-aH", protocol], &["src/"]);
        place.same_push(&["-aH", "--no-inc-recursive", protocol], &["src", "other"]);
        place.same_push(&["-acz", protocol], &["src/", "other/"]);
        place.same_push(&["-aR", protocol], &["src/./a/b", "src/f", "src/a/g"]);
    }
}

#[test]
fn links_rules_and_lists_of_names_decide_what_is_sent() {
    let place = Place::with_trees();
    for options in [
        &["-aL"][..],
        &["-ak"],
        &["-a", "--copy-unsafe-links"],
        &["-a", "--safe-links"],
        &["-aFF"],
        &["-aC"],
        &["-a", "--exclude=*.tmp", "--include=b/", "--exclude=/a/*"],
        &["-d"],
        &["-r"],
        &["-a", "--chmod=F600,Du+w"],
        &["-aXA"],
        &["-as"],
        &["-a", "--numeric-ids"],
        &["-ax"],
        &["-axx"],
    ] {
        place.same_push(options, &["src/"]);
    }
    for options in [
        &["-a", "--files-from=list"][..],
        &["-ar", "--files-from=list"],
        &["-a", "--files-from=list0", "-0"],
        &["-a", "--files-from=:list"],
        &["-a", "--files-from=:list", "--protocol=31"],
        &["-a", "--files-from=:list", "--protocol=30"],
        &["-a", "--files-from=:list", "--protocol=29"],
    ] {
        place.same_push(options, &["src"]);
    }
    place.same_push(&["-a"], &["src/missing", "nodir/x", "src/f"]);
    place.same_push(&["-a", "--ignore-missing-args"], &["src/missing", "src/f"]);
}

#[test]
fn the_server_deletes_by_the_clients_rules() {
    let place = Place::with_trees();
    let prepare = |to: &Path| {
        fs::create_dir_all(to.join("a/b")).unwrap();
        for name in ["zz", "a/y.tmp", "a/b/k", "gone"] {
            fs::write(to.join(name), "").unwrap();
        }
    };
    for options in [
        &["-rl", "--delete"][..],
        &["-rl", "--delete", "--exclude=*.tmp"],
        &["-rl", "--delete-excluded", "--exclude=*.tmp"],
        &["-rl", "--delete-after"],
        &["-rl", "--delete", "-FF"],
        &["-rlm", "--exclude=*.tmp"],
        &["-rL", "--delete"],
        &["-rl", "--delete", "--protocol=29"],
        &["-rl", "--delete", "--max-delete=1"],
    ] {
        place.same_push_into(options, &["src/"], prepare);
    }
    place.same_push_into(&["-r", "--delete-missing-args"], &["src/gone", "src/f"], prepare);
}

#[test]
fn content_goes_as_blocks_appended_and_in_place() {
    let place = Place::with_trees();
    let big = fs::read(place.path("src/a/b/big")).unwrap();
    let prepare = |to: &Path| {
        fs::create_dir_all(to.join("a/b")).unwrap();
        let moved = [b"head", &big[1000..200_000], b"tail", &big[..50_000]].concat();
        fs::write(to.join("a/b/big"), moved).unwrap();
        fs::write(to.join("a/b/big.old"), &big[..200_000]).unwrap();
    };
    for options in [
        &["-rl", "--inplace"][..],
        &["-rl", "--fuzzy"],
        &["-rlz"],
        &["-rlz", "--zc=zlib", "--inplace"],
        &["-rl", "--partial-dir=.p"],
        &["-rl", "--delay-updates"],
        &["-rl", "--cc=none"],
        &["-rlW"],
    ] {
        place.same_push_into(options, &["src/"], prepare);
        assert!(fs::read(place.path("ours/a/b/big")).unwrap() == big, "{options:?}");
    }
}

#[test]
fn long_text_is_compressed_by_several_threads_and_understood() {
    let place = Place::new();
    fs::create_dir(place.path("src")).unwrap();
    let text = b"a line of text that repeats itself\n".repeat(1_000_000);
    for (name, len) in [("a", 1000), ("b", text.len()), ("c", 70_000), ("d", text.len()), ("e", 9)]
    {
        fs::write(place.path("src").join(name), &text[..len]).unwrap();
    }
    place.same_push(&["-rlz", "--zc=zstd"], &["src/"]);
    place.same_pull(&["-rlz", "--zc=zstd"], &["src/"]);
}

#[test]
fn confirmed_sources_are_removed_and_changed_ones_stay() {
    for program in [Program::Stock, Program::Ours] {
        let place = Place::with_trees();
        let output = place.push(program, &["-a", "--remove-source-files"], &["other/"], "to");
        assert!(output.status.success());
        let left = driftless_testkit::compare::names(&place.path("other")).unwrap();
        assert_eq!(left, [&b""[..], b"a", b"a/b", b"z"].map(<[u8]>::to_vec), "{program:?}");
    }
}

#[test]
fn a_dry_run_changes_nothing() {
    let place = Place::with_trees();
    place.same_push(&["-an"], &["src/"]);
    assert_eq!(driftless_testkit::compare::names(&place.path("ours")).unwrap(), [b""]);
}

#[test]
fn a_shell_that_cannot_be_started_is_told() {
    let place = Place::with_trees();
    let mut command = std::process::Command::new(crate::support::role());
    command.args(["-a", "-e", "./no-such-shell", "src/", "h:to/"]);
    let output = place.run(&command);
    assert_eq!(output.status.code(), Some(14));
    assert!(String::from_utf8_lossy(&output.stderr).contains("cannot start ./no-such-shell"));
}

#[test]
fn a_recorded_session_is_played_by_the_real_program() {
    let place = Place::with_trees();
    let prepare = |to: &Path| {
        fs::create_dir_all(to.join("a/b")).unwrap();
        fs::write(to.join("a/b/big"), "old").unwrap();
    };
    for option in ["--write-batch=batch", "--only-write-batch=batch"] {
        for more in [&["-aH"][..], &["-aH", "--no-inc-recursive"], &["-a", "--inplace"]] {
            for to in ["pushed", "played"] {
                let _ = fs::remove_dir_all(place.path(to));
                fs::create_dir(place.path(to)).unwrap();
                prepare(&place.path(to));
            }
            let options = [more, &[option, "--checksum-choice=md5"]].concat();
            let output = place.push(Program::Ours, &options, &["src/"], "pushed");
            assert!(output.status.success(), "{options:?} {output:?}");
            let mut play = std::process::Command::new("rsync");
            play.args(more).args(["--read-batch=batch", "played/"]);
            let output = place.run(&play);
            assert!(output.status.success(), "{options:?} {output:?}");
            let same = driftless_testkit::compare::CompareOptions::default();
            let differs = |to: &str| {
                driftless_testkit::compare::differences(&place.path("src"), &place.path(to), &same)
                    .unwrap()
            };
            assert_eq!(differs("played"), [] as [&str; 0], "{options:?}");
            assert_eq!(differs("pushed").is_empty(), option == "--write-batch=batch");
        }
    }
}
