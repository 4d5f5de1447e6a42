//! What a file is, apart from its name and content.

/// A point in time as file systems keep it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Timestamp {
    /// Seconds since 1970, negative before.
    pub secs: i64,
    /// 0..=999,999,999, added to `secs`.
    pub nanos: u32,
}

/// The type of a file, as in the top bits of its mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A regular file.
    File,
    /// A directory.
    Dir,
    /// A symbolic link.
    Symlink,
    /// A character device.
    CharDevice,
    /// A block device.
    BlockDevice,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
}

/// The bits of a mode that hold the type.
pub const TYPE_BITS: u32 = 0o170_000;

impl Kind {
    /// The type in `mode`; `None` when its bits are none of the seven types.
    pub fn of_mode(mode: u32) -> Option<Self> {
        Some(match mode & TYPE_BITS {
            0o100_000 => Self::File,
            0o040_000 => Self::Dir,
            0o120_000 => Self::Symlink,
            0o020_000 => Self::CharDevice,
            0o060_000 => Self::BlockDevice,
            0o010_000 => Self::Fifo,
            0o140_000 => Self::Socket,
            _ => return None,
        })
    }

    /// Character or block device.
    pub fn is_device(self) -> bool {
        matches!(self, Self::CharDevice | Self::BlockDevice)
    }

    /// Fifo or socket.
    pub fn is_special(self) -> bool {
        matches!(self, Self::Fifo | Self::Socket)
    }
}

/// What `lstat` says of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// The type, also in `mode`.
    pub kind: Kind,
    /// Type and permission bits.
    pub mode: u32,
    /// Device of the file system.
    pub dev: u64,
    /// Inode number.
    pub ino: u64,
    /// Names of the inode.
    pub link_count: u64,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Bytes; of a symbolic link the length of its text.
    pub size: u64,
    /// Last change of content.
    pub mtime: Timestamp,
    /// Last change of content or attributes; not settable.
    pub ctime: Timestamp,
    /// Last access, as far as the file system keeps it.
    pub atime: Timestamp,
    /// Major and minor number of a device, else zeros.
    pub rdev: (u32, u32),
}

impl Meta {
    /// Whether content and identity are certainly those that `earlier` saw: same inode, size,
    /// mtime and ctime.
    pub fn same_version(&self, earlier: &Meta) -> bool {
        (self.dev, self.ino, self.size, self.mtime, self.ctime)
            == (earlier.dev, earlier.ino, earlier.size, earlier.mtime, earlier.ctime)
    }
}
