//! From the kernel's queue to what is told, while directories come, go and move.
//!
//! ```text
//! queue ──record──► Follower ──Told──► Teller
//!                     │  ▲
//!               adopt ▼  │ what was found
//!                    Watches
//! ```
//! Invariants
//! * With recursion each directory that appears is watched, then listed; what it holds by then is told
//!   as found, once: the kernel's later news of the same name is not repeated.
//! * A directory that left the tree is no longer watched, nor is anything below it.
//! * Lost events are told, and the watches are compared with the disk.

use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustc_hash::FxHashSet;
use rustix::fs::FileType;
use rustix::io::Errno;

use super::catch_up::FoundEntry;
use super::diagnostics::Diagnostics;
use super::layout::Event;
use super::limits;
use super::names;
use super::table::{Node, Table};
use super::watches::Watches;
use crate::record::{Record, take_record};

/// A read returns whole records, up to 272 bytes each: all of a queue of the default length, with names of
/// up to 47 bytes. Larger reads take less time for each event.
const READ_LEN: usize = 1024 * 1024;
/// How long the first half of a rename waits for the second once the queue is empty.
const PAIRING: Duration = Duration::from_millis(10);

/// One thing to tell.
#[derive(Debug, Clone, Copy)]
pub struct Told<'a> {
    /// The watch it came by; none for an overflow.
    pub node: Option<Node>,
    /// The name in the watched directory; empty when it is about the watched object itself.
    pub name: &'a [u8],
    /// The kernel's bits.
    pub mask: u32,
    /// Equal in the two halves of a rename, else 0.
    pub cookie: u32,
    /// Whether it was found by looking at the disk, because no watch could tell.
    pub found: bool,
}

/// Takes what is told.
pub trait Teller {
    /// One event.
    fn tell(&mut self, watches: &Watches, told: &Told<'_>);
    /// One event whose watched name is known already.
    fn tell_event(&mut self, event: &Event<'_>);
    /// The node is about to leave the table; its number may be used again.
    fn leaves(&mut self, table: &Table, node: Node);
    /// Events were lost, and the watches have been compared with the disk.
    fn recovered(&mut self, watches: &Watches);
}

/// What is asked of a run, as far as it decides what is told.
#[derive(Debug, Clone, Copy)]
pub struct Asked {
    /// The events that the user asked for.
    pub mask: u32,
    /// Whether what is found in new directories is told.
    pub tells_found: bool,
    /// Whether renames of directories are followed and new ones are watched.
    pub follows: bool,
    /// Whether the kernel is asked for what following needs, whatever the user asked for.
    pub extends: bool,
}

impl Asked {
    /// What the kernel is asked for besides, to follow directories.
    pub fn extra(&self) -> u32 {
        if self.extends { names::CREATE | names::MOVE } else { 0 }
    }

    /// The events that nobody saw and that must have led to an entry that was found: it was created,
    /// and written if it is a file. 0 stands for none.
    pub fn masks_of_found(&self, kind: FileType) -> [u32; 2] {
        let is_dir = if kind == FileType::Directory { names::ISDIR } else { 0 };
        let first_asked =
            |bits: [u32; 2]| bits.into_iter().find(|bit| self.mask & bit != 0).unwrap_or(0);
        let appeared = match first_asked([names::CREATE, names::MOVED_TO]) {
            0 => 0,
            bit => bit | is_dir,
        };
        let written = match kind {
            FileType::RegularFile => first_asked([names::CLOSE_WRITE, names::MODIFY]),
            _ => 0,
        };
        [appeared, written]
    }
}

/// Counters of a run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Events read from the kernel.
    pub events: u64,
    /// Entries told because they were found on the disk.
    pub found: u64,
    /// Times the queue overflowed.
    pub overflows: u64,
}

/// The half of a rename that came first.
#[derive(Debug)]
struct Leaving {
    cookie: u32,
    node: Node,
    /// The place that it has left.
    place: (Node, Box<[u8]>),
    since: Instant,
}

/// Follows the tree.
pub struct Follower {
    watches: Watches,
    asked: Asked,
    diagnostics: Diagnostics,
    /// Whether overflows and what cannot be watched is said.
    quiet: bool,
    leaving: Vec<Leaving>,
    /// Names told as found whose own news may still be in the queue, by watch descriptor: unlike
    /// nodes, these are not used again.
    told_already: FxHashSet<(i32, Box<[u8]>)>,
    /// The length of the queue's past and present when the last of them was found.
    told_until: u64,
    bytes_read: u64,
    counters: Counters,
    buffer: Vec<u8>,
}

impl Follower {
    /// Follows what is watched so far.
    pub fn new(watches: Watches, asked: Asked, diagnostics: Diagnostics, quiet: bool) -> Self {
        Self {
            watches,
            asked,
            diagnostics,
            quiet,
            leaving: Vec::new(),
            told_already: FxHashSet::default(),
            told_until: 0,
            bytes_read: 0,
            counters: Counters::default(),
            buffer: vec![0; READ_LEN],
        }
    }

    /// What is watched.
    pub fn watches(&self) -> &Watches {
        &self.watches
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// When [`Self::settle`] has to be called at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        let doubt = self.watches.is_doubtful().then(Instant::now);
        self.leaving.iter().map(|half| half.since + PAIRING).min().or(doubt)
    }

    /// Reads the queue once and tells what it holds, until the teller has `enough`. Returns the number
    /// of events.
    ///
    /// # Errors
    /// When the queue cannot be read, which means a bug.
    pub fn read<T: Teller>(
        &mut self,
        teller: &mut T,
        enough: impl Fn(&T) -> bool,
    ) -> Result<usize, Errno> {
        let mut buffer = std::mem::take(&mut self.buffer);
        let len = match rustix::io::read(self.watches.as_fd(), &mut buffer[..]) {
            Ok(len) => len,
            Err(Errno::AGAIN | Errno::INTR) => 0,
            Err(error) => return Err(error),
        };
        self.bytes_read += len as u64;
        let mut input = &buffer[..len];
        let mut count = 0;
        while let Some(record) = take_record(&mut input) {
            count += 1;
            self.take(&record, teller);
            if enough(teller) {
                break;
            }
        }
        self.buffer = buffer;
        if !self.told_already.is_empty() && self.bytes_read >= self.told_until {
            self.told_already.clear();
        }
        self.counters.events += count as u64;
        Ok(count)
    }

    /// Ends what waited for events that have not come: halves of renames without a partner led out of
    /// the tree, and what was not in its place is looked at again. For an empty queue.
    pub fn settle(&mut self, teller: &mut impl Teller) {
        let now = Instant::now();
        while let Some(at) = self.leaving.iter().position(|half| now >= half.since + PAIRING) {
            let half = self.leaving.swap_remove(at);
            self.give_up(half, teller);
        }
        if !self.leaving.is_empty() || !self.watches.is_doubtful() {
            return;
        }
        let mut found = Vec::new();
        if let Err(error) = self.watches.look_again(&mut found) {
            self.not_watched(b"that was moved", error);
        }
        self.watches.complete();
        self.tell_all_found(found, teller);
    }

    fn take(&mut self, record: &Record<'_>, teller: &mut impl Teller) {
        let mask = record.mask.bits();
        if mask & names::Q_OVERFLOW != 0 {
            return self.overflowed(mask, teller);
        }
        // Without a node: the rest of a watch that was ended.
        let Some(node) = self.watches.table().by_wd(record.wd) else { return };
        let (name, cookie) = (record.name, record.cookie);
        let repeated = mask & names::CREATE != 0
            && !self.told_already.is_empty()
            && self.told_already.remove(&(record.wd, name.into()));
        if !repeated {
            let told = Told { node: Some(node), name, mask, cookie, found: false };
            // A directory is told by its new name once it has arrived there.
            teller.tell(&self.watches, &told);
        }
        if mask & names::IGNORED != 0 {
            teller.leaves(self.watches.table(), node);
            self.watches.ended(node);
            let table = self.watches.table();
            self.leaving.retain(|half| table.is_alive(half.node));
        } else if mask & names::ISDIR != 0 && self.asked.follows && !name.is_empty() {
            if mask & names::MOVED_FROM != 0 {
                self.left(node, name, cookie);
            } else if mask & names::MOVED_TO != 0 {
                self.arrived(node, name, cookie, teller);
            } else if mask & names::CREATE != 0 {
                self.appeared(node, name, teller);
            }
        }
        if mask & (names::DELETE | names::MOVED_FROM) != 0 && !self.told_already.is_empty() {
            self.told_already.remove(&(record.wd, name.into()));
        }
    }

    fn left(&mut self, parent: Node, name: &[u8], cookie: u32) {
        if let Some(node) = self.watches.table().child(parent, name) {
            let place = (parent, name.into());
            self.leaving.push(Leaving { cookie, node, place, since: Instant::now() });
        }
    }

    fn arrived(&mut self, parent: Node, name: &[u8], cookie: u32, teller: &mut impl Teller) {
        if let Some(at) = self.leaving.iter().position(|half| half.cookie == cookie) {
            let half = self.leaving.remove(at);
            if self.watches.table().is_alive(half.node) {
                self.watches.relocate(half.node, parent, name);
            }
        }
        // Also when it is known: what the news said may be over, and this finds out.
        self.appeared(parent, name, teller);
    }

    fn appeared(&mut self, parent: Node, name: &[u8], teller: &mut impl Teller) {
        let mut found = Vec::new();
        if let Err(error) = self.watches.adopt(parent, name, &mut found) {
            let mut path = self.watches.path(parent);
            path.extend_from_slice(name);
            self.not_watched(&path, error);
        }
        self.watches.complete();
        self.tell_all_found(found, teller);
    }

    fn tell_all_found(&mut self, found: Vec<FoundEntry>, teller: &mut impl Teller) {
        if self.asked.tells_found && !found.is_empty() {
            for entry in found {
                self.tell_found(entry, teller);
            }
            let queued = rustix::io::ioctl_fionread(self.watches.as_fd()).unwrap_or(0);
            self.told_until = self.bytes_read + queued;
        }
    }

    fn tell_found(&mut self, entry: FoundEntry, teller: &mut impl Teller) {
        let FoundEntry { parent, name, kind } = entry;
        if !self.watches.table().is_alive(parent) {
            return;
        }
        self.counters.found += 1;
        for mask in self.asked.masks_of_found(kind).into_iter().filter(|mask| *mask != 0) {
            let told = Told { node: Some(parent), name: &name, mask, cookie: 0, found: true };
            teller.tell(&self.watches, &told);
        }
        if let Some(wd) = self.watches.table().wd(parent) {
            self.told_already.insert((wd, name));
        }
    }

    fn overflowed(&mut self, mask: u32, teller: &mut impl Teller) {
        self.counters.overflows += 1;
        teller.tell(&self.watches, &Told { node: None, name: b"", mask, cookie: 0, found: false });
        if self.quiet {
            return self.recover(teller);
        }
        self.diagnostics.say(&limits::overflow());
        self.recover(teller);
    }

    fn recover(&mut self, teller: &mut impl Teller) {
        while let Some(half) = self.leaving.pop() {
            self.give_up(half, teller);
        }
        if self.asked.follows {
            // What is new is told by those who remember what was there.
            if let Err(error) = self.watches.renew(&mut Vec::new()) {
                self.not_watched(b"after an overflow", error);
            }
            self.watches.complete();
        }
        teller.recovered(&self.watches);
    }

    /// Ends the watches of a directory that has left, unless it was found in another place since.
    fn give_up(&mut self, half: Leaving, teller: &mut impl Teller) {
        let (parent, name) = &half.place;
        if self.watches.table().is_alive(half.node)
            && self.watches.table().is_at(half.node, *parent, name)
        {
            self.abandon(half.node, teller);
        }
    }

    fn abandon(&mut self, node: Node, teller: &mut impl Teller) {
        let table = self.watches.table();
        if !table.is_alive(node) {
            return;
        }
        let mut doomed = vec![node];
        while let Some(node) = doomed.pop() {
            doomed.extend(table.children(node));
            teller.leaves(table, node);
        }
        self.watches.abandon(node);
        let table = self.watches.table();
        self.leaving.retain(|half| table.is_alive(half.node));
    }

    fn not_watched(&self, path: &[u8], error: Errno) {
        let why = super::reason(error);
        self.diagnostics.say_failed("Couldn't watch new directory", path, &why);
        if error == Errno::NOSPC && !self.quiet {
            self.diagnostics.say(&limits::watches(self.watches.table().len(), None));
        }
    }
}

impl AsFd for Follower {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.watches.as_fd()
    }
}
