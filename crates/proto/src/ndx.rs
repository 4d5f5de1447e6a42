//! Numbers of file-list entries, and the marks that take their place.
//!
//! Protocol reference, section "ndx". Each direction of a session has one writer and one reader:
//! both remember the last number.

use crate::int::{put_int, take_byte, take_int, whole};
use crate::{Decode, Violation};

/// What stands where a number is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum NdxValue {
    /// The end of a list or phase.
    Done,
    /// No further file list comes.
    FlistEof,
    /// Counts of deletions follow.
    DelStats,
    /// The file list of this directory index follows.
    SubList(u32),
    /// Something about the entry of this number follows.
    Item(u32),
}

const SUB_LIST_BASE: i64 = -101;

impl NdxValue {
    fn to_wire(self) -> i64 {
        match self {
            Self::Done => -1,
            Self::FlistEof => -2,
            Self::DelStats => -3,
            Self::SubList(dir) => SUB_LIST_BASE - i64::from(dir),
            Self::Item(ndx) => i64::from(ndx),
        }
    }

    fn from_wire(value: i64) -> Result<Self, Violation> {
        let wrong = Violation::Number { what: "file number", value };
        if i32::try_from(value).is_err() {
            return Err(wrong);
        }
        match value {
            -1 => Ok(Self::Done),
            -2 => Ok(Self::FlistEof),
            -3 => Ok(Self::DelStats),
            0.. => Ok(Self::Item(value as u32)),
            ..=SUB_LIST_BASE => Ok(Self::SubList((SUB_LIST_BASE - value) as u32)),
            _ => Err(wrong),
        }
    }
}

/// The last number of each sign, as absolute values.
#[derive(Debug, Clone, Copy)]
struct Previous {
    positive: i64,
    negative: i64,
}

impl Previous {
    const START: Self = Self { positive: -1, negative: 1 };

    fn of_sign(&mut self, negative: bool) -> &mut i64 {
        if negative { &mut self.negative } else { &mut self.positive }
    }
}

/// Writes numbers into one direction.
#[derive(Debug, Clone)]
pub struct NdxWriter {
    protocol: u8,
    previous: Previous,
}

impl NdxWriter {
    /// At the start of a session.
    pub fn new(protocol: u8) -> Self {
        Self { protocol, previous: Previous::START }
    }

    /// Writes a number.
    ///
    /// # Panics
    /// When an item's number exceeds 2^31-1, or a directory's index 2^31-102.
    pub fn put(&mut self, out: &mut Vec<u8>, value: NdxValue) {
        let value = i32::try_from(value.to_wire()).expect("file numbers have 31 bits");
        if self.protocol < 30 {
            return put_int(out, value);
        }
        if value == -1 {
            return out.push(0);
        }
        if value < 0 {
            out.push(0xff);
        }
        let size = i64::from(value).abs();
        let previous = self.previous.of_sign(value < 0);
        let step = size - *previous;
        *previous = size;
        match step {
            1..=0xfd => out.push(step as u8),
            0 | 0xfe..=0x7fff => {
                out.push(0xfe);
                out.extend_from_slice(&(step as u16).to_be_bytes());
            }
            _ => {
                let [a, b, c, d] = (size as u32).to_le_bytes();
                out.extend_from_slice(&[0xfe, d | 0x80, a, b, c]);
            }
        }
    }
}

/// Reads numbers from one direction.
#[derive(Debug, Clone)]
pub struct NdxReader {
    protocol: u8,
    previous: Previous,
}

impl NdxReader {
    /// At the start of a session.
    pub fn new(protocol: u8) -> Self {
        Self { protocol, previous: Previous::START }
    }

    /// Takes a number.
    ///
    /// # Errors
    /// [`Decode::Incomplete`], or a number outside the legal ones.
    pub fn take(&mut self, input: &mut &[u8]) -> Result<NdxValue, Decode> {
        if self.protocol < 30 {
            return whole(input, |rest| Ok(NdxValue::from_wire(i64::from(take_int(rest)?))?));
        }
        let mut state = self.previous;
        let value = whole(input, |rest| take_relative(rest, &mut state))?;
        self.previous = state;
        Ok(value)
    }
}

fn take_relative(input: &mut &[u8], state: &mut Previous) -> Result<NdxValue, Decode> {
    let mut first = take_byte(input)?;
    if first == 0 {
        return Ok(NdxValue::Done);
    }
    let negative = first == 0xff;
    if negative {
        first = take_byte(input)?;
    }
    let previous = state.of_sign(negative);
    let size = match first {
        0xfe => {
            let (high, low) = (take_byte(input)?, take_byte(input)?);
            match high & 0x80 {
                0 => *previous + i64::from(u16::from_be_bytes([high, low])),
                _ => {
                    let (second, third) = (take_byte(input)?, take_byte(input)?);
                    i64::from(u32::from_le_bytes([low, second, third, high & 0x7f]))
                }
            }
        }
        step => *previous + i64::from(step),
    };
    let value = NdxValue::from_wire(if negative { -size } else { size })?;
    *previous = size;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use NdxValue::{DelStats, Done, FlistEof, Item, SubList};

    #[test]
    fn numbers_have_the_bytes_of_the_reference() {
        let (mut writer, mut reader) = (NdxWriter::new(32), NdxReader::new(32));
        for (value, wire) in [
            (Item(0), &[0x01][..]),
            (Item(1), &[0x01]),
            (Item(2), &[0x01]),
            (Item(255), &[0xfd]),
            (Item(255), &[0xfe, 0, 0]),
            (Item(254), &[0xfe, 0x80, 0xfe, 0, 0]),
            (Done, &[0x00]),
            (Item(300), &[0x2e]),
            (Item(33067), &[0xfe, 0x7f, 0xff]),
            (Item(33068), &[0x01]),
            (Item(33322), &[0xfe, 0x00, 0xfe]),
            (Item(66090), &[0xfe, 0x80, 0x2a, 0x02, 0x01]),
            (Item(100_000), &[0xfe, 0x80, 0xa0, 0x86, 0x01]),
            (FlistEof, &[0xff, 0x01]),
            (SubList(0), &[0xff, 0x63]),
            (SubList(2), &[0xff, 0x02]),
            (SubList(1), &[0xff, 0xfe, 0x80, 0x66, 0, 0]),
            (FlistEof, &[0xff, 0xfe, 0x80, 0x02, 0, 0]),
            (DelStats, &[0xff, 0x01]),
        ] {
            let mut out = Vec::new();
            writer.put(&mut out, value);
            assert_eq!(out, wire, "{value:?}");
            assert_eq!(reader.take(&mut &*out), Ok(value));
        }
    }

    #[test]
    fn protocol_29_writes_plain_numbers() {
        let mut out = Vec::new();
        let mut writer = NdxWriter::new(29);
        writer.put(&mut out, Item(7));
        writer.put(&mut out, Done);
        assert_eq!(out, [7, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
        let mut reader = NdxReader::new(29);
        let mut input = out.as_slice();
        assert_eq!(reader.take(&mut input), Ok(Item(7)));
        assert_eq!(reader.take(&mut input), Ok(Done));
    }

    #[test]
    fn numbers_without_a_meaning_are_refused() {
        for wire in
            [&[0xff, 0x03][..], &[0xff, 0xfe, 0x80, 0x64, 0, 0], &[0xff, 0xfe, 0x80, 0, 0, 0][..4]]
        {
            let got = NdxReader::new(32).take(&mut &*wire);
            let complete = wire.len() != 4;
            assert_eq!(matches!(got, Err(Decode::Invalid(_))), complete, "{wire:?}");
        }
        let mut reader = NdxReader::new(32);
        reader.take(&mut &[0xfe, 0xff, 0xff, 0xff, 0xff][..]).unwrap();
        assert!(matches!(reader.take(&mut &[0x01][..]), Err(Decode::Invalid(_))));
    }

    #[test]
    fn an_incomplete_number_changes_no_state() {
        let wire = [0xfe, 0x80, 0xa0, 0x86, 0x01];
        let mut reader = NdxReader::new(32);
        for len in 0..wire.len() {
            assert_eq!(reader.take(&mut &wire[..len]), Err(Decode::Incomplete));
        }
        assert_eq!(reader.take(&mut &wire[..]), Ok(Item(100_000)));
    }
}
