//! Starts the passes and comparisons that the mirror's schedules ask for.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;

use super::Shared;
use crate::engine::dirty::Cause;
use crate::schedule::Schedule;
use crate::status::LaneState;

/// Longest sleep: a clock that is set shows in time.
const CLOCK_CHECK: Duration = Duration::from_secs(20);

/// When a schedule runs next.
pub(super) fn next_of(schedule: Option<&Schedule>) -> Option<SystemTime> {
    schedule?.next_after(Timestamp::now()).map(SystemTime::from)
}

impl Shared {
    /// Asks for passes when their time comes, until the mirror stops.
    pub(super) fn keep_passes(&self) {
        self.keep(self.config.schedule.as_ref(), Self::pass_on_schedule);
    }

    /// As [`Shared::keep_passes`], for comparisons.
    pub(super) fn keep_verifies(&self) {
        self.keep(self.config.verify.as_ref(), Self::verify_on_schedule);
    }

    fn keep(&self, schedule: Option<&Schedule>, act: impl Fn(&Self)) {
        let Some(schedule) = schedule else { return };
        let mut asked = Timestamp::now();
        while !self.stop.load(Ordering::Relaxed) {
            let now = Timestamp::now();
            // A clock that was set back must not silence the schedule.
            asked = asked.min(now);
            match schedule.next_after(asked) {
                Some(due) if due <= now => {
                    act(self);
                    // Times missed while the machine slept count once.
                    asked = now;
                }
                due => {
                    let wait = due.map(|due| Duration::try_from(due - now).unwrap_or_default());
                    self.wait_for_clock(wait.unwrap_or(CLOCK_CHECK).min(CLOCK_CHECK));
                }
            }
        }
    }

    /// Asks each target for a pass, but those that are in one or about to begin one: runs do not
    /// overlap or queue up.
    fn pass_on_schedule(&self) {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed) + 1;
        let cause = Cause { now: self.started.elapsed(), serial };
        for lane in &self.lanes {
            let asked = lane.change(|inner| {
                let free = inner.busy != Some(LaneState::FullPass) && !inner.dirty.pass_marked();
                if free {
                    inner.dirty.mark_pass(cause);
                }
                free
            });
            let (mirror, target) = (&self.config.name, &lane.url);
            if asked {
                tracing::info!(%mirror, %target, "a full pass is due by schedule");
            } else {
                tracing::warn!(%mirror, %target, "scheduled pass left out: another one is not done");
            }
        }
    }

    /// Asks each target for a comparison, but those that one is asked of already.
    fn verify_on_schedule(&self) {
        let serial = self.serial.load(Ordering::Relaxed);
        for lane in &self.lanes {
            let asked = lane.change(|inner| {
                let free = !inner.verify.is_open();
                if free {
                    inner.verify.ask(serial);
                }
                free
            });
            let (mirror, target) = (&self.config.name, &lane.url);
            if asked {
                tracing::info!(%mirror, %target, "a verify is due by schedule");
            } else {
                tracing::warn!(%mirror, %target, "scheduled verify left out: one is not done");
            }
        }
    }

    fn wait_for_clock(&self, time: Duration) {
        let source = self.source();
        if !self.stop.load(Ordering::Relaxed) {
            drop(self.changed.wait_timeout(source, time).unwrap_or_else(PoisonError::into_inner));
        }
    }
}
