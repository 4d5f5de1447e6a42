//! Which names of the source share an inode.
//!
//! Filled from every look at the disk, so it knows the names that passes and batches met, and
//! checked against the disk before use: a stale name is dropped, never believed. A file that had one
//! name until now is not in it, and no event tells its first name: then the source is searched.
//!
//! The kernel reports a change under the name that it was made through, and the other names with
//! their targets' copies are stale all the same; so a change is marked under all names, at once,
//! while the name that was used is still there to be asked for its inode.

use std::collections::{BTreeSet, HashSet};
use std::sync::Mutex;

use driftless_fs::Root;
use driftless_tree::{Kind, Meta, RelPath, Timestamp};
use rustc_hash::FxHashMap;

/// Device and inode number.
pub type InodeId = (u64, u64);

#[derive(Debug, Default)]
struct Known {
    names: BTreeSet<RelPath>,
    /// Its ctime when the whole source was last searched for names: a new name moves it.
    searched_at: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct State {
    known: FxHashMap<InodeId, Known>,
    by_path: FxHashMap<RelPath, InodeId>,
}

/// See the module's documentation. Holds only inodes with more than one name.
#[derive(Debug, Default)]
pub struct Links {
    state: Mutex<State>,
}

impl State {
    fn insert(&mut self, path: &RelPath, meta: &Meta) {
        let id = (meta.dev, meta.ino);
        if self.known.entry(id).or_default().names.insert(path.clone())
            && let Some(before) = self.by_path.insert(path.clone(), id)
            && before != id
        {
            self.remove(path, before);
        }
    }

    fn remove(&mut self, path: &RelPath, id: InodeId) {
        if let Some(known) = self.known.get_mut(&id) {
            known.names.remove(path);
            if known.names.is_empty() {
                self.known.remove(&id);
            }
        }
    }
}

impl Links {
    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Remembers that `path` is a name of the inode in `meta`.
    pub fn seen(&self, path: &RelPath, meta: &Meta) {
        if meta.link_count > 1 {
            self.lock().insert(path, meta);
        }
    }

    /// For each path with the inode it names, all names that the inode has now, in the order given.
    /// Searches the source when there must be more than are known.
    pub fn all_names(&self, root: &Root, paths: &[(RelPath, Meta)]) -> Vec<Vec<RelPath>> {
        let known = |(path, meta): &(RelPath, Meta)| self.names(root, path, meta);
        let names: Vec<Vec<RelPath>> = paths.iter().map(known).collect();
        let incomplete: Vec<Meta> = paths
            .iter()
            .zip(&names)
            .map(|((_, meta), names)| (*meta, names.len() as u64))
            .filter_map(|(meta, known)| (known < meta.link_count).then_some(meta))
            .collect();
        if incomplete.is_empty() {
            return names;
        }
        let strangers: Vec<Meta> =
            incomplete.into_iter().filter(|meta| self.wants_search(meta)).collect();
        if !strangers.is_empty() {
            search(root, self, &strangers);
        }
        // Also when there was nothing to search for: another lane may have searched meanwhile.
        paths.iter().map(known).collect()
    }

    /// The known names of the inode in `meta` that are still its names, `path` among them.
    fn names(&self, root: &Root, path: &RelPath, meta: &Meta) -> Vec<RelPath> {
        let id = (meta.dev, meta.ino);
        let still = |name: &RelPath| root.lstat(name).is_ok_and(|now| (now.dev, now.ino) == id);
        let known: Vec<RelPath> =
            self.lock().known.get(&id).into_iter().flat_map(|k| k.names.iter().cloned()).collect();
        let (mut confirmed, stale): (Vec<_>, Vec<_>) = known.into_iter().partition(still);
        let mut state = self.lock();
        for name in &stale {
            state.remove(name, id);
            if state.by_path.get(name) == Some(&id) {
                state.by_path.remove(name);
            }
        }
        if !confirmed.contains(path) {
            confirmed.push(path.clone());
        }
        if meta.link_count > 1 {
            state.insert(path, meta);
        }
        confirmed
    }

    /// Forgets that `path` was a name of another inode than the one it names now, or one of several
    /// names, if it was, and returns that inode's other names: what was said about `path` may have been
    /// about them. A name that is just being removed can still be looked at, when the inode already
    /// counts one name less.
    pub fn former_siblings(&self, path: &RelPath, now: Option<&Meta>) -> Vec<RelPath> {
        let mut state = self.lock();
        let Some(&id) = state.by_path.get(path) else { return Vec::new() };
        if now.is_some_and(|meta| (meta.dev, meta.ino) == id && meta.link_count > 1) {
            return Vec::new();
        }
        state.by_path.remove(path);
        state.remove(path, id);
        state.known.get(&id).into_iter().flat_map(|known| known.names.iter().cloned()).collect()
    }

    /// Whether the inode has names that are not known, stale ones having been dropped: it had only
    /// one when it was last looked at, or got another since.
    fn wants_search(&self, meta: &Meta) -> bool {
        self.lock().known.get(&(meta.dev, meta.ino)).is_none_or(|known| {
            (known.names.len() as u64) < meta.link_count && known.searched_at != Some(meta.ctime)
        })
    }

    fn searched(&self, meta: &Meta) {
        if let Some(known) = self.lock().known.get_mut(&(meta.dev, meta.ino)) {
            known.searched_at = Some(meta.ctime);
        }
    }
}

/// Looks through the whole source for names of the inodes in `wanted`, by the inode numbers that
/// listings carry; only what matches is looked at. What cannot be read holds no names. The last name
/// counts too: others may have gone since there were several.
fn search(root: &Root, links: &Links, wanted: &[Meta]) {
    let numbers: HashSet<u64> = wanted.iter().map(|meta| meta.ino).collect();
    let is_wanted =
        |meta: &Meta| wanted.iter().any(|wanted| (wanted.dev, wanted.ino) == (meta.dev, meta.ino));
    let mut dirs: Vec<Option<RelPath>> = vec![None];
    while let Some(dir) = dirs.pop() {
        let Ok(open) = root.open_dir(dir.as_ref()) else { continue };
        let Ok(entries) = open.entries() else { continue };
        for entry in entries {
            let Ok(path) = RelPath::child(dir.as_ref(), &entry.name) else { continue };
            if numbers.contains(&entry.ino)
                && let Ok(meta) = open.lstat(&entry.name)
                && is_wanted(&meta)
            {
                links.lock().insert(&path, &meta);
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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Barrier;

    use super::*;

    fn path(raw: &str) -> RelPath {
        RelPath::parse(raw.as_bytes()).unwrap()
    }

    /// As `lstat` sees it in the middle of `unlink`: the count is lower and the name still there.
    #[test]
    fn a_name_that_is_being_removed_still_has_siblings() {
        let source = tempfile::tempdir().unwrap();
        fs::write(source.path().join("a"), "x").unwrap();
        fs::hard_link(source.path().join("a"), source.path().join("b")).unwrap();
        let root = Root::open(source.path()).unwrap();
        let links = Links::default();
        let linked = root.lstat(&path("b")).unwrap();
        for name in ["a", "b"] {
            links.seen(&path(name), &linked);
        }
        assert_eq!(links.former_siblings(&path("b"), Some(&linked)), []);
        let going = Meta { link_count: 1, ..linked };
        assert_eq!(links.former_siblings(&path("b"), Some(&going)), [path("a")]);
    }

    #[test]
    fn a_search_finds_the_name_that_is_left() {
        let source = tempfile::tempdir().unwrap();
        fs::write(source.path().join("a"), "x").unwrap();
        fs::hard_link(source.path().join("a"), source.path().join("b")).unwrap();
        let root = Root::open(source.path()).unwrap();
        let before = root.lstat(&path("b")).unwrap();
        fs::remove_file(source.path().join("b")).unwrap();
        let names = Links::default().all_names(&root, &[(path("b"), before)]);
        assert_eq!(names, [[path("a"), path("b")]]);
    }

    /// One of them found that the other had just searched, and kept what it knew before.
    #[test]
    fn lanes_that_look_at_the_same_time_all_learn_every_name() {
        const LANES: usize = 3;
        let source = tempfile::tempdir().unwrap();
        fs::write(source.path().join("a"), "x").unwrap();
        fs::hard_link(source.path().join("a"), source.path().join("b")).unwrap();
        let root = Root::open(source.path()).unwrap();
        let path = path("b");
        let meta = root.lstat(&path).unwrap();
        for _ in 0..2_000 {
            let (links, together) = (Links::default(), Barrier::new(LANES));
            std::thread::scope(|scope| {
                for _ in 0..LANES {
                    scope.spawn(|| {
                        together.wait();
                        let names = links.all_names(&root, &[(path.clone(), meta)]);
                        assert_eq!(names[0].len(), 2, "{names:?}");
                    });
                }
            });
        }
    }
}
