//! What a lane's thread, the watcher and the operator share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::verify::Verify;
use crate::engine::backoff;
use crate::engine::dirty::{Cause, DirtySet};
use crate::status::{LaneState, PassStatus, TargetStatus, VerifyStatus};

/// A change that is older means that the lane is not simply live.
const CATCHING_UP_AFTER: Duration = Duration::from_secs(2);

/// Who stopped a lane, and so who can start it again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PausedBy {
    /// `pause`.
    Operator,
    /// The deletion guard.
    DeleteGuard {
        /// What it would delete.
        why: String,
    },
}

/// One target's state. Locked briefly; never across a transfer.
pub struct Lane {
    /// The target, for status and logs.
    pub url: String,
    started: Instant,
    inner: Mutex<Inner>,
    changed: Condvar,
    cancel: AtomicBool,
}

/// The part under the lock.
pub struct Inner {
    /// What may differ.
    pub dirty: DirtySet,
    /// Marks up to this serial do not wait for files to be closed: somebody flushes.
    pub hurry: u64,
    /// Set while the lane must not send.
    pub paused: Option<PausedBy>,
    /// The source is gone; why.
    pub source_lost: Option<String>,
    /// The watcher is not set up yet.
    pub waiting_for_watches: bool,
    /// The operator accepted what the guard stopped; spent by the next batch or pass.
    pub accept_deletes: bool,
    /// The operator asked for the next pass: what the target refused is tried again.
    pub afresh: bool,
    /// End of the thread.
    pub stop: bool,
    /// Nothing is tried before.
    pub backoff_until: Option<Duration>,
    /// Failed tries in a row.
    pub failures: u32,
    /// In a pass or batch right now.
    pub busy: Option<LaneState>,
    /// A pass has ended well since the start.
    pub synced_once: bool,
    /// For status.
    pub counters: Counters,
    /// For status.
    pub last_error: Option<String>,
    /// For status.
    pub refusals: Vec<String>,
    /// How the last full pass ended.
    pub last_pass: Option<PassStatus>,
    /// The comparison that was asked for, and the last one.
    pub verify: Verify,
}

/// Sums since the start.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counters {
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub batches: u64,
    pub passes: u64,
    pub files_sent: u64,
}

impl Lane {
    /// A lane that waits for the watcher, with a full pass due.
    pub fn new(url: String, started: Instant) -> Self {
        let mut dirty = DirtySet::default();
        dirty.mark_pass(Cause { now: started.elapsed(), serial: 0 });
        Self {
            url,
            started,
            inner: Mutex::new(Inner {
                dirty,
                hurry: 0,
                paused: None,
                source_lost: None,
                waiting_for_watches: true,
                accept_deletes: false,
                afresh: false,
                stop: false,
                backoff_until: None,
                failures: 0,
                busy: None,
                synced_once: false,
                counters: Counters::default(),
                last_error: None,
                refusals: Vec::new(),
                last_pass: None,
                verify: Verify::default(),
            }),
            changed: Condvar::new(),
            cancel: AtomicBool::new(false),
        }
    }

    /// Time since the mirror started.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Whether the transfer in flight is to be abandoned.
    pub fn cancelled(&self) -> bool {
        self.cancel.load(Ordering::Relaxed)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn wait<'a>(
        &self,
        inner: MutexGuard<'a, Inner>,
        limit: Option<Duration>,
    ) -> MutexGuard<'a, Inner> {
        match limit {
            None => self.changed.wait(inner).unwrap_or_else(PoisonError::into_inner),
            Some(limit) => {
                self.changed.wait_timeout(inner, limit).unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }

    /// Changes the state and wakes whoever waits for it.
    pub fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        let mut inner = self.lock();
        let result = change(&mut inner);
        let cancel = inner.stop || inner.paused.is_some() || inner.source_lost.is_some();
        self.cancel.store(cancel, Ordering::Relaxed);
        drop(inner);
        self.changed.notify_all();
        result
    }

    /// Waits until everything marked up to `serial` has arrived; `false` when `deadline` comes
    /// first.
    pub fn wait_applied(&self, serial: u64, deadline: Instant) -> bool {
        self.change(|inner| inner.hurry = inner.hurry.max(serial));
        let mut inner = self.lock();
        loop {
            if inner.dirty.first_serial().is_none_or(|first| first > serial) {
                return true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || inner.stop {
                return false;
            }
            inner = self.wait(inner, Some(left));
        }
    }

    /// Asks for a comparison; returns what [`Lane::wait_verified`] wants to know. Changes up to
    /// `serial` are brought over before.
    pub fn ask_verify(&self, serial: u64) -> u64 {
        self.change(|inner| {
            inner.hurry = inner.hurry.max(serial);
            inner.backoff_until = None;
            inner.verify.ask(serial)
        })
    }

    /// Waits until the comparison that was asked for has ended.
    ///
    /// # Errors
    /// Why it has not begun or ended; it is still asked for.
    pub fn wait_verified(
        &self,
        ticket: u64,
        deadline: Instant,
    ) -> Result<Arc<VerifyStatus>, String> {
        let mut inner = self.lock();
        loop {
            if let Some(ended) = inner.verify.ended(ticket) {
                return Ok(ended);
            }
            let held = match (&inner.source_lost, &inner.paused) {
                (Some(why), _) | (None, Some(PausedBy::DeleteGuard { why })) => Some(why.clone()),
                (None, Some(PausedBy::Operator)) => {
                    Some("it is paused; go on with: driftless resume".into())
                }
                (None, None) => None,
            };
            let failed = inner.backoff_until.is_some() && inner.failures > 0;
            let left = deadline.saturating_duration_since(Instant::now());
            let why = match held {
                Some(why) => why,
                None if inner.stop => "driftless stopped".into(),
                None if failed => inner.last_error.clone().unwrap_or_default(),
                None if left.is_zero() => match &inner.last_error {
                    Some(error) => format!("not done in time: {error}"),
                    None => "still at work; driftless status tells when it has ended".into(),
                },
                None => {
                    inner = self.wait(inner, Some(left));
                    continue;
                }
            };
            return Err(why);
        }
    }

    /// Puts the state in order after its thread died of a bug: what was in flight is dirty, and a
    /// full pass looks at the rest.
    pub fn recover(&self, cause: Cause) {
        self.change(|inner| {
            inner.dirty.give_back();
            inner.dirty.mark_pass(cause);
            inner.busy = None;
            inner.failures += 1;
            inner.backoff_until = Some(cause.now + backoff::delay(inner.failures, 0.0));
            let why = "a bug in driftless, see its log; a full pass follows";
            inner.last_error = Some(why.into());
            inner.verify.end(VerifyStatus::impossible(why));
        });
    }

    /// Tries in a row that have failed.
    pub fn failures(&self) -> u32 {
        self.lock().failures
    }

    /// Whether the thread is to end.
    pub fn stopping(&self) -> bool {
        self.lock().stop
    }

    /// How the target is doing.
    pub fn status(&self) -> TargetStatus {
        let now = self.now();
        let inner = self.lock();
        let lag = inner.dirty.oldest().map_or(Duration::ZERO, |since| now.saturating_sub(since));
        let paused = match (&inner.source_lost, &inner.paused) {
            (Some(why), _) => Some(Some(why.clone())),
            (None, Some(PausedBy::DeleteGuard { why })) => Some(Some(why.clone())),
            (None, Some(PausedBy::Operator)) => Some(None),
            (None, None) => None,
        };
        let waits = inner.backoff_until.and_then(|until| until.checked_sub(now));
        let state = match (&paused, waits, inner.busy) {
            (Some(_), ..) => LaneState::Paused,
            (None, Some(_), _) => LaneState::BackingOff,
            (None, None, Some(busy @ (LaneState::FullPass | LaneState::Verifying))) => busy,
            _ if !inner.synced_once => LaneState::Connecting,
            _ if lag > CATCHING_UP_AFTER => LaneState::CatchingUp,
            _ => LaneState::Live,
        };
        TargetStatus {
            url: self.url.clone(),
            state,
            lag,
            dirty_paths: inner.dirty.len() as u64,
            bytes_sent: inner.counters.bytes_sent,
            bytes_received: inner.counters.bytes_received,
            batches: inner.counters.batches,
            passes: inner.counters.passes,
            files_sent: inner.counters.files_sent,
            last_error: paused.flatten().or_else(|| inner.last_error.clone()),
            next_retry: if state == LaneState::BackingOff { waits } else { None },
            refusals: inner.refusals.clone(),
            last_pass: inner.last_pass.clone(),
            last_verify: inner.verify.last(),
        }
    }
}
