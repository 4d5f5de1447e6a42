//! What the watched directories hold, kept to tell what changed while events were lost.

use std::os::fd::AsFd;

use rustc_hash::FxHashMap;

use super::names;
use super::table::Node;
use super::watches::{Watches, open_dir};
use crate::disk::{self, Lister, Stamp};

/// The entries of the watched directories.
#[derive(Default)]
pub struct Snapshot {
    dirs: FxHashMap<Node, FxHashMap<Box<[u8]>, Stamp>>,
}

/// What differs from the snapshot.
#[derive(Debug, PartialEq, Eq)]
pub struct Change {
    /// The directory.
    pub node: Node,
    /// The name in it.
    pub name: Box<[u8]>,
    /// The events that would tell it.
    pub masks: [u32; 2],
}

impl Snapshot {
    /// Looks at everything that is watched.
    pub fn of(watches: &Watches) -> Self {
        let mut snapshot = Self::default();
        snapshot.compare(watches);
        snapshot
    }

    /// Takes note of how a name is now, since an event about it was told.
    pub fn note(&mut self, watches: &Watches, node: Node, name: &[u8]) {
        if name.is_empty() {
            return;
        }
        let Ok(dir) = disk::open_dir(rustix::fs::CWD, bare(&watches.path(node))) else { return };
        let entries = self.dirs.entry(node).or_default();
        match disk::stat(&dir, name) {
            Ok(stat) => drop(entries.insert(name.into(), Stamp::from_stat(&stat))),
            Err(_) => drop(entries.remove(name)),
        }
    }

    /// Forgets a directory that is no longer watched.
    pub fn forget(&mut self, node: Node) {
        self.dirs.remove(&node);
    }

    /// Looks at everything that is watched, and returns what has changed.
    pub fn compare(&mut self, watches: &Watches) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut lister = Lister::new();
        for node in watches.table().children_first().into_iter().rev() {
            let Ok(dir) = open_dir(&watches.path(node), true) else { continue };
            let Ok(listed) = lister.stamps(dir.as_fd()) else { continue };
            let mut before = self.dirs.remove(&node).unwrap_or_default();
            let mut now = FxHashMap::default();
            for (name, stamp) in listed {
                let masks = difference(before.remove(&name).as_ref(), &stamp);
                if masks != [0; 2] {
                    changes.push(Change { node, name: name.clone(), masks });
                }
                now.insert(name, stamp);
            }
            changes.extend(before.into_iter().map(|(name, stamp)| Change {
                node,
                name,
                masks: [names::DELETE | dir_bit(&stamp), 0],
            }));
            self.dirs.insert(node, now);
        }
        changes
    }
}

fn bare(path: &[u8]) -> &[u8] {
    match path {
        [_, .., b'/'] => &path[..path.len() - 1],
        _ => path,
    }
}

fn dir_bit(stamp: &Stamp) -> u32 {
    if stamp.is_dir() { names::ISDIR } else { 0 }
}

/// The events that lead from one state of a name to another. What happens in a directory is told of
/// its entries.
fn difference(before: Option<&Stamp>, now: &Stamp) -> [u32; 2] {
    let written = if now.is_regular() { names::CLOSE_WRITE } else { 0 };
    match before {
        Some(before) if before.identity == now.identity => {
            let attributes = |stamp: &Stamp| (stamp.mode, stamp.owner);
            if attributes(before) != attributes(now) {
                [names::ATTRIB | dir_bit(now), 0]
            } else if now.is_dir() || before == now {
                [0, 0]
            } else if (before.size, before.modified) != (now.size, now.modified) {
                [names::MODIFY, written]
            } else {
                [names::ATTRIB, 0]
            }
        }
        _ => [names::CREATE | dir_bit(now), written],
    }
}
