//! Reads tokens.

use super::decompress::{Decoder, OUTPUT_LEN};
use super::{MAX_BLOCK, flag};
use crate::int::{take_byte, take_bytes, take_int, take_short, whole};
use crate::setup::Compression;
use crate::{Decode, Violation};

/// One step of a file's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// Bytes of the file, never none.
    Literal(&'a [u8]),
    /// The block of the basis with this number, which may exceed those that there are.
    Block(u32),
    /// The end of the file.
    End,
}

/// Reads the tokens of one direction of a session, file after file.
pub struct TokenReader {
    mode: Mode,
}

enum Mode {
    Plain { literal_left: usize },
    Packed(Box<Packed>),
}

struct Packed {
    decoder: Decoder,
    output: [u8; OUTPUT_LEN],
    /// Compressed data came since the last sync.
    in_literal: bool,
    /// Blocks of a run that were not reported yet: the next one, and how many.
    run: (u32, u32),
    /// What relative block numbers count from.
    base: u32,
}

impl TokenReader {
    /// At the start of the first file.
    pub fn new(compression: Compression, protocol: u8) -> Self {
        let mode = match Decoder::new(compression, protocol) {
            None => Mode::Plain { literal_left: 0 },
            Some(decoder) => Mode::Packed(Box::new(Packed {
                decoder,
                output: [0; OUTPUT_LEN],
                in_literal: false,
                run: (0, 0),
                base: 0,
            })),
        };
        Self { mode }
    }

    /// Takes the next token. Literal data comes in pieces as it arrives. Call it again, even with
    /// no new input, until it is [`Decode::Incomplete`]; unlike other decoders it may have consumed
    /// compressed data by then.
    ///
    /// # Errors
    /// [`Decode::Incomplete`], corrupt compressed data, or a block number out of range.
    pub fn next<'a, 'i: 'a>(&'a mut self, input: &mut &'i [u8]) -> Result<Token<'a>, Decode> {
        match &mut self.mode {
            Mode::Plain { literal_left } => take_plain(input, literal_left),
            Mode::Packed(packed) => Ok(match packed.step(input)? {
                Step::Output(len) => Token::Literal(packed.output.get(..len).unwrap_or_default()),
                Step::Block(index) => Token::Block(index),
                Step::End => Token::End,
            }),
        }
    }

    /// Must follow each [`Token::Block`] with the block's content in sessions with
    /// [`Compression::Zlib`]; does nothing in others.
    ///
    /// # Errors
    /// The compressed stream does not take it.
    pub fn block_data(&mut self, data: &[u8]) -> Result<(), Violation> {
        match &mut self.mode {
            Mode::Plain { .. } => Ok(()),
            Mode::Packed(packed) => packed.decoder.block(data),
        }
    }
}

fn take_plain<'a>(input: &mut &'a [u8], left: &mut usize) -> Result<Token<'a>, Decode> {
    whole(input, |rest| {
        let mut len = *left;
        if len == 0 {
            match take_int(rest)? {
                0 => return Ok(Token::End),
                // Complement: -1 is block 0.
                block @ ..0 => return Ok(Token::Block(!block as u32)),
                literal => len = literal as usize,
            }
        }
        let arrived = len.min(rest.len());
        if arrived == 0 {
            return Err(Decode::Incomplete);
        }
        *left = len - arrived;
        Ok(Token::Literal(take_bytes(rest, arrived)?))
    })
}

enum Step {
    Output(usize),
    Block(u32),
    End,
}

impl Packed {
    fn step(&mut self, input: &mut &[u8]) -> Result<Step, Decode> {
        loop {
            let len = self.decoder.run(&mut self.output)?;
            if len > 0 {
                return Ok(Step::Output(len));
            }
            if let (next, left @ 1..) = self.run {
                self.run = (next.saturating_add(1), left - 1);
                return Ok(Step::Block(next));
            }
            let first = *input.first().ok_or(Decode::Incomplete)?;
            if first & flag::KIND_BITS == flag::DATA {
                self.decoder.chunk(whole(input, take_chunk)?);
                self.in_literal = true;
            } else if std::mem::take(&mut self.in_literal) {
                self.decoder.sync();
            } else if first == flag::END {
                take_byte(input)?;
                self.decoder.end();
                self.base = 0;
                return Ok(Step::End);
            } else {
                let (first, last) = whole(input, |rest| take_run(rest, self.base))?;
                self.run = (first, last - first + 1);
                self.base = last;
            }
        }
    }
}

fn take_chunk<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], Decode> {
    let (high, low) = (take_byte(input)?, take_byte(input)?);
    take_bytes(input, usize::from(u16::from_be_bytes([high & flag::LOW_BITS, low])))
}

/// Takes the first and last number of a run of blocks.
fn take_run(input: &mut &[u8], base: u32) -> Result<(u32, u32), Decode> {
    let kind = take_byte(input)?;
    let is_run = kind == flag::RUN_LONG || kind & flag::KIND_BITS == flag::RUN_REL;
    let first = match kind {
        flag::LONG | flag::RUN_LONG => i64::from(take_int(input)?),
        _ if kind & flag::REL != 0 => i64::from(base) + i64::from(kind & flag::LOW_BITS),
        _ => return Err(wrong("token flag", i64::from(kind)).into()),
    };
    let more = if is_run { i64::from(take_short(input)?) } else { 0 };
    if is_run && more == 0 {
        return Err(wrong("length of a run of blocks", 0).into());
    }
    let checked = |number| {
        let fits = u32::try_from(number).ok().filter(|&number| number <= MAX_BLOCK);
        fits.ok_or(wrong("block number", number))
    };
    Ok((checked(first)?, checked(first + more)?))
}

fn wrong(what: &'static str, value: i64) -> Violation {
    Violation::Number { what, value }
}
