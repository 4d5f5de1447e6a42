//! fanotify groups that report file handles: one mark can stand for a whole file system.
//!
//! This is the door to the system calls; what the records mean is in `driftless-watch`.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use crate::sys;

/// A group: a queue of events, and the marks that fill it.
#[derive(Debug)]
pub struct Group(OwnedFd);

/// What bounds the events of a group that wait to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Queue {
    /// `fs.fanotify.max_queued_events`.
    Limited,
    /// Memory only. Needs `CAP_SYS_ADMIN`.
    Unlimited,
}

/// What a mark stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// All of the file system, seen through any mount. Needs `CAP_SYS_ADMIN`.
    Filesystem,
    /// The object, and for a directory the names in it.
    Inode,
}

/// What is asked of a mark and told by an event: a set of kernel bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash)]
pub struct Mask(pub u64);

#[allow(missing_docs, reason = "the kernel's own names")]
impl Mask {
    pub const ACCESS: Self = Self(libc::FAN_ACCESS);
    pub const MODIFY: Self = Self(libc::FAN_MODIFY);
    pub const ATTRIB: Self = Self(libc::FAN_ATTRIB);
    pub const CLOSE_WRITE: Self = Self(libc::FAN_CLOSE_WRITE);
    pub const CLOSE_NOWRITE: Self = Self(libc::FAN_CLOSE_NOWRITE);
    pub const OPEN: Self = Self(libc::FAN_OPEN);
    pub const MOVED_FROM: Self = Self(libc::FAN_MOVED_FROM);
    pub const MOVED_TO: Self = Self(libc::FAN_MOVED_TO);
    pub const CREATE: Self = Self(libc::FAN_CREATE);
    pub const DELETE: Self = Self(libc::FAN_DELETE);
    pub const DELETE_SELF: Self = Self(libc::FAN_DELETE_SELF);
    pub const MOVE_SELF: Self = Self(libc::FAN_MOVE_SELF);
    pub const RENAME: Self = Self(libc::FAN_RENAME);
    pub const Q_OVERFLOW: Self = Self(libc::FAN_Q_OVERFLOW);
    pub const ONDIR: Self = Self(libc::FAN_ONDIR);
    pub const EVENT_ON_CHILD: Self = Self(libc::FAN_EVENT_ON_CHILD);

    /// Both.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether all of `other` is in it.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is in it.
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

impl Group {
    /// A group whose events carry the directory's handle, the name in it and, when `targets`, the
    /// handle of the object too (Linux 5.17, as [`Mask::RENAME`]); without, Linux 5.9 is enough.
    /// Reading never waits.
    ///
    /// # Errors
    /// `EINVAL` when the kernel is too old, `EPERM` without the right to an unlimited queue,
    /// `EMFILE` when the user's groups (`fs.fanotify.max_user_groups`) are used up.
    pub fn new(queue: Queue, targets: bool) -> io::Result<Self> {
        let mut flags = libc::FAN_CLASS_NOTIF
            | libc::FAN_CLOEXEC
            | libc::FAN_NONBLOCK
            | libc::FAN_REPORT_DFID_NAME
            | libc::FAN_REPORT_FID;
        if targets {
            flags |= libc::FAN_REPORT_TARGET_FID;
        }
        if queue == Queue::Unlimited {
            flags |= libc::FAN_UNLIMITED_QUEUE;
        }
        sys::fanotify_init(flags).map(Self)
    }

    /// Asks for the events in `mask`, besides those that were asked for before.
    ///
    /// # Errors
    /// `EPERM` without the right; `EOPNOTSUPP`, `ENODEV` and `EXDEV` where the file system cannot be
    /// marked so; `ENOSPC` when the user's marks (`fs.fanotify.max_user_marks`) are used up.
    pub fn mark(&self, scope: Scope, mask: Mask, object: impl AsFd) -> io::Result<()> {
        self.change(libc::FAN_MARK_ADD, scope, mask, object)
    }

    /// Takes the events in `mask` out of a mark; one without events is gone.
    ///
    /// # Errors
    /// `ENOENT` when there is no such mark.
    pub fn unmark(&self, scope: Scope, mask: Mask, object: impl AsFd) -> io::Result<()> {
        self.change(libc::FAN_MARK_REMOVE, scope, mask, object)
    }

    fn change(&self, act: u32, scope: Scope, mask: Mask, object: impl AsFd) -> io::Result<()> {
        let scope = match scope {
            Scope::Filesystem => libc::FAN_MARK_FILESYSTEM,
            Scope::Inode => libc::FAN_MARK_INODE,
        };
        // By its descriptor, so that no rename can slip in; a descriptor itself may be O_PATH here.
        let path = CString::new(format!("/proc/self/fd/{}", object.as_fd().as_raw_fd()))
            .expect("digits hold no NUL");
        sys::fanotify_mark(&self.0, act | scope, mask.0, &path)
    }
}

impl AsFd for Group {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
