//! Numbers at the levels of `-h`.

/// A count or a number of bytes: 0 digits only, 1 with commas, 2 in units of 1000, 3 of 1024.
pub fn whole(value: u64, level: u8) -> String {
    match level {
        0 => value.to_string(),
        1 => with_commas(&value.to_string()),
        _ => in_units(value as f64, level).unwrap_or_else(|| value.to_string()),
    }
}

/// A rate or ratio with two decimals.
pub fn decimal(value: f64, level: u8) -> String {
    let plain = || format!("{value:.2}");
    match level {
        0 => plain(),
        1 => with_commas(&plain()),
        _ => in_units(value, level).unwrap_or_else(plain),
    }
}

fn in_units(value: f64, level: u8) -> Option<String> {
    let base = if level == 2 { 1000.0 } else { 1024.0 };
    if value < base {
        return None;
    }
    let mut value = value / base;
    let mut units = "KMGTP".chars();
    let mut unit = units.next()?;
    while value >= base {
        let Some(larger) = units.next() else { break };
        (value, unit) = (value / base, larger);
    }
    Some(format!("{value:.2}{unit}"))
}

fn with_commas(number: &str) -> String {
    let (digits, fraction) = number.split_at(number.find('.').unwrap_or(number.len()));
    let mut text = String::with_capacity(number.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text.push_str(fraction);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_has_its_form() {
        let forms = |value| [0, 1, 2, 3].map(|level| whole(value, level));
        assert_eq!(forms(4096), ["4096", "4,096", "4.10K", "4.00K"]);
        assert_eq!(forms(999), ["999", "999", "999", "999"]);
        assert_eq!(forms(1000), ["1000", "1,000", "1.00K", "1000"]);
        assert_eq!(forms(2_345_715), ["2345715", "2,345,715", "2.35M", "2.24M"]);
        assert_eq!(forms(0), ["0", "0", "0", "0"]);
        let rates = [0, 1, 2, 3].map(|level| decimal(4_694_080.0, level));
        assert_eq!(rates, ["4694080.00", "4,694,080.00", "4.69M", "4.48M"]);
        assert_eq!(decimal(0.056, 1), "0.06");
    }
}
