//! Extended attributes inside file-list entries.
//!
//! Protocol reference, section "Xattr data". Which sets equal earlier ones is for the sender to
//! say; long values travel on demand, see [`crate::item::XattrNumbers`].

use driftless_tree::flist::{Cached, XattrValue, Xattrs};

use crate::int::{put_varint, take_bytes, take_varint, whole};
use crate::item::MAX_XATTR_VALUE_LEN;
use crate::{Decode, Violation};

/// Values up to this length travel inside the list.
const FULL_VALUE_MAX: usize = 32;
const MAX_COUNT: usize = 65_536;
const MAX_NAME_LEN: usize = 4096;

/// Writes the attributes of an entry, an empty literal where there are none.
pub(super) fn put(out: &mut Vec<u8>, xattrs: Option<&Xattrs>) {
    let set = match xattrs {
        Some(Cached::Index(index)) => return put_varint(out, *index as i32 + 1),
        Some(Cached::Literal(set)) => set.as_slice(),
        None => &[],
    };
    put_varint(out, 0);
    put_varint(out, set.len() as i32);
    for (name, value) in set {
        put_varint(out, name.len() as i32 + 1);
        let (len, bytes): (usize, &[u8]) = match value {
            XattrValue::Full(bytes) => (bytes.len(), bytes),
            XattrValue::Digest { len, md5 } => (*len as usize, md5),
        };
        put_varint(out, len as i32);
        out.extend_from_slice(name);
        out.push(0);
        out.extend_from_slice(bytes);
    }
}

/// Takes the attributes of an entry; `seen` sets came literally before.
pub(super) fn take(input: &mut &[u8], seen: &mut u32) -> Result<Xattrs, Decode> {
    let xattrs = whole(input, |rest| match take_varint(rest)? {
        0 => Ok(Cached::Literal(take_set(rest)?)),
        number => match u32::try_from(number) {
            Ok(number) if number <= *seen => Ok(Cached::Index(number - 1)),
            _ => Err(wrong("index", number).into()),
        },
    })?;
    *seen += u32::from(matches!(xattrs, Cached::Literal(_)));
    Ok(xattrs)
}

type Attribute = (Box<[u8]>, XattrValue);

fn take_set(input: &mut &[u8]) -> Result<Vec<Attribute>, Decode> {
    let count = take_len(input, "number of attributes", MAX_COUNT)?;
    (0..count).map(|_| take_attribute(input)).collect()
}

fn take_attribute(input: &mut &[u8]) -> Result<Attribute, Decode> {
    let name_len = take_len(input, "length of a name", MAX_NAME_LEN)?;
    let len = take_len(input, "length of a value", MAX_XATTR_VALUE_LEN)?;
    let name = match take_bytes(input, name_len)?.split_last() {
        Some((0, name)) if !name.contains(&0) => name.into(),
        _ => return Err(wrong("end of a name of length", name_len as i32).into()),
    };
    if len <= FULL_VALUE_MAX {
        return Ok((name, XattrValue::Full(take_bytes(input, len)?.into())));
    }
    let md5 = take_bytes(input, 16)?.try_into().expect("16 bytes were taken");
    Ok((name, XattrValue::Digest { len: len as u32, md5 }))
}

fn take_len(input: &mut &[u8], what: &'static str, max: usize) -> Result<usize, Decode> {
    let len = take_varint(input)?;
    usize::try_from(len).ok().filter(|&len| len <= max).ok_or(wrong(what, len).into())
}

fn wrong(what: &'static str, value: i32) -> Violation {
    Violation::Xattr { what, value: i64::from(value) }
}
