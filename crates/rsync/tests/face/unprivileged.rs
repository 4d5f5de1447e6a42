//! What someone who is not the super-user may not do, and how that is told: with the real program and
//! with ours.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use driftless_testkit::output::normal;

use crate::side_by_side::{Bench, ours};

/// Who has no rights but his own.
const NOBODY: &str = "1000";

/// What a run of `program` in `here` says, in any order, and the tree that it leaves.
fn trace(here: &Path, program: &Path, words: &str) -> Vec<String> {
    let done = Command::new("timeout")
        .args(["60", "setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"])
        .arg(program)
        .args(words.split(' ').chain(["s/", "d"]))
        .current_dir(here)
        .output()
        .expect("this test needs the programs timeout and setpriv");
    let text = String::from_utf8_lossy(&[done.stdout, done.stderr].concat()).into_owned();
    let text = normal(&text.replace(here.to_str().unwrap(), "HERE"));
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let list = ["d", "-printf", "%p %y %m %U:%G %l\n"];
    let left = Command::new("find").args(list).current_dir(here).output().unwrap();
    lines.extend(String::from_utf8_lossy(&left.stdout).lines().map(str::to_owned));
    lines.sort_unstable();
    lines.push(format!("{:?}", done.status.code()));
    lines
}

/// Runs `rsync` with these words on `s/` and `d`, which the script makes and gives away in parts.
#[track_caller]
fn check(trees: &str, words: &str) {
    let bench = Bench::new(|root| {
        let done = Command::new("bash").args(["-ec", trees]).current_dir(root).status().unwrap();
        assert!(done.success(), "{trees}");
    });
    fs::set_permissions(bench.copy(""), fs::Permissions::from_mode(0o755)).unwrap();
    let theirs = trace(&bench.copy("theirs"), Path::new("rsync"), words);
    let ours = trace(&bench.copy("ours"), &ours(), words);
    assert_eq!(theirs, ours, "rsync {words}");
}

#[test]
fn what_may_not_be_made_or_removed_is_told_of() {
    let trees = "mkdir -p s/a s/b/n d/a/x/y d/b; echo 1 > s/a/new; ln -s l s/a/l; mkfifo s/a/p
        touch d/a/x/f d/a/x/y/g s/b/n/f; touch -d @1000000000 s/a s/b s; chown -R 1000:1000 .
        chown root d/a d/b d/a/x";
    for words in ["-ri --delete", "-rlDi", "-rtpi --delete-after"] {
        check(trees, words);
    }
}

#[test]
fn a_file_that_may_not_get_its_name_is_told_of() {
    let trees = "mkdir -p s d; echo 12 > s/f; echo 1 > d/f; touch -d @1000000000 s/f s
        chown -R 1000:1000 .; chown 0 d d/f; chmod 1777 d";
    for words in ["-ai", "-ai --delay-updates", "-ai --partial-dir=p", "-ai --inplace"] {
        check(trees, words);
    }
}

#[test]
fn attributes_that_may_not_be_set_are_named() {
    let trees = "mkdir -p s/a/q d/a/q s/new; chmod 700 s/a/q; echo 1 | tee s/g d/g > d/f
        echo 2 > s/h; echo 3 > s/f; chmod 600 s/g s/f; ln -s l s/l; ln -s l d/l; mkfifo s/p d/p
        touch -d @1000000000 s/a s/new s/f s/g s/h s/p s d/g; chown -R 1000:1000 .
        chown -h root d/a d/a/q d/g d/l d/p; chmod 777 d";
    for words in ["-ai", "-ai --super", "-ai --super --chown=7:9"] {
        check(trees, words);
    }
}
