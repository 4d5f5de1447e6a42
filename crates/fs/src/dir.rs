//! An open directory: its entries, and what they are.

use crate::source::SourceFile;
use crate::xattr::Of;
use crate::{meta, source, stored};
use driftless_tree::{Kind, Meta};
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, SeekFrom, openat};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// Bytes of entries asked for at once.
const BUFFER_LEN: usize = 32 * 1024;

/// A directory, open for listing. One listing at a time: handles share their position.
#[derive(Debug)]
pub struct Dir {
    fd: OwnedFd,
    /// See [`Root::with_stored`](crate::Root::with_stored).
    stored: bool,
}

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
        Ok(Self { fd: open(flags)?, stored: false })
    }

    pub(crate) fn with_stored(self, stored: bool) -> Self {
        Self { stored, ..self }
    }

    pub(crate) fn dressed(&self, of: Of<'_>, real: Meta) -> io::Result<Meta> {
        match self.stored {
            false => Ok(real),
            true => stored::dressed(self.as_fd(), of, real),
        }
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
        rustix::fs::seek(&self.fd, SeekFrom::Start(0))?;
        self.each(&mut Vec::new(), |name, kind, ino| {
            entries.push(DirEntry { name: name.to_vec(), kind, ino });
        })
    }

    /// Shows all entries from the handle's position on; `buffer` is kept for its memory.
    pub(crate) fn each(
        &self,
        buffer: &mut Vec<u8>,
        mut take: impl FnMut(&[u8], Option<Kind>, u64),
    ) -> io::Result<()> {
        buffer.clear();
        buffer.reserve(BUFFER_LEN);
        let mut listing = RawDir::new(&self.fd, buffer.spare_capacity_mut());
        while let Some(entry) = listing.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                // What looks like a regular file may be said to be something else.
                let kind = meta::kind_of(entry.file_type());
                let kind = kind.filter(|kind| !(self.stored && *kind == Kind::File));
                take(name, kind, entry.ino());
            }
        }
        Ok(())
    }

    /// The attributes of the directory itself.
    pub fn meta(&self) -> io::Result<Meta> {
        self.dressed(Of::Dir, meta::of_stat(&rustix::fs::fstat(&self.fd)?)?)
    }

    /// The attributes of the entry `name`; of a symbolic link its own.
    pub fn lstat(&self, name: &[u8]) -> io::Result<Meta> {
        let name = one_component(name)?;
        let real = meta::of_stat(&rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)?)?;
        self.dressed(Of::Entry(name), real)
    }

    /// The text of the symbolic link `name`.
    pub fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        let name = one_component(name)?;
        match rustix::fs::readlinkat(&self.fd, name, Vec::new()) {
            Err(Errno::INVAL) if self.stored => stored::read_link(self.as_fd(), name),
            text => Ok(text?.into_bytes()),
        }
    }

    /// Opens the regular file `name` for reading.
    ///
    /// # Errors
    /// As for [`Root::open_file`](crate::Root::open_file).
    pub fn open_file(&self, name: &[u8]) -> io::Result<SourceFile> {
        let name = one_component(name)?;
        SourceFile::open(|flags| openat(&self.fd, name, flags, Mode::empty()))
    }

    /// Reads the regular file `name` from its start up to `len` bytes, and then what the file is.
    ///
    /// Who knows the attributes from before tells by comparing them whether it got one version.
    ///
    /// # Errors
    /// As for [`Root::open_file`](crate::Root::open_file). A device in the file's place is read
    /// before it is recognised.
    pub fn read_file(&self, name: &[u8], len: usize) -> io::Result<(Vec<u8>, Meta)> {
        let name = one_component(name)?;
        source::read_once(|flags| openat(&self.fd, name, flags, Mode::empty()), len)
    }

    /// Opens the directory `name` in it.
    ///
    /// # Errors
    /// [`is_absent`](crate::is_absent) also when it is no directory.
    pub fn open_dir(&self, name: &[u8]) -> io::Result<Dir> {
        let name = one_component(name)?;
        let opened = Self::open(|flags| openat(&self.fd, name, flags, Mode::empty()));
        opened.map(|dir| dir.with_stored(self.stored))
    }
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
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
