//! Figures at the end of a session.
//!
//! Protocol reference, sections "Stats" and "Deletion timing".

use crate::int::{put_varint, put_varlong30, take_varint, take_varlong30, whole};
use crate::{Decode, Violation};

/// What a server that sent files says about the transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stats {
    /// Bytes that the server read from the connection.
    pub read_bytes: i64,
    /// Bytes that the server wrote to it.
    pub written_bytes: i64,
    /// Sum of the sizes of all files in the list.
    pub total_size: i64,
    /// Milliseconds spent on building the list.
    pub list_build_ms: i64,
    /// Milliseconds spent on sending it.
    pub list_transfer_ms: i64,
}

impl Stats {
    /// Writes the figures.
    pub fn put(&self, out: &mut Vec<u8>, protocol: u8) {
        let Self { read_bytes, written_bytes, total_size, list_build_ms, list_transfer_ms } = *self;
        for value in [read_bytes, written_bytes, total_size, list_build_ms, list_transfer_ms] {
            put_varlong30(out, value, 3, protocol);
        }
    }

    /// Takes the figures.
    ///
    /// # Errors
    /// As for [`crate::int::take_varlong`].
    pub fn take(input: &mut &[u8], protocol: u8) -> Result<Self, Decode> {
        whole(input, |rest| {
            let mut next = || take_varlong30(rest, 3, protocol);
            Ok(Self {
                read_bytes: next()?,
                written_bytes: next()?,
                total_size: next()?,
                list_build_ms: next()?,
                list_transfer_ms: next()?,
            })
        })
    }
}

const MAX_DELETED: i32 = 1 << 28;

/// How many of each type the receiving side deleted; behind [`crate::ndx::NdxValue::DelStats`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DelStats {
    /// Regular files.
    pub files: u32,
    /// Directories.
    pub dirs: u32,
    /// Symbolic links.
    pub symlinks: u32,
    /// Character and block devices.
    pub devices: u32,
    /// Fifos and sockets.
    pub specials: u32,
}

impl DelStats {
    /// Writes the counts.
    pub fn put(&self, out: &mut Vec<u8>) {
        for count in [self.files, self.dirs, self.symlinks, self.devices, self.specials] {
            put_varint(out, count as i32);
        }
    }

    /// Takes the counts.
    ///
    /// # Errors
    /// [`Decode::Incomplete`], or a count outside 0..=2^28.
    pub fn take(input: &mut &[u8]) -> Result<Self, Decode> {
        whole(input, |rest| {
            let mut next = || match take_varint(rest)? {
                count @ 0..=MAX_DELETED => Ok(count as u32),
                value => {
                    let (what, value) = ("number of deletions", i64::from(value));
                    Err(Decode::from(Violation::Number { what, value }))
                }
            };
            Ok(Self {
                files: next()?,
                dirs: next()?,
                symlinks: next()?,
                devices: next()?,
                specials: next()?,
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_figures_are_those_of_the_captured_pull() {
        let wire = [0, 0x91, 0, 0, 0xed, 1, 0, 0x18, 0, 0, 1, 0, 0, 0, 0];
        let stats = Stats::take(&mut &wire[..], 32).unwrap();
        assert_eq!((stats.read_bytes, stats.written_bytes, stats.total_size), (145, 493, 24));
        let mut out = Vec::new();
        stats.put(&mut out, 32);
        assert_eq!(out, wire);
    }

    #[test]
    fn deletions_are_counted_by_type() {
        let wire = [2, 1, 0, 0, 0];
        let counts = DelStats::take(&mut &wire[..]).unwrap();
        assert_eq!(counts, DelStats { files: 2, dirs: 1, ..DelStats::default() });
        let mut out = Vec::new();
        counts.put(&mut out);
        assert_eq!(out, wire);
        let negative = [0xf0, 0xff, 0xff, 0xff, 0xff];
        assert!(matches!(DelStats::take(&mut &negative[..]), Err(Decode::Invalid(_))));
    }
}
