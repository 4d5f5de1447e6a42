//! What is said of files in `user.rsync.%stat` (`--fake-super`) where it makes no sense.

use std::fs;
use std::process::{Command, Stdio};

use crate::side_by_side::ours;

/// Copies `s/` with such an attribute at one of two files and returns the exit code, the errors and
/// whether each file has come.
fn copied(value: &str) -> (Option<i32>, String, [bool; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("s")).unwrap();
    for name in ["s/odd", "s/plain"] {
        fs::write(path(name), name).unwrap();
    }
    let attribute = ["-n", "user.rsync.%stat", "-v", value, "s/odd"];
    let set = Command::new("setfattr").args(attribute).current_dir(&folder).status().unwrap();
    assert!(set.success());
    let output = Command::new(ours())
        .args(["-a", "--fake-super", "-M--super", "s/", "d"])
        .current_dir(&folder)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), text, ["d/odd", "d/plain"].map(|name| path(name).exists()))
}

#[test]
fn a_file_of_which_nonsense_is_said_stays_behind_alone() {
    for value in ["nonsense", "100644 0,0 5", "644 0,0 5:6", "40755 0,0 5:6"] {
        let (code, text, came) = copied(value);
        assert_eq!((code, came), (Some(23), [false, true]), "{value}: {text}");
        assert!(text.contains("s/odd") && text.contains("user.rsync.%stat is corrupt"), "{text}");
    }
    let (code, text, came) = copied("100600 0,0 0:0");
    assert_eq!((code, came), (Some(0), [true, true]), "{text}");
}
