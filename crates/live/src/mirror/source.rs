//! Keeps an eye on the source: watches it, notices its loss and its return, sweeps it for changes
//! that came without an event of their own.

use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use driftless_watch::{WatchError, WatchOptions, Watcher};

use super::{Shared, Sweep, chain};
use crate::engine::dirty::Cause;
use crate::lane::wall_clock;
use crate::marks::{Marker, sweep};
use crate::status::{MirrorState, WatchStatus};

/// How often the source's identity is checked while nothing says that it changed: the watcher tells
/// of a loss at once, in all cases that the kernel tells it.
const ROOT_CHECK: Duration = Duration::from_secs(10);

/// How often a lost source is looked for.
const RETURN_CHECK: Duration = Duration::from_secs(1);

/// Least time between two sweeps that nobody waits for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(30);

impl Shared {
    /// Watches the source for as long as the mirror runs, over losses and returns.
    pub(super) fn keep_source(self: &Arc<Self>) {
        while !self.stop.load(Ordering::Relaxed) {
            match self.watch() {
                Ok(watcher) => self.stay_with(watcher),
                Err(why) => {
                    self.lose(why);
                    self.wait(RETURN_CHECK);
                }
            }
        }
    }

    /// Sets up watches on the source that is at the configured path now, if it is the right one.
    fn watch(self: &Arc<Self>) -> Result<Arc<Watcher>, String> {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner).clone();
        view.root.check().map_err(|lost| self.lost_text(&lost.to_string()))?;
        let rules = view.rules.clone();
        let options = WatchOptions {
            poll_interval: self.config.poll_interval,
            backend: self.config.backend,
            skip: Box::new(move |dir| !rules.includes(dir, true)),
            ..WatchOptions::default()
        };
        let shared = Arc::downgrade(self);
        let marker = Marker {
            lost: Box::new(move |why| {
                if let Some(shared) = shared.upgrade() {
                    shared.source().lost = Some(why);
                    shared.changed.notify_all();
                }
            }),
            lanes: self.lanes.clone(),
            view: Arc::clone(&self.view),
            serial: Arc::clone(&self.serial),
            started: self.started,
            unseen: Arc::clone(&self.unseen),
            looks: Default::default(),
        };
        let watcher = Watcher::start(&self.config.source, options, Arc::new(marker))
            .map_err(|error: WatchError| chain(&error))?;
        let watcher = Arc::new(watcher);
        // What changed before the watches were there is found by the pass that follows.
        let serial = self.serial.fetch_add(1, Ordering::Relaxed) + 1;
        let cause = Cause { now: self.started.elapsed(), serial };
        {
            let mut source = self.source();
            source.state = MirrorState::Running;
            source.error = None;
            source.lost = None;
            source.watcher = Some(Arc::clone(&watcher));
        }
        self.changed.notify_all();
        let stats = watcher.stats();
        tracing::info!(
            mirror = %self.config.name,
            backend = stats.backend.as_str(),
            directories = stats.directories,
            "watching the source"
        );
        for lane in &self.lanes {
            lane.change(|inner| {
                inner.waiting_for_watches = false;
                inner.source_lost = None;
                inner.dirty.mark_pass(cause);
            });
        }
        Ok(watcher)
    }

    /// Returns when the source is lost or the mirror stops.
    fn stay_with(&self, watcher: Arc<Watcher>) {
        while !self.stop.load(Ordering::Relaxed) {
            let told = self.source().lost.take();
            let root = self.view.read().unwrap_or_else(PoisonError::into_inner).root.clone();
            let lost = told.or_else(|| root.check().err().map(|lost| lost.to_string()));
            if let Some(why) = lost {
                let text = self.lost_text(&why);
                self.lose(text);
                break;
            }
            self.sweep_in_passing();
            self.wait(ROOT_CHECK);
        }
        self.source().watcher = None;
        if let Ok(watcher) = Arc::try_unwrap(watcher) {
            watcher.stop();
        }
    }

    /// To be held while it is found out whether to sweep, so that whoever has to know that nothing is
    /// unseen waits for a sweep that is under way.
    pub(super) fn last_sweep(&self) -> MutexGuard<'_, Sweep> {
        self.last_sweep.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sweep_in_passing(&self) {
        let last = self.last_sweep();
        // Another one is to cost less than a hundredth of the time.
        let is_due = last.ended.elapsed() >= SWEEP_INTERVAL.max(last.took * 100);
        if is_due && self.unseen.swap(false, Ordering::Relaxed) {
            self.sweep(last);
        }
    }

    /// Marks what changed without an event of its own.
    pub(super) fn sweep(&self, mut last: MutexGuard<'_, Sweep>) {
        let (from, began) = (wall_clock(), Instant::now());
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner).clone();
        let serial = self.serial.fetch_add(1, Ordering::Relaxed) + 1;
        let cause = Cause { now: self.started.elapsed(), serial };
        sweep(&view, last.from, &self.lanes, cause);
        *last = Sweep { from, ended: Instant::now(), took: began.elapsed() };
    }

    fn lost_text(&self, why: &str) -> String {
        format!(
            "the source {} is not what it was: {why}; nothing is sent or deleted until it is back \
             (or restart driftless to mirror what is there now)",
            self.config.source.display()
        )
    }

    fn lose(&self, why: String) {
        for lane in &self.lanes {
            lane.change(|inner| inner.source_lost = Some(why.clone()));
        }
        let mut source = self.source();
        if source.error.as_ref() != Some(&why) {
            tracing::error!(mirror = %self.config.name, "{why}");
        }
        source.state = MirrorState::SourceLost;
        source.error = Some(why);
    }

    fn wait(&self, time: Duration) {
        let source = self.source();
        if source.lost.is_none() && !self.stop.load(Ordering::Relaxed) {
            drop(self.changed.wait_timeout(source, time).unwrap_or_else(PoisonError::into_inner));
        }
    }
}

pub(super) fn watch_status(watcher: &Watcher) -> WatchStatus {
    let stats = watcher.stats();
    WatchStatus {
        backend: stats.backend,
        directories: stats.directories,
        polled: stats.polled,
        events: stats.events,
        overflows: stats.overflows,
        warning: stats.limit.map(|limit| {
            format!(
                "{} of {} directories cannot be watched, since {} is {}; they are compared from \
                 time to time, nothing is lost; run: sysctl {}={}",
                limit.unwatched,
                stats.directories,
                limit.sysctl,
                limit.present,
                limit.sysctl,
                limit.sufficient
            )
        }),
    }
}
