//! A root: the directory that paths are relative to, and reading below it.
//!
//! A root is an open handle, so it stays the same directory whatever happens to its path. Whether the
//! path still leads there is asked with [`Root::check`], above all before anything is deleted
//! elsewhere because it is missing here. The handle keeps the file system busy: it cannot be
//! unmounted (other than lazily) while the root is open.

use crate::dir::Dir;
use crate::ground::{self, Last};
use crate::source::SourceFile;
use crate::{meta, resolve};
use driftless_tree::{Meta, RelPath};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, StatxFlags, statx};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// An open directory, the only place that paths start from. Clones share it.
#[derive(Clone, Debug)]
pub struct Root {
    opened: Arc<Opened>,
    /// See [`Root::with_stored`].
    stored: bool,
}

#[derive(Debug)]
struct Opened {
    dir: OwnedFd,
    path: PathBuf,
    id: RootId,
}

/// What makes a root the same root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RootId {
    /// Device of the file system.
    pub dev: u64,
    /// Inode number of the directory.
    pub ino: u64,
    /// The kernel's number of the mount it was reached through.
    pub mount_id: u64,
}

/// Why there is no root.
#[derive(Debug, thiserror::Error)]
pub enum FsError {
    /// The directory cannot be opened.
    #[error("cannot open the directory {}", path.display())]
    Open {
        /// As it was asked for.
        path: PathBuf,
        /// What the kernel says; `ENOTDIR` when it is no directory.
        source: io::Error,
    },
}

/// Why a root's path no longer leads to the root.
#[derive(Debug, thiserror::Error)]
pub enum RootLost {
    /// Nothing is there, or the directory was removed.
    #[error("the directory is gone")]
    Gone,
    /// Another directory, or something that is none, is there.
    #[error("another directory is in its place")]
    Replaced,
    /// The path leads to another mount: ours was unmounted, or another one lies over it.
    #[error("its file system is no longer mounted there")]
    Unmounted,
    /// The path cannot be examined, for instance because a directory above may not be searched.
    #[error("its path cannot be examined")]
    Unreachable(#[source] io::Error),
}

impl Root {
    /// Opens the directory at an operator's `path`, where symbolic links are followed.
    ///
    /// # Errors
    /// Nothing there, no directory, or no permission.
    pub fn open(path: &Path) -> Result<Self, FsError> {
        let attempt = || {
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let dir = match ground::current() {
                None => rustix::fs::openat(CWD, path, flags, Mode::empty())?,
                Some(ground) => {
                    let last = Last { flags, ..Last::HANDLE };
                    ground.open(path.as_os_str().as_bytes(), last)?
                }
            };
            Self::of_handle(dir, path)
        };
        attempt().map_err(|source| FsError::Open { path: path.into(), source })
    }

    /// The directory of a handle, which `path` led to.
    pub(crate) fn of_handle(dir: OwnedFd, path: &Path) -> io::Result<Self> {
        let (id, _) = identify(dir.as_fd(), Path::new(""), AtFlags::EMPTY_PATH)?;
        let opened = Arc::new(Opened { dir, path: path.into(), id });
        Ok(Self { opened, stored: false })
    }

    /// With `stored`, directories that are opened from it take owner, mode, type and device numbers
    /// of their entries from an extended attribute, and keep them there (`--fake-super`). What is done
    /// by paths below the root itself stays with the files as they are.
    #[must_use]
    pub fn with_stored(self, stored: bool) -> Self {
        Self { stored, ..self }
    }

    pub(crate) fn stores(&self) -> bool {
        self.stored
    }

    /// The path it was opened by.
    pub fn path(&self) -> &Path {
        &self.opened.path
    }

    /// What it was when it was opened.
    pub fn identity(&self) -> RootId {
        self.opened.id
    }

    /// `Ok` while the path leads to this directory, on the same mount, and the directory exists.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn check(&self) -> Result<(), RootLost> {
        let (found, _) = identify(CWD, &self.opened.path, AtFlags::empty()).map_err(|error| {
            match resolve::is_absent(&error) {
                true => RootLost::Gone,
                false => RootLost::Unreachable(error),
            }
        })?;
        if found.mount_id != self.opened.id.mount_id {
            return Err(RootLost::Unmounted);
        }
        if found != self.opened.id {
            return Err(RootLost::Replaced);
        }
        // The current directory leads to a removed one still.
        match identify(self.as_fd(), Path::new(""), AtFlags::EMPTY_PATH) {
            Ok((_, 0)) => Err(RootLost::Gone),
            Ok(_) => Ok(()),
            Err(error) => Err(RootLost::Unreachable(error)),
        }
    }

    /// Whether this directory is `other` or lies below it, as the directories above it are now.
    pub fn is_within(&self, other: &Root) -> io::Result<bool> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let same = |a: &Meta, b: &Meta| (a.dev, a.ino) == (b.dev, b.ino);
        let sought = other.meta()?;
        let mut here = self.meta()?;
        let mut above = rustix::fs::openat(self, "..", flags, Mode::empty())?;
        loop {
            if same(&here, &sought) {
                return Ok(true);
            }
            let next = meta::of_stat(&rustix::fs::fstat(&above)?)?;
            // Above the topmost directory is that directory itself.
            if same(&next, &here) {
                return Ok(false);
            }
            here = next;
            above = rustix::fs::openat(&above, "..", flags, Mode::empty())?;
        }
    }

    /// The attributes of the root itself.
    pub fn meta(&self) -> io::Result<Meta> {
        meta::of_stat(&rustix::fs::fstat(self)?)
    }

    /// The attributes of `path`; of a symbolic link its own.
    ///
    /// # Errors
    /// [`is_absent`](crate::is_absent) when it is missing or something above it is no directory.
    pub fn lstat(&self, path: &RelPath) -> io::Result<Meta> {
        let parent = resolve::parent(self.as_fd(), path)?;
        let stat = rustix::fs::statat(&parent, path.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
        meta::of_stat(&stat)
    }

    /// The text of a symbolic link.
    ///
    /// # Errors
    /// `EINVAL` when it is none.
    pub fn read_link(&self, path: &RelPath) -> io::Result<Vec<u8>> {
        let parent = resolve::parent(self.as_fd(), path)?;
        let text = rustix::fs::readlinkat(&parent, path.file_name(), Vec::new())?;
        Ok(text.into_bytes())
    }

    /// Opens a regular file for reading.
    ///
    /// # Errors
    /// [`is_absent`](crate::is_absent) also when it is a symbolic link; `InvalidInput` when it is
    /// anything else than a regular file. Never blocks on a fifo.
    pub fn open_file(&self, path: &RelPath) -> io::Result<SourceFile> {
        SourceFile::open(|flags| resolve::open(self.as_fd(), path, flags))
    }

    /// Opens a directory for listing; `None` is the root itself.
    ///
    /// # Errors
    /// [`is_absent`](crate::is_absent) also when it is no directory.
    pub fn open_dir(&self, path: Option<&RelPath>) -> io::Result<Dir> {
        let opened = Dir::open(|flags| match path {
            None => rustix::fs::openat(self, ".", flags, Mode::empty()),
            Some(path) => resolve::open(self.as_fd(), path, flags),
        });
        opened.map(|dir| dir.with_stored(self.stored))
    }
}

impl AsFd for Root {
    /// A handle that only names the directory (`O_PATH`): it can neither be read nor listed.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.opened.dir.as_fd()
    }
}

/// The identity and link count of what is at `path`.
fn identify(dir: BorrowedFd<'_>, path: &Path, flags: AtFlags) -> io::Result<(RootId, u32)> {
    let wanted = StatxFlags::BASIC_STATS | StatxFlags::MNT_ID;
    let stat = statx(dir, path, flags, wanted)?;
    let dev = rustix::fs::makedev(stat.stx_dev_major, stat.stx_dev_minor);
    Ok((RootId { dev, ino: stat.stx_ino, mount_id: stat.stx_mnt_id }, stat.stx_nlink))
}
