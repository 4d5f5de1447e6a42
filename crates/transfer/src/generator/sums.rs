//! Block sums of a basis, made a piece at a time so that what arrives does not have to wait.
//! Protocol reference, "Sums".

use std::rc::Rc;

use driftless_delta::Layout;
use driftless_delta::layout::{MAX_BLOCK_LEN, strong_len};
use driftless_delta::rolling::Rolling;
use driftless_fs::SourceFile;
use driftless_proto::sums::{SumHead, put_block};

use crate::receiver::Session;

/// Bytes that are summed at once: they stay in the processor's cache in between.
const PIECE: usize = 128 * 1024;

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
        let (strong, seed) = (self.strong(), self.setup.seed);
        let seed_first = self.setup.compat.checksum_seed_fix();
        let layout = summing.layout;
        let head = head_of(&layout);
        let Some(first) = layout.range(summing.next) else { return };
        let mut room = std::mem::take(&mut self.room);
        let end = (first.start + PIECE as u64).min(layout.basis_len());
        let whole = (end - first.start) / u64::from(layout.block_len());
        // At least one block, and the last one whole.
        let end = match end == layout.basis_len() {
            true => end,
            false => first.start + whole.max(1) * u64::from(layout.block_len()),
        };
        room.resize((end - first.start) as usize, 0);
        let mut filled = 0;
        while filled < room.len() {
            match summing.file.read_at(first.start + filled as u64, &mut room[filled..]) {
                Ok(0) | Err(_) => break,
                Ok(count) => filled += count,
            }
        }
        // Where the file ends early, the sums of zeros match nothing that matters.
        room[filled..].fill(0);
        let next = &mut summing.next;
        self.wire.link.output.append(|out| {
            for block in room.chunks(layout.block_len() as usize) {
                let digest = strong.block(seed, seed_first, block);
                put_block(out, &head, Rolling::of(block).value(), digest.as_bytes());
                *next += 1;
            }
        });
        self.room = room;
        if summing.next < layout.count() {
            self.summing = Some(summing);
        }
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
