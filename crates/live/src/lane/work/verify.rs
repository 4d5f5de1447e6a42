//! The rounds of a comparison by checksum.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use driftless_tree::RelPath;

use super::{Target, View, Worker, count};
use crate::lane::report::{Comparison, Failure, LaneError};
use crate::lane::state::{Inner, PausedBy};
use crate::lane::verify::Chosen;
use crate::status::{Aspect, Difference, VerifyStatus};

/// Most further looks at names that changed while they were compared.
const MAX_LOOKS: u32 = 6;

/// How long the changes of a look are waited for before the next one.
const LOOK_PATIENCE: Duration = Duration::from_secs(1);

/// Most differing names in the log.
const LOGGED: usize = 100;

/// A comparison that has begun.
pub(super) struct Running {
    began: SystemTime,
    clock: Instant,
    compared: u64,
    more: u64,
    found: Vec<Difference>,
    /// What cannot be compared, as far as it is named.
    failed: Vec<String>,
    /// Changed while it was compared.
    again: Chosen,
    looks: u32,
}

impl Running {
    fn begin() -> Self {
        Self {
            began: SystemTime::now(),
            clock: Instant::now(),
            compared: 0,
            more: 0,
            found: Vec::new(),
            failed: Vec::new(),
            again: Chosen::default(),
            looks: 0,
        }
    }

    fn chosen(&self) -> Option<&Chosen> {
        (self.looks > 0).then_some(&self.again)
    }

    /// Sorts what a look found into what is different and what was on its way.
    fn judge(&mut self, inner: &Inner, comparison: Comparison) {
        if self.looks == 0 {
            self.compared = comparison.compared;
        }
        self.looks += 1;
        self.more += comparison.more;
        let expected = inner.dirty.expected();
        let mut again = Chosen::default();
        for difference in comparison.found {
            if expected.covers(difference.path.as_ref()) {
                let extra = difference.aspects.contains(&Aspect::Extra);
                again.add(difference.path, extra);
            } else {
                self.found.push(difference);
            }
        }
        for (path, Failure { why, .. }) in comparison.failed {
            if expected.covers(Some(&path)) {
                again.add(Some(path), false);
            } else {
                self.failed.push(format!("{path}: {why}"));
            }
        }
        self.failed.extend(comparison.unmatched);
        self.again = again;
    }

    fn status(mut self, trouble: Option<String>) -> VerifyStatus {
        self.found.sort_by(|a, b| a.path.cmp(&b.path));
        let moving = self.again.count();
        let error = match (trouble, &self.failed[..], moving) {
            (Some(trouble), ..) => Some(trouble),
            (None, [], 0) => None,
            (None, [], _) => {
                let example = self.again.example().map_or(".".to_owned(), RelPath::to_string);
                Some(format!(
                    "names that changed again and again or could not be brought over: {moving} \
                     ({example}); nothing is proved of them: see driftless status, and verify again"
                ))
            }
            (None, [only], _) => Some(format!("not compared: {only}")),
            (None, [first, rest @ ..], _) => {
                Some(format!("{} names were not compared, first {first}", rest.len() + 1))
            }
        };
        VerifyStatus {
            began: self.began,
            took: self.clock.elapsed(),
            compared: self.compared,
            differing: self.found.len() as u64 + self.more,
            differences: self.found,
            error,
        }
    }
}

impl Worker<'_> {
    /// One look at the target. Nothing is changed there, and nothing that it finds changes what is
    /// dirty.
    pub(super) fn verify(
        &mut self,
        view: &View,
        target: &mut dyn Target,
        news: &dyn Fn() -> Result<u64, String>,
    ) {
        let mut running = self.running.take().unwrap_or_else(|| {
            tracing::info!(mirror = %self.config.name, target = %self.lane.url, "verify begins");
            Running::begin()
        });
        let mut comparison = target.compare(view, running.chosen(), self.lane);
        let traffic = comparison.traffic;
        let (trouble, wait) = match &comparison.end {
            Ok(()) => (None, None),
            // It is due still: the same once more.
            Err(LaneError::Learned(_)) => (None, Some(Duration::ZERO)),
            Err(LaneError::Busy { wait, .. }) => (None, Some(*wait)),
            Err(error) => (Some(error.to_string()), None),
        };
        if let Some(wait) = wait {
            let now = self.lane.now();
            if running.looks > 0 {
                self.running = Some(running);
            }
            self.lane.change(|inner| {
                count(inner, traffic);
                inner.busy = None;
                inner.verify.look_again(0, now + wait);
                inner.backoff_until = (!wait.is_zero()).then_some(now + wait);
            });
            return;
        }
        if self.config.delete && !target.wants().deletes {
            let why = "the target refuses deletions, so names that only it has cannot be found";
            comparison.unmatched.push(why.to_owned());
        }
        // From here on every change that the comparison could have met has its mark.
        let (trouble, serial) = match (trouble, news()) {
            (Some(trouble), _) | (None, Err(trouble)) => (Some(trouble), 0),
            (None, Ok(serial)) => (None, serial),
        };
        let cancelled = comparison.end == Err(LaneError::Cancelled);
        let now = self.lane.now();
        let status = self.lane.change(|inner| {
            count(inner, traffic);
            inner.busy = None;
            let trouble = if cancelled { Some(stopped_by(inner)) } else { trouble };
            let is_complete = trouble.is_none();
            if is_complete {
                running.judge(inner, comparison);
                if running.again.count() > 0 && running.looks <= MAX_LOOKS {
                    inner.hurry = inner.hurry.max(serial);
                    inner.verify.look_again(serial, now + LOOK_PATIENCE);
                    self.running = Some(running);
                    return None;
                }
            }
            let status = running.status(trouble);
            if is_complete {
                inner.verify.doubted = doubted(&status);
            }
            inner.verify.end(status);
            inner.verify.last()
        });
        if let Some(status) = status {
            self.tell(&status);
        }
    }

    fn tell(&self, status: &Arc<VerifyStatus>) {
        let (mirror, target) = (&self.config.name, &self.lane.url);
        for found in status.differences.iter().take(LOGGED) {
            let words: Vec<&str> = found.aspects.iter().map(|aspect| aspect.as_str()).collect();
            tracing::warn!(%mirror, %target, "differs: {}: {}", found.name(), words.join(", "));
        }
        let VerifyStatus { compared, differing, error, took, .. } = &**status;
        if *differing > 0 {
            let next = "nothing was changed; repair it with: driftless resync";
            tracing::warn!(%mirror, %target, compared, differing, ?took, "verify done; {next}");
        }
        match error {
            Some(why) => {
                tracing::warn!(%mirror, %target, compared, ?took, "verify is incomplete: {why}");
            }
            None if *differing == 0 => {
                tracing::info!(%mirror, %target, compared, ?took, "verify done: identical");
            }
            None => {}
        }
    }
}

/// The files that a pass may take for equal.
fn doubted(status: &VerifyStatus) -> Vec<RelPath> {
    let found = status.differences.iter();
    let in_content = found.filter(|found| found.aspects.contains(&Aspect::Content));
    in_content.filter_map(|found| found.path.clone()).collect()
}

fn stopped_by(inner: &Inner) -> String {
    match (&inner.source_lost, &inner.paused) {
        (Some(why), _) | (None, Some(PausedBy::DeleteGuard { why })) => why.clone(),
        (None, Some(PausedBy::Operator)) => "the target was paused meanwhile".to_owned(),
        (None, None) => "driftless was stopped meanwhile".to_owned(),
    }
}
