//! Setting owner, permissions and modification time of exactly one file, following nothing.

use crate::xattr::XattrChange;
use crate::{meta, sys};
use driftless_tree::{Kind, Timestamp};
use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT, Uid, openat};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

/// What to set; what is `None` stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Attributes {
    /// Permission bits with set-id and sticky bits; type bits are ignored. Symbolic links have none.
    pub mode: Option<u32>,
    /// Owner.
    pub uid: Option<u32>,
    /// Group.
    pub gid: Option<u32>,
    /// Last change of content.
    pub mtime: Option<Timestamp>,
    /// Last access.
    pub atime: Option<Timestamp>,
}

impl Attributes {
    /// Sets them on what `file` refers to, which may be an `O_PATH` handle, also of a symbolic link.
    pub(crate) fn apply(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        self.apply_with(file, &XattrChange::NONE)
    }

    /// As [`Attributes::apply`], with extended attributes and the ACLs among them.
    pub(crate) fn apply_with(&self, file: BorrowedFd<'_>, xattrs: &XattrChange) -> io::Result<()> {
        // The owner first: changing it clears set-id bits.
        if self.uid.is_some() || self.gid.is_some() {
            let (uid, gid) = (self.uid.map(Uid::from_raw), self.gid.map(Gid::from_raw));
            rustix::fs::chownat(file, "", uid, gid, AtFlags::EMPTY_PATH)?;
        }
        // A change of owner takes capabilities away, and an ACL changes the mode.
        xattrs.apply(file)?;
        if let Some(mode) = self.mode {
            let kind = meta::of_stat(&rustix::fs::fstat(file)?)?.kind;
            if kind != Kind::Symlink {
                set_mode(file, mode & 0o7777)?;
            }
        }
        match self.times() {
            None => Ok(()),
            Some(times) => set_times(file, &times),
        }
    }

    /// Whether there is nothing to set.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn times(&self) -> Option<Timestamps> {
        let of = |time: Option<Timestamp>| match time {
            None => Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            Some(time) => Timespec { tv_sec: time.secs, tv_nsec: i64::from(time.nanos) as _ },
        };
        let any = self.mtime.is_some() || self.atime.is_some();
        any.then(|| Timestamps { last_access: of(self.atime), last_modification: of(self.mtime) })
    }

    fn owner(&self) -> Option<(Option<Uid>, Option<Gid>)> {
        let owner = (self.uid.map(Uid::from_raw), self.gid.map(Gid::from_raw));
        (owner != (None, None)).then_some(owner)
    }
}

/// Sets them on an open file or directory, which is no `O_PATH` handle.
pub(crate) fn apply_to_open(attributes: &Attributes, file: &File) -> io::Result<()> {
    // The owner first: changing it clears set-id bits.
    if let Some((uid, gid)) = attributes.owner() {
        rustix::fs::fchown(file, uid, gid)?;
    }
    if let Some(mode) = attributes.mode {
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode & 0o7777))?;
    }
    if let Some(times) = attributes.times() {
        rustix::fs::futimens(file, &times)?;
    }
    Ok(())
}

/// Sets them on the entry `name` of a directory, without opening it where the kernel can do that.
pub(crate) fn apply_at(
    attributes: &Attributes,
    dir: BorrowedFd<'_>,
    name: &[u8],
    kind: Kind,
) -> io::Result<()> {
    if let Some((uid, gid)) = attributes.owner() {
        rustix::fs::chownat(dir, name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    if let Some(mode) = attributes.mode.filter(|_| kind != Kind::Symlink) {
        match sys::chmod_entry(dir, name, mode & 0o7777) {
            Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => {
                let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let handle = openat(dir, name, flags, Mode::empty())?;
                if meta::of_stat(&rustix::fs::fstat(&handle)?)?.kind != Kind::Symlink {
                    chmod_by_proc(handle.as_fd(), mode & 0o7777)?;
                }
            }
            // The kernel's word for a symbolic link in its place.
            Err(error) if error.raw_os_error() == Some(libc::EOPNOTSUPP) => {
                return Err(Errno::LOOP.into());
            }
            answer => answer?,
        }
    }
    if let Some(times) = attributes.times() {
        rustix::fs::utimensat(dir, name, &times, AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(())
}

pub(crate) fn set_mode(file: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
    match sys::chmod_handle(file, mode) {
        Err(error) if error.raw_os_error() == Some(libc::ENOSYS) => chmod_by_proc(file, mode),
        answer => answer,
    }
}

/// For kernels before Linux 6.6. The name in `/proc` leads to what the handle refers to; the caller
/// made sure that this is no symbolic link.
fn chmod_by_proc(file: BorrowedFd<'_>, mode: u32) -> io::Result<()> {
    Ok(rustix::fs::chmodat(CWD, proc_path(file), Mode::from_raw_mode(mode), AtFlags::empty())?)
}

fn set_times(file: BorrowedFd<'_>, times: &Timestamps) -> io::Result<()> {
    match rustix::fs::utimensat(file, "", times, AtFlags::EMPTY_PATH) {
        // Kernels before Linux 5.8 do not know the flag here.
        Err(Errno::INVAL | Errno::NOENT) => {
            Ok(rustix::fs::utimensat(CWD, proc_path(file), times, AtFlags::empty())?)
        }
        answer => Ok(answer?),
    }
}

fn proc_path(file: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", file.as_fd().as_raw_fd())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::open;

    #[test]
    fn the_way_of_older_kernels_sets_the_mode_too() {
        let temp = tempfile::NamedTempFile::new().unwrap();
        let flags = OFlags::PATH | OFlags::NOFOLLOW;
        let handle = open(temp.path(), flags, Mode::empty()).unwrap();
        chmod_by_proc(handle.as_fd(), 0o640).unwrap();
        assert_eq!(rustix::fs::fstat(&handle).unwrap().st_mode & 0o7777, 0o640);
    }
}
