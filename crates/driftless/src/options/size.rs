//! Sizes as rsync's options write them.

/// Parses `digits[.digits][unit]`: `K`, `M`, `G`, `T`, `P` and `KiB`… are powers of 1024, `KB`… of
/// 1000, `B` is one; without a unit the number counts `default_unit` bytes. `+1` or `-1` behind
/// it is added.
///
/// # Errors
/// What is wrong, with an example.
pub fn parse_size(text: &str, default_unit: u64) -> Result<u64, String> {
    size(text, default_unit).ok_or_else(|| format!("'{text}' is no size like 800K, 1.5M or 2MB"))
}

fn size(text: &str, default_unit: u64) -> Option<u64> {
    let (text, add) = match text {
        _ if text.ends_with("+1") => (text.strip_suffix("+1")?, 1),
        _ if text.ends_with("-1") => (text.strip_suffix("-1")?, -1),
        _ => (text, 0),
    };
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    if !number.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let number: f64 = number.parse().ok()?;
    let bytes = number * unit_bytes(unit, default_unit)? as f64;
    // 2^63 and up has no exact form on the other side of the wire.
    (bytes < 9.2e18).then_some(())?;
    (bytes as u64).checked_add_signed(add)
}

fn unit_bytes(unit: &str, default_unit: u64) -> Option<u64> {
    let unit = unit.to_ascii_lowercase();
    let (letter, base) = match unit.as_str() {
        "" => return Some(default_unit),
        "b" => return Some(1),
        _ if unit.ends_with("ib") => (unit.strip_suffix("ib")?, 1024_u64),
        _ if unit.ends_with('b') => (unit.strip_suffix('b')?, 1000),
        _ => (unit.as_str(), 1024),
    };
    let power = ["k", "m", "g", "t", "p"].iter().position(|known| *known == letter)?;
    base.checked_pow(u32::try_from(power).ok()? + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_follow_rsyncs_units() {
        for (text, bytes) in [
            ("800", 800 * 1024),
            ("800b", 800),
            ("1k", 1024),
            ("1K", 1024),
            ("1KiB", 1024),
            ("1KB", 1000),
            ("1.5M", 1_572_864),
            ("2mb", 2_000_000),
            ("0", 0),
            ("1K-1", 1023),
            ("1K+1", 1025),
        ] {
            assert_eq!(parse_size(text, 1024), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in ["", "k", "5x", "-5", ".5", "1kk", "99999P", "0-1", "1..5"] {
            assert!(parse_size(text, 1).is_err(), "{text}");
        }
    }
}
