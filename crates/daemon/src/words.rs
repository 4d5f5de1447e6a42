//! Lists in values.

/// The words of `auth users` and `gid`: separated by blanks and commas, or by commas alone where the
/// list begins with one, so that names may hold blanks.
pub(crate) fn names(text: &[u8]) -> Vec<&[u8]> {
    let text = text.trim_ascii_start();
    let by_commas = text.starts_with(b",");
    let ends = |b: &u8| *b == b',' || (!by_commas && b.is_ascii_whitespace());
    text.split(ends).map(<[u8]>::trim_ascii).filter(|word| !word.is_empty()).collect()
}

/// The words of `hosts allow` and its kin, in lower case.
pub(crate) fn hosts(text: &[u8]) -> Vec<Vec<u8>> {
    let ends = |b: &u8| matches!(b, b' ' | b',' | b'\t');
    text.split(ends).filter(|w| !w.is_empty()).map(<[u8]>::to_ascii_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leading_comma_keeps_blanks_in_names() {
        assert_eq!(names(b"a, b\tc"), [b"a", b"b", b"c"]);
        assert_eq!(names(b" ,@a b:deny , c"), [&b"@a b:deny"[..], b"c"]);
        assert!(names(b" , ").is_empty());
        assert_eq!(hosts(b"A.example, 10.0.0.1"), [&b"a.example"[..], b"10.0.0.1"]);
    }
}
