//! Entries of a file list, and the order that both ends of a transfer sort them in.
//!
//! Numbers on the wire refer to the sorted list, so sender and receiving side must sort alike.

use std::cmp::Ordering;

use crate::entry::{Kind, Timestamp};

/// Whether, and how far, the receiving side looks into a directory of the list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct DirFlags {
    /// A top-level argument; with `no_content` an implied parent directory.
    pub top: bool,
    /// The list does not hold the directory's content, so nothing in it may be deleted as unlisted.
    pub no_content: bool,
}

/// Membership of a hard-link group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HardLink {
    /// The first entry of its group in transmission order.
    First,
    /// A later member: `ndx` is the number of the group's first entry, counted in transmission
    /// order from the first number of that entry's list.
    Follows {
        /// See above.
        ndx: u32,
    },
    /// Protocol 29: the group is named by device and inode.
    Inode {
        /// Device number plus one.
        dev: u64,
        /// Inode number.
        ino: u64,
    },
}

/// One line of a file list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Entry {
    /// Path relative to the transfer root, `.` for the root itself.
    pub name: Box<[u8]>,
    /// Type and permission bits; 0 means "an argument that does not exist: delete it".
    pub mode: u32,
    /// Bytes.
    pub size: u64,
    /// Last change of content.
    pub mtime: Timestamp,
    /// Last access, when the session carries it.
    pub atime: Option<i64>,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Owner's name, when it travels inside the entry.
    pub user: Option<Box<[u8]>>,
    /// Group's name, when it travels inside the entry.
    pub group: Option<Box<[u8]>>,
    /// Major and minor device numbers.
    pub rdev: (u32, u32),
    /// Text of a symbolic link.
    pub link_target: Box<[u8]>,
    /// Hard-link group.
    pub hard_link: Option<HardLink>,
    /// For directories.
    pub dir: DirFlags,
    /// Unseeded digest of the whole file, when the session carries it.
    pub checksum: Box<[u8]>,
    /// Access and default ACL, when the session carries them.
    pub acl: Option<Box<Acls>>,
    /// Extended attributes, when the session carries them.
    pub xattrs: Option<Box<Xattrs>>,
    /// The file on this machine that the entry describes exactly. Does not travel.
    pub origin: Option<Origin>,
}

/// What tells a version of a file from others of the same size and mtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Device of the file system.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Last change of content or attributes.
    pub ctime: Timestamp,
}

impl Entry {
    /// The type; `None` for a missing argument.
    pub fn kind(&self) -> Option<Kind> {
        Kind::of_mode(self.mode)
    }
}

/// A list's reference to something sent before, or the thing itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cached<T> {
    /// Number of an earlier one, from 0.
    Index(u32),
    /// Sent here for the first time.
    Literal(T),
}

/// One ACL as it travels.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Acl {
    /// Permission bits of the owner's entry, when sent.
    pub user_obj: Option<u8>,
    /// Of the owning group's entry.
    pub group_obj: Option<u8>,
    /// Of the mask.
    pub mask: Option<u8>,
    /// Of everyone else.
    pub other: Option<u8>,
    /// Named users and groups. `None`: the flag for named entries is absent.
    pub named: Option<Vec<AclEntry>>,
}

/// A named entry of an [`Acl`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AclEntry {
    /// User or group id.
    pub id: u32,
    /// A user's, else a group's.
    pub is_user: bool,
    /// Permission bits, 0..=7.
    pub perms: u8,
    /// The id's name, when it travels inside.
    pub name: Option<Box<[u8]>>,
}

/// The ACLs of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acls {
    /// Of the entry itself.
    pub access: Cached<Acl>,
    /// What new files in a directory get; directories only.
    pub default: Option<Cached<Acl>>,
}

/// The value of an extended attribute in a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum XattrValue {
    /// Short values travel whole.
    Full(Box<[u8]>),
    /// Longer ones as length and MD5.
    Digest {
        /// Bytes of the value.
        len: u32,
        /// Its MD5.
        md5: [u8; 16],
    },
}

/// The extended attributes of one entry: names (without NUL) and values.
pub type Xattrs = Cached<Vec<(Box<[u8]>, XattrValue)>>;

/// Orders two entries as rsync protocol 29 and later does: component by component; where the
/// components differ in kind, plain names before directories; a directory compares as if its name
/// ended in `/`; the directory `.` is an empty component.
///
/// A component is "directory-like" when it is not the last one or the entry is a directory.
pub fn compare(a: &Entry, b: &Entry) -> Ordering {
    compare_names(&a.name, a.kind() == Some(Kind::Dir), &b.name, b.kind() == Some(Kind::Dir))
}

/// As [`compare`], on names; `a_dir` and `b_dir` say whether they name directories.
pub fn compare_names(a: &[u8], a_dir: bool, b: &[u8], b_dir: bool) -> Ordering {
    let mut left = Components::new(a, a_dir);
    let mut right = Components::new(b, b_dir);
    if let (Some(x), Some(y)) = (left.rest, right.rest) {
        // Directories that both are in make no difference.
        let shared = x.iter().zip(y).take_while(|(p, q)| p == q).count();
        let inside = x[..shared].iter().rposition(|&byte| byte == b'/').map_or(0, |at| at + 1);
        (left.rest, right.rest) = (Some(&x[inside..]), Some(&y[inside..]));
    }
    loop {
        let (x, y) = match (left.next(), right.next()) {
            (None, None) => return Ordering::Equal,
            (None, Some(_)) => return Ordering::Less,
            (Some(_), None) => return Ordering::Greater,
            (Some(x), Some(y)) => (x, y),
        };
        let by_kind = x.dir_like.cmp(&y.dir_like);
        if by_kind != Ordering::Equal {
            return by_kind;
        }
        let by_name = match x.dir_like {
            false => x.name.cmp(y.name),
            true => x.name.iter().chain(b"/").cmp(y.name.iter().chain(b"/")),
        };
        if by_name != Ordering::Equal {
            return by_name;
        }
    }
}

/// Sorts entries as both ends of a transfer do, keeping the order of equal ones.
pub fn sort(entries: &mut [Entry]) {
    entries.sort_by(compare);
}

struct Component<'a> {
    name: &'a [u8],
    dir_like: bool,
}

struct Components<'a> {
    rest: Option<&'a [u8]>,
    dir: bool,
}

impl<'a> Components<'a> {
    fn new(name: &'a [u8], dir: bool) -> Self {
        // `.` and a trailing `/.` of a directory are the directory above them.
        let name = match name {
            b"." if dir => None,
            _ if dir => Some(name.strip_suffix(b"/.").unwrap_or(name)),
            _ => Some(name),
        };
        Self { rest: name, dir }
    }
}

impl<'a> Iterator for Components<'a> {
    type Item = Component<'a>;

    fn next(&mut self) -> Option<Component<'a>> {
        let rest = self.rest?;
        match rest.iter().position(|&b| b == b'/') {
            Some(at) => {
                self.rest = Some(&rest[at + 1..]);
                Some(Component { name: &rest[..at], dir_like: true })
            }
            None => {
                self.rest = None;
                Some(Component { name: rest, dir_like: self.dir })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(name: &str) -> Entry {
        let (name, mode) = match name.strip_suffix('/') {
            Some(dir) => (dir, 0o040_755),
            None => (name, 0o100_644),
        };
        Entry { name: name.as_bytes().into(), mode, ..Entry::default() }
    }

    #[test]
    fn files_come_before_directories_at_each_level() {
        let sorted = [
            "./",
            "a.txt",
            "sub.x",
            "zz",
            "sub/",
            "sub/b.txt",
            "sub/deep/",
            "sub/deep/c.txt",
            "zdir/",
            "zdir/link",
        ];
        let mut entries: Vec<_> = sorted.iter().rev().map(|n| entry(n)).collect();
        sort(&mut entries);
        let names: Vec<_> = entries.iter().map(|e| e.name.clone()).collect();
        let expected: Vec<_> = sorted.iter().map(|n| entry(n).name).collect();
        assert_eq!(names, expected);
    }

    #[test]
    fn a_directory_compares_with_a_slash_appended() {
        assert_eq!(compare(&entry("a.x/"), &entry("a/")), Ordering::Less);
        assert_eq!(compare(&entry("a/"), &entry("ab/")), Ordering::Less);
        assert_eq!(compare(&entry("a"), &entry("a.x")), Ordering::Less);
        assert_eq!(compare(&entry("b"), &entry("a/")), Ordering::Less);
        assert_eq!(compare(&entry("d/x"), &entry("d/")), Ordering::Greater);
    }

    #[test]
    fn a_missing_argument_sorts_as_a_file() {
        let gone = Entry { name: (*b"zdir").into(), ..Entry::default() };
        assert_eq!(compare(&gone, &entry("a/")), Ordering::Less);
    }
}
