//! When full passes run besides those that a mirror needs, and when it is verified: cron expressions, right about clock
//! changes.
//!
//! A job that names its hour and minute runs once on each of its days, as with classic cron: an hour
//! that a clock change skips is moved past the gap, one that comes twice counts the first time. A
//! job with a `*` in either field keeps its pace over the change.

use std::fmt;

use cronexpr::{Crontab, MakeTimestamp, parse_crontab};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// A cron expression with its time zone.
#[derive(Clone)]
pub struct Schedule {
    text: String,
    zone: TimeZone,
    /// In UTC where `by_wall_clock`, else in the zone.
    crontab: Crontab,
    /// Hour and minute are named.
    by_wall_clock: bool,
}

/// What is wrong with an expression.
#[derive(Debug, thiserror::Error)]
#[error(
    "'{text}' is not a schedule: {why}; write minute, hour, day of month, month, day of week and, \
     if it is not this machine's, a time zone, as in '30 3 * * *' or '30 3 * * * Europe/Berlin'"
)]
pub struct ScheduleError {
    text: String,
    why: String,
}

impl Schedule {
    /// Reads five cron fields and, optionally, an IANA time zone; without one the machine's counts.
    ///
    /// # Errors
    /// What is wrong, and how to write it.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let wrong = |why: String| ScheduleError { text: text.to_owned(), why };
        let fields: Vec<&str> = text.split_whitespace().collect();
        let (zone, times) = match fields.as_slice() {
            [times @ .., name] if times.len() == 5 => {
                (TimeZone::get(name).map_err(|error| wrong(error.to_string()))?, times)
            }
            times if times.len() == 5 => (TimeZone::system(), times),
            other => return Err(wrong(format!("it has {} fields", other.len()))),
        };
        let fixed = !times[0].contains('*') && !times[1].contains('*');
        // A zone of the machine's own, without a name, has no rules that the pace could follow.
        let name = zone.iana_name().filter(|_| !fixed);
        let expression = format!("{} {}", times.join(" "), name.unwrap_or("UTC"));
        let crontab = parse_crontab(&expression).map_err(|error| wrong(first_line(&error)))?;
        Ok(Self { text: text.to_owned(), by_wall_clock: name.is_none(), zone, crontab })
    }

    /// The first time later than `now`; `None` when there is none, as for 30 February.
    pub fn next_after(&self, now: Timestamp) -> Option<Timestamp> {
        if !self.by_wall_clock {
            return Some(self.crontab.find_next(MakeTimestamp(now)).ok()?.timestamp());
        }
        let mut civil = self.zone.to_datetime(now);
        loop {
            let as_utc = TimeZone::UTC.to_ambiguous_zoned(civil).compatible().ok()?.timestamp();
            civil = self.crontab.find_next(MakeTimestamp(as_utc)).ok()?.datetime();
            let at = self.zone.to_ambiguous_zoned(civil).compatible().ok()?.timestamp();
            // In an hour that comes twice, the first of the two may be over.
            if at > now {
                return Some(at);
            }
        }
    }
}

fn first_line(error: &cronexpr::Error) -> String {
    let text = error.to_string();
    text.lines().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default().to_owned()
}

/// As it was written.
impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Schedule").field(&self.text).finish()
    }
}

impl PartialEq for Schedule {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.zone == other.zone
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runs(schedule: &str, after: &str, count: usize) -> Vec<String> {
        let schedule = Schedule::parse(schedule).unwrap();
        let mut now: Timestamp = after.parse().unwrap();
        let mut times = Vec::new();
        for _ in 0..count {
            now = schedule.next_after(now).unwrap();
            times.push(now.to_string());
        }
        times
    }

    #[test]
    fn a_nightly_run_comes_once_a_day_over_both_clock_changes() {
        assert_eq!(
            runs("30 2 * * * Europe/Berlin", "2026-03-28T00:00:00Z", 3),
            ["2026-03-28T01:30:00Z", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z"]
        );
        assert_eq!(
            runs("30 2 * * * Europe/Berlin", "2026-10-24T12:00:00Z", 2),
            ["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]
        );
    }

    #[test]
    fn an_hour_that_came_already_is_not_run_again() {
        // 02:45 for the first time, then 02:15 for the second time.
        for now in ["2026-10-25T00:45:00Z", "2026-10-25T01:15:00Z"] {
            assert_eq!(runs("30 2 * * * Europe/Berlin", now, 1), ["2026-10-26T01:30:00Z"]);
        }
    }

    #[test]
    fn a_pace_is_kept_over_the_clock_change() {
        assert_eq!(
            runs("*/30 * * * * Europe/Berlin", "2026-10-24T23:45:00Z", 5),
            [
                "2026-10-25T00:00:00Z",
                "2026-10-25T00:30:00Z",
                "2026-10-25T01:00:00Z",
                "2026-10-25T01:30:00Z",
                "2026-10-25T02:00:00Z"
            ]
        );
    }

    #[test]
    fn without_a_zone_the_machines_counts() {
        let schedule = Schedule::parse("30 3 * * *").unwrap();
        let now = "2026-11-22T12:00:00Z".parse().unwrap();
        let next = TimeZone::system().to_datetime(schedule.next_after(now).unwrap());
        assert_eq!((next.hour(), next.minute()), (3, 30));
    }

    #[test]
    fn a_day_that_never_comes_has_no_next() {
        let schedule = Schedule::parse("0 0 30 2 * UTC").ok();
        assert!(schedule.is_none_or(|s| s.next_after(Timestamp::UNIX_EPOCH).is_none()));
    }

    #[test]
    fn wrong_expressions_are_named_with_what_to_write() {
        for wrong in ["", "30 3 * *", "61 3 * * *", "30 3 * * * Mars/Base", "a b c d e"] {
            let text = Schedule::parse(wrong).unwrap_err().to_string();
            assert!(text.starts_with(&format!("'{wrong}' is not a schedule: ")), "{text}");
            assert!(text.contains("30 3 * * * Europe/Berlin") && !text.contains('\n'), "{text}");
        }
    }
}
