//! How many bytes are said to have gone over the connection.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use driftless_testkit::plant::{executable, noise};

use crate::side_by_side::ours;

/// What `--stats` tells as sent and received.
fn traffic(folder: &Path, program: &Path, ends: [&str; 2]) -> [u64; 2] {
    let _ = fs::remove_dir_all(folder.join("d"));
    let output = Command::new("timeout")
        .arg("60")
        .arg(program)
        .args(["-a", "--stats"])
        .args(ends)
        .current_dir(folder)
        .env("RSYNC_RSH", folder.join("shell"))
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    ["sent", "received"].map(|way| {
        let title = format!("Total bytes {way}: ");
        let line = text.lines().find_map(|line| line.strip_prefix(&title));
        line.unwrap_or_else(|| panic!("no {title:?} in {text}")).replace(',', "").parse().unwrap()
    })
}

#[test]
fn the_handshake_and_the_goodbye_are_not_counted() {
    let folder = tempfile::tempdir().unwrap();
    let here = folder.path();
    executable(here.join("shell"), "#!/bin/sh\nshift\nexec \"$@\"\n");
    fs::create_dir_all(here.join("s/deep")).unwrap();
    for name in ["one", "two", "deep/three"] {
        fs::write(here.join("s").join(name), noise(1, 5_000)).unwrap();
    }
    for ends in [["s/", "h:d"], ["h:s/", "d"]] {
        let theirs = traffic(here, Path::new("rsync"), ends);
        let ours = traffic(here, &ours(), ends);
        for (ours, theirs) in ours.into_iter().zip(theirs) {
            // How data is cut into frames, of which each has a head of 4 bytes, is a matter of the
            // moment; the greetings alone are longer than that.
            assert!(ours.abs_diff(theirs) <= 16, "{ends:?}: {ours} for {theirs}");
        }
    }
}
