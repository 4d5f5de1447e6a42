//! Integers and short strings, the alphabet of every other codec.
//!
//! Protocol reference, section "Encodings". A value that does not fit its encoding cannot be
//! expressed by the types here.

use crate::{Decode, Violation};

/// The longest path, in bytes.
pub const MAX_PATH_LEN: usize = 4095;

/// Takes a value made of several parts: all of it or nothing.
pub(crate) fn whole<'a, T>(
    input: &mut &'a [u8],
    parts: impl FnOnce(&mut &'a [u8]) -> Result<T, Decode>,
) -> Result<T, Decode> {
    let mut rest = *input;
    let value = parts(&mut rest)?;
    *input = rest;
    Ok(value)
}

/// Takes `len` bytes.
///
/// # Errors
/// [`Decode::Incomplete`].
pub fn take_bytes<'a>(input: &mut &'a [u8], len: usize) -> Result<&'a [u8], Decode> {
    let (taken, rest) = input.split_at_checked(len).ok_or(Decode::Incomplete)?;
    *input = rest;
    Ok(taken)
}

fn take_array<const N: usize>(input: &mut &[u8]) -> Result<[u8; N], Decode> {
    let (taken, rest) = input.split_first_chunk::<N>().ok_or(Decode::Incomplete)?;
    *input = rest;
    Ok(*taken)
}

/// Takes one byte.
///
/// # Errors
/// [`Decode::Incomplete`].
pub fn take_byte(input: &mut &[u8]) -> Result<u8, Decode> {
    take_array::<1>(input).map(|[byte]| byte)
}

/// Writes one byte.
pub fn put_byte(out: &mut Vec<u8>, value: u8) {
    out.push(value);
}

/// Writes a 16-bit number.
pub fn put_short(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Takes a 16-bit number.
///
/// # Errors
/// [`Decode::Incomplete`].
pub fn take_short(input: &mut &[u8]) -> Result<u16, Decode> {
    take_array(input).map(u16::from_le_bytes)
}

/// Writes a 32-bit number.
pub fn put_int(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_le_bytes());
}

/// Takes a 32-bit number.
///
/// # Errors
/// [`Decode::Incomplete`].
pub fn take_int(input: &mut &[u8]) -> Result<i32, Decode> {
    take_array(input).map(i32::from_le_bytes)
}

/// Writes protocol 29's 64-bit number: four bytes, or twelve when they do not suffice.
pub fn put_longint(out: &mut Vec<u8>, value: i64) {
    match i32::try_from(value) {
        Ok(short) if short >= 0 => put_int(out, short),
        _ => {
            put_int(out, -1);
            out.extend_from_slice(&value.to_le_bytes());
        }
    }
}

/// Takes what [`put_longint`] writes.
///
/// # Errors
/// [`Decode::Incomplete`].
pub fn take_longint(input: &mut &[u8]) -> Result<i64, Decode> {
    whole(input, |rest| match take_int(rest)? {
        -1 => take_array(rest).map(i64::from_le_bytes),
        short => Ok(i64::from(short)),
    })
}

/// A first byte with `count` leading ones.
fn leading_ones(count: usize) -> u8 {
    u8::MAX.checked_shr(count as u32).map_or(u8::MAX, |low| !low)
}

/// The value bits in a first byte with `count` leading ones and a zero after them.
fn value_bits(first: u8, count: usize) -> u8 {
    first & u8::MAX.checked_shr(count as u32 + 1).unwrap_or(0)
}

/// Writes `value` as a first byte with value bits, and `low_len` bytes, plus as many extra bytes
/// as it needs beyond them; the number of extra bytes is the number of leading ones.
fn put_variable(out: &mut Vec<u8>, value: u64, low_len: usize, extra_max: usize) {
    let bits = 64 - value.leading_zeros() as usize;
    let mut extra = 0;
    // Each extra byte brings eight bits and costs one of the first byte.
    while extra < extra_max && bits > 8 * (low_len + extra) + 7 - extra {
        extra += 1;
    }
    let low_len = low_len + extra;
    let high = value.checked_shr(8 * low_len as u32).unwrap_or(0) as u8;
    out.push(leading_ones(extra) | high);
    out.extend(value.to_le_bytes().iter().take(low_len));
}

fn take_variable(input: &mut &[u8], first: u8, low_len: usize) -> Result<u64, Decode> {
    let extra = (first.leading_ones() as usize).min(6);
    let low_len = low_len + extra;
    if low_len > 8 {
        return Err(Violation::Varint(first).into());
    }
    let mut raw = [0; 8];
    let low = take_bytes(input, low_len)?;
    raw.iter_mut().zip(low).for_each(|(to, from)| *to = *from);
    let high = u64::from(value_bits(first, extra)).checked_shl(8 * low_len as u32).unwrap_or(0);
    Ok(u64::from_le_bytes(raw) | high)
}

/// Writes a 32-bit number in one to five bytes.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, value: i32) {
    match value {
        0..=0x7f => out.push(value as u8),
        _ => put_variable(out, u64::from(value as u32), 0, 4),
    }
}

/// Takes what [`put_varint`] writes.
///
/// # Errors
/// [`Decode::Incomplete`], or a first byte that promises more than 32 bits.
pub fn take_varint(input: &mut &[u8]) -> Result<i32, Decode> {
    whole(input, |rest| {
        let first = take_byte(rest)?;
        if first >= 0xf8 {
            return Err(Violation::Varint(first).into());
        }
        // With four bytes after the first its own bits lie beyond the 32.
        take_variable(rest, first, 0).map(|value| value as u32 as i32)
    })
}

/// Writes a 64-bit number in at least `min` bytes: 3 for sizes, 4 for times.
#[inline]
pub fn put_varlong(out: &mut Vec<u8>, value: i64, min: usize) {
    put_variable(out, value as u64, min - 1, 9 - min);
}

/// Takes what [`put_varlong`] writes with the same `min`.
///
/// # Errors
/// [`Decode::Incomplete`], or a first byte that promises more than 64 bits.
pub fn take_varlong(input: &mut &[u8], min: usize) -> Result<i64, Decode> {
    whole(input, |rest| {
        let first = take_byte(rest)?;
        take_variable(rest, first, min.saturating_sub(1)).map(|value| value as i64)
    })
}

/// Writes a varint, or an int below protocol 30.
pub fn put_varint30(out: &mut Vec<u8>, value: i32, protocol: u8) {
    if protocol < 30 { put_int(out, value) } else { put_varint(out, value) }
}

/// Takes what [`put_varint30`] writes.
///
/// # Errors
/// As for [`take_varint`].
pub fn take_varint30(input: &mut &[u8], protocol: u8) -> Result<i32, Decode> {
    if protocol < 30 { take_int(input) } else { take_varint(input) }
}

/// Writes a varlong, or a longint below protocol 30.
pub fn put_varlong30(out: &mut Vec<u8>, value: i64, min: usize, protocol: u8) {
    if protocol < 30 { put_longint(out, value) } else { put_varlong(out, value, min) }
}

/// Takes what [`put_varlong30`] writes.
///
/// # Errors
/// As for [`take_varlong`].
pub fn take_varlong30(input: &mut &[u8], min: usize, protocol: u8) -> Result<i64, Decode> {
    if protocol < 30 { take_longint(input) } else { take_varlong(input, min) }
}

/// Writes a string of at most 32767 bytes after its length.
///
/// # Panics
/// When it is longer; callers bound names by [`MAX_PATH_LEN`] and lists by 255.
pub fn put_vstring(out: &mut Vec<u8>, text: &[u8]) {
    assert!(text.len() <= 0x7fff, "the length of a vstring has 15 bits");
    if text.len() > 0x7f {
        out.push(0x80 | (text.len() >> 8) as u8);
    }
    out.push(text.len() as u8);
    out.extend_from_slice(text);
}

/// Takes a string of at most `limit` bytes; `what` names it in the error.
///
/// # Errors
/// [`Decode::Incomplete`], or a length above the limit.
pub fn take_vstring<'a>(
    input: &mut &'a [u8],
    what: &'static str,
    limit: usize,
) -> Result<&'a [u8], Decode> {
    whole(input, |rest| {
        let mut len = usize::from(take_byte(rest)?);
        if len > 0x7f {
            len = (len & 0x7f) << 8 | usize::from(take_byte(rest)?);
        }
        if len > limit {
            return Err(Violation::TooLong { what, len: len as u64, limit: limit as u64 }.into());
        }
        take_bytes(rest, len)
    })
}

/// Writes a name of at most 255 bytes after a length byte; longer ones are cut.
pub(crate) fn put_short_name(out: &mut Vec<u8>, name: &[u8]) {
    let name = name.get(..255).unwrap_or(name);
    out.push(name.len() as u8);
    out.extend_from_slice(name);
}

/// Takes what [`put_short_name`] writes.
pub(crate) fn take_short_name<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], Decode> {
    whole(input, |rest| {
        let len = take_byte(rest)?;
        take_bytes(rest, usize::from(len))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn varint(value: i32, wire: &[u8]) {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        assert_eq!(out, wire);
        assert_eq!(take_varint(&mut &*out), Ok(value));
    }

    #[test]
    fn varints_have_the_bytes_of_the_reference() {
        varint(0, &[0]);
        varint(127, &[0x7f]);
        varint(128, &[0x80, 0x80]);
        varint(255, &[0x80, 0xff]);
        varint(300, &[0x81, 0x2c]);
        varint(0x1fe, &[0x81, 0xfe]);
        varint(0x1ff, &[0x81, 0xff]);
        varint(16383, &[0xbf, 0xff]);
        varint(16384, &[0xc0, 0, 0x40]);
        varint(65535, &[0xc0, 0xff, 0xff]);
        varint(123_456_789, &[0xe7, 0x15, 0xcd, 0x5b]);
        varint(268_435_455, &[0xef, 0xff, 0xff, 0xff]);
        varint(268_435_456, &[0xf0, 0, 0, 0, 0x10]);
        varint(-1, &[0xf0, 0xff, 0xff, 0xff, 0xff]);
        varint(i32::MIN, &[0xf0, 0, 0, 0, 0x80]);
    }

    #[test]
    fn a_varint_of_more_than_five_bytes_is_refused() {
        for first in 0xf8..=0xff {
            let wire = [first; 9];
            assert_eq!(take_varint(&mut &wire[..]), Err(Violation::Varint(first).into()));
        }
    }

    #[track_caller]
    fn varlong(value: i64, min: usize, wire: &[u8]) {
        let mut out = Vec::new();
        put_varlong(&mut out, value, min);
        assert_eq!(out, wire);
        assert_eq!(take_varlong(&mut &*out, min), Ok(value));
    }

    #[test]
    fn varlongs_have_the_bytes_of_the_reference() {
        varlong(0, 3, &[0, 0, 0]);
        varlong(12, 3, &[0, 12, 0]);
        varlong(4096, 3, &[0, 0, 0x10]);
        varlong(65536, 3, &[1, 0, 0]);
        varlong(8_388_607, 3, &[0x7f, 0xff, 0xff]);
        varlong(8_388_608, 3, &[0x80, 0, 0, 0x80]);
        varlong(4_294_967_296, 3, &[0xc1, 0, 0, 0, 0]);
        varlong(1_000_000_000_000, 3, &[0xe0, 0, 0x10, 0xa5, 0xd4, 0xe8]);
        varlong(-1, 3, &[0xfc, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
        varlong(0, 4, &[0, 0, 0, 0]);
        varlong(1_700_000_000, 4, &[0x65, 0, 0xf1, 0x53]);
        varlong(2_147_483_647, 4, &[0x7f, 0xff, 0xff, 0xff]);
        varlong(2_147_483_648, 4, &[0x80, 0, 0, 0, 0x80]);
        varlong(4_294_967_296, 4, &[0x81, 0, 0, 0, 0]);
        varlong(253_402_300_799, 4, &[0xba, 0x7f, 0x41, 0xf4, 0xff]);
        varlong(-1, 4, &[0xf8, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]);
    }

    #[test]
    fn a_varlong_of_more_than_nine_bytes_is_refused() {
        let wire = [0xfc; 12];
        assert_eq!(take_varlong(&mut &wire[..], 4), Err(Violation::Varint(0xfc).into()));
    }

    #[test]
    fn longints_take_twelve_bytes_when_four_do_not_suffice() {
        for (value, len) in [(0, 4), (0x7fff_ffff, 4), (0x8000_0000, 12), (-1, 12)] {
            let mut out = Vec::new();
            put_longint(&mut out, value);
            assert_eq!(out.len(), len);
            assert_eq!(take_longint(&mut &*out), Ok(value));
        }
    }

    #[test]
    fn a_vstring_above_its_limit_is_refused_before_it_arrives() {
        let wire = [0x81, 0x00];
        let error = Violation::TooLong { what: "list", len: 256, limit: 255 };
        assert_eq!(take_vstring(&mut &wire[..], "list", 255), Err(error.into()));
    }

    #[test]
    fn an_incomplete_value_consumes_nothing() {
        let mut out = Vec::new();
        put_vstring(&mut out, &[b'x'; 200]);
        for len in 0..out.len() {
            let mut input = &out[..len];
            assert_eq!(take_vstring(&mut input, "name", 4095), Err(Decode::Incomplete));
            assert_eq!(input.len(), len);
        }
    }
}
