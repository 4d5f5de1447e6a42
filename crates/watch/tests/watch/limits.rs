//! The kernel's limits: short queues, few watches, no instances.

use std::fs;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Runs `start` while instances of inotify are made with a queue of 64 events. The value is read by
/// the kernel when an instance is made, so it is put back at once.
pub fn with_short_queue<T>(start: impl FnOnce() -> T) -> T {
    const SETTING: &str = "/proc/sys/fs/inotify/max_queued_events";
    struct Restore(String);
    impl Drop for Restore {
        fn drop(&mut self) {
            fs::write(SETTING, &self.0).unwrap();
        }
    }
    let _one = one_at_a_time();
    let _restore = Restore(fs::read_to_string(SETTING).unwrap());
    fs::write(SETTING, "64").expect("this test changes a kernel setting: run it as root");
    start()
}

/// Runs `start` while no test has shortened the queue.
pub fn with_ordinary_queue<T>(start: impl FnOnce() -> T) -> T {
    let _one = one_at_a_time();
    start()
}

fn one_at_a_time() -> MutexGuard<'static, ()> {
    static STARTS: Mutex<()> = Mutex::new(());
    STARTS.lock().unwrap_or_else(PoisonError::into_inner)
}
