//! Durations as people write them.

use std::time::Duration;

/// Parses `30s`, `1m 30s`, `500ms`, `1.5h`; a number alone is seconds, as in rsync's options.
///
/// # Errors
/// What is wrong, with an example.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("'{text}' is no duration like 30s, 1m 30s or 500ms");
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(wrong());
    }
    if let Ok(seconds) = rest.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).map_err(|_| wrong());
    }
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
        let (number, tail) = rest.split_at(number_end);
        let tail = tail.trim_start();
        let unit_end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        let number: f64 = number.parse().map_err(|_| wrong())?;
        let seconds = number * unit_seconds(unit).ok_or_else(wrong)?;
        let part = Duration::try_from_secs_f64(seconds).map_err(|_| wrong())?;
        total = total.checked_add(part).ok_or_else(wrong)?;
        rest = tail.trim_start();
    }
    Ok(total)
}

fn unit_seconds(unit: &str) -> Option<f64> {
    Some(match unit {
        "ms" => 0.001,
        "s" | "sec" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86400.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, millis: u64) {
        assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
    }

    #[test]
    fn durations_have_units_and_parts() {
        check("30s", 30_000);
        check("1m 30s", 90_000);
        check("1m30s", 90_000);
        check("500ms", 500);
        check("1.5h", 5_400_000);
        check("2d", 172_800_000);
        check("10 min", 600_000);
        check("0s", 0);
    }

    #[test]
    fn a_number_alone_is_seconds() {
        check("30", 30_000);
        check(" 0.25 ", 250);
    }

    #[test]
    fn what_is_no_duration_is_refused_with_an_example() {
        for text in ["", "s", "30x", "30s,", "-5", "-5s", "1e400", "nan", "1..2s", "30 s s", "ü"] {
            let error = parse_duration(text).unwrap_err();
            assert!(error.contains("like 30s"), "{text}: {error}");
        }
    }
}
