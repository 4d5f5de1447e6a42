//! When to go through the whole tree after events were lost.

use std::time::{Duration, Instant};

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(300);

/// Whether a recovery is needed, runs, and may run.
///
/// Events lost while one runs make another one needed: what was gone through before the loss proves
/// nothing. Pauses between them grow, so that losing events again and again is no hot loop.
pub(crate) struct Recovery {
    needed: bool,
    runs: bool,
    pause: Duration,
    ended: Option<Instant>,
}

impl Recovery {
    pub fn new() -> Self {
        Self { needed: false, runs: false, pause: FIRST_PAUSE, ended: None }
    }

    pub fn need(&mut self) {
        self.needed = true;
    }

    /// Whether the tree is not known to be covered.
    pub fn is_open(&self) -> bool {
        self.needed || self.runs
    }

    /// When the next one may start; `None` when none is needed.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        if !self.needed || self.runs {
            return None;
        }
        Some(self.ended.map_or(now, |ended| ended + self.pause))
    }

    pub fn start(&mut self, now: Instant) {
        let quiet = self.ended.is_none_or(|ended| now > ended + self.pause * 2);
        self.pause = if quiet { FIRST_PAUSE } else { (self.pause * 2).min(LONGEST_PAUSE) };
        self.needed = false;
        self.runs = true;
    }

    pub fn finish(&mut self, now: Instant) {
        self.runs = false;
        self.ended = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_while_losses_go_on_and_shrink_in_quiet_times() {
        let start = Instant::now();
        let mut recovery = Recovery::new();
        assert_eq!(recovery.due(start), None);
        recovery.need();
        assert_eq!(recovery.due(start), Some(start));
        let mut now = start;
        let mut pauses = Vec::new();
        for _ in 0..12 {
            recovery.start(now);
            recovery.need();
            assert_eq!(recovery.due(now), None, "one at a time");
            recovery.finish(now);
            let due = recovery.due(now).unwrap();
            pauses.push((due - now).as_secs());
            now = due;
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        now += Duration::from_secs(1000);
        recovery.start(now);
        recovery.finish(now);
        assert!(!recovery.is_open());
        recovery.need();
        assert_eq!(recovery.due(now), Some(now + FIRST_PAUSE));
    }
}
