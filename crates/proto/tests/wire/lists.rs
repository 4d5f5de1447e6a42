//! Random file lists that a sender with random options could send.

use driftless_proto::flist::ListOptions;
use driftless_proto::setup::CompatFlags;
use driftless_tree::flist::{
    Acl, AclEntry, Acls, Cached, DirFlags, Entry, HardLink, XattrValue, Xattrs,
};
use driftless_tree::{Kind, Timestamp};

/// A small generator, so that one number names a whole session.
pub struct Dice(pub u64);

impl Dice {
    fn any(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed ^ mixed >> 27
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.any() % limit
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    /// Numbers of all magnitudes.
    fn wide(&mut self) -> u64 {
        let bits = self.below(64);
        self.any() >> bits
    }

    fn bytes(&mut self, len: u64) -> Box<[u8]> {
        (0..len).map(|_| 1 + self.below(255) as u8).collect()
    }
}

pub fn options(dice: &mut Dice) -> ListOptions {
    let protocol = 29 + dice.below(4) as u8;
    let compat = if protocol < 30 { 0 } else { dice.below(0x200) as u32 };
    let mut flip = || dice.one_in(2);
    ListOptions {
        protocol,
        compat: CompatFlags(compat),
        owner: flip(),
        group: flip(),
        devices: flip(),
        specials: flip(),
        links: flip(),
        hard_links: flip(),
        atimes: protocol >= 30 && flip(),
        checksum_len: flip().then_some(16),
        acls: protocol >= 30 && flip(),
        xattrs: protocol >= 30 && flip(),
        numeric_ids: flip(),
        relative: false,
        missing_args: flip(),
    }
}

/// What the entries so far leave behind.
#[derive(Default)]
pub struct Sent {
    uid: Option<u32>,
    gid: Option<u32>,
    firsts: Vec<(u32, Entry)>,
    access_acls: u64,
    default_acls: u64,
    xattr_sets: u64,
}

/// An entry with number `ndx` in a list that starts at `first_ndx`, holding exactly what a session
/// with these options carries.
pub fn entry(
    dice: &mut Dice,
    options: &ListOptions,
    sent: &mut Sent,
    ndx: u32,
    first_ndx: u32,
) -> Entry {
    let mut entry = metadata(dice, options, sent);
    if options.hard_links && options.protocol >= 30 && entry.kind() != Some(Kind::Dir) {
        link(dice, &mut entry, sent, first_ndx);
    }
    entry.name = name(dice);
    (sent.uid, sent.gid) = (Some(entry.uid), Some(entry.gid));
    if entry.hard_link == Some(HardLink::First) {
        sent.firsts.push((ndx, entry.clone()));
    }
    attributes(dice, options, sent, &mut entry);
    entry
}

fn name(dice: &mut Dice) -> Box<[u8]> {
    let words = ["a", "b", "dir", "dir.x", "file", "x y", "\u{e9}", "..."];
    let depth = 1 + dice.below(4);
    let mut parts: Vec<Vec<u8>> = (0..depth)
        .map(|_| words[dice.below(words.len() as u64) as usize].as_bytes().to_vec())
        .collect();
    if dice.one_in(10) {
        parts.push(vec![b'L'; 1 + dice.below(700) as usize]);
    }
    parts.join(&b'/').into()
}

fn metadata(dice: &mut Dice, options: &ListOptions, sent: &Sent) -> Entry {
    let modern = options.protocol >= 30;
    let kinds = [
        0o100_000, 0o100_000, 0o100_000, 0o040_000, 0o120_000, 0o020_000, 0o060_000, 0o010_000,
        0o140_000,
    ];
    // Below protocol 31 fifos and sockets carry a number without meaning.
    let kind_count = if options.protocol < 31 { 7 } else { 9 };
    let mut mode = kinds[dice.below(kind_count) as usize] | [0o644, 0o755][dice.below(2) as usize];
    if options.missing_args && dice.one_in(10) {
        mode = 0;
    }
    let kind = Kind::of_mode(mode);
    let secs = match dice.below(3) {
        0 => 1_700_000_000,
        _ if !modern => dice.wide() as u32 as i64,
        _ => dice.wide() as i64,
    };
    let nanos = if options.protocol >= 31 { dice.below(3) as u32 * 333_333_333 } else { 0 };
    let mut entry = Entry {
        mode,
        size: dice.wide() >> 1,
        mtime: Timestamp { secs, nanos },
        ..Entry::default()
    };
    if options.atimes && kind != Some(Kind::Dir) {
        entry.atime = Some(if dice.one_in(2) { 5 } else { dice.wide() as i64 });
    }
    (entry.uid, entry.user) = id(dice, options.owner, modern, sent.uid);
    (entry.gid, entry.group) = id(dice, options.group, modern, sent.gid);
    if options.devices && kind.is_some_and(Kind::is_device) {
        entry.rdev = (dice.below(3) as u32, dice.wide() as u32);
    }
    if options.links && kind == Some(Kind::Symlink) {
        let len = dice.below(40);
        entry.link_target = dice.bytes(len);
    }
    if kind == Some(Kind::Dir) {
        entry.dir = DirFlags { top: dice.one_in(2), no_content: modern && dice.one_in(2) };
    } else if options.hard_links && !modern && dice.one_in(2) {
        entry.hard_link = Some(HardLink::Inode { dev: dice.below(3), ino: dice.wide() });
    }
    if let Some(len) = options.checksum_len.filter(|_| kind == Some(Kind::File)) {
        entry.checksum = dice.bytes(len as u64);
    }
    entry
}

fn id(
    dice: &mut Dice,
    carried: bool,
    modern: bool,
    previous: Option<u32>,
) -> (u32, Option<Box<[u8]>>) {
    if !carried {
        return (0, None);
    }
    let id = if dice.one_in(2) { dice.below(3) as u32 } else { dice.any() as u32 };
    // A name travels only where the id itself does.
    let named = modern && previous != Some(id) && dice.one_in(3);
    let len = dice.below(255);
    (id, named.then(|| dice.bytes(len)))
}

fn link(dice: &mut Dice, entry: &mut Entry, sent: &Sent, first_ndx: u32) {
    match dice.below(3) {
        0 => entry.hard_link = Some(HardLink::First),
        1 if !sent.firsts.is_empty() => {
            let (ndx, first) = &sent.firsts[dice.below(sent.firsts.len() as u64) as usize];
            if *ndx >= first_ndx {
                *entry = Entry { user: None, group: None, ..first.clone() };
            }
            entry.hard_link = Some(HardLink::Follows { ndx: *ndx });
        }
        _ => {}
    }
}

fn attributes(dice: &mut Dice, options: &ListOptions, sent: &mut Sent, entry: &mut Entry) {
    if options.acls && entry.kind() != Some(Kind::Symlink) {
        let access = cached(dice, &mut sent.access_acls, acl);
        let is_dir = entry.kind() == Some(Kind::Dir);
        let default = is_dir.then(|| cached(dice, &mut sent.default_acls, acl));
        entry.acl = Some(Box::new(Acls { access, default }));
    }
    if options.xattrs {
        let xattrs: Xattrs = cached(dice, &mut sent.xattr_sets, xattr_set);
        entry.xattrs = Some(Box::new(xattrs));
    }
}

fn cached<T>(dice: &mut Dice, sent: &mut u64, make: impl Fn(&mut Dice) -> T) -> Cached<T> {
    if *sent > 0 && dice.one_in(2) {
        return Cached::Index(dice.below(*sent) as u32);
    }
    *sent += 1;
    Cached::Literal(make(dice))
}

fn acl(dice: &mut Dice) -> Acl {
    let mut perms = || dice.one_in(2).then(|| dice.below(8) as u8);
    let (user_obj, group_obj, mask, other) = (perms(), perms(), perms(), perms());
    let named = dice.one_in(2).then(|| {
        let entry = |dice: &mut Dice| AclEntry {
            id: dice.wide() as u32,
            is_user: dice.one_in(2),
            perms: dice.below(8) as u8,
            name: dice.one_in(2).then(|| dice.bytes(5)),
        };
        (0..dice.below(4)).map(|_| entry(dice)).collect()
    });
    Acl { user_obj, group_obj, mask, other, named }
}

fn xattr_set(dice: &mut Dice) -> Vec<(Box<[u8]>, XattrValue)> {
    let value = |dice: &mut Dice| match dice.below(2) {
        0 => {
            let len = dice.below(33);
            XattrValue::Full(dice.bytes(len))
        }
        _ => XattrValue::Digest { len: 33 + dice.below(1 << 20) as u32, md5: [7; 16] },
    };
    (0..dice.below(3))
        .map(|_| {
            let len = 1 + dice.below(20);
            (dice.bytes(len), value(dice))
        })
        .collect()
}
