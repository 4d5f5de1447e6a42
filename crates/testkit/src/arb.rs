//! Random changes to a live tree, repeatable by their seed.
//!
//! The generator keeps no model: each step looks at the tree and picks from what stands there, in
//! sorted order, so that the same seed on the same tree makes the same changes.

mod names;
mod steps;

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use fastrand::Rng;

use crate::compare::shown;

/// A generator of random changes below a root.
#[derive(Debug)]
pub struct Ops {
    seed: u64,
    random: Rng,
    root: PathBuf,
    outside: PathBuf,
    history: Vec<String>,
    hidden_edits: bool,
    attributes: bool,
    serial: u64,
}

impl Ops {
    /// Changes below `root`; `outside` is a folder on the same file system that trees are moved
    /// in from and out to. Both exist.
    pub fn new(seed: u64, root: &Path, outside: &Path) -> Self {
        Self {
            seed,
            random: Rng::with_seed(seed),
            root: root.to_owned(),
            outside: outside.to_owned(),
            history: Vec::new(),
            hidden_edits: true,
            attributes: false,
            serial: 0,
        }
    }

    /// A seed from the variable `DRIFTLESS_SEED`, else a new one. Printed, so that a failure can
    /// be repeated.
    ///
    /// # Panics
    /// When the variable is not a number.
    pub fn seed_from_environment() -> u64 {
        let seed = match std::env::var("DRIFTLESS_SEED") {
            Ok(text) => text.parse().expect("DRIFTLESS_SEED is a number"),
            Err(_) => fastrand::u64(..),
        };
        println!("seed {seed}; repeat with DRIFTLESS_SEED={seed}");
        seed
    }

    /// Without edits that keep both size and time: only somebody who saw the event can know of
    /// them, not somebody who was not running at the time.
    #[must_use]
    pub fn visible_edits_only(mut self) -> Self {
        self.hidden_edits = false;
        self
    }

    /// With changes of extended attributes and ACLs.
    #[must_use]
    pub fn with_attributes(mut self) -> Self {
        self.attributes = true;
        self
    }

    /// Makes one change.
    pub fn step(&mut self) {
        let steps = match self.attributes && self.random.u8(..4) == 0 {
            true => steps::ATTRIBUTES,
            false => steps::ALL,
        };
        let act = self.random.choice(steps).expect("there are steps");
        // A change may be impossible just now (a name too long once moved, a directory over a
        // file): then nothing happened, which the history says too.
        let line = match act(self) {
            Ok(line) => line,
            Err(error) => format!("(not possible: {error})"),
        };
        self.history.push(line);
    }

    /// Makes `count` changes without a pause.
    pub fn burst(&mut self, count: usize) {
        for _ in 0..count {
            self.step();
        }
    }

    /// A number from the same source as the changes, for what a test decides between them.
    pub fn number(&mut self, range: std::ops::Range<usize>) -> usize {
        self.random.usize(range)
    }

    /// How many changes were made.
    pub fn len(&self) -> usize {
        self.history.len()
    }

    /// Whether no change was made yet.
    pub fn is_empty(&self) -> bool {
        self.history.is_empty()
    }

    /// The seed, the last changes, and every change that mentions one of `names` or a name that
    /// such a change mentions too, as a rename or a link does.
    pub fn report(&self, names: &[&str]) -> String {
        let mut text = format!("seed {} after {} changes\n", self.seed, self.history.len());
        let recent = self.history.len().saturating_sub(30);
        let mentions = |line: &String, names: &[&str]| names.iter().any(|name| line.contains(name));
        let near: Vec<&str> = self
            .history
            .iter()
            .filter(|line| line.contains("link ") || line.contains("rename"))
            .filter(|line| mentions(line, names))
            .flat_map(|line| line.split(' ').skip(1))
            .filter(|word| word.len() > 4)
            .chain(names.iter().copied())
            .collect();
        for (number, line) in self.history.iter().enumerate() {
            if number >= recent || mentions(line, &near) {
                writeln!(text, "{number:5} {line}").expect("writing to a string");
            }
        }
        text
    }

    fn say(&self, verb: &str, paths: &[&Path]) -> String {
        use std::os::unix::ffi::OsStrExt;
        let mut line = verb.to_owned();
        for path in paths {
            let (place, inside) = match path.strip_prefix(&self.root) {
                Ok(inside) => ("", inside),
                Err(_) => ("outside/", path.strip_prefix(&self.outside).unwrap_or(path)),
            };
            line.push_str(&format!(" {place}{}", shown(inside.as_os_str().as_bytes())));
        }
        line
    }

    /// Some directory of the tree, the root included.
    fn directory(&mut self) -> PathBuf {
        let mut at = self.root.clone();
        loop {
            let below: Vec<PathBuf> = sorted(&at).into_iter().filter(|p| is_plain_dir(p)).collect();
            match self.random.choice(below) {
                Some(next) if self.random.u8(..) < 160 => at = next,
                _ => return at,
            }
        }
    }

    /// Some entry for which `wanted` holds.
    fn entry(&mut self, wanted: fn(&Path) -> bool) -> std::io::Result<PathBuf> {
        for _ in 0..20 {
            let directory = self.directory();
            let fitting: Vec<PathBuf> =
                sorted(&directory).into_iter().filter(|p| wanted(p)).collect();
            if let Some(path) = self.random.choice(fitting) {
                return Ok(path);
            }
        }
        Err(std::io::Error::other("there is nothing of the kind"))
    }

    /// A name that is new most of the time, in some directory.
    fn place(&mut self) -> PathBuf {
        let directory = self.directory();
        self.serial += 1;
        directory.join(names::name(&mut self.random, self.serial))
    }
}

fn sorted(directory: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut all: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    all.sort();
    all
}

fn is_plain_dir(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.is_dir())
}

fn is_plain_file(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|m| m.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare;
    use std::os::unix::fs::MetadataExt;

    fn grow(seed: u64, count: usize) -> (tempfile::TempDir, Ops) {
        let folder = tempfile::tempdir().unwrap();
        let (root, outside) = (folder.path().join("root"), folder.path().join("outside"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&outside).unwrap();
        let mut ops = Ops::new(seed, &root, &outside);
        ops.burst(count);
        (folder, ops)
    }

    #[test]
    fn the_same_seed_makes_the_same_changes() {
        let ((a, first), (b, second)) = (grow(7, 300), grow(7, 300));
        assert_eq!(first.history, second.history);
        let names =
            |folder: &tempfile::TempDir| compare::names(&folder.path().join("root")).unwrap();
        assert_eq!(names(&a), names(&b));
    }

    #[test]
    fn most_changes_are_possible_and_every_kind_happens() {
        let (folder, ops) = grow(11, 3000);
        let refused = ops.history.iter().filter(|line| line.starts_with('(')).count();
        assert!(refused < 300, "{refused} of 3000 changes were impossible");
        let verbs: std::collections::BTreeSet<&str> =
            ops.history.iter().filter_map(|line| line.split(' ').next()).collect();
        for verb in [
            "create",
            "append",
            "truncate",
            "rewrite",
            "replace",
            "rename",
            "rename-directory",
            "move-in",
            "move-out",
            "delete",
            "delete-tree",
            "chmod",
            "chown",
            "touch",
            "symlink",
            "retarget",
            "link",
            "write-through-link",
            "fifo",
            "chain",
            "turn-into",
            "swap",
            "rewrite-hidden",
        ] {
            assert!(verbs.contains(verb), "no {verb} among {verbs:?}");
        }
        let root = folder.path().join("root");
        let names = compare::names(&root).unwrap();
        assert!((50..5000).contains(&names.len()), "{} entries", names.len());
        let linked = names.iter().filter(|name| {
            let path = root.join(std::ffi::OsStr::new(
                <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(name),
            ));
            fs::symlink_metadata(path).is_ok_and(|m| m.is_file() && m.nlink() > 1)
        });
        assert!(linked.count() > 0, "no hard links");
        assert!(names.iter().any(|name| std::str::from_utf8(name).is_err()), "no odd names");
        assert!(names.iter().any(|name| name.contains(&b'\n')), "no line feeds in names");
    }
}
