//! The text of an `rsyncd.conf`, read and linted.

#![no_main]

use std::sync::LazyLock;

use driftless_fuzz::room;
use tempfile::TempDir;

static FOLDER: LazyLock<TempDir> =
    LazyLock::new(|| tempfile::tempdir_in(room()).expect("room for a file"));

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    driftless_daemon::any_bytes::configuration(input, &FOLDER.path().join("conf"));
});
