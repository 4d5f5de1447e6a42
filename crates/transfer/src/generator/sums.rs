//! Block sums of a basis, made a piece at a time so that what arrives does not have to wait.
//! Protocol reference, "Sums".

use std::ops::Range;
use std::rc::Rc;

use driftless_delta::layout::{MAX_BLOCK_LEN, strong_len};
use driftless_delta::rolling::Rolling;
use driftless_delta::{Layout, Strong};
use driftless_fs::SourceFile;
use driftless_proto::sums::{SumHead, put_block};

use crate::beside::both;
use crate::receiver::Session;

/// Bytes that are read at once: they stay in the processor's cache while they are summed.
const PIECE: u64 = 128 * 1024;

/// Bytes that are summed before what arrives is looked at.
const STEP: u64 = 1024 * 1024;

/// The same of a long basis, which two threads do: the sender waits for the sums, and leaves its
/// processor to us.
const LONG_STEP: u64 = 8 * 1024 * 1024;

/// A basis whose sums are being written.
pub(crate) struct Summing {
    file: Rc<SourceFile>,
    layout: Layout,
    next: u32,
}

impl Session<'_> {
    /// How a basis of this length is cut.
    pub(crate) fn layout_of(&self, len: u64, redo: bool) -> Layout {
        let digest_len = self.strong().digest_len();
        let Some(block_len) = self.options.block_size.filter(|&len| len > 0) else {
            return Layout::of_basis(len, digest_len, redo);
        };
        let block_len = block_len.min(MAX_BLOCK_LEN);
        let count = len.div_ceil(u64::from(block_len));
        let strong = strong_len(len, block_len, digest_len, redo);
        let remainder = (len % u64::from(block_len)) as i32;
        let head = |count| {
            Layout::from_head(count, block_len as i32, strong as i32, remainder, digest_len)
        };
        let layout = i32::try_from(count).ok().filter(|&count| count > 0).map(head);
        layout.and_then(Result::ok).unwrap_or(Layout::EMPTY)
    }

    /// Writes the head, and the sums of a small basis; those of a large one are begun. Returns how
    /// many bytes the sums take.
    pub(crate) fn put_sums(&mut self, layout: Layout, basis: Option<Rc<SourceFile>>) -> u64 {
        let head = head_of(&layout);
        self.wire.link.output.append(|out| head.put(out));
        let Some(file) = basis.filter(|_| layout.count() > 0) else { return SumHead::LEN as u64 };
        self.summing = Some(Summing { file, layout, next: 0 });
        self.go_on_summing();
        SumHead::LEN as u64 + head.sums_len()
    }

    /// Writes the head alone, which tells how long a file is that will be added to.
    pub(crate) fn put_head_only(&mut self, layout: Layout) -> u64 {
        let head = head_of(&layout);
        self.wire.link.output.append(|out| head.put(out));
        SumHead::LEN as u64
    }

    /// Writes the next sums.
    pub(crate) fn go_on_summing(&mut self) {
        let Some(mut summing) = self.summing.take() else { return };
        let work = Work {
            file: &summing.file,
            layout: summing.layout,
            head: head_of(&summing.layout),
            strong: self.strong(),
            seed: self.setup.seed,
            seed_first: self.setup.seeds_blocks_first(),
        };
        let count = work.layout.count();
        let is_long = work.layout.basis_len() >= LONG_STEP;
        let step = work.blocks_of(if is_long { LONG_STEP } else { STEP });
        let end = summing.next.saturating_add(step).min(count);
        let room = &mut self.room;
        self.wire.link.output.append(|out| match is_long {
            false => work.put(summing.next..end, room, out),
            true => work.put_by_two(summing.next..end, room, out),
        });
        if end < count {
            summing.next = end;
            self.summing = Some(summing);
        }
    }
}

/// What sums are made of.
#[derive(Clone, Copy)]
struct Work<'a> {
    file: &'a SourceFile,
    layout: Layout,
    head: SumHead,
    strong: Strong,
    seed: i32,
    seed_first: bool,
}

impl Work<'_> {
    /// How many whole blocks so many bytes are, and at least one.
    fn blocks_of(&self, len: u64) -> u32 {
        let count = len / u64::from(self.layout.block_len().max(1));
        u32::try_from(count).unwrap_or(u32::MAX).max(1)
    }

    /// Appends the sums of these blocks. `room` is to work in.
    fn put(&self, blocks: Range<u32>, room: &mut Vec<u8>, out: &mut Vec<u8>) {
        let at_once = self.blocks_of(PIECE) as usize;
        for first in blocks.clone().step_by(at_once) {
            let last = first.saturating_add(at_once as u32).min(blocks.end) - 1;
            let (Some(first), Some(last)) = (self.layout.range(first), self.layout.range(last))
            else {
                return;
            };
            room.resize((last.end - first.start) as usize, 0);
            let mut filled = 0;
            while filled < room.len() {
                match self.file.read_at(first.start + filled as u64, &mut room[filled..]) {
                    Ok(0) | Err(_) => break,
                    Ok(count) => filled += count,
                }
            }
            // Where the file ends early, the sums of zeros match nothing that matters.
            room[filled..].fill(0);
            for block in room.chunks(self.layout.block_len() as usize) {
                let digest = self.strong.block(self.seed, self.seed_first, block);
                put_block(out, &self.head, Rolling::of(block).value(), digest.as_bytes());
            }
        }
    }

    /// As [`Work::put`], the second half by another thread.
    fn put_by_two(&self, blocks: Range<u32>, room: &mut Vec<u8>, out: &mut Vec<u8>) {
        let middle = blocks.start + (blocks.end - blocks.start) / 2;
        let second = || {
            let mut sums = Vec::new();
            self.put(middle..blocks.end, &mut Vec::new(), &mut sums);
            sums
        };
        let ((), sums) = both(|| self.put(blocks.start..middle, room, out), second);
        out.extend_from_slice(&sums);
    }
}

fn head_of(layout: &Layout) -> SumHead {
    SumHead {
        count: layout.count(),
        block_len: layout.block_len(),
        strong_len: layout.strong_len() as u32,
        remainder: layout.remainder(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use driftless_fs::Root;
    use driftless_tree::RelPath;

    #[test]
    fn sums_by_two_threads_are_those_of_each_block_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..3_000_017u32).map(|at| (at * 7 % 251 + at / 4096) as u8).collect();
        std::fs::write(folder.path().join("f"), &bytes).unwrap();
        let root = Root::open(folder.path()).unwrap();
        let file = root.open_file(&RelPath::parse(b"f").unwrap()).unwrap();
        let strong = Strong::Xxh128;
        let layout = Layout::of_basis(bytes.len() as u64, strong.digest_len(), false);
        let head = head_of(&layout);
        let work = Work { file: &file, layout, head, strong, seed: 5, seed_first: false };
        let mut expected = Vec::new();
        for block in bytes.chunks(layout.block_len() as usize).skip(3) {
            let digest = strong.block(5, false, block);
            put_block(&mut expected, &head, Rolling::of(block).value(), digest.as_bytes());
        }
        for put in [Work::put, Work::put_by_two] {
            let mut sums = Vec::new();
            put(&work, 3..layout.count(), &mut vec![9; 5], &mut sums);
            assert!(sums == expected);
        }
    }
}
