//! Making the tree of nodes agree with what is on disk, one name at a time.
//!
//! What an event says may be outdated and the tree may be ahead of the events, when a listing saw
//! what is still in the queue. So every step is a fact from the disk: "the inode with this watch was
//! at this name just now", where the directory that holds the name is itself known by its inode. A
//! fact that stops being true makes an event, since the directory is watched. Names of which no fact
//! could be had are suspects and are verified once the queue is empty.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use driftless_tree::RelPath;
use driftless_tree::path::printable;
use rustix::io::Errno;

use crate::disk::{self, Identity};
use crate::engine::Engine;
use crate::hint::What;
use crate::look::{Armed, Look, Looker, Opened};
use crate::nodes::{NodeId, Place};
use crate::polled::Reason;
use crate::walk::{Purpose, Walk};

/// What is at a name.
pub(crate) enum Settled {
    /// The directory that was known there; without a descriptor when it could not be opened.
    Known(NodeId, Option<OwnedFd>),
    /// A directory that was known elsewhere, or floated.
    Moved { node: NodeId, dir: OwnedFd, floated: bool },
    /// A directory that has just been armed, or polled: it is to be listed.
    New(NodeId, OwnedFd),
    /// No directory.
    Absent,
    /// A directory that gets no node now: it is skipped, too deep, or its parent floats.
    Unplaced,
}

/// Why a node's directory cannot be opened.
pub(crate) enum Unreachable {
    /// Its path does not lead to it, now.
    Elsewhere,
    Floating(NodeId),
    TooDeep,
    Gone,
}

impl Engine {
    /// Opens a node's directory, making sure that it is the one.
    pub(crate) fn open_node(&self, node: NodeId) -> Result<OwnedFd, Unreachable> {
        if !self.nodes.is_alive(node) {
            return Err(Unreachable::Gone);
        }
        let opened = match self.nodes.place(node) {
            Place::At(None) => self.root.open(),
            Place::At(Some(path)) => {
                self.root.open().and_then(|root| disk::open_dir(root, path.as_bytes()))
            }
            Place::Floating(top) => return Err(Unreachable::Floating(top)),
            Place::TooDeep => return Err(Unreachable::TooDeep),
        };
        let dir = opened.map_err(|_| Unreachable::Elsewhere)?;
        match Identity::of(&dir) {
            Ok(found) if Some(found) == self.nodes.identity(node) => Ok(dir),
            _ => Err(Unreachable::Elsewhere),
        }
    }

    /// Finds out what directory `name` is in `parent`, which `dir` is open on, and makes the tree say so.
    pub(crate) fn settle(&mut self, dir: BorrowedFd<'_>, parent: NodeId, name: &[u8]) -> Settled {
        if !self.gets_node(parent, name) {
            return Settled::Unplaced;
        }
        let look = self.looker().look(dir, name);
        self.place(parent, name, look)
    }

    /// Whether a directory of that name in `parent` is watched or compared.
    pub(crate) fn gets_node(&mut self, parent: NodeId, name: &[u8]) -> bool {
        let path = match self.nodes.place(parent) {
            Place::At(above) => RelPath::child(above.as_ref(), name),
            Place::TooDeep => RelPath::parse(b""),
            Place::Floating(top) => {
                self.nodes.touch(top);
                return false;
            }
        };
        let Ok(path) = path else {
            tracing::debug!(name = printable(name), "deeper than a path can be: not watched");
            self.hint_subtree(parent);
            return false;
        };
        if (self.options.skip)(&path) {
            self.nodes.set_skips(parent);
            self.skipped_any = true;
            if let Some(old) = self.nodes.child(parent, name) {
                self.drop_node(old);
            }
            return false;
        }
        true
    }

    /// Makes the tree agree with what was found at `name` in `parent` just now.
    pub(crate) fn place(&mut self, parent: NodeId, name: &[u8], look: Look) -> Settled {
        match look {
            Ok(Opened { identity, dir, armed }) => match self.within_limits(armed) {
                Ok(wd) => self.place_watched(parent, name, identity, wd, dir),
                Err((reason, _)) => self.place_polled(parent, name, identity, reason, dir),
            },
            Err(error) if disk::is_absent(error) => Settled::Absent,
            Err(error) => self.place_unopened(parent, name, error),
        }
    }

    /// Opens and arms directories.
    pub(crate) fn looker(&self) -> Looker<'_> {
        Looker { kernel: &self.kernel, backend: self.options.backend }
    }

    /// Watches a directory, within the limits.
    pub(crate) fn arm(&mut self, dir: BorrowedFd<'_>) -> Result<i32, (Reason, Errno)> {
        let armed = self.looker().arm(dir);
        self.within_limits(armed)
    }

    fn within_limits(&mut self, armed: Armed) -> Result<i32, (Reason, Errno)> {
        match armed {
            Armed::Chosen => Err((Reason::Chosen, Errno::OPNOTSUPP)),
            Armed::Remote(name) => {
                self.say_remote(name);
                Err((Reason::Remote, Errno::OPNOTSUPP))
            }
            Armed::Tried(Ok(wd)) => {
                let is_new = self.nodes.by_wd(wd).is_none();
                let most = self.options.max_watches.unwrap_or(usize::MAX);
                if is_new && self.nodes.watched_count() >= most {
                    self.kernel.unwatch(wd);
                    return Err((Reason::Limit, Errno::NOSPC));
                }
                Ok(wd)
            }
            Armed::Tried(Err(Errno::NOSPC)) => Err((Reason::Limit, Errno::NOSPC)),
            Armed::Tried(Err(error)) => Err((Reason::Refused, error)),
        }
    }

    /// Tells the operator, once.
    fn say_remote(&mut self, name: &'static str) {
        if !std::mem::replace(&mut self.said_remote, true) {
            tracing::warn!(
                "directories below {} are on {name}, where others can change files unseen: they \
                 are compared at intervals, {} s at most",
                self.root.path.display(),
                self.options.poll_interval.as_secs(),
            );
        }
    }

    fn place_watched(
        &mut self,
        parent: NodeId,
        name: &[u8],
        identity: Identity,
        wd: i32,
        dir: OwnedFd,
    ) -> Settled {
        let here = self.nodes.child(parent, name);
        match self.nodes.by_wd(wd) {
            Some(node) if Some(node) == here => {
                self.nodes.set_identity(node, identity);
                Settled::Known(node, Some(dir))
            }
            Some(node) if self.is_alias(node, parent) => {
                if self.open_node(node).is_err() {
                    // Not two places but one move, which the tree has not followed yet.
                    self.suspect(parent, name);
                }
                self.place_polled(parent, name, identity, Reason::Alias, dir)
            }
            Some(node) => {
                if let Some(here) = here {
                    self.displace(here);
                }
                let floated = self.nodes.is_floating(node);
                if let Some((old_parent, old_name)) = self.nodes.position(node) {
                    let old_name = old_name.to_vec();
                    self.suspect(old_parent, &old_name);
                    self.nodes.float(node);
                }
                self.nodes.attach(node, parent, name);
                Settled::Moved { node, dir, floated }
            }
            None => {
                let here = here.filter(|&here| self.keeps_polled(here, identity));
                let node = match here {
                    Some(here) => here,
                    None => self.insert(parent, name, identity),
                };
                self.polled.remove(node);
                self.nodes.set_watch(node, wd);
                Settled::New(node, dir)
            }
        }
    }

    fn place_polled(
        &mut self,
        parent: NodeId,
        name: &[u8],
        identity: Identity,
        reason: Reason,
        dir: OwnedFd,
    ) -> Settled {
        if let Some(here) = self.nodes.child(parent, name) {
            if self.keeps_polled(here, identity) {
                self.polled.set_reason(here, reason);
                return Settled::Known(here, Some(dir));
            }
            // A watch outlives the right to set it.
            if reason == Reason::Refused && self.nodes.identity(here) == Some(identity) {
                return Settled::Known(here, Some(dir));
            }
        }
        let node = self.insert(parent, name, identity);
        self.polled.insert(node, reason, Instant::now());
        Settled::New(node, dir)
    }

    fn place_unopened(&mut self, parent: NodeId, name: &[u8], error: Errno) -> Settled {
        if let Some(here) = self.nodes.child(parent, name) {
            if self.nodes.identity(here) != Some(Identity::UNKNOWN) {
                // Not to be told from another directory in its place: look again, later.
                self.recovery.need();
            }
            return Settled::Known(here, None);
        }
        tracing::warn!(name = printable(name), %error, "cannot open a directory: trying at intervals");
        let node = self.insert(parent, name, Identity::UNKNOWN);
        self.polled.insert(node, Reason::Refused, Instant::now());
        self.hint_subtree(node);
        Settled::Unplaced
    }

    /// Whether `here` is the polled node of this inode.
    fn keeps_polled(&self, here: NodeId, identity: Identity) -> bool {
        !self.nodes.is_watched(here) && self.nodes.identity(here) == Some(identity)
    }

    /// A new node, in the place of the one that may be there.
    fn insert(&mut self, parent: NodeId, name: &[u8], identity: Identity) -> NodeId {
        if let Some(here) = self.nodes.child(parent, name) {
            self.displace(here);
        }
        self.nodes.insert(parent, name, identity)
    }

    /// Whether a known directory found in `parent` is at its known place as well, or would have to be
    /// below itself.
    fn is_alias(&self, node: NodeId, parent: NodeId) -> bool {
        if self.nodes.is_within(parent, node) {
            return true;
        }
        !self.nodes.is_floating(node) && self.open_node(node).is_ok()
    }

    /// Another directory is in the place of this one, which may have moved: it waits for that news.
    fn displace(&mut self, node: NodeId) {
        self.nodes.float(node);
        self.pairs.set_adrift(node, Instant::now());
    }

    /// Forgets a node with all below it.
    pub(crate) fn drop_node(&mut self, node: NodeId) {
        let removed = self.nodes.remove(node);
        for id in removed.unwatched {
            self.polled.remove(id);
        }
        self.limit.freed |= !removed.wds.is_empty();
        self.doomed.extend(removed.wds);
    }

    /// Stops relying on the watch of a directory that cannot be listed.
    pub(crate) fn demote(&mut self, node: NodeId, reason: Reason, error: Errno) {
        tracing::warn!(path = self.describe(node), %error, "cannot list a directory: trying at intervals");
        if let Some(wd) = self.nodes.clear_watch(node) {
            self.doomed.push(wd);
        }
        if self.polled.reason(node).is_none() {
            self.polled.insert(node, reason, Instant::now());
        }
    }

    /// To be verified once the queue is empty.
    pub(crate) fn suspect(&mut self, parent: NodeId, name: &[u8]) {
        self.suspects.insert((parent, name.into()));
    }

    /// The same, when there is a node to lose.
    pub(crate) fn suspect_known(&mut self, parent: NodeId, name: &[u8]) {
        if self.nodes.child(parent, name).is_some() {
            self.suspect(parent, name);
        }
    }

    /// Verifies some of the suspects.
    pub(crate) fn verify_suspects(&mut self, most: usize) {
        let some: Vec<_> = self.suspects.iter().take(most).cloned().collect();
        for suspect in some {
            self.suspects.remove(&suspect);
            self.verify(suspect.0, &suspect.1);
        }
    }

    /// Makes the tree agree with the disk about one name and tells what was found.
    pub(crate) fn verify(&mut self, parent: NodeId, name: &[u8]) {
        let dir = match self.open_node(parent) {
            Ok(dir) => dir,
            Err(Unreachable::Gone) => return,
            Err(Unreachable::TooDeep) => return self.hint_subtree(parent),
            Err(Unreachable::Floating(top)) => return self.nodes.touch(top),
            Err(Unreachable::Elsewhere) => {
                // It is not where the tree has it, so that is to be verified first.
                if let Some((above, parent_name)) = self.nodes.position(parent) {
                    let parent_name = parent_name.to_vec();
                    self.verify(above, &parent_name);
                    self.suspect(parent, name);
                } else {
                    self.check_root();
                }
                return;
            }
        };
        match self.settle(dir.as_fd(), parent, name) {
            Settled::New(node, _) => self.announce_new(node),
            Settled::Moved { node, .. } => {
                self.hint_subtree(node);
                self.reattached(node);
            }
            Settled::Absent => {
                if let Some(node) = self.nodes.child(parent, name) {
                    self.hint_child(parent, name, What::GONE | What::IS_DIR);
                    self.drop_node(node);
                }
            }
            Settled::Known(..) | Settled::Unplaced => {}
        }
    }

    /// Tells of a directory that was just armed and has it listed.
    pub(crate) fn announce_new(&mut self, node: NodeId) {
        self.hint_subtree(node);
        self.walks.push_back(Walk::new(node, Purpose::New { found: false }));
    }

    /// Makes good what could not be done or told while `node` floated or was half walked.
    pub(crate) fn reattached(&mut self, node: NodeId) {
        if self.nodes.take_touched(node) {
            self.hint_subtree(node);
            self.walks.push_back(Walk::new(node, Purpose::Recheck));
        } else if !self.walks.is_empty() || self.walking || !self.unlisted.is_empty() {
            self.moved_meanwhile.push(node);
        }
        if self.skipped_any {
            // Names below it that were skipped have other paths now.
            let mut all = self.nodes.below(node);
            all.push(node);
            for dir in all.into_iter().filter(|&dir| self.nodes.skips(dir)) {
                self.walks.push_back(Walk::new(dir, Purpose::Recheck));
            }
        }
    }
}
