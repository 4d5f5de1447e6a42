//! The watcher's thread: read, take, walk, deliver; and what waits for an empty queue.

use std::collections::VecDeque;
use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::Instant;

use driftless_tree::RelPath;
use rustc_hash::FxHashSet;
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::compare::LimitState;
use crate::disk::Lister;
use crate::hint::{Hint, Sink, What};
use crate::kernel::Kernel;
use crate::limits;
use crate::nodes::{NodeId, Nodes, Place};
use crate::options::{Backend, WatchOptions, WatchStats};
use crate::pairs::Pairs;
use crate::polled::{PolledDirs, Reason};
use crate::record::take_record;
use crate::recovery::Recovery;
use crate::root::Root;
use crate::shared::{Request, Shared};
use crate::walk::{Purpose, Walk};

/// Directories gone through, verified, compared or given up between two reads of the queue, at most.
const LONGEST_SLICE: usize = 256;
/// The part of the queue that the events of one slice may fill: ending a watch makes one.
const QUEUE_PART: u64 = 4;

pub(crate) struct Engine {
    pub root: Root,
    pub options: WatchOptions,
    pub kernel: Kernel,
    pub lister: Lister,
    pub nodes: Nodes,
    pub polled: PolledDirs,
    pub pairs: Pairs,
    pub recovery: Recovery,
    pub limit: LimitState,
    pub walks: VecDeque<Walk>,
    /// A step of a walk is being done, which is not in `walks` meanwhile.
    pub walking: bool,
    /// Directories that a walk did not find in their place.
    pub unlisted: Vec<(NodeId, Purpose)>,
    /// Directories that were moved while a walk may have been in them, or was to come to them.
    pub moved_meanwhile: Vec<NodeId>,
    /// One of these walks was to look into directories that are known.
    pub rechecking: bool,
    pub suspects: FxHashSet<(NodeId, Box<[u8]>)>,
    /// Watches to be ended. In slices, because each of them queues an event.
    pub doomed: Vec<i32>,
    pub skipped_any: bool,
    /// It was told that something is on a remote file system.
    pub said_remote: bool,
    /// Why a better back-end is not possible.
    pub refused: Option<String>,
    pub hints: Vec<Hint>,
    /// Counts deliveries.
    pub batch: u64,
    pub events: u64,
    /// The name that the last hint is about, while another event of it may be joined to it.
    last: Option<(NodeId, Box<[u8]>)>,
    /// Directories that a barrier wants compared.
    round: Vec<NodeId>,
    overflows: u64,
    slice: usize,
    /// The barrier that a recovery was last hastened for.
    hastened: u64,
    records: Vec<u8>,
    sink: Arc<dyn Sink>,
    shared: Arc<Shared>,
}

/// How much to do at once with a queue of this length.
fn slice(queue_len: u64) -> usize {
    match usize::try_from(queue_len / QUEUE_PART) {
        // Unknown, then: it cannot be that short.
        Ok(0) | Err(_) => LONGEST_SLICE,
        Ok(part) => part.min(LONGEST_SLICE),
    }
}

impl Engine {
    /// Arms the root.
    pub fn new(
        root: Root,
        kernel: Kernel,
        options: WatchOptions,
        sink: Arc<dyn Sink>,
        shared: Arc<Shared>,
    ) -> Result<Self, Errno> {
        let nodes = Nodes::new(root.identity);
        let polled = PolledDirs::new(options.poll_interval);
        let mut engine = Self {
            root,
            options,
            kernel,
            lister: Lister::new(),
            nodes,
            polled,
            pairs: Pairs::default(),
            recovery: Recovery::new(),
            limit: LimitState::new(),
            walks: VecDeque::new(),
            walking: false,
            unlisted: Vec::new(),
            moved_meanwhile: Vec::new(),
            rechecking: false,
            suspects: FxHashSet::default(),
            doomed: Vec::new(),
            skipped_any: false,
            said_remote: false,
            refused: None,
            hints: Vec::new(),
            batch: 0,
            events: 0,
            last: None,
            round: Vec::new(),
            overflows: 0,
            slice: slice(limits::present(limits::MAX_QUEUED_EVENTS)),
            hastened: 0,
            records: Vec::new(),
            sink,
            shared,
        };
        engine.arm_root()?;
        Ok(engine)
    }

    fn arm_root(&mut self) -> Result<(), Errno> {
        let dir = self.root.open()?;
        let root = self.nodes.root();
        match self.arm(dir.as_fd()) {
            Ok(wd) => self.nodes.set_watch(root, wd),
            Err((reason @ (Reason::Limit | Reason::Remote | Reason::Chosen), _)) => {
                self.polled.insert(root, reason, Instant::now());
            }
            Err((_, error)) => return Err(error),
        }
        if let Some(above) = self.root.path.parent() {
            // Whoever holds the root open hides its deletion from a watch of itself. Without a right
            // to read the directory above, barriers notice.
            self.root.above = self.kernel.watch_above(above).ok();
        }
        self.walks.push_back(Walk::new(root, Purpose::Start));
        Ok(())
    }

    /// Runs until it is told to stop or the root is lost; returns why.
    pub fn run(mut self) -> String {
        let mut begun = 0;
        loop {
            let asked = match self.shared.request() {
                Request::Stop => return "it was stopped".into(),
                Request::Barrier(asked) => asked,
            };
            if asked > begun {
                begun = asked;
                self.round = self.polled.all();
                self.check_root();
            }
            let read = match self.read() {
                Ok(read) => read,
                Err(error) => {
                    self.root.lost = Some(format!("cannot read the kernel's queue: {error}"));
                    false
                }
            };
            if !read {
                self.sink.caught_up();
            }
            let mut busy = read || self.has_work();
            self.work();
            if !busy {
                busy = self.settle_down(asked);
            }
            self.deliver();
            self.shared.publish(self.stats());
            if let Some(reason) = self.root.lost.take() {
                self.hints.push(Hint::RootLost(reason.clone()));
                self.deliver();
                return format!("{} is lost: {reason}", self.root.path.display());
            }
            if !busy {
                // Nothing was left to do after a read that found the queue empty and came after the
                // request.
                if !self.recovery.is_open() {
                    self.shared.complete(asked);
                }
                if let Err(error) = self.wait() {
                    return format!("cannot wait for the kernel's queue: {error}");
                }
            }
        }
    }

    /// Reads once and takes what came.
    fn read(&mut self) -> Result<bool, Errno> {
        let mut records = std::mem::take(&mut self.records);
        records.clear();
        let read = self.kernel.read(&mut records);
        let now = Instant::now();
        let mut input = &records[..];
        while let Some(record) = take_record(&mut input) {
            self.take(&record, now);
        }
        self.records = records;
        read
    }

    fn has_work(&self) -> bool {
        !self.walks.is_empty() || !self.doomed.is_empty()
    }

    /// A slice of what need not wait for an empty queue.
    fn work(&mut self) {
        self.walk_slice(self.slice);
        let keep = self.doomed.len().saturating_sub(self.slice);
        for wd in self.doomed.split_off(keep) {
            // The directory may have come back and kept its watch.
            if self.nodes.by_wd(wd).is_none() {
                self.kernel.unwatch(wd);
            }
        }
    }

    /// One thing of what waits for an empty queue; false when there is none.
    fn settle_down(&mut self, asked: u64) -> bool {
        let now = Instant::now();
        if !self.suspects.is_empty() {
            self.verify_suspects(self.slice);
            return true;
        }
        if !self.unlisted.is_empty() {
            self.retry_unlisted();
            return true;
        }
        let expired = self.pairs.expire(now);
        if !expired.is_empty() {
            for node in expired {
                // It may have found a place since.
                if self.nodes.is_floating(node) {
                    self.drop_node(node);
                }
            }
            return true;
        }
        // A barrier does not wait for the pause, but only once: losing events again and again while
        // one is awaited must be no hot loop either.
        let hasten = asked > self.hastened && self.shared.is_awaited(asked);
        if self.recovery.due(now).is_some_and(|due| hasten || due <= now) {
            self.hastened = asked;
            self.recovery.start(now);
            self.walks.push_back(Walk::new(self.nodes.root(), Purpose::Recovery));
            return true;
        }
        let mut compared = false;
        for _ in 0..self.slice {
            let Some(node) = self.round.pop().or_else(|| self.polled.take_due(now)) else { break };
            self.poll_dir(node);
            compared = true;
        }
        if compared || self.rearm_limited(now) {
            return true;
        }
        self.report_limit();
        false
    }

    /// Sleeps until there are events, requests or something is due.
    fn wait(&self) -> Result<(), Errno> {
        let now = Instant::now();
        let due = [
            self.pairs.next_expiry(),
            self.polled.next_due(),
            self.recovery.due(now),
            self.limit.retry_at(),
        ];
        let timeout = due.into_iter().flatten().min().map(|at| {
            let pause = at.saturating_duration_since(now);
            Timespec { tv_sec: pause.as_secs() as i64, tv_nsec: i64::from(pause.subsec_nanos()) }
        });
        let wake_up = self.shared.wake_up();
        let mut fds = vec![PollFd::new(&wake_up, PollFlags::IN)];
        let queue = self.kernel.queue();
        fds.extend(queue.as_ref().map(|queue| PollFd::new(queue, PollFlags::IN)));
        match rustix::event::poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
        self.shared.wakened();
        Ok(())
    }

    fn deliver(&mut self) {
        self.last = None;
        if self.hints.is_empty() {
            return;
        }
        self.sink.deliver(&mut self.hints);
        self.hints.clear();
        self.batch += 1;
    }

    fn stats(&self) -> WatchStats {
        WatchStats {
            backend: self.backend(),
            refused: self.refused.clone(),
            directories: self.nodes.count(),
            watched: self.nodes.watched_count(),
            polled: self.polled.count(),
            events: self.events,
            overflows: self.overflows,
            recovering: self.recovery.is_open(),
            limit: self.limit.reported.clone(),
        }
    }

    /// How most is watched.
    fn backend(&self) -> Backend {
        match self.nodes.is_watched(self.nodes.root()) || self.polled.limited_count() > 0 {
            true => Backend::Inotify,
            false => Backend::Poll,
        }
    }

    pub(crate) fn overflowed(&mut self) {
        self.overflows += 1;
        self.recovery.need();
        tracing::warn!(
            root = %self.root.path.display(),
            overflows = self.overflows,
            "the kernel's event queue overflowed: going through the whole tree"
        );
    }

    pub(crate) fn finish_recovery(&mut self) {
        self.split_hint();
        self.hints.push(Hint::Subtree { path: None });
        self.recovery.finish(Instant::now());
    }

    /// Notes whether the root's path still leads to it.
    pub(crate) fn check_root(&mut self) {
        if self.root.lost.is_some() {
            return;
        }
        self.root.lost = self.root.whereabouts();
    }

    /// A hint on a name in a directory; returns its path when it has one.
    pub(crate) fn hint_child(&mut self, dir: NodeId, name: &[u8], what: What) -> Option<RelPath> {
        if let (Some((last_dir, last_name)), Some(Hint::Path { path, what: seen })) =
            (&self.last, self.hints.last_mut())
            && *last_dir == dir
            && **last_name == *name
        {
            *seen |= what;
            let path = path.clone();
            if !what.intersects(What::CLOSED_WRITE | What::GONE) {
                return Some(path);
            }
            // What comes after a close or a removal is told on its own.
            self.split_hint();
            return Some(path);
        }
        let path = match self.nodes.place(dir) {
            Place::At(above) => RelPath::child(above.as_ref(), name).ok(),
            Place::Floating(top) => {
                self.nodes.touch(top);
                return None;
            }
            Place::TooDeep => None,
        };
        let Some(path) = path else {
            self.hint_subtree(dir);
            return None;
        };
        self.last = Some((dir, name.into()));
        if what.intersects(What::CLOSED_WRITE | What::GONE) {
            self.split_hint();
        }
        self.hints.push(Hint::Path { path: path.clone(), what });
        Some(path)
    }

    /// A hint on all of a directory, or the nearest one above it that can be named.
    pub(crate) fn hint_subtree(&mut self, node: NodeId) {
        self.split_hint();
        let mut node = node;
        while self.nodes.is_alive(node) {
            match self.nodes.place(node) {
                Place::At(path) => return self.hints.push(Hint::Subtree { path }),
                Place::Floating(top) => return self.nodes.touch(top),
                Place::TooDeep => match self.nodes.position(node) {
                    Some((parent, _)) => node = parent,
                    None => return,
                },
            }
        }
    }

    /// A hint on a rename, put before the one for the former name when that is not delivered yet.
    pub(crate) fn hint_renamed(
        &mut self,
        from: RelPath,
        to: RelPath,
        is_dir: bool,
        gone: Option<(u64, usize)>,
    ) {
        self.split_hint();
        let renamed = Hint::Renamed { from, to, is_dir };
        match gone
            .filter(|(batch, _)| *batch == self.batch)
            .and_then(|(_, at)| self.hints.get_mut(at))
        {
            Some(slot) => {
                let gone = std::mem::replace(slot, renamed);
                self.hints.push(gone);
            }
            None => self.hints.push(renamed),
        }
    }

    /// Makes the next event of the same name a hint of its own.
    pub(crate) fn split_hint(&mut self) {
        self.last = None;
    }

    /// A node for a log line.
    pub(crate) fn describe(&self, node: NodeId) -> String {
        match self.nodes.place(node) {
            Place::At(None) => self.root.path.display().to_string(),
            Place::At(Some(path)) => path.to_string(),
            Place::Floating(_) | Place::TooDeep => "(without a path)".into(),
        }
    }
}
