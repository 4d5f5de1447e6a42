//! Names of `--files-from` on the wire.
//!
//! Protocol reference, section "files-from over the wire".

use crate::int::MAX_PATH_LEN;
use crate::{Decode, Violation};

/// Writes a name.
///
/// # Panics
/// When it is empty or holds a NUL: both would end it early.
pub fn put_name(out: &mut Vec<u8>, name: &[u8]) {
    assert!(!name.is_empty() && !name.contains(&0), "a name is not empty and has no NUL");
    out.extend_from_slice(name);
    out.push(0);
}

/// Writes the end of the names.
pub fn put_end(out: &mut Vec<u8>) {
    out.push(0);
}

/// Takes a name; `None` at the end.
///
/// # Errors
/// [`Decode::Incomplete`], or a name longer than 4095 bytes.
pub fn take_name<'a>(input: &mut &'a [u8]) -> Result<Option<&'a [u8]>, Decode> {
    let Some(end) = input.iter().take(MAX_PATH_LEN + 1).position(|&b| b == 0) else {
        let (what, len, limit) = ("name", input.len() as u64, MAX_PATH_LEN as u64);
        return Err(match input.len() > MAX_PATH_LEN {
            true => Violation::TooLong { what, len, limit }.into(),
            false => Decode::Incomplete,
        });
    };
    let (name, rest) = input.split_at(end);
    *input = rest.get(1..).unwrap_or_default();
    Ok((end > 0).then_some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_end_in_nul_and_the_list_in_an_empty_name() {
        let mut out = Vec::new();
        put_name(&mut out, b"sub/b.txt");
        put_end(&mut out);
        assert_eq!(out, b"sub/b.txt\0\0");
        let mut input = out.as_slice();
        assert_eq!(take_name(&mut input), Ok(Some(&b"sub/b.txt"[..])));
        assert_eq!(take_name(&mut input), Ok(None));
    }

    #[test]
    fn an_endless_name_is_refused() {
        let wire = [b'x'; MAX_PATH_LEN + 1];
        assert_eq!(take_name(&mut &wire[1..]), Err(Decode::Incomplete));
        assert!(matches!(take_name(&mut &wire[..]), Err(Decode::Invalid(_))));
    }
}
