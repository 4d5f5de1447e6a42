//! Writes tokens.

use super::compress::Encoder;
use super::{LITERAL_LEN, MAX_BLOCK, flag};
use crate::int::{put_int, put_short};
use crate::setup::Compression;

/// Writes the tokens of one direction of a session, file after file.
pub struct TokenWriter {
    packed: Option<Packed>,
}

struct Packed {
    encoder: Encoder,
    /// Literal data was added since the last flush.
    in_literal: bool,
    /// Blocks that were told but not written: the run may go on.
    run: Option<Run>,
    /// What relative block numbers count from.
    base: u32,
}

#[derive(Clone, Copy)]
struct Run {
    first: u32,
    last: u32,
}

/// Literals from this length on are worth threads of their own.
const PARALLEL_LEN: u64 = 32 * 1024 * 1024;

impl TokenWriter {
    /// At the start of the first file.
    pub fn new(compression: Compression, level: i32, protocol: u8) -> Self {
        let encoder = Encoder::new(compression, level, protocol);
        let packed =
            encoder.map(|encoder| Packed { encoder, in_literal: false, run: None, base: 0 });
        Self { packed }
    }

    /// Long literals are compressed by at most so many threads, by none but the caller's for zero.
    pub fn set_threads(&mut self, count: u32) {
        if let Some(packed) = &mut self.packed {
            packed.encoder.set_workers(count);
        }
    }

    /// A file begins that is sent as one literal of `len` bytes; with deltas `len` is 0. Long ones
    /// are compressed by several threads.
    pub fn begin(&mut self, len: u64, out: &mut Vec<u8>) {
        if let Some(packed) = &mut self.packed {
            packed.encoder.set_parallel(len >= PARALLEL_LEN, out);
        }
    }

    /// Adds literal data of the current file.
    pub fn literal(&mut self, data: &[u8], out: &mut Vec<u8>) {
        match &mut self.packed {
            Some(packed) => packed.literal(data, out),
            None => {
                for piece in data.chunks(LITERAL_LEN) {
                    put_int(out, piece.len() as i32);
                    out.extend_from_slice(piece);
                }
            }
        }
    }

    /// Adds a block of the basis; `data` is its content, which only [`Compression::Zlib`] looks at.
    ///
    /// # Panics
    /// When the number exceeds 2^31-2.
    pub fn block(&mut self, index: u32, data: &[u8], out: &mut Vec<u8>) {
        assert!(index <= MAX_BLOCK, "block numbers have 31 bits");
        match &mut self.packed {
            Some(packed) => packed.block(index, data, out),
            None => put_int(out, !(index as i32)),
        }
    }

    /// Ends the current file.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        match &mut self.packed {
            Some(packed) => packed.end(out),
            None => put_int(out, 0),
        }
    }
}

impl Packed {
    fn literal(&mut self, data: &[u8], out: &mut Vec<u8>) {
        if data.is_empty() {
            return;
        }
        self.put_run(out);
        self.in_literal = true;
        self.encoder.literal(data, out);
    }

    fn block(&mut self, index: u32, data: &[u8], out: &mut Vec<u8>) {
        self.end_literal(out);
        self.encoder.block(data);
        match &mut self.run {
            Some(run) if index == run.last + 1 && index - run.first <= 0xffff => run.last = index,
            _ => {
                self.put_run(out);
                self.run = Some(Run { first: index, last: index });
            }
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) {
        self.end_literal(out);
        self.put_run(out);
        out.push(flag::END);
        self.base = 0;
        self.encoder.end();
    }

    fn end_literal(&mut self, out: &mut Vec<u8>) {
        if std::mem::take(&mut self.in_literal) {
            self.encoder.flush(out);
        }
    }

    fn put_run(&mut self, out: &mut Vec<u8>) {
        let Some(Run { first, last }) = self.run.take() else { return };
        let is_run = last > first;
        match first.checked_sub(self.base).map(u8::try_from) {
            Some(Ok(step)) if step <= flag::LOW_BITS => {
                out.push(step | if is_run { flag::RUN_REL } else { flag::REL });
            }
            _ => {
                out.push(if is_run { flag::RUN_LONG } else { flag::LONG });
                put_int(out, first as i32);
            }
        }
        if is_run {
            put_short(out, (last - first) as u16);
        }
        self.base = last;
    }
}
