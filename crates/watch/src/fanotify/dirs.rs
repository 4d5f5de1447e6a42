//! What directory handles mean, as far as is known.
//!
//! Filled when events come, never by a walk. Each entry was a fact once: "this directory has this
//! name in that one", from an event or from the disk. A rename of the directory makes an event, which
//! changes the entry, so what is known is as old as the last event taken and never stays wrong.
//! Bounded: when it is full, it is emptied and fills again.
//!
//! Nothing here touches the disk.

use std::cell::Cell;

use driftless_fs::handle::{Handle, OwnedHandle};
use driftless_tree::RelPath;
use rustc_hash::{FxHashMap, FxHashSet};

/// Directories remembered inside the tree, and as many outside.
const MOST: usize = 16 * 1024;
/// More directories than this above each other make a path that cannot be named.
const DEEPEST: usize = 4096;

/// Where a directory is, seen through one mount.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Place {
    /// At this path; `None` is the root of the tree.
    At(Option<RelPath>),
    /// Too deep for a path; the nearest directory above that has one.
    Within(Option<RelPath>),
    /// At or below a directory that the caller skips.
    Skipped,
    /// Not in the tree.
    Outside,
}

struct Dir {
    parent: Box<[u8]>,
    name: Box<[u8]>,
    /// Whether it is skipped, and after how many renames that was found out.
    skipped: Cell<Option<(u64, bool)>>,
}

pub(super) struct Dirs {
    top: OwnedHandle,
    /// Where the top is in the tree.
    prefix: Option<RelPath>,
    known: FxHashMap<Box<[u8]>, Dir>,
    outside: FxHashSet<Box<[u8]>>,
    renames: u64,
}

impl Dirs {
    /// Only `top` is known, to be at `prefix`.
    pub fn new(top: OwnedHandle, prefix: Option<RelPath>) -> Self {
        Self { top, prefix, known: FxHashMap::default(), outside: FxHashSet::default(), renames: 0 }
    }

    pub fn top(&self) -> Handle<'_> {
        self.top.as_handle()
    }

    pub fn prefix(&self) -> Option<&RelPath> {
        self.prefix.as_ref()
    }

    /// Directories known in the tree, with the top.
    pub fn count(&self) -> usize {
        1 + self.known.len()
    }

    /// Where a directory is; `None` when it is not known.
    pub fn place(&self, dir: Handle<'_>, skip: &dyn Fn(&RelPath) -> bool) -> Option<Place> {
        let mut chain = Vec::new();
        let mut at = dir.as_bytes();
        while at != self.top.as_handle().as_bytes() {
            match self.known.get(at) {
                Some(dir) if chain.len() < DEEPEST => {
                    chain.push(dir);
                    at = &dir.parent;
                }
                _ => return self.outside.contains(dir.as_bytes()).then_some(Place::Outside),
            }
        }
        if self.is_skipped(&chain, skip) {
            return Some(Place::Skipped);
        }
        Some(self.named(&chain))
    }

    /// Makes room for a chain of `count` entries, which must not lose its beginning.
    pub fn reserve(&mut self, count: usize) {
        if self.known.len() + count > MOST {
            self.known.clear();
        }
    }

    /// Notes that `dir` is `name` in `parent`, where there is room.
    pub fn insert(&mut self, dir: Handle<'_>, parent: Handle<'_>, name: &[u8]) {
        if dir == self.top() {
            return;
        }
        let entry =
            Dir { parent: parent.as_bytes().into(), name: name.into(), skipped: Cell::new(None) };
        self.outside.remove(dir.as_bytes());
        self.known.insert(dir.as_bytes().into(), entry);
    }

    /// Notes that a directory is not in the tree.
    pub fn insert_outside(&mut self, dir: Handle<'_>) {
        if self.outside.len() >= MOST {
            self.outside.clear();
        }
        self.known.remove(dir.as_bytes());
        self.outside.insert(dir.as_bytes().into());
    }

    /// Whether it is noted to be outside.
    pub fn is_outside(&self, dir: Handle<'_>) -> bool {
        self.outside.contains(dir.as_bytes())
    }

    /// Something came into the tree: what was outside may be below it.
    pub fn forget_outside(&mut self) {
        self.outside.clear();
    }

    /// A directory left its place, or is gone. What is known below it has no place meanwhile.
    pub fn forget(&mut self, dir: Handle<'_>) {
        if self.known.remove(dir.as_bytes()).is_some() {
            self.renames += 1;
        }
    }

    /// Events were lost.
    pub fn forget_all(&mut self) {
        self.known.clear();
        self.outside.clear();
    }

    /// The chain goes up from a directory to below the top.
    fn is_skipped(&self, chain: &[&Dir], skip: &dyn Fn(&RelPath) -> bool) -> bool {
        let cached = |dir: &Dir| dir.skipped.get().filter(|(at, _)| *at == self.renames);
        match chain.first() {
            None => return false,
            Some(dir) => {
                if let Some((_, skipped)) = cached(dir) {
                    return skipped;
                }
            }
        }
        let mut path = self.prefix.clone();
        let mut skipped = false;
        for dir in chain.iter().rev() {
            if !skipped {
                match RelPath::child(path.as_ref(), &dir.name) {
                    Ok(child) => {
                        skipped = skip(&child);
                        path = Some(child);
                    }
                    // Too deep: decided by what is above.
                    Err(_) => return false,
                }
            }
            dir.skipped.set(Some((self.renames, skipped)));
        }
        skipped
    }

    fn named(&self, chain: &[&Dir]) -> Place {
        let mut names: Vec<&[u8]> = self.prefix.iter().map(RelPath::as_bytes).collect();
        names.extend(chain.iter().rev().map(|dir| &dir.name[..]));
        let whole = names.len();
        loop {
            let path = match names.is_empty() {
                true => Ok(None),
                false => RelPath::parse(&names.join(&b'/')).map(Some),
            };
            match path {
                Ok(path) if names.len() == whole => return Place::At(path),
                Ok(path) => return Place::Within(path),
                Err(_) => names.pop(),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(ino: u8) -> Vec<u8> {
        let mut bytes = 8u32.to_ne_bytes().to_vec();
        bytes.extend(1i32.to_ne_bytes());
        bytes.extend([ino; 8]);
        bytes
    }

    fn with(dirs: &mut Dirs, act: impl FnOnce(&mut Dirs, &dyn Fn(u8) -> Handle<'static>)) {
        act(dirs, &|ino| Handle::parse(raw(ino).leak()).unwrap());
    }

    fn of(top: u8, prefix: Option<&str>) -> Dirs {
        let prefix = prefix.map(|raw| RelPath::parse(raw.as_bytes()).unwrap());
        Dirs::new(Handle::parse(&raw(top)).unwrap().into(), prefix)
    }

    fn at(path: &str) -> Option<Place> {
        Some(Place::At(Some(RelPath::parse(path.as_bytes()).unwrap())))
    }

    #[test]
    fn a_renamed_directory_takes_what_is_known_below_along() {
        let all = |_: &RelPath| false;
        with(&mut of(1, Some("m")), |dirs, h| {
            assert_eq!(dirs.place(h(1), &all), at("m"));
            dirs.insert(h(2), h(1), b"a");
            dirs.insert(h(3), h(2), b"b");
            assert_eq!(dirs.place(h(3), &all), at("m/a/b"));
            dirs.forget(h(2));
            assert_eq!(dirs.place(h(3), &all), None);
            dirs.insert(h(2), h(1), b"z");
            assert_eq!(dirs.place(h(3), &all), at("m/z/b"));
        });
    }

    #[test]
    fn what_is_outside_is_known_until_something_comes_in() {
        let all = |_: &RelPath| false;
        with(&mut of(1, None), |dirs, h| {
            dirs.insert_outside(h(5));
            assert_eq!(dirs.place(h(5), &all), Some(Place::Outside));
            assert_eq!(dirs.place(h(1), &all), Some(Place::At(None)));
            dirs.forget_outside();
            assert_eq!(dirs.place(h(5), &all), None);
        });
    }

    #[test]
    fn skipping_is_decided_again_after_a_rename() {
        let skip = |path: &RelPath| path.file_name() == b"skip";
        with(&mut of(1, None), |dirs, h| {
            dirs.insert(h(2), h(1), b"skip");
            dirs.insert(h(3), h(2), b"b");
            assert_eq!(dirs.place(h(3), &skip), Some(Place::Skipped));
            dirs.forget(h(2));
            dirs.insert(h(2), h(1), b"keep");
            assert_eq!(dirs.place(h(3), &skip), at("keep/b"));
        });
    }

    #[test]
    fn entries_that_are_above_each_other_and_too_deep_ones_have_no_path() {
        let all = |_: &RelPath| false;
        with(&mut of(1, None), |dirs, h| {
            dirs.insert(h(2), h(3), b"a");
            dirs.insert(h(3), h(2), b"b");
            assert_eq!(dirs.place(h(3), &all), None);
            for ino in 10..40 {
                dirs.insert(h(ino), h(if ino == 10 { 1 } else { ino - 1 }), &[b'x'; 250]);
            }
            let Some(Place::Within(Some(path))) = dirs.place(h(39), &all) else { panic!() };
            assert!(path.as_bytes().len() > 3800);
        });
    }
}
