//! Values of options: numbers, sizes, rates, lists of words.
//!
//! Origin of all forms and texts: command-line reference, "SIZE values" and "--info / --debug".

use driftless_tree::path::printable;

use super::Usage;

/// How a size is read: the unit that a bare number has, and its limits.
#[derive(Debug, Clone, Copy)]
pub struct SizeRule {
    /// The option as rsync names it in errors.
    pub option: &'static str,
    /// Factor of a number without a unit.
    pub default_unit: f64,
    /// Smallest value and how rsync writes it; zero is always allowed beside it.
    pub min: Option<(u64, &'static str)>,
    /// Largest value and how rsync writes it.
    pub max: Option<(u64, &'static str)>,
}

impl SizeRule {
    /// A size in bytes without limits.
    pub const fn bytes(option: &'static str) -> Self {
        Self { option, default_unit: 1.0, min: None, max: None }
    }

    /// Reads `digits[.digits][unit][+1|-1]`.
    ///
    /// # Errors
    /// Anything else, and what is out of range.
    pub fn parse(&self, text: &[u8]) -> Result<u64, Usage> {
        let complain =
            |what: &str| Usage::syntax(format!("--{}={} is {what}", self.option, printable(text)));
        // A leading minus makes the product negative, which is what rsync calls it.
        if text.first() == Some(&b'-') && text.get(1).is_some_and(|b| (b'1'..=b'9').contains(b)) {
            return Err(complain("too large"));
        }
        if matches!(text.first(), Some(b'-' | b'+')) {
            return Err(complain("invalid"));
        }
        let (number, rest) = decimal(text);
        let (factor, rest) = unit(rest, self.default_unit).ok_or_else(|| complain("invalid"))?;
        let nudge = match rest {
            b"" => 0,
            b"+1" => 1,
            b"-1" => -1,
            _ => return Err(complain("invalid")),
        };
        let product = (number * factor).trunc();
        if product >= i64::MAX as f64 {
            return Err(complain("too large"));
        }
        let Some(value) = (product as u64).checked_add_signed(nudge) else {
            return Err(complain("too large"));
        };
        if let Some((_, shown)) = self.max.filter(|(max, _)| value > *max) {
            return Err(complain(&format!("too large (max: {shown})")));
        }
        if let Some((_, shown)) = self.min.filter(|(min, _)| value != 0 && value < *min) {
            return Err(complain(&format!("too small (min: {shown} or 0 for unlimited)")));
        }
        Ok(value)
    }
}

/// Takes `digits[.digits]` off the front; nothing there is zero.
fn decimal(text: &[u8]) -> (f64, &[u8]) {
    let mut seen_point = false;
    let end = text
        .iter()
        .position(|b| match b {
            b'.' if !seen_point => {
                seen_point = true;
                false
            }
            b => !b.is_ascii_digit(),
        })
        .unwrap_or(text.len());
    let (number, rest) = text.split_at(end);
    let number = std::str::from_utf8(number).ok().and_then(|n| n.parse().ok()).unwrap_or(0.0);
    (number, rest)
}

/// Takes a unit off the front: its factor and the rest.
fn unit(text: &[u8], default: f64) -> Option<(f64, &[u8])> {
    let Some((&first, rest)) = text.split_first() else { return Some((default, text)) };
    let power = match first.to_ascii_lowercase() {
        b'b' => return Some((1.0, rest)),
        b'k' => 1,
        b'm' => 2,
        b'g' => 3,
        b't' => 4,
        b'p' => 5,
        b'+' | b'-' => return Some((default, text)),
        _ => return None,
    };
    let (base, rest) = match rest {
        [b'b' | b'B', rest @ ..] => (1000.0_f64, rest),
        [b'i' | b'I', b'b' | b'B', rest @ ..] => (1024.0, rest),
        rest => (1024.0, rest),
    };
    Some((base.powi(power), rest))
}

/// Reads an integer in the syntax of C: decimal, `0x…` or `0…`; nothing is 0. `shown` is the word
/// of the command line that holds it.
///
/// # Errors
/// In rsync's words.
pub fn integer(text: &[u8], shown: &[u8]) -> Result<i32, Usage> {
    let invalid = || Usage::syntax(format!("{}: invalid numeric value", printable(shown)));
    let start = text.iter().position(|b| !b.is_ascii_whitespace()).unwrap_or(text.len());
    let (negative, digits) = match &text[start..] {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        rest => (false, rest),
    };
    if text.is_empty() {
        return Ok(0);
    }
    let (radix, digits) = match digits {
        [b'0', b'x' | b'X', rest @ ..] if !rest.is_empty() => (16, rest),
        [b'0', rest @ ..] if !rest.is_empty() => (8, rest),
        rest => (10, rest),
    };
    if digits.is_empty() {
        return Err(invalid());
    }
    let mut value = 0_i64;
    for &digit in digits {
        let digit = char::from(digit).to_digit(radix).ok_or_else(invalid)?;
        value = value.saturating_mul(i64::from(radix)).saturating_add(i64::from(digit));
    }
    i32::try_from(if negative { -value } else { value })
        .map_err(|_| Usage::syntax(format!("{}: number too large or too small", printable(shown))))
}

/// One word of `--info` or `--debug`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LevelWord {
    /// One subject, by its place in the list of words.
    One(usize, u8),
    /// All at this level.
    All(u8),
    /// The list of words is to be printed.
    Help,
}

/// Reads a comma list of `WORD[LEVEL]`.
///
/// # Errors
/// A word that is none; `option` is `info` or `debug`.
pub fn level_words(text: &[u8], words: &[&str], option: &str) -> Result<Vec<LevelWord>, Usage> {
    let mut found = Vec::new();
    for item in text.split(|b| *b == b',').filter(|item| !item.is_empty()) {
        let end = item.iter().rposition(|b| !b.is_ascii_digit()).map_or(0, |at| at + 1);
        let (word, digits) = item.split_at(end);
        let level = match digits {
            b"" => 1,
            [one @ b'0'..=b'3'] => one - b'0',
            _ if digits.iter().all(|b| *b == b'0') => 0,
            _ => 4,
        };
        let of_words = |at: usize| LevelWord::One(at, level);
        let at = words.iter().position(|w| w.as_bytes().eq_ignore_ascii_case(word));
        found.push(match at {
            Some(at) => of_words(at),
            None if word.eq_ignore_ascii_case(b"ALL") => LevelWord::All(level),
            None if word.eq_ignore_ascii_case(b"NONE") => LevelWord::All(0),
            None if word.eq_ignore_ascii_case(b"HELP") => LevelWord::Help,
            None => {
                let shown = printable(word);
                return Err(Usage::plain(1, format!("Unknown --{option} item: \"{shown}\"")));
            }
        });
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn size(text: &str, expected: Result<u64, &str>) {
        let found = SizeRule::bytes("max-size").parse(text.as_bytes());
        let expected = expected.map_err(|what| format!("--max-size={text} is {what}"));
        assert_eq!(found.map_err(|usage| usage.text), expected);
    }

    #[test]
    fn sizes_have_units_and_a_nudge() {
        size("", Ok(0));
        size(".", Ok(0));
        size("1.5", Ok(1));
        size("k", Ok(0));
        size("1kb", Ok(1000));
        size("1KiB", Ok(1024));
        size("1.5k+1", Ok(1537));
        size("5k-1", Ok(5119));
        size("5-1", Ok(4));
        size("3B", Ok(3));
        size("1p", Ok(1 << 50));
        for bad in ["5x", "5kbx", "1ki", "1kk", "1e3", "1,5k", "5 ", "-0", "+1", "5k+2"] {
            size(bad, Err("invalid"));
        }
        for large in ["-1", "-5", "9999999p"] {
            size(large, Err("too large"));
        }
    }

    #[test]
    fn limits_are_said_in_the_words_of_rsync() {
        let rate = SizeRule {
            option: "bwlimit",
            default_unit: 1024.0,
            min: Some((512, "512")),
            max: None,
        };
        assert_eq!(rate.parse(b"0.5"), Ok(512));
        assert_eq!(rate.parse(b"0"), Ok(0));
        let error = rate.parse(b"100b").unwrap_err();
        assert_eq!(error.text, "--bwlimit=100b is too small (min: 512 or 0 for unlimited)");
    }

    #[track_caller]
    fn number(text: &str, expected: Result<i32, &str>) {
        let found = integer(text.as_bytes(), text.as_bytes()).map_err(|usage| usage.text);
        assert_eq!(found, expected.map_err(|what| format!("{text}: {what}")));
    }

    #[test]
    fn integers_are_those_of_c() {
        number("", Ok(0));
        number("0", Ok(0));
        number("010", Ok(8));
        number("0x10", Ok(16));
        number(" -5", Ok(-5));
        for bad in ["x", "1.5", "5 ", "08", "-", "0x"] {
            number(bad, Err("invalid numeric value"));
        }
        number("99999999999", Err("number too large or too small"));
    }
}
