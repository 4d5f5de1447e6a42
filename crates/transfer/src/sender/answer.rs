//! The answer to a request for content: tokens and the digest of the file. Protocol reference,
//! "Sums" and "Token stream".
//!
//! A file that changed while it was read gets a wrong digest on purpose, so that the receiving
//! side discards what it built instead of showing a mixture that never existed.

use std::collections::VecDeque;

use driftless_delta::{Digest, FileSum, Search, Signature, Strong, Token, file_digest};
use driftless_proto::mux::Mux;
use driftless_proto::setup::{ChecksumKind, Compression};
use driftless_proto::token::TokenWriter;

use crate::connect::handshake::Setup;
use crate::driver::Content;
use crate::error::PushError;
use crate::link::Link;

/// Longest literal that is written at once.
const PIECE: usize = 32 * 1024;

/// What was sent of a file.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sent {
    pub(crate) literal_bytes: u64,
    pub(crate) matched_bytes: u64,
    /// It was read as one version, and its digest is right.
    pub(crate) intact: bool,
}

/// The algorithm behind a negotiated name.
pub(crate) fn strong(kind: ChecksumKind) -> Strong {
    match kind {
        ChecksumKind::Xxh128 => Strong::Xxh128,
        ChecksumKind::Xxh3 => Strong::Xxh3,
        ChecksumKind::Xxh64 => Strong::Xxh64,
        ChecksumKind::Md5 => Strong::Md5,
        ChecksumKind::Md4 => Strong::Md4,
        ChecksumKind::Sha1 => Strong::Sha1,
        ChecksumKind::None => Strong::None,
    }
}

/// Turns content into tokens, for the whole session: some compressions keep state across files.
pub(crate) struct Answerer {
    tokens: TokenWriter,
    kind: ChecksumKind,
    strong: Strong,
    seed: i32,
    seed_first: bool,
    /// The compression wants to see the content of matched blocks.
    shows_blocks: bool,
}

impl Answerer {
    pub(crate) fn new(setup: &Setup, level: Option<i32>) -> Self {
        let level = level.unwrap_or_else(|| setup.compression.default_level());
        Self {
            tokens: TokenWriter::new(setup.compression, level, setup.protocol),
            kind: setup.checksum,
            strong: strong(setup.checksum),
            seed: setup.seed,
            seed_first: setup.compat.checksum_seed_fix(),
            shows_blocks: setup.compression == Compression::Zlib,
        }
    }

    /// Sends all of `content`, as blocks of `signature` where it has them. Gives up only with the
    /// connection, as [`PushError::Closed`] when the peer has gone.
    pub(crate) fn send(
        &mut self,
        content: &mut dyn Content,
        signature: &Signature,
        link: &mut Link,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Sent, PushError> {
        let mut sent = Sent::default();
        let known = content.digest(self.kind);
        let (complete, computed) = if signature.layout().count() == 0 {
            self.send_literal(content, known.is_none(), &mut sent, link, cancelled)?
        } else {
            self.send_delta(content, signature, known.is_none(), &mut sent, link, cancelled)?
        };
        link.output.append(|out| self.tokens.end(out));
        sent.intact = content.unchanged() && complete;
        if sent.intact
            && let Some(digest) = &computed
        {
            content.keep_digest(self.kind, digest.as_bytes());
        }
        let digest = match (&known, &computed) {
            (Some(known), _) => known.as_slice(),
            (None, Some(computed)) => computed.as_bytes(),
            (None, None) => &[],
        };
        let flip = if sent.intact { 0x00 } else { 0xff };
        link.output.append(|out| out.extend(digest.iter().map(|byte| byte ^ flip)));
        Ok(sent)
    }

    fn send_literal(
        &mut self,
        content: &mut dyn Content,
        summed: bool,
        sent: &mut Sent,
        link: &mut Link,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(bool, Option<Digest>), PushError> {
        let len = content.len();
        let mut sum = None;
        let mut digest = None;
        let mut offset = 0;
        while offset < len {
            let Some(chunk) = next_chunk(content, offset, len) else { break };
            for piece in chunk.chunks(PIECE) {
                link.output.append(|out| self.tokens.literal(piece, out));
            }
            if summed && chunk.len() as u64 == len {
                digest = Some(file_digest(self.strong, chunk));
            } else if summed {
                sum.get_or_insert_with(|| FileSum::new(self.strong)).update(chunk);
            }
            offset += chunk.len() as u64;
            // After the last of it the session does.
            if offset < len && !link.relieve(cancelled)? {
                return Err(PushError::Closed { phase: link.phase });
            }
        }
        sent.literal_bytes = offset;
        if summed && digest.is_none() {
            digest = Some(sum.map_or_else(|| file_digest(self.strong, &[]), FileSum::finish));
        }
        Ok((offset == len, digest))
    }

    fn send_delta(
        &mut self,
        content: &mut dyn Content,
        signature: &Signature,
        summed: bool,
        sent: &mut Sent,
        link: &mut Link,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(bool, Option<Digest>), PushError> {
        let len = content.len();
        let layout = *signature.layout();
        let mut search = Search::new(signature, self.strong, self.seed, self.seed_first);
        let mut sum = summed.then(|| FileSum::new(self.strong));
        // Content that no token covers yet, for the compression that wants to see matched blocks.
        let mut uncovered = VecDeque::new();
        let mut offset = 0;
        while offset < len {
            let Some(chunk) = next_chunk(content, offset, len) else { break };
            if let Some(sum) = &mut sum {
                sum.update(chunk);
            }
            if self.shows_blocks {
                uncovered.extend(chunk);
            }
            search.feed(chunk, &mut |token| {
                put_token(token, &layout, &mut self.tokens, &mut uncovered, sent, &mut link.output);
            });
            offset += chunk.len() as u64;
            if !link.relieve(cancelled)? {
                return Err(PushError::Closed { phase: link.phase });
            }
        }
        search.finish(&mut |token| {
            put_token(token, &layout, &mut self.tokens, &mut uncovered, sent, &mut link.output);
        });
        Ok((offset == len, sum.map(FileSum::finish)))
    }
}

/// The next bytes, at most up to `len`; `None` when the file is shorter or the disk fails.
fn next_chunk(content: &mut dyn Content, offset: u64, len: u64) -> Option<&[u8]> {
    let chunk = content.chunk(offset).ok().filter(|chunk| !chunk.is_empty())?;
    let left = usize::try_from(len - offset).unwrap_or(usize::MAX);
    Some(&chunk[..chunk.len().min(left)])
}

fn put_token(
    token: Token<'_>,
    layout: &driftless_delta::Layout,
    tokens: &mut TokenWriter,
    uncovered: &mut VecDeque<u8>,
    sent: &mut Sent,
    output: &mut Mux,
) {
    match token {
        Token::Literal(bytes) => {
            sent.literal_bytes += bytes.len() as u64;
            uncovered.drain(..bytes.len().min(uncovered.len()));
            output.append(|out| tokens.literal(bytes, out));
        }
        Token::Block(block) => {
            let len = layout.range(block).map_or(0, |range| range.end - range.start);
            sent.matched_bytes += len;
            let shown = uncovered.len().min(len as usize);
            let data: Vec<u8> = uncovered.drain(..shown).collect();
            output.append(|out| tokens.block(block, &data, out));
        }
    }
}
