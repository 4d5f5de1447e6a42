//! The program alone, as the tests start it in place of the real one.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

fn main() -> ExitCode {
    let words = std::env::args_os().skip(1);
    ExitCode::from(driftless_rsync::program::run(words, Arc::new(AtomicBool::new(false))))
}
