//! Marking the file systems of a tree, or saying why that is not possible.

use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use driftless_fs::fanotify::{Mask, Scope};
use driftless_tree::RelPath;
use rustix::io::Errno;

use super::mounts::Mount;
use super::reader::Reader;
use super::view::View;
use crate::filesystems;

/// What is asked of each file system. Not OPEN, ACCESS or CLOSE_NOWRITE: reading must make no events.
const MASK: Mask = Mask::CREATE
    .union(Mask::DELETE)
    .union(Mask::RENAME)
    .union(Mask::MODIFY)
    .union(Mask::CLOSE_WRITE)
    .union(Mask::ATTRIB)
    .union(Mask::ONDIR);

/// Why fanotify cannot watch a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal(pub String);

/// A view on what is mounted at a place in the tree; none when nothing is seen of it.
pub(super) fn mark_mount(
    reader: &Reader,
    root: &Path,
    mount: &Mount,
    skip: &dyn Fn(&RelPath) -> bool,
) -> Result<Option<View>, Refusal> {
    let Ok(path) = prefix(root, &mount.at) else { return Ok(None) };
    if skip(&path) || path.ancestors().any(|dir| skip(&dir)) {
        return Ok(None);
    }
    match mark(reader, &mount.at, Some(path)) {
        Ok(view) => Ok(Some(view)),
        // Covered by another mount, or gone again.
        Err(_) if rustix::fs::lstat(&mount.at).is_err() => Ok(None),
        Err(refusal) => Err(refusal),
    }
}

/// Marks the file system that is seen at a path, and makes sure that its handles can be opened.
pub(super) fn mark(reader: &Reader, path: &Path, prefix: Option<RelPath>) -> Result<View, Refusal> {
    let refuse = |act: &str, error: io::Error| {
        let advice = match Errno::from_io_error(&error) {
            Some(Errno::PERM) => ", it needs CAP_SYS_ADMIN and CAP_DAC_READ_SEARCH",
            Some(Errno::OPNOTSUPP | Errno::NODEV | Errno::XDEV) => {
                ", its file system cannot be watched as a whole"
            }
            Some(Errno::NOSPC) => ", fs.fanotify.max_user_marks is reached",
            _ => "",
        };
        Refusal(format!("cannot {act} {}{advice}: {error}", path.display()))
    };
    let (mut view, top) =
        View::open(path, prefix).map_err(|error| refuse("get the handle of", error))?;
    if let Some(name) = filesystems::remote(top.as_fd()) {
        return Err(Refusal(format!(
            "{} is on {name}, where other machines can change files unseen",
            path.display()
        )));
    }
    reader
        .mark(Scope::Filesystem, MASK, &top)
        .map_err(|error| refuse("mark the file system of", error))?;
    view.probe().map_err(|error| refuse("open by its handle", error))?;
    Ok(view)
}

/// The mount that the tree is on is hidden from this process: whether it is still there, and what is
/// mounted in it, could not be told.
pub(super) fn unlisted(root: &Path) -> Refusal {
    Refusal(format!(
        "the mount that {} is on is not in /proc/self/mountinfo, as in a chroot into a directory that is \
         no mount point; before entering it, mount that directory onto itself: mount --bind DIR DIR",
        root.display()
    ))
}

/// A place in the tree, as a path.
pub(super) fn prefix(root: &Path, at: &Path) -> Result<RelPath, ()> {
    let rest = at.strip_prefix(root).map_err(|_| ())?;
    RelPath::parse(rest.as_os_str().as_bytes()).map_err(|_| ())
}
