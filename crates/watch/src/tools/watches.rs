//! One inotify instance and what it watches: arming and disarming.
//!
//! Invariants
//! * A directory is armed first and listed afterwards: what was there before is in the listing, what
//!   comes later is in the queue.
//! * While a directory is listed, its watch lacks the events that listing causes; it gets them when the
//!   walk is over.

use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;

use super::first_walk::FirstWalk;
use super::list::Targets;
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

/// The watches of a run.
pub struct Watches {
    pub(super) instance: OwnedFd,
    pub(super) table: Table,
    pub(super) manner: Manner,
    pub(super) targets: Targets,
    /// Nodes whose watch lacks [`LOOKING`].
    reduced: Vec<Node>,
    progress: Progress,
    /// Directories that were not in their place when they were to be listed, and whether all they hold
    /// is new.
    pub(super) unlisted: Vec<(Node, bool)>,
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

    pub(super) fn note_reduced(&mut self, node: Node) {
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
    pub(super) fn add_watch(
        &self,
        node: Node,
        path: &[u8],
        flags: WatchFlags,
    ) -> Result<i32, Errno> {
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
    pub(super) fn open_below(
        &self,
        node: Node,
        path: &[u8],
        flags: OFlags,
    ) -> Result<OwnedFd, Errno> {
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

    /// What is asked of a directory that is about to be listed.
    pub(super) fn reduced_flags(&self) -> WatchFlags {
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
