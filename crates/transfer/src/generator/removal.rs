//! Removal of whole directories that nothing protects, two at a time.
//!
//! What goes without trouble is removed here, and told in the order in which one thread would have
//! removed it. What does not is left to [`Session::delete`], which knows what to say.

use std::sync::atomic::{AtomicUsize, Ordering};

use driftless_fs::Folder;
use driftless_tree::Kind;

use super::delete::{join, last_first};
use crate::beside::both;
use crate::error::PushError;
use crate::receiver::Session;
use crate::receiver::lists::leaf_of;

/// Directories that are removed before it is told.
const AT_ONCE: usize = 16;

/// Directories in directories that are entered, each with an open handle.
const MAX_DEPTH: usize = 32;

/// What was removed, in order.
type Removed = Vec<(Vec<u8>, Kind)>;

impl Session<'_> {
    /// Deletes names of one directory, in this order.
    pub(super) fn delete_all(
        &mut self,
        dir: &[u8],
        found: Vec<(Vec<u8>, Kind)>,
    ) -> Result<(), PushError> {
        let is_dir = |(_, kind): &&(Vec<u8>, Kind)| *kind == Kind::Dir;
        let is_plain = !self.is_dry()
            && self.options.write.backup.is_none()
            && !self.deletions.is_limited()
            && self.receive.rules.as_ref().is_none_or(|rules| rules.is_empty());
        if !is_plain || found.iter().filter(is_dir).nth(1).is_none() {
            return found.iter().try_for_each(|(name, kind)| self.delete(name, *kind).map(drop));
        }
        for some in found.chunks(AT_ONCE) {
            // Where that fails, it does for each of them.
            let removed = match self.folder_to_change(dir) {
                Ok(folder) => remove(&folder, some),
                Err(_) => some.iter().map(|_| Removed::new()).collect(),
            };
            self.forget_below();
            for ((name, kind), removed) in some.iter().zip(removed) {
                let is_gone = removed.last().is_some_and(|(last, _)| last == name);
                for (gone, kind) in &removed {
                    self.deleted(gone, *kind);
                }
                if !is_gone {
                    self.delete(name, *kind)?;
                }
            }
        }
        Ok(())
    }
}

/// Removes the directories among `names`, all in `folder`, on two threads.
fn remove(folder: &Folder, names: &[(Vec<u8>, Kind)]) -> Vec<Removed> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some((name, kind)) = names.get(at) else { return done };
            let mut removed = Removed::new();
            if *kind == Kind::Dir {
                remove_tree(folder, name, MAX_DEPTH, &mut removed);
            }
            done.push((at, removed));
        }
    };
    let (first, second) = both(work, work);
    let mut all = vec![Removed::new(); names.len()];
    for (at, removed) in first.into_iter().chain(second) {
        all[at] = removed;
    }
    all
}

/// Removes a directory with what is in it, as far as that goes. `false`: it stays.
fn remove_tree(parent: &Folder, path: &[u8], depth: usize, removed: &mut Removed) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    let Ok(folder) = parent.open_folder(leaf_of(path)) else { return false };
    let Ok(present) = folder.list().and_then(|dir| dir.entries()) else { return false };
    let mut inside = Vec::with_capacity(present.len());
    for entry in present {
        let kind = entry.kind.or_else(|| folder.lstat(&entry.name).ok().map(|meta| meta.kind));
        let Some(kind) = kind else { return false };
        inside.push((join(path, &entry.name), kind));
    }
    inside.sort_by(last_first);
    let mut emptied = true;
    for (child, kind) in inside {
        if kind == Kind::Dir {
            emptied &= remove_tree(&folder, &child, depth, removed);
        } else if folder.remove_file(leaf_of(&child)).is_ok() {
            removed.push((child, kind));
        } else {
            emptied = false;
        }
    }
    if emptied && parent.remove_dir(leaf_of(path)).is_ok() {
        removed.push((path.to_vec(), Kind::Dir));
        return true;
    }
    false
}
