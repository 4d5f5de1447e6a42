//! The lane's thread: what to do next, and what comes of it.

mod verify;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use driftless_fs::Root;
use driftless_transfer::source::SourceCache;
use driftless_tree::Timestamp;

use self::verify::Running;
use super::report::{BatchReport, Comparison, ItemEnd, LaneError, PassReport, Traffic};
use super::state::{Inner, Lane, PausedBy};
use super::verify::Chosen;
use crate::batch::{Act, Batch};
use crate::config::{MaxDelete, MirrorConfig};
use crate::engine::backoff;
use crate::engine::dirty::{Cause, Need, Readiness, Taken, Writing};
use crate::engine::peak::Peak;
use crate::engine::presence::Presence;
use crate::links::Links;
use crate::planner::{Planner, Wishes};
use crate::rules::SourceRules;
use crate::status::{LaneState, PassStatus};

/// Marks of one batch; more wait for the next, so that acknowledgements keep coming.
const BATCH_MARKS: usize = 20_000;

/// A path that mends itself is tried again after this, doubling.
const TRANSIENT_RETRY: Duration = Duration::from_millis(20);

/// The source as lanes see it; replaced as a whole when the source comes back.
#[derive(Clone)]
pub struct View {
    /// The open source directory.
    pub root: Root,
    /// What of it is mirrored.
    pub rules: SourceRules,
    /// Which names share an inode.
    pub links: Arc<Links>,
    /// Content, read once for all lanes.
    pub cache: Arc<SourceCache>,
}

/// What a target can take.
#[derive(Debug, Clone, Copy)]
pub struct Wants {
    /// Names gone at the source are to go.
    pub delete: bool,
    /// It lets them go, as far as is known.
    pub deletes: bool,
    /// Several names of one inode.
    pub hard_links: bool,
    /// It compares times in whole seconds.
    pub whole_seconds: bool,
}

/// One kind of place that can be kept identical.
pub trait Target {
    /// What its batches can hold.
    fn wants(&self) -> Wants;

    /// Applies a batch.
    fn apply(&mut self, batch: &Batch, view: &View, lane: &Lane) -> BatchReport;

    /// Brings the whole tree over. No more than `limit` of the names it finds there may go.
    fn pass(
        &mut self,
        view: &View,
        unknown_since: Option<Timestamp>,
        limit: MaxDelete,
        lane: &Lane,
    ) -> PassReport;

    /// Compares it with the source, contents by checksum, and changes nothing. With `chosen`, no
    /// other names are told of.
    fn compare(&mut self, view: &View, chosen: Option<&Chosen>, lane: &Lane) -> Comparison;

    /// What it has been found to refuse, for the operator.
    fn refusals(&self) -> Vec<String>;

    /// Tries again what it has been found to refuse: the operator may have changed it.
    fn forget_refusals(&mut self);
}

/// So long a session may still be at work whose client died: it has what lay in its buffers.
const AFTERLIFE: Duration = Duration::from_secs(2);

/// Most looks at a target for what such a session did.
const MAX_LOOKS: u32 = 3;

/// What outlives a batch on the lane's thread.
struct Worker<'a> {
    lane: &'a Lane,
    config: &'a MirrorConfig,
    serial: &'a AtomicU64,
    presence: Presence,
    peak: Peak,
    /// The last pass left nothing out, so what is not in `presence` is not at the target.
    exact: bool,
    /// Passes that found a target different since a session may have been there whose end nobody
    /// saw, a predecessor's or a broken one; `None` when there is none. Such a session works beside
    /// ours for a while, and brings old content back over new.
    looks: Option<u32>,
    /// When the last state began that is known to be at the target.
    known_at: Option<Timestamp>,
    /// Fewer while errors cannot be matched to paths.
    batch_marks: usize,
    /// A comparison that looks again at what changed meanwhile.
    running: Option<Running>,
}

enum Work {
    Stop,
    Verify,
    Pass { accept: bool, afresh: bool },
    Batch { taken: Taken, accept: bool },
}

/// Serves one target until told to stop. `news` returns once every change so far has its mark, with
/// the number of the last one's cause.
pub fn run(
    lane: &Lane,
    config: &MirrorConfig,
    view: &RwLock<View>,
    serial: &AtomicU64,
    news: &dyn Fn() -> Result<u64, String>,
    target: &mut dyn Target,
) {
    let mut worker = Worker {
        lane,
        config,
        serial,
        presence: Presence::default(),
        peak: Peak::default(),
        exact: false,
        looks: Some(0),
        known_at: None,
        batch_marks: BATCH_MARKS,
        running: None,
    };
    loop {
        let work = worker.next();
        let view = view.read().unwrap_or_else(PoisonError::into_inner).clone();
        match work {
            Work::Stop => return,
            Work::Verify => worker.verify(&view, target, news),
            Work::Pass { accept, afresh } => {
                if afresh {
                    target.forget_refusals();
                }
                worker.pass(&view, target, accept, afresh);
            }
            Work::Batch { taken, accept } => worker.batch(&view, target, &taken, accept),
        }
        lane.change(|inner| inner.refusals = target.refusals());
    }
}

impl Worker<'_> {
    fn cause(&self) -> Cause {
        Cause { now: self.lane.now(), serial: self.serial.load(Ordering::Relaxed) }
    }

    /// Waits for something to do.
    fn next(&self) -> Work {
        let mut inner = self.lane.lock();
        loop {
            if inner.stop {
                return Work::Stop;
            }
            let now = self.lane.now();
            let held =
                inner.paused.is_some() || inner.source_lost.is_some() || inner.waiting_for_watches;
            let wait = if held {
                None
            } else if let Some(left) = inner.backoff_until.and_then(|at| at.checked_sub(now)) {
                Some(left.max(Duration::from_millis(1)))
            } else if inner.dirty.pass_due(now) {
                inner.busy = Some(LaneState::FullPass);
                inner.dirty.take_pass();
                return Work::Pass {
                    accept: std::mem::take(&mut inner.accept_deletes),
                    afresh: std::mem::take(&mut inner.afresh),
                };
            } else if inner.verify.is_due(&inner.dirty, now) {
                inner.busy = Some(LaneState::Verifying);
                inner.verify.take();
                return Work::Verify;
            } else {
                let hurry = inner.dirty.first_serial().is_some_and(|first| first <= inner.hurry);
                let verify = inner.verify.due_by();
                match (inner.dirty.readiness(now, self.config.settle, hurry), verify) {
                    (Readiness::Idle, None) => None,
                    (Readiness::At(at), None) | (Readiness::Idle, Some(at)) => {
                        Some(at.saturating_sub(now).max(Duration::from_millis(1)))
                    }
                    (Readiness::At(one), Some(other)) => {
                        Some(one.min(other).saturating_sub(now).max(Duration::from_millis(1)))
                    }
                    (Readiness::Now, _) => {
                        inner.busy = Some(LaneState::Live);
                        let taken =
                            inner.dirty.take(now, self.config.settle, hurry, self.batch_marks);
                        let accept = inner.accept_deletes;
                        return Work::Batch { taken, accept };
                    }
                }
            };
            inner = self.lane.wait(inner, wait);
        }
    }

    fn batch(&mut self, view: &View, target: &mut dyn Target, taken: &Taken, accept: bool) {
        let wants = target.wants();
        let wishes = Wishes {
            delete: wants.delete,
            hard_links: wants.hard_links,
            renames: wants.deletes && self.exact && self.looks.is_none(),
            whole_seconds: wants.whole_seconds,
            now: self.lane.now(),
            clock: SystemTime::now(),
            settle: self.config.settle,
        };
        let began = wall_clock();
        let planner =
            Planner::new(&view.root, &view.rules, &view.links, &self.presence, wishes, taken);
        let batch = planner.plan();
        if let Err(guard) = self.guard(batch.deletions, accept) {
            self.end_batch(&batch, None, &Err(guard));
            return;
        }
        if batch.too_large {
            let cause = self.cause();
            self.lane.change(|inner| {
                inner.dirty.give_back();
                inner.dirty.mark_pass(cause);
                inner.busy = None;
            });
            return;
        }
        if batch.items.is_empty() {
            self.end_batch(&batch, None, &Ok(()));
            return;
        }
        // Before anything is sent: if the session dies, the target may hold these names.
        for item in &batch.items {
            if let (Some(path), Act::Directory | Act::Object { .. }) = (&item.path, item.act) {
                self.presence.insert(path);
            }
        }
        for item in &batch.items {
            tracing::trace!(
                target = %self.lane.url, path = ?item.path, act = ?item.act, group = ?item.group,
                covers = ?item.covers, "planned"
            );
        }
        let report = target.apply(&batch, view, self.lane);
        self.note_break(&report.end);
        if report.end.is_ok() && self.lane.lock().dirty.is_empty() {
            self.known_at = Some(began);
        }
        self.learn_presence(&batch, &report);
        self.end_batch(&batch, Some(&report), &report.end);
    }

    /// Refuses more deletions than `max-delete` allows: a share is that of what was there lately, and
    /// batches that follow each other count together.
    fn guard(&mut self, deletions: u64, accept: bool) -> Result<(), LaneError> {
        if accept {
            self.peak.forget();
            return Ok(());
        }
        let names = self.presence.count();
        let most = self.peak.count(self.lane.now(), names);
        let count = match self.config.max_delete {
            MaxDelete::Share(_) if deletions > 0 => deletions + (most - names),
            _ => deletions,
        };
        let limit = self.config.max_delete.limit(most);
        if count > limit { Err(LaneError::WouldDelete { count, limit }) } else { Ok(()) }
    }

    fn note_break(&mut self, end: &Result<(), LaneError>) {
        if let Err(LaneError::Broken(_)) = end {
            self.looks = Some(0);
        }
    }

    fn learn_presence(&mut self, batch: &Batch, report: &BatchReport) {
        for (item, end) in batch.items.iter().zip(&report.items) {
            let (Some(path), ItemEnd::Applied) = (&item.path, end) else { continue };
            match item.act {
                Act::Missing => self.presence.remove(path),
                Act::Object { .. } => self.presence.remove_below(path),
                Act::Directory | Act::FormerName => {}
            }
        }
    }

    fn end_batch(
        &mut self,
        batch: &Batch,
        report: Option<&BatchReport>,
        end: &Result<(), LaneError>,
    ) {
        let cause = self.cause();
        let mut error = None;
        let unmatched = report.is_some_and(|report| !report.unmatched.is_empty());
        self.lane.change(|inner| {
            let Inner { dirty, .. } = inner;
            for (path, why) in &batch.unreadable {
                error = Some(format!("{path}: {why}"));
                dirty.failed(path, |failures| retry(cause.now, failures, false), cause);
            }
            let mut all_applied = end.is_ok();
            for (item, state) in batch.items.iter().zip(report.into_iter().flat_map(|r| &r.items)) {
                match (state, &item.path) {
                    (ItemEnd::Applied, path) => {
                        item.covers.iter().for_each(|path| dirty.applied(path));
                        if path.is_none() {
                            dirty.root_applied();
                        }
                    }
                    (ItemEnd::Unproved, _) | (ItemEnd::Failed(_), None) => all_applied = false,
                    (ItemEnd::Failed(failure), Some(path)) => {
                        if !failure.transient {
                            error = Some(format!("{path}: {}", failure.why));
                        }
                        let retry = |failures| retry(cause.now, failures, failure.transient);
                        item.covers.iter().filter(|covered| *covered != path).for_each(|covered| {
                            dirty.applied(covered);
                        });
                        dirty.failed(path, retry, cause);
                    }
                }
            }
            // A tree with failed paths has them as marks of their own now.
            if all_applied || (end.is_ok() && report.is_none()) {
                batch.trees.iter().for_each(|dir| dirty.tree_applied(dir));
            }
            if let (Err(_), Some(_)) = (end, report) {
                // Directories get their times at the end of a session: this one had none.
                for item in batch.items.iter().filter(|item| item.act == Act::Directory) {
                    match &item.path {
                        Some(dir) => {
                            dirty.mark(dir.clone(), Need::Attributes, Writing::Unknown, cause);
                        }
                        None => dirty.mark_root(cause),
                    }
                }
            }
            dirty.give_back();
            if let Some(report) = report {
                count(inner, report.traffic);
                if let Some(text) = report.unmatched.first() {
                    error = Some(text.clone());
                }
            }
            self.close(inner, end, unmatched, cause.now);
            if end.is_ok() {
                inner.counters.batches += u64::from(report.is_some());
                if inner.dirty.is_empty() {
                    inner.last_error = None;
                    inner.accept_deletes = false;
                }
            }
            if let Some(error) = error.take() {
                tracing::warn!(mirror = %self.config.name, target = %self.lane.url, "{error}");
                inner.last_error = Some(error);
            }
        });
        // Halved until the culprit is alone, then back to normal step by step.
        self.batch_marks = match unmatched {
            true => (batch.items.len() / 2).clamp(1, BATCH_MARKS),
            false => (self.batch_marks * 2).min(BATCH_MARKS),
        };
    }

    fn pass(&mut self, view: &View, target: &mut dyn Target, accept: bool, afresh: bool) {
        let (began, clock) = (wall_clock(), SystemTime::now());
        let look_at = self.lane.now() + AFTERLIFE;
        let limit = if accept { MaxDelete::Unlimited } else { self.config.max_delete };
        tracing::info!(mirror = %self.config.name, target = %self.lane.url, "full pass begins");
        let report = target.pass(view, self.known_at, limit, self.lane);
        self.note_break(&report.end);
        let ended_well = report.end.is_ok();
        let exact = ended_well && report.failed.is_empty() && report.unmatched.is_empty();
        if ended_well {
            let before = std::mem::replace(&mut self.presence, report.presence);
            if !target.wants().deletes {
                // What it could not delete is still there.
                self.presence.merge(before);
            }
            self.exact = exact;
            self.known_at = Some(began);
            self.looks = self
                .looks
                .map(|looks| looks + 1)
                .filter(|looks| report.differed && *looks < MAX_LOOKS);
        } else {
            self.exact = false;
        }
        let cause = self.cause();
        let look_again = ended_well && self.looks.is_some();
        self.lane.change(|inner| {
            count(inner, report.traffic);
            let mut error = report.unmatched.first().cloned();
            if ended_well {
                for (path, failure) in &report.failed {
                    if !failure.transient {
                        error = Some(format!("{path}: {}", failure.why));
                    }
                    let retry = |failures| retry(cause.now, failures, failure.transient);
                    inner.dirty.failed(path, retry, cause);
                }
                let lasting = report.failed.iter().any(|(_, failure)| !failure.transient);
                if lasting || !report.unmatched.is_empty() {
                    // Names that it had to leave alone may be there still.
                    let retry = |failures| retry(cause.now, failures + 4, false);
                    inner.dirty.repeat_pass(retry, cause);
                }
                if afresh {
                    for path in std::mem::take(&mut inner.verify.doubted) {
                        inner.dirty.doubt(path, cause);
                    }
                }
                inner.dirty.pass_applied();
                if look_again {
                    inner.dirty.mark_pass_at(look_at, cause);
                }
                inner.synced_once = true;
                inner.counters.passes += 1;
                if inner.dirty.is_empty() {
                    inner.last_error = None;
                }
            }
            inner.dirty.give_back();
            self.close(inner, &report.end, false, cause.now);
            if report.end != Err(LaneError::Cancelled) {
                inner.last_pass = Some(PassStatus {
                    began: clock,
                    took: clock.elapsed().unwrap_or_default(),
                    files: report.traffic.files,
                    bytes: report.traffic.sent,
                    error: report.end.as_ref().err().map(ToString::to_string).or(error.clone()),
                });
            }
            if let Some(error) = error {
                tracing::warn!(mirror = %self.config.name, target = %self.lane.url, "{error}");
                inner.last_error = Some(error);
            }
        });
        if ended_well {
            tracing::info!(
                mirror = %self.config.name, target = %self.lane.url,
                files = report.traffic.files, bytes = report.traffic.sent, "full pass done"
            );
        }
    }

    /// What the end of a batch or pass means for the lane itself.
    fn close(
        &self,
        inner: &mut Inner,
        end: &Result<(), LaneError>,
        unmatched: bool,
        now: Duration,
    ) {
        inner.busy = None;
        let wait = match end {
            Ok(()) if unmatched => Some(backoff::FIRST),
            Ok(()) => {
                inner.failures = 0;
                inner.backoff_until = None;
                return;
            }
            Err(LaneError::Cancelled | LaneError::Learned(_)) => None,
            Err(LaneError::Busy { wait, .. }) => Some(*wait),
            Err(LaneError::WouldDelete { .. }) => {
                let why = end.as_ref().expect_err("matched").to_string();
                inner.paused = Some(PausedBy::DeleteGuard { why });
                None
            }
            Err(LaneError::Broken(_) | LaneError::Failed(_)) => {
                inner.failures += 1;
                Some(backoff::delay(inner.failures, fastrand::f64()))
            }
        };
        inner.backoff_until = wait.map(|wait| now + wait);
        if let Err(LaneError::Broken(_)) = end {
            inner.dirty.mark_pass(self.cause());
        }
        if let Err(error) = end
            && *error != LaneError::Cancelled
        {
            let error = error.to_string();
            if inner.last_error.as_ref() != Some(&error) {
                tracing::warn!(mirror = %self.config.name, target = %self.lane.url, "{error}");
            }
            inner.last_error = Some(error);
        }
    }
}

fn retry(now: Duration, failures: u32, transient: bool) -> Duration {
    now + match transient {
        true => TRANSIENT_RETRY.saturating_mul(1 << failures.min(6)),
        false => backoff::delay(failures + 1, fastrand::f64()),
    }
}

fn count(inner: &mut Inner, traffic: Traffic) {
    inner.counters.bytes_sent += traffic.sent;
    inner.counters.bytes_received += traffic.received;
    inner.counters.files_sent += traffic.files;
}

/// The time that file systems stamp with, a moment back: their clocks move in steps.
pub fn wall_clock() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let back = since.saturating_sub(Duration::from_secs(2));
    Timestamp { secs: i64::try_from(back.as_secs()).unwrap_or(0), nanos: back.subsec_nanos() }
}
