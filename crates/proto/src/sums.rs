//! Sums of a basis: what the generator tells the sender about the blocks that it has.
//!
//! Protocol reference, section "Sum head and block sums". How sums are computed is not known here.

use crate::int::{put_int, take_bytes, take_int, whole};
use crate::{Decode, Violation};

/// The longest block, in bytes.
pub const MAX_BLOCK_LEN: u32 = 1 << 17;
/// The longest block below protocol 30.
pub const OLD_MAX_BLOCK_LEN: u32 = 1 << 29;

/// How a basis is divided. All zero: there is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SumHead {
    /// Number of blocks.
    pub count: u32,
    /// Bytes of each block but the last.
    pub block_len: u32,
    /// Bytes sent of each strong sum.
    pub strong_len: u32,
    /// Bytes of the last block; 0 when it is a full one.
    pub remainder: u32,
}

impl SumHead {
    /// Bytes of the head.
    pub const LEN: usize = 16;

    /// Writes the head.
    pub fn put(&self, out: &mut Vec<u8>) {
        for number in [self.count, self.block_len, self.strong_len, self.remainder] {
            put_int(out, number as i32);
        }
    }

    /// Takes a head; `digest_len` is the length of a whole strong sum.
    ///
    /// # Errors
    /// [`Decode::Incomplete`], or a number outside its range.
    pub fn take(input: &mut &[u8], protocol: u8, digest_len: usize) -> Result<Self, Decode> {
        let block_max = if protocol < 30 { OLD_MAX_BLOCK_LEN } else { MAX_BLOCK_LEN };
        whole(input, |rest| {
            let count = take_number(rest, "block count", i32::MAX as u32)?;
            let block_len = take_number(rest, "block length", block_max)?;
            let strong_len = take_number(rest, "length of strong sums", digest_len as u32)?;
            let remainder = take_number(rest, "length of the last block", block_len)?;
            if count > 0 && block_len == 0 {
                return Err(Violation::Number { what: "block length", value: 0 }.into());
            }
            Ok(Self { count, block_len, strong_len, remainder })
        })
    }

    /// Bytes of one block's sums.
    pub fn entry_len(&self) -> usize {
        4 + self.strong_len as usize
    }

    /// Bytes of the sums of all blocks; to be checked before memory is set aside for them.
    pub fn sums_len(&self) -> u64 {
        u64::from(self.count) * (4 + u64::from(self.strong_len))
    }

    /// Bytes of the basis.
    pub fn file_len(&self) -> u64 {
        let all = u64::from(self.count) * u64::from(self.block_len);
        match self.remainder {
            _ if self.count == 0 => 0,
            0 => all,
            last => all.saturating_sub(u64::from(self.block_len)) + u64::from(last),
        }
    }
}

fn take_number(input: &mut &[u8], what: &'static str, max: u32) -> Result<u32, Decode> {
    let value = take_int(input)?;
    match u32::try_from(value) {
        Ok(number) if number <= max => Ok(number),
        _ => Err(Violation::Number { what, value: i64::from(value) }.into()),
    }
}

/// Writes the sums of a block; `strong` is cut to the head's length.
pub fn put_block(out: &mut Vec<u8>, head: &SumHead, rolling: u32, strong: &[u8]) {
    put_int(out, rolling as i32);
    out.extend_from_slice(strong.get(..head.strong_len as usize).unwrap_or(strong));
}

/// Takes the sums of a block: rolling and strong.
///
/// # Errors
/// [`Decode::Incomplete`].
pub fn take_block<'a>(input: &mut &'a [u8], head: &SumHead) -> Result<(u32, &'a [u8]), Decode> {
    whole(input, |rest| {
        let rolling = take_int(rest)? as u32;
        Ok((rolling, take_bytes(rest, head.strong_len as usize)?))
    })
}

/// Takes the sums of as many of the next `wanted` blocks as have arrived completely.
pub fn take_blocks<'a>(
    input: &mut &'a [u8],
    head: &SumHead,
    wanted: u32,
) -> impl ExactSizeIterator<Item = (u32, &'a [u8])> + use<'a> {
    let entry_len = head.entry_len();
    let arrived = (input.len() / entry_len).min(wanted as usize);
    let (taken, rest) = input.split_at(arrived * entry_len);
    *input = rest;
    taken.chunks_exact(entry_len).map(|entry| {
        let (rolling, strong) = entry.split_at(4);
        let rolling = rolling.try_into().expect("split after four bytes");
        (u32::from_le_bytes(rolling), strong)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: SumHead = SumHead { count: 8, block_len: 700, strong_len: 2, remainder: 100 };

    #[test]
    fn the_head_is_that_of_the_captured_delta() {
        let mut out = Vec::new();
        HEAD.put(&mut out);
        let wire = [8, 0, 0, 0, 0xbc, 2, 0, 0, 2, 0, 0, 0, 0x64, 0, 0, 0];
        assert_eq!(out, wire);
        assert_eq!(SumHead::take(&mut &*out, 32, 16), Ok(HEAD));
        assert_eq!(HEAD.file_len(), 5000);
        assert_eq!(HEAD.sums_len(), 48);
    }

    #[test]
    fn a_basis_without_blocks_is_empty_whatever_its_last_block() {
        assert_eq!(SumHead { count: 0, ..HEAD }.file_len(), 0);
    }

    #[test]
    fn block_sums_come_in_bulk() {
        let mut out = Vec::new();
        put_block(&mut out, &HEAD, 0x1ef3_0265, &[0x30, 0x9e, 0xff]);
        put_block(&mut out, &HEAD, 7, &[1, 2]);
        assert_eq!(out[..6], [0x65, 0x02, 0xf3, 0x1e, 0x30, 0x9e]);
        let mut input = &out[..11];
        let got: Vec<_> = take_blocks(&mut input, &HEAD, 8).collect();
        assert_eq!(got, [(0x1ef3_0265, &[0x30, 0x9e][..])]);
        assert_eq!(input.len(), 5);
        assert_eq!(take_block(&mut &out[6..], &HEAD), Ok((7, &[1, 2][..])));
        assert_eq!(take_block(&mut input, &HEAD), Err(Decode::Incomplete));
    }

    #[test]
    fn numbers_outside_their_range_are_refused() {
        for (numbers, protocol) in [
            ([-1, 700, 2, 0], 32),
            ([1, 131_073, 2, 0], 32),
            ([1, (1 << 29) + 1, 2, 0], 29),
            ([1, 0, 2, 0], 32),
            ([1, 700, 17, 0], 32),
            ([1, 700, -1, 0], 32),
            ([1, 700, 2, 701], 32),
        ] {
            let wire = numbers.map(i32::to_le_bytes).concat();
            let got = SumHead::take(&mut &*wire, protocol, 16);
            assert!(matches!(got, Err(Decode::Invalid(_))), "{numbers:?}");
        }
    }
}
