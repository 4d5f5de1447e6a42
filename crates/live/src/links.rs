//! Which names of the source share an inode.
//!
//! Filled from every look at the disk, so it knows the names that passes and batches met, and
//! checked against the disk before use: a stale name is dropped, never believed. A file that had one
//! name until now is not in it, and no event tells its first name: then the source is searched.

use std::collections::{BTreeSet, HashSet};
use std::sync::Mutex;

use driftless_fs::Root;
use driftless_tree::{Kind, Meta, RelPath};
use rustc_hash::FxHashMap;

/// Device and inode number.
pub type InodeId = (u64, u64);

#[derive(Debug, Default)]
struct Known {
    names: BTreeSet<RelPath>,
    /// How many names the inode had when the whole source was last searched for them.
    searched_at: u64,
}

/// See the module's documentation. Holds only inodes with more than one name.
#[derive(Debug, Default)]
pub struct Links {
    known: Mutex<FxHashMap<InodeId, Known>>,
}

impl Links {
    fn lock(&self) -> std::sync::MutexGuard<'_, FxHashMap<InodeId, Known>> {
        self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Remembers that `path` is a name of the inode in `meta`.
    pub fn seen(&self, path: &RelPath, meta: &Meta) {
        if meta.link_count > 1 {
            self.lock().entry((meta.dev, meta.ino)).or_default().names.insert(path.clone());
        }
    }

    /// The names of the inode in `meta` that `still` confirms, `path` among them.
    pub fn names(
        &self,
        path: &RelPath,
        meta: &Meta,
        still: impl Fn(&RelPath) -> bool,
    ) -> Vec<RelPath> {
        let id = (meta.dev, meta.ino);
        let known: Vec<RelPath> = self
            .lock()
            .get(&id)
            .map(|known| known.names.iter().cloned().collect())
            .unwrap_or_default();
        let mut confirmed: Vec<RelPath> = known.into_iter().filter(|name| still(name)).collect();
        if !confirmed.contains(path) {
            confirmed.push(path.clone());
        }
        if meta.link_count > 1 {
            self.lock().entry(id).or_default().names = confirmed.iter().cloned().collect();
        } else {
            self.lock().remove(&id);
        }
        confirmed
    }

    /// Whether the inode has names that are not known and have not been searched for: it had only
    /// one when it was last looked at.
    pub fn wants_search(&self, meta: &Meta) -> bool {
        self.lock().get(&(meta.dev, meta.ino)).is_none_or(|known| {
            (known.names.len() as u64) < meta.link_count && known.searched_at != meta.link_count
        })
    }

    /// The whole source has been searched for names of the inode.
    pub fn searched(&self, meta: &Meta) {
        self.lock().entry((meta.dev, meta.ino)).or_default().searched_at = meta.link_count;
    }
}

/// Looks through the whole source for names of the inodes in `wanted`, by the inode numbers that
/// listings carry; only what matches is looked at. What cannot be read holds no names.
pub fn search(root: &Root, links: &Links, wanted: &[Meta]) {
    let numbers: HashSet<u64> = wanted.iter().map(|meta| meta.ino).collect();
    let mut dirs: Vec<Option<RelPath>> = vec![None];
    while let Some(dir) = dirs.pop() {
        let Ok(open) = root.open_dir(dir.as_ref()) else { continue };
        let Ok(entries) = open.entries() else { continue };
        for entry in entries {
            let Ok(path) = RelPath::child(dir.as_ref(), &entry.name) else { continue };
            if numbers.contains(&entry.ino)
                && let Ok(meta) = open.lstat(&entry.name)
            {
                links.seen(&path, &meta);
            }
            let may_be_dir = match entry.kind {
                Some(kind) => kind == Kind::Dir,
                None => open.lstat(&entry.name).is_ok_and(|meta| meta.kind == Kind::Dir),
            };
            if may_be_dir {
                dirs.push(Some(path));
            }
        }
    }
    wanted.iter().for_each(|meta| links.searched(meta));
}
