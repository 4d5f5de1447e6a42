//! What the original has no support for here is refused by name before anything is copied, at either
//! end.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use driftless_testkit::plant::executable;

use crate::side_by_side::ours;

/// A source, an empty destination and a shell.
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for dir in ["s", "d"] {
        fs::create_dir(folder.path().join(dir)).unwrap();
    }
    fs::write(folder.path().join("s/f"), "content").unwrap();
    let shell = folder.path().join("shell");
    executable(&shell, "#!/bin/sh\necho started >> started\nshift\nexec sh -c \"$*\"\n");
    folder
}

fn run(program: &Path, folder: &Path, words: &[String]) -> Output {
    Command::new(program)
        .args(words)
        .current_dir(folder)
        .env("RSYNC_RSH", folder.join("shell"))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .expect("the program starts")
}

fn words(more: &[&str], ends: [&str; 2]) -> Vec<String> {
    more.iter().chain(&["-a"]).chain(&ends).map(|word| (*word).to_owned()).collect()
}

fn copied(folder: &Path) -> bool {
    folder.join("d/f").exists()
}

const ROUTES: [[&str; 2]; 3] = [["s/", "h:d"], ["h:s/", "d"], ["s/", "d"]];

/// A real client, and our program as its server.
fn served(more: &[&str], ends: [&str; 2]) -> (bool, String) {
    let folder = folder();
    let mut all = vec![format!("--rsync-path={}", ours().display())];
    all.extend(words(more, ends));
    let output = run(Path::new("rsync"), folder.path(), &all);
    (copied(folder.path()), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn times_of_creation_are_refused_as_by_the_original() {
    for ends in ROUTES {
        let folder = folder();
        let line = words(&["-N"], ends);
        let [theirs, found] =
            [Path::new("rsync"), &ours()].map(|program| run(program, folder.path(), &line));
        assert_eq!(found.status.code(), theirs.status.code());
        let first = |output: &Output| {
            String::from_utf8_lossy(&output.stderr).lines().next().unwrap_or_default().to_owned()
        };
        assert_eq!(first(&found), first(&theirs));
        assert!(!copied(folder.path()));
    }
    let (copied, text) = served(&["-M-N"], ["s/", "h:d"]);
    assert!(!copied && text.contains("does not support --crtimes (-N)"), "{text}");
}
