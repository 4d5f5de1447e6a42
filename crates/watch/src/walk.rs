//! Going through directories: list, settle each directory found, go into it.
//!
//! A walk is done in slices between two reads of the kernel queue, so that the queue stays short
//! while a large tree is gone through.

use std::os::fd::{AsFd, OwnedFd};

use crate::engine::Engine;
use crate::nodes::NodeId;
use crate::polled::Reason;
use crate::settle::{Settled, Unreachable};

/// Descriptors one walk holds at most; what is deeper is opened anew.
const MAX_LEVELS: usize = 64;
/// Directories that are opened at once at the start, by two threads; with fewer, threads are dearer.
const MOST_AT_ONCE: usize = 128;
const FEWEST_AT_ONCE: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// The tree as it is at the start: the consumer has not looked yet.
    Start,
    /// A new directory, told when it was armed and once more when more was found below it.
    New { found: bool },
    /// Known directories in which something may have been missed.
    Recheck,
    /// All of it, after lost events.
    Recovery,
}

pub(crate) struct Walk {
    top: NodeId,
    purpose: Purpose,
    levels: Vec<Level>,
    unopened: Vec<NodeId>,
}

/// A directory that is being gone through.
struct Level {
    node: NodeId,
    dir: OwnedFd,
    names: std::vec::IntoIter<Box<[u8]>>,
}

impl Walk {
    pub fn new(top: NodeId, purpose: Purpose) -> Self {
        Self { top, purpose, levels: Vec::new(), unopened: vec![top] }
    }

    fn enters_known(&self) -> bool {
        matches!(self.purpose, Purpose::Recheck | Purpose::Recovery)
    }

    fn note_found(&mut self) {
        if let Purpose::New { found } = &mut self.purpose {
            *found = true;
        }
    }
}

impl Engine {
    /// Does at most `steps` of the walks that are under way.
    pub(crate) fn walk_slice(&mut self, steps: usize) {
        for _ in 0..steps {
            let Some(mut walk) = self.walks.pop_front() else { return };
            self.walking = true;
            self.rechecking |= walk.enters_known();
            let goes_on = self.walk_step(&mut walk);
            self.walking = false;
            if goes_on {
                self.walks.push_front(walk);
            } else {
                self.finish_walk(&walk);
            }
        }
    }

    /// One directory further; false at the end.
    fn walk_step(&mut self, walk: &mut Walk) -> bool {
        let Some(level) = walk.levels.last_mut() else {
            let Some(node) = walk.unopened.pop() else { return false };
            match self.open_node(node) {
                Ok(dir) => self.enter(walk, node, dir),
                // It moved; the events that say where to are not read yet.
                Err(Unreachable::Elsewhere) => {
                    self.unlisted.push((node, walk.purpose));
                    walk.note_found();
                }
                Err(Unreachable::Floating(top)) => self.nodes.touch(top),
                Err(Unreachable::Gone | Unreachable::TooDeep) => {}
            }
            return true;
        };
        // A limit of the caller's own is kept to one by one: what is beyond it has to be let go again.
        let is_many = level.names.len() >= FEWEST_AT_ONCE && self.options.max_watches.is_none();
        if walk.purpose == Purpose::Start && is_many && self.nodes.is_alive(level.node) {
            self.arm_many(walk);
            return true;
        }
        let Some(name) = level.names.next().filter(|_| self.nodes.is_alive(level.node)) else {
            walk.levels.pop();
            return true;
        };
        let parent = level.node;
        let settled = self.settle(level.dir.as_fd(), parent, &name);
        self.go_on(walk, parent, &name, settled);
        true
    }

    /// Goes into a directory that was found, when it is to be listed.
    fn go_on(&mut self, walk: &mut Walk, parent: NodeId, name: &[u8], settled: Settled) {
        match settled {
            Settled::New(node, dir) => {
                walk.note_found();
                self.enter(walk, node, dir);
            }
            Settled::Moved { node, dir, .. } => {
                walk.note_found();
                self.hint_subtree(node);
                self.reattached(node);
                if walk.enters_known() {
                    self.enter(walk, node, dir);
                }
            }
            Settled::Known(node, dir) => {
                if let Some(dir) = dir.filter(|_| walk.enters_known()) {
                    self.enter(walk, node, dir);
                }
            }
            Settled::Absent => self.suspect_known(parent, name),
            Settled::Unplaced => {}
        }
    }

    /// Arms a part of the directories in one at once, before anything that happened is taken; they are
    /// listed later.
    fn arm_many(&mut self, walk: &mut Walk) {
        let Some(level) = walk.levels.last_mut() else { return };
        let parent = level.node;
        let mut names: Vec<_> = level.names.by_ref().take(MOST_AT_ONCE).collect();
        names.retain(|name| self.gets_node(parent, name));
        let looks = self.looker().look_at_all(level.dir.as_fd(), &names);
        for (name, look) in names.iter().zip(looks) {
            match self.place(parent, name, look) {
                Settled::New(node, dir) => {
                    if !self.nodes.is_watched(node) || !self.lister.has_only_files(dir.as_fd()) {
                        walk.unopened.push(node);
                    }
                }
                settled => self.go_on(walk, parent, name, settled),
            }
        }
    }

    /// Lists a directory that is armed, or polled from now on.
    fn enter(&mut self, walk: &mut Walk, node: NodeId, dir: OwnedFd) {
        if walk.levels.len() >= MAX_LEVELS {
            walk.unopened.push(node);
            return;
        }
        let listed = if self.nodes.is_watched(node) {
            self.lister.subdirectories(dir.as_fd())
        } else {
            // The consumer may look before the first listing, so it has to look after it again.
            walk.note_found();
            self.compare_polled(node, dir.as_fd()).map(|compared| compared.names)
        };
        let names = match listed {
            Ok(names) => names,
            // Gone again, which its parent reports.
            Err(error) if crate::disk::is_absent(error) => return,
            Err(error) => {
                self.demote(node, Reason::Refused, error);
                return;
            }
        };
        if walk.enters_known() {
            for child in self.nodes.children(node) {
                let Some((_, name)) = self.nodes.position(child) else { continue };
                if names.binary_search_by(|listed| (**listed).cmp(name)).is_err() {
                    let name = name.to_vec();
                    self.suspect(node, &name);
                }
            }
        }
        walk.levels.push(Level { node, dir, names: names.into_iter() });
    }

    fn finish_walk(&mut self, walk: &Walk) {
        match walk.purpose {
            Purpose::Start | Purpose::New { found: false } => {}
            Purpose::New { found: true } | Purpose::Recheck => self.hint_subtree(walk.top),
            Purpose::Recovery => self.finish_recovery(),
        }
        if self.walks.is_empty() && self.unlisted.is_empty() {
            let rechecked = std::mem::take(&mut self.rechecking);
            for node in std::mem::take(&mut self.moved_meanwhile) {
                // What was moved while a walk was in it may have been armed after it was told.
                self.hint_subtree(node);
                // From where the walk had not been yet to where it had been, nobody looked into it.
                if rechecked && self.nodes.is_alive(node) {
                    self.walks.push_back(Walk::new(node, Purpose::Recheck));
                }
            }
        }
    }

    /// Walks again where a walk found the directory gone from its place. For an empty queue.
    pub(crate) fn retry_unlisted(&mut self) {
        for (node, purpose) in std::mem::take(&mut self.unlisted) {
            if let Some((parent, name)) = self.nodes.position(node) {
                let name = name.to_vec();
                self.suspect(parent, &name);
            }
            let purpose = match purpose {
                Purpose::Start | Purpose::New { .. } => Purpose::New { found: true },
                Purpose::Recheck | Purpose::Recovery => Purpose::Recheck,
            };
            self.walks.push_back(Walk::new(node, purpose));
        }
    }
}
