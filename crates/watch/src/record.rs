//! The records of the kernel's inotify queue. inotify reference, Record.

use rustix::fs::inotify::ReadFlags;

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    /// The watch it came by; −1 for an overflow.
    pub wd: i32,
    pub mask: ReadFlags,
    /// Equal and not 0 in the two halves of a rename.
    pub cookie: u32,
    /// The name in the watched directory; empty when it is about the directory itself.
    pub name: &'a [u8],
}

const HEADER_LEN: usize = 16;

/// Takes one record off the front of what was read; `None` at the end.
///
/// The kernel writes whole records only, so a torn one is treated as the end.
pub(crate) fn take_record<'a>(input: &mut &'a [u8]) -> Option<Record<'a>> {
    let (header, rest) = input.split_first_chunk::<HEADER_LEN>()?;
    let word = |at: usize| [header[at], header[at + 1], header[at + 2], header[at + 3]];
    let name_len = usize::try_from(u32::from_ne_bytes(word(12))).ok()?;
    let (padded, rest) = rest.split_at_checked(name_len)?;
    *input = rest;
    let end = padded.iter().position(|&b| b == 0).unwrap_or(padded.len());
    Some(Record {
        wd: i32::from_ne_bytes(word(0)),
        mask: ReadFlags::from_bits_retain(u32::from_ne_bytes(word(4))),
        cookie: u32::from_ne_bytes(word(8)),
        name: &padded[..end],
    })
}

/// Whether a name has the shape that the kernel gives to a file without one (`O_TMPFILE`): `#` and
/// the inode number. Writes through its descriptor keep carrying it after a link gave a real name.
pub(crate) fn is_made_up(name: &[u8]) -> bool {
    matches!(name, [b'#', digits @ ..] if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(wd: i32, mask: u32, cookie: u32, name: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(wd.to_ne_bytes());
        out.extend(mask.to_ne_bytes());
        out.extend(cookie.to_ne_bytes());
        out.extend(u32::try_from(name.len()).unwrap().to_ne_bytes());
        out.extend(name);
        out
    }

    #[test]
    fn records_are_taken_one_by_one() {
        let mut bytes = raw(7, 0x80, 9, b"name\0\0\0\0\0\0\0\0\0\0\0\0");
        bytes.extend(raw(-1, 0x4000, 0, b""));
        let mut input = &bytes[..];
        let first = take_record(&mut input).unwrap();
        assert_eq!((first.wd, first.cookie, first.name), (7, 9, &b"name"[..]));
        assert_eq!(first.mask, ReadFlags::MOVED_TO);
        let second = take_record(&mut input).unwrap();
        assert_eq!((second.wd, second.name), (-1, &b""[..]));
        assert_eq!(second.mask, ReadFlags::QUEUE_OVERFLOW);
        assert_eq!(take_record(&mut input), None);
    }

    #[test]
    fn a_torn_record_is_the_end() {
        let bytes = raw(7, 2, 0, b"name\0\0\0\0\0\0\0\0\0\0\0\0");
        for len in 0..bytes.len() {
            assert_eq!(take_record(&mut &bytes[..len]), None, "{len}");
        }
    }

    #[test]
    fn made_up_names_are_a_hash_sign_and_digits() {
        assert!(is_made_up(b"#1234"));
        for name in [&b"#"[..], b"#12a", b"1234", b""] {
            assert!(!is_made_up(name), "{name:?}");
        }
    }
}
