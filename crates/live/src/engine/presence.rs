//! Which names a target may hold.
//!
//! A superset of the truth: a name enters before it is sent and leaves when its deletion has been
//! acknowledged. So "not in here" proves that the target has nothing under a name, which is what
//! sending a renamed file without its content rests on, and "in here but gone at the source" finds
//! what to delete below a directory whose events were lost.

use std::collections::BTreeMap;

use driftless_tree::RelPath;

use crate::engine::nameset::NameSet;

/// See the module's documentation. The root's own names are kept under `None`.
#[derive(Debug, Default)]
pub struct Presence {
    dirs: BTreeMap<Option<RelPath>, NameSet>,
    count: u64,
}

impl Presence {
    /// The target may hold `path` from now on.
    pub fn insert(&mut self, path: &RelPath) {
        let names = self.dirs.entry(path.parent()).or_default();
        self.count += u64::from(names.insert(path.file_name()));
    }

    /// The target may hold these `names` in `dir` from now on.
    pub fn insert_all<'a>(&mut self, dir: Option<&RelPath>, names: impl Iterator<Item = &'a [u8]>) {
        let held = self.dirs.entry(dir.cloned()).or_default();
        let before = held.len();
        match before {
            0 => *held = NameSet::of(names),
            _ => names.for_each(|name| _ = held.insert(name)),
        }
        self.count += (held.len() - before) as u64;
    }

    /// The target holds nothing at or below `path` any more.
    pub fn remove(&mut self, path: &RelPath) {
        if let Some(names) = self.dirs.get_mut(&path.parent())
            && names.remove(path.file_name())
        {
            self.count -= 1;
        }
        self.remove_below(path);
    }

    /// The target holds nothing below `path` any more.
    pub fn remove_below(&mut self, path: &RelPath) {
        for dir in self.dirs_at(path) {
            if let Some(names) = self.dirs.remove(&Some(dir)) {
                self.count -= names.len() as u64;
            }
        }
    }

    fn dirs_at(&self, path: &RelPath) -> Vec<RelPath> {
        self.dirs
            .range(Some(path.clone())..)
            .map_while(|(dir, _)| dir.as_ref())
            .take_while(|dir| dir.as_bytes().starts_with(path.as_bytes()))
            .filter(|dir| *dir == path || dir.is_below(path))
            .cloned()
            .collect()
    }

    /// The target may hold everything that `other` says as well.
    pub fn merge(&mut self, other: Presence) {
        for (dir, names) in other.dirs {
            self.insert_all(dir.as_ref(), names.iter());
        }
    }

    /// Whether the target may hold `path`.
    pub fn contains(&self, path: &RelPath) -> bool {
        self.dirs.get(&path.parent()).is_some_and(|names| names.contains(path.file_name()))
    }

    /// The names that the target may hold directly in `dir`.
    pub fn names(&self, dir: Option<&RelPath>) -> impl Iterator<Item = &[u8]> {
        self.dirs.get(&dir.cloned()).into_iter().flat_map(NameSet::iter)
    }

    /// How many names the target may hold at and below `path`.
    pub fn count_at(&self, path: &RelPath) -> u64 {
        let below: u64 =
            self.dirs_at(path).into_iter().map(|dir| self.dirs[&Some(dir)].len() as u64).sum();
        u64::from(self.contains(path)) + below
    }

    /// How many names the target may hold in all.
    pub fn count(&self) -> u64 {
        self.count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(raw: &str) -> RelPath {
        RelPath::parse(raw.as_bytes()).unwrap()
    }

    #[test]
    fn removing_a_directory_removes_what_is_below_and_nothing_beside() {
        let mut held = Presence::default();
        for name in ["d", "d/a", "d/s", "d/s/x", "d.x", "d.x/y", "e"] {
            held.insert(&path(name));
        }
        assert_eq!(held.count_at(&path("d")), 4);
        held.remove(&path("d"));
        assert_eq!(held.count(), 3);
        for (name, there) in [("d", false), ("d/s/x", false), ("d.x/y", true), ("e", true)] {
            assert_eq!(held.contains(&path(name)), there, "{name}");
        }
        let top: Vec<_> = held.names(None).collect();
        assert_eq!(top, [b"d.x".as_slice(), b"e".as_slice()]);
    }
}
