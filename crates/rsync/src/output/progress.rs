//! `--progress` and `--info=progress2`: a line that is written again and again.

use std::time::Duration;

use driftless_transfer::report::Overall;

use super::number::whole;

/// A moment of a file, or of the whole transfer.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// Since the start of what is measured.
    pub at: Duration,
    /// Bytes done by then.
    pub done: u64,
}

/// The figures of a line: `done` of `total` bytes, at `rate` bytes per second, and the time it
/// took, or will take.
fn figures(done: u64, total: u64, rate: f64, time: Option<f64>, human: u8) -> String {
    // Without `as` the percentage of a large file would overflow.
    let percent = if done == total {
        100
    } else {
        u64::try_from(u128::from(done) * 100 / u128::from(total.max(1))).unwrap_or(100)
    };
    let (rate, unit) = match rate / 1024.0 {
        rate if rate > 1024.0 * 1024.0 => (rate / (1024.0 * 1024.0), "GB/s"),
        rate if rate > 1024.0 => (rate / 1024.0, "MB/s"),
        rate => (rate, "kB/s"),
    };
    let time = match time {
        Some(secs) if (0.0..9999.0 * 3600.0).contains(&secs) => {
            let secs = secs as u64;
            format!("{:4}:{:02}:{:02}", secs / 3600, secs / 60 % 60, secs % 60)
        }
        _ => "  ??:??:??".to_owned(),
    };
    format!("\r{:>15} {percent:3}% {rate:7.2}{unit} {time}", whole(done, human))
}

/// The line while bytes move: `before` is an earlier moment that the rate is measured from.
pub fn running(now: Moment, before: Moment, total: u64, human: u8) -> String {
    let rate = rate(now, before);
    let left = total.saturating_sub(now.done) as f64;
    let time = if rate > 0.0 { left / rate } else { 0.0 };
    let mut line = figures(now.done, total, rate, Some(time), human);
    line.push_str("  ");
    line
}

/// The line of what is complete, without line feed.
pub fn finished(now: Moment, total: u64, overall: &Overall, human: u8) -> String {
    let start = Moment { at: Duration::ZERO, done: 0 };
    let secs = now.at.as_secs_f64();
    let mut line = figures(now.done, total, rate(now, start), Some(secs), human);
    line.push_str(&checked(overall));
    line
}

/// How far the lists are.
pub fn checked(overall: &Overall) -> String {
    let check = if overall.lists_complete { "to" } else { "ir" };
    let Overall { transferred_count, remaining_count, listed_count, .. } = overall;
    format!(" (xfr#{transferred_count}, {check}-chk={remaining_count}/{listed_count})")
}

fn rate(now: Moment, before: Moment) -> f64 {
    let secs = now.at.saturating_sub(before.at).as_secs_f64();
    if secs > 0.0 { now.done.saturating_sub(before.done) as f64 / secs } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OVERALL: Overall = Overall {
        done_bytes: 0,
        total_bytes: 0,
        transferred_count: 1,
        remaining_count: 4,
        listed_count: 6,
        lists_complete: true,
    };

    #[test]
    fn a_line_has_the_columns_of_the_original() {
        let now = Moment { at: Duration::from_millis(6), done: 1_234_567 };
        let line = finished(now, 1_234_567, &OVERALL, 1);
        assert_eq!(line, "\r      1,234,567 100%  196.23MB/s    0:00:00 (xfr#1, to-chk=4/6)");
        let start = Moment { at: Duration::ZERO, done: 0 };
        let half = Moment { at: Duration::from_secs(2), done: 2048 };
        assert_eq!(
            running(half, start, 4096 * 1024, 1),
            "\r          2,048   0%    1.00kB/s    1:08:14  "
        );
        assert_eq!(running(start, start, 7, 1), "\r              0   0%    0.00kB/s    0:00:00  ");
    }
}
