//! Compresses runs of literal data.

use flate2::{Compress, FlushCompress};
use lz4_flex::block::get_maximum_output_size;
use zstd::stream::raw::{CParameter, Encoder as ZstdEncoder, Operation, OutBuffer};

use super::{CHUNK_LEN, SYNC, flag, history};
use crate::setup::Compression;

/// The most bytes that surely fit a chunk when LZ4 cannot compress them.
const LZ4_SAFE_LEN: usize = CHUNK_LEN - 80;

/// Threads that compress a long literal where nothing else is said.
const WORKERS: u32 = 2;

/// What one thread compresses at a time, in bytes. By itself zstd takes twice as much; its buffers
/// are a multiple of this.
const JOB_LEN: u32 = 4 << 20;

/// Most threads, whatever is asked for. Security reference, CVE-2026-70455.
const MAX_WORKERS: u32 = 8;

pub(super) struct Encoder {
    kind: Kind,
    /// Compressed bytes that wait for the rest of their chunk; with LZ4, uncompressed ones.
    held: Vec<u8>,
}

enum Kind {
    Zstd {
        stream: ZstdEncoder<'static>,
        /// Long literals are compressed by threads of their own.
        parallel: bool,
        /// How many threads.
        workers: u32,
        /// The frame has begun.
        open: bool,
    },
    Lz4 {
        scratch: Vec<u8>,
    },
    Deflate {
        stream: Compress,
        blocks_in_history: bool,
        protocol: u8,
    },
}

impl Encoder {
    /// `None` for no compression.
    pub(super) fn new(compression: Compression, level: i32, protocol: u8) -> Option<Self> {
        let deflate = |blocks_in_history| {
            let level = flate2::Compression::new(u32::try_from(level).unwrap_or(6).min(9));
            Kind::Deflate { stream: Compress::new(level, false), blocks_in_history, protocol }
        };
        let kind = match compression {
            Compression::None => return None,
            Compression::Zstd => {
                let stream = ZstdEncoder::new(level);
                let stream = stream.expect("a compression context only needs memory");
                Kind::Zstd { stream, parallel: false, workers: WORKERS, open: false }
            }
            Compression::Lz4 => Kind::Lz4 { scratch: vec![0; get_maximum_output_size(CHUNK_LEN)] },
            Compression::Zlibx => deflate(false),
            Compression::Zlib => deflate(true),
        };
        Some(Self { kind, held: Vec::new() })
    }

    /// Long literals are compressed by so many threads; by none but the caller's for zero.
    pub(super) fn set_workers(&mut self, wanted: u32) {
        if let Kind::Zstd { workers, .. } = &mut self.kind {
            *workers = wanted.min(MAX_WORKERS);
        }
    }

    /// A literal comes that is long enough for several threads, or one that is not. The frame ends
    /// where that changes; decoders go on with the next one by themselves.
    pub(super) fn set_parallel(&mut self, wanted: bool, out: &mut Vec<u8>) {
        let Kind::Zstd { stream, parallel, workers, open } = &mut self.kind else { return };
        if *parallel == wanted || *workers == 0 {
            return;
        }
        *parallel = wanted;
        if std::mem::take(open) {
            drain(&mut self.held, out, |buffer| stream.finish(buffer, true));
            stream.reinit().expect("a frame can begin after another one");
        }
        let workers = CParameter::NbWorkers(if wanted { *workers } else { 0 });
        stream.set_parameter(workers).expect("it can be set between frames");
        if wanted {
            let job = CParameter::JobSize(JOB_LEN);
            stream.set_parameter(job).expect("a length that zstd knows");
        }
    }

    /// Adds literal data; chunks that are full go to `out`.
    pub(super) fn literal(&mut self, mut data: &[u8], out: &mut Vec<u8>) {
        match &mut self.kind {
            Kind::Zstd { stream, open, .. } => {
                *open = true;
                while !data.is_empty() {
                    let space = open_space(&mut self.held);
                    let status = stream
                        .run_on_buffers(data, &mut self.held[space..])
                        .expect("compression into a buffer cannot fail");
                    self.held.truncate(space + status.bytes_written);
                    data = &data[status.bytes_read..];
                    put_full_chunks(&mut self.held, 0, out);
                }
            }
            Kind::Lz4 { scratch } => lz4_literal(&mut self.held, scratch, data, out),
            Kind::Deflate { stream, .. } => {
                while !data.is_empty() {
                    let read = deflate(stream, data, &mut self.held, FlushCompress::None).0;
                    data = &data[read..];
                    put_full_chunks(&mut self.held, SYNC.len(), out);
                }
            }
        }
    }

    /// Ends a run of literal data: all of it can be decompressed from what is in `out` then.
    pub(super) fn flush(&mut self, out: &mut Vec<u8>) {
        match &mut self.kind {
            Kind::Zstd { stream, .. } => {
                drain(&mut self.held, out, |buffer| stream.flush(buffer));
            }
            Kind::Lz4 { scratch } => {
                if !self.held.is_empty() {
                    put_lz4(&self.held, scratch, out);
                    self.held.clear();
                }
                return;
            }
            Kind::Deflate { stream, .. } => {
                while deflate(stream, &[], &mut self.held, FlushCompress::Sync).1 == CHUNK_LEN {
                    put_full_chunks(&mut self.held, SYNC.len(), out);
                }
                assert!(self.held.ends_with(&SYNC), "a sync flush ends in an empty stored block");
                self.held.truncate(self.held.len() - SYNC.len());
            }
        }
        put_full_chunks(&mut self.held, 0, out);
        if !self.held.is_empty() {
            put_chunk(&self.held, out);
            self.held.clear();
        }
    }

    /// A matched block was told; only directly after a flush or where no literal came before.
    pub(super) fn block(&mut self, data: &[u8]) {
        if let Kind::Deflate { stream, blocks_in_history: true, protocol } = &mut self.kind {
            let added =
                history::add_block(data, *protocol, |piece| stream.set_dictionary(piece).map(drop));
            added.expect("a raw stream takes a dictionary at a block boundary");
        }
    }

    /// Ends a file.
    pub(super) fn end(&mut self) {
        if let Kind::Deflate { stream, .. } = &mut self.kind {
            stream.reset();
        }
    }
}

/// Takes what the stream still holds, until `more` says that nothing is left.
fn drain(
    held: &mut Vec<u8>,
    out: &mut Vec<u8>,
    mut more: impl FnMut(&mut OutBuffer<'_, [u8]>) -> std::io::Result<usize>,
) {
    loop {
        let space = open_space(held);
        let mut buffer = OutBuffer::around(&mut held[space..]);
        let left = more(&mut buffer).expect("writing into a buffer cannot fail");
        let written = buffer.pos();
        held.truncate(space + written);
        put_full_chunks(held, 0, out);
        if left == 0 {
            break;
        }
    }
}

/// Makes room for a chunk at the end and returns where it starts.
fn open_space(held: &mut Vec<u8>) -> usize {
    let start = held.len();
    held.resize(start + CHUNK_LEN, 0);
    start
}

/// Appends compressed bytes to `held`; returns how many bytes were read and written.
fn deflate(
    stream: &mut Compress,
    data: &[u8],
    held: &mut Vec<u8>,
    flush: FlushCompress,
) -> (usize, usize) {
    let (read, written) = (stream.total_in(), stream.total_out());
    let space = open_space(held);
    stream.compress(data, &mut held[space..], flush).expect("deflate only fails when misused");
    let written = (stream.total_out() - written) as usize;
    held.truncate(space + written);
    ((stream.total_in() - read) as usize, written)
}

/// Writes all chunks that are complete even if the last `reserve` bytes are taken back later.
fn put_full_chunks(held: &mut Vec<u8>, reserve: usize, out: &mut Vec<u8>) {
    while held.len() >= CHUNK_LEN + reserve {
        put_chunk(&held[..CHUNK_LEN], out);
        held.drain(..CHUNK_LEN);
    }
}

fn put_chunk(chunk: &[u8], out: &mut Vec<u8>) {
    let [low, high] = (chunk.len() as u16).to_le_bytes();
    out.extend_from_slice(&[flag::DATA | high, low]);
    out.extend_from_slice(chunk);
}

/// Each chunk is a block of its own: small literals collect until one is full.
fn lz4_literal(held: &mut Vec<u8>, scratch: &mut [u8], mut data: &[u8], out: &mut Vec<u8>) {
    while !data.is_empty() {
        let (now, later) = data.split_at(data.len().min(CHUNK_LEN - held.len()));
        data = later;
        if held.is_empty() && now.len() == CHUNK_LEN {
            put_lz4(now, scratch, out);
            continue;
        }
        held.extend_from_slice(now);
        if held.len() == CHUNK_LEN {
            put_lz4(held, scratch, out);
            held.clear();
        }
    }
}

fn put_lz4(data: &[u8], scratch: &mut [u8], out: &mut Vec<u8>) {
    let len = lz4_flex::block::compress_into(data, scratch)
        .expect("the buffer has the greatest length that compression can need");
    if len <= CHUNK_LEN {
        return put_chunk(&scratch[..len], out);
    }
    let (first, rest) = data.split_at(LZ4_SAFE_LEN);
    put_lz4(first, scratch, out);
    put_lz4(rest, scratch, out);
}
