//! The promise itself: after a barrier every path that differs is covered.
//!
//! Writers do random things to a tree; snapshots of before and after, taken by code that shares
//! nothing with the watcher, are compared.

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use driftless_tree::RelPath;
use driftless_watch::{Backend, Hint, WatchOptions, Watcher, What};
use rustix::fs::{CWD, RenameFlags};

use crate::limits::{with_ordinary_queue, with_queue};
use crate::support::{Kept, is_covered, until_stats};

/// All about an object that a mirror copies.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    ino: u64,
    mode: u32,
    size: u64,
    modified: (i64, i64),
    link: Option<PathBuf>,
}

type Snapshot = BTreeMap<Vec<u8>, Seen>;

type Inodes = HashSet<u64>;

/// The tree, and the inodes in it that have several names, perhaps elsewhere.
fn snapshot(root: &Path) -> (Snapshot, Inodes) {
    let (mut all, mut linked) = (Snapshot::new(), Inodes::new());
    let mut dirs = vec![root.to_path_buf()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let meta = fs::symlink_metadata(&path).unwrap();
            let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
            let is_dir = meta.is_dir();
            let seen = Seen {
                ino: meta.ino(),
                mode: meta.mode(),
                // What happens to a directory's entries moves its size and times.
                size: if is_dir { 0 } else { meta.size() },
                modified: if is_dir { (0, 0) } else { (meta.mtime(), meta.mtime_nsec()) },
                link: meta.is_symlink().then(|| fs::read_link(&path).unwrap()),
            };
            if !is_dir && meta.nlink() > 1 {
                linked.insert(meta.ino());
            }
            all.insert(name, seen);
            if is_dir {
                dirs.push(path);
            }
        }
    }
    (all, linked)
}

/// The paths that differ and are in no hint. A hint on a directory that is gone counts for all that
/// went with it. A file that had another name (`linked`) may have changed through that, which the
/// kernel tells of that name only.
fn uncovered(before: &Snapshot, after: &Snapshot, hints: &[Hint], linked: &Inodes) -> Vec<String> {
    let path = |raw: &[u8]| RelPath::parse(raw).unwrap();
    let names = before.keys().chain(after.keys()).collect::<std::collections::BTreeSet<_>>();
    let differing: Vec<_> = names.into_iter().filter(|n| before.get(*n) != after.get(*n)).collect();
    let cover = Cover::new(hints);
    let went = |dir: &RelPath| {
        // A number alone may be used again for something else.
        let object = |snapshot: &Snapshot| {
            snapshot.get(dir.as_bytes()).map(|seen| (seen.ino, fs_is_dir(seen)))
        };
        cover.has(dir) && object(before) != object(after)
    };
    let is_reached = |name: &Vec<u8>| {
        if cover.has(&path(name)) {
            return true;
        }
        if !after.contains_key(name) && path(name).ancestors().any(|dir| went(&dir)) {
            return true;
        }
        let (Some(was), Some(is)) = (before.get(name), after.get(name)) else { return false };
        was.ino == is.ino && !fs_is_dir(is) && linked.contains(&was.ino)
    };
    let missed = differing.into_iter().filter(|name| !is_reached(name));
    missed
        .map(|name| format!("{}: {:?} -> {:?}", path(name), before.get(name), after.get(name)))
        .collect()
}

fn fs_is_dir(seen: &Seen) -> bool {
    seen.mode & 0o170_000 == 0o040_000
}

/// The hints in a form that is quick to ask.
struct Cover {
    paths: HashSet<RelPath>,
    others: Vec<Hint>,
}

impl Cover {
    fn new(hints: &[Hint]) -> Self {
        let mut cover = Self { paths: Default::default(), others: Vec::new() };
        for hint in hints {
            match hint {
                Hint::Path { path, .. } => drop(cover.paths.insert(path.clone())),
                other if cover.others.contains(other) => {}
                other => cover.others.push(other.clone()),
            }
        }
        cover
    }

    fn has(&self, path: &RelPath) -> bool {
        self.paths.contains(path) || is_covered(&self.others, path)
    }
}

/// One thread that does random things below `root`, and some outside.
struct Writer {
    rng: fastrand::Rng,
    root: PathBuf,
    outside: PathBuf,
    /// What it gave another name.
    linked: Inodes,
}

impl Writer {
    fn name(&mut self) -> String {
        ["a", "b", "c", "d", "e", "f", "#12", "n\u{e9}w\nline"][self.rng.usize(..8)].into()
    }

    /// A path of one to four names from a small set, so that writers meet.
    fn place(&mut self) -> PathBuf {
        let mut path = self.root.clone();
        for _ in 0..self.rng.usize(1..5) {
            path.push(self.name());
        }
        path
    }

    /// Does one thing; that it is impossible just now is no matter.
    fn step(&mut self) {
        let (path, other) = (self.place(), self.place());
        let _ = match self.rng.u32(..22) {
            0..=2 => fs::write(&path, vec![b'x'; self.rng.usize(..5000)]),
            3..=4 => fs::create_dir(&path),
            5..=6 => self.chain(&path),
            7..=9 => fs::rename(&path, &other),
            10 => self.exchange(&path, &other),
            11 => fs::rename(&path, self.outside.join(self.rng.u8(..8).to_string())),
            12 => fs::rename(self.outside.join(self.rng.u8(..8).to_string()), &path),
            13 => fs::remove_dir_all(&path),
            14 => fs::remove_file(&path),
            15 => fs::remove_dir(&path).and_then(|()| fs::create_dir(&path)),
            16 => {
                fs::set_permissions(&path, fs::Permissions::from_mode(0o700 | self.rng.u32(..64)))
            }
            17 => symlink(&other, &path),
            18 => self.link(&path, &other),
            19 => self.append(&path),
            20 => self.replace(&path),
            _ => {
                std::thread::yield_now();
                Ok(())
            }
        };
    }

    fn chain(&mut self, path: &Path) -> std::io::Result<()> {
        let deep = path.join(self.name()).join(self.name());
        fs::create_dir_all(&deep)?;
        fs::write(deep.join("leaf"), "x")
    }

    fn exchange(&mut self, path: &Path, other: &Path) -> std::io::Result<()> {
        Ok(rustix::fs::renameat_with(CWD, path, CWD, other, RenameFlags::EXCHANGE)?)
    }

    fn link(&mut self, path: &Path, other: &Path) -> std::io::Result<()> {
        fs::hard_link(path, other)?;
        self.linked.extend(fs::symlink_metadata(other).map(|meta| meta.ino()));
        Ok(())
    }

    fn append(&mut self, path: &Path) -> std::io::Result<()> {
        let mut file = fs::OpenOptions::new().append(true).open(path)?;
        std::io::Write::write_all(&mut file, b"more")
    }

    fn replace(&mut self, path: &Path) -> std::io::Result<()> {
        let new = path.with_extension("tmp");
        fs::write(&new, "new")?;
        fs::rename(new, path)
    }
}

/// How writers and watcher are put together.
pub struct Course {
    pub seed: u64,
    pub backend: Backend,
    /// Of the kernel's queue; `None` for the setting as it is.
    pub queue_len: Option<u64>,
    pub max_watches: Option<usize>,
    /// Where the tree is; `None` for the folder for temporary files.
    pub parent: Option<PathBuf>,
    pub length: Length,
}

/// When a course ends.
#[derive(Clone, Copy)]
pub enum Length {
    Rounds(usize),
    /// After the time that the environment gives, and an overflow when the queue is this short.
    Time {
        overflows_below: u64,
    },
}

const WRITERS: u64 = 8;
/// Things that each writer does in a round.
const STEPS: usize = 150;
const MOST_ROUNDS: usize = 100_000;

impl Course {
    pub fn new(seed: u64, backend: Backend) -> Self {
        Self {
            seed,
            backend,
            queue_len: None,
            max_watches: None,
            parent: None,
            length: Length::Rounds(6),
        }
    }

    fn start(&self, root: &Path, kept: &Arc<Kept>) -> Watcher {
        let options = WatchOptions {
            max_watches: self.max_watches,
            backend: Some(self.backend),
            limited_queue: self.queue_len.is_some(),
            ..Default::default()
        };
        let start = || Watcher::start(root, options, kept.clone()).unwrap();
        match self.queue_len {
            Some(len) => with_queue(self.backend, len, start),
            None => with_ordinary_queue(start),
        }
    }

    fn goes_on(&self, rounds: usize, since: Instant, overflows: u64) -> bool {
        match self.length {
            Length::Rounds(most) => rounds < most,
            Length::Time { overflows_below } => {
                let wanted = self.queue_len.is_some_and(|len| len < overflows_below);
                assert!(rounds < MOST_ROUNDS, "the queue never overflowed");
                since.elapsed() < soak_time() || (wanted && overflows == 0)
            }
        }
    }
}

/// Runs writers for some rounds and checks after each; returns the statistics at the end.
#[track_caller]
pub fn run(course: &Course) -> driftless_watch::WatchStats {
    let parent = course.parent.clone().unwrap_or_else(std::env::temp_dir);
    let dir = tempfile::tempdir_in(parent).unwrap();
    let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
    fs::create_dir(&root).unwrap();
    fs::create_dir(&outside).unwrap();
    let mut writers: Vec<_> = (0..WRITERS)
        .map(|n| Writer {
            rng: fastrand::Rng::with_seed(course.seed.wrapping_mul(31).wrapping_add(n)),
            root: root.clone(),
            outside: outside.clone(),
            linked: Inodes::new(),
        })
        .collect();
    for _ in 0..100 {
        writers[0].step();
    }
    let kept = Arc::new(Kept::default());
    let watcher = course.start(&root, &kept);
    let (began, mut round) = (Instant::now(), 0);
    while course.goes_on(round, began, watcher.stats().overflows) {
        let (before, mut linked) = snapshot(&root);
        std::thread::scope(|scope| {
            for writer in &mut writers {
                scope.spawn(|| (0..STEPS).for_each(|_| writer.step()));
            }
        });
        watcher.barrier().unwrap();
        let hints = kept.take();
        let (after, _) = snapshot(&root);
        // Not the numbers of earlier rounds: they are used again for other files.
        for writer in &mut writers {
            linked.extend(std::mem::take(&mut writer.linked));
        }
        let missed = uncovered(&before, &after, &hints, &linked);
        let seed = course.seed;
        assert!(missed.is_empty(), "seed {seed} round {round}: {missed:#?}\n{hints:#?}");
        if course.backend != Backend::Fanotify {
            let dirs = after.values().filter(|seen| fs_is_dir(seen)).count() + 1;
            // What was moved out is let go a moment later.
            println!("seed {seed} round {round}: {dirs} directories");
            let stats = until_stats(&watcher, |stats| stats.directories == dirs);
            assert_eq!(stats.watched + stats.polled, dirs, "seed {seed} round {round}: {stats:?}");
        }
        round += 1;
    }
    let stats = watcher.stats();
    assert_eq!(stats.backend, course.backend, "{stats:?}");
    watcher.stop();
    println!("{round} rounds, {stats:?}");
    stats
}

/// How long a course by time takes: a moment, or what `WATCH_SECONDS` says.
fn soak_time() -> Duration {
    let given = std::env::var("WATCH_SECONDS").ok().map(|text| text.parse().unwrap());
    Duration::from_secs_f64(given.unwrap_or(2.0))
}

pub fn seed() -> u64 {
    let given = std::env::var("WATCH_SEED").ok().map(|text| text.parse().unwrap());
    let seed = given.unwrap_or_else(|| fastrand::u64(..1 << 32));
    println!("WATCH_SEED={seed}");
    seed
}

/// Nothing is lost, whatever several writers do, with a queue of this length.
#[track_caller]
fn check(backend: Backend, queue_len: Option<u64>) {
    let length = Length::Time { overflows_below: 100 };
    run(&Course { queue_len, length, ..Course::new(seed(), backend) });
}

#[test]
fn fanotify_loses_nothing() {
    check(Backend::Fanotify, None);
}

#[test]
fn fanotify_loses_nothing_with_a_queue_of_64_events() {
    check(Backend::Fanotify, Some(64));
}

#[test]
fn fanotify_loses_nothing_with_a_queue_of_1024_events() {
    check(Backend::Fanotify, Some(1024));
}

#[test]
fn inotify_loses_nothing() {
    check(Backend::Inotify, None);
}

#[test]
fn inotify_loses_nothing_with_a_queue_of_64_events() {
    check(Backend::Inotify, Some(64));
}

#[test]
fn inotify_loses_nothing_with_a_queue_of_1024_events() {
    check(Backend::Inotify, Some(1024));
}

#[test]
fn inotify_loses_nothing_without_enough_watches() {
    let length = Length::Time { overflows_below: 0 };
    let course = Course { max_watches: Some(8), length, ..Course::new(seed(), Backend::Inotify) };
    let stats = run(&course);
    assert!(stats.watched <= 8, "{stats:?}");
}

#[test]
fn comparing_loses_nothing() {
    check(Backend::Poll, None);
}

#[test]
fn the_cover_of_the_test_itself_can_fail() {
    let seen = |ino| Seen { ino, mode: 0o100_644, size: 1, modified: (1, 1), link: None };
    let before = Snapshot::from([(b"d/f".to_vec(), seen(1))]);
    let after = Snapshot::from([(b"d/f".to_vec(), seen(2))]);
    let hint = |name: &str| Hint::Path { path: crate::support::rel(name), what: What::MODIFIED };
    let count = |hint| uncovered(&before, &after, &[hint], &Inodes::new()).len();
    assert_eq!(count(hint("d/g")), 1);
    assert_eq!(count(hint("d/f")), 0);
    assert_eq!(count(crate::support::subtree("d")), 0);
}
