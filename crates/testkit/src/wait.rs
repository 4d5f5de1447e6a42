//! Waiting for conditions. The limits only end a hang; no test depends on how long something takes.

use std::time::{Duration, Instant};

/// A limit that only a hang reaches, also on a busy machine.
pub const GENEROUS: Duration = Duration::from_secs(90);

/// Calls `probe` until it gives a value, and returns that value.
///
/// # Panics
/// When `limit` has passed, with `what` was waited for.
#[track_caller]
pub fn until<T>(what: &str, limit: Duration, mut probe: impl FnMut() -> Option<T>) -> T {
    match within(limit, &mut probe) {
        Some(value) => value,
        None => panic!("waited {} s in vain: {what}", limit.as_secs()),
    }
}

/// Calls `probe` until it gives a value or `limit` has passed.
pub fn within<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(value) = probe() {
            return Some(value);
        }
        if Instant::now() >= end {
            return None;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
