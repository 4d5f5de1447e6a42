//! A client takes the names it asked for, whatever their form, and no others. The hostile sender is
//! the real one, which the shell tells to send one more.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use driftless_testkit::peer::{Module, RsyncDaemon};
use driftless_testkit::plant::executable;

use crate::side_by_side::ours;

/// The folder with the source and the shell, which understands its words as a real one does.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("s/a/b")).unwrap();
    for name in ["a/b/f", "a/[n]", "f[1].txt", "f2.txt", "{z}", "p q", "x*y", "un", "c.c"] {
        fs::write(folder.path().join("s").join(name), name).unwrap();
    }
    let list = "a/./b/f\nf[1].txt\n/a/b\nx*y\n{z}\np q\n";
    fs::write(folder.path().join("list"), list).unwrap();
    let shell = folder.path().join("shell");
    executable(&shell, "#!/bin/sh\nshift\nexec sh -c \"$* $MORE\"\n");
    folder
}

/// What a client says of a pull, and the names it has made.
#[derive(Debug, PartialEq, Eq)]
struct Pulled {
    code: Option<i32>,
    refusals: Vec<String>,
    made: Vec<String>,
}

fn pull(program: &Path, folder: &Path, more: &str, words: &[String]) -> Pulled {
    let destination = folder.join("d");
    let _ = fs::remove_dir_all(&destination);
    let output = Command::new(program)
        .arg("-r")
        .args(words)
        .arg("d/")
        .current_dir(folder)
        .env("RSYNC_RSH", folder.join("shell"))
        .env("MORE", more)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let text = String::from_utf8_lossy(&output.stderr);
    let refusals = text.lines().filter(|line| line.contains("rejecting")).map(str::to_owned);
    let made = Command::new("find").arg(&destination).output().expect("find is installed");
    let mut made: Vec<String> =
        String::from_utf8_lossy(&made.stdout).lines().map(str::to_owned).collect();
    made.sort();
    Pulled { code: output.status.code(), refusals: refusals.collect(), made }
}

/// Compares a pull of the original with ours, which ends with `code`.
#[track_caller]
fn check(folder: &Path, more: &str, line: &str, code: i32) {
    let words: Vec<String> = line.split(' ').map(|word| word.replace('_', " ")).collect();
    let theirs = pull(Path::new("rsync"), folder, more, &words);
    let found = pull(&ours(), folder, more, &words);
    assert_eq!(found, theirs, "rsync {line}");
    assert_eq!(found.code, Some(code), "rsync {line}");
}

const ASKED: &[&str] = &[
    "h:s",
    "h:s/",
    "h:s/.",
    "h:s/a/b/f :s/un",
    "h:s//a",
    "h:s/f[1].txt",
    "h:s/f?.txt",
    "h:s/f[12].txt",
    "h:s/[[:alpha:]].c",
    "h:s/{z}",
    "h:s/p_q",
    "h:s/x\\*y",
    "h:s/*",
    "h:s/a/*",
    "h:s/*/b",
    "-R h:s/a/b",
    "-R h:./s/a/b/",
    "-R h:s/./a/b",
    "-R h:s/./*/b/f",
    "-R --no-implied-dirs h:s/a/b/f",
    "-s h:s/p_q",
    "-s h:s/f?.txt",
    "--old-args h:s/p\\_q",
    "--old-args h:s/un_s/c.c",
    "--files-from=list h:s",
    "--files-from=list --no-R h:s",
    "--files-from=:list h:s",
];

#[test]
fn names_of_all_forms_that_were_asked_for_are_taken() {
    let folder = folder();
    for line in ASKED {
        check(folder.path(), "", line, 0);
    }
}

#[test]
fn paths_in_a_module_are_those_asked_for() {
    let folder = folder();
    let daemon = RsyncDaemon::start(&[Module::book("m").anonymous().at(&folder.path().join("s"))]);
    let url = format!("rsync://127.0.0.1:{}/m", daemon.port());
    for line in [
        "URL",
        "URL/",
        "URL/a",
        "URL/f?.txt",
        "URL/f[1].txt",
        "URL/a/b/f URL/un",
        "-R URL/a/b",
        "-R URL/a/./b",
        "-R URL/*/b",
        "-s URL/p_q",
        "--files-from=list URL",
    ] {
        check(folder.path(), "", &line.replace("URL", &url), 0);
    }
}

#[test]
fn a_name_that_was_not_asked_for_is_rejected() {
    let folder = folder();
    for line in ["h:s/c.c", "h:s/a", "h:s/a/?", "h:s/f[1].txt", "h:s/{z}", "-R h:s/a/b"] {
        check(folder.path(), "s/un", line, 4);
    }
    let found = pull(&ours(), folder.path(), "s/un", &["h:s/c.c".to_owned()]);
    assert_eq!(found.refusals, ["ERROR: rejecting unrequested file-list name: un"]);
    assert!(found.made.is_empty());
}

#[test]
fn a_sender_that_is_trusted_may_list_anything() {
    let folder = folder();
    check(folder.path(), "s/un", "--trust-sender h:s/c.c", 0);
    check(folder.path(), "s/un", "--old-args h:s/c.c", 0);
}
