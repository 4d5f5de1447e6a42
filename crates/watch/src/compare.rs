//! Comparing the directories that have no watch, and getting watches for them when there are any.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::disk::Stamp;
use crate::engine::Engine;
use crate::hint::Hint;
use crate::limits;
use crate::nodes::NodeId;
use crate::options::LimitReached;
use crate::polled::Reason;
use crate::settle::Unreachable;
use crate::walk::{Purpose, Walk};

const FIRST_RETRY: Duration = Duration::from_secs(10);
const LONGEST_RETRY: Duration = Duration::from_secs(600);
/// Directories that are armed between two reads of the queue.
const REARM_STEPS: usize = 64;

/// The limit on watches: what was said about it and when to try again.
pub(crate) struct LimitState {
    /// Some watch was given back since the last try.
    pub freed: bool,
    pub reported: Option<LimitReached>,
    retry_after: Duration,
    retry_at: Option<Instant>,
}

impl LimitState {
    pub fn new() -> Self {
        Self { freed: false, reported: None, retry_after: FIRST_RETRY, retry_at: None }
    }

    pub fn retry_at(&self) -> Option<Instant> {
        self.retry_at
    }
}

/// What a comparison found besides what it told.
pub(crate) struct Compared {
    /// The names of the directories.
    pub names: Vec<Box<[u8]>>,
    /// There was nothing to compare with.
    pub is_first: bool,
}

impl Engine {
    /// Looks at one directory that has no watch.
    pub(crate) fn poll_dir(&mut self, node: NodeId) {
        let Some(reason) = self.polled.reason(node) else { return };
        if reason == Reason::Refused {
            // What refused it may have changed.
            self.arm_again(node);
            if self.polled.reason(node).is_none() {
                return;
            }
        }
        match self.open_node(node) {
            Ok(dir) => self.poll_opened(node, dir.as_fd()),
            Err(Unreachable::Elsewhere) => match self.nodes.position(node) {
                Some((parent, name)) => {
                    let name = name.to_vec();
                    self.suspect_moved(node, parent, &name);
                }
                None => self.check_root(),
            },
            // To be looked at once it has a place again.
            Err(Unreachable::Floating(top)) => self.nodes.touch(top),
            Err(Unreachable::Gone | Unreachable::TooDeep) => {}
        }
    }

    /// A directory that could never be opened is in its place, for all we know; another one is to be
    /// looked for.
    fn suspect_moved(&mut self, node: NodeId, parent: NodeId, name: &[u8]) {
        if self.nodes.identity(node) != Some(crate::disk::Identity::UNKNOWN) {
            self.suspect(parent, name);
        }
    }

    fn poll_opened(&mut self, node: NodeId, dir: BorrowedFd<'_>) {
        if node == self.nodes.root() {
            self.compare_root(dir);
        }
        let Ok(Compared { names, is_first }) = self.compare_polled(node, dir) else { return };
        if is_first {
            self.hint_subtree(node);
        }
        for child in self.nodes.children(node) {
            let Some((_, name)) = self.nodes.position(child) else { continue };
            if names.binary_search_by(|listed| (**listed).cmp(name)).is_err() {
                let name = name.to_vec();
                self.suspect(node, &name);
            }
        }
        for name in names {
            // Which inode it is, the watch of a known one need not tell: its directory has none.
            self.suspect(node, &name);
        }
    }

    /// Lists a directory that has no watch and tells what differs from the last time.
    pub(crate) fn compare_polled(
        &mut self,
        node: NodeId,
        dir: BorrowedFd<'_>,
    ) -> Result<Compared, Errno> {
        let wall = wall_nanos();
        let listing = self.lister.stamps(dir)?;
        let names = listing.iter().filter(|(_, stamp)| stamp.is_dir());
        let names = names.map(|(name, _)| name.clone()).collect();
        let differences = self.polled.compare(node, listing, wall, Instant::now());
        let is_first = differences.is_none();
        for difference in differences.unwrap_or_default() {
            self.hint_child(node, &difference.name, difference.what);
        }
        Ok(Compared { names, is_first })
    }

    fn compare_root(&mut self, dir: BorrowedFd<'_>) {
        let wall = wall_nanos();
        let Ok(stat) = rustix::fs::fstat(dir) else { return };
        let stamp = Stamp::from_stat(&stat);
        let before = self.root.stamp.replace((stamp, wall));
        if before.is_some_and(|(before, at)| before != stamp || before.is_racy(at)) {
            self.hints.push(Hint::RootAttributes);
        }
    }

    /// Tries to watch a directory that has no watch.
    fn arm_again(&mut self, node: NodeId) {
        match self.nodes.position(node) {
            Some((parent, name)) => {
                let name = name.to_vec();
                self.verify(parent, &name);
            }
            None if node == self.nodes.root() => {
                let Ok(dir) = self.open_node(node) else { return };
                if let Ok(wd) = self.arm(dir.as_fd())
                    && self.nodes.by_wd(wd).is_none()
                {
                    self.polled.remove(node);
                    self.nodes.set_watch(node, wd);
                    self.hint_subtree(node);
                    self.walks.push_back(Walk::new(node, Purpose::Recheck));
                }
            }
            None => {}
        }
    }

    /// Gives watches to directories that the limit left without one. Returns whether it did.
    pub(crate) fn rearm_limited(&mut self, now: Instant) -> bool {
        if self.polled.limited_count() == 0 {
            self.limit = LimitState::new();
            return false;
        }
        let retry_at = *self.limit.retry_at.get_or_insert(now + self.limit.retry_after);
        if !self.limit.freed && now < retry_at {
            return false;
        }
        let mut armed = false;
        for node in self.polled.limited(REARM_STEPS) {
            self.arm_again(node);
            if self.polled.reason(node) == Some(Reason::Limit) {
                self.limit.freed = false;
                self.limit.retry_after = (self.limit.retry_after * 2).min(LONGEST_RETRY);
                self.limit.retry_at = Some(now + self.limit.retry_after);
                return armed;
            }
            armed = true;
            self.limit.retry_after = FIRST_RETRY;
        }
        armed
    }

    /// Tells the operator about the limit, once for each time that it is met.
    pub(crate) fn report_limit(&mut self) {
        let unwatched = self.polled.limited_count();
        if unwatched == 0 {
            return;
        }
        let present = match &self.limit.reported {
            Some(told) => told.present,
            None => limits::present(limits::MAX_USER_WATCHES),
        };
        let limit = limits::watches(present, unwatched);
        if self.limit.reported.is_none() {
            tracing::warn!(
                "cannot watch {unwatched} of {} directories below {}: the limit of {present} inotify \
                 watches for this user is reached; they are compared every {} s; to watch them: \
                 sysctl {}={}",
                self.nodes.count(),
                self.root.path.display(),
                self.options.poll_interval.as_secs(),
                limit.sysctl,
                limit.sufficient,
            );
        }
        self.limit.reported = Some(limit);
    }
}

/// The time by the clock that file systems stamp with, in nanoseconds.
fn wall_nanos() -> i128 {
    let wall = rustix::time::clock_gettime(rustix::time::ClockId::Realtime);
    i128::from(wall.tv_sec) * 1_000_000_000 + i128::from(wall.tv_nsec)
}
