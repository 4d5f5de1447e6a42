//! The destination's directories that are held open, the last used ones.

use std::collections::HashSet;
use std::io;

use driftless_fs::{Folder, Follow, Root};
use driftless_tree::RelPath;

use crate::generator::absent;

/// Directories that are kept open.
const KEPT: usize = 48;

#[derive(Debug)]
pub(crate) struct Folders {
    root: Root,
    follow: Follow,
    /// The last used one first.
    recent: Vec<Known>,
    /// Directories whose content was changed, so that their times moved.
    touched: HashSet<Box<[u8]>>,
}

#[derive(Debug)]
struct Known {
    path: Box<[u8]>,
    folder: Folder,
    /// New files get the directory's group.
    setgid: bool,
    touched: bool,
}

impl Folders {
    pub(crate) fn new(root: Root, follow: Follow) -> Self {
        Self { root, follow, recent: Vec::new(), touched: HashSet::new() }
    }

    pub(crate) fn root(&self) -> &Root {
        &self.root
    }

    /// The directory of this path below the root, which is empty for the root.
    pub(crate) fn get(&mut self, path: &[u8]) -> io::Result<&Folder> {
        self.find(path).map(|known| &known.folder)
    }

    /// As [`Folders::get`]; its content is about to be changed.
    pub(crate) fn change(&mut self, path: &[u8]) -> io::Result<Folder> {
        let known = self.find(path)?;
        let first = !std::mem::replace(&mut known.touched, true);
        let folder = known.folder.clone();
        if first {
            self.touched.insert(path.into());
        }
        Ok(folder)
    }

    /// Whether new files in the directory get its group.
    pub(crate) fn gives_group(&mut self, path: &[u8]) -> bool {
        self.find(path).is_ok_and(|known| known.setgid)
    }

    /// Whether its content was changed since this was asked last.
    pub(crate) fn take_touched(&mut self, path: &[u8]) -> bool {
        if let Some(known) = self.recent.iter_mut().find(|known| &*known.path == path) {
            known.touched = false;
        }
        self.touched.remove(path)
    }

    /// A directory was removed or made: handles may lead to what is no longer there.
    pub(crate) fn forget(&mut self) {
        self.recent.clear();
    }

    fn find(&mut self, path: &[u8]) -> io::Result<&mut Known> {
        match self.recent.iter().position(|known| &*known.path == path) {
            Some(0) => {}
            Some(at) => self.recent[..=at].rotate_right(1),
            None => {
                let folder = self.open(path)?;
                let setgid = folder.meta()?.mode & 0o2000 != 0;
                self.recent.truncate(KEPT - 1);
                let touched = self.touched.contains(path);
                self.recent.insert(0, Known { path: path.into(), folder, setgid, touched });
            }
        }
        self.recent.first_mut().ok_or_else(absent)
    }

    fn open(&self, path: &[u8]) -> io::Result<Folder> {
        if path.is_empty() {
            return self.root.folder(None, self.follow);
        }
        let path = RelPath::parse(path)
            .map_err(|bad| io::Error::new(io::ErrorKind::InvalidInput, bad.to_string()))?;
        self.root.folder(Some(&path), self.follow).map_err(|error| match error.kind() {
            // A link that leads outside is not followed, and is told of as such.
            io::ErrorKind::CrossesDevices => rustix::io::Errno::LOOP.into(),
            _ => error,
        })
    }
}
