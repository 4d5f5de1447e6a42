//! The halves of renames that wait for their partner.
//!
//! The kernel queues the two halves one after the other, but other events may lie between them, and
//! one half may come in a later read or not at all. A half that is still alone some time after the
//! queue was seen empty was a move into or out of the tree.

use std::time::{Duration, Instant};

use driftless_tree::RelPath;
use rustc_hash::FxHashMap;

use crate::nodes::NodeId;

/// How long a half waits once the queue is empty.
const WAIT: Duration = Duration::from_millis(10);

/// The first half of a rename.
#[derive(Debug)]
pub(crate) struct Leaving {
    /// The former path, unless its directory has none at the moment.
    pub from: Option<RelPath>,
    /// The former place.
    pub position: (NodeId, Box<[u8]>),
    /// What floats since then.
    pub node: Option<NodeId>,
    /// The batch and the index in it of the hint for the former name.
    pub hint: Option<(u64, usize)>,
}

#[derive(Debug, Default)]
pub(crate) struct Pairs {
    leaving: FxHashMap<u32, (Leaving, Instant)>,
    /// Nodes that float without a rename of their own: another directory was found in their place.
    adrift: Vec<(NodeId, Instant)>,
}

impl Pairs {
    pub fn leave(&mut self, cookie: u32, half: Leaving, now: Instant) {
        self.leaving.insert(cookie, (half, now));
    }

    /// The first half of the rename that `cookie` names.
    pub fn arrive(&mut self, cookie: u32) -> Option<Leaving> {
        self.leaving.remove(&cookie).map(|(half, _)| half)
    }

    pub fn set_adrift(&mut self, node: NodeId, now: Instant) {
        self.adrift.push((node, now));
    }

    /// Gives up what has waited long enough. To be called while the queue is empty.
    pub fn expire(&mut self, now: Instant) -> Vec<NodeId> {
        let mut lost = Vec::new();
        self.leaving.retain(|_, (half, since)| {
            let keep = now < *since + WAIT;
            if !keep {
                lost.extend(half.node);
            }
            keep
        });
        self.adrift.retain(|(node, since)| {
            let keep = now < *since + WAIT;
            if !keep {
                lost.push(*node);
            }
            keep
        });
        lost
    }

    /// When something is to be given up next.
    pub fn next_expiry(&self) -> Option<Instant> {
        let leaving = self.leaving.values().map(|(_, since)| *since);
        let adrift = self.adrift.iter().map(|(_, since)| *since);
        leaving.chain(adrift).min().map(|since| since + WAIT)
    }
}
