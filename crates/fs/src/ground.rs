//! The directory that a process is confined to, as after `chroot` but without its privileges.
//!
//! A process that serves one peer calls [`confine`] once, when it enters what it serves. From then
//! on every path that this crate opens starts there, whoever chose it, and every symbolic link that
//! is followed at all has to stay there:
//!
//! * Paths are relative to the directory, or begin with its own path.
//! * A relative link leads on along the handles that are open; an absolute one is refused, and so is
//!   a `..` above the directory.
//! * Each step is relative to an open handle, so nothing that is renamed or swapped meanwhile leads
//!   outside.

use crate::meta;
use crate::root::Root;
use driftless_tree::Kind;
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

/// Links on one path, at most.
const MAX_LINKS: usize = 40;

const PASS: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

static GROUND: OnceLock<Ground> = OnceLock::new();

/// A directory and the absolute path that leads to it.
#[derive(Debug)]
pub(crate) struct Ground {
    root: Root,
    path: Vec<u8>,
}

/// Confines this process to a directory for good. `path` is the absolute path under which the
/// directory is known in paths, without links.
///
/// # Panics
/// When it is confined already.
pub fn confine(root: Root, path: &[u8]) {
    let path = path.strip_suffix(b"/").unwrap_or(path).to_vec();
    GROUND.set(Ground { root, path }).expect("a process is confined once");
}

/// Where this process is confined to.
pub(crate) fn current() -> Option<&'static Ground> {
    GROUND.get()
}

/// How the end of a path is opened.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Last {
    /// Without those about links.
    pub(crate) flags: OFlags,
    pub(crate) mode: u32,
    /// A link at the end is followed.
    pub(crate) follow: bool,
}

impl Last {
    /// A handle that only names what is there.
    pub(crate) const HANDLE: Self = Self { flags: OFlags::PATH, mode: 0, follow: true };

    fn open(self, dir: BorrowedFd<'_>, name: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = self.flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(dir, name, flags, Mode::from_raw_mode(self.mode))
    }
}

impl Ground {
    /// Opens a path, which is relative to the directory or begins with its path.
    ///
    /// # Errors
    /// `ELOOP` for what lies outside.
    pub(crate) fn open(&self, path: &[u8], last: Last) -> Result<OwnedFd, Errno> {
        let inside = match path {
            b"" => return Err(Errno::NOENT),
            [b'/', ..] => {
                let rest = path.strip_prefix(&self.path[..]).ok_or(Errno::LOOP)?;
                if !(rest.is_empty() || rest.starts_with(b"/")) {
                    return Err(Errno::LOOP);
                }
                rest
            }
            relative => relative,
        };
        self.open_from(self.root.as_fd(), inside, last)
    }

    /// Opens a path that starts at an open directory inside.
    ///
    /// # Errors
    /// As [`Ground::open`].
    pub(crate) fn open_from(
        &self,
        start: BorrowedFd<'_>,
        path: &[u8],
        last: Last,
    ) -> Result<OwnedFd, Errno> {
        let handle =
            |dir: BorrowedFd<'_>| openat(dir, ".", PASS | OFlags::DIRECTORY, Mode::empty());
        let mut at = handle(start)?;
        let mut left: VecDeque<Vec<u8>> = components(path).collect();
        let (mut link_count, mut climbed) = (0, false);
        while let Some(name) = left.pop_front() {
            let is_last = left.is_empty();
            if name == b".." {
                if self.is_top(&at)? {
                    return Err(Errno::LOOP);
                }
                at = openat(&at, "..", PASS | OFlags::DIRECTORY, Mode::empty())?;
                climbed = true;
                continue;
            }
            let passed = openat(&at, name.as_slice(), PASS, Mode::empty());
            if let (Err(Errno::NOENT), true, true) =
                (&passed, is_last, last.flags.contains(OFlags::CREATE))
            {
                self.check(&at, climbed)?;
                return last.open(at.as_fd(), &name);
            }
            let next = passed?;
            let kind = kind_of(&next)?;
            if kind == Kind::Symlink && (!is_last || last.follow) {
                link_count += 1;
                let text = rustix::fs::readlinkat(&next, "", Vec::new())?.into_bytes();
                if link_count > MAX_LINKS || text.starts_with(b"/") {
                    return Err(Errno::LOOP);
                }
                for name in components(&text).collect::<Vec<_>>().into_iter().rev() {
                    left.push_front(name);
                }
                continue;
            }
            if is_last {
                self.check(&at, climbed)?;
                return last.open(at.as_fd(), &name);
            }
            if kind != Kind::Dir {
                return Err(Errno::NOTDIR);
            }
            at = next;
        }
        self.check(&at, climbed)?;
        // The path ends in a directory that is open already.
        openat(&at, ".", last.flags | OFlags::CLOEXEC, Mode::empty())
    }

    fn is_top(&self, dir: &OwnedFd) -> Result<bool, Errno> {
        let found = rustix::fs::fstat(dir)?;
        let top = rustix::fs::fstat(&self.root)?;
        Ok((found.st_dev, found.st_ino) == (top.st_dev, top.st_ino))
    }

    /// A directory that is moved out while it is open has other directories above it.
    fn check(&self, dir: &OwnedFd, climbed: bool) -> Result<(), Errno> {
        if !climbed {
            return Ok(());
        }
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut at = openat(dir, ".", flags, Mode::empty())?;
        loop {
            if self.is_top(&at)? {
                return Ok(());
            }
            let above = openat(&at, "..", flags, Mode::empty())?;
            let (here, there) = (rustix::fs::fstat(&at)?, rustix::fs::fstat(&above)?);
            if (here.st_dev, here.st_ino) == (there.st_dev, there.st_ino) {
                return Err(Errno::LOOP);
            }
            at = above;
        }
    }
}

fn kind_of(handle: &OwnedFd) -> Result<Kind, Errno> {
    let stat = rustix::fs::fstat(handle)?;
    meta::of_stat(&stat).map(|meta| meta.kind).map_err(|_| Errno::INVAL)
}

fn components(path: &[u8]) -> impl Iterator<Item = Vec<u8>> + '_ {
    path.split(|&b| b == b'/').filter(|name| !name.is_empty() && *name != b".").map(<[u8]>::to_vec)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_inside_and_nothing_leads_out() {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path();
        fs::create_dir_all(base.join("in/a/b")).unwrap();
        fs::create_dir_all(base.join("out")).unwrap();
        fs::write(base.join("in/a/f"), "x").unwrap();
        fs::write(base.join("out/f"), "secret").unwrap();
        symlink("a", base.join("in/rel")).unwrap();
        symlink("../f", base.join("in/a/b/up")).unwrap();
        symlink("../../out", base.join("in/a/far")).unwrap();
        symlink(base.join("in/a"), base.join("in/abs")).unwrap();
        symlink("loop", base.join("in/loop")).unwrap();
        let path = base.join("in").as_os_str().as_bytes().to_vec();
        let ground = Ground { root: Root::open(&base.join("in")).unwrap(), path: path.clone() };
        let read = Last { flags: OFlags::RDONLY, mode: 0, follow: true };
        let absolute = [&path[..], b"/a/f"].concat();
        for inside in [&b"a/f"[..], b"rel/f", b"a/b/up", b"rel/b/up", b"a/../a/f", &absolute, b"."]
        {
            ground.open(inside, read).unwrap_or_else(|e| panic!("{}: {e}", inside.escape_ascii()));
        }
        let sibling = [&path[..], b"side"].concat();
        for (outside, why) in [
            (&b".."[..], Errno::LOOP),
            (b"../out/f", Errno::LOOP),
            (b"a/../../out/f", Errno::LOOP),
            (b"a/far/f", Errno::LOOP),
            (b"abs/f", Errno::LOOP),
            (b"loop", Errno::LOOP),
            (b"/etc/passwd", Errno::LOOP),
            (&sibling, Errno::LOOP),
            (b"a/f/x", Errno::NOTDIR),
            (b"none", Errno::NOENT),
            (b"", Errno::NOENT),
        ] {
            assert_eq!(ground.open(outside, read).unwrap_err(), why, "{}", outside.escape_ascii());
        }
        let make = Last { flags: OFlags::WRONLY | OFlags::CREATE, mode: 0o600, follow: true };
        ground.open(b"rel/b/new", make).unwrap();
        assert!(base.join("in/a/b/new").exists());
        assert_eq!(ground.open(b"a/far/new", make).unwrap_err(), Errno::LOOP);
        let keep = Last { follow: false, ..Last::HANDLE };
        assert_eq!(kind_of(&ground.open(b"abs", keep).unwrap()).unwrap(), Kind::Symlink);
    }

    #[test]
    fn a_directory_that_is_moved_out_leads_nowhere() {
        let temp = tempfile::tempdir().unwrap();
        let base = temp.path();
        fs::create_dir_all(base.join("in/a/b")).unwrap();
        fs::write(base.join("f"), "secret").unwrap();
        let ground = Ground { root: Root::open(&base.join("in")).unwrap(), path: b"/in".to_vec() };
        let dir = ground.open(b"a/b", Last::HANDLE).unwrap();
        fs::rename(base.join("in/a/b"), base.join("b")).unwrap();
        let read = Last { flags: OFlags::RDONLY, mode: 0, follow: true };
        assert_eq!(ground.open_from(dir.as_fd(), b"../f", read).unwrap_err(), Errno::LOOP);
    }
}
