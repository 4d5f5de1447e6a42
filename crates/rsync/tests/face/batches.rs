//! Batch files: those of either program are applied by the other, and all that is said about them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use driftless_testkit::compare::{CompareOptions, differences};
use driftless_testkit::peer::{Module, RsyncDaemon};
use driftless_testkit::plant::executable;

use crate::side_by_side::{Bench, Cast, ours, plant, settle};

fn stock() -> PathBuf {
    PathBuf::from("rsync")
}

fn command(program: &Path, folder: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command
        .args(words)
        .current_dir(folder)
        .env("RSYNC_RSH", format!("sh {}", folder.join("shell").display()))
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .stdin(Stdio::null());
    command
}

#[track_caller]
fn succeeds(program: &Path, folder: &Path, words: &[&str]) {
    let output = command(program, folder, words).output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {}: {text}", program.display(), words.join(" "));
}

/// A source with contents of all sorts, and an `old` version of it.
fn versions() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    plant(root);
    let shell = root.join("shell");
    executable(&shell, "#!/bin/sh\nshift\nexec \"$@\"\n");
    let lines = |skipped: usize| -> String {
        (0..4000).filter(|n| *n != skipped).map(|n| format!("line {n}\n")).collect()
    };
    for (path, skipped) in [("s/large", 5000), ("d/large", 1500), ("s/new/large", 5000)] {
        fs::write(root.join(path), lines(skipped)).unwrap();
    }
    let attribute = |path: &str, value: &str| {
        let status = Command::new("setfattr")
            .args(["-n", "user.note", "-v", value, path])
            .current_dir(root)
            .status()
            .expect("setfattr is installed");
        assert!(status.success());
    };
    attribute("s/perm", &"long ".repeat(40));
    attribute("d/perm", "other");
    attribute("s/new/inner", &"longer ".repeat(40));
    settle(root);
    fs::rename(root.join("d"), root.join("old")).unwrap();
    folder
}

fn copy_of_old(folder: &Path, name: &str) {
    let _ = fs::remove_dir_all(folder.join(name));
    let status = Command::new("cp").args(["-a", "old", name]).current_dir(folder).status();
    assert!(status.expect("cp is installed").success());
}

/// Sets of options that a record depends on. The same ones read it.
pub const SETS: &[&str] = &[
    "-a",
    "-aH",
    "-aHAXz",
    "-acz",
    "-a --no-i-r",
    "-aHX --delete",
    "-a --delete-after",
    "-aX --no-i-r --delete-before",
    "-a --inplace",
    "-aHz --protocol=30",
    "-aHz --protocol=29",
    "-aHX --protocol=31",
    "-aU",
    "-ay",
    "-aW",
    "-aS",
    "-aH --numeric-ids",
    "-a --append-verify",
    "-az --zc=zlib --zl=1",
    "-ac --cc=md5",
    "-a --delete --exclude=*.o",
    "-aF --delete-excluded --filter=-!_*e*",
    "-am --delay-updates",
];

const ROUTES: [[&str; 2]; 3] = [["s/", "d/"], ["s/", "h:d/"], ["h:s/", "d/"]];

#[track_caller]
fn same_trees(folder: &Path, set: &str) {
    let options = CompareOptions { hard_links: set.contains('H'), ..CompareOptions::default() };
    let found = differences(&folder.join("d"), &folder.join("e"), &options).unwrap();
    assert!(found.is_empty(), "{set}\n{}", found.join("\n"));
}

#[test]
fn files_of_either_program_are_applied_by_the_other() {
    let full = std::env::var_os("DRIFTLESS_FULL").is_some();
    let folder = versions();
    let root = folder.path();
    for (at, set) in SETS.iter().enumerate() {
        let set: Vec<String> = set.split(' ').map(|word| word.replace('_', " ")).collect();
        let set: Vec<&str> = set.iter().map(String::as_str).collect();
        for (number, route) in ROUTES.iter().enumerate() {
            // A third of them, all with DRIFTLESS_FULL in the environment.
            if !full && (at + number) % 3 != 0 {
                continue;
            }
            for (writer, reader) in [(stock(), ours()), (ours(), stock()), (ours(), ours())] {
                copy_of_old(root, "d");
                let words = [&set[..], &["--write-batch=B"], &route[..]].concat();
                succeeds(&writer, root, &words);
                copy_of_old(root, "e");
                succeeds(&reader, root, &[&set[..], &["--read-batch=B", "e/"]].concat());
                same_trees(root, &format!("{} {route:?}", set.join(" ")));
            }
        }
    }
}

#[test]
fn what_travels_to_and_from_a_daemon_is_recorded() {
    let folder = versions();
    let root = folder.path();
    let served = root.join("served");
    fs::create_dir(&served).unwrap();
    let daemon = RsyncDaemon::start(&[
        Module::book("source").anonymous().chroot().at(&root.join("s")).set("read only", "yes"),
        Module::book("served").anonymous().chroot().at(&served),
    ]);
    let url = |module: &str| format!("rsync://127.0.0.1:{}/{module}/", daemon.port());
    for (writer, reader) in [(stock(), ours()), (ours(), stock())] {
        copy_of_old(root, "d");
        succeeds(&writer, root, &["-aHz", "--delete", "--write-batch=B", &url("source"), "d/"]);
        copy_of_old(root, "e");
        succeeds(&reader, root, &["-aHz", "--delete", "--read-batch=B", "e/"]);
        same_trees(root, "-aHz pulled");
        let _ = fs::remove_dir_all(root.join("e"));
        succeeds(&writer, root, &["-aH", "--delete", "--write-batch=B", "s/", &url("served")]);
        let words = ["-aH", "--delete", "--exclude=/d", "--read-batch=B", "e/"];
        succeeds(&reader, root, &words);
        let found = differences(&root.join("s"), &root.join("e"), &CompareOptions::default());
        assert_eq!(found.unwrap(), Vec::<String>::new());
        fs::remove_dir_all(&served).unwrap();
        fs::create_dir(&served).unwrap();
    }
}

#[test]
fn standard_input_and_pipes_are_read() {
    let folder = versions();
    let root = folder.path();
    copy_of_old(root, "d");
    succeeds(&stock(), root, &["-aH", "--write-batch=B", "s/", "d/"]);
    for piped in [false, true] {
        copy_of_old(root, "e");
        let mut reader = command(&ours(), root, &["-aH", "--read-batch=-", "e/"]);
        if piped {
            let mut cat = Command::new("cat");
            let mut cat = cat.arg(root.join("B")).stdout(Stdio::piped()).spawn().unwrap();
            assert!(reader.stdin(cat.stdout.take().unwrap()).status().unwrap().success());
            assert!(cat.wait().unwrap().success());
        } else {
            reader.stdin(fs::File::open(root.join("B")).unwrap());
            assert!(reader.status().unwrap().success());
        }
        same_trees(root, "-aH");
    }
}

/// Command lines that write `B` and its script.
const SCRIPTS: &[&str] = &[
    "-a --write-batch=B s/ d/",
    "-a --write-batch B s/ d/",
    "-a --only-write-batch=B s/ h:d",
    "-a --write-batch=B h:s/ d",
    "-a --write-batch=B -f -_x s/ d/",
    "-af-_x --write-batch=B s/ d/",
    "-a --write-batch=B --exclude x --include y_z s/ d/",
    "-a --write-batch=B --exclude-from=rules s/ d/",
    "-aCF --write-batch=B --include-from rules s/ d/",
    "-aFF --write-batch=B s/ d/",
    "-a --write-batch=B -f -!_*/ -f P_keep -f H_hide -f S_a -f R_r -f :n-_.m -f ._rules s/ d/",
    "-a --write-batch=B --delete-excluded --exclude=q s/ d/",
    "-ab --delete --write-batch=B s/ d/",
    "-a --write-batch=B --suffix=it's -b -T/tmp --partial-dir=p -s s/ d_it's",
    "--write-batch=B -a s/ -v --out-format=%n -- d/",
    "--write-batch=B s/",
    "-a0 --files-from=list --write-batch=B s/ d/",
];

#[test]
fn scripts_are_those_of_the_original_and_apply_the_record() {
    for line in SCRIPTS {
        let words: Vec<String> = line.split(' ').map(|word| word.replace('_', " ")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let folder = versions();
        let root = folder.path();
        fs::write(root.join("rules"), "- *.o\n+ t_*\n").unwrap();
        fs::write(root.join("list"), "fresh\0").unwrap();
        let mut found = Vec::new();
        for program in [stock(), ours()] {
            copy_of_old(root, "d");
            succeeds(&program, root, &words);
            let text = fs::read_to_string(root.join("B.sh")).unwrap();
            let name = format!("'{}'", ours().display());
            let mode = |name: &str| fs::metadata(root.join(name)).unwrap().permissions().mode();
            assert_eq!([mode("B"), mode("B.sh")], [0o100_600, 0o100_700], "{line}");
            found.push(text.replace(&name, "'rsync'"));
            fs::remove_file(root.join("B")).unwrap();
            if program == stock() {
                fs::remove_file(root.join("B.sh")).unwrap();
            }
        }
        assert_eq!(found[1], found[0], "{line}");
    }
    let folder = versions();
    let root = folder.path();
    copy_of_old(root, "d");
    succeeds(&ours(), root, &["-aH", "--delete", "--exclude=*.o", "--write-batch=B", "s/", "d/"]);
    copy_of_old(root, "e");
    let status = command(Path::new("sh"), root, &["B.sh", "e/"]).status().unwrap();
    assert!(status.success());
    same_trees(root, "-aH");
}

#[track_caller]
fn check(plant: impl Fn(&Path), lines: &[&str]) {
    let mut wrong = Vec::new();
    for line in lines {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let found = Bench::new(&plant).compare(Cast::Client, &words);
        if !found.is_empty() {
            wrong.push(format!("rsync {line}\n{}", found.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n\n"));
}

/// Writing, and reading what the original wrote with `-aH`.
pub const LINES: &[&str] = &[
    "-aHi --write-batch=B s/ d",
    "-aHv --stats --write-batch=B s/ d",
    "-av --only-write-batch=B s/ d",
    "-ai --only-write-batch=B s/ h:d",
    "-ai --only-write-batch=B h:s/ d",
    "-ain --write-batch=B s/ d",
    "-aHi --read-batch=P d",
    "-aHii --read-batch=P d",
    "-aH --stats --read-batch=P d",
    "-aHin --read-batch=P d",
    "-ai --read-batch=P d",
    "-aHivb --backup-dir=b --read-batch=P d",
    "-aHivzcAX --inplace --read-batch=P d",
    "-v --read-batch=P d",
    "-aHv --no-i-r --read-batch=P d",
    "-aH --delete-after --read-batch=P d",
    "-aH --delete --read-batch=P d",
    "-aH --iconv=utf-8,latin1 --read-batch=P d",
    "-a --protocol=30 --read-batch=P d",
    "-a --read-batch=nosuch d",
    "-a --read-batch=s d",
    "-a --read-batch=empty d",
    "-a --read-batch= d",
    "-a --read-batch=P h:d",
    "-a --read-batch=P --files-from=x d",
    "-a --read-batch=P --remove-source-files d",
    "-a --read-batch=P --only-write-batch=Q s d",
    "-a --write-batch=/no/such s/ d",
    "-a --write-batch=s s/ d",
    "-a --write-batch= s/ d",
];

#[test]
fn what_is_said_of_batch_files_is_what_the_original_says() {
    let plant = |root: &Path| {
        plant(root);
        succeeds(&stock(), root, &["-aH", "--only-write-batch=P", "s/", "d/"]);
        fs::write(root.join("empty"), "").unwrap();
    };
    check(plant, LINES);
}

#[test]
fn a_record_skips_what_is_there_already() {
    let plant = |root: &Path| {
        plant(root);
        succeeds(&stock(), root, &["-aH", "--write-batch=P", "s/", "d/"]);
    };
    check(plant, &["-aHi --read-batch=P d", "-aH --read-batch=P d", "-aHv --read-batch=P d"]);
}

#[test]
fn what_a_record_lacks_is_named() {
    // (Here the original waits for ever in most runs.)
    let folder = versions();
    let root = folder.path();
    copy_of_old(root, "d");
    succeeds(&stock(), root, &["-aH", "--write-batch=B", "s/", "d/"]);
    copy_of_old(root, "e");
    for name in ["equal", "same/unknown"] {
        fs::write(root.join("e").join(name), "other content").unwrap();
    }
    let output = command(&ours(), root, &["-aH", "--read-batch=B", "e/"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(23), "{text}");
    assert_eq!(text.lines().next(), Some("(No batched update for \"equal\")"));
    assert_eq!(fs::read_to_string(root.join("e/equal")).unwrap(), "other content");
    assert_eq!(fs::read(root.join("e/large")).unwrap(), fs::read(root.join("s/large")).unwrap());
}

#[test]
fn a_record_for_another_version_changes_nothing() {
    let folder = versions();
    let root = folder.path();
    copy_of_old(root, "d");
    succeeds(&stock(), root, &["-a", "--write-batch=B", "s/", "d/"]);
    copy_of_old(root, "e");
    fs::write(root.join("e/large"), "neither version\n".repeat(3000)).unwrap();
    let output = command(&ours(), root, &["-ai", "--read-batch=B", "e/"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(23), "{text}");
    assert!(text.contains("large failed verification -- update discarded"), "{text}");
    assert!(text.contains("(No batched update for \"large\")"), "{text}");
    assert!(fs::read_to_string(root.join("e/large")).unwrap().starts_with("neither"));
    // Everything else came, and no temporary file is left.
    fs::copy(root.join("d/large"), root.join("e/large")).unwrap();
    let names = |dir: &str| {
        let mut names: Vec<_> =
            fs::read_dir(root.join(dir)).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names("e"), names("d"));
    // Without any version there is nothing to build on.
    let words = ["-a", "--read-batch=B", "fresh/"];
    let output = command(&ours(), root, &words).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(text.contains("got a block match with no basis file for"), "{text}");
    assert_eq!(output.status.code(), Some(2), "{text}");
}

#[test]
fn choices_that_a_record_cannot_have_are_refused() {
    let folder = versions();
    let root = folder.path();
    copy_of_old(root, "d");
    for choice in ["--cc=xxh64", "--zc=zstd", "-zz", "--cc=md5,md4"] {
        for route in ROUTES {
            let words = [&["-ac", choice, "--write-batch=B"], &route[..]].concat();
            let output = command(&ours(), root, &words).output().unwrap();
            let text = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(4), "{choice}: {text}");
            assert!(text.contains("cannot be used in a batch file"), "{text}");
            assert!(!root.join("B").exists() && !root.join("B.sh").exists());
        }
    }
}

#[test]
fn links_of_others_do_not_lead_to_a_batch_file() {
    let folder = versions();
    let root = folder.path();
    copy_of_old(root, "d");
    fs::write(root.join("victim"), "precious").unwrap();
    for name in ["B", "B.sh"] {
        let link = root.join(name);
        std::os::unix::fs::symlink("victim", &link).unwrap();
        std::os::unix::fs::lchown(&link, Some(12345), None).unwrap();
        let words = ["-a", "--write-batch=B", "s/", "d/"];
        let output = command(&ours(), root, &words).output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains("Too many levels"), "{text}");
        assert_eq!(fs::read_to_string(root.join("victim")).unwrap(), "precious");
        for left in ["B", "B.sh"] {
            let _ = fs::remove_file(root.join(left));
        }
    }
}
