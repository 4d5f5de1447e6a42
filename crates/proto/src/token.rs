//! Tokens: what a file consists of, as literal bytes and as blocks of the basis.
//!
//! Protocol reference, section "Token stream". One [`TokenWriter`] or [`TokenReader`] lives as long
//! as the session, because zstd's state spans files. Sum heads and checksums around the tokens,
//! and where blocks come from, are not known here.

mod compress;
mod decompress;
mod history;
mod read;
mod write;

pub use read::{Token, TokenReader};
pub use write::TokenWriter;

/// The longest literal of an uncompressed token that is written.
pub const LITERAL_LEN: usize = 32 * 1024;
/// The longest piece of compressed data behind one header.
const CHUNK_LEN: usize = 0x3fff;
/// The highest block number that compressed tokens can name.
const MAX_BLOCK: u32 = i32::MAX as u32 - 1;

/// First bytes of compressed tokens.
mod flag {
    pub const END: u8 = 0x00;
    pub const LONG: u8 = 0x20;
    pub const RUN_LONG: u8 = 0x21;
    pub const DATA: u8 = 0x40;
    pub const REL: u8 = 0x80;
    pub const RUN_REL: u8 = 0xc0;
    /// Number or length bits beside the two uppermost.
    pub const LOW_BITS: u8 = 0x3f;
    pub const KIND_BITS: u8 = 0xc0;
}

/// What a sync flush of deflate ends in; it does not travel.
const SYNC: [u8; 4] = [0x00, 0x00, 0xff, 0xff];

#[cfg(test)]
mod tests;
