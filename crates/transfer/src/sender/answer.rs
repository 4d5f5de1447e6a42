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
    /// Blocks in them.
    pub(crate) match_count: u64,
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

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manner {
    /// The receiving side builds a new file.
    Fresh,
    /// It writes over the basis: a block behind the place where it belongs is already overwritten.
    InPlace,
    /// It has the first `from` bytes; with `verifies` the digest covers them.
    Append { from: u64, verifies: bool },
}

impl Manner {
    /// Where the content to be sent begins.
    pub(crate) fn start(self) -> u64 {
        match self {
            Self::Append { from, .. } => from,
            Self::Fresh | Self::InPlace => 0,
        }
    }

    pub(crate) fn is_append(self) -> bool {
        matches!(self, Self::Append { .. })
    }
}

/// How one answer is made.
#[derive(Clone, Copy)]
struct Plan {
    manner: Manner,
    /// The digest is not known and must be computed.
    summed: bool,
}

/// Who is asked and told while content is on its way.
#[derive(Clone, Copy)]
pub(crate) struct Watch<'a> {
    pub(crate) cancelled: &'a dyn Fn() -> bool,
    /// Gets the number of bytes that are done.
    pub(crate) progress: &'a dyn Fn(u64),
}

/// Turns content into tokens, for the whole session: some compressions keep state across files.
pub(crate) struct Answerer {
    tokens: TokenWriter,
    kind: ChecksumKind,
    strong: Strong,
    seed: i32,
    seed_first: bool,
    /// The seed is part of whole-file digests: MD4 before protocol 30.
    seeds_files: bool,
    /// The compression wants to see the content of matched blocks.
    shows_blocks: bool,
}

impl Answerer {
    pub(crate) fn new(setup: &Setup, level: Option<i32>, threads: Option<u32>) -> Self {
        let level = level.unwrap_or_else(|| setup.compression.default_level());
        let mut tokens = TokenWriter::new(setup.compression, level, setup.protocol);
        if let Some(count) = threads {
            tokens.set_threads(count);
        }
        Self {
            tokens,
            kind: setup.checksum,
            strong: strong(setup.checksum),
            seed: setup.seed,
            seed_first: setup.seeds_blocks_first(),
            seeds_files: setup.seeds_files,
            shows_blocks: setup.compression == Compression::Zlib,
        }
    }

    /// Sends all of `content`, as blocks of `signature` where it has them. Gives up only with the
    /// connection, as [`PushError::Closed`] when the peer has gone.
    pub(crate) fn send(
        &mut self,
        content: &mut dyn Content,
        signature: &Signature,
        manner: Manner,
        link: &mut Link,
        watch: Watch<'_>,
    ) -> Result<(Sent, Vec<u8>), PushError> {
        let mut sent = Sent::default();
        let is_literal = manner.is_append() || signature.layout().count() == 0;
        let literal_len = if is_literal { content.len() } else { 0 };
        link.output.append(|out| self.tokens.begin(literal_len, out));
        let is_plain = !self.seeds_files && !manner.is_append();
        let known = if is_plain { content.digest(self.kind) } else { None };
        let summed = known.is_none();
        let (complete, computed) = if is_literal {
            self.send_literal(content, Plan { manner, summed }, &mut sent, link, watch)?
        } else {
            self.send_delta(content, signature, Plan { manner, summed }, &mut sent, link, watch)?
        };
        link.output.append(|out| self.tokens.end(out));
        sent.intact = content.unchanged() && complete;
        if sent.intact
            && is_plain
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
        let digest: Vec<u8> = digest.iter().map(|byte| byte ^ flip).collect();
        link.output.append(|out| out.extend_from_slice(&digest));
        Ok((sent, digest))
    }

    /// Writes what stands for content that goes another way, and returns its digest, which says
    /// nothing.
    pub(crate) fn put_mark(&mut self, link: &mut Link) -> Vec<u8> {
        let digest = vec![0; self.strong.digest_len()];
        link.output.append(|out| {
            self.tokens.begin(0, out);
            self.tokens.end(out);
            out.extend_from_slice(&digest);
        });
        digest
    }

    /// A sum over the file from its start on.
    fn file_sum(&self) -> FileSum {
        let mut sum = FileSum::new(self.strong);
        if self.seeds_files && self.seed != 0 {
            sum.update(&self.seed.to_le_bytes());
        }
        sum
    }

    fn send_literal(
        &mut self,
        content: &mut dyn Content,
        Plan { manner, summed }: Plan,
        sent: &mut Sent,
        link: &mut Link,
        watch: Watch<'_>,
    ) -> Result<(bool, Option<Digest>), PushError> {
        let len = content.len();
        let start = manner.start();
        let mut sum = None;
        let mut digest = None;
        let mut offset = start;
        if let Manner::Append { verifies: true, .. } = manner {
            let mut covered = self.file_sum();
            if !sum_start(content, start, &mut covered) {
                return Ok((false, Some(covered.finish())));
            }
            sum = Some(covered);
        }
        while offset < len {
            let Some(chunk) = next_chunk(content, offset, len) else { break };
            for piece in chunk.chunks(PIECE) {
                link.output.append(|out| self.tokens.literal(piece, out));
            }
            if summed && chunk.len() as u64 == len && !self.seeds_files {
                digest = Some(file_digest(self.strong, chunk));
            } else if summed {
                sum.get_or_insert_with(|| self.file_sum()).update(chunk);
            }
            offset += chunk.len() as u64;
            (watch.progress)(offset);
            // After the last of it the session does.
            if offset < len && !link.relieve(watch.cancelled)? {
                return Err(PushError::Closed { phase: link.phase });
            }
        }
        sent.literal_bytes = offset - start;
        if summed && digest.is_none() {
            digest = Some(sum.unwrap_or_else(|| self.file_sum()).finish());
        }
        Ok((offset == len, digest))
    }

    fn send_delta(
        &mut self,
        content: &mut dyn Content,
        signature: &Signature,
        Plan { manner, summed }: Plan,
        sent: &mut Sent,
        link: &mut Link,
        watch: Watch<'_>,
    ) -> Result<(bool, Option<Digest>), PushError> {
        let len = content.len();
        let layout = *signature.layout();
        let in_place = manner == Manner::InPlace;
        let shows_blocks = self.shows_blocks || in_place;
        let mut stays = in_place.then(|| vec![false; layout.count() as usize]);
        let mut search = Search::new(signature, self.strong, self.seed, self.seed_first);
        let mut sum = summed.then(|| self.file_sum());
        // Content that no token covers yet, for the compression that wants to see matched blocks,
        // and for blocks that cannot be used.
        let mut uncovered = VecDeque::new();
        let mut offset = 0;
        while offset < len {
            let Some(chunk) = next_chunk(content, offset, len) else { break };
            if let Some(sum) = &mut sum {
                sum.update(chunk);
            }
            if shows_blocks {
                uncovered.extend(chunk);
            }
            search.feed(chunk, &mut |token| {
                let how = Putting {
                    layout: &layout,
                    stays: stays.as_deref_mut(),
                    output: &mut link.output,
                };
                put_token(token, how, &mut self.tokens, &mut uncovered, sent);
            });
            offset += chunk.len() as u64;
            (watch.progress)(offset);
            if !link.relieve(watch.cancelled)? {
                return Err(PushError::Closed { phase: link.phase });
            }
        }
        search.finish(&mut |token| {
            let how =
                Putting { layout: &layout, stays: stays.as_deref_mut(), output: &mut link.output };
            put_token(token, how, &mut self.tokens, &mut uncovered, sent);
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

/// Adds the first `end` bytes to the sum; `false` when they cannot be read.
fn sum_start(content: &mut dyn Content, end: u64, sum: &mut FileSum) -> bool {
    let mut offset = 0;
    while offset < end {
        let Some(chunk) = next_chunk(content, offset, end) else { return false };
        sum.update(chunk);
        offset += chunk.len() as u64;
    }
    true
}

/// What tokens are written with.
struct Putting<'a> {
    layout: &'a driftless_delta::Layout,
    /// Where a file is written in place: the blocks that were at their own place in it, so that they
    /// are still there.
    stays: Option<&'a mut [bool]>,
    output: &'a mut Mux,
}

fn put_token(
    token: Token<'_>,
    how: Putting<'_>,
    tokens: &mut TokenWriter,
    uncovered: &mut VecDeque<u8>,
    sent: &mut Sent,
) {
    match token {
        Token::Literal(bytes) => {
            sent.literal_bytes += bytes.len() as u64;
            uncovered.drain(..bytes.len().min(uncovered.len()));
            how.output.append(|out| tokens.literal(bytes, out));
        }
        Token::Block(block) => {
            let range = how.layout.range(block).unwrap_or(0..0);
            let len = range.end - range.start;
            let shown = uncovered.len().min(len as usize);
            let data: Vec<u8> = uncovered.drain(..shown).collect();
            let here = sent.literal_bytes + sent.matched_bytes;
            let is_gone = how.stays.is_some_and(|stays| match stays.get_mut(block as usize) {
                Some(stays) if range.start == here => {
                    *stays = true;
                    false
                }
                Some(stays) => range.start < here && !*stays,
                None => true,
            });
            if is_gone {
                sent.literal_bytes += len;
                for piece in data.chunks(PIECE) {
                    how.output.append(|out| tokens.literal(piece, out));
                }
            } else {
                sent.matched_bytes += len;
                sent.match_count += 1;
                how.output.append(|out| tokens.block(block, &data, out));
            }
        }
    }
}
