//! The walk that sets up the watches of a tree, by two threads.
//!
//! Each takes a directory, lists it and arms what is in it; only then the table is locked, for all of
//! it at once. Most directories have nothing below them, which their link count tells: they are armed
//! and never opened. Nothing has been promised yet, so paths are enough: what changes during the walk
//! is in the queue, as each directory is armed before it is listed.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::FileType;
use rustix::fs::inotify::{self, WatchFlags};
use rustix::io::Errno;

use super::leaves::{Leaves, is_leaf};
use super::list::Targets;
use super::listing::{Listing, kind_of};
use super::progress::Progress;
use super::table::{Node, Table};
use super::watches::{LOOKING, is_skipped, open_dir};

const THREADS: usize = 2;

/// What a walk needs to know.
#[derive(Clone, Copy)]
pub struct FirstWalk<'a> {
    /// The inotify instance.
    pub instance: BorrowedFd<'a>,
    /// The events to ask of the kernel.
    pub mask: u32,
    /// What is left out.
    pub targets: &'a Targets,
}

/// What the threads share.
struct Shared<'a> {
    table: &'a mut Table,
    reduced: &'a mut Vec<Node>,
    progress: &'a mut Progress,
    /// Directories that are armed and not listed.
    waiting: Vec<Node>,
    /// Threads that may still add some.
    busy: usize,
    elsewhere: Vec<Elsewhere>,
    failed: Option<Errno>,
}

/// A watched directory, and a directory and a name in it under which it was found.
pub type Elsewhere = (Node, Node, Box<[u8]>);

/// A directory that was armed: its place in the listing, and how.
struct Armed {
    index: usize,
    wd: i32,
    /// Its watch has all events.
    is_full: bool,
    /// There is nothing below it.
    is_leaf: bool,
}

impl FirstWalk<'_> {
    /// Arms everything below `top`, which is armed. Nodes whose watch lacks events that listing causes
    /// are marked and added to `reduced`. Returns watched directories that were found in another
    /// place, with that.
    ///
    /// # Errors
    /// Why a directory cannot be watched; the others may or may not be.
    pub fn run(
        self,
        top: Node,
        table: &mut Table,
        reduced: &mut Vec<Node>,
        progress: &mut Progress,
    ) -> Result<Vec<Elsewhere>, Errno> {
        let shared = Mutex::new(Shared {
            table,
            reduced,
            progress,
            waiting: vec![top],
            busy: 0,
            elsewhere: Vec::new(),
            failed: None,
        });
        let more = Condvar::new();
        std::thread::scope(|scope| {
            for _ in 1..THREADS {
                scope.spawn(|| self.work(&shared, &more));
            }
            self.work(&shared, &more);
        });
        let shared = shared.into_inner().unwrap_or_else(PoisonError::into_inner);
        shared.failed.map_or(Ok(shared.elsewhere), Err)
    }

    fn work(self, shared: &Mutex<Shared<'_>>, more: &Condvar) {
        let mut listing = Listing::new();
        let mut leaves = Leaves::default();
        let mut path = Vec::with_capacity(256);
        let mut armed = Vec::new();
        while let Some((node, is_root)) = next(shared, more, &mut path) {
            armed.clear();
            let entered = self.enter(&mut path, is_root, &mut listing, &mut leaves, &mut armed);
            let mut shared = lock(shared);
            if let Err(error) = entered
                && !(is_skipped(error) && armed.is_empty())
            {
                shared.failed = Some(error);
            }
            shared.add(node, &armed, &listing, self.mask & LOOKING != 0);
            shared.busy -= 1;
            more.notify_all();
        }
    }

    /// Lists a directory and arms the directories in it.
    fn enter(
        self,
        path: &mut Vec<u8>,
        is_root: bool,
        listing: &mut Listing,
        leaves: &mut Leaves,
        armed: &mut Vec<Armed>,
    ) -> Result<(), Errno> {
        listing.clear();
        let dir = open_dir(path, is_root)?;
        listing.read(dir.as_fd())?;
        let (device, trusts) = leaves.trusts(dir.as_fd())?;
        let path_len = path.len();
        for index in 0..listing.len() {
            let (name, kind) = listing.entry(index);
            let is_dir = match kind {
                FileType::Unknown => kind_of(dir.as_fd(), name) == FileType::Directory,
                kind => kind == FileType::Directory,
            };
            if !is_dir {
                continue;
            }
            path.truncate(path_len);
            path.extend_from_slice(name.to_bytes());
            if !self.targets.excludes(path) {
                let device = Some(device).filter(|_| trusts);
                armed.extend(self.arm(dir.as_fd(), index, name, path, device)?);
            }
        }
        Ok(())
    }

    fn arm(
        self,
        dir: BorrowedFd<'_>,
        index: usize,
        name: &CStr,
        path: &[u8],
        device: Option<u64>,
    ) -> Result<Option<Armed>, Errno> {
        let full =
            WatchFlags::from_bits_retain(self.mask) | WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW;
        let reduced = full.difference(WatchFlags::from_bits_retain(LOOKING));
        let add = |flags| inotify::add_watch(self.instance, OsStr::from_bytes(path), flags);
        let wd = match add(if device.is_some() { full } else { reduced }) {
            Ok(wd) => wd,
            Err(error) if is_skipped(error) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Asked after arming, or a directory could appear in between.
        let is_leaf = device.is_some_and(|device| is_leaf(dir, name, device));
        let mut is_full = device.is_some();
        if is_full && !is_leaf && full != reduced {
            // Another directory that has taken the place has its news in the queue.
            is_full = add(reduced).is_err();
        }
        Ok(Some(Armed { index, wd, is_full, is_leaf }))
    }
}

impl Shared<'_> {
    fn add(&mut self, parent: Node, armed: &[Armed], listing: &Listing, looks: bool) {
        let first = self.waiting.len();
        for Armed { index, wd, is_full, is_leaf } in armed {
            let name = listing.entry(*index).0.to_bytes();
            let known = self.table.by_wd(*wd);
            let node = known.unwrap_or_else(|| self.table.add(Some(parent), name, *wd));
            if looks && !is_full && !self.table.is_reduced(node) {
                self.table.set_reduced(node, true);
                self.reduced.push(node);
            }
            if known.is_some() {
                self.elsewhere.push((node, parent, name.into()));
            } else {
                self.progress.count(self.table.len());
                if !is_leaf {
                    self.waiting.push(node);
                }
            }
        }
        // Taken from the end: the first in the listing comes next.
        self.waiting[first..].reverse();
    }
}

/// Takes a directory to list and its path; `None` when there will be no more.
fn next(shared: &Mutex<Shared<'_>>, more: &Condvar, path: &mut Vec<u8>) -> Option<(Node, bool)> {
    let mut shared = lock(shared);
    loop {
        if shared.failed.is_some() {
            return None;
        }
        if let Some(node) = shared.waiting.pop() {
            shared.busy += 1;
            path.clear();
            shared.table.write_path(node, path);
            return Some((node, shared.table.parent(node).is_none()));
        }
        if shared.busy == 0 {
            return None;
        }
        shared = more.wait(shared).unwrap_or_else(PoisonError::into_inner);
    }
}

fn lock<'a, 'b>(shared: &'a Mutex<Shared<'b>>) -> MutexGuard<'a, Shared<'b>> {
    // A panic of the other thread ends the walk when the threads are joined.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
