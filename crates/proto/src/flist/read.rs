//! Reads file lists.

use std::collections::HashMap;

use driftless_tree::flist::{DirFlags, Entry, HardLink};
use driftless_tree::path::printable;
use driftless_tree::{Kind, Timestamp};

use super::{ListOptions, MAX_NAME_LEN, Previous, acl, flags, xattr};
use crate::int::{
    take_byte, take_bytes, take_int, take_longint, take_short_name, take_varint, take_varint30,
    take_varlong, take_varlong30,
};
use crate::{Decode, Violation};

/// One step of a list.
#[allow(clippy::large_enum_variant, reason = "handed on one at a time, never collected")]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListItem {
    /// An entry, in transmission order.
    Entry(Entry),
    /// The end of the list.
    End {
        /// Bits 1 general, 2 vanished, 4 limit of deletions.
        io_error: u32,
    },
}

/// Reads the lists of one session, one after another.
#[derive(Debug)]
pub struct ListReader {
    options: ListOptions,
    previous: Previous,
    /// Number of the current list's first entry.
    first_ndx: u32,
    /// Entries of the current list so far.
    count: u32,
    /// First members of hard-link groups in the current list, by number in transmission order:
    /// later members in the same list have their metadata.
    groups: HashMap<u32, Entry>,
    acls: acl::Cache,
    xattr_sets: u32,
}

impl ListReader {
    /// At the start of the first list.
    pub fn new(options: ListOptions) -> Self {
        Self {
            first_ndx: options.first_ndx(),
            options,
            previous: Previous::default(),
            count: 0,
            groups: HashMap::new(),
            acls: acl::Cache::default(),
            xattr_sets: 0,
        }
    }

    /// The number of the current list's first entry; between lists: of the next one.
    pub fn first_ndx(&self) -> u32 {
        self.first_ndx
    }

    /// Takes an entry or the end of the current list.
    ///
    /// A [`HardLink::Follows`] whose number is below [`ListReader::first_ndx`] refers to an earlier
    /// list, which is not remembered here: the caller checks that it begins a group there.
    ///
    /// # Errors
    /// [`Decode::Incomplete`], or anything that no honest sender writes.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<ListItem, Decode> {
        let mut rest = *input;
        let item = match self.take_flags(&mut rest)? {
            Flags::End { io_error } => {
                self.start_next_list();
                ListItem::End { io_error }
            }
            Flags::Entry(bits) => ListItem::Entry(self.take_entry(&mut rest, bits)?),
        };
        *input = rest;
        Ok(item)
    }

    fn start_next_list(&mut self) {
        self.first_ndx = self.first_ndx.saturating_add(self.count).saturating_add(1);
        self.count = 0;
        self.groups.clear();
    }

    fn take_flags(&self, input: &mut &[u8]) -> Result<Flags, Decode> {
        let bits = if self.options.varint_flags() {
            match take_varint(input)? as u32 {
                0 => return Ok(Flags::End { io_error: take_io_error(input)? }),
                bits => bits,
            }
        } else {
            let bits = u32::from(take_byte(input)?);
            if bits == 0 {
                return Ok(Flags::End { io_error: 0 });
            }
            let high = if bits & flags::EXTENDED != 0 { take_byte(input)? } else { 0 };
            match bits | u32::from(high) << 8 {
                flags::IO_ERROR_END if self.options.safe_end() => {
                    return Ok(Flags::End { io_error: take_io_error(input)? });
                }
                bits => bits,
            }
        };
        let has = |bit| bits & bit != 0;
        let contradiction = has(!flags::KNOWN)
            || has(flags::HLINKED) && !self.options.hard_links
            || has(flags::MOD_NSEC) && self.options.protocol < 31;
        if contradiction { Err(Violation::EntryFlags(bits).into()) } else { Ok(Flags::Entry(bits)) }
    }

    fn take_entry(&mut self, input: &mut &[u8], bits: u32) -> Result<Entry, Decode> {
        let (mut acls, mut xattr_sets) = (self.acls, self.xattr_sets);
        let name = self.take_name(input, bits)?;
        let link = self.take_link(input, bits)?;
        let first = match link {
            Some(HardLink::Follows { ndx }) if ndx >= self.first_ndx => {
                Some(self.groups.get(&ndx).ok_or(Violation::HardLink(i64::from(ndx)))?)
            }
            _ => None,
        };
        let mut entry = match first {
            Some(first) => follower(first),
            None => self.take_metadata(input, bits)?,
        };
        check_name(&name, entry.kind(), self.options.relative)?;
        entry.name = name;
        entry.hard_link = link.or(entry.hard_link);
        let is_dir = entry.kind() == Some(Kind::Dir);
        if is_dir && bits & flags::HLINKED != 0 {
            return Err(Violation::EntryFlags(bits).into());
        }
        if self.options.acls && entry.kind() != Some(Kind::Symlink) {
            entry.acl = Some(Box::new(acl::take(input, is_dir, &mut acls)?));
        }
        if self.options.xattrs {
            entry.xattrs = Some(Box::new(xattr::take(input, &mut xattr_sets)?));
        }
        (self.acls, self.xattr_sets) = (acls, xattr_sets);
        self.remember(&entry);
        Ok(entry)
    }

    fn take_name(&self, input: &mut &[u8], bits: u32) -> Result<Box<[u8]>, Decode> {
        let has = |bit| bits & bit != 0;
        let shared = if has(flags::SAME_NAME) { usize::from(take_byte(input)?) } else { 0 };
        let suffix_len = match has(flags::LONG_NAME) {
            true => i64::from(take_varint30(input, self.options.protocol)?),
            false => i64::from(take_byte(input)?),
        };
        let too_long = |len| Violation::TooLong { what: "name", len, limit: MAX_NAME_LEN as u64 };
        let room = MAX_NAME_LEN - shared;
        let fits = usize::try_from(suffix_len).ok().filter(|&len| len <= room);
        let suffix_len = fits.ok_or(too_long(suffix_len.unsigned_abs() + shared as u64))?;
        let suffix = take_bytes(input, suffix_len)?;
        let prefix = self.previous.name.get(..shared);
        let prefix = prefix
            .ok_or(Violation::Number { what: "length of a shared prefix", value: shared as i64 })?;
        Ok([prefix, suffix].concat().into())
    }

    /// Takes what stands between name and metadata about hard links.
    fn take_link(&self, input: &mut &[u8], bits: u32) -> Result<Option<HardLink>, Decode> {
        if self.options.protocol < 30 || bits & flags::HLINKED == 0 {
            return Ok(None);
        }
        if bits & flags::HLINK_FIRST != 0 {
            return Ok(Some(HardLink::First));
        }
        let ndx = take_varint(input)?;
        let own = u64::from(self.first_ndx) + u64::from(self.count);
        match u32::try_from(ndx) {
            Ok(ndx) if u64::from(ndx) < own => Ok(Some(HardLink::Follows { ndx })),
            _ => Err(Violation::HardLink(i64::from(ndx)).into()),
        }
    }

    /// Takes size, times, mode, ids and what the type of file brings along.
    fn take_metadata(&self, input: &mut &[u8], bits: u32) -> Result<Entry, Decode> {
        let ListOptions { protocol, .. } = self.options;
        let previous = &self.previous;
        let has = |bit| bits & bit != 0;
        let size = take_varlong30(input, 3, protocol)?;
        let mut entry = Entry {
            size: u64::try_from(size).map_err(|_| Violation::Size(size))?,
            ..Entry::default()
        };
        entry.mtime.secs = match protocol {
            _ if has(flags::SAME_TIME) => previous.mtime,
            ..30 => i64::from(take_int(input)? as u32),
            _ => take_varlong(input, 4)?,
        };
        if has(flags::MOD_NSEC) {
            entry.mtime = Timestamp { nanos: take_nanos(input)?, ..entry.mtime };
        }
        entry.mode = if has(flags::SAME_MODE) { previous.mode } else { take_int(input)? as u32 };
        let kind = self.checked_kind(entry.mode)?;
        if self.options.atimes && kind != Some(Kind::Dir) {
            let same = has(flags::SAME_ATIME);
            entry.atime = Some(if same { previous.atime } else { take_varlong(input, 4)? });
        }
        entry.uid = previous.uid;
        if self.options.owner && !has(flags::SAME_UID) {
            let named = protocol >= 30 && has(flags::USER_NAME_FOLLOWS);
            (entry.uid, entry.user) = take_id(input, named, protocol)?;
        }
        entry.gid = previous.gid;
        if self.options.group && !has(flags::SAME_GID) {
            let named = protocol >= 30 && has(flags::GROUP_NAME_FOLLOWS);
            (entry.gid, entry.group) = take_id(input, named, protocol)?;
        }
        self.take_by_kind(input, bits, &mut entry, kind)?;
        Ok(entry)
    }

    fn take_by_kind(
        &self,
        input: &mut &[u8],
        bits: u32,
        entry: &mut Entry,
        kind: Option<Kind>,
    ) -> Result<(), Decode> {
        let has = |bit| bits & bit != 0;
        let protocol = self.options.protocol;
        if kind == Some(Kind::Dir) {
            let no_content = protocol >= 30 && has(flags::NO_CONTENT_DIR);
            entry.dir = DirFlags { top: has(flags::TOP_DIR), no_content };
        }
        if self.options.carries_rdev(kind) {
            entry.rdev = self.take_rdev(input, bits)?;
        }
        if self.options.links && kind == Some(Kind::Symlink) {
            entry.link_target = take_link_target(input, protocol)?;
        }
        if has(flags::HLINKED) && protocol < 30 {
            let same = has(flags::SAME_DEV);
            let dev = if same { self.previous.dev } else { take_longint(input)? as u64 };
            entry.hard_link = Some(HardLink::Inode { dev, ino: take_longint(input)? as u64 });
        }
        if let Some(len) = self.options.checksum_len.filter(|_| kind == Some(Kind::File)) {
            entry.checksum = take_bytes(input, len)?.into();
        }
        Ok(())
    }

    fn checked_kind(&self, mode: u32) -> Result<Option<Kind>, Violation> {
        match Kind::of_mode(mode) {
            kind @ Some(_) if mode <= 0o177_777 => Ok(kind),
            _ if mode == 0 && self.options.missing_args => Ok(None),
            _ => Err(Violation::Mode(mode)),
        }
    }

    fn take_rdev(&self, input: &mut &[u8], bits: u32) -> Result<(u32, u32), Decode> {
        let protocol = self.options.protocol;
        let major = match bits & flags::SAME_RDEV_MAJOR {
            0 => take_varint30(input, protocol)? as u32,
            _ => self.previous.rdev_major,
        };
        let minor = match protocol {
            30.. => take_varint(input)? as u32,
            _ if bits & flags::RDEV_MINOR_8 != 0 => u32::from(take_byte(input)?),
            _ => take_int(input)? as u32,
        };
        Ok((major, minor))
    }

    fn remember(&mut self, entry: &Entry) {
        let previous = &mut self.previous;
        previous.name.clear();
        previous.name.extend_from_slice(&entry.name);
        previous.mode = entry.mode;
        previous.mtime = entry.mtime.secs;
        previous.atime = entry.atime.unwrap_or(previous.atime);
        previous.uid = entry.uid;
        previous.gid = entry.gid;
        if self.options.carries_rdev(entry.kind()) {
            previous.rdev_major = entry.rdev.0;
        }
        match entry.hard_link {
            Some(HardLink::Inode { dev, .. }) => previous.dev = dev,
            Some(HardLink::First) => {
                self.groups.insert(self.first_ndx.saturating_add(self.count), entry.clone());
            }
            Some(HardLink::Follows { .. }) | None => {}
        }
        self.count = self.count.saturating_add(1);
    }
}

enum Flags {
    Entry(u32),
    End { io_error: u32 },
}

fn take_io_error(input: &mut &[u8]) -> Result<u32, Decode> {
    // The other bits have no meaning.
    take_varint(input).map(|bits| bits as u32 & 7)
}

fn take_nanos(input: &mut &[u8]) -> Result<u32, Decode> {
    let value = take_varint(input)?;
    let nanos = u32::try_from(value).ok().filter(|&nanos| nanos <= 999_999_999);
    let wrong = Violation::Number { what: "number of nanoseconds", value: i64::from(value) };
    Ok(nanos.ok_or(wrong)?)
}

type NamedId = (u32, Option<Box<[u8]>>);

fn take_id(input: &mut &[u8], named: bool, protocol: u8) -> Result<NamedId, Decode> {
    let id = take_varint30(input, protocol)? as u32;
    let name = named.then(|| take_short_name(input)).transpose()?;
    Ok((id, name.map(Into::into)))
}

fn take_link_target(input: &mut &[u8], protocol: u8) -> Result<Box<[u8]>, Decode> {
    let len = i64::from(take_varint30(input, protocol)?);
    let fits = usize::try_from(len).ok().filter(|&len| len <= MAX_NAME_LEN);
    let (what, limit) = ("text of a symbolic link", MAX_NAME_LEN as u64);
    let len = fits.ok_or(Violation::TooLong { what, len: len.unsigned_abs(), limit })?;
    let target = take_bytes(input, len)?;
    if target.contains(&0) {
        return Err(Violation::Name(printable(target)).into());
    }
    Ok(target.into())
}

/// A later member of a group: everything that belongs to the inode is the first member's.
fn follower(first: &Entry) -> Entry {
    Entry { user: None, group: None, acl: None, xattrs: None, hard_link: None, ..first.clone() }
}

/// Lets pass only names below the transfer root; protocol reference, section "What a robust peer
/// must reject".
fn check_name(name: &[u8], kind: Option<Kind>, relative: bool) -> Result<(), Violation> {
    let unsafe_name = || Violation::Name(printable(name));
    let inside = match name.strip_prefix(b"/") {
        Some(inside) if relative => inside,
        Some(_) => return Err(unsafe_name()),
        None => name,
    };
    if inside.contains(&0) {
        return Err(unsafe_name());
    }
    let mut components = inside.split(|&b| b == b'/').peekable();
    while let Some(component) = components.next() {
        let last = components.peek().is_none();
        match component {
            b"" | b".." => return Err(unsafe_name()),
            b"." if !last => return Err(unsafe_name()),
            b"." if kind != Some(Kind::Dir) => {
                return Err(Violation::DotIsNoDirectory(printable(name)));
            }
            _ => {}
        }
    }
    Ok(())
}
