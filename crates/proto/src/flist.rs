//! File lists: entries, their end, and the names of ids.
//!
//! Protocol reference, section "File list". Writer and reader carry the same running state from
//! entry to entry and from list to list, so each session has one of them and feeds it everything.
//! Sorting, numbering for people and the meaning of entries are the callers' business; names are
//! checked here so that no entry can lie outside the tree.

mod acl;
mod ids;
mod read;
mod write;
mod xattr;

pub use ids::IdList;
pub use read::{ListItem, ListReader};
pub use write::ListWriter;

use driftless_tree::Kind;

use crate::setup::CompatFlags;

/// What both ends know about a session's file lists before the first one.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ListOptions {
    /// The negotiated version.
    pub protocol: u8,
    /// The server's decisions.
    pub compat: CompatFlags,
    /// Entries carry their owner.
    pub owner: bool,
    /// Entries carry their group.
    pub group: bool,
    /// Device files carry their numbers.
    pub devices: bool,
    /// Fifos and sockets do, below protocol 31.
    pub specials: bool,
    /// Symbolic links carry their text.
    pub links: bool,
    /// Groups of hard links are marked.
    pub hard_links: bool,
    /// Entries carry their access time.
    pub atimes: bool,
    /// Regular files carry a digest of this many bytes.
    pub checksum_len: Option<usize>,
    /// Entries carry their ACLs.
    pub acls: bool,
    /// Entries carry their extended attributes.
    pub xattrs: bool,
    /// Names of ids do not travel.
    pub numeric_ids: bool,
    /// Names may start with a slash.
    pub relative: bool,
    /// Mode 0 stands for an argument that does not exist.
    pub missing_args: bool,
}

impl ListOptions {
    /// The number of the first entry of the first list.
    pub fn first_ndx(&self) -> u32 {
        u32::from(self.compat.inc_recurse())
    }

    fn varint_flags(&self) -> bool {
        self.compat.varint_flist_flags()
    }

    fn safe_end(&self) -> bool {
        self.protocol >= 31 || self.compat.safe_flist()
    }

    fn carries_rdev(&self, kind: Option<Kind>) -> bool {
        kind.is_some_and(|kind| {
            self.devices && kind.is_device()
                || self.specials && kind.is_special() && self.protocol < 31
        })
    }
}

/// Bits of an entry's flags; protocol reference, section "Entry flags".
mod flags {
    pub const TOP_DIR: u32 = 0x0001;
    pub const SAME_MODE: u32 = 0x0002;
    pub const EXTENDED: u32 = 0x0004;
    pub const SAME_UID: u32 = 0x0008;
    pub const SAME_GID: u32 = 0x0010;
    pub const SAME_NAME: u32 = 0x0020;
    pub const LONG_NAME: u32 = 0x0040;
    pub const SAME_TIME: u32 = 0x0080;
    /// On devices and, below protocol 31, on fifos and sockets.
    pub const SAME_RDEV_MAJOR: u32 = 0x0100;
    /// On directories, from protocol 30.
    pub const NO_CONTENT_DIR: u32 = 0x0100;
    pub const HLINKED: u32 = 0x0200;
    /// From protocol 30.
    pub const USER_NAME_FOLLOWS: u32 = 0x0400;
    /// Below protocol 30.
    pub const SAME_DEV: u32 = 0x0400;
    /// From protocol 30.
    pub const GROUP_NAME_FOLLOWS: u32 = 0x0800;
    /// Below protocol 30.
    pub const RDEV_MINOR_8: u32 = 0x0800;
    /// With `HLINKED`, from protocol 30.
    pub const HLINK_FIRST: u32 = 0x1000;
    /// The end of a list with an error state.
    pub const IO_ERROR_END: u32 = 0x1004;
    pub const MOD_NSEC: u32 = 0x2000;
    pub const SAME_ATIME: u32 = 0x4000;
    /// All of the above.
    pub const KNOWN: u32 = 0x7fff;
}

/// What entries are written relative to.
#[derive(Debug, Clone, Default)]
struct Previous {
    name: Vec<u8>,
    mode: u32,
    mtime: i64,
    atime: i64,
    uid: u32,
    gid: u32,
    rdev_major: u32,
    dev: u64,
}

/// The longest name, in bytes.
const MAX_NAME_LEN: usize = crate::int::MAX_PATH_LEN;

#[cfg(test)]
mod tests;
