//! Times on the command line.

use std::time::Duration;

use super::refusal::Refusal;

/// How long to wait.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Timeout {
    /// For ever.
    #[default]
    Never,
    /// So long.
    After(Duration),
    /// A negative number was given: the run ends as soon as it is set up.
    Negative,
}

/// Reads whole seconds, as `strtol` reads them; 0 is for ever.
pub fn parse_timeout(value: &[u8]) -> Result<Timeout, Refusal> {
    let text = String::from_utf8_lossy(value);
    let number = text.trim_start_matches([' ', '\t', '\n', '\r', '\x0b', '\x0c']);
    let digits = number.strip_prefix(['-', '+']).unwrap_or(number);
    if value.is_empty() {
        return Err(Refusal::line(
            "The provided value is not a valid timeout value.\nPlease specify a long int value.",
        ));
    }
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(Refusal::line(format!(
            "'{text}' is not a valid timeout value.\nPlease specify a long int value."
        )));
    }
    match number.parse::<i64>() {
        Err(_) => Err(Refusal::line(
            "Something went wrong with the timeout value you provided.\n\
             Numerical result out of range",
        )),
        Ok(0) => Ok(Timeout::Never),
        Ok(seconds) => Ok(u64::try_from(seconds)
            .map_or(Timeout::Negative, |s| Timeout::After(Duration::from_secs(s)))),
    }
}

/// Reads a duration: a number of seconds, or one with the unit `ms`, `s` or `m`.
pub fn duration(option: &str, value: &[u8]) -> Result<Duration, Refusal> {
    let text = String::from_utf8_lossy(value);
    let (number, scale) = if let Some(number) = text.strip_suffix("ms") {
        (number, 1e-3)
    } else if let Some(number) = text.strip_suffix('s') {
        (number, 1.0)
    } else if let Some(number) = text.strip_suffix('m') {
        (number, 60.0)
    } else {
        (&*text, 1.0)
    };
    let plain = !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    let seconds = number.parse::<f64>().ok().filter(|_| plain).map(|number| number * scale);
    seconds.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).ok_or_else(|| {
        Refusal::line(format!("{option}: '{text}' is no duration like 200ms, 1.5s or 2m."))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: Option<Timeout>) {
        assert_eq!(parse_timeout(value.as_bytes()).ok(), expected, "{value:?}");
    }

    #[test]
    fn timeouts_are_whole_decimal_seconds() {
        check("0", Some(Timeout::Never));
        check(" +7", Some(Timeout::After(Duration::from_secs(7))));
        check("010", Some(Timeout::After(Duration::from_secs(10))));
        check("-1", Some(Timeout::Negative));
        for value in ["", "x", "1x", "0x1", "1.5", "++1", "99999999999999999999"] {
            check(value, None);
        }
    }

    #[test]
    fn durations_have_units() {
        for (text, millis) in [("200ms", 200), ("1.5s", 1500), ("2m", 120_000), ("3", 3000)] {
            assert_eq!(duration("-", text.as_bytes()).ok(), Some(Duration::from_millis(millis)));
        }
        for text in ["", "ms", "-1s", "1h", "inf", "nan", "1e3"] {
            assert!(duration("-", text.as_bytes()).is_err(), "{text}");
        }
    }
}
