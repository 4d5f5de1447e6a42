//! Which names of the source share an inode.
//!
//! Filled from every look at the disk, so it knows the names that passes and batches met, and
//! checked against the disk before use: a stale name is dropped, never believed.

use std::collections::BTreeSet;
use std::sync::Mutex;

use driftless_tree::{Meta, RelPath};
use rustc_hash::FxHashMap;

type Names = FxHashMap<(u64, u64), BTreeSet<RelPath>>;

/// See the module's documentation. Holds only inodes with more than one name.
#[derive(Debug, Default)]
pub struct Links {
    names: Mutex<Names>,
}

impl Links {
    fn lock(&self) -> std::sync::MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Remembers that `path` is a name of the inode in `meta`.
    pub fn seen(&self, path: &RelPath, meta: &Meta) {
        if meta.link_count > 1 {
            self.lock().entry((meta.dev, meta.ino)).or_default().insert(path.clone());
        }
    }

    /// The names of the inode in `meta` that `still` confirms, `path` among them.
    pub fn names(
        &self,
        path: &RelPath,
        meta: &Meta,
        still: impl Fn(&RelPath) -> bool,
    ) -> Vec<RelPath> {
        let key = (meta.dev, meta.ino);
        let known: Vec<RelPath> = self.lock().get(&key).into_iter().flatten().cloned().collect();
        let mut confirmed: Vec<RelPath> = known.into_iter().filter(|name| still(name)).collect();
        if !confirmed.contains(path) {
            confirmed.push(path.clone());
        }
        if confirmed.len() > 1 {
            self.lock().insert(key, confirmed.iter().cloned().collect());
        } else {
            self.lock().remove(&key);
        }
        confirmed
    }
}
