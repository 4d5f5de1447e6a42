//! What a client sends behind the setup, value by value, written without our own sender.

use std::time::Duration;

use driftless_proto::Decode;
use driftless_proto::int::{put_int, put_varint, put_varlong, take_bytes};
use driftless_proto::item::{Item, ItemFlags};
use driftless_proto::ndx::{NdxReader, NdxValue, NdxWriter};
use driftless_proto::sums::SumHead;

pub const FILE: u32 = 0o100_644;
pub const DIR: u32 = 0o040_755;
pub const LINK: u32 = 0o120_777;

/// What a client says after the setup.
pub struct Script {
    pub data: Vec<u8>,
    /// What comes from here on is said when the first phase's requests have come.
    pub pause: Option<usize>,
    /// Longest wait for them, where they may never come and nothing depends on it.
    pub patience: Option<Duration>,
    ndx: NdxWriter,
}

impl Script {
    pub fn new() -> Self {
        Self { data: Vec::new(), pause: None, patience: None, ndx: NdxWriter::new(32) }
    }

    /// An entry with all fields; links need their text.
    pub fn entry(mut self, name: &[u8], mode: u32, size: i64, target: &[u8]) -> Self {
        let out = &mut self.data;
        let long = name.len() > 255;
        put_varint(out, if long { 0x44 } else { 0x04 });
        match long {
            true => put_varint(out, name.len() as i32),
            false => out.push(name.len() as u8),
        }
        out.extend_from_slice(name);
        put_varlong(out, size, 3);
        put_varlong(out, 1_600_000_000, 4);
        put_int(out, mode as i32);
        if mode == LINK {
            put_varint(out, target.len() as i32);
            out.extend_from_slice(target);
        }
        self
    }

    pub fn dir(self, name: &[u8]) -> Self {
        self.entry(name, DIR, 4096, b"")
    }

    pub fn file(self, name: &[u8], size: i64) -> Self {
        self.entry(name, FILE, size, b"")
    }

    pub fn link(self, name: &[u8], target: &[u8]) -> Self {
        self.entry(name, LINK, target.len() as i64, target)
    }

    pub fn end(mut self) -> Self {
        self.data.extend_from_slice(&[0, 0]);
        self
    }

    pub fn number(mut self, value: NdxValue) -> Self {
        self.ndx.put(&mut self.data, value);
        self
    }

    /// The start of an answer with content, after the requests.
    pub fn answer(mut self, ndx: u32, flags: u16) -> Self {
        self.pause.get_or_insert(self.data.len());
        self.ndx.put(&mut self.data, NdxValue::Item(ndx));
        Item::new(flags).put(&mut self.data);
        self
    }

    pub fn head(mut self, head: SumHead) -> Self {
        head.put(&mut self.data);
        self
    }

    pub fn literal(mut self, bytes: &[u8]) -> Self {
        put_int(&mut self.data, bytes.len() as i32);
        self.data.extend_from_slice(bytes);
        self
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.data.extend_from_slice(bytes);
        self
    }
}

/// Whether the first phase's requests are among the data of a receiving server.
///
/// # Errors
/// They are not, or not all of them.
pub fn requests_ended(mut data: &[u8]) -> Result<(), Decode> {
    let mut numbers = NdxReader::new(32);
    while numbers.take(&mut data)? != NdxValue::Done {
        if Item::take(&mut data)?.has(ItemFlags::TRANSFER) {
            let head = SumHead::take(&mut data, 32, 16)?;
            take_bytes(&mut data, head.count as usize * (4 + head.strong_len as usize))?;
        }
    }
    Ok(())
}
