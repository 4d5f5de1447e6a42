//! The start of a batch file, before the recorded bytes of the sender.
//!
//! Protocol reference, section "Batch files".

use crate::Decode;
use crate::greeting::checked_version;
use crate::int::{put_int, take_int, whole};
use crate::setup::CompatFlags;

/// What a batch file says about the session that it recorded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchHeader {
    /// Options of that session, bits of [`BatchHeader::RECURSE`] and the others.
    pub stream_flags: u32,
    /// Its protocol version.
    pub protocol: u8,
    /// Its flags, from protocol 30.
    pub compat: CompatFlags,
    /// Its checksum seed.
    pub seed: i32,
}

impl BatchHeader {
    /// `--recursive`.
    pub const RECURSE: u32 = 1;
    /// `--owner`.
    pub const OWNER: u32 = 1 << 1;
    /// `--group`.
    pub const GROUP: u32 = 1 << 2;
    /// `--links`.
    pub const LINKS: u32 = 1 << 3;
    /// `--devices`.
    pub const DEVICES: u32 = 1 << 4;
    /// `--hard-links`.
    pub const HARD_LINKS: u32 = 1 << 5;
    /// `--checksum`.
    pub const CHECKSUM: u32 = 1 << 6;
    /// `--dirs`.
    pub const DIRS: u32 = 1 << 7;
    /// `--compress`.
    pub const COMPRESS: u32 = 1 << 8;
    /// `--iconv`.
    pub const ICONV: u32 = 1 << 9;
    /// `--acls`.
    pub const ACLS: u32 = 1 << 10;
    /// `--xattrs`.
    pub const XATTRS: u32 = 1 << 11;
    /// `--inplace`.
    pub const INPLACE: u32 = 1 << 12;
    /// `--append`.
    pub const APPEND: u32 = 1 << 13;
    /// `--append-verify`.
    pub const APPEND_VERIFY: u32 = 1 << 14;

    /// Writes the header.
    pub fn put(&self, out: &mut Vec<u8>) {
        put_int(out, self.stream_flags as i32);
        put_int(out, i32::from(self.protocol));
        if self.protocol >= 30 {
            self.compat.put(out);
        }
        put_int(out, self.seed);
    }

    /// Takes the header.
    ///
    /// # Errors
    /// [`Decode::Incomplete`], or a version outside 20..=40.
    pub fn take(input: &mut &[u8]) -> Result<Self, Decode> {
        whole(input, |rest| {
            let stream_flags = take_int(rest)? as u32;
            let protocol = checked_version(i64::from(take_int(rest)?))?;
            let modern = protocol >= 30;
            let compat = if modern { CompatFlags::take(rest)? } else { CompatFlags::default() };
            Ok(Self { stream_flags, protocol, compat, seed: take_int(rest)? })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_is_that_of_the_captured_batch() {
        let wire = [0x9f, 0, 0, 0, 0x20, 0, 0, 0, 0x81, 0xff, 0x39, 0x30, 0, 0];
        let header = BatchHeader::take(&mut &wire[..]).unwrap();
        assert_eq!((header.protocol, header.seed, header.compat.0), (32, 12345, 0x1ff));
        let listed = BatchHeader::DIRS | BatchHeader::RECURSE | BatchHeader::OWNER;
        assert_eq!(header.stream_flags & listed, listed);
        let mut out = Vec::new();
        header.put(&mut out);
        assert_eq!(out, wire);
    }
}
