//! Directories and files that an operator named, reached over symbolic links of trusted owners only.
//!
//! Somebody who may write into a directory above must not be able to lead a more powerful process
//! elsewhere: a link counts only when the superuser or our own user made it. Where it leads is not
//! judged, unless the process is confined ([`crate::ground`]).

use crate::browse;
use crate::ground::{self, Last};
use crate::meta;
use crate::root::{FsError, Root};
use driftless_tree::{Kind, Meta};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
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

/// The content of an operator's file, reached over trusted links.
///
/// # Errors
/// It cannot be opened, is no regular file, or is longer than `limit` bytes.
pub fn read(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    read_all(open(path, OFlags::RDONLY | OFlags::NONBLOCK, 0)?, limit)
}

/// As [`read`], of a path that starts at an open directory; an absolute link leads on from the
/// system's root.
///
/// # Errors
/// As [`read`].
pub fn read_below(root: &Root, path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let last = Some((OFlags::RDONLY | OFlags::NONBLOCK, 0));
    read_all(walk_from(Some(root.as_fd()), path.as_os_str().as_bytes(), last)?.into(), limit)
}

fn read_all(file: File, limit: u64) -> io::Result<Vec<u8>> {
    if meta::of_stat(&rustix::fs::fstat(&file)?)?.kind != Kind::File {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    read_within(file, limit)
}

/// The content of a file, pipe or terminal that an operator named; waits for a pipe's writer.
///
/// # Errors
/// It cannot be opened or read, or is longer than `limit` bytes.
pub fn read_any(path: &Path, limit: u64, links: Links) -> io::Result<Vec<u8>> {
    read_within(open_any(path, links)?, limit)
}

/// Opens a file, pipe or terminal that an operator named, for reading.
///
/// # Errors
/// As the system says; `ELOOP` when a link is in the way that is not followed.
pub fn open_any(path: &Path, links: Links) -> io::Result<File> {
    match links {
        Links::Trusted => open(path, OFlags::RDONLY | OFlags::NOCTTY, 0),
        Links::All => browse::open_unchecked(path),
    }
}

/// Whether [`open_any`] would find something; a pipe is left alone, since its writer would notice.
///
/// # Errors
/// As for [`open_any`].
pub fn check_any(path: &Path, links: Links) -> io::Result<()> {
    let found = match links {
        Links::Trusted => stat(path)?,
        Links::All => browse::stat_unchecked(path, true)?,
    };
    if found.kind == Kind::File {
        open_any(path, links)?;
    }
    Ok(())
}

/// Which symbolic links on an operator's path are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Links {
    /// Those of trusted owners.
    Trusted,
    /// All, since the operator vouches for them.
    All,
}

impl Links {
    /// With `--insecure-links`, or without.
    pub fn of(insecure: bool) -> Self {
        if insecure { Self::All } else { Self::Trusted }
    }
}

fn read_within(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        let what = format!("it is longer than {limit} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, what));
    }
    Ok(content)
}

/// Opens an operator's file for reading and says what it is, over trusted links.
///
/// # Errors
/// As [`read`], whatever it is.
pub fn open_to_read(path: &Path) -> io::Result<(File, Meta)> {
    let file = open(path, OFlags::RDONLY | OFlags::NONBLOCK, 0)?;
    let meta = meta::of_stat(&rustix::fs::fstat(&file)?)?;
    Ok((file, meta))
}

/// Opens an operator's file for adding to it over trusted links, and makes it where it is missing.
///
/// # Errors
/// It cannot be opened or made.
pub fn open_to_append(path: &Path, mode: u32) -> io::Result<File> {
    open(path, OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE | OFlags::NOCTTY, mode)
}

/// Opens an operator's file for reading and writing over trusted links, and makes it where it is
/// missing.
///
/// # Errors
/// It cannot be opened or made.
pub fn open_to_update(path: &Path, mode: u32) -> io::Result<File> {
    open(path, OFlags::RDWR | OFlags::CREATE | OFlags::NOCTTY, mode)
}

fn open(path: &Path, flags: OFlags, mode: u32) -> io::Result<File> {
    Ok(File::from(walk_to(path, Some((flags, mode)))?))
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
    walk_to(path, None)
}

/// `last`: how the end of the path is opened; `None` for a handle that only names it.
fn walk_to(path: &Path, last: Option<(OFlags, u32)>) -> io::Result<OwnedFd> {
    walk_from(None, path.as_os_str().as_bytes(), last)
}

/// `base`: where the path starts; `None` for the system's root or the working directory, whichever
/// it is written from.
fn walk_from(
    base: Option<BorrowedFd<'_>>,
    raw: &[u8],
    last: Option<(OFlags, u32)>,
) -> io::Result<OwnedFd> {
    if let Some(ground) = ground::current() {
        let (flags, mode) = last.unwrap_or((OFlags::PATH, 0));
        let last = Last { flags, mode, follow: true };
        return Ok(match base {
            None => ground.open(raw, last)?,
            Some(base) => ground.open_from(base, raw, last)?,
        });
    }
    if raw.is_empty() {
        return Err(Errno::NOENT.into());
    }
    let trusted = rustix::process::geteuid().as_raw();
    let start = |absolute: bool| {
        openat(CWD, if absolute { "/" } else { "." }, PASS | OFlags::DIRECTORY, Mode::empty())
    };
    let mut at = match base {
        None => start(raw.starts_with(b"/"))?,
        Some(base) => openat(base, ".", PASS | OFlags::DIRECTORY, Mode::empty())?,
    };
    let mut left: VecDeque<Vec<u8>> = components(raw).collect();
    // A slash at the end asks for a directory, also behind a link.
    let must_be_dir = raw.ends_with(b"/");
    let mut link_count = 0;
    while let Some(name) = left.pop_front() {
        let passed = openat(at.as_fd(), name.as_slice(), PASS, Mode::empty());
        let last = last.filter(|_| left.is_empty() && name != b"..");
        let next = match (passed, last) {
            (Err(Errno::NOENT), Some((flags, mode))) if flags.contains(OFlags::CREATE) => {
                return open_leaf(&at, &name, flags, mode);
            }
            (passed, _) => passed?,
        };
        let found = meta::of_stat(&rustix::fs::fstat(&next)?)?;
        if found.kind != Kind::Symlink {
            if let Some((flags, mode)) = last {
                return open_leaf(&at, &name, flags, mode);
            }
            at = next;
            continue;
        }
        link_count += 1;
        if (found.uid != 0 && found.uid != trusted) || link_count > MAX_LINKS {
            return Err(Errno::LOOP.into());
        }
        if rustix::fs::fstatfs(&next)?.f_type == libc::PROC_SUPER_MAGIC {
            // It stands for an open file, which may have no path.
            let (flags, mode) = last.unwrap_or((OFlags::PATH, 0));
            let flags = flags | OFlags::CLOEXEC;
            at = openat(&at, name.as_slice(), flags, Mode::from_raw_mode(mode))?;
            if last.is_some() {
                return Ok(at);
            }
            continue;
        }
        let text = rustix::fs::readlinkat(&next, "", Vec::new())?.into_bytes();
        if text.starts_with(b"/") {
            at = start(true)?;
        }
        for name in components(&text).collect::<Vec<_>>().into_iter().rev() {
            left.push_front(name);
        }
    }
    if last.is_some() {
        return Err(Errno::ISDIR.into());
    }
    if must_be_dir {
        // Fails with `ENOTDIR` on anything else.
        rustix::fs::statat(&at, ".", AtFlags::SYMLINK_NOFOLLOW)?;
    }
    Ok(at)
}

/// What was a link a moment later is refused.
fn open_leaf(dir: &OwnedFd, name: &[u8], flags: OFlags, mode: u32) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(dir, name, flags, Mode::from_raw_mode(mode))?)
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

    #[test]
    fn an_open_pipe_is_read_by_its_name() {
        use std::io::Write;
        let (reader, mut writer) = io::pipe().unwrap();
        writer.write_all(b"text").unwrap();
        drop(writer);
        let path = format!("/dev/fd/{}", reader.as_raw_fd());
        assert_eq!(read_any(Path::new(&path), 4, Links::Trusted).unwrap(), b"text");
        assert!(read(Path::new(&path), 4).is_err());
    }

    #[test]
    fn files_are_opened_over_trusted_links_only() {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path();
        fs::write(base.join("f"), "text").unwrap();
        symlink("f", base.join("ours")).unwrap();
        assert_eq!(read(&base.join("ours"), 4).unwrap(), b"text");
        assert!(read(&base.join("f"), 3).is_err());
        assert!(read(base, 9).is_err());
        symlink("new", base.join("dangling")).unwrap();
        open_to_append(&base.join("dangling"), 0o600).unwrap();
        assert_eq!(stat(&base.join("new")).unwrap().kind, Kind::File);
        assert!(open_to_update(&base.join("none/f"), 0o600).is_err());
        let root = Root::open(base).unwrap();
        assert_eq!(read_below(&root, Path::new("ours"), 4).unwrap(), b"text");
        if rustix::process::geteuid().is_root() {
            symlink("f", base.join("theirs")).unwrap();
            lchown(base.join("theirs"), Some(12345), None).unwrap();
            assert!(read(&base.join("theirs"), 4).is_err());
            assert!(read_below(&root, Path::new("theirs"), 4).is_err());
            assert!(open_to_append(&base.join("theirs"), 0o600).is_err());
        }
    }
}
