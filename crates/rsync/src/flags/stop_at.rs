//! `--stop-at`: a point in local time of which parts may be missing.
//!
//! Origin: command-line reference, "Connection and remote".

use driftless_tree::path::printable;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::Usage;

/// The parts that were given.
#[derive(Debug, Default, Clone, Copy)]
struct Given {
    year: Option<i16>,
    month: Option<i8>,
    day: Option<i8>,
    hour: Option<i8>,
    minute: Option<i8>,
}

/// Returns the first such moment after `now`.
///
/// # Errors
/// A text that is no moment, or one that is past.
pub fn parse(text: &[u8], now: Timestamp, zone: &TimeZone) -> Result<Timestamp, Usage> {
    let shown = printable(text).to_string();
    let bad = || Usage::syntax(format!("invalid --stop-at format: {shown}"));
    let given = std::str::from_utf8(text).ok().and_then(read).ok_or_else(bad)?;
    let local = now.to_zoned(zone.clone()).datetime();
    let past = || Usage::syntax(format!("--stop-at time is not in the future: {shown}"));
    let moment = first_after(given, local).ok_or_else(past)?;
    moment.to_zoned(zone.clone()).map(|zoned| zoned.timestamp()).map_err(|_| bad())
}

fn read(text: &str) -> Option<Given> {
    let (date, time) = match text.split_once('T') {
        Some((date, time)) => (date, time),
        None if text.contains(':') => ("", text),
        None => (text, ""),
    };
    let mut given = Given::default();
    if !date.is_empty() {
        let parts: Vec<i16> = date.split(['-', '/']).map(number).collect::<Option<_>>()?;
        let (year, month, day) = match parts[..] {
            [day] => (None, None, day),
            [month, day] => (None, Some(month), day),
            [year, month, day] => (Some(year), Some(month), day),
            _ => return None,
        };
        given.year = year.map(|year| if year < 100 { year + 2000 } else { year });
        if let Some(month) = month {
            given.month = Some(within(month, 1, 12)?);
        }
        given.day = Some(within(day, 1, 31)?);
    }
    if !time.is_empty() {
        let (hour, minute) = time.split_once(':')?;
        if !hour.is_empty() {
            given.hour = Some(within(number(hour)?, 0, 23)?);
        }
        given.minute = Some(within(number(minute)?, 0, 59)?);
    }
    (given.day.is_some() || given.minute.is_some()).then_some(given)
}

fn number(text: &str) -> Option<i16> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

fn within(value: i16, min: i16, max: i16) -> Option<i8> {
    (min..=max).contains(&value).then(|| i8::try_from(value).ok()).flatten()
}

/// Walks through the values of the largest missing part.
fn first_after(given: Given, now: DateTime) -> Option<DateTime> {
    let minute = given.minute.unwrap_or(0);
    let hour = given.hour.unwrap_or(0);
    let candidates: Vec<DateTime> = match (given.year, given.month, given.day) {
        (Some(year), Some(month), Some(day)) => vec![at(year, month, day, hour, minute)?],
        (None, Some(month), Some(day)) => {
            (0..=1).filter_map(|later| at(now.year() + later, month, day, hour, minute)).collect()
        }
        (None, None, Some(day)) => {
            let first = now.date().first_of_month();
            (0..=1_i32)
                .filter_map(|later| first.checked_add(later.months()).ok())
                .filter_map(|month| at(month.year(), month.month(), day, hour, minute))
                .collect()
        }
        _ if given.hour.is_some() => {
            let today = now.date().at(hour, minute, 0, 0);
            vec![today, today.checked_add(1.day()).ok()?]
        }
        _ => {
            let this = now.date().at(now.hour(), minute, 0, 0);
            vec![this, this.checked_add(1.hour()).ok()?]
        }
    };
    candidates.into_iter().find(|moment| *moment > now)
}

/// Days beyond the end of a month run into the next.
fn at(year: i16, month: i8, day: i8, hour: i8, minute: i8) -> Option<DateTime> {
    let first = Date::new(year, month, 1).ok()?;
    let date = first.checked_add(i32::from(day - 1).days()).ok()?;
    Some(date.at(hour, minute, 0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &str) {
        let now: Timestamp = "2026-11-22T19:06:30Z".parse().unwrap();
        let found = match parse(text.as_bytes(), now, &TimeZone::UTC) {
            Ok(moment) => moment.to_string(),
            Err(usage) => usage.text,
        };
        assert_eq!(found, expected);
    }

    #[test]
    fn missing_parts_are_those_of_the_next_such_moment() {
        check("2030-01-01T", "2030-01-01T00:00:00Z");
        check("2030/2/30", "2030-03-02T00:00:00Z");
        check("30-1-2T3:04", "2030-01-02T03:04:00Z");
        check("1-30", "2027-01-30T00:00:00Z");
        check("31", "2026-12-01T00:00:00Z");
        check("1", "2026-12-01T00:00:00Z");
        check("14:00", "2026-11-23T14:00:00Z");
        check("T20:00", "2026-11-22T20:00:00Z");
        check(":05", "2026-11-22T20:05:00Z");
        check(":07", "2026-11-22T19:07:00Z");
    }

    #[test]
    fn what_is_no_moment_or_past_is_refused() {
        for bad in ["foo", "", "13-1", "1-1-1-1", "24:00", "1:60", "T", "2030-01-01T5"] {
            check(bad, &format!("invalid --stop-at format: {bad}"));
        }
        check("2020-01-01", "--stop-at time is not in the future: 2020-01-01");
    }
}
