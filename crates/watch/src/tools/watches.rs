//! One inotify instance and what it watches: arming, walking, finding what is new.
//!
//! Invariants
//! * A directory is armed first and listed afterwards: what was there before is in the listing, what
//!   comes later is in the queue.
//! * While a directory is listed, its watch lacks the events that listing causes; it gets them when the
//!   walk is over.

use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags};
use rustix::io::Errno;

use super::leaves::{Leaves, is_leaf};
use super::list::Targets;
use super::names;
use super::progress::Progress;
use super::table::{Node, Table};

/// Events that looking at a directory causes.
const LOOKING: u32 = names::OPEN | names::ACCESS | names::CLOSE_NOWRITE;
const LIST_BUFFER_LEN: usize = 32 * 1024;

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
    leaves: Leaves,
    /// Nodes whose watch lacks [`LOOKING`].
    reduced: Vec<Node>,
    progress: Progress,
    /// Whether the first walk is not over.
    setting_up: bool,
    list_buffer: Vec<u8>,
}

/// What a walk does besides watching directories.
enum Walk<'a> {
    /// Nothing: at the start.
    Start,
    /// Collects everything: below a directory that is new.
    New(&'a mut Vec<FoundEntry>),
    /// Enters known directories too: after events were lost.
    Again,
}

/// The entries of a directory: their names, one after the other, each with a NUL.
#[derive(Default)]
struct Listing {
    names: Vec<u8>,
    entries: Vec<(usize, FileType)>,
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
            leaves: Leaves::default(),
            reduced: Vec::new(),
            progress,
            setting_up: true,
            list_buffer: Vec::with_capacity(LIST_BUFFER_LEN),
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
            self.walk(node, Walk::Start)?;
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
        path.extend_from_slice(name);
        let flags = WatchFlags::from_bits_retain(self.manner.mask & !LOOKING)
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW;
        let wd = match self.add_watch(parent, &path, flags) {
            Ok(wd) => wd,
            Err(error) if is_skipped(error) => return Ok(()),
            Err(error) => return Err(error),
        };
        if let Some(known) = self.table.by_wd(wd) {
            self.note_reduced(known);
            let has_moved =
                self.table.parent(known) != Some(parent) || self.table.name(known) != name;
            if has_moved && self.table.parent(known).is_some() {
                self.table.relocate(known, parent, name);
            }
            return Ok(());
        }
        let node = self.table.add(Some(parent), name, wd);
        self.note_reduced(node);
        self.walk(node, Walk::New(found))
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

    /// Compares all watches with the disk, after events were lost: directories that are gone lose
    /// theirs, new ones get one. To be followed by [`Self::complete`].
    ///
    /// # Errors
    /// Why a directory cannot be watched.
    pub fn renew(&mut self) -> Result<(), Errno> {
        let nodes: Vec<Node> = self.table.nodes().collect();
        for node in nodes {
            if self.table.is_alive(node) && self.table.parent(node).is_some() {
                let path = self.path(node);
                let flags = WatchFlags::from_bits_retain(self.manner.mask & !LOOKING)
                    | WatchFlags::ONLYDIR
                    | WatchFlags::DONT_FOLLOW;
                match self.add_watch(node, &path, flags) {
                    Ok(wd) if self.table.wd(node) == Some(wd) => self.note_reduced(node),
                    Ok(wd) => {
                        if self.table.by_wd(wd).is_none() {
                            let _ = inotify::remove_watch(&self.instance, wd);
                        }
                        self.abandon(node);
                    }
                    Err(_) => self.abandon(node),
                }
            }
        }
        let roots: Vec<Node> =
            self.table.nodes().filter(|&node| self.table.parent(node).is_none()).collect();
        for root in roots {
            if self.manner.recursive && self.table.name(root).ends_with(b"/") {
                self.walk(root, Walk::Again)?;
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

    fn walk(&mut self, top: Node, mut walk: Walk<'_>) -> Result<(), Errno> {
        let mut stack = vec![top];
        let mut listing = Listing::default();
        while let Some(node) = stack.pop() {
            let mut path = self.path(node);
            let dir = match self.open_below(node, &path, OFlags::RDONLY) {
                Ok(dir) => dir,
                Err(error) if is_skipped(error) => continue,
                Err(error) => return Err(error),
            };
            self.list(dir.as_fd(), &mut listing)?;
            let (device, trusts) = self.leaves.trusts(dir.as_fd())?;
            let path_len = path.len();
            let first_pushed = stack.len();
            for index in 0..listing.entries.len() {
                let name = listing.name(index);
                let kind = match listing.entries[index].1 {
                    FileType::Unknown => kind_of(dir.as_fd(), name),
                    kind => kind,
                };
                if let Walk::New(found) = &mut walk {
                    let name = name.to_bytes().into();
                    found.push(FoundEntry { parent: node, name, kind });
                }
                if kind != FileType::Directory {
                    continue;
                }
                path.truncate(path_len);
                path.extend_from_slice(name.to_bytes());
                if self.targets.excludes(&path) && !matches!(walk, Walk::New(_)) {
                    continue;
                }
                // A new directory is listed in any case: what it holds is news.
                let device = device_of_leaves(device, trusts && !matches!(walk, Walk::New(_)));
                if let Some(child) = self.arm(dir.as_fd(), node, name, &path, device, &walk)? {
                    stack.push(child);
                }
            }
            stack[first_pushed..].reverse();
        }
        Ok(())
    }

    /// Watches a directory that was listed; returns it when it is to be listed itself.
    fn arm(
        &mut self,
        dir: BorrowedFd<'_>,
        parent: Node,
        name: &std::ffi::CStr,
        path: &[u8],
        device: Option<u64>,
        walk: &Walk<'_>,
    ) -> Result<Option<Node>, Errno> {
        let looks = self.manner.mask & LOOKING != 0;
        let full = WatchFlags::from_bits_retain(self.manner.mask)
            | WatchFlags::ONLYDIR
            | WatchFlags::DONT_FOLLOW;
        let reduced = full.difference(WatchFlags::from_bits_retain(LOOKING));
        // Most directories have nothing below them and need no listing: they get all at once.
        let wd = match self.add_watch(parent, path, if device.is_some() { full } else { reduced }) {
            Ok(wd) => wd,
            Err(error) if is_skipped(error) => return Ok(None),
            Err(error) => return Err(error),
        };
        // Asked after arming, or a directory could appear in between.
        let is_leaf = device.is_some_and(|device| is_leaf(dir, name, device));
        if looks
            && !is_leaf
            && device.is_some()
            && let Ok(again) = self.add_watch(parent, path, reduced)
            && again != wd
            && self.table.by_wd(again).is_none()
        {
            // Another directory has taken the place; the news of it is in the queue.
            let _ = inotify::remove_watch(&self.instance, again);
        }
        let known = self.table.by_wd(wd);
        let node = match known {
            Some(known) => known,
            None => self.table.add(Some(parent), name.to_bytes(), wd),
        };
        if !is_leaf {
            self.note_reduced(node);
        }
        if known.is_some() {
            let is_here = self.table.parent(node) == Some(parent);
            return Ok(Some(node).filter(|_| matches!(walk, Walk::Again) && is_here && !is_leaf));
        }
        self.progress.count(self.table.len());
        Ok(Some(node).filter(|_| !is_leaf))
    }

    fn list(&mut self, dir: BorrowedFd<'_>, listing: &mut Listing) -> Result<(), Errno> {
        listing.names.clear();
        listing.entries.clear();
        let spare: &mut [MaybeUninit<u8>] = self.list_buffer.spare_capacity_mut();
        let mut entries = RawDir::new(dir, spare);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                // Removed while it was read: the rest is nothing.
                Err(error) if is_skipped(error) => break,
                Err(error) => return Err(error),
            };
            let name = entry.file_name();
            if name != c"." && name != c".." {
                listing.entries.push((listing.names.len(), entry.file_type()));
                listing.names.extend_from_slice(name.to_bytes_with_nul());
            }
        }
        Ok(())
    }
}

impl AsFd for Watches {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.instance.as_fd()
    }
}

impl Listing {
    fn name(&self, index: usize) -> &std::ffi::CStr {
        let rest = &self.names[self.entries[index].0..];
        std::ffi::CStr::from_bytes_until_nul(rest).expect("stored with its NUL")
    }
}

fn device_of_leaves(device: u64, trusts: bool) -> Option<u64> {
    Some(device).filter(|_| trusts)
}

/// Whether a walk goes on without the directory, as it is gone or not for us to read.
fn is_skipped(error: Errno) -> bool {
    matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP)
}

fn kind_of(dir: BorrowedFd<'_>, name: &std::ffi::CStr) -> FileType {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
        .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode))
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
