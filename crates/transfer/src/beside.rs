//! Work on both cores of a small machine.

use std::panic::resume_unwind;
use std::thread;

/// Does `second` on a thread of its own beside `first`. Where the system gives no thread, as to a
/// user whose processes are limited, one after the other.
pub(crate) fn both<A, B: Send>(first: impl FnOnce() -> A, second: impl Fn() -> B + Sync) -> (A, B) {
    thread::scope(|scope| match thread::Builder::new().spawn_scoped(scope, &second) {
        Ok(thread) => (first(), thread.join().unwrap_or_else(|panic| resume_unwind(panic))),
        Err(_) => (first(), second()),
    })
}
