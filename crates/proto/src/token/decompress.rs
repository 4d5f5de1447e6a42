//! Decompresses runs of literal data.

use flate2::{Decompress, FlushDecompress, Status};
use zstd::stream::raw::{Decoder as ZstdDecoder, Operation};

use super::{SYNC, history};
use crate::Violation;
use crate::setup::Compression;

/// The most that one LZ4 chunk may decompress to.
pub(super) const OUTPUT_LEN: usize = 32_912;

pub(super) struct Decoder {
    kind: Kind,
    /// The compressed bytes at hand.
    chunk: Vec<u8>,
    /// How many of them were used.
    used: usize,
    /// The last call filled the output: more may wait inside the stream.
    full: bool,
}

enum Kind {
    Zstd(ZstdDecoder<'static>),
    Lz4,
    Deflate { stream: Decompress, blocks_in_history: bool, protocol: u8 },
}

impl Decoder {
    /// `None` for no compression.
    pub(super) fn new(compression: Compression, protocol: u8) -> Option<Self> {
        let deflate = |blocks_in_history| Kind::Deflate {
            stream: Decompress::new(false),
            blocks_in_history,
            protocol,
        };
        let kind = match compression {
            Compression::None => return None,
            Compression::Zstd => {
                Kind::Zstd(ZstdDecoder::new().expect("a decompression context only needs memory"))
            }
            Compression::Lz4 => Kind::Lz4,
            Compression::Zlibx => deflate(false),
            Compression::Zlib => deflate(true),
        };
        Some(Self { kind, chunk: Vec::new(), used: 0, full: false })
    }

    /// Adds compressed bytes, when the ones before have been used up.
    pub(super) fn chunk(&mut self, chunk: &[u8]) {
        self.chunk.clear();
        self.chunk.extend_from_slice(chunk);
        self.used = 0;
    }

    /// A run of literal data is over: what its flush ended in is restored.
    pub(super) fn sync(&mut self) {
        if let Kind::Deflate { .. } = self.kind {
            self.chunk(&SYNC);
        }
    }

    /// Fills `output` with what can be decompressed now and returns its length; 0 when a further
    /// chunk is needed.
    pub(super) fn run(&mut self, output: &mut [u8; OUTPUT_LEN]) -> Result<usize, Violation> {
        while self.used < self.chunk.len() || self.full {
            let input = &self.chunk[self.used..];
            let (read, written) = self.kind.step(input, output)?;
            self.full = written == output.len() && !matches!(self.kind, Kind::Lz4);
            if read == 0 && written == 0 && !input.is_empty() {
                // Bytes after the end of a stream, for instance.
                return Err(self.kind.corrupt());
            }
            self.used += read;
            if written > 0 {
                return Ok(written);
            }
        }
        Ok(0)
    }

    /// A matched block was reported; its content goes into the history of old zlib.
    pub(super) fn block(&mut self, data: &[u8]) -> Result<(), Violation> {
        let corrupt = self.kind.corrupt();
        match &mut self.kind {
            Kind::Deflate { stream, blocks_in_history: true, protocol } => {
                history::add_block(data, *protocol, |piece| stream.set_dictionary(piece).map(drop))
                    .map_err(|_| corrupt)
            }
            _ => Ok(()),
        }
    }

    /// A file is over.
    pub(super) fn end(&mut self) {
        if let Kind::Deflate { stream, .. } = &mut self.kind {
            stream.reset(false);
        }
    }
}

impl Kind {
    /// Returns how many bytes were read and written.
    fn step(&mut self, input: &[u8], output: &mut [u8]) -> Result<(usize, usize), Violation> {
        let corrupt = self.corrupt();
        match self {
            Self::Zstd(stream) => {
                let status = stream.run_on_buffers(input, output).map_err(|_| corrupt)?;
                Ok((status.bytes_read, status.bytes_written))
            }
            Self::Lz4 => {
                let written = lz4_flex::block::decompress_into(input, output);
                Ok((input.len(), written.map_err(|_| corrupt)?))
            }
            Self::Deflate { stream, .. } => {
                let (read, written) = (stream.total_in(), stream.total_out());
                match stream.decompress(input, output, FlushDecompress::None) {
                    // The sender never finishes a stream.
                    Ok(Status::StreamEnd) | Err(_) => Err(corrupt),
                    Ok(Status::Ok | Status::BufError) => Ok((
                        (stream.total_in() - read) as usize,
                        (stream.total_out() - written) as usize,
                    )),
                }
            }
        }
    }

    fn corrupt(&self) -> Violation {
        Violation::Compressed(match self {
            Self::Zstd(_) => "zstd",
            Self::Lz4 => "lz4",
            Self::Deflate { .. } => "deflate",
        })
    }
}
