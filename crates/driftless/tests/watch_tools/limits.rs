//! The kernel's limits: the original's lines, then which setting, its value and a sufficient one.

use std::fs;
use std::process::{Command, Output};

use driftless_testkit::kernel::has_user_namespaces;

use super::support::{DRIFTLESS, starting};

/// Runs a tool where a setting of the user namespace is `value`.
fn limited(setting: &str, value: u32, program: &[&str], words: &[&str]) -> Output {
    let mut command = Command::new("unshare");
    command
        .args(["--user", "--map-root-user", "sh", "-c"])
        .arg(format!("echo {value} > /proc/sys/user/{setting} && exec \"$@\""))
        .arg("sh")
        .args(program)
        .args(words);
    starting(|| command.output()).unwrap()
}

/// Checks that ours says the original's lines and then `more`.
#[track_caller]
fn check(setting: &str, value: u32, tool: &str, words: &[&str], more: &str) {
    if !has_user_namespaces() {
        return;
    }
    let theirs = limited(setting, value, &[tool], words);
    let ours = limited(setting, value, &[DRIFTLESS, tool], words);
    let said = |output: &Output| String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(ours.status.code(), theirs.status.code());
    assert_eq!(ours.status.code(), Some(1));
    let (theirs, ours) = (said(&theirs), said(&ours));
    let rest = ours.strip_prefix(&theirs).unwrap_or_else(|| panic!("{ours}\n{theirs}"));
    assert!(rest.contains(more), "{rest}");
}

#[test]
fn too_few_watches() {
    let dir = tempfile::tempdir().unwrap();
    for number in 0..20 {
        fs::create_dir_all(dir.path().join(format!("{number}/sub"))).unwrap();
    }
    let path = dir.path().to_str().unwrap();
    let more = "this one has 10 watches and 31 more are needed. Try: sysctl -w fs.inotify.max_user_watches=";
    for tool in ["inotifywait", "inotifywatch"] {
        check("max_inotify_watches", 10, tool, &["-r", path], more);
    }
    check("max_inotify_watches", 10, "inotifywait", &["-r", "-q", path], more);
}

#[test]
fn too_few_instances() {
    for tool in ["inotifywait", "inotifywatch"] {
        check("max_inotify_instances", 0, tool, &["/tmp"], "fs.inotify.max_user_instances is ");
    }
}

#[test]
fn too_few_fanotify_groups_and_marks() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/b/c")).unwrap();
    let path = dir.path().to_str().unwrap();
    let groups = "fs.fanotify.max_user_groups is ";
    check("max_fanotify_groups", 0, "fsnotifywait", &[path], groups);
    let marks = "fs.fanotify.max_user_marks is ";
    check("max_fanotify_marks", 2, "fsnotifywait", &["-r", path], marks);
}
