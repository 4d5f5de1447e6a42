//! Directories without a watch: what they held when last looked at, and when to look again.
//!
//! Nothing here touches the disk.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use crate::disk::{Listing, Stamp};
use crate::hint::What;
use crate::nodes::NodeId;

/// Why a directory has no watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// The limit on watches was reached.
    Limit,
    /// It is reachable by another path of the tree too (a bind mount), which has the watch.
    Alias,
    /// It may not be read, or the kernel refused otherwise.
    Refused,
    /// Its file system can be changed by others, unseen.
    Remote,
    /// Nothing is to be watched.
    Chosen,
}

#[derive(Debug)]
struct Polled {
    reason: Reason,
    /// What it held, and the wall-clock time in nanoseconds when that was listed.
    listing: Option<(Listing, i128)>,
    interval: Duration,
    /// When it is to be looked at; an entry of the queue with another time is outdated.
    next: Instant,
}

/// The time after a change in which another one may leave the same time stamps (coarse clocks tick
/// every 10 ms).
const RACY_NANOS: i128 = 40_000_000;
const SHORTEST_INTERVAL: Duration = Duration::from_secs(1);

/// One difference between two listings.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Difference {
    pub name: Box<[u8]>,
    pub what: What,
}

pub(crate) struct PolledDirs {
    dirs: FxHashMap<NodeId, Polled>,
    due: BinaryHeap<Reverse<(Instant, NodeId)>>,
    limited: usize,
    longest_interval: Duration,
}

impl PolledDirs {
    pub fn new(longest_interval: Duration) -> Self {
        Self { dirs: FxHashMap::default(), due: BinaryHeap::new(), limited: 0, longest_interval }
    }

    pub fn count(&self) -> usize {
        self.dirs.len()
    }

    /// How many have no watch because of the limit.
    pub fn limited_count(&self) -> usize {
        self.limited
    }

    pub fn reason(&self, id: NodeId) -> Option<Reason> {
        self.dirs.get(&id).map(|dir| dir.reason)
    }

    pub fn insert(&mut self, id: NodeId, reason: Reason, now: Instant) {
        self.remove(id);
        let interval = SHORTEST_INTERVAL.min(self.longest_interval);
        let next = now + interval;
        self.dirs.insert(id, Polled { reason, listing: None, interval, next });
        self.due.push(Reverse((next, id)));
        self.limited += usize::from(reason == Reason::Limit);
    }

    pub fn set_reason(&mut self, id: NodeId, reason: Reason) {
        if let Some(dir) = self.dirs.get_mut(&id) {
            self.limited -= usize::from(dir.reason == Reason::Limit);
            self.limited += usize::from(reason == Reason::Limit);
            dir.reason = reason;
        }
    }

    pub fn remove(&mut self, id: NodeId) {
        if let Some(dir) = self.dirs.remove(&id) {
            self.limited -= usize::from(dir.reason == Reason::Limit);
        }
    }

    pub fn all(&self) -> Vec<NodeId> {
        self.dirs.keys().copied().collect()
    }

    /// Some of those that the limit left without a watch.
    pub fn limited(&self, most: usize) -> Vec<NodeId> {
        let limited = self.dirs.iter().filter(|(_, dir)| dir.reason == Reason::Limit);
        limited.map(|(id, _)| *id).take(most).collect()
    }

    /// When the next one is to be looked at.
    pub fn next_due(&self) -> Option<Instant> {
        self.due.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes one whose time has come; it is scheduled again at once.
    pub fn take_due(&mut self, now: Instant) -> Option<NodeId> {
        while let Some(&Reverse((at, id))) = self.due.peek() {
            if at > now {
                return None;
            }
            self.due.pop();
            if let Some(dir) = self.dirs.get_mut(&id).filter(|dir| dir.next == at) {
                dir.interval = (dir.interval * 2).min(self.longest_interval);
                dir.next = now + dir.interval;
                self.due.push(Reverse((dir.next, id)));
                return Some(id);
            }
        }
        None
    }

    /// Stores what `id` holds, listed at the time `wall_nanos`, and returns how that differs from the
    /// last time; `None` when it had never been listed.
    pub fn compare(
        &mut self,
        id: NodeId,
        listing: Listing,
        wall_nanos: i128,
        now: Instant,
    ) -> Option<Vec<Difference>> {
        let dir = self.dirs.get_mut(&id)?;
        let (old, listed_at) = dir.listing.replace((listing, wall_nanos))?;
        let new = &dir.listing.as_ref().expect("stored above").0;
        let differences = differences(&old, listed_at, new);
        let soon = SHORTEST_INTERVAL.min(self.longest_interval);
        if !differences.is_empty() && dir.interval > soon {
            dir.interval = soon;
            dir.next = now + soon;
            self.due.push(Reverse((dir.next, id)));
        }
        Some(differences)
    }
}

fn differences(old: &Listing, listed_at: i128, new: &Listing) -> Vec<Difference> {
    let mut out = Vec::new();
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        let order = match (old.peek(), new.peek()) {
            (None, None) => return out,
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (Some((was, _)), Some((is, _))) => was.cmp(is),
        };
        let was = if order.is_le() { old.next() } else { None };
        let is = if order.is_ge() { new.next() } else { None };
        let what = match (was, is) {
            (Some((_, was)), None) => What::GONE | dir_bit(was),
            (None, Some((_, is))) => What::CREATED | dir_bit(is),
            (Some((_, was)), Some((_, is))) => match change(was, listed_at, is) {
                Some(what) => what | dir_bit(is),
                None => continue,
            },
            (None, None) => unreachable!("one of them is not at its end"),
        };
        if let Some((name, _)) = is.or(was) {
            out.push(Difference { name: name.clone(), what });
        }
    }
}

fn dir_bit(stamp: &Stamp) -> What {
    if stamp.is_dir() { What::IS_DIR } else { What::default() }
}

fn change(was: &Stamp, listed_at: i128, is: &Stamp) -> Option<What> {
    if was.identity != is.identity || (was.mode ^ is.mode) & 0o170_000 != 0 {
        Some(What::CREATED | What::GONE)
    } else if was.size != is.size || was.modified != is.modified {
        Some(What::MODIFIED)
    } else if was != is {
        Some(What::ATTRIBUTES)
    } else if was.is_racy(listed_at) {
        Some(What::MODIFIED)
    } else {
        None
    }
}

impl Stamp {
    /// Whether a change after the stamp was taken, at this time in nanoseconds, may have left the same
    /// times as the one before it.
    pub(crate) fn is_racy(&self, taken_at: i128) -> bool {
        let changed = i128::from(self.changed.0) * 1_000_000_000 + i128::from(self.changed.1);
        (taken_at - changed).abs() < RACY_NANOS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Identity;

    fn stamp(ino: u64, size: i64, second: i64) -> Stamp {
        Stamp {
            identity: Identity { dev: 1, ino },
            mode: 0o100_644,
            owner: (0, 0),
            link_count: 1,
            size,
            modified: (second, 0),
            changed: (second, 0),
        }
    }

    #[track_caller]
    fn check(old: &[(&str, Stamp)], new: &[(&str, Stamp)], expected: &[(&str, What)]) {
        let listing = |entries: &[(&str, Stamp)]| -> Listing {
            entries.iter().map(|(name, stamp)| (name.as_bytes().into(), *stamp)).collect()
        };
        let found = differences(&listing(old), 100 * 1_000_000_000, &listing(new));
        let found: Vec<_> =
            found.iter().map(|d| (std::str::from_utf8(&d.name).unwrap(), d.what)).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn every_kind_of_difference_is_found() {
        let a = stamp(1, 5, 50);
        check(&[("a", a)], &[("a", a)], &[]);
        check(&[("a", a)], &[("b", a)], &[("a", What::GONE), ("b", What::CREATED)]);
        check(&[("a", a)], &[("a", stamp(2, 5, 50))], &[("a", What::CREATED | What::GONE)]);
        check(&[("a", a)], &[("a", stamp(1, 6, 50))], &[("a", What::MODIFIED)]);
        check(&[("a", a)], &[("a", stamp(1, 5, 51))], &[("a", What::MODIFIED)]);
        check(&[("a", a)], &[("a", Stamp { mode: 0o100_600, ..a })], &[("a", What::ATTRIBUTES)]);
        check(
            &[("a", a), ("c", a)],
            &[("b", a), ("c", a)],
            &[("a", What::GONE), ("b", What::CREATED)],
        );
    }

    #[test]
    fn what_changed_while_it_was_listed_counts_as_changed() {
        let fresh = stamp(1, 5, 100);
        check(&[("a", fresh)], &[("a", fresh)], &[("a", What::MODIFIED)]);
    }
}
