//! Content that goes from the sender to the receiver of one process by itself: nobody sums it, cuts
//! it into tokens or carries it through the session, where only a mark stands for it.
//!
//! The sender puts content here before it writes the mark, and the receiver takes it when it has read
//! the mark, so it is there, in the order of the marks.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use driftless_fs::SourceFile;

use crate::options::{Append, TransferOptions};
use crate::request::Request;

/// Bytes that wait at the same time, at most. Beyond that content goes over the session, which lets
/// the sender wait.
const MAX_WAITING: u64 = 4 << 20;

/// Files that wait open at the same time, at most.
const MAX_OPEN: usize = 64;

/// What one file holds.
#[derive(Debug)]
pub enum Handed {
    /// All of it.
    Bytes(Vec<u8>),
    /// It is in so many bytes of a file.
    File(Arc<SourceFile>, u64),
}

impl Handed {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File(_, len) => *len,
        }
    }
}

/// Both ends of the way. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Handover(Arc<State>);

#[derive(Debug, Default)]
struct State {
    waiting: Mutex<Waiting>,
    closed: AtomicBool,
}

#[derive(Debug, Default)]
struct Waiting {
    queue: VecDeque<(u32, Handed)>,
    byte_count: u64,
    open_count: usize,
}

impl Waiting {
    fn pop(&mut self) -> Option<(u32, Handed)> {
        let first = self.queue.pop_front()?;
        match &first.1 {
            Handed::Bytes(bytes) => self.byte_count -= bytes.len() as u64,
            Handed::File(..) => self.open_count -= 1,
        }
        Some(first)
    }
}

impl Handover {
    /// One where the options allow it: where a file's content is copied whole, as fast as it can be, and
    /// nobody wants to know what it would be on a wire.
    pub(crate) fn between(options: &TransferOptions, request: &Request) -> Option<Self> {
        let write = &options.write;
        let is_plain = !write.in_place() && !write.preallocate && !options.sparse;
        let is_watched = options.talk.info.progress > 0
            || options.bwlimit.is_some()
            || options.timeout.is_some()
            || request.shows_content;
        let is_whole = options.whole_file != Some(false) && write.append == Append::Off;
        let fits = is_plain && is_whole && !is_watched && request.record.is_none();
        fits.then(Self::default)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // It is whole whenever the lock is free.
        self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is room for more.
    pub(crate) fn has_room(&self) -> bool {
        let waiting = self.waiting();
        waiting.byte_count < MAX_WAITING && waiting.open_count < MAX_OPEN
    }

    /// The content of the entry of this number.
    pub(crate) fn put(&self, ndx: u32, handed: Handed) {
        let mut waiting = self.waiting();
        match &handed {
            Handed::Bytes(bytes) => waiting.byte_count += bytes.len() as u64,
            Handed::File(..) => waiting.open_count += 1,
        }
        waiting.queue.push_back((ndx, handed));
    }

    /// Takes the content of the entry of this number, if that is the way it comes.
    pub(crate) fn take(&self, ndx: u32) -> Option<Handed> {
        let mut waiting = self.waiting();
        match waiting.queue.front() {
            Some((first, _)) if *first == ndx => waiting.pop().map(|(_, handed)| handed),
            _ => None,
        }
    }

    /// The sender has gone.
    pub(crate) fn close(&self) {
        self.0.closed.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.0.closed.load(Ordering::Relaxed)
    }
}
