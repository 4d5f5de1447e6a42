//! What the caller's threads and the watcher's thread share.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustix::event::EventfdFlags;
use rustix::io::Errno;

use crate::options::{WatchError, WatchStats};

/// What the caller wants of the thread.
pub(crate) enum Request {
    Stop,
    /// The number of the newest barrier; earlier ones are done with it.
    Barrier(u64),
}

#[derive(Default)]
struct State {
    stop: bool,
    asked: u64,
    completed: u64,
    stats: WatchStats,
    ended: Option<String>,
}

/// The lock covers plain values only and is held for moments; nobody who holds it waits for anything
/// but the condition.
pub(crate) struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    wake_up: OwnedFd,
}

impl Shared {
    pub fn new() -> Result<Self, Errno> {
        let wake_up = rustix::event::eventfd(0, EventfdFlags::NONBLOCK | EventfdFlags::CLOEXEC)?;
        Ok(Self { state: Mutex::default(), changed: Condvar::new(), wake_up })
    }

    /// Waits until the thread has done all that was due when this was called.
    pub fn barrier(&self) -> Result<(), WatchError> {
        let mut state = self.lock();
        state.asked += 1;
        let mine = state.asked;
        self.ring();
        loop {
            if state.completed >= mine {
                return Ok(());
            }
            if let Some(reason) = &state.ended {
                return Err(WatchError::Ended(reason.clone()));
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    pub fn stats(&self) -> WatchStats {
        self.lock().stats.clone()
    }

    pub fn stop(&self) {
        self.lock().stop = true;
        self.ring();
    }

    pub fn request(&self) -> Request {
        let state = self.lock();
        if state.stop { Request::Stop } else { Request::Barrier(state.asked) }
    }

    /// Whether somebody waits for barrier `number`.
    pub fn is_awaited(&self, number: u64) -> bool {
        self.lock().completed < number
    }

    pub fn complete(&self, number: u64) {
        let mut state = self.lock();
        if state.completed < number {
            state.completed = number;
            self.changed.notify_all();
        }
    }

    pub fn publish(&self, stats: WatchStats) {
        self.lock().stats = stats;
    }

    /// Nobody will complete anything any more.
    pub fn end(&self, reason: String) {
        self.lock().ended.get_or_insert(reason);
        self.changed.notify_all();
    }

    pub fn wake_up(&self) -> BorrowedFd<'_> {
        self.wake_up.as_fd()
    }

    /// Takes the ringing back.
    pub fn wakened(&self) {
        let _ = rustix::io::read(&self.wake_up, &mut [0; 8][..]);
    }

    fn ring(&self) {
        // It fails only when it rings already, about 2^64 times.
        let _ = rustix::io::write(&self.wake_up, &1u64.to_ne_bytes());
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
