//! Names as they are printed: what is no printable character becomes `\#ooo`.

/// Which bytes are printed as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Charset {
    /// ASCII only.
    #[default]
    Ascii,
    /// And whole characters of UTF-8.
    Utf8,
    /// And every byte above 127 (`-8`).
    EightBit,
    /// And bytes above 127 but those that are control characters in Latin-1: a log's.
    Log,
}

/// Appends `text` to `out`.
pub fn put(out: &mut Vec<u8>, text: &[u8], charset: Charset) {
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        let len = match charset {
            Charset::Utf8 if byte >= 0x80 => char_len(rest),
            _ => 0,
        };
        if len > 0 {
            out.extend_from_slice(&rest[..len]);
            rest = &rest[len..];
            continue;
        }
        let control = byte < 0x20 && byte != b'\t';
        let high = match charset {
            Charset::Ascii | Charset::Utf8 => byte >= 0x80,
            Charset::EightBit => false,
            Charset::Log => (0x80..0xa0).contains(&byte),
        };
        if control || high || looks_escaped(rest) {
            out.extend_from_slice(format!("\\#{byte:03o}").as_bytes());
        } else {
            out.push(byte);
        }
        rest = after;
    }
}

/// Length of the printable character at the front, 0 when there is none.
fn char_len(text: &[u8]) -> usize {
    let longest = &text[..text.len().min(4)];
    let valid = match std::str::from_utf8(longest) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&longest[..error.valid_up_to()]).unwrap_or_default(),
    };
    valid.chars().next().filter(|c| !c.is_control()).map_or(0, char::len_utf8)
}

/// A name that looks like an escape has its backslash escaped.
fn looks_escaped(rest: &[u8]) -> bool {
    let Some(digits) = rest.strip_prefix(b"\\#") else { return false };
    digits.len() >= 3 && digits[..3].iter().all(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &[u8], charset: Charset, expected: &[u8]) {
        let mut out = Vec::new();
        put(&mut out, text, charset);
        assert_eq!(out.escape_ascii().to_string(), expected.escape_ascii().to_string());
    }

    #[test]
    fn only_printable_characters_are_printed() {
        let name = b"a\x01b\tc\x1bd\x7fe\x80f";
        check(name, Charset::Ascii, b"a\\#001b\tc\\#033d\x7fe\\#200f");
        check(name, Charset::Utf8, b"a\\#001b\tc\\#033d\x7fe\\#200f");
        check(name, Charset::EightBit, b"a\\#001b\tc\\#033d\x7fe\x80f");
        check(b"caf\xc3\xa9", Charset::Ascii, b"caf\\#303\\#251");
        check(b"caf\xc3\xa9", Charset::Utf8, b"caf\xc3\xa9");
        check(b"caf\xc3\xa9\x9f", Charset::Log, b"caf\xc3\xa9\\#237");
        check(b"b\\#123x", Charset::Ascii, b"b\\#134#123x");
        check(b"c\\#12", Charset::Ascii, b"c\\#12");
    }
}
