//! What is said about one entry of a file list: requests of the generator, answers of the sender.
//!
//! Protocol reference, sections "Item attributes" and "Xattr data". The number before and the sums
//! and data behind have their own codecs.

use crate::int::{
    MAX_PATH_LEN, put_short, put_varint, put_vstring, take_byte, take_bytes, take_short,
    take_varint, take_vstring, whole,
};
use crate::setup::CompatFlags;
use crate::{Decode, Violation};

/// The bits of [`Item::flags`].
pub enum ItemFlags {}

impl ItemFlags {
    /// The access time differs.
    pub const REPORT_ATIME: u16 = 0x0001;
    /// The content differs: checksum, text of a link, device number.
    pub const REPORT_CHANGE: u16 = 0x0002;
    /// The size differs; of a symbolic link: its time cannot be set.
    pub const REPORT_SIZE: u16 = 0x0004;
    /// The modification time differs.
    pub const REPORT_TIME: u16 = 0x0008;
    /// The permissions differ.
    pub const REPORT_PERMS: u16 = 0x0010;
    /// The owner differs.
    pub const REPORT_OWNER: u16 = 0x0020;
    /// The group differs.
    pub const REPORT_GROUP: u16 = 0x0040;
    /// The ACL differs.
    pub const REPORT_ACL: u16 = 0x0080;
    /// The extended attributes differ; a list about them may follow.
    pub const REPORT_XATTR: u16 = 0x0100;
    /// The creation time differs.
    pub const REPORT_CRTIME: u16 = 0x0400;
    /// [`Item::basis`] is present.
    pub const BASIS_TYPE_FOLLOWS: u16 = 0x0800;
    /// [`Item::xname`] is present.
    pub const XNAME_FOLLOWS: u16 = 0x1000;
    /// The entry did not exist at the destination.
    pub const IS_NEW: u16 = 0x2000;
    /// The generator does it alone.
    pub const LOCAL_CHANGE: u16 = 0x4000;
    /// The content is requested, or follows.
    pub const TRANSFER: u16 = 0x8000;
}

/// Attributes of an item.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Item {
    /// Bits of [`ItemFlags`].
    pub flags: u16,
    /// What the delta builds on, when it is not the destination file itself.
    pub basis: Option<u8>,
    /// Name of a fuzzy basis, or of what this entry was hard-linked to.
    pub xname: Option<Box<[u8]>>,
}

impl Item {
    /// An item without basis type and name.
    pub fn new(flags: u16) -> Self {
        let follows = ItemFlags::BASIS_TYPE_FOLLOWS | ItemFlags::XNAME_FOLLOWS;
        Self { flags: flags & !follows, basis: None, xname: None }
    }

    /// Whether all bits of `flags` are set.
    pub fn has(&self, flags: u16) -> bool {
        self.flags & flags == flags
    }

    /// Writes the attributes; whether basis type and name are there decides the flags for them.
    pub fn put(&self, out: &mut Vec<u8>) {
        let mut flags = Self::new(self.flags).flags;
        if self.basis.is_some() {
            flags |= ItemFlags::BASIS_TYPE_FOLLOWS;
        }
        if self.xname.is_some() {
            flags |= ItemFlags::XNAME_FOLLOWS;
        }
        put_short(out, flags);
        out.extend(self.basis);
        if let Some(name) = &self.xname {
            put_vstring(out, name);
        }
    }

    /// Takes the attributes.
    ///
    /// # Errors
    /// [`Decode::Incomplete`], or a name above [`MAX_PATH_LEN`].
    pub fn take(input: &mut &[u8]) -> Result<Self, Decode> {
        whole(input, |rest| {
            let mut item = Self { flags: take_short(rest)?, basis: None, xname: None };
            if item.has(ItemFlags::BASIS_TYPE_FOLLOWS) {
                item.basis = Some(take_byte(rest)?);
            }
            if item.has(ItemFlags::XNAME_FOLLOWS) {
                item.xname = Some(take_vstring(rest, "name of an item", MAX_PATH_LEN)?.into());
            }
            Ok(item)
        })
    }

    /// Whether a list about extended attributes follows, in a session with `--xattrs` that is no
    /// dry run.
    pub fn has_xattr_list(&self, protocol: u8, compat: CompatFlags) -> bool {
        let linked = self.has(ItemFlags::XNAME_FOLLOWS | ItemFlags::LOCAL_CHANGE);
        let spared = linked && protocol >= 31 && !compat.avoid_xattr_optim();
        self.has(ItemFlags::REPORT_XATTR) && !spared
    }
}

/// The longest value of an extended attribute, in bytes.
pub const MAX_XATTR_VALUE_LEN: usize = 128 << 20;

/// The running number in a list about the extended attributes of an item, on either side.
#[derive(Debug, Clone, Default)]
pub struct XattrNumbers {
    previous: u32,
}

impl XattrNumbers {
    /// At the start of an item's list. Numbers start at 1 and ascend.
    pub fn new() -> Self {
        Self::default()
    }

    /// Writes that the value of this number is wanted.
    ///
    /// # Panics
    /// When numbers do not ascend.
    pub fn put_request(&mut self, out: &mut Vec<u8>, number: u32) {
        let step = number.checked_sub(self.previous).filter(|&step| step > 0);
        put_varint(out, step.expect("numbers of attributes ascend") as i32);
        self.previous = number;
    }

    /// Writes a wanted value; an empty one when it cannot be read any more.
    ///
    /// # Panics
    /// When numbers do not ascend, or the value exceeds [`MAX_XATTR_VALUE_LEN`].
    pub fn put_value(&mut self, out: &mut Vec<u8>, number: u32, value: &[u8]) {
        assert!(value.len() <= MAX_XATTR_VALUE_LEN, "values of attributes are bounded");
        self.put_request(out, number);
        put_varint(out, value.len() as i32);
        out.extend_from_slice(value);
    }

    /// Writes the end of requests or values.
    pub fn put_end(out: &mut Vec<u8>) {
        out.push(0);
    }

    /// Takes the number of a wanted value; `None` at the end.
    ///
    /// # Errors
    /// [`Decode::Incomplete`], or a step that is negative or leads beyond 2^31-1.
    pub fn take_request(&mut self, input: &mut &[u8]) -> Result<Option<u32>, Decode> {
        let number = whole(input, |rest| self.peek(rest))?;
        self.previous = number.unwrap_or(self.previous);
        Ok(number)
    }

    /// Takes a number and its value of at most `limit` bytes; `None` at the end.
    ///
    /// # Errors
    /// As for [`XattrNumbers::take_request`], or a value that is longer.
    pub fn take_value<'a>(
        &mut self,
        input: &mut &'a [u8],
        limit: usize,
    ) -> Result<Option<(u32, &'a [u8])>, Decode> {
        let value = whole(input, |rest| {
            let Some(number) = self.peek(rest)? else { return Ok(None) };
            let len = take_varint(rest)?;
            let fits = usize::try_from(len).ok().filter(|&len| len <= limit);
            let wrong = Violation::Xattr { what: "value length", value: i64::from(len) };
            Ok(Some((number, take_bytes(rest, fits.ok_or(wrong)?)?)))
        })?;
        self.previous = value.map_or(self.previous, |(number, _)| number);
        Ok(value)
    }

    fn peek(&self, input: &mut &[u8]) -> Result<Option<u32>, Decode> {
        let step = take_varint(input)?;
        if step == 0 {
            return Ok(None);
        }
        let number = u32::try_from(step).ok().and_then(|step| self.previous.checked_add(step));
        let number = number.filter(|&number| i32::try_from(number).is_ok());
        let wrong = Violation::Number { what: "xattr request", value: i64::from(step) };
        Ok(Some(number.ok_or(wrong)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(item: Item, wire: &[u8]) {
        let mut out = Vec::new();
        item.put(&mut out);
        assert_eq!(out, wire);
        assert_eq!(Item::take(&mut &*out), Ok(item));
        for len in 0..wire.len() {
            assert_eq!(Item::take(&mut &wire[..len]), Err(Decode::Incomplete));
        }
    }

    #[test]
    fn items_have_the_bytes_of_captured_ones() {
        check(Item::new(ItemFlags::REPORT_TIME), &[0x08, 0x00]);
        check(Item::new(ItemFlags::TRANSFER | ItemFlags::IS_NEW), &[0x00, 0xa0]);
        check(
            Item { flags: 0x7000, basis: None, xname: Some((*b"file1").into()) },
            b"\x00\x70\x05file1",
        );
        check(
            Item { flags: 0x980c, basis: Some(0x83), xname: Some((*b"old").into()) },
            b"\x0c\x98\x83\x03old",
        );
    }

    #[test]
    fn a_list_of_attributes_follows_only_where_both_ends_expect_it() {
        let linked = Item {
            flags: ItemFlags::REPORT_XATTR | ItemFlags::LOCAL_CHANGE | ItemFlags::XNAME_FOLLOWS,
            basis: None,
            xname: Some((*b"a").into()),
        };
        let plain = CompatFlags::default();
        assert!(!linked.has_xattr_list(31, plain));
        assert!(linked.has_xattr_list(30, plain));
        assert!(linked.has_xattr_list(31, CompatFlags(CompatFlags::AVOID_XATTR_OPTIM)));
        assert!(Item::new(ItemFlags::REPORT_XATTR).has_xattr_list(31, plain));
        assert!(!Item::new(ItemFlags::REPORT_TIME).has_xattr_list(31, plain));
    }

    #[test]
    fn values_of_attributes_are_asked_for_and_answered_by_number() {
        let mut out = Vec::new();
        let mut numbers = XattrNumbers::new();
        numbers.put_request(&mut out, 1);
        numbers.put_request(&mut out, 4);
        XattrNumbers::put_end(&mut out);
        assert_eq!(out, [1, 3, 0]);
        let (mut input, mut numbers) = (out.as_slice(), XattrNumbers::new());
        assert_eq!(numbers.take_request(&mut input), Ok(Some(1)));
        assert_eq!(numbers.take_request(&mut input), Ok(Some(4)));
        assert_eq!(numbers.take_request(&mut input), Ok(None));

        let mut out = Vec::new();
        XattrNumbers::new().put_value(&mut out, 1, &[b'L'; 100]);
        XattrNumbers::put_end(&mut out);
        assert_eq!(out[..3], [0x01, 0x64, b'L']);
        let (mut input, mut numbers) = (out.as_slice(), XattrNumbers::new());
        assert_eq!(
            numbers.take_value(&mut input, MAX_XATTR_VALUE_LEN),
            Ok(Some((1, &[b'L'; 100][..])))
        );
        assert_eq!(numbers.take_value(&mut input, MAX_XATTR_VALUE_LEN), Ok(None));
    }
}
