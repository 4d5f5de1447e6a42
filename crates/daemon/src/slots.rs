//! Files whose record locks count processes: `max connections` and the pid file.
//!
//! The locks are those of other rsync daemons too, which count with us. A lock lasts as long as the
//! process, unless it opens and closes the same file again.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use driftless_fs::operator;
use driftless_tree::Kind;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;

/// Bytes that one slot takes in the file.
const SLOT_LEN: i64 = 4;

/// Why there is no slot.
#[derive(Debug)]
pub(crate) enum NoSlot {
    /// All are taken.
    Full,
    /// The lock file cannot be opened.
    File(io::Error),
}

/// Takes one of `limit` slots, which is ours until the process ends.
pub(crate) fn claim(path: &Path, limit: i64) -> Result<Option<File>, NoSlot> {
    if limit == 0 {
        return Ok(None);
    }
    if limit < 0 {
        return Err(NoSlot::Full);
    }
    let file = operator::open_to_update(path, 0o600).map_err(NoSlot::File)?;
    let free = (0..limit).any(|slot| lock(&file, slot * SLOT_LEN, SLOT_LEN).is_ok());
    if free { Ok(Some(file)) } else { Err(NoSlot::Full) }
}

fn lock(file: &File, start: i64, len: i64) -> Result<(), Errno> {
    let range = libc::flock {
        l_type: libc::F_WRLCK as libc::c_short,
        l_whence: libc::SEEK_SET as libc::c_short,
        l_start: start,
        l_len: len,
        l_pid: 0,
    };
    fcntl(file, FcntlArg::F_SETLK(&range)).map(drop)
}

/// A pid file, ours while the process lives.
pub(crate) struct PidFile {
    path: std::path::PathBuf,
    _file: File,
}

/// Longest pid file of somebody else that is written over.
const MAX_PID_FILE_LEN: u64 = 32;

impl PidFile {
    /// Writes our pid.
    ///
    /// # Errors
    /// What was tried, and why it failed.
    pub(crate) fn create(path: &Path) -> Result<Self, (&'static str, io::Error)> {
        match std::fs::symlink_metadata(path) {
            Ok(meta) if !meta.is_file() => {
                std::fs::remove_file(path).map_err(|error| ("unlink", error))?;
            }
            Ok(meta) if meta.len() > MAX_PID_FILE_LEN => {
                let what = io::Error::new(io::ErrorKind::InvalidData, "it is longer than a pid");
                return Err(("find small", what));
            }
            _ => {}
        }
        let file = operator::open_to_update(path, 0o664).map_err(|error| ("open", error))?;
        lock(&file, 0, SLOT_LEN).map_err(|error| ("lock", error.into()))?;
        let found = operator::stat(path).map_err(|error| ("lstat", error))?;
        if found.kind != Kind::File {
            let what = io::Error::new(io::ErrorKind::InvalidData, "it is no file");
            return Err(("verify stat info for", what));
        }
        file.set_len(0).map_err(|error| ("truncate", error))?;
        let text = format!("{}\n", std::process::id());
        (&file).write_all(text.as_bytes()).map_err(|error| ("write", error))?;
        Ok(Self { path: path.to_owned(), _file: file })
    }

    /// Removes it, at the end of the process that wrote it.
    pub(crate) fn remove(self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
