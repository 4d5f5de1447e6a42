//! From file handles in fanotify events to paths.
//!
//! A handle is opened and asked for its path, which needs the right to do so; what is learned is kept
//! until a directory is renamed. Directories that were marked one by one, and directories whose
//! creation was seen, are known without opening them: also when they are gone by now.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use driftless_fs::handle::{Handle, OwnedHandle};
use rustc_hash::FxHashMap;

use crate::fanotify::ObjectId;

/// The most paths to keep.
const KEPT: usize = 100_000;

/// A file system, and a mount that its handles are seen through.
struct Mount {
    fsid: [u8; 8],
    on: OwnedFd,
}

/// What is known of directories.
#[derive(Default)]
pub struct Handles {
    mounts: Vec<Mount>,
    /// Paths with a slash at the end, by file system and handle.
    paths: FxHashMap<Box<[u8]>, Box<[u8]>>,
    /// Paths as they were before the last rename, for what can no longer be opened.
    former: FxHashMap<Box<[u8]>, Box<[u8]>>,
    /// The key that is looked for.
    key: Vec<u8>,
}

impl Handles {
    /// Makes handles of the file system that `dir` is on visible through its mount.
    ///
    /// # Errors
    /// When it cannot be asked which one that is.
    pub fn add_mount(&mut self, dir: &File) -> io::Result<()> {
        let fsid = fsid_of(dir)?;
        self.mounts.push(Mount { fsid, on: dir.try_clone()?.into() });
        Ok(())
    }

    /// Keeps the path of a directory.
    ///
    /// # Errors
    /// When it has no handle.
    pub fn learn(&mut self, dir: &File, path: &[u8]) -> io::Result<()> {
        let handle = OwnedHandle::of(dir)?;
        self.learn_object(&ObjectId { fsid: fsid_of(dir)?, handle: handle.as_handle() }, path);
        Ok(())
    }

    /// Keeps the path of a directory that an event told about.
    pub fn learn_object(&mut self, object: &ObjectId<'_>, path: &[u8]) {
        self.set_key(object);
        self.paths.insert(self.key.as_slice().into(), path.into());
    }

    /// Forgets paths that a rename may have changed.
    pub fn forget(&mut self) {
        self.former = std::mem::take(&mut self.paths);
    }

    /// The path of a directory, with a slash at the end; empty when nothing is known of it.
    pub fn path(&mut self, dir: &ObjectId<'_>, wanted: impl Fn(&[u8]) -> bool) -> &[u8] {
        self.set_key(dir);
        if !self.paths.contains_key(&self.key[..]) {
            if self.paths.len() >= KEPT {
                self.forget();
            }
            let path = self
                .ask(dir.fsid, dir.handle, wanted)
                .or_else(|| self.former.get(&self.key[..]).cloned())
                .unwrap_or_default();
            self.paths.insert(self.key.as_slice().into(), path);
        }
        &self.paths[&self.key[..]]
    }

    fn set_key(&mut self, object: &ObjectId<'_>) {
        self.key.clear();
        self.key.extend_from_slice(&object.fsid);
        self.key.extend_from_slice(object.handle.as_bytes());
    }

    /// Asks the kernel; of several mounts of a file system the first that shows a wanted path counts.
    fn ask(
        &self,
        fsid: [u8; 8],
        handle: Handle<'_>,
        wanted: impl Fn(&[u8]) -> bool,
    ) -> Option<Box<[u8]>> {
        let mut found = None;
        for mount in self.mounts.iter().filter(|mount| mount.fsid == fsid) {
            let Ok(dir) = handle.open_dir(&mount.on) else { continue };
            let Some(path) = path_of(dir.as_raw_fd()) else { continue };
            if wanted(&path) {
                return Some(path);
            }
            found = Some(path);
        }
        found
    }
}

/// The path of an open directory, with a slash at the end; of a deleted one where it was.
fn path_of(fd: i32) -> Option<Box<[u8]>> {
    let link = std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()?;
    let mut path = link.into_os_string().into_vec();
    if let Some(bare) = path.strip_suffix(b" (deleted)")
        && std::fs::symlink_metadata(OsStr::from_bytes(&path)).is_err()
    {
        path = bare.to_vec();
    }
    if !path.ends_with(b"/") {
        path.push(b'/');
    }
    Some(path.into())
}

fn fsid_of(dir: &File) -> io::Result<[u8; 8]> {
    let raw = rustix::fs::fstatvfs(dir)?.f_fsid;
    // Two numbers of 32 bits, as the kernel writes them into events.
    let halves = [raw as u32, (raw >> 32) as u32].map(u32::to_ne_bytes);
    let mut fsid = [0; 8];
    fsid[..4].copy_from_slice(&halves[0]);
    fsid[4..].copy_from_slice(&halves[1]);
    Ok(fsid)
}
