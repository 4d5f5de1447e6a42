//! The directory that is watched.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::disk::{Identity, Stamp};

/// Opened anew each time: a descriptor that is kept would keep its file system from being unmounted
/// and hide its deletion.
pub(crate) struct Root {
    /// Absolute, without symbolic links.
    pub path: PathBuf,
    pub identity: Identity,
    /// The watch of the directory above.
    pub above: Option<i32>,
    /// Its own attributes, while it has no watch.
    pub stamp: Option<(Stamp, i128)>,
    /// Why it is lost.
    pub lost: Option<String>,
}

impl Root {
    /// The directory at `path`, which has no symbolic links in it.
    pub fn new(path: PathBuf) -> Result<Self, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open(&path, flags, Mode::empty())?;
        let identity = Identity::of(dir)?;
        Ok(Self { path, identity, above: None, stamp: None, lost: None })
    }

    /// Opens what is at its path, which need not be it any more.
    pub fn open(&self) -> Result<OwnedFd, Errno> {
        crate::disk::open_dir(rustix::fs::CWD, self.path.as_os_str().as_bytes())
    }

    /// Its name in the directory above.
    pub fn name(&self) -> &[u8] {
        self.path.file_name().map_or(b"", |name| name.as_bytes())
    }

    /// Why its path does not lead to it.
    pub fn whereabouts(&self) -> Option<String> {
        match rustix::fs::stat(&self.path).map(|stat| Identity::from_stat(&stat)) {
            Ok(found) if found == self.identity => None,
            Ok(_) => Some("another directory is in its place".into()),
            Err(Errno::NOENT | Errno::NOTDIR) => Some("it was deleted or moved away".into()),
            Err(error) => Some(format!("it cannot be reached: {error}")),
        }
    }
}
