//! A signature: the sums of all blocks of a basis, and how to find blocks by their rolling sum.

use crate::layout::Layout;
use crate::rolling::Rolling;
use crate::strong::Strong;

/// No more sums than this are given room before they have arrived: the count is a peer's claim.
const TRUSTED_COUNT: u32 = 65_536;

/// How many blocks of one bucket are looked at for one offset. Bounds the work that a signature made
/// of colliding sums can cause.
const MAX_CANDIDATES: usize = 1024;

/// The end of a bucket's chain.
const END: u32 = u32::MAX;

/// The sums of the blocks of a basis, in order.
#[derive(Debug, Clone)]
pub struct Signature {
    layout: Layout,
    rolling: Vec<u32>,
    strong: Vec<u8>,
}

impl Signature {
    /// A signature without sums yet, to be filled by [`Signature::push`].
    pub fn with_layout(layout: Layout) -> Self {
        let room = layout.count().min(TRUSTED_COUNT) as usize;
        Self {
            layout,
            rolling: Vec::with_capacity(room),
            strong: Vec::with_capacity(room * layout.strong_len()),
        }
    }

    /// The signature of a basis in memory.
    pub fn of(basis: &[u8], layout: Layout, strong: Strong, seed: i32, seed_first: bool) -> Self {
        let mut signature = Self::with_layout(layout);
        for block in basis.chunks(layout.block_len().max(1) as usize) {
            let digest = strong.block(seed, seed_first, block);
            let compared = &digest.as_bytes()[..layout.strong_len()];
            signature.push(Rolling::of(block).value(), compared);
        }
        signature
    }

    /// Adds the sums of the next block.
    ///
    /// # Panics
    /// If all blocks have their sums, or `strong` has not the layout's strong length.
    pub fn push(&mut self, rolling: u32, strong: &[u8]) {
        assert!(self.rolling.len() < self.layout.count() as usize, "more sums than blocks");
        assert_eq!(strong.len(), self.layout.strong_len(), "length of a strong sum");
        self.rolling.push(rolling);
        self.strong.extend_from_slice(strong);
    }

    /// How the basis is cut.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Whether every block has its sums.
    pub fn is_complete(&self) -> bool {
        self.rolling.len() == self.layout.count() as usize
    }

    /// The rolling sum of `block`; `None` when there is no such block or its sums are missing.
    pub fn rolling(&self, block: u32) -> Option<u32> {
        self.rolling.get(block as usize).copied()
    }

    /// The strong sum of `block`, cut to the layout's strong length.
    pub fn strong(&self, block: u32) -> Option<&[u8]> {
        let len = self.layout.strong_len();
        let start = (block as usize).checked_mul(len)?;
        self.strong.get(start..start.checked_add(len)?)
    }
}

/// Finds full-length blocks by their rolling sum.
///
/// Two stages: one bit per hash value says "surely none" from the processor's nearest cache; behind
/// it stands a table of chains, each in the order of the basis.
pub(crate) struct Index {
    tags: Vec<u64>,
    tag_shift: u32,
    heads: Vec<u32>,
    head_shift: u32,
    next: Vec<u32>,
}

impl Index {
    pub(crate) fn new(signature: &Signature) -> Self {
        let full = signature.layout.full_count() as usize;
        let sums = &signature.rolling[..full.min(signature.rolling.len())];
        let head_bits = (usize::BITS - sums.len().leading_zeros()).clamp(8, 24);
        // 64 to 128 bits per block: a wrong "perhaps" costs far more than a cache line.
        let tag_bits = (head_bits + 6).min(25);
        let mut index = Self {
            tags: vec![0; 1 << (tag_bits - 6)],
            tag_shift: 32 - tag_bits,
            heads: vec![END; 1 << head_bits],
            head_shift: 32 - head_bits,
            next: vec![END; sums.len()],
        };
        // Backwards, so that a chain begins with its earliest block.
        for (block, &sum) in sums.iter().enumerate().rev() {
            let hash = spread(sum);
            let tag = (hash >> index.tag_shift) as usize;
            index.tags[tag / 64] |= 1 << (tag % 64);
            let head = &mut index.heads[(hash >> index.head_shift) as usize];
            index.next[block] = std::mem::replace(head, block as u32);
        }
        index
    }

    /// `false` when surely no block has this rolling sum.
    #[inline(always)]
    pub(crate) fn may_contain(&self, sum: u32) -> bool {
        let tag = (spread(sum) >> self.tag_shift) as usize;
        // Masked and not `get`: the length is a power of two, so this needs no branch.
        self.tags[(tag / 64) & (self.tags.len() - 1)] >> (tag % 64) & 1 != 0
    }

    /// Blocks that may have this rolling sum, in the order of the basis, a bounded number of them.
    pub(crate) fn candidates(&self, sum: u32) -> impl Iterator<Item = u32> + '_ {
        let known = |block: u32| (block != END).then_some(block);
        let first = known(self.heads[(spread(sum) >> self.head_shift) as usize]);
        std::iter::successors(first, move |&block| known(self.next[block as usize]))
            .take(MAX_CANDIDATES)
    }
}

/// Moves the entropy of a rolling sum into the high bits.
#[inline(always)]
fn spread(sum: u32) -> u32 {
    sum.wrapping_mul(0x9e37_79b1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_blocks_with_one_rolling_sum_are_not_all_looked_at() {
        let count = 100_000;
        let layout = Layout::from_head(count, 700, 16, 0, 16).unwrap();
        let mut signature = Signature::with_layout(layout);
        for block in 0..count as u32 {
            signature.push(7, &u128::from(block).to_le_bytes());
        }
        let index = Index::new(&signature);
        assert_eq!(index.candidates(7).count(), MAX_CANDIDATES);
        assert_eq!(index.candidates(7).next(), Some(0));
    }
}
