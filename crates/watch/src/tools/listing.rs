//! The entries of a directory, read at once into memory that is kept.

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::BorrowedFd;

use rustix::fs::{AtFlags, FileType, RawDir};
use rustix::io::Errno;

const BUFFER_LEN: usize = 32 * 1024;

/// Names and kinds.
pub struct Listing {
    /// The names, one after the other, each with a NUL.
    names: Vec<u8>,
    entries: Vec<(usize, FileType)>,
    buffer: Vec<u8>,
}

impl Listing {
    /// An empty one.
    pub fn new() -> Self {
        Self { names: Vec::new(), entries: Vec::new(), buffer: Vec::with_capacity(BUFFER_LEN) }
    }

    /// Forgets the entries.
    pub fn clear(&mut self) {
        self.names.clear();
        self.entries.clear();
    }

    /// Reads the entries of a directory, in its own order.
    ///
    /// # Errors
    /// Why it cannot be read; that it is gone is none.
    pub fn read(&mut self, dir: BorrowedFd<'_>) -> Result<(), Errno> {
        self.clear();
        let spare: &mut [MaybeUninit<u8>] = self.buffer.spare_capacity_mut();
        let mut entries = RawDir::new(dir, spare);
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(Errno::NOENT) => break,
                Err(error) => return Err(error),
            };
            let name = entry.file_name();
            if name != c"." && name != c".." {
                self.entries.push((self.names.len(), entry.file_type()));
                self.names.extend_from_slice(name.to_bytes_with_nul());
            }
        }
        Ok(())
    }

    /// The number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// An entry's name, and its kind if the file system tells.
    pub fn entry(&self, index: usize) -> (&CStr, FileType) {
        let (at, kind) = self.entries[index];
        (CStr::from_bytes_until_nul(&self.names[at..]).expect("stored with its NUL"), kind)
    }
}

/// The kind of a name, looked up; unknown when it is gone.
pub fn kind_of(dir: BorrowedFd<'_>, name: &CStr) -> FileType {
    rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)
        .map_or(FileType::Unknown, |stat| FileType::from_raw_mode(stat.st_mode))
}
