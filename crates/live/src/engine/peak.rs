//! The most names that a target held lately.
//!
//! Deleting a large tree takes a while, and a quick lane makes many batches of it, each of which
//! deletes little of what the one before has left. Against the peak they count together. What was
//! renamed, or deleted and written again, is there after all, and does not count.

use std::collections::VecDeque;
use std::time::Duration;

/// How long a count is remembered.
const LATELY: Duration = Duration::from_secs(10);

/// Counts of the last [`LATELY`]: times grow, counts fall.
#[derive(Debug, Default)]
pub struct Peak(VecDeque<(Duration, u64)>);

impl Peak {
    /// The target holds `count` names `now`; returns the most that it held lately.
    pub fn count(&mut self, now: Duration, count: u64) -> u64 {
        while self.0.back().is_some_and(|(_, before)| *before <= count) {
            self.0.pop_back();
        }
        self.0.push_back((now, count));
        while self.0.front().is_some_and(|(at, _)| now.saturating_sub(*at) > LATELY) {
            self.0.pop_front();
        }
        self.0.front().map_or(count, |(_, most)| *most)
    }

    /// A person accepted what was deleted.
    pub fn forget(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_most_of_the_last_seconds_is_known() {
        let mut peak = Peak::default();
        for (second, count, most) in [
            (0, 300, 300),
            (1, 200, 300),
            (2, 250, 300),
            (9, 100, 300),
            (11, 90, 250),
            (30, 80, 80),
        ] {
            assert_eq!(peak.count(Duration::from_secs(second), count), most, "{second}");
        }
        peak.forget();
        assert_eq!(peak.count(Duration::from_secs(31), 7), 7);
    }
}
