//! The eleven characters of `%i`: `YXcstpoguax`.

use driftless_transfer::report::{Direction, Item, ItemFlags};
use driftless_tree::Kind;

/// What is printed for a deletion in place of the eleven characters.
pub const DELETING: &str = "*deleting  ";

/// The flags that say that something changes.
const SIGNIFICANT: u16 =
    !(ItemFlags::BASIS_TYPE_FOLLOWS | ItemFlags::XNAME_FOLLOWS | ItemFlags::LOCAL_CHANGE);

/// Whether the flags say that anything changes.
pub fn is_significant(flags: u16) -> bool {
    flags & SIGNIFICANT != 0
}

/// Returns the characters. `times` tells whether modification times are kept.
pub fn itemize(item: &Item<'_>, times: bool) -> [u8; 11] {
    let has = |flag: u16| item.flags & flag != 0;
    let kind = item.entry.kind();
    let link = kind == Some(Kind::Symlink);
    let mut text = [b'.'; 11];
    text[0] = match item.direction {
        _ if has(ItemFlags::LOCAL_CHANGE) && has(ItemFlags::XNAME_FOLLOWS) => b'h',
        _ if has(ItemFlags::LOCAL_CHANGE) => b'c',
        Direction::Sent if has(ItemFlags::TRANSFER) => b'<',
        Direction::Received if has(ItemFlags::TRANSFER) => b'>',
        _ => b'.',
    };
    text[1] = match kind {
        Some(Kind::Dir) => b'd',
        Some(Kind::Symlink) => b'L',
        Some(Kind::CharDevice | Kind::BlockDevice) => b'D',
        Some(Kind::Fifo | Kind::Socket) => b'S',
        Some(Kind::File) | None => b'f',
    };
    if has(ItemFlags::IS_NEW) {
        text[2..].fill(b'+');
        return text;
    }
    // Of a symbolic link this bit says that its time cannot be set.
    let time_fails = link && has(ItemFlags::REPORT_SIZE);
    let times_of_birth_and_access =
        match (has(ItemFlags::REPORT_ATIME), has(ItemFlags::REPORT_CRTIME)) {
            (true, true) => b'b',
            (true, false) => b'u',
            (false, true) => b'n',
            (false, false) => b'.',
        };
    let letters = [
        (has(ItemFlags::REPORT_CHANGE), b'c'),
        (has(ItemFlags::REPORT_SIZE) && !link, b's'),
        (has(ItemFlags::REPORT_TIME), if times && !time_fails { b't' } else { b'T' }),
        (has(ItemFlags::REPORT_PERMS), b'p'),
        (has(ItemFlags::REPORT_OWNER), b'o'),
        (has(ItemFlags::REPORT_GROUP), b'g'),
        (times_of_birth_and_access != b'.', times_of_birth_and_access),
        (has(ItemFlags::REPORT_ACL), b'a'),
        (has(ItemFlags::REPORT_XATTR), b'x'),
    ];
    for (place, (on, letter)) in text[2..].iter_mut().zip(letters) {
        if on {
            *place = letter;
        }
    }
    let unchanged = text[2..].iter().all(|letter| *letter == b'.');
    if unchanged && matches!(text[0], b'.' | b'h' | b'c') {
        text[2..].fill(b' ');
    }
    text
}

#[cfg(test)]
mod tests {
    use driftless_tree::flist::Entry;

    use super::*;

    #[track_caller]
    fn check(mode: u32, flags: u16, xname: Option<&[u8]>, expected: &str) {
        let entry = Entry { mode, ..Entry::default() };
        let flags = if xname.is_some() { flags | ItemFlags::XNAME_FOLLOWS } else { flags };
        let direction = Direction::Received;
        let item =
            Item { entry: &entry, flags, xname, direction, source_dir: b"", gives_group: true };
        assert_eq!(String::from_utf8_lossy(&itemize(&item, true)), expected);
    }

    #[test]
    fn the_characters_are_those_of_the_original() {
        check(0o100_644, 0xa000, None, ">f+++++++++");
        check(0o100_644, 0x800c, None, ">f.st......");
        check(0o100_644, 0x0010, None, ".f...p.....");
        check(0o100_644, 0x8000, None, ">f.........");
        check(0o100_644, 0x0000, None, ".f         ");
        check(0o100_644, 0x7000, Some(b"big"), "hf+++++++++");
        check(0o100_644, 0x5000, Some(b"big"), "hf         ");
        check(0o040_755, 0x6000, None, "cd+++++++++");
        check(0o040_755, 0x0008, None, ".d..t......");
        check(0o120_777, 0x4002, None, "cLc........");
        check(0o120_777, 0x000c, None, ".L..T......");
        check(0o010_644, 0x6002, None, "cS+++++++++");
    }

    #[test]
    fn a_time_that_is_not_kept_is_written_large() {
        let entry = Entry { mode: 0o100_644, ..Entry::default() };
        let direction = Direction::Sent;
        let item = Item {
            entry: &entry,
            flags: 0x800c,
            xname: None,
            direction,
            source_dir: b"",
            gives_group: true,
        };
        assert_eq!(&itemize(&item, false), b"<f.sT......");
    }
}
