//! The search: content in pieces in, tokens out.
//!
//! Each token says either "these bytes" or "that block of the basis"; in order they make up the
//! content. A block is named only after its strong sum was compared. The search prefers the block
//! that follows the one matched last, so that matches form runs.
//!
//! Work is bounded, whatever sums a peer sends: windows whose rolling sum is a block's, and whose strong
//! sum is none, may cost [`MAX_WASTE`] times the content. Beyond that blocks are missed, and what they
//! hold is a literal.
//!
//! Memory is bounded by the signature, one piece, one block and [`MAX_LITERAL_LEN`]; content of any
//! length can be fed. Where literals are cut depends on the pieces, nothing else does.

use std::cell::Cell;

use crate::rolling::Rolling;
use crate::signature::{Index, Signature};
use crate::strong::Strong;

/// The longest literal of one token, in bytes: what rsync itself sends at most (protocol reference,
/// "Token stream").
pub const MAX_LITERAL_LEN: usize = 32_768;

/// Bytes that are digested for each byte of the content, at most.
const MAX_WASTE: u64 = 8;

/// Bytes that may be digested before that counts.
const FREE_WASTE: u64 = 16 << 20;

/// One step of a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// Bytes that no block provides: 1 to [`MAX_LITERAL_LEN`] of them.
    Literal(&'a [u8]),
    /// A block of the basis, by its number.
    Block(u32),
}

/// A search in progress.
pub struct Search<'a> {
    signature: &'a Signature,
    /// `None` when nothing can match: no blocks, or sums that prove nothing.
    index: Option<Index>,
    strong: Strong,
    seed: i32,
    seed_first: bool,
    /// Content that was fed and is not yet covered by tokens, between calls.
    kept: Vec<u8>,
    cursor: Cursor,
    work: Work,
}

/// How far the search has come, and what it cost, in bytes.
#[derive(Debug, Default)]
struct Work {
    passed: u64,
    digested: Cell<u64>,
}

impl Work {
    /// Counts a digest of so many bytes. `false`: it costs too much.
    fn affords(&self, len: usize) -> bool {
        let cost = self.digested.get() + len as u64;
        let is_within = cost <= FREE_WASTE.saturating_add(self.passed.saturating_mul(MAX_WASTE));
        if is_within {
            self.digested.set(cost);
        }
        is_within
    }
}

/// Where the search stands in the bytes at hand.
#[derive(Default)]
struct Cursor {
    /// End of what tokens cover.
    covered: usize,
    /// Start of the window; `covered..window` is literal.
    window: usize,
    /// The window's rolling sum, once it was compared and matched nothing.
    missed: Option<Rolling>,
    /// The block that follows the one matched last.
    expected: u32,
}

impl<'a> Search<'a> {
    /// A search for the blocks of `signature`, whose strong sums were made with `strong`, `seed` and
    /// `seed_first` (see [`Strong::block`]).
    pub fn new(signature: &'a Signature, strong: Strong, seed: i32, seed_first: bool) -> Self {
        let layout = signature.layout();
        let provable = strong != Strong::None && layout.strong_len() > 0 && layout.count() > 0;
        Self {
            signature,
            index: provable.then(|| Index::new(signature)),
            strong,
            seed,
            seed_first,
            kept: Vec::new(),
            cursor: Cursor::default(),
            work: Work::default(),
        }
    }

    /// Takes the next piece of the content and gives the tokens that are certain by now.
    pub fn feed(&mut self, piece: &[u8], sink: &mut dyn FnMut(Token<'_>)) {
        let mut piece = piece;
        if !self.kept.is_empty() {
            // Joins just enough to get past what was kept; in content that matches, the bulk of the
            // piece is then searched where it lies.
            let joint = piece.len().min(self.signature.layout().block_len() as usize);
            let mut kept = std::mem::take(&mut self.kept);
            let old_len = kept.len();
            kept.extend_from_slice(&piece[..joint]);
            self.scan(&kept, sink);
            if self.cursor.covered < old_len {
                kept.extend_from_slice(&piece[joint..]);
                self.scan(&kept, sink);
                kept.drain(..self.cursor.covered);
                self.cursor.rebase();
                self.kept = kept;
                return;
            }
            piece = &piece[self.cursor.covered - old_len..];
            self.cursor.rebase();
            kept.clear();
            self.kept = kept;
        }
        self.scan(piece, sink);
        self.kept.extend_from_slice(&piece[self.cursor.covered..]);
        self.cursor.rebase();
    }

    /// Ends the content and gives the remaining tokens.
    pub fn finish(mut self, sink: &mut dyn FnMut(Token<'_>)) {
        let rest = std::mem::take(&mut self.kept);
        match self.last_block(&rest) {
            Some((start, block)) => {
                literal(&rest[..start], sink);
                sink(Token::Block(block));
            }
            None => literal(&rest, sink),
        }
    }

    /// The shorter last block, when the content ends with it: where it starts in `rest`, and its
    /// number. Nowhere else can it match.
    fn last_block(&self, rest: &[u8]) -> Option<(usize, u32)> {
        self.index.as_ref()?;
        let layout = self.signature.layout();
        let block = layout.full_count();
        if block == layout.count() {
            return None;
        }
        let start = rest.len().checked_sub(layout.remainder() as usize)?;
        let window = &rest[start..];
        let same = self.signature.rolling(block) == Some(Rolling::of(window).value())
            && self.strong_prefix_matches(window, block);
        same.then_some((start, block))
    }

    fn strong_prefix_matches(&self, window: &[u8], block: u32) -> bool {
        let digest = self.strong.block(self.seed, self.seed_first, window);
        self.signature.strong(block).is_some_and(|sum| digest.as_bytes().starts_with(sum))
    }

    /// Moves the window on as far as `data` allows.
    fn scan(&mut self, data: &[u8], sink: &mut dyn FnMut(Token<'_>)) {
        let Some(index) = &self.index else {
            literal(data, sink);
            self.cursor = Cursor { covered: data.len(), window: data.len(), ..Cursor::default() };
            return;
        };
        let block_len = self.signature.layout().block_len() as usize;
        while let Some(window) = data.get(self.cursor.window..self.cursor.window + block_len) {
            let sum = match self.cursor.missed {
                None => Rolling::of(window),
                Some(mut sum) => {
                    let next = self.cursor.window + block_len;
                    let room = self.cursor.covered + MAX_LITERAL_LEN - self.cursor.window;
                    let ahead = &data[next..data.len().min(next + room)];
                    let behind = &data[self.cursor.window..];
                    let (passed, hit) = roll(&mut sum, block_len as u32, behind, ahead, index);
                    self.cursor.window += passed;
                    self.work.passed += passed as u64;
                    self.cursor.missed = Some(sum);
                    if self.cursor.window - self.cursor.covered == MAX_LITERAL_LEN {
                        sink(Token::Literal(&data[self.cursor.covered..self.cursor.window]));
                        self.cursor.covered = self.cursor.window;
                    }
                    match hit {
                        true => sum,
                        false if passed == 0 => return,
                        false => continue,
                    }
                }
            };
            let window = &data[self.cursor.window..self.cursor.window + block_len];
            match self.find(index, sum.value(), window) {
                Some(block) => {
                    literal(&data[self.cursor.covered..self.cursor.window], sink);
                    sink(Token::Block(block));
                    self.cursor.matched(block, block_len);
                    self.work.passed += block_len as u64;
                }
                None => self.cursor.missed = Some(sum),
            }
        }
    }

    /// The block that equals `window` by both sums, the expected one if it does.
    fn find(&self, index: &Index, sum: u32, window: &[u8]) -> Option<u32> {
        let signature = self.signature;
        let expected = self.cursor.expected;
        let expected_fits =
            expected < signature.layout().full_count() && signature.rolling(expected) == Some(sum);
        if !expected_fits && !index.may_contain(sum) {
            return None;
        }
        let mut same_sum = expected_fits
            .then_some(expected)
            .into_iter()
            .chain(index.candidates(sum).filter(|&block| signature.rolling(block) == Some(sum)))
            .peekable();
        same_sum.peek().filter(|_| self.work.affords(window.len()))?;
        let digest = self.strong.block(self.seed, self.seed_first, window);
        same_sum.find(|&block| {
            signature.strong(block).is_some_and(|strong| digest.as_bytes().starts_with(strong))
        })
    }
}

impl Cursor {
    /// Makes the end of what tokens cover the new origin.
    fn rebase(&mut self) {
        self.window -= self.covered;
        self.covered = 0;
    }

    fn matched(&mut self, block: u32, block_len: usize) {
        self.window += block_len;
        self.covered = self.window;
        self.missed = None;
        self.expected = block + 1;
    }
}

/// Rolls the window on until the index may know its sum: how many bytes, and whether it may. The
/// window starts at `behind`, the bytes to enter are `ahead`.
fn roll(sum: &mut Rolling, len: u32, behind: &[u8], ahead: &[u8], index: &Index) -> (usize, bool) {
    let mut rolled = *sum;
    for (at, (&first, &next)) in behind.iter().zip(ahead).enumerate() {
        rolled.roll(len, first, next);
        if index.may_contain(rolled.value()) {
            *sum = rolled;
            return (at + 1, true);
        }
    }
    *sum = rolled;
    (ahead.len(), false)
}

fn literal(data: &[u8], sink: &mut dyn FnMut(Token<'_>)) {
    data.chunks(MAX_LITERAL_LEN).for_each(|part| sink(Token::Literal(part)));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::Layout;

    /// Searches bytes that are all alike for blocks with their rolling sum; returns the digested bytes.
    fn digested(content: &[u8], block_len: i32, strong: &[u8]) -> u64 {
        let layout = Layout::from_head(100, block_len, 16, 0, 16).unwrap();
        let mut signature = Signature::with_layout(layout);
        let rolling = Rolling::of(&content[..block_len as usize]).value();
        (0..100).for_each(|_| signature.push(rolling, strong));
        let mut search = Search::new(&signature, Strong::Md5, 0, true);
        let mut out = Vec::new();
        let mut sink = |token: Token<'_>| match token {
            Token::Literal(bytes) => out.extend_from_slice(bytes),
            Token::Block(_) => out.extend_from_slice(&content[..block_len as usize]),
        };
        content.chunks(100_000).for_each(|piece| search.feed(piece, &mut sink));
        let digested = search.work.digested.get();
        search.finish(&mut sink);
        assert!(out == content);
        digested
    }

    #[test]
    fn sums_that_promise_blocks_which_are_none_cost_a_bounded_number_of_digests() {
        let content = vec![b'x'; 1 << 20];
        let most = FREE_WASTE + MAX_WASTE * content.len() as u64;
        let cost = digested(&content, 2048, &[0x5a; 16]);
        assert!(cost <= most && cost > most / 2, "{cost} of {most}");
        // Where they are what they promise, each byte is digested once.
        let right = Strong::Md5.block(0, true, &content[..2048]);
        let cost = digested(&content, 2048, right.as_bytes());
        assert_eq!(cost, content.len() as u64);
    }
}
