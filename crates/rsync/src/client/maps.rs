//! `--usermap` and `--groupmap` are read where files are received, before anything is.

use driftless_transfer::options::MetadataOptions;
use driftless_tree::path::printable;

/// The text for a map that is none.
pub fn check(options: &MetadataOptions) -> Result<(), String> {
    one("user", options.user_map.as_deref())?;
    one("group", options.group_map.as_deref())
}

fn one(which: &str, map: Option<&[u8]>) -> Result<(), String> {
    let Some(map) = map else { return Ok(()) };
    for item in map.split(|b| *b == b',') {
        let Some(colon) = item.iter().position(|b| *b == b':') else {
            return Err(format!("No colon found in --{which}map: {}", printable(item)));
        };
        let from = &item[..colon];
        let number = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
        let starts = from.first().is_some_and(u8::is_ascii_digit);
        if starts && !from.splitn(2, |b| *b == b'-').all(number) {
            return Err(format!("Invalid number in --{which}map: {}", printable(from)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(map: &str, expected: Result<(), &str>) {
        let found = one("group", Some(map.as_bytes()));
        assert_eq!(found, expected.map_err(str::to_owned));
    }

    #[test]
    fn each_item_has_a_colon_and_numbers_are_whole() {
        check("a:b,*:c,1-3:d,:e,7:f", Ok(()));
        check("a", Err("No colon found in --groupmap: a"));
        check("a:b,c", Err("No colon found in --groupmap: c"));
        check("1-x:3", Err("Invalid number in --groupmap: 1-x"));
        check("12a:3", Err("Invalid number in --groupmap: 12a"));
    }
}
