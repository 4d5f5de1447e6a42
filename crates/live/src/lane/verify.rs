//! Comparing a target with the source by checksum, while the source goes on changing.
//!
//! ```text
//! asked ─► everything brought over or tried ─► comparison ─► barrier ─► differences without a mark
//!                                                  ▲                      └─► told
//!                                                  └─ the others, once their marks are gone
//! ```
//! Invariants
//! * A comparison never runs beside a batch or a pass of its lane, so a mark that is there
//!   afterwards is that of a change which the target could not have.
//! * A name is called different only when no mark explains it after every change before the
//!   comparison's end has been marked.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use driftless_tree::RelPath;

use crate::engine::dirty::DirtySet;
use crate::status::VerifyStatus;

/// Names that are looked at again, with the directories that lead to them.
#[derive(Debug, Default)]
pub struct Chosen {
    names: HashSet<Option<RelPath>>,
    above: HashSet<RelPath>,
    extra: bool,
}

impl Chosen {
    /// Adds a name; `None` is the root. `extra`: the source did not have it.
    pub fn add(&mut self, path: Option<RelPath>, extra: bool) {
        self.extra |= extra;
        self.above.extend(path.iter().flat_map(RelPath::ancestors));
        self.names.insert(path);
    }

    /// Whether the name is one of them.
    pub fn includes(&self, path: Option<&RelPath>) -> bool {
        self.names.contains(&path.cloned())
    }

    /// Whether the name is one of them or above one.
    pub fn leads_to(&self, path: &RelPath) -> bool {
        self.above.contains(path) || self.includes(Some(path))
    }

    /// Whether the source did not have some of them.
    pub fn has_extra(&self) -> bool {
        self.extra
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.names.len()
    }

    /// One of them, to be named.
    pub fn example(&self) -> Option<&RelPath> {
        self.names.iter().flatten().min()
    }
}

/// What was asked for and what came of it.
#[derive(Debug, Default)]
pub struct Verify {
    asked: u64,
    /// Up to which request the comparison that runs answers.
    taken: u64,
    done: u64,
    /// Changes up to this serial come first.
    after: u64,
    again: Option<Again>,
    last: Option<Arc<VerifyStatus>>,
    /// Files to be sent again after the next pass that an operator asks for, since size and time may
    /// hide from it that they differ.
    pub doubted: Vec<RelPath>,
}

/// A further look that is due.
#[derive(Debug, Clone, Copy)]
struct Again {
    /// Once changes up to this serial have arrived,
    after: u64,
    /// but no later than this.
    by: Duration,
}

impl Verify {
    /// Asks for a comparison once changes up to `serial` were brought over or tried.
    pub fn ask(&mut self, serial: u64) -> u64 {
        self.asked += 1;
        self.after = serial;
        self.asked
    }

    /// Whether one is asked for that has not ended.
    pub fn is_open(&self) -> bool {
        self.done < self.asked
    }

    /// Whether it is time for a look.
    pub fn is_due(&self, dirty: &DirtySet, now: Duration) -> bool {
        let arrived = |first: Option<u64>, serial| first.is_none_or(|first| first > serial);
        match self.again {
            Some(again) => now >= again.by || arrived(dirty.first_serial(), again.after),
            None => self.is_open() && arrived(dirty.first_untried_serial(), self.after),
        }
    }

    /// When it is time at the latest.
    pub fn due_by(&self) -> Option<Duration> {
        self.again.map(|again| again.by)
    }

    /// Takes it in hand.
    pub fn take(&mut self) {
        if self.again.take().is_none() {
            self.taken = self.asked;
        }
    }

    /// Asks for another look at what may have been on its way.
    pub fn look_again(&mut self, after: u64, by: Duration) {
        self.again = Some(Again { after, by });
    }

    /// Ends it.
    pub fn end(&mut self, status: VerifyStatus) {
        if self.done == self.taken {
            return;
        }
        self.done = self.taken;
        self.again = None;
        self.last = Some(Arc::new(status));
    }

    /// How the request with this number ended.
    pub fn ended(&self, ticket: u64) -> Option<Arc<VerifyStatus>> {
        if self.done >= ticket { self.last() } else { None }
    }

    /// How the last one ended.
    pub fn last(&self) -> Option<Arc<VerifyStatus>> {
        self.last.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::dirty::{Cause, Need, Writing};

    fn at(ms: u64) -> Cause {
        Cause { now: Duration::from_millis(ms), serial: ms }
    }

    fn path(raw: &str) -> RelPath {
        RelPath::parse(raw.as_bytes()).unwrap()
    }

    #[test]
    fn it_waits_for_changes_but_not_for_those_that_fail() {
        let mut dirty = DirtySet::default();
        let mut verify = Verify::default();
        dirty.mark(path("stuck"), Need::Content, Writing::Closed, at(1));
        verify.ask(5);
        assert!(!verify.is_due(&dirty, Duration::ZERO));
        let take = |dirty: &mut DirtySet| {
            dirty.take(Duration::from_secs(9), Duration::ZERO, true, 10);
        };
        take(&mut dirty);
        assert!(!verify.is_due(&dirty, Duration::ZERO), "it flies");
        dirty.failed(&path("stuck"), |_| Duration::from_secs(100), at(2));
        dirty.mark(path("later"), Need::Content, Writing::Closed, at(6));
        assert!(verify.is_due(&dirty, Duration::ZERO));
        verify.take();
        verify.look_again(6, Duration::from_secs(50));
        assert!(!verify.is_due(&dirty, Duration::from_secs(49)));
        assert!(verify.is_due(&dirty, Duration::from_secs(50)));
        dirty.applied(&path("stuck"));
    }

    #[test]
    fn a_request_is_answered_by_a_comparison_that_began_later() {
        let mut verify = Verify::default();
        let first = verify.ask(0);
        verify.take();
        let second = verify.ask(0);
        verify.end(VerifyStatus::impossible("one"));
        assert_eq!(verify.ended(first).unwrap().error.as_deref(), Some("one"));
        assert!(verify.ended(second).is_none() && verify.is_open());
        verify.take();
        verify.end(VerifyStatus::impossible("two"));
        assert_eq!(verify.ended(second).unwrap().error.as_deref(), Some("two"));
        assert!(!verify.is_open());
    }

    #[test]
    fn chosen_names_are_found_by_the_directories_above_them() {
        let mut chosen = Chosen::default();
        chosen.add(Some(path("d/e/f")), false);
        chosen.add(None, false);
        assert!(chosen.includes(Some(&path("d/e/f"))) && chosen.includes(None));
        assert!(chosen.leads_to(&path("d")) && chosen.leads_to(&path("d/e")));
        assert!(!chosen.includes(Some(&path("d/e"))) && !chosen.leads_to(&path("d/e/g")));
        assert!(!chosen.has_extra());
    }
}
