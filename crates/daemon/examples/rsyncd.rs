//! The daemon alone, as the tests start it in place of the real one.

use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

fn main() -> ExitCode {
    let words: Vec<Vec<u8>> = std::env::args_os().skip(1).map(OsStringExt::into_vec).collect();
    ExitCode::from(driftless_daemon::program::run(&words))
}
