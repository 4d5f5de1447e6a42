//! A stock client pulls from our server role.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::support::{Place, Program};

const PROTOCOLS: [&str; 4] = ["--protocol=29", "--protocol=30", "--protocol=31", "--protocol=32"];

#[test]
fn every_protocol_version_carries_every_kind_of_file() {
    let place = Place::with_trees();
    for protocol in PROTOCOLS {
        place.same_pull(&["-aH", protocol], &["src/"]);
        place.same_pull(&["-aH", "--no-inc-recursive", protocol], &["src"]);
        place.same_pull(&["-rlt", protocol], &["src/"]);
        place.same_pull(&["-ac", protocol], &["src/"]);
        place.same_pull(&["-az", protocol], &["src/"]);
    }
}

#[test]
fn arguments_give_the_names_that_rsync_gives_them() {
    let place = Place::with_trees();
    for sources in [
        &["src"][..],
        &["src/."],
        &["src/f", "other/f", "src/a"],
        &["src", "other"],
        &["src/", "other/"],
        &["other/", "src/", "src/a/"],
        &["src/dl"],
        &["src/dl/"],
        &["src/sp\\ ace/s\\ p"],
        &["src/a", "src//a/b/"],
    ] {
        place.same_pull(&["-a"], sources);
        place.same_pull(&["-a", "--no-inc-recursive"], sources);
    }
}

#[test]
fn relative_arguments_bring_their_parents() {
    let place = Place::with_trees();
    for sources in [
        &["src/a/b"][..],
        &["src/./a/b", "src/f", "src/a"],
        &["src/./a/b/big", "src/a/g", "other/./a/n"],
        &["./src/f", "src/././a"],
        &["src/a/b/"],
    ] {
        place.same_pull(&["-aR"], sources);
        place.same_pull(&["-aR", "--no-inc-recursive"], sources);
        // What is made on the way has no times of its own then.
        place.same_pull(&["-rlpR", "--no-implied-dirs"], sources);
        place.same_pull(&["-rlpR", "--no-implied-dirs", "--no-inc-recursive"], sources);
        place.same_pull(&["-rlpR", "--no-implied-dirs", "--protocol=29"], sources);
        place.same_pull(&["-aR", "--protocol=29"], sources);
    }
}

#[test]
fn directories_without_recursion_are_listed_or_skipped() {
    let place = Place::with_trees();
    place.same_pull(&["-d"], &["src/"]);
    place.same_pull(&["-d"], &["src", "src/a/"]);
    place.same_pull(&["-lpt"], &["src/", "src/f", "src/l", "src/a"]);
    place.same_pull(&["-dR"], &["src/a/"]);
}

#[test]
fn links_are_kept_or_followed_as_asked() {
    let place = Place::with_trees();
    for option in ["-l", "-L", "-k", "--copy-unsafe-links", "--safe-links", "--munge-links"] {
        place.same_pull(&["-a", option], &["src/"]);
    }
    place.same_pull(&["-r"], &["src/"]);
    place.same_pull(&["-aRk"], &["src/dl/b"]);
}

#[test]
fn rules_hide_names_from_the_transfer() {
    let place = Place::with_trees();
    for options in [
        &["-a", "-F"][..],
        &["-a", "-FF"],
        &["-a", "-C"],
        &["-a", "--exclude=*.tmp", "--include=b/", "--exclude=/a/*"],
        &["-a", "--filter=dir-merge .rsync-filter"],
        &["-a", "--filter=hide g"],
    ] {
        place.same_pull(options, &["src/"]);
    }
    place.same_pull(&["-a", "--exclude=a"], &["src", "src/a"]);
    place.same_pull(&["-aR", "--exclude=/src/a/b"], &["src/a/b", "src/a/g"]);
}

#[test]
fn names_come_from_a_file_of_either_side() {
    let place = Place::with_trees();
    for options in [
        &["-a", "--files-from=list"][..],
        &["-ar", "--files-from=list"],
        &["-a", "--files-from=:list"],
        &["-ar", "--files-from=:list"],
        &["-a", "--files-from=list0", "-0"],
        &["-a", "--files-from=:list0", "-0"],
        &["-a", "--files-from=:list", "--no-relative"],
        &["-a", "--files-from=list", "--protocol=31"],
        &["-a", "--files-from=list", "--protocol=30"],
        &["-a", "--files-from=list", "--protocol=29"],
    ] {
        place.same_pull(options, &["src"]);
    }
}

#[test]
fn a_missing_source_is_told_or_deleted() {
    let place = Place::with_trees();
    let prepare = |to: &Path| fs::write(to.join("gone"), "x").unwrap();
    for option in ["-v", "--ignore-missing-args", "--delete-missing-args"] {
        place.same_pull_into(&["-a", option], &["src/gone", "src/f"], prepare);
        place.same_pull(&["-a", option], &["nodir/x", "src/f"]);
    }
    place.same_pull(&["-a"], &["src/gone"]);
}

#[test]
fn attributes_travel_with_their_caches() {
    let place = Place::with_trees();
    decorate(&place.path("src"));
    for options in [
        &["-aX"][..],
        &["-aA"],
        &["-aHAX"],
        &["-aHAX", "--no-inc-recursive"],
        &["-aHAX", "--protocol=31"],
        &["-aAX", "--protocol=30"],
        &["-aAX", "--numeric-ids"],
        &["-aAXU"],
        &["-aX", "-f-x user.k"],
    ] {
        place.same_pull(options, &["src/"]);
        assert_eq!(
            attributes(&place.path("ours")),
            attributes(&place.path("stock")),
            "{options:?}"
        );
    }
}

fn decorate(src: &Path) {
    let long = "z".repeat(200);
    for (name, attribute, value) in [
        ("f", "user.k", "v"),
        ("f", "user.long", long.as_str()),
        ("a/g", "user.k", "v"),
        ("a/b/big", "user.long", long.as_str()),
        ("a", "user.d", "1"),
    ] {
        rustix::fs::setxattr(
            src.join(name),
            attribute,
            value.as_bytes(),
            rustix::fs::XattrFlags::empty(),
        )
        .unwrap();
    }
    for (options, entry, name) in [
        ("-m", "u:1000:r-x,g:1001:rwx", "a"),
        ("-dm", "u:7:rwx", "a"),
        ("-m", "u:1000:rw-", "a/g"),
        ("-m", "u:1000:rw-", "x.tmp"),
    ] {
        let status = std::process::Command::new("setfacl")
            .args([options, entry])
            .arg(src.join(name))
            .status()
            .expect("this test needs the program setfacl (package acl)");
        assert!(status.success());
    }
}

fn attributes(tree: &Path) -> Vec<String> {
    let output = std::process::Command::new("getfattr")
        .args(["-Rhd", "-m", "-", "."])
        .current_dir(tree)
        .output()
        .expect("this test needs the program getfattr (package attr)");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut files: Vec<String> = text.split("\n\n").map(str::to_owned).collect();
    files.sort();
    files
}

#[test]
fn content_comes_as_blocks_appended_and_in_place() {
    let place = Place::with_trees();
    let big = fs::read(place.path("src/a/b/big")).unwrap();
    let prepare = |to: &Path| {
        fs::create_dir_all(to.join("a/b")).unwrap();
        let moved = [b"head", &big[1000..200_000], b"tail", &big[..50_000]].concat();
        fs::write(to.join("a/b/big"), moved).unwrap();
    };
    for options in [
        &["-a", "--no-W"][..],
        &["-a", "--no-W", "--inplace"],
        &["-az", "--zc=zstd"],
        &["-az", "--zc=lz4"],
        &["-az", "--zc=zlib"],
        &["-az", "--zc=zlibx"],
        &["-az", "--zc=zlib", "--inplace"],
        &["-a", "--cc=md5"],
        &["-a", "--cc=sha1"],
        &["-a", "--cc=none"],
        &["-a", "--protocol=29"],
        &["-a", "-B", "1000"],
        &["-a", "--checksum-seed=5"],
    ] {
        place.same_pull_into(options, &["src/"], prepare);
        assert!(fs::read(place.path("ours/a/b/big")).unwrap() == big, "{options:?}");
    }
    let prepare = |to: &Path| {
        fs::create_dir_all(to.join("a/b")).unwrap();
        fs::write(to.join("a/b/big"), &big[..1000]).unwrap();
        fs::write(to.join("f"), "h").unwrap();
        fs::write(to.join("x.tmp"), "longer").unwrap();
    };
    for options in [
        &["-a", "--append"][..],
        &["-a", "--append-verify"],
        &["-a", "--append", "--protocol=29"],
        &["-az", "--append"],
    ] {
        place.same_pull_into(options, &["src/"], prepare);
    }
    // A wrong start is found by the digest and repaired by a second round.
    let prepare = |to: &Path| fs::write(to.join("f"), "X").unwrap();
    place.same_pull_into(&["-a", "--append-verify"], &["src/f"], prepare);
}

#[test]
fn deletions_spare_what_could_not_be_listed() {
    let place = Place::with_trees();
    let prepare = |to: &Path| {
        fs::create_dir_all(to.join("a/b")).unwrap();
        for name in ["zz", "a/y.tmp", "a/b/k"] {
            fs::write(to.join(name), "").unwrap();
        }
    };
    for option in ["--delete", "--delete-before", "--delete-after", "--delete-delay"] {
        place.same_pull_into(&["-rl", option], &["src/"], prepare);
        place.same_pull_into(&["-rl", option, "--exclude=*.tmp"], &["src/"], prepare);
        place.same_pull_into(&["-rL", option], &["src/"], prepare);
    }
    for missing in ["nodir/x", "src/missing"] {
        place.same_pull_into(&["-rl", "--delete"], &[missing, "other/"], prepare);
    }
    let options = ["-rl", "--delete-excluded", "--exclude=*.tmp"];
    place.same_pull_into(&options, &["src/"], prepare);
}

#[test]
fn arguments_may_travel_in_the_stream() {
    let place = Place::with_trees();
    place.same_pull(&["-as"], &["src/sp ace/s p", "src/a"]);
}

#[test]
fn confirmed_sources_are_removed() {
    for program in [Program::Stock, Program::Ours] {
        let place = Place::with_trees();
        let output = place.pull(program, &["-a", "--remove-source-files"], &["other/"], "to");
        assert!(output.status.success());
        let left = driftless_testkit::compare::names(&place.path("other")).unwrap();
        assert_eq!(left, [&b""[..], b"a", b"a/b", b"z"].map(<[u8]>::to_vec), "{program:?}");
        assert_eq!(fs::read(place.path("to/a/n")).unwrap(), b"o2");
    }
}

#[test]
fn the_clients_texts_are_those_of_a_stock_server() {
    let place = Place::with_trees();
    for options in [
        &["-av"][..],
        &["-aiv", "--stats"],
        &["-aHiv", "--no-inc-recursive"],
        &["-anv"],
        &["-avm", "--max-size=1k"],
        &["--list-only", "-r"],
    ] {
        let mut texts = Vec::new();
        for (program, to) in [(Program::Stock, "x"), (Program::Ours, "x")] {
            let _ = fs::remove_dir_all(place.path(to));
            let output = place.pull(program, options, &["src/"], to);
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            let is_measured = |line: &str| {
                ["sent ", "total size is", "File list ", "Total bytes"]
                    .iter()
                    .any(|start| line.starts_with(start))
            };
            let lines = text.lines().filter(|line| !is_measured(line));
            texts.push(lines.map(str::to_owned).collect::<Vec<_>>());
        }
        assert_eq!(texts[1], texts[0], "{options:?}");
    }
}

#[test]
fn what_cannot_be_read_is_told_and_the_rest_is_sent() {
    let place = Place::with_trees();
    let shell = "#!/bin/sh\nshift\nexec setpriv --reuid 65534 --clear-groups sh -c \"$*\"\n";
    fs::write(place.path("sh"), shell).unwrap();
    // Everybody may pass, but not everybody may look.
    for (name, mode) in [("", 0o755), ("src/f", 0o600), ("src/a/b", 0o700), ("src/e", 0o711)] {
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    let root = place.path("src").display().to_string();
    let sources = [format!("{root}/"), format!("{root}/e/null"), format!("{root}/a/b/big")];
    let sources: Vec<&str> = sources.iter().map(String::as_str).collect();
    for options in [&["-rlpt"][..], &["-rlptc", "--no-inc-recursive"], &["-rlptX", "--delete"]] {
        place.same_pull_into(options, &sources, |to| fs::write(to.join("a-old"), "").unwrap());
    }
}

#[test]
fn a_client_is_told_why_it_is_left() {
    let place = Place::with_trees();
    fs::write(place.path("src/e/.rsync-filter"), "bogus rule\n").unwrap();
    for (options, source, text, code) in [
        (&["-aR"][..], "src/../other/f", "found \"..\" dir in relative path: src/../other/f", 1),
        (
            &["-a", "--files-from=:none"],
            "src",
            "failed to open files-from file none: No such file or directory",
            1,
        ),
        (&["-a", "--iconv=utf8,bogus"], "src/", "iconv_open(\"UTF-8\", \"bogus\") failed", 4),
        (&["-aF"], "src/", "Unknown filter rule: <rule from ", 1),
    ] {
        let output = place.pull(Program::Ours, options, &[source], "to");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{options:?} {said}");
        assert!(said.starts_with(text), "{options:?} {said}");
    }
}
