//! One inotify instance and what it watches: arming, walking, finding what is new.
//!
//! Invariants
//! * A directory is armed first and listed afterwards: what was there before is in the listing, what
//!   comes later is in the queue.
//! * While a directory is listed, its watch lacks the events that listing causes; it gets them when the
//!   walk is over.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustc_hash::FxHashSet;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::first_walk::FirstWalk;
use super::list::Targets;
use super::listing::{Listing, kind_of};
use super::names;
use super::progress::Progress;
use super::table::{Node, Table};

/// Events that looking at a directory causes.
pub const LOOKING: u32 = names::OPEN | names::ACCESS | names::CLOSE_NOWRITE;

/// How to watch.
#[derive(Debug, Clone)]
pub struct Manner {
    /// The events to ask of the kernel.
    pub mask: u32,
    /// Whether directories are watched with all below them.
    pub recursive: bool,
    /// Whether symbolic links on the command line are watched themselves.
    pub no_dereference: bool,
}

/// An entry that was there before its directory was watched.
#[derive(Debug, PartialEq, Eq)]
pub struct FoundEntry {
    /// Its directory.
    pub parent: Node,
    /// Its name.
    pub name: Box<[u8]>,
    /// What it is.
    pub kind: FileType,
}

/// The watches of a run.
pub struct Watches {
    instance: OwnedFd,
    table: Table,
    manner: Manner,
    targets: Targets,
    /// Nodes whose watch lacks [`LOOKING`].
    reduced: Vec<Node>,
    progress: Progress,
    /// Directories that were not in their place when they were to be listed, and whether all they hold
    /// is new.
    unlisted: Vec<(Node, bool)>,
    /// Whether the first walk is not over.
    setting_up: bool,
}

impl Watches {
    /// An instance without watches.
    ///
    /// # Errors
    /// `EMFILE` when the user's instances are used up.
    pub fn new(manner: Manner, targets: Targets, progress: Progress) -> Result<Self, Errno> {
        let instance = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Self {
            instance,
            table: Table::new(),
            manner,
            targets,
            reduced: Vec::new(),
            progress,
            unlisted: Vec::new(),
            setting_up: true,
        })
    }

    /// What is watched.
    pub fn table(&self) -> &Table {
        &self.table
    }

    /// Whether directories are watched with all below them.
    pub fn is_recursive(&self) -> bool {
        self.manner.recursive
    }

    /// Watches a path of the command line, with all below it when that is asked for.
    ///
    /// # Errors
    /// `ENOSPC` at the limit of watches; what the kernel says about the path itself.
    pub fn add_argument(&mut self, argument: &[u8]) -> Result<(), Errno> {
        let path = OsStr::from_bytes(argument);
        let is_dir = |flags| {
            rustix::fs::statat(rustix::fs::CWD, path, flags)
                .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
        };
        // A link to a directory is entered with `-r`, whatever else is asked.
        let walked = self.manner.recursive && is_dir(AtFlags::empty());
        let mut mask = self.manner.mask;
        if walked {
            mask &= !LOOKING;
        } else if self.manner.no_dereference {
            mask |= WatchFlags::DONT_FOLLOW.bits();
        }
        let wd = inotify::add_watch(&self.instance, path, WatchFlags::from_bits_retain(mask))?;
        if let Some(known) = self.table.by_wd(wd) {
            // Watched already, under the name that came first; what is below it as well.
            if walked {
                self.note_reduced(known);
            }
            return Ok(());
        }
        let mut printed = argument.to_vec();
        if (walked || is_dir(AtFlags::SYMLINK_NOFOLLOW)) && !printed.ends_with(b"/") {
            printed.push(b'/');
        }
        let node = self.table.add(None, &printed, wd);
        if walked {
            self.note_reduced(node);
            let walk = FirstWalk {
                instance: self.instance.as_fd(),
                mask: self.manner.mask,
                targets: &self.targets,
            };
            let moved = walk.run(node, &mut self.table, &mut self.reduced, &mut self.progress)?;
            for (node, parent, name) in moved {
                self.follow_move(node, parent, &name);
            }
        }
        Ok(())
    }

    /// Ends the setting up: from now on looking at directories is told as well.
    pub fn complete(&mut self) {
        for node in std::mem::take(&mut self.reduced) {
            if !self.table.is_alive(node) || !self.table.is_reduced(node) {
                continue;
            }
            self.table.set_reduced(node, false);
            let path = self.path(node);
            let mut mask = WatchFlags::from_bits_retain(self.manner.mask) | WatchFlags::ONLYDIR;
            if self.table.parent(node).is_some() {
                mask |= WatchFlags::DONT_FOLLOW;
            }
            let added = self.add_watch(node, &path, mask);
            if let Ok(wd) = added
                && self.table.by_wd(wd).is_none()
            {
                // Another directory has taken the place; the news of it is in the queue.
                let _ = inotify::remove_watch(&self.instance, wd);
            }
        }
        self.setting_up = false;
        self.progress.clear();
    }

    /// Makes sure that the directory `name` in `parent` is watched there, and collects what a new one
    /// holds. To be followed by [`Self::complete`].
    ///
    /// # Errors
    /// Why it cannot be watched; that it is gone is none.
    pub fn adopt(
        &mut self,
        parent: Node,
        name: &[u8],
        found: &mut Vec<FoundEntry>,
    ) -> Result<(), Errno> {
        let mut path = self.path(parent);
        let is_here = self
            .open_below(parent, &path, OFlags::PATH)
            .is_ok_and(|dir| self.is_same(&dir, parent));
        if !is_here {
            // The news of its move is in the queue; it is looked at when that has been read.
            if self.unlisted.last() != Some(&(parent, false)) {
                self.unlisted.push((parent, false));
            }
            return Ok(());
        }
        path.extend_from_slice(name);
        match self.arm(parent, name, &path)? {
            Some((node, true)) => self.walk(vec![(node, true)], &mut Vec::new(), found),
            _ => Ok(()),
        }
    }

    /// Looks again at directories that were not in their place when they were to be listed, and
    /// collects what is new there. For an empty queue, when no rename is half told; to be followed by
    /// [`Self::complete`].
    ///
    /// # Errors
    /// Why a directory cannot be watched.
    pub fn look_again(&mut self, found: &mut Vec<FoundEntry>) -> Result<(), Errno> {
        let mut unlisted = std::mem::take(&mut self.unlisted);
        unlisted.retain(|(node, _)| self.table.is_alive(*node) && self.table.wd(*node).is_some());
        self.walk(unlisted, &mut Vec::new(), found)?;
        // Nowhere to be found under the names that were told: the disk knows.
        if !self.unlisted.is_empty() {
            self.unlisted.clear();
            self.renew(found)?;
            self.unlisted.clear();
        }
        Ok(())
    }

    /// Whether there is something to look at again.
    pub fn is_doubtful(&self) -> bool {
        !self.unlisted.is_empty()
    }

    /// Gives a watched directory another place.
    pub fn relocate(&mut self, node: Node, parent: Node, name: &[u8]) {
        self.table.relocate(node, parent, name);
    }

    /// Ends the watches of a directory and of all below it.
    pub fn abandon(&mut self, node: Node) {
        for wd in self.table.remove(node) {
            // It may have ended by itself.
            let _ = inotify::remove_watch(&self.instance, wd);
        }
    }

    /// Takes note that the kernel has ended a watch.
    pub fn ended(&mut self, node: Node) {
        self.table.forget_watch(node);
    }

    /// Compares all watches with the disk: directories that have moved get their place, new ones a
    /// watch, and those that are gone lose theirs. Collects what is new. To be followed by
    /// [`Self::complete`].
    ///
    /// # Errors
    /// Why a directory cannot be watched.
    pub fn renew(&mut self, found: &mut Vec<FoundEntry>) -> Result<(), Errno> {
        let mut seen = Vec::new();
        let roots: Vec<Node> =
            self.table.nodes().filter(|&node| self.table.parent(node).is_none()).collect();
        let mut lost = Vec::new();
        for &root in &roots {
            if self.manner.recursive && self.table.name(root).ends_with(b"/") {
                self.walk(vec![(root, false)], &mut seen, found)?;
                // It was renamed itself: what is below it is watched as before.
                if self.unlisted.iter().any(|(node, _)| *node == root) {
                    lost.push(root);
                }
            }
        }
        let mut seen: FxHashSet<Node> = seen.into_iter().chain(roots).collect();
        seen.extend(self.table.nodes().filter(|&node| lost.contains(&self.table.root(node))));
        let gone: Vec<Node> = self.table.nodes().filter(|node| !seen.contains(node)).collect();
        for node in gone {
            if self.table.is_alive(node) {
                self.abandon(node);
            }
        }
        Ok(())
    }

    /// The path of a node: with a slash at the end when it is a directory.
    pub fn path(&self, node: Node) -> Vec<u8> {
        let mut path = Vec::with_capacity(256);
        self.table.write_path(node, &mut path);
        path
    }

    /// Takes the progress line away, so that something else can be said.
    pub fn clear_progress(&mut self) {
        self.progress.clear();
    }

    fn note_reduced(&mut self, node: Node) {
        if self.manner.mask & LOOKING != 0 && !self.table.is_reduced(node) {
            self.table.set_reduced(node, true);
            self.reduced.push(node);
        }
    }

    /// Adds a watch on a directory below the root of `node`.
    ///
    /// While the tree lives, what is above may have become a symbolic link that leads elsewhere, so it
    /// is opened without following any. During the setting up, when nothing has been promised yet,
    /// the path alone is enough: what changes meanwhile is in the queue.
    fn add_watch(&self, node: Node, path: &[u8], flags: WatchFlags) -> Result<i32, Errno> {
        let bare = bare(path);
        if self.setting_up {
            match inotify::add_watch(&self.instance, OsStr::from_bytes(bare), flags) {
                Err(Errno::NAMETOOLONG) => {}
                other => return other,
            }
        }
        let there = self.open_below(node, path, OFlags::PATH)?;
        let link = format!("/proc/self/fd/{}", there.as_raw_fd());
        inotify::add_watch(&self.instance, link, flags.difference(WatchFlags::DONT_FOLLOW))
    }

    /// Opens a directory below the root of `node`, following links only in the root's own path.
    fn open_below(&self, node: Node, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
        let root = self.table.root(node);
        let root_path = self.table.name(root);
        let flags = flags | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let below = path.get(root_path.len()..).unwrap_or_default();
        if below.is_empty() {
            return rustix::fs::open(OsStr::from_bytes(path), flags, Mode::empty());
        }
        let top = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let top = rustix::fs::open(OsStr::from_bytes(root_path), top, Mode::empty())?;
        let rules = ResolveFlags::NO_SYMLINKS | ResolveFlags::BENEATH;
        match rustix::fs::openat2(&top, OsStr::from_bytes(bare(below)), flags, Mode::empty(), rules)
        {
            // Before Linux 5.6, or too long for one call.
            Err(Errno::NOSYS | Errno::NAMETOOLONG) => open_in_steps(&top, bare(below), flags),
            other => other,
        }
    }

    /// Watches and lists everything below the given directories, which are watched. With each comes
    /// whether all it holds is new; of others only directories without a watch are. Appends the
    /// directories to `seen`.
    fn walk(
        &mut self,
        tops: Vec<(Node, bool)>,
        seen: &mut Vec<Node>,
        found: &mut Vec<FoundEntry>,
    ) -> Result<(), Errno> {
        let mut stack = tops;
        let mut listing = Listing::new();
        while let Some((node, is_new)) = stack.pop() {
            seen.push(node);
            let mut path = self.path(node);
            let dir = match self.open_below(node, &path, OFlags::RDONLY) {
                Ok(dir) if self.is_same(&dir, node) => dir,
                Ok(_) | Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {
                    self.unlisted.push((node, is_new));
                    continue;
                }
                Err(Errno::ACCESS) => continue,
                Err(error) => return Err(error),
            };
            listing.read(dir.as_fd())?;
            let path_len = path.len();
            let first_pushed = stack.len();
            for index in 0..listing.len() {
                let (name, kind) = listing.entry(index);
                let kind = match kind {
                    FileType::Unknown => kind_of(dir.as_fd(), name),
                    kind => kind,
                };
                let entry = |name: &[u8]| FoundEntry { parent: node, name: name.into(), kind };
                let name = name.to_bytes();
                if is_new {
                    found.push(entry(name));
                }
                if kind != FileType::Directory {
                    continue;
                }
                path.truncate(path_len);
                path.extend_from_slice(name);
                // What is left out is left out of the tree that was there at the start.
                if !is_new && self.targets.excludes(&path) {
                    continue;
                }
                if let Some((child, child_is_new)) = self.arm(node, name, &path)? {
                    if child_is_new && !is_new {
                        found.push(entry(name));
                    }
                    stack.push((child, child_is_new));
                }
            }
            stack[first_pushed..].reverse();
        }
        Ok(())
    }

    /// Watches a directory in a place that was looked at; returns it, unless its place is another, and
    /// whether it is new.
    fn arm(
        &mut self,
        parent: Node,
        name: &[u8],
        path: &[u8],
    ) -> Result<Option<(Node, bool)>, Errno> {
        let wd = match self.add_watch(parent, path, self.reduced_flags()) {
            Ok(wd) => wd,
            Err(error) if is_skipped(error) => return Ok(None),
            Err(error) => return Err(error),
        };
        if let Some(known) = self.table.by_wd(wd) {
            self.note_reduced(known);
            let is_here =
                self.table.is_at(known, parent, name) || self.follow_move(known, parent, name);
            return Ok(is_here.then_some((known, false)));
        }
        let node = self.table.add(Some(parent), name, wd);
        self.note_reduced(node);
        Ok(Some((node, true)))
    }

    /// Whether an open directory is the one that a node stands for.
    fn is_same(&self, dir: &OwnedFd, node: Node) -> bool {
        let link = format!("/proc/self/fd/{}", dir.as_raw_fd());
        let flags = self.reduced_flags().difference(WatchFlags::DONT_FOLLOW) | WatchFlags::MASK_ADD;
        match inotify::add_watch(&self.instance, link, flags) {
            Ok(wd) if self.table.wd(node) == Some(wd) => true,
            Ok(wd) => {
                if self.table.by_wd(wd).is_none() {
                    let _ = inotify::remove_watch(&self.instance, wd);
                }
                false
            }
            Err(_) => false,
        }
    }

    /// A watched directory was found in another place than it was known to be in: it has moved, and the
    /// news of its arrival may be lost, as the place was not watched yet. Unless it is still in the
    /// first place too, by another mount. Returns whether it was given the new place.
    fn follow_move(&mut self, node: Node, parent: Node, name: &[u8]) -> bool {
        let flags = self.reduced_flags() | WatchFlags::MASK_ADD;
        let found = self.add_watch(node, &self.path(node), flags).ok();
        if found.is_some() && found == self.table.wd(node) {
            return false;
        }
        if let Some(wd) = found
            && self.table.by_wd(wd).is_none()
        {
            // What has taken the first place has its news in the queue.
            let _ = inotify::remove_watch(&self.instance, wd);
        }
        if self.table.parent(node).is_some() {
            self.table.relocate(node, parent, name);
        }
        self.table.is_at(node, parent, name)
    }

    /// What is asked of a directory that is about to be listed.
    fn reduced_flags(&self) -> WatchFlags {
        WatchFlags::from_bits_retain(self.manner.mask & !LOOKING)
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW
    }
}

impl AsFd for Watches {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.instance.as_fd()
    }
}

/// Whether a walk goes on without the directory, as it is gone or not for us to read.
pub fn is_skipped(error: Errno) -> bool {
    matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP)
}

/// A path without the slash at its end.
fn bare(path: &[u8]) -> &[u8] {
    match path {
        [_, .., b'/'] => &path[..path.len() - 1],
        _ => path,
    }
}

/// Opens a directory for listing, by its path as it is printed.
pub fn open_dir(path: &[u8], follow: bool) -> Result<OwnedFd, Errno> {
    let mut flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    if !follow {
        flags |= OFlags::NOFOLLOW;
    }
    rustix::fs::open(OsStr::from_bytes(bare(path)), flags, Mode::empty())
}

/// Opens a directory name by name, following no link.
fn open_in_steps(top: impl AsFd, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let step = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = rustix::fs::openat(top, c".", step, Mode::empty())?;
    for name in path.split(|&b| b == b'/') {
        at = rustix::fs::openat(&at, OsStr::from_bytes(name), step, Mode::empty())?;
    }
    rustix::fs::openat(&at, c".", flags, Mode::empty())
}
