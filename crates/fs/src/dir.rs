//! An open directory: its entries, and what they are.

use crate::meta;
use driftless_tree::{Kind, Meta};
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, SeekFrom, openat};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bytes of entries asked for at once.
const BUFFER_LEN: usize = 32 * 1024;

/// A directory, open for listing. One listing at a time: handles share their position.
#[derive(Debug)]
pub struct Dir(OwnedFd);

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirEntry {
    /// Neither empty nor `.` or `..`, without slash and NUL.
    pub name: Vec<u8>,
    /// Its type, when the file system says it in passing; else ask [`Dir::lstat`].
    pub kind: Option<Kind>,
    /// The inode number, as the listing has it; of a mount point it is the covered directory's.
    pub ino: u64,
}

impl Dir {
    /// Opens through `open`, which gets the flags.
    pub(crate) fn open(open: impl Fn(OFlags) -> Result<OwnedFd, Errno>) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(Self(open(flags)?))
    }

    /// All entries, in the order of the file system.
    pub fn entries(&self) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        self.read(&mut entries)?;
        Ok(entries)
    }

    /// Appends all entries, in the order of the file system.
    ///
    /// # Errors
    /// The listing broke off; what was appended is then a part of it.
    pub fn read(&self, entries: &mut Vec<DirEntry>) -> io::Result<()> {
        rustix::fs::seek(&self.0, SeekFrom::Start(0))?;
        let mut buffer = Vec::with_capacity(BUFFER_LEN);
        let mut listing = RawDir::new(&self.0, buffer.spare_capacity_mut());
        while let Some(entry) = listing.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                let kind = meta::kind_of(entry.file_type());
                entries.push(DirEntry { name: name.to_vec(), kind, ino: entry.ino() });
            }
        }
        Ok(())
    }

    /// The attributes of the directory itself.
    pub fn meta(&self) -> io::Result<Meta> {
        meta::of_stat(&rustix::fs::fstat(&self.0)?)
    }

    /// The attributes of the entry `name`; of a symbolic link its own.
    pub fn lstat(&self, name: &[u8]) -> io::Result<Meta> {
        let name = one_component(name)?;
        meta::of_stat(&rustix::fs::statat(&self.0, name, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// The text of the symbolic link `name`.
    pub fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        let name = one_component(name)?;
        Ok(rustix::fs::readlinkat(&self.0, name, Vec::new())?.into_bytes())
    }

    /// Opens the directory `name` in it.
    ///
    /// # Errors
    /// [`is_absent`](crate::is_absent) also when it is no directory.
    pub fn open_dir(&self, name: &[u8]) -> io::Result<Dir> {
        let name = one_component(name)?;
        Self::open(|flags| openat(&self.0, name, flags, Mode::empty()))
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Refuses names that would lead elsewhere than to an entry of the directory.
pub(crate) fn one_component(name: &[u8]) -> io::Result<&[u8]> {
    match name {
        b"" | b"." | b".." => Err(Errno::INVAL.into()),
        _ if name.contains(&b'/') => Err(Errno::INVAL.into()),
        _ => Ok(name),
    }
}
