//! Names in another character set, in both directions and at both ends, beside the original.

use std::fs;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use driftless_testkit::plant::executable;

use crate::side_by_side::{ours, settle};

/// Names that sort differently in the two character sets, below a directory that does, too.
fn plant(root: &Path, encode: fn(&str) -> Vec<u8>) {
    let path = |name: &str| root.join(std::ffi::OsString::from_vec(encode(name)));
    for dir in ["s", "s/\u{fc}ber", "s/zoo", "s/zoo/\u{e9}t\u{e9}", "d"] {
        fs::create_dir(path(dir)).unwrap();
    }
    for file in
        ["s/b\u{fc}", "s/ba", "s/bz", "s/\u{fc}ber/f", "s/zoo/\u{e9}t\u{e9}/g", "d/alt\u{e4}"]
    {
        fs::write(path(file), file).unwrap();
    }
    fs::hard_link(path("s/ba"), path("s/zoo/h\u{e4}rt")).unwrap();
    let target = std::ffi::OsString::from_vec(encode("b\u{fc}"));
    symlink(target, path("s/link")).unwrap();
    settle(root);
}

fn utf8(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(u32::from(c)).unwrap()).collect()
}

/// Everything below, with content or where it leads.
fn listed(dir: &Path, below: &mut Vec<(Vec<u8>, Vec<u8>)>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        let kind = fs::symlink_metadata(&path).unwrap().file_type();
        let content = match () {
            () if kind.is_symlink() => fs::read_link(&path).unwrap().into_os_string().into_vec(),
            () if kind.is_dir() => Vec::new(),
            () => fs::read(&path).unwrap(),
        };
        below.push((path.as_os_str().as_bytes().to_vec(), content));
        if kind.is_dir() {
            listed(&path, below);
        }
    }
}

/// Exit code, what was said, and the destination.
type Outcome = (Option<i32>, String, Vec<(Vec<u8>, Vec<u8>)>);

fn run(program: &Path, words: &[&str], encode: fn(&str) -> Vec<u8>) -> Outcome {
    let folder = tempfile::tempdir().unwrap();
    let root = folder.path();
    plant(root, encode);
    let shell = root.join("shell");
    executable(&shell, "#!/bin/sh\nshift\nexec \"$@\"\n");
    let output = Command::new(program)
        .args(words)
        .current_dir(root)
        // Through sh: a file that another thread had open for writing cannot be run for a moment.
        .env("RSYNC_RSH", format!("sh {}", shell.display()))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let mut below = Vec::new();
    listed(&root.join("d"), &mut below);
    let prefix = root.as_os_str().len() + 1;
    for (name, _) in &mut below {
        name.drain(..prefix);
    }
    below.sort();
    let mut said: Vec<&str> = std::str::from_utf8(&output.stdout).unwrap().lines().collect();
    // A client of the original converts these names a second time, in the wrong direction.
    said.retain(|line| !line.starts_with("*deleting"));
    said.sort_unstable();
    (output.status.code(), said.join("\n"), below)
}

const SETS: [&str; 4] = ["-aHi", "-aHi --no-i-r", "-aHi --delete", "-ac --protocol=30"];

#[test]
fn names_and_link_targets_arrive_in_the_other_character_set() {
    let server = format!("--rsync-path={}", ours().display());
    for set in SETS {
        for (route, far) in [(["s/", "h:d"], true), (["h:s/", "d"], true), (["s/", "d"], false)] {
            // What is told to the far end lies behind the comma.
            for (spec, encode) in [
                ("utf-8,latin1", utf8 as fn(&str) -> Vec<u8>),
                ("latin1,utf-8", if route[0] == "h:s/" { utf8 } else { latin1 }),
            ] {
                let encode =
                    if route[0] == "h:s/" && spec == "utf-8,latin1" { latin1 } else { encode };
                let spec = format!("--iconv={spec}");
                let words: Vec<&str> = set.split(' ').chain([spec.as_str()]).chain(route).collect();
                let theirs = run("rsync".as_ref(), &words, encode);
                let found = run(&ours(), &words, encode);
                assert_eq!(found, theirs, "{words:?}");
                if far {
                    let words = [&[server.as_str()], &words[..]].concat();
                    assert_eq!(run("rsync".as_ref(), &words, encode), theirs, "{words:?}");
                    assert_eq!(run(&ours(), &words, encode), theirs, "{words:?}");
                }
            }
        }
    }
}
