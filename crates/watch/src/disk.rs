//! Looking at directories on disk: by descriptors, never through a symbolic link.

use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustc_hash::FxHashMap;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, Stat};
use rustix::io::Errno;

/// Which inode it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Identity {
    pub dev: u64,
    pub ino: u64,
}

impl Identity {
    /// For a directory that could not be opened: equal to no real one.
    pub const UNKNOWN: Identity = Identity { dev: 0, ino: 0 };

    pub fn of(fd: impl AsFd) -> Result<Self, Errno> {
        Ok(Self::from_stat(&rustix::fs::fstat(fd)?))
    }

    pub fn from_stat(stat: &Stat) -> Self {
        Self { dev: stat.st_dev, ino: stat.st_ino }
    }
}

/// What a comparison of a directory that is not watched looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub identity: Identity,
    pub mode: u32,
    pub owner: (u32, u32),
    pub link_count: u64,
    pub size: i64,
    pub modified: (i64, i64),
    pub changed: (i64, i64),
}

#[allow(clippy::useless_conversion, reason = "the types differ between architectures")]
impl Stamp {
    pub fn from_stat(stat: &Stat) -> Self {
        Self {
            identity: Identity::from_stat(stat),
            mode: stat.st_mode,
            owner: (stat.st_uid, stat.st_gid),
            link_count: u64::from(stat.st_nlink),
            size: stat.st_size,
            modified: (stat.st_mtime, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime, stat.st_ctime_nsec as i64),
        }
    }

    pub fn is_dir(&self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::Directory
    }

    pub fn is_regular(&self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::RegularFile
    }
}

/// A directory's entries in the order of their names.
pub(crate) type Listing = Vec<(Box<[u8]>, Stamp)>;

/// Opens a directory to stand on; needs no right to read it.
pub(crate) fn open_dir(at: impl AsFd, name: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, OsStr::from_bytes(name), flags, Mode::empty())
}

/// Whether the error says that there is no directory of that name.
pub(crate) fn is_absent(error: Errno) -> bool {
    matches!(error, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
}

/// Looks at a name without following it.
pub(crate) fn stat(at: impl AsFd, name: &[u8]) -> Result<Stat, Errno> {
    rustix::fs::statat(at, OsStr::from_bytes(name), AtFlags::SYMLINK_NOFOLLOW)
}

/// Reads directories, with a buffer that is kept.
pub(crate) struct Lister {
    buffer: Vec<u8>,
    /// Devices whose file system counts subdirectories, and others.
    counting: FxHashMap<u64, bool>,
}

/// ext2 to ext4, XFS and tmpfs: a directory's link count is 2 and the number of its subdirectories.
/// ext4 says 1 where they are too many to count.
const COUNTING: &[u32] = &[0xef53, 0x5846_5342, 0x0102_1994];

const LIST_BUFFER_LEN: usize = 32 * 1024;

impl Lister {
    pub fn new() -> Self {
        Self { buffer: Vec::with_capacity(LIST_BUFFER_LEN), counting: FxHashMap::default() }
    }

    /// Whether the file system says without a listing that there is no directory in `dir`.
    pub fn has_only_files(&mut self, dir: BorrowedFd<'_>) -> bool {
        let Ok(stat) = rustix::fs::fstat(dir) else { return false };
        stat.st_nlink == 2
            && *self.counting.entry(stat.st_dev).or_insert_with(|| {
                let magic = rustix::fs::fstatfs(dir).map(|system| system.f_type);
                magic.is_ok_and(|magic| COUNTING.iter().any(|&counting| magic == counting.into()))
            })
    }

    /// The names of the directories in `dir`, sorted.
    pub fn subdirectories(&mut self, dir: BorrowedFd<'_>) -> Result<Vec<Box<[u8]>>, Errno> {
        let mut names = Vec::new();
        if self.has_only_files(dir) {
            return Ok(names);
        }
        self.each(dir, |name, kind| {
            let is_dir = match kind {
                FileType::Directory => true,
                // Some file systems do not tell; a name that is gone by now has an event.
                FileType::Unknown => stat(dir, name)
                    .is_ok_and(|s| FileType::from_raw_mode(s.st_mode) == FileType::Directory),
                _ => false,
            };
            if is_dir {
                names.push(name.into());
            }
        })?;
        names.sort_unstable();
        Ok(names)
    }

    /// All names in `dir` with what is to be compared, sorted.
    pub fn stamps(&mut self, dir: BorrowedFd<'_>) -> Result<Listing, Errno> {
        let mut stamps = Listing::new();
        self.each(dir, |name, _| {
            if let Ok(stat) = stat(dir, name) {
                stamps.push((name.into(), Stamp::from_stat(&stat)));
            }
        })?;
        stamps.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        Ok(stamps)
    }

    fn each(
        &mut self,
        dir: BorrowedFd<'_>,
        mut take: impl FnMut(&[u8], FileType),
    ) -> Result<(), Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let readable = rustix::fs::openat(dir, c".", flags, Mode::empty())?;
        let spare: &mut [MaybeUninit<u8>] = self.buffer.spare_capacity_mut();
        let mut entries = RawDir::new(readable, spare);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if name != b"." && name != b".." {
                take(name, entry.file_type());
            }
        }
        Ok(())
    }
}
