//! rsync with its daemon, as the tests start it in place of the real one.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;
use std::sync::Arc;

fn main() -> ExitCode {
    let words: Vec<Vec<u8>> = std::env::args_os().skip(1).map(OsStringExt::into_vec).collect();
    if driftless_daemon::command::is_daemon(&words) {
        return ExitCode::from(driftless_daemon::program::run(&words));
    }
    let words = words.into_iter().map(OsString::from_vec);
    ExitCode::from(driftless_rsync::program::run(words, Arc::default()))
}
