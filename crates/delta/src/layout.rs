//! How a basis is cut into blocks, and how much of each strong sum is compared.
//!
//! Protocol reference, "Sum head and block sums", "Block length" and "Strong sum length in the sum
//! list". Blocks lie one after the other; all have the block length but the last, which may be
//! shorter.

use std::ops::Range;

/// The shortest block the generator chooses, in bytes.
pub const MIN_BLOCK_LEN: u32 = 700;
/// The longest legal block, in bytes.
pub const MAX_BLOCK_LEN: u32 = 131_072;
/// Blocks up to this length are no longer than our generator wants them, in bytes.
const LONG_BLOCK_LEN: u32 = 8192;
/// The fewest bytes of a strong sum that are compared.
const MIN_STRONG_LEN: usize = 2;
/// The most bytes of a strong sum that the generator asks to compare.
const MAX_STRONG_LEN: usize = 16;

/// The cut of a basis: what a sum head says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Layout {
    count: u32,
    block_len: u32,
    strong_len: u32,
    remainder: u32,
}

/// Why four numbers are no layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadLayout {
    /// A negative count.
    #[error("block count {0} is negative")]
    Count(i32),
    /// A block length that is negative, too large, or zero although there are blocks.
    #[error("block length {0} is out of range")]
    BlockLen(i32),
    /// A strong sum length that is negative or exceeds the digest.
    #[error("strong sum length {0} is out of range")]
    StrongLen(i32),
    /// A last block that is longer than the others.
    #[error("length of the last block {0} is out of range")]
    Remainder(i32),
}

impl Layout {
    /// No basis: everything is sent as literal data.
    pub const EMPTY: Self = Self { count: 0, block_len: 0, strong_len: 0, remainder: 0 };

    /// The layout that our generator chooses for a basis of `basis_len` bytes; `redo` when a first
    /// attempt failed and whole digests shall be compared. [`Layout::EMPTY`] for an empty basis and
    /// for one with more blocks than can be numbered.
    pub fn of_basis(basis_len: u64, digest_len: usize, redo: bool) -> Self {
        let block_len = fine_block_len(basis_len);
        let count = basis_len.div_ceil(u64::from(block_len));
        match u32::try_from(count) {
            Ok(count) if count > 0 && count <= i32::MAX as u32 => Self {
                count,
                block_len,
                strong_len: strong_len(basis_len, block_len, digest_len, redo) as u32,
                remainder: (basis_len % u64::from(block_len)) as u32,
            },
            _ => Self::EMPTY,
        }
    }

    /// Checks the numbers of a sum head from a peer whose digests have `digest_len` bytes.
    ///
    /// # Errors
    /// The first number that no honest peer sends.
    pub fn from_head(
        count: i32,
        block_len: i32,
        strong_len: i32,
        remainder: i32,
        digest_len: usize,
    ) -> Result<Self, BadLayout> {
        let blocks = u32::try_from(count).map_err(|_| BadLayout::Count(count))?;
        let block_bytes = u32::try_from(block_len)
            .ok()
            .filter(|&len| len <= MAX_BLOCK_LEN && (len > 0 || blocks == 0))
            .ok_or(BadLayout::BlockLen(block_len))?;
        let strong_bytes = u32::try_from(strong_len)
            .ok()
            .filter(|&len| len as usize <= digest_len)
            .ok_or(BadLayout::StrongLen(strong_len))?;
        let last_bytes = u32::try_from(remainder)
            .ok()
            .filter(|&len| len <= block_bytes)
            .ok_or(BadLayout::Remainder(remainder))?;
        Ok(Self {
            count: blocks,
            block_len: block_bytes,
            strong_len: strong_bytes,
            remainder: last_bytes,
        })
    }

    /// Blocks of the basis; at most `i32::MAX`.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Bytes of every block but perhaps the last.
    pub fn block_len(&self) -> u32 {
        self.block_len
    }

    /// Bytes of each strong sum that are sent and compared.
    pub fn strong_len(&self) -> usize {
        self.strong_len as usize
    }

    /// Bytes of the last block; zero when it is as long as the others.
    pub fn remainder(&self) -> u32 {
        self.remainder
    }

    /// Bytes of the basis.
    pub fn basis_len(&self) -> u64 {
        match self.count.checked_sub(1) {
            None => 0,
            Some(last) => u64::from(last) * u64::from(self.block_len) + self.last_len(),
        }
    }

    /// Blocks of full length, which come first.
    pub fn full_count(&self) -> u32 {
        match self.remainder {
            0 => self.count,
            len if len == self.block_len => self.count,
            _ => self.count.saturating_sub(1),
        }
    }

    /// Where `block` lies in the basis; `None` when there is no such block.
    pub fn range(&self, block: u32) -> Option<Range<u64>> {
        if block >= self.count {
            return None;
        }
        let start = u64::from(block) * u64::from(self.block_len);
        let last = block == self.count - 1;
        let len = if last { self.last_len() } else { u64::from(self.block_len) };
        Some(start..start + len)
    }

    fn last_len(&self) -> u64 {
        u64::from(if self.remainder == 0 { self.block_len } else { self.remainder })
    }
}

/// The block length that rsync chooses for a basis of `basis_len` bytes: its square root, rounded down to a multiple of
/// eight, within the limits.
pub fn block_len(basis_len: u64) -> u32 {
    let limit = u64::from(MAX_BLOCK_LEN);
    let root = basis_len.isqrt().min(limit) as u32;
    (root & !7).max(MIN_BLOCK_LEN)
}

/// The block length that our generator chooses: [`block_len`] up to 8 KiB, then shorter, down to a
/// quarter of it. Around each small edit a block travels as literal data: where blocks are long, that
/// soon outweighs the sums of more of them.
pub fn fine_block_len(basis_len: u64) -> u32 {
    let len = block_len(basis_len);
    len.min(LONG_BLOCK_LEN).max((len / 4) & !7)
}

/// How many bytes of a strong sum are worth comparing: enough that a wrong match in a basis of this
/// size is unlikely, all of them (up to 16) in a redo.
pub fn strong_len(basis_len: u64, block_len: u32, digest_len: usize, redo: bool) -> usize {
    let most = MAX_STRONG_LEN.min(digest_len);
    if redo {
        return most;
    }
    let basis_bits = basis_len.max(1).ilog2();
    let block_bits = block_len.max(1).ilog2();
    let bits = (10 + 2 * basis_bits).saturating_sub(block_bits + 24);
    (bits as usize / 8).max(MIN_STRONG_LEN).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn block_lengths_are_those_of_the_protocol_reference() {
        for (basis_len, expected) in [
            (0, 700),
            (490_000, 700),
            (1_000_000, 1000),
            (100_000_000, 10_000),
            (1_000_000_000, 31_616),
            (1 << 34, 131_072),
            (u64::MAX, 131_072),
        ] {
            assert_eq!(block_len(basis_len), expected, "{basis_len}");
        }
    }

    #[test]
    fn our_blocks_are_finer_where_they_are_long() {
        for (basis_len, expected) in
            [(0, 700), (1_000_000, 1000), (100_000_000, 8192), (1 << 30, 8192), (1 << 34, 32_768)]
        {
            assert_eq!(fine_block_len(basis_len), expected, "{basis_len}");
            assert!(Layout::of_basis(basis_len, 16, false).count() <= i32::MAX as u32);
        }
    }

    #[test]
    fn strong_lengths_are_those_of_the_protocol_reference() {
        for (basis_len, expected) in
            [(1, 2), (1_000_000, 2), (100_000_000, 3), (10_000_000_000, 4), (1_000_000_000_000, 5)]
        {
            assert_eq!(strong_len(basis_len, block_len(basis_len), 16, false), expected);
            assert_eq!(strong_len(basis_len, block_len(basis_len), 20, true), 16);
            assert_eq!(strong_len(basis_len, block_len(basis_len), 8, true), 8);
        }
    }

    #[test]
    fn blocks_cover_the_basis_without_gaps() {
        for basis_len in [0, 1, 699, 700, 701, 1400, 5000, 490_001, 1_000_003] {
            let layout = Layout::of_basis(basis_len, 16, false);
            let mut end = 0;
            for block in 0..layout.count() {
                let range = layout.range(block).unwrap();
                assert_eq!(range.start, end);
                end = range.end;
            }
            assert_eq!((end, layout.basis_len()), (basis_len, basis_len));
            assert_eq!(layout.range(layout.count()), None);
        }
        assert_eq!(Layout::of_basis(u64::MAX, 16, false), Layout::EMPTY);
    }

    #[test]
    fn numbers_no_honest_peer_sends_are_refused() {
        for (head, wrong) in [
            ((-1, 700, 2, 0), BadLayout::Count(-1)),
            ((1, 0, 2, 0), BadLayout::BlockLen(0)),
            ((1, 131_073, 2, 0), BadLayout::BlockLen(131_073)),
            ((1, 700, 17, 0), BadLayout::StrongLen(17)),
            ((1, 700, -2, 0), BadLayout::StrongLen(-2)),
            ((1, 700, 2, 701), BadLayout::Remainder(701)),
        ] {
            let (count, block_len, strong_len, remainder) = head;
            let layout = Layout::from_head(count, block_len, strong_len, remainder, 16);
            assert_eq!(layout, Err(wrong));
        }
        assert_eq!(Layout::from_head(0, 0, 0, 0, 16), Ok(Layout::EMPTY));
        assert_eq!(Layout::from_head(8, 700, 2, 100, 16), Ok(Layout::of_basis(5000, 16, false)));
    }
}
