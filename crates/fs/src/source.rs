//! A file that is read while others may write to it.

use crate::xattr::Of;
use crate::{meta, stored, sys};
use driftless_tree::{Kind, Meta};
use rustix::buffer::spare_capacity;
use rustix::fs::OFlags;
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::{AtomicBool, Ordering};

/// A regular file, open for reading.
#[derive(Debug)]
pub struct SourceFile {
    file: File,
    opened: Meta,
}

/// Whether somebody has a file open for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writers {
    /// Nobody has, nor a writable mapping of it.
    None,
    /// Somebody has, perhaps this process.
    Some,
    /// The kernel does not tell: another user's file, or a file system without leases.
    Unknown,
}

impl SourceFile {
    /// Opens through `open`, which gets the flags.
    pub(crate) fn open(open: impl Fn(OFlags) -> Result<OwnedFd, Errno>) -> io::Result<Self> {
        let file = open_unasked(open)?;
        let opened = meta::of_stat(&rustix::fs::fstat(&file)?)?;
        match opened.kind {
            Kind::File => Ok(Self { file: File::from(file), opened }),
            _ => Err(not_regular()),
        }
    }

    /// With the attributes that are stored with it.
    pub(crate) fn dressed(self) -> io::Result<Self> {
        let opened = stored::dressed(self.as_fd(), Of::Dir, self.opened)?;
        Ok(Self { opened, ..self })
    }

    /// Its attributes when it was opened.
    pub fn opened(&self) -> &Meta {
        &self.opened
    }

    /// Its attributes now.
    pub fn meta(&self) -> io::Result<Meta> {
        meta::of_stat(&rustix::fs::fstat(self)?)
    }

    /// Reads at `offset`: how many bytes, zero at the end of the file.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.file.read_at(buffer, offset) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                answer => return answer,
            }
        }
    }

    /// Appends as many bytes from the start as there were when it was opened, and says how many: fewer
    /// when it is shorter.
    pub fn read_whole(&self, bytes: &mut Vec<u8>) -> io::Result<usize> {
        let len = usize::try_from(self.opened.size).map_err(io::Error::other)?;
        read_start(self, len, bytes)
    }

    /// Probes whether somebody has the file open for writing, by a read lease that is given back at
    /// once. A writer that comes in between waits for that moment, or fails with `EAGAIN` when it
    /// opens without blocking.
    pub fn writers(&self) -> Writers {
        match self.bar_writers() {
            Writers::None if sys::release_lease(self).is_err() => Writers::Unknown,
            answer => answer,
        }
    }

    /// As [`SourceFile::writers`], but keeps the lease: after [`Writers::None`] nobody begins to
    /// write before this file is closed. Writers wait for that, so it is for a short read only.
    pub fn bar_writers(&self) -> Writers {
        match sys::take_read_lease(self) {
            Ok(()) => Writers::None,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Writers::Some,
            Err(_) => Writers::Unknown,
        }
    }
}

impl AsFd for SourceFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// Appends up to `len` bytes from the start, and says how many.
fn read_start(file: impl AsFd, len: usize, bytes: &mut Vec<u8>) -> io::Result<usize> {
    let before = bytes.len();
    bytes.reserve(len);
    while bytes.len() - before < len {
        let at = (bytes.len() - before) as u64;
        match rustix::io::pread(&file, spare_capacity(bytes), at) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    // The vector may have had more room, and the file more bytes.
    bytes.truncate(before + len);
    Ok(bytes.len() - before)
}

/// See [`crate::Dir::read_file`].
pub(crate) fn read_once(
    open: impl Fn(OFlags) -> Result<OwnedFd, Errno>,
    len: usize,
) -> io::Result<(Vec<u8>, Meta)> {
    let file = open_unasked(open)?;
    let mut bytes = Vec::new();
    read_start(&file, len, &mut bytes)?;
    let meta = meta::of_stat(&rustix::fs::fstat(&file)?)?;
    match meta.kind {
        Kind::File => Ok((bytes, meta)),
        _ => Err(not_regular()),
    }
}

/// Whether reading leaves access times alone, where the kernel allows it.
static LEAVES_TIMES: AtomicBool = AtomicBool::new(true);

/// Whether files that this process opens for reading from now on keep the time of their last access,
/// where this process may ask for that. They do unless this was called.
pub fn leave_access_times(leave: bool) {
    LEAVES_TIMES.store(leave, Ordering::Relaxed);
}

/// Opens what may be a regular file.
pub(crate) fn open_unasked(open: impl Fn(OFlags) -> Result<OwnedFd, Errno>) -> io::Result<OwnedFd> {
    // Not blocking, lest a fifo that was put in the file's place hangs us.
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let wanted = match LEAVES_TIMES.load(Ordering::Relaxed) {
        true => flags | OFlags::NOATIME,
        false => flags,
    };
    match open(wanted) {
        // Only owners may leave the access time alone.
        Err(Errno::PERM) => Ok(open(flags)?),
        // A socket or a device without driver cannot be opened at all.
        Err(Errno::NXIO | Errno::NODEV) => Err(not_regular()),
        answer => Ok(answer?),
    }
}

fn not_regular() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")
}
