//! Finding what is on the disk and has no watch yet, while the tree lives.
//!
//! Names from events are old news: by the time one is used, it may mean another directory. So each
//! directory is opened without following links and compared with the one that its node stands for,
//! before anything in it is believed; what is not in its place is looked at again when the queue has
//! been read, at last by a walk over everything.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustc_hash::FxHashSet;
use rustix::fs::inotify::{self, WatchFlags};
use rustix::fs::{FileType, OFlags};
use rustix::io::Errno;

use super::listing::{Listing, kind_of};
use super::table::Node;
use super::watches::{Watches, is_skipped};

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

impl Watches {
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
    pub(super) fn follow_move(&mut self, node: Node, parent: Node, name: &[u8]) -> bool {
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
}
