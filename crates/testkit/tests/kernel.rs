//! The machine's settings survive tests that are killed.

use std::fs;
use std::process::Command;

use driftless_testkit::kernel::{Sysctl, Untouched};

const NAME: &str = "fs.inotify.max_queued_events";
const FILE: &str = "/proc/sys/fs/inotify/max_queued_events";

#[test]
fn a_setting_that_a_killed_test_left_behind_is_put_back() {
    let before = {
        let _untouched = Untouched::settings();
        fs::read_to_string(FILE).unwrap()
    };
    let killed = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_test_that_is_killed", "--ignored"])
        .output()
        .unwrap();
    assert!(!killed.status.success(), "it did not die");
    let _untouched = Untouched::settings();
    assert_eq!(fs::read_to_string(FILE).unwrap(), before);
}

#[test]
#[ignore = "a part of the test above, which runs it in a process of its own"]
fn a_test_that_is_killed() {
    let _never_dropped = Sysctl::set(NAME, 16_385);
    assert_eq!(fs::read_to_string(FILE).unwrap().trim(), "16385");
    std::process::abort();
}
