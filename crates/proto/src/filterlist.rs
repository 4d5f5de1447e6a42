//! The frame around filter rules on the wire; what the rules say is not known here.
//!
//! Protocol reference, section "Filter list and files-from".

use crate::int::{put_int, take_bytes, take_int, whole};
use crate::{Decode, Violation};

/// The longest text of a rule, in bytes.
pub const MAX_RULE_LEN: usize = 5119;

/// Writes a rule.
///
/// # Panics
/// When its text is empty or longer than [`MAX_RULE_LEN`].
pub fn put_rule(out: &mut Vec<u8>, text: &[u8]) {
    assert!((1..=MAX_RULE_LEN).contains(&text.len()), "the length of a filter rule is bounded");
    put_int(out, text.len() as i32);
    out.extend_from_slice(text);
}

/// Writes the end of the list.
pub fn put_end(out: &mut Vec<u8>) {
    put_int(out, 0);
}

/// Takes a rule; `None` at the end of the list.
///
/// # Errors
/// [`Decode::Incomplete`], or a length outside its range.
pub fn take_rule<'a>(input: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Decode> {
    whole(input, |rest| match take_int(rest)? {
        0 => Ok(None),
        len => match usize::try_from(len) {
            Ok(len) if len <= MAX_RULE_LEN => Ok(Some(take_bytes(rest, len)?)),
            _ => {
                let (what, value) = ("length of a filter rule", i64::from(len));
                Err(Violation::Number { what, value }.into())
            }
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_have_the_bytes_of_captured_ones() {
        let mut out = Vec::new();
        put_rule(&mut out, b"- *.tmp");
        put_end(&mut out);
        assert_eq!(out, b"\x07\0\0\0- *.tmp\0\0\0\0");
        let mut input = out.as_slice();
        assert_eq!(take_rule(&mut input), Ok(Some(&b"- *.tmp"[..])));
        assert_eq!(take_rule(&mut input), Ok(None));
        assert!(input.is_empty());
    }

    #[test]
    fn lengths_outside_their_range_are_refused() {
        for len in [-1, 5120, i32::MAX] {
            let wire = len.to_le_bytes();
            assert!(matches!(take_rule(&mut &wire[..]), Err(Decode::Invalid(_))), "{len}");
        }
        assert_eq!(take_rule(&mut &5119_i32.to_le_bytes()[..]), Err(Decode::Incomplete));
    }
}
