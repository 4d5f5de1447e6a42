//! What each kernel event means: hints, and changes of the tree of nodes.

use std::time::Instant;

use driftless_tree::RelPath;
use rustix::fs::inotify::ReadFlags;

use crate::disk;
use crate::engine::Engine;
use crate::hint::{Hint, What};
use crate::nodes::{NodeId, Place};
use crate::pairs::Leaving;
use crate::record::{Record, is_made_up};
use crate::settle::Settled;

/// The bits of an event about a name that are passed on.
const MEANINGS: [(ReadFlags, What); 8] = [
    (ReadFlags::CREATE, What::CREATED),
    (ReadFlags::MODIFY, What::MODIFIED),
    (ReadFlags::CLOSE_WRITE, What::CLOSED_WRITE),
    (ReadFlags::ATTRIB, What::ATTRIBUTES),
    (ReadFlags::DELETE, What::GONE),
    (ReadFlags::MOVED_FROM, What::GONE),
    (ReadFlags::MOVED_TO, What::ARRIVED),
    (ReadFlags::ISDIR, What::IS_DIR),
];

impl Engine {
    /// Takes one event.
    pub(crate) fn take(&mut self, record: &Record<'_>, now: Instant) {
        self.events += 1;
        if record.mask.contains(ReadFlags::QUEUE_OVERFLOW) {
            return self.overflowed();
        }
        if Some(record.wd) == self.root.above {
            if record.name == self.root.name() {
                self.check_root();
            }
            return;
        }
        // Without a node: the rest of a watch that was ended.
        let Some(node) = self.nodes.by_wd(record.wd) else { return };
        if record.name.is_empty() {
            self.take_self(node, record.mask);
        } else {
            self.take_child(node, record, now);
        }
    }

    /// An event of the directory itself.
    fn take_self(&mut self, node: NodeId, mask: ReadFlags) {
        if node == self.nodes.root() {
            return self.take_root(mask);
        }
        if mask.contains(ReadFlags::UNMOUNT) {
            self.hint_subtree(node);
        }
        let position = self.nodes.position(node).map(|(parent, name)| (parent, name.to_vec()));
        if mask.contains(ReadFlags::IGNORED) {
            // The kernel has ended this watch: nothing to end there, whatever is below.
            self.nodes.clear_watch(node);
            self.limit.freed = true;
            self.drop_node(node);
            if let Some((parent, name)) = position {
                self.suspect(parent, &name);
            }
            return;
        }
        // All else about it is told by its parent, if that is watched.
        let Some((parent, name)) = position else { return };
        if !self.nodes.is_watched(parent) {
            if mask.contains(ReadFlags::MOVE_SELF) {
                self.suspect(parent, &name);
            }
            if mask.intersects(ReadFlags::ATTRIB | ReadFlags::MODIFY) {
                self.hint_child(parent, &name, What::ATTRIBUTES | What::IS_DIR);
            }
        }
    }

    fn take_root(&mut self, mask: ReadFlags) {
        if mask.contains(ReadFlags::UNMOUNT) {
            self.root.lost = Some("it was unmounted".into());
        } else if mask.contains(ReadFlags::IGNORED) {
            self.root.lost.get_or_insert("it was deleted".into());
        }
        // Setting only the modification time of a directory counts as modifying it.
        if mask.intersects(ReadFlags::ATTRIB | ReadFlags::MODIFY) {
            self.hints.push(Hint::RootAttributes);
        } else {
            self.check_root();
        }
    }

    /// An event of a name in the directory.
    fn take_child(&mut self, parent: NodeId, record: &Record<'_>, now: Instant) {
        let (name, mask) = (record.name, record.mask);
        let is_dir = mask.contains(ReadFlags::ISDIR);
        let what = MEANINGS
            .iter()
            .filter(|(bit, _)| mask.contains(*bit))
            .fold(What::default(), |all, (_, what)| all | *what);
        if mask.contains(ReadFlags::MOVED_FROM) {
            return self.left(parent, record, what, now);
        }
        if mask.contains(ReadFlags::MOVED_TO) {
            return self.arrived(parent, record, what);
        }
        self.hint_child(parent, name, what);
        if is_dir && mask.contains(ReadFlags::CREATE) {
            self.appeared(parent, name);
        } else if is_dir && mask.contains(ReadFlags::DELETE) {
            self.suspect_known(parent, name);
        } else if is_dir && mask.contains(ReadFlags::ATTRIB) {
            // It may be readable by now.
            if self.nodes.child(parent, name).is_some_and(|child| !self.nodes.is_watched(child)) {
                self.suspect(parent, name);
            }
        } else if mask.contains(ReadFlags::CLOSE_WRITE) && is_made_up(name) {
            self.closed_unnamed(parent, name);
        }
    }

    /// A file without a name was written. A link may have given it one, and nothing says which.
    fn closed_unnamed(&mut self, parent: NodeId, name: &[u8]) {
        let is_real = self.open_node(parent).is_ok_and(|dir| disk::stat(&dir, name).is_ok());
        if !is_real {
            self.hint_subtree(parent);
        }
    }

    fn appeared(&mut self, parent: NodeId, name: &[u8]) {
        match self.settle_in(parent, name) {
            Some(Settled::New(node, _)) => self.announce_new(node),
            Some(Settled::Moved { node, .. }) => {
                self.hint_subtree(node);
                self.reattached(node);
            }
            Some(Settled::Known(..) | Settled::Unplaced) => {}
            Some(Settled::Absent) | None => self.suspect(parent, name),
        }
    }

    /// Settles a name in a directory that has to be opened; `None` when that is not in its place.
    fn settle_in(&mut self, parent: NodeId, name: &[u8]) -> Option<Settled> {
        use std::os::fd::AsFd;
        if let Place::Floating(top) = self.nodes.place(parent) {
            self.nodes.touch(top);
            return Some(Settled::Unplaced);
        }
        let dir = self.open_node(parent).ok()?;
        Some(self.settle(dir.as_fd(), parent, name))
    }

    fn left(&mut self, parent: NodeId, record: &Record<'_>, what: What, now: Instant) {
        let name = record.name;
        self.split_hint();
        let from = self.hint_child(parent, name, what);
        let hint = from.as_ref().map(|_| (self.batch, self.hints.len() - 1));
        self.split_hint();
        let mut node = None;
        if what.is_dir() {
            node = self.nodes.child(parent, name);
            if let Some(node) = node {
                self.nodes.float(node);
            }
            self.suspect(parent, name);
        }
        let position = (parent, name.into());
        self.pairs.leave(record.cookie, Leaving { from, position, node, hint }, now);
    }

    fn arrived(&mut self, parent: NodeId, record: &Record<'_>, what: What) {
        let name = record.name;
        let left = self.pairs.arrive(record.cookie);
        let mut renamed = false;
        if let (Some(left), Place::At(above)) = (&left, self.nodes.place(parent)) {
            let to = RelPath::child(above.as_ref(), name);
            if let (Some(from), Ok(to)) = (left.from.clone(), to) {
                self.hint_renamed(from, to, what.is_dir(), left.hint);
                renamed = true;
            }
        }
        self.split_hint();
        self.hint_child(parent, name, what);
        if what.is_dir() {
            self.dir_arrived(parent, name, left, renamed);
        }
    }

    fn dir_arrived(&mut self, parent: NodeId, name: &[u8], left: Option<Leaving>, renamed: bool) {
        let floated = left
            .as_ref()
            .and_then(|left| left.node)
            .filter(|&node| self.nodes.is_alive(node) && self.nodes.is_floating(node));
        match self.settle_in(parent, name) {
            Some(Settled::New(node, _)) => self.announce_new(node),
            Some(Settled::Moved { node, floated, .. }) => {
                if !renamed || !floated {
                    self.hint_subtree(node);
                }
                self.reattached(node);
            }
            Some(Settled::Known(..) | Settled::Unplaced) => {}
            Some(Settled::Absent) | None => {
                // It has moved on, or something above it has: the news is still in the queue.
                self.suspect(parent, name);
                if let Some(node) = floated {
                    self.put(node, parent, name);
                }
            }
        }
        // Another directory than the one that was taken for it: that one had not left.
        if let (Some(node), Some(left)) = (floated, left)
            && self.nodes.is_floating(node)
        {
            let (parent, name) = left.position;
            self.put(node, parent, &name);
            self.suspect(parent, &name);
            if self.nodes.is_floating(node) {
                self.pairs.set_adrift(node, Instant::now());
            }
        }
    }

    /// Puts a floating node into a place, if that is free, on the word of an event only.
    fn put(&mut self, node: NodeId, parent: NodeId, name: &[u8]) {
        if self.nodes.is_alive(parent)
            && !self.nodes.is_within(parent, node)
            && self.nodes.child(parent, name).is_none()
        {
            self.nodes.attach(node, parent, name);
            self.reattached(node);
        }
    }
}
