//! Writes file lists.

use std::collections::HashMap;

use driftless_tree::Kind;
use driftless_tree::flist::{Entry, HardLink};

use super::{ListOptions, MAX_NAME_LEN, Previous, acl, flags, xattr};
use crate::int::{
    put_int, put_longint, put_short, put_short_name, put_varint, put_varint30, put_varlong,
    put_varlong30,
};

/// Writes the lists of one session, one after another.
#[derive(Debug)]
pub struct ListWriter {
    options: ListOptions,
    previous: Previous,
    /// Number of the current list's first entry.
    first_ndx: u32,
    /// Entries of the current list so far.
    count: u32,
    /// What was sent of the entries of the current list that begin a hard-link group, by number.
    groups: HashMap<u32, Sent>,
}

/// What the next entry of a list may be told to have in common with this one.
#[derive(Debug, Clone, Copy)]
struct Sent {
    mode: u32,
    mtime: i64,
    atime: i64,
    uid: u32,
    gid: u32,
    rdev_major: u32,
}

impl ListWriter {
    /// At the start of the first list.
    pub fn new(options: ListOptions) -> Self {
        let first_ndx = options.first_ndx();
        Self { options, previous: Previous::default(), first_ndx, count: 0, groups: HashMap::new() }
    }

    /// The number of the current list's first entry; a hard-link reference of an entry is this
    /// plus a position in transmission order. Between lists: of the next one.
    pub fn first_ndx(&self) -> u32 {
        self.first_ndx
    }

    /// Writes an entry. Names of ids travel inside it where [`Entry::user`] and [`Entry::group`]
    /// have them, which is right only with incremental recursion and at the id's first use.
    ///
    /// # Panics
    /// When the name is longer than 4095 bytes.
    pub fn entry(&mut self, entry: &Entry, out: &mut Vec<u8>) {
        assert!(entry.name.len() <= MAX_NAME_LEN, "names in a file list are bounded");
        let shared = shared_prefix(&self.previous.name, &entry.name);
        let suffix = entry.name.get(shared..).unwrap_or_default();
        let bits = self.flags(entry, shared, suffix.len());
        self.put_flags(out, bits, entry);
        self.put_name(out, bits, shared, suffix);
        if !self.put_reference(out, entry) {
            self.put_metadata(out, bits, entry);
        }
        self.put_attributes(out, entry);
        self.remember(entry, shared);
        self.count += 1;
    }

    /// Ends the current list. `io_error` are the bits 1 general, 2 vanished, 4 limit of deletions.
    pub fn end(&mut self, io_error: u32, out: &mut Vec<u8>) {
        if self.options.varint_flags() {
            out.push(0);
            put_varint(out, io_error as i32);
        } else if io_error != 0 && self.options.safe_end() {
            put_short(out, flags::IO_ERROR_END as u16);
            put_varint(out, io_error as i32);
        } else {
            out.push(0);
        }
        // One number stays free between lists: it denotes the directory of the next one.
        self.first_ndx += self.count + 1;
        self.count = 0;
        self.groups.clear();
    }

    fn flags(&self, entry: &Entry, shared: usize, suffix_len: usize) -> u32 {
        let mut bits = self.kind_flags(entry) | self.id_flags(entry);
        let mut set = |bit, when| bits |= if when { bit } else { 0 };
        let previous = &self.previous;
        set(flags::SAME_MODE, entry.mode == previous.mode);
        set(flags::SAME_TIME, entry.mtime.secs == previous.mtime);
        set(flags::MOD_NSEC, entry.mtime.nanos != 0 && self.options.protocol >= 31);
        set(flags::SAME_NAME, shared > 0);
        set(flags::LONG_NAME, suffix_len > 255);
        if self.options.atimes && entry.kind() != Some(Kind::Dir) {
            set(flags::SAME_ATIME, entry.atime.unwrap_or(0) == previous.atime);
        }
        bits
    }

    fn kind_flags(&self, entry: &Entry) -> u32 {
        let mut bits = 0;
        let mut set = |bit, when| bits |= if when { bit } else { 0 };
        let modern = self.options.protocol >= 30;
        if entry.kind() == Some(Kind::Dir) {
            // Old peers know no other mark: where it stands, names may be deleted.
            set(flags::TOP_DIR, entry.dir.top && (modern || !entry.dir.no_content));
            set(flags::NO_CONTENT_DIR, entry.dir.no_content && modern);
        } else if self.options.carries_rdev(entry.kind()) {
            let (major, minor) = self.rdev(entry);
            set(flags::SAME_RDEV_MAJOR, major == self.previous.rdev_major);
            set(flags::RDEV_MINOR_8, minor <= 0xff && !modern);
        }
        match self.hard_link(entry) {
            None => {}
            Some(HardLink::First) => bits |= flags::HLINKED | flags::HLINK_FIRST,
            Some(HardLink::Follows { .. }) => bits |= flags::HLINKED,
            Some(HardLink::Inode { dev, .. }) => {
                bits |= flags::HLINKED;
                bits |= if dev == self.previous.dev { flags::SAME_DEV } else { 0 };
            }
        }
        bits
    }

    fn id_flags(&self, entry: &Entry) -> u32 {
        let ListOptions { owner, group, protocol, .. } = self.options;
        // Before the first entry there is no id to be the same as.
        let begun = !self.previous.name.is_empty();
        let mut bits = 0;
        if !owner || begun && entry.uid == self.previous.uid {
            bits |= flags::SAME_UID;
        } else if entry.user.is_some() && protocol >= 30 {
            bits |= flags::USER_NAME_FOLLOWS;
        }
        if !group || begun && entry.gid == self.previous.gid {
            bits |= flags::SAME_GID;
        } else if entry.group.is_some() && protocol >= 30 {
            bits |= flags::GROUP_NAME_FOLLOWS;
        }
        bits
    }

    /// What goes on the wire as hard-link data; a link of the other protocol's kind does not.
    fn hard_link(&self, entry: &Entry) -> Option<HardLink> {
        let modern = self.options.protocol >= 30;
        let fits = |link: &HardLink| matches!(link, HardLink::Inode { .. }) != modern;
        let link = if self.options.hard_links { entry.hard_link } else { None };
        link.filter(fits).filter(|_| entry.kind() != Some(Kind::Dir))
    }

    /// Device numbers; of fifos and sockets a dummy that costs least.
    fn rdev(&self, entry: &Entry) -> (u32, u32) {
        match entry.kind() {
            Some(kind) if kind.is_special() => (self.previous.rdev_major, 0),
            _ => entry.rdev,
        }
    }

    fn put_flags(&self, out: &mut Vec<u8>, mut bits: u32, entry: &Entry) {
        if self.options.varint_flags() {
            // Zero would end the list.
            return put_varint(out, if bits == 0 { flags::EXTENDED } else { bits } as i32);
        }
        if bits == 0 && entry.kind() != Some(Kind::Dir) {
            bits = flags::TOP_DIR;
        }
        if bits & 0xff00 != 0 || bits == 0 {
            put_short(out, (bits | flags::EXTENDED) as u16);
        } else {
            out.push(bits as u8);
        }
    }

    fn put_name(&self, out: &mut Vec<u8>, bits: u32, shared: usize, suffix: &[u8]) {
        if bits & flags::SAME_NAME != 0 {
            out.push(shared as u8);
        }
        if bits & flags::LONG_NAME != 0 {
            put_varint30(out, suffix.len() as i32, self.options.protocol);
        } else {
            out.push(suffix.len() as u8);
        }
        out.extend_from_slice(suffix);
    }

    /// Writes a reference to the group's first entry; true when the metadata is that entry's.
    fn put_reference(&self, out: &mut Vec<u8>, entry: &Entry) -> bool {
        match self.hard_link(entry) {
            Some(HardLink::Follows { ndx }) => {
                put_varint(out, ndx as i32);
                ndx >= self.first_ndx
            }
            _ => false,
        }
    }

    /// What the entry counts as for the next one. An abbreviated one counts as the first of its
    /// group, from which the reader took everything: its own may be a later look at the inode.
    fn sent(&mut self, entry: &Entry, link: Option<HardLink>) -> Sent {
        let own = Sent {
            mode: entry.mode,
            mtime: entry.mtime.secs,
            atime: entry.atime.unwrap_or(0),
            uid: entry.uid,
            gid: entry.gid,
            rdev_major: self.rdev(entry).0,
        };
        match link {
            Some(HardLink::First) => {
                self.groups.insert(self.first_ndx + self.count, own);
                own
            }
            Some(HardLink::Follows { ndx }) => self.groups.get(&ndx).copied().unwrap_or(own),
            Some(HardLink::Inode { .. }) | None => own,
        }
    }

    fn put_metadata(&self, out: &mut Vec<u8>, bits: u32, entry: &Entry) {
        let protocol = self.options.protocol;
        let absent = |bit| bits & bit == 0;
        put_varlong30(out, entry.size as i64, 3, protocol);
        if absent(flags::SAME_TIME) {
            match protocol {
                ..30 => put_int(out, entry.mtime.secs as i32),
                _ => put_varlong(out, entry.mtime.secs, 4),
            }
        }
        if !absent(flags::MOD_NSEC) {
            put_varint(out, entry.mtime.nanos as i32);
        }
        if absent(flags::SAME_MODE) {
            put_int(out, entry.mode as i32);
        }
        let kind = entry.kind();
        if self.options.atimes && kind != Some(Kind::Dir) && absent(flags::SAME_ATIME) {
            put_varlong(out, entry.atime.unwrap_or(0), 4);
        }
        if absent(flags::SAME_UID) {
            let name = entry.user.as_deref().filter(|_| !absent(flags::USER_NAME_FOLLOWS));
            put_id(out, entry.uid, name, protocol);
        }
        if absent(flags::SAME_GID) {
            let name = entry.group.as_deref().filter(|_| !absent(flags::GROUP_NAME_FOLLOWS));
            put_id(out, entry.gid, name, protocol);
        }
        if self.options.carries_rdev(kind) {
            self.put_rdev(out, bits, entry);
        }
        if self.options.links && kind == Some(Kind::Symlink) {
            put_varint30(out, entry.link_target.len() as i32, protocol);
            out.extend_from_slice(&entry.link_target);
        }
        if let Some(HardLink::Inode { dev, ino }) = self.hard_link(entry) {
            if absent(flags::SAME_DEV) {
                put_longint(out, dev as i64);
            }
            put_longint(out, ino as i64);
        }
        if let Some(len) = self.options.checksum_len.filter(|_| kind == Some(Kind::File)) {
            let end = out.len() + len;
            out.extend_from_slice(entry.checksum.get(..len).unwrap_or(&entry.checksum));
            out.resize(end, 0);
        }
    }

    fn put_rdev(&self, out: &mut Vec<u8>, bits: u32, entry: &Entry) {
        let (major, minor) = self.rdev(entry);
        let protocol = self.options.protocol;
        if bits & flags::SAME_RDEV_MAJOR == 0 {
            put_varint30(out, major as i32, protocol);
        }
        if protocol >= 30 {
            put_varint(out, minor as i32);
        } else if bits & flags::RDEV_MINOR_8 != 0 {
            out.push(minor as u8);
        } else {
            put_int(out, minor as i32);
        }
    }

    fn put_attributes(&self, out: &mut Vec<u8>, entry: &Entry) {
        if self.options.acls && entry.kind() != Some(Kind::Symlink) {
            acl::put(out, entry.acl.as_deref(), entry.kind() == Some(Kind::Dir));
        }
        if self.options.xattrs {
            xattr::put(out, entry.xattrs.as_deref());
        }
    }

    fn remember(&mut self, entry: &Entry, shared: usize) {
        let link = self.hard_link(entry);
        let sent = self.sent(entry, link);
        let previous = &mut self.previous;
        previous.name.truncate(shared);
        previous.name.extend_from_slice(entry.name.get(shared..).unwrap_or_default());
        previous.mode = sent.mode;
        previous.mtime = sent.mtime;
        if self.options.atimes && entry.kind() != Some(Kind::Dir) {
            previous.atime = sent.atime;
        }
        if self.options.owner {
            previous.uid = sent.uid;
        }
        if self.options.group {
            previous.gid = sent.gid;
        }
        if self.options.carries_rdev(entry.kind()) {
            previous.rdev_major = sent.rdev_major;
        }
        if let Some(HardLink::Inode { dev, .. }) = link {
            previous.dev = dev;
        }
    }
}

fn put_id(out: &mut Vec<u8>, id: u32, name: Option<&[u8]>, protocol: u8) {
    put_varint30(out, id as i32, protocol);
    if let Some(name) = name {
        put_short_name(out, name);
    }
}

/// Bytes that two names share at their start, as far as one byte can say.
fn shared_prefix(previous: &[u8], name: &[u8]) -> usize {
    previous.iter().zip(name).take(255).take_while(|(a, b)| a == b).count()
}
