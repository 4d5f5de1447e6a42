//! One mount through which a part of the tree is seen, and where directories are in that part.
//!
//! The same directory may be seen through several mounts, at several paths. A directory that is not
//! known is opened by its handle and followed upwards, step by step, to something that is known.
//! Each step is a fact: the parent was asked for the name and answered with this directory.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use driftless_fs::handle::{Handle, OwnedHandle};
use driftless_tree::RelPath;
use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::dirs::{Dirs, Place};

/// Looking for the name of a directory is tried so often while it is being renamed.
const TRIES: usize = 64;

pub(super) struct View {
    pub path: PathBuf,
    pub fsid: [u8; 8],
    pub mount_id: u64,
    pub dirs: Dirs,
    /// A mount may be on a file.
    pub is_dir: bool,
    /// Kept for the events of one read only: it would keep the file system from being unmounted.
    mount: Option<File>,
}

/// What came of looking for a directory.
pub(super) enum Found {
    At(Place),
    /// It does not exist any more.
    Gone,
    /// It cannot be found out.
    Trouble(io::Error),
}

/// A directory, its name and what holds it.
struct Link {
    dir: OwnedHandle,
    name: Vec<u8>,
    parent: OwnedHandle,
}

/// Where going upwards ended.
enum End {
    Known,
    Outside,
    Gone,
}

impl View {
    /// The part of the tree that is seen at `path` and is `prefix` in the tree.
    pub fn open(path: &Path, prefix: Option<RelPath>) -> io::Result<(Self, OwnedFd)> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let top = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        let mode = rustix::fs::fstat(&top)?.st_mode;
        let (handle, mount_id) = OwnedHandle::with_mount(&top)?;
        let view = Self {
            path: path.into(),
            mount_id: u64::from(mount_id.unsigned_abs()),
            fsid: fsid(&top)?,
            dirs: Dirs::new(handle, prefix),
            is_dir: FileType::from_raw_mode(mode) == FileType::Directory,
            mount: None,
        };
        Ok((view, top))
    }

    /// Where a directory is now. What was looked up on disk for it is passed to `fetched`.
    pub fn find(
        &mut self,
        dir: Handle<'_>,
        skip: &dyn Fn(&RelPath) -> bool,
        fetched: &mut dyn FnMut(Handle<'_>),
    ) -> Found {
        if let Some(place) = self.dirs.place(dir, skip) {
            return Found::At(place);
        }
        if !self.is_dir {
            return Found::At(Place::Outside);
        }
        let mut links = Vec::new();
        match self.climb(dir, &mut links) {
            Ok(End::Known) => {
                self.dirs.reserve(links.len());
                for Link { dir, name, parent } in &links {
                    fetched(dir.as_handle());
                    self.dirs.insert(dir.as_handle(), parent.as_handle(), name);
                }
                match self.dirs.place(dir, skip) {
                    Some(place) => Found::At(place),
                    // What it was to hang on had to make room, or is not known by now.
                    None => self.find_afresh(dir, skip, fetched),
                }
            }
            Ok(End::Outside) => {
                self.dirs.insert_outside(dir);
                for link in &links {
                    self.dirs.insert_outside(link.dir.as_handle());
                }
                Found::At(Place::Outside)
            }
            Ok(End::Gone) => Found::Gone,
            Err(error) => Found::Trouble(error),
        }
    }

    fn find_afresh(
        &mut self,
        dir: Handle<'_>,
        skip: &dyn Fn(&RelPath) -> bool,
        fetched: &mut dyn FnMut(Handle<'_>),
    ) -> Found {
        self.dirs.forget_all();
        let mut links = Vec::new();
        match self.climb(dir, &mut links) {
            Ok(End::Known) => {}
            Ok(End::Outside) => return Found::At(Place::Outside),
            Ok(End::Gone) => return Found::Gone,
            Err(error) => return Found::Trouble(error),
        }
        for Link { dir, name, parent } in &links {
            fetched(dir.as_handle());
            self.dirs.insert(dir.as_handle(), parent.as_handle(), name);
        }
        let circular = || Found::Trouble(io::Error::other("a directory seems to be above itself"));
        self.dirs.place(dir, skip).map_or_else(circular, Found::At)
    }

    /// Finds out whether handles can be opened.
    pub fn probe(&mut self) -> io::Result<()> {
        if self.is_dir {
            let top = self.dirs.top();
            let top = OwnedHandle::from(top);
            let opened = top.as_handle().open_dir(self.mount()?);
            self.rest();
            opened?;
        }
        Ok(())
    }

    /// Lets the file system go.
    pub fn rest(&mut self) {
        self.mount = None;
    }

    fn climb(&mut self, dir: Handle<'_>, links: &mut Vec<Link>) -> io::Result<End> {
        let mount = self.mount()?;
        let mut tries = 0;
        let mut at = loop {
            tries += 1;
            match dir.open_dir(mount) {
                Ok(opened) => break opened,
                Err(error) if is_gone(&error) => return Ok(End::Gone),
                // The kernel answers so, too, when what is above is being renamed.
                Err(error) if is_passing(&error) && tries < TRIES => {}
                Err(error) => return Err(error),
            }
        };
        let (mut handle, mount_id) = OwnedHandle::with_mount(&at)?;
        let all = |_: &RelPath| false;
        loop {
            match self.dirs.place(handle.as_handle(), &all) {
                Some(Place::Outside) => return Ok(End::Outside),
                Some(_) => return Ok(End::Known),
                None => {}
            }
            let Some((parent, parent_handle, name)) = step(&at, &handle, mount_id)? else {
                return Ok(match links.is_empty() && is_unlinked(&at)? {
                    true => End::Gone,
                    false => End::Outside,
                });
            };
            links.push(Link { dir: handle, name, parent: parent_handle.clone() });
            (at, handle) = (parent, parent_handle);
        }
    }

    /// A descriptor of the file system, not one for a path only.
    fn mount(&mut self) -> io::Result<BorrowedFd<'_>> {
        if self.mount.is_none() {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = rustix::fs::openat(CWD, &self.path, flags, Mode::empty())?;
            if OwnedHandle::of(&opened)?.as_handle() != self.dirs.top() {
                return Err(io::Error::other("another directory is in its place"));
            }
            self.mount = Some(opened.into());
        }
        Ok(self.mount.as_ref().expect("opened above").as_fd())
    }
}

/// One step up: what holds a directory, and its name there; `None` where the mount ends and when the
/// directory is gone.
fn step(
    at: &OwnedFd,
    handle: &OwnedHandle,
    mount_id: i32,
) -> io::Result<Option<(OwnedFd, OwnedHandle, Vec<u8>)>> {
    for _ in 0..TRIES {
        let parent = match crate::disk::open_dir(at, b"..") {
            Ok(parent) => parent,
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let (parent_handle, parent_mount) = OwnedHandle::with_mount(&parent)?;
        if parent_mount != mount_id || parent_handle == *handle {
            return Ok(None);
        }
        let name = name_of(at.as_fd())?;
        match OwnedHandle::at(&parent, &name) {
            Ok(found) if found == *handle => return Ok(Some((parent, parent_handle, name))),
            _ if is_unlinked(at)? => return Ok(None),
            // Renamed meanwhile.
            _ => {}
        }
    }
    Err(io::Error::other("it is renamed again and again"))
}

/// The last name of the path that a descriptor has now.
fn name_of(fd: BorrowedFd<'_>) -> io::Result<Vec<u8>> {
    let link = format!("/proc/self/fd/{}", fd.as_raw_fd());
    let path = rustix::fs::readlink(link, Vec::new())?.into_bytes();
    let start = path.iter().rposition(|&b| b == b'/').map_or(0, |at| at + 1);
    Ok(path[start..].to_vec())
}

fn is_unlinked(dir: &OwnedFd) -> io::Result<bool> {
    Ok(rustix::fs::fstat(dir)?.st_nlink == 0)
}

fn is_passing(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::NOMEM | Errno::INTR | Errno::AGAIN))
}

fn is_gone(error: &io::Error) -> bool {
    matches!(Errno::from_io_error(error), Some(Errno::STALE | Errno::NOENT))
}

/// The file system's number, as events tell it.
fn fsid(fd: impl AsFd) -> io::Result<[u8; 8]> {
    let fsid = rustix::fs::fstatvfs(fd)?.f_fsid;
    let mut out = [0; 8];
    out[..4].copy_from_slice(&(fsid as u32).to_ne_bytes());
    out[4..].copy_from_slice(&((fsid >> 32) as u32).to_ne_bytes());
    Ok(out)
}

/// The path for a name in a directory of the tree.
pub(super) fn full_path(root: &Path, path: &RelPath) -> PathBuf {
    root.join(OsStr::from_bytes(path.as_bytes()))
}
