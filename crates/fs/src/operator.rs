//! Directories and files that an operator named, reached over symbolic links of trusted owners only.
//!
//! Somebody who may write into a directory above must not be able to lead a more powerful process
//! elsewhere: a link counts only when the superuser or our own user made it. Where it leads is not
//! judged.

use crate::meta;
use crate::root::{FsError, Root};
use driftless_tree::{Kind, Meta};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Links on one path, at most.
const MAX_LINKS: usize = 40;

const PASS: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

impl Root {
    /// Opens the directory at an operator's `path` over trusted links.
    ///
    /// # Errors
    /// Nothing there, no directory, no permission; `ELOOP` when a link of somebody else is on the
    /// way.
    pub fn open_operator(path: &Path) -> Result<Self, FsError> {
        let attempt = || {
            let handle = walk(path)?;
            match meta::of_stat(&rustix::fs::fstat(&handle)?)?.kind {
                Kind::Dir => Self::of_handle(handle, path),
                _ => Err(Errno::NOTDIR.into()),
            }
        };
        attempt().map_err(|source| FsError::Open { path: path.into(), source })
    }
}

/// The attributes of what an operator's `path` leads to, over trusted links.
///
/// # Errors
/// As for [`Root::open_operator`], but for anything that exists.
pub fn stat(path: &Path) -> io::Result<Meta> {
    meta::of_stat(&rustix::fs::fstat(walk(path)?)?)
}

/// Opens an operator's file, or pipe, for reading, over trusted links.
///
/// # Errors
/// As for [`stat`], or it cannot be read.
pub fn open_file(path: &Path) -> io::Result<File> {
    reopen(&walk(path)?, OFlags::RDONLY).map(File::from)
}

/// Opens an operator's file for writing, empty, over trusted links. A new one gets `mode`, less the
/// process's mask.
///
/// # Errors
/// As for [`stat`], or it cannot be made or written.
pub fn create_file(path: &Path, mode: u32) -> io::Result<File> {
    match walk(path) {
        Ok(handle) => reopen(&handle, OFlags::WRONLY | OFlags::TRUNC).map(File::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let name = path.file_name().ok_or(Errno::INVAL)?;
            let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
            let parent = walk(parent.unwrap_or(Path::new(".")))?;
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            Ok(openat(parent, name, flags, Mode::from_raw_mode(mode))?.into())
        }
        Err(error) => Err(error),
    }
}

/// Opens what a handle stands for, whatever has its name now.
fn reopen(handle: &OwnedFd, flags: OFlags) -> io::Result<OwnedFd> {
    let path = format!("/proc/self/fd/{}", handle.as_raw_fd());
    Ok(openat(CWD, path, flags | OFlags::CLOEXEC, Mode::empty())?)
}

fn walk(path: &Path) -> io::Result<OwnedFd> {
    let raw = path.as_os_str().as_bytes();
    if raw.is_empty() {
        return Err(Errno::NOENT.into());
    }
    let trusted = rustix::process::geteuid().as_raw();
    let start = |absolute: bool| {
        openat(CWD, if absolute { "/" } else { "." }, PASS | OFlags::DIRECTORY, Mode::empty())
    };
    let mut at = start(raw.starts_with(b"/"))?;
    let mut left: VecDeque<Vec<u8>> = components(raw).collect();
    // A slash at the end asks for a directory, also behind a link.
    let must_be_dir = raw.ends_with(b"/");
    let mut link_count = 0;
    while let Some(name) = left.pop_front() {
        let next = openat(at.as_fd(), name.as_slice(), PASS, Mode::empty())?;
        let found = meta::of_stat(&rustix::fs::fstat(&next)?)?;
        if found.kind != Kind::Symlink {
            at = next;
            continue;
        }
        link_count += 1;
        if (found.uid != 0 && found.uid != trusted) || link_count > MAX_LINKS {
            return Err(Errno::LOOP.into());
        }
        let text = rustix::fs::readlinkat(&next, "", Vec::new())?.into_bytes();
        if text.starts_with(b"/") {
            at = start(true)?;
        }
        for name in components(&text).collect::<Vec<_>>().into_iter().rev() {
            left.push_front(name);
        }
    }
    if must_be_dir {
        // Fails with `ENOTDIR` on anything else.
        rustix::fs::statat(&at, ".", AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(at)
}

fn components(path: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    path.split(|&b| b == b'/').filter(|name| !name.is_empty() && *name != b".").map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{lchown, symlink};

    #[test]
    fn only_links_of_trusted_owners_are_followed() {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path();
        fs::create_dir_all(base.join("a/b")).unwrap();
        fs::write(base.join("a/f"), "").unwrap();
        symlink("a", base.join("ours")).unwrap();
        symlink(base.join("ours/b"), base.join("deep")).unwrap();
        symlink("loop", base.join("loop")).unwrap();
        for path in ["a", "a/", "ours/b", "ours/../a", "deep", "deep/."] {
            assert!(Root::open_operator(&base.join(path)).is_ok(), "{path}");
        }
        for path in ["a/f", "a/f/", "none", "loop", "a/none/b"] {
            assert!(Root::open_operator(&base.join(path)).is_err(), "{path}");
        }
        assert_eq!(stat(&base.join("a/f")).unwrap().kind, Kind::File);
        assert!(stat(&base.join("a/f/")).is_err());
        if rustix::process::geteuid().is_root() {
            symlink("a", base.join("theirs")).unwrap();
            lchown(base.join("theirs"), Some(12345), None).unwrap();
            assert!(Root::open_operator(&base.join("theirs")).is_err());
            assert!(Root::open_operator(&base.join("theirs/b")).is_err());
        }
    }
}
