//! Variables that choose algorithms, beside the original.

use std::process::{Command, Stdio};

use crate::side_by_side::{ours, plant};

/// What is said, with the exit code, of a push with the variable.
fn said(
    program: &std::path::Path,
    variable: (&str, &str),
    words: &[&str],
) -> (Option<i32>, String) {
    let folder = tempfile::tempdir().unwrap();
    plant(folder.path());
    let shell = folder.path().join("shell");
    std::fs::write(&shell, "#!/bin/sh\nshift\nexec \"$@\"\n").unwrap();
    let output = Command::new(program)
        .args(words)
        .arg("--debug=nstr")
        .args(["-a", "s/", "h:d"])
        .current_dir(folder.path())
        .env("RSYNC_RSH", format!("sh {}", shell.display()))
        .env(variable.0, variable.1)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .expect("the program starts");
    let both = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&both).into_owned();
    // The far end also reports that it was left, or was stopped before it could.
    let counts = |line: &&str| {
        !line.starts_with("rsync error:") && !line.starts_with("rsync: connection unexpectedly")
    };
    (output.status.code(), text.lines().filter(counts).collect::<Vec<_>>().join("\n"))
}

#[test]
fn lists_of_algorithms_are_read_as_by_the_original() {
    let checksums = ["md5 xxh64", "foo SHA1", "xxh64 md5 & sha1", "& md5", "none", "foo", ""];
    let checksums = checksums.map(|list| ("RSYNC_CHECKSUM_LIST", list, &[][..]));
    let compressions = ["lz4 zlib", "zlibx", "zstd & zlib", "none", "none & zlib"];
    let compressions = compressions.map(|list| ("RSYNC_COMPRESS_LIST", list, &["-z"][..]));
    for (name, list, words) in checksums.into_iter().chain(compressions) {
        let theirs = said("rsync".as_ref(), (name, list), words);
        let found = said(&ours(), (name, list), words);
        assert_eq!(found, theirs, "{name}={list}");
    }
}

#[test]
fn a_server_refuses_a_choice_that_is_not_in_its_list() {
    for (variable, word, text) in [
        (("RSYNC_CHECKSUM_LIST", "md5"), "--cc=xxh64", "--checksum-choice value (xxh64)"),
        (("RSYNC_COMPRESS_LIST", "lz4"), "--zc=zstd", "--compress-choice value (zstd)"),
    ] {
        let path = format!("--rsync-path={}", ours().display());
        let theirs = said("rsync".as_ref(), variable, &[word]);
        let found = said("rsync".as_ref(), variable, &[word, &path]);
        assert!(found.1.contains(&format!("Your {text} was refused by the server.")), "{found:?}");
        assert_eq!(found.0, theirs.0, "{found:?}");
    }
}
