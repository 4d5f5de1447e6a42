//! Extended attributes, and the ACLs in them.
//!
//! Attributes are reached over `/proc/self/fd`, so that files need not be opened and symbolic links
//! are not followed. Where that is missing, as after `chroot`, the working directory goes to the
//! file's directory for the moment.

use crate::dir::{Dir, one_component};
use crate::folder::Folder;
use crate::ground::{self, Last};
use rustix::fs::{CWD, Mode, OFlags, XattrFlags, openat};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Mutex, OnceLock};

/// The longest value that is read; the kernel's own limit is 64 KiB.
const MAX_VALUE_LEN: usize = 128 << 20;

/// Where most lists and values fit.
const USUAL_LEN: usize = 1024;

/// Which file in a directory is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Of<'a> {
    /// The directory itself.
    Dir,
    /// An entry; of a symbolic link its own attributes.
    Entry(&'a [u8]),
    /// What an entry leads to.
    Target(&'a [u8]),
}

impl Dir {
    /// The names of all extended attributes that may be seen; empty where the file system has none.
    pub fn xattr_names(&self, of: Of<'_>) -> io::Result<Vec<Vec<u8>>> {
        names(self.as_fd(), of)
    }

    /// The value of one extended attribute; `None` when it is not there.
    pub fn xattr(&self, of: Of<'_>, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        value(self.as_fd(), of, name)
    }
}

impl Folder {
    /// As [`Dir::xattr_names`].
    pub fn xattr_names(&self, of: Of<'_>) -> io::Result<Vec<Vec<u8>>> {
        names(self.as_fd(), of)
    }

    /// As [`Dir::xattr`].
    pub fn xattr(&self, of: Of<'_>, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
        value(self.as_fd(), of, name)
    }

    /// Sets an extended attribute, whether it is there or not.
    pub fn set_xattr(&self, of: Of<'_>, name: &[u8], value: &[u8]) -> io::Result<()> {
        set(self.as_fd(), of, name, value)
    }

    /// Removes an extended attribute, if it is there.
    pub fn remove_xattr(&self, of: Of<'_>, name: &[u8]) -> io::Result<()> {
        remove(self.as_fd(), of, name)
    }
}

/// What changes of the extended attributes of one file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct XattrChange {
    /// Names and values to set.
    pub set: Vec<(Vec<u8>, Vec<u8>)>,
    /// Names to remove, if they are there.
    pub remove: Vec<Vec<u8>>,
}

impl XattrChange {
    /// Nothing changes.
    pub const NONE: Self = Self { set: Vec::new(), remove: Vec::new() };

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }

    /// Changes them on what `file` refers to, which may be an `O_PATH` handle, also of a symbolic
    /// link.
    pub(crate) fn apply(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        for name in &self.remove {
            remove(file, Of::Dir, name)?;
        }
        for (name, value) in &self.set {
            set(file, Of::Dir, name, value)?;
        }
        Ok(())
    }
}

/// Sets an extended attribute of an open file.
pub fn set_open_xattr(file: &std::fs::File, name: &[u8], value: &[u8]) -> io::Result<()> {
    Ok(rustix::fs::fsetxattr(file, name, value, XattrFlags::empty())?)
}

/// Removes an extended attribute of an open file, if it is there.
pub fn remove_open_xattr(file: &std::fs::File, name: &[u8]) -> io::Result<()> {
    match rustix::fs::fremovexattr(file, name) {
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
        answer => Ok(answer?),
    }
}

fn names(dir: BorrowedFd<'_>, of: Of<'_>) -> io::Result<Vec<Vec<u8>>> {
    let list = reach(dir, of, |path, follow| {
        let list = read_growing(|buffer| match follow {
            true => rustix::fs::listxattr(path, buffer),
            false => rustix::fs::llistxattr(path, buffer),
        });
        match list {
            Err(Errno::NOTSUP) => Ok(Vec::new()),
            list => list,
        }
    })?;
    let names = list.split(|&b| b == 0).filter(|name| !name.is_empty());
    Ok(names.map(<[u8]>::to_vec).collect())
}

pub(crate) fn value(dir: BorrowedFd<'_>, of: Of<'_>, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
    reach(dir, of, |path, follow| {
        let value = read_growing(|buffer| match follow {
            true => rustix::fs::getxattr(path, name, buffer),
            false => rustix::fs::lgetxattr(path, name, buffer),
        });
        match value {
            Ok(value) => Ok(Some(value)),
            Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
            Err(error) => Err(error),
        }
    })
}

pub(crate) fn set(dir: BorrowedFd<'_>, of: Of<'_>, name: &[u8], value: &[u8]) -> io::Result<()> {
    let flags = XattrFlags::empty();
    reach(dir, of, |path, follow| match follow {
        true => rustix::fs::setxattr(path, name, value, flags),
        false => rustix::fs::lsetxattr(path, name, value, flags),
    })
}

pub(crate) fn remove(dir: BorrowedFd<'_>, of: Of<'_>, name: &[u8]) -> io::Result<()> {
    reach(dir, of, |path, follow| {
        let removed = match follow {
            true => rustix::fs::removexattr(path, name),
            false => rustix::fs::lremovexattr(path, name),
        };
        match removed {
            Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
            answer => answer,
        }
    })
}

/// Calls `act` with a path that leads to what is meant, and with whether a link at its end is
/// followed.
fn reach<T>(
    dir: BorrowedFd<'_>,
    of: Of<'_>,
    act: impl FnOnce(&[u8], bool) -> Result<T, Errno>,
) -> io::Result<T> {
    if !has_proc() {
        return reach_from_inside(dir, of, act);
    }
    let numbered = |fd: BorrowedFd<'_>| format!("/proc/self/fd/{}", fd.as_raw_fd()).into_bytes();
    let entry =
        |name| Ok::<_, io::Error>([&numbered(dir), &b"/"[..], one_component(name)?].concat());
    Ok(match (of, ground::current()) {
        (Of::Dir, _) => act(&numbered(dir), true)?,
        (Of::Entry(name), _) => act(&entry(name)?, false)?,
        (Of::Target(name), None) => act(&entry(name)?, true)?,
        (Of::Target(name), Some(ground)) => {
            let target = ground.open_from(dir, one_component(name)?, Last::HANDLE)?;
            act(&numbered(target.as_fd()), true)?
        }
    })
}

/// Whether open files have names in `/proc`; after `chroot` they have none.
fn has_proc() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    // Whoever fills the root could have put something else there.
    let is_proc = |fs: rustix::fs::StatFs| fs.f_type == libc::PROC_SUPER_MAGIC;
    *HAS.get_or_init(|| rustix::fs::statfs("/proc/self/fd").is_ok_and(is_proc))
}

/// As [`reach`], where the working directory goes to the directory for the moment.
fn reach_from_inside<T>(
    dir: BorrowedFd<'_>,
    of: Of<'_>,
    act: impl FnOnce(&[u8], bool) -> Result<T, Errno>,
) -> io::Result<T> {
    static AWAY: Mutex<()> = Mutex::new(());
    let (path, follow) = match (of, ground::current()) {
        (Of::Dir, _) => (&b"."[..], true),
        (Of::Entry(name), _) => (one_component(name)?, false),
        (Of::Target(name), None) => (one_component(name)?, true),
        // Nothing that such a link leads to can be named here without following it anywhere.
        (Of::Target(_), Some(_)) => return Err(Errno::NOTSUP.into()),
    };
    let _alone = AWAY.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let back = openat(CWD, ".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::process::fchdir(dir)?;
    let done = act(path, follow);
    rustix::process::fchdir(back)?;
    Ok(done?)
}

/// Calls `read` with ever larger buffers until all fits.
fn read_growing(mut read: impl FnMut(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut buffer = vec![0; USUAL_LEN];
    loop {
        match read(&mut buffer) {
            Ok(len) => {
                buffer.truncate(len);
                return Ok(buffer);
            }
            Err(Errno::RANGE) if buffer.len() < MAX_VALUE_LEN => {
                let len = read(&mut [])?;
                buffer.resize(len.max(buffer.len() * 2).min(MAX_VALUE_LEN), 0);
            }
            Err(error) => return Err(error),
        }
    }
}

/// The attribute that holds an access ACL.
pub const ACCESS_ACL: &[u8] = b"system.posix_acl_access";

/// The attribute that holds the ACL which new files in a directory get.
pub const DEFAULT_ACL: &[u8] = b"system.posix_acl_default";

/// Whom an entry of an ACL is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whom {
    /// The owner.
    Owner,
    /// This user.
    User(u32),
    /// The owning group.
    OwningGroup,
    /// This group.
    Group(u32),
    /// The most that anybody but owner and others may do.
    Mask,
    /// Everybody else.
    Others,
}

const VERSION: u32 = 2;

/// Decodes the value of [`ACCESS_ACL`] or [`DEFAULT_ACL`]: entries and their permission bits, in the
/// order of the value. `None` when it is no ACL.
pub fn decode_acl(value: &[u8]) -> Option<Vec<(Whom, u8)>> {
    let (version, rest) = value.split_first_chunk()?;
    let (entries, rest) = rest.as_chunks::<8>();
    if u32::from_le_bytes(*version) != VERSION || !rest.is_empty() {
        return None;
    }
    let decode = |&[tag_low, tag_high, perms, _, a, b, c, d]: &[u8; 8]| {
        let id = u32::from_le_bytes([a, b, c, d]);
        let whom = match u16::from_le_bytes([tag_low, tag_high]) {
            0x01 => Whom::Owner,
            0x02 => Whom::User(id),
            0x04 => Whom::OwningGroup,
            0x08 => Whom::Group(id),
            0x10 => Whom::Mask,
            0x20 => Whom::Others,
            _ => return None,
        };
        Some((whom, perms & 7))
    };
    entries.iter().map(decode).collect()
}

/// The inverse of [`decode_acl`].
pub fn encode_acl(entries: &[(Whom, u8)]) -> Vec<u8> {
    const NO_ID: u32 = u32::MAX;
    let mut value = Vec::with_capacity(4 + entries.len() * 8);
    value.extend_from_slice(&VERSION.to_le_bytes());
    for &(whom, perms) in entries {
        let (tag, id): (u16, u32) = match whom {
            Whom::Owner => (0x01, NO_ID),
            Whom::User(id) => (0x02, id),
            Whom::OwningGroup => (0x04, NO_ID),
            Whom::Group(id) => (0x08, id),
            Whom::Mask => (0x10, NO_ID),
            Whom::Others => (0x20, NO_ID),
        };
        value.extend_from_slice(&tag.to_le_bytes());
        value.extend_from_slice(&u16::from(perms & 7).to_le_bytes());
        value.extend_from_slice(&id.to_le_bytes());
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::root::Root;

    #[test]
    fn without_names_of_open_files_the_same_is_reached() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("f"), "").unwrap();
        std::os::unix::fs::symlink("f", dir.path().join("l")).unwrap();
        let folder = Root::open(dir.path()).unwrap().folder(None, Default::default()).unwrap();
        let here = std::env::current_dir().unwrap();
        let name = &b"user.a"[..];
        for of in [Of::Dir, Of::Entry(b"f")] {
            let flags = XattrFlags::empty();
            reach_from_inside(folder.as_fd(), of, |path, _| {
                rustix::fs::setxattr(path, name, b"v", flags)
            })
            .unwrap();
            assert_eq!(folder.xattr(of, name).unwrap().unwrap(), b"v");
        }
        let seen = |of| {
            reach_from_inside(folder.as_fd(), of, |path, follow| {
                let mut room = [0; 8];
                match follow {
                    true => rustix::fs::getxattr(path, name, &mut room[..]),
                    false => rustix::fs::lgetxattr(path, name, &mut room[..]),
                }
            })
        };
        assert_eq!(seen(Of::Target(b"l")).unwrap(), 1);
        assert!(seen(Of::Entry(b"l")).is_err());
        assert!(seen(Of::Entry(b"../f")).is_err());
        assert_eq!(std::env::current_dir().unwrap(), here);
    }

    #[test]
    fn an_acl_survives_its_encoding() {
        let acl = [
            (Whom::Owner, 7),
            (Whom::User(7), 4),
            (Whom::OwningGroup, 5),
            (Whom::Group(1000), 6),
            (Whom::Mask, 7),
            (Whom::Others, 0),
        ];
        assert_eq!(decode_acl(&encode_acl(&acl)).unwrap(), acl);
        assert_eq!(decode_acl(&[2, 0, 0, 0, 1]), None);
        assert_eq!(decode_acl(b""), None);
    }

    #[test]
    fn attributes_are_those_of_the_entry_and_not_of_a_links_target() {
        let temp = tempfile::tempdir().unwrap();
        let file = temp.path().join("f");
        std::fs::write(&file, "x").unwrap();
        std::os::unix::fs::symlink("f", temp.path().join("l")).unwrap();
        let long = vec![b'v'; 3000];
        rustix::fs::setxattr(&file, "user.long", &long, rustix::fs::XattrFlags::empty()).unwrap();
        rustix::fs::setxattr(&file, "user.a", b"1", rustix::fs::XattrFlags::empty()).unwrap();
        let dir = Root::open(temp.path()).unwrap().open_dir(None).unwrap();
        let mut names = dir.xattr_names(Of::Entry(b"f")).unwrap();
        names.sort();
        assert_eq!(names, [b"user.a".to_vec(), b"user.long".to_vec()]);
        assert_eq!(dir.xattr(Of::Entry(b"f"), b"user.long").unwrap(), Some(long));
        assert_eq!(dir.xattr(Of::Entry(b"f"), b"user.none").unwrap(), None);
        assert!(dir.xattr_names(Of::Entry(b"l")).unwrap().is_empty());
        assert_eq!(dir.xattr_names(Of::Target(b"l")).unwrap().len(), 2);
        assert!(dir.xattr_names(Of::Dir).unwrap().is_empty());
        assert!(dir.xattr(Of::Entry(b"../f"), b"user.a").is_err());
    }
}
