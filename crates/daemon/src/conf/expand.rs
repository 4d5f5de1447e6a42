//! `%VAR%` in values.

/// The most bytes that one value may grow by.
const MOST_GROWTH: usize = 2048;

/// A value that grows by more than is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a value grows by more than {MOST_GROWTH} bytes when its variables are put in")]
pub struct TooLong;

/// One piece of a value.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Piece<'a> {
    Text(&'a [u8]),
    /// The name between the percent signs.
    Variable(&'a [u8]),
}

/// The pieces of a value: a variable is a percent sign, an upper-case letter and what follows, up to
/// the next percent sign.
pub(crate) fn pieces(value: &[u8]) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let (mut start, mut at) = (0, 0);
    while at < value.len() {
        let is_name = value[at] == b'%' && value.get(at + 1).is_some_and(u8::is_ascii_uppercase);
        let end = value[at + 1..].iter().position(|b| *b == b'%').filter(|_| is_name);
        let Some(len) = end else {
            at += 1;
            continue;
        };
        if start < at {
            pieces.push(Piece::Text(&value[start..at]));
        }
        pieces.push(Piece::Variable(&value[at + 1..at + 1 + len]));
        at += len + 2;
        start = at;
    }
    if start < value.len() {
        pieces.push(Piece::Text(&value[start..]));
    }
    pieces
}

/// Puts the values of variables in; what `lookup` does not know stays as it is written.
///
/// # Errors
/// The value grows too much.
pub fn expand(value: &[u8], lookup: impl Fn(&[u8]) -> Option<Vec<u8>>) -> Result<Vec<u8>, TooLong> {
    let mut out = Vec::with_capacity(value.len());
    for piece in pieces(value) {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text),
            Piece::Variable(name) => match lookup(name) {
                Some(text) => out.extend_from_slice(&text),
                None => {
                    out.push(b'%');
                    out.extend_from_slice(name);
                    out.push(b'%');
                }
            },
        }
    }
    if out.len() > value.len() + MOST_GROWTH { Err(TooLong) } else { Ok(out) }
}

/// A variable of this process's environment.
pub fn environment(name: &[u8]) -> Option<Vec<u8>> {
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    std::env::var_os(std::ffi::OsStr::from_bytes(name)).map(OsStringExt::into_vec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(value: &str, expected: &str) {
        let lookup = |name: &[u8]| match name {
            b"A" => Some(b"one".to_vec()),
            b"B C" => Some(b"%A%".to_vec()),
            _ => None,
        };
        let found = expand(value.as_bytes(), lookup).unwrap();
        assert_eq!(String::from_utf8_lossy(&found), expected);
    }

    #[test]
    fn known_variables_are_put_in_once() {
        check("%A%/%B C%/%NONE%", "one/%A%/%NONE%");
        check("100%% %a% %", "100%% %a% %");
        check("%%A%", "%one");
        check("%A", "%A");
    }

    #[test]
    fn a_value_does_not_grow_without_end() {
        assert_eq!(expand(b"%A%", |_| Some(vec![b'x'; 3000])), Err(TooLong));
    }
}
