//! The records of the kernel's fanotify queue, when file handles are reported. fanotify reference,
//! Record layout.

use driftless_fs::fanotify::Mask;
use driftless_fs::handle::Handle;

/// An object, by the file system it is on and its handle there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ObjectId<'a> {
    /// Which file system, as `statfs` tells.
    pub fsid: [u8; 8],
    /// Which object of it.
    pub handle: Handle<'a>,
}

/// A name in a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Entry<'a> {
    /// The directory.
    pub dir: ObjectId<'a>,
    /// The name; `.` when the event is about the directory itself.
    pub name: &'a [u8],
}

/// One event. The kernel joins events of one process on one name and object: `mask` holds what
/// happened in any order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Event<'a> {
    /// What happened.
    pub mask: Mask,
    /// Who did it; 0 when the listener may not know.
    pub pid: i32,
    /// Where; `None` for an overflow, a rename, and what happened to an object without a name.
    pub entry: Option<Entry<'a>>,
    /// The name before a rename ([`Mask::RENAME`]).
    pub from: Option<Entry<'a>>,
    /// The name after a rename.
    pub to: Option<Entry<'a>>,
    /// The object that has the name.
    pub object: Option<ObjectId<'a>>,
}

const METADATA_LEN: usize = 24;
const INFO_HEADER_LEN: usize = 4;
const FSID_LEN: usize = 8;

/// The kinds of information records that are read; others are skipped by their length.
mod kind {
    pub const OBJECT: u8 = 1;
    pub const ENTRY: u8 = 2;
    pub const DIRECTORY: u8 = 3;
    pub const FROM: u8 = 10;
    pub const TO: u8 = 12;
}

/// Takes one event off the front of what was read; `None` at the end.
///
/// The kernel writes whole events only, so a torn one is treated as the end.
pub fn take_event<'a>(input: &mut &'a [u8]) -> Option<Event<'a>> {
    let metadata = input.first_chunk::<METADATA_LEN>()?;
    let word = |at: usize| {
        u32::from_ne_bytes([metadata[at], metadata[at + 1], metadata[at + 2], metadata[at + 3]])
    };
    let event_len = usize::try_from(word(0)).ok()?;
    let metadata_len = usize::from(u16::from_ne_bytes([metadata[6], metadata[7]]));
    let mask = u64::from(word(8)) | u64::from(word(12)) << 32;
    #[cfg(target_endian = "big")]
    let mask = mask.rotate_left(32);
    let mut event = Event { mask: Mask(mask), pid: word(20).cast_signed(), ..Event::default() };
    if event_len < METADATA_LEN {
        return None;
    }
    let (whole, rest) = input.split_at_checked(event_len)?;
    let mut infos = whole.get(metadata_len..)?;
    *input = rest;
    while let Some((kind, body)) = take_info(&mut infos) {
        match kind {
            kind::OBJECT => event.object = take_object(body).map(|(object, _)| object),
            kind::ENTRY => event.entry = take_entry(body),
            kind::DIRECTORY => {
                event.entry = take_object(body).map(|(dir, _)| Entry { dir, name: b"." });
            }
            kind::FROM => event.from = take_entry(body),
            kind::TO => event.to = take_entry(body),
            _ => {}
        }
    }
    Some(event)
}

fn take_info<'a>(infos: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let [kind, _, low, high] = *infos.first_chunk::<INFO_HEADER_LEN>()?;
    let len = usize::from(u16::from_ne_bytes([low, high]));
    let (info, rest) = infos.split_at_checked(len)?;
    *infos = rest;
    Some((kind, info.get(INFO_HEADER_LEN..)?))
}

fn take_object(body: &[u8]) -> Option<(ObjectId<'_>, &[u8])> {
    let (fsid, rest) = body.split_first_chunk::<FSID_LEN>()?;
    let handle = Handle::parse(rest)?;
    Some((ObjectId { fsid: *fsid, handle }, rest.get(handle.as_bytes().len()..)?))
}

fn take_entry(body: &[u8]) -> Option<Entry<'_>> {
    let (dir, name) = take_object(body)?;
    let end = name.iter().position(|&b| b == 0).unwrap_or(name.len());
    Some(Entry { dir, name: &name[..end] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(kind: u8, body: &[u8]) -> Vec<u8> {
        let len = u16::try_from(INFO_HEADER_LEN + body.len()).unwrap();
        let mut out = vec![kind, 0];
        out.extend(len.to_ne_bytes());
        out.extend(body);
        out
    }

    fn object(ino: u8) -> Vec<u8> {
        let mut out = vec![9; FSID_LEN];
        out.extend(8u32.to_ne_bytes());
        out.extend(1i32.to_ne_bytes());
        out.extend([ino; 8]);
        out
    }

    fn entry(ino: u8, name: &[u8]) -> Vec<u8> {
        let mut out = object(ino);
        out.extend(name);
        out.push(0);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn event(mask: Mask, infos: &[Vec<u8>]) -> Vec<u8> {
        let infos = infos.concat();
        let mut out = u32::try_from(METADATA_LEN + infos.len()).unwrap().to_ne_bytes().to_vec();
        out.extend([3, 0]);
        out.extend(u16::try_from(METADATA_LEN).unwrap().to_ne_bytes());
        out.extend(mask.0.to_ne_bytes());
        out.extend((-1i32).to_ne_bytes());
        out.extend(77i32.to_ne_bytes());
        out.extend(infos);
        out
    }

    #[test]
    fn events_are_taken_one_by_one_and_unknown_information_is_skipped() {
        let created = Mask::CREATE.union(Mask::CLOSE_WRITE);
        let mut bytes = event(
            created,
            &[info(99, b"future"), info(2, &entry(5, b"name")), info(1, &object(6))],
        );
        bytes.extend(event(
            Mask::RENAME.union(Mask::ONDIR),
            &[info(10, &entry(5, b"a")), info(12, &entry(7, b"b")), info(1, &object(8))],
        ));
        bytes.extend(event(Mask::Q_OVERFLOW, &[]));
        let mut input = &bytes[..];
        let first = take_event(&mut input).unwrap();
        assert_eq!((first.mask, first.pid), (created, 77));
        assert_eq!(first.entry.unwrap().name, b"name");
        assert_eq!(first.object.unwrap().handle.as_bytes()[8..], [6; 8]);
        assert_eq!((first.from, first.to), (None, None));
        let second = take_event(&mut input).unwrap();
        assert_eq!(second.from.unwrap().name, b"a");
        assert_eq!(second.to.unwrap().name, b"b");
        assert_eq!(second.to.unwrap().dir.handle.as_bytes()[8..], [7; 8]);
        assert_eq!(second.entry, None);
        let third = take_event(&mut input).unwrap();
        assert_eq!(third, Event { mask: Mask::Q_OVERFLOW, pid: 77, ..Event::default() });
        assert_eq!(take_event(&mut input), None);
    }

    #[test]
    fn a_torn_event_is_the_end() {
        let bytes = event(Mask::CREATE, &[info(2, &entry(5, b"name"))]);
        for len in 0..bytes.len() {
            assert_eq!(take_event(&mut &bytes[..len]), None, "{len}");
        }
        let empty = [0; METADATA_LEN];
        assert_eq!(take_event(&mut &empty[..]), None, "one that is shorter than itself");
    }
}
