//! The names of events: how they are asked for and how they are printed.

/// Bits of an event as the kernel gives them. inotify reference, Events.
pub const ACCESS: u32 = 0x1;
pub const MODIFY: u32 = 0x2;
pub const ATTRIB: u32 = 0x4;
pub const CLOSE_WRITE: u32 = 0x8;
pub const CLOSE_NOWRITE: u32 = 0x10;
pub const CLOSE: u32 = CLOSE_WRITE | CLOSE_NOWRITE;
pub const OPEN: u32 = 0x20;
pub const MOVED_FROM: u32 = 0x40;
pub const MOVED_TO: u32 = 0x80;
pub const MOVE: u32 = MOVED_FROM | MOVED_TO;
pub const CREATE: u32 = 0x100;
pub const DELETE: u32 = 0x200;
pub const DELETE_SELF: u32 = 0x400;
pub const MOVE_SELF: u32 = 0x800;
pub const UNMOUNT: u32 = 0x2000;
pub const Q_OVERFLOW: u32 = 0x4000;
pub const IGNORED: u32 = 0x8000;
pub const ISDIR: u32 = 0x4000_0000;
pub const ONESHOT: u32 = 0x8000_0000;
/// What is meant when nothing is chosen: neither unmounts, nor ended watches, nor overflows.
pub const ALL: u32 = 0xfff;

/// What can be asked for, besides what is printed.
const GROUPS: [(u32, &str); 3] = [(CLOSE, "CLOSE"), (MOVE, "MOVE"), (ALL, "ALL_EVENTS")];

/// In the order in which they are printed.
const PRINTED: [(u32, &str); 18] = [
    (ACCESS, "ACCESS"),
    (MODIFY, "MODIFY"),
    (ATTRIB, "ATTRIB"),
    (CLOSE_WRITE, "CLOSE_WRITE"),
    (CLOSE_NOWRITE, "CLOSE_NOWRITE"),
    (OPEN, "OPEN"),
    (MOVED_FROM, "MOVED_FROM"),
    (MOVED_TO, "MOVED_TO"),
    (CREATE, "CREATE"),
    (DELETE, "DELETE"),
    (DELETE_SELF, "DELETE_SELF"),
    (UNMOUNT, "UNMOUNT"),
    (Q_OVERFLOW, "Q_OVERFLOW"),
    (IGNORED, "IGNORED"),
    (CLOSE, "CLOSE"),
    (MOVE_SELF, "MOVE_SELF"),
    (ISDIR, "ISDIR"),
    (ONESHOT, "ONESHOT"),
];

/// The mask of one name, in any case.
pub fn mask_of(name: &[u8]) -> Option<u32> {
    let known = GROUPS.iter().chain(&PRINTED);
    known.clone().find(|(_, known)| known.as_bytes().eq_ignore_ascii_case(name)).map(|(m, _)| *m)
}

/// The mask of a comma-separated list. An empty element makes the list count as nothing chosen;
/// `None` when a name before that is unknown.
pub fn mask_of_list(list: &[u8]) -> Option<u32> {
    let mut mask = 0;
    for name in list.split(|&b| b == b',') {
        if name.is_empty() {
            return Some(0);
        }
        mask |= mask_of(name)?;
    }
    Some(mask)
}

/// The names in a mask, in the printed order. `CLOSE` accompanies both kinds of closing.
pub fn printed(mask: u32) -> impl Iterator<Item = &'static str> {
    PRINTED.iter().filter(move |(bits, _)| mask & bits != 0).map(|(_, name)| *name)
}

/// Appends the names in `mask`, joined by `separator`; a number when none is known.
pub fn write(mask: u32, separator: u8, out: &mut Vec<u8>) {
    let start = out.len();
    for name in printed(mask) {
        if out.len() > start {
            out.push(separator);
        }
        out.extend_from_slice(name.as_bytes());
    }
    if out.len() == start {
        out.extend_from_slice(format!("0x{mask:08x}").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(list: &str, mask: Option<u32>) {
        assert_eq!(mask_of_list(list.as_bytes()), mask, "{list}");
    }

    #[test]
    fn lists_are_read_in_any_case_and_an_empty_element_chooses_nothing() {
        check("close_write", Some(CLOSE_WRITE));
        check("Close,MOVE", Some(CLOSE | MOVE));
        check("all_events", Some(0xfff));
        check("unmount,q_overflow,ignored", Some(UNMOUNT | Q_OVERFLOW | IGNORED));
        for list in ["", "open,", ",open", "open,,close"] {
            check(list, Some(0));
        }
        for list in ["opened", "open,foo", "foo,,open", " open"] {
            check(list, None);
        }
    }

    #[track_caller]
    fn check_printed(mask: u32, text: &str) {
        let mut out = Vec::new();
        write(mask, b',', &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }

    #[test]
    fn names_are_printed_in_a_fixed_order() {
        check_printed(CLOSE_WRITE, "CLOSE_WRITE,CLOSE");
        check_printed(CREATE | ISDIR, "CREATE,ISDIR");
        check_printed(MOVE_SELF, "MOVE_SELF");
        check_printed(CLOSE_WRITE | OPEN | MODIFY, "MODIFY,CLOSE_WRITE,OPEN,CLOSE");
        check_printed(0, "0x00000000");
    }
}
