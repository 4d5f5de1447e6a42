//! A sink that keeps what it is told, and a watched temporary directory.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use driftless_tree::RelPath;
use driftless_watch::{Backend, Hint, Sink, WatchError, WatchOptions, WatchStats, Watcher, What};

use crate::limits::with_ordinary_queue;

#[derive(Default)]
pub struct Kept {
    batches: Mutex<Vec<Vec<Hint>>>,
    delivered: Condvar,
}

impl Sink for Kept {
    fn deliver(&self, hints: &mut Vec<Hint>) {
        self.batches.lock().unwrap().push(std::mem::take(hints));
        self.delivered.notify_all();
    }
}

impl Kept {
    pub fn take(&self) -> Vec<Hint> {
        std::mem::take(&mut *self.batches.lock().unwrap()).into_iter().flatten().collect()
    }

    /// Waits until a hint fulfils the condition.
    #[track_caller]
    pub fn wait_for(&self, condition: impl Fn(&Hint) -> bool) {
        let batches = self.batches.lock().unwrap();
        let missing = |batches: &mut Vec<Vec<Hint>>| !batches.iter().flatten().any(&condition);
        let limit = Duration::from_secs(60);
        let (batches, timeout) =
            self.delivered.wait_timeout_while(batches, limit, missing).unwrap();
        assert!(!timeout.timed_out(), "no such hint in {batches:?}");
    }
}

/// A watched temporary directory.
pub struct Watched {
    pub watcher: Watcher,
    pub kept: Arc<Kept>,
    pub root: PathBuf,
    pub dir: tempfile::TempDir,
}

impl Watched {
    pub fn new(backend: Backend) -> Self {
        Self::with(with(backend), |_| ())
    }

    /// Watches after the tree was prepared.
    pub fn with(options: WatchOptions, prepare: impl FnOnce(&Path)) -> Self {
        Self::prepared(options, prepare, |start| with_ordinary_queue(start))
    }

    /// Watches a tree that is there and stays.
    pub fn at(root: &Path, options: WatchOptions) -> Self {
        let kept = Arc::new(Kept::default());
        let watcher = with_ordinary_queue(|| Watcher::start(root, options, kept.clone()).unwrap());
        Self { watcher, kept, root: root.to_path_buf(), dir: tempfile::tempdir().unwrap() }
    }

    /// For use inside `with_short_queue`.
    pub fn unguarded(backend: Backend) -> Self {
        let options = WatchOptions { limited_queue: true, ..with(backend) };
        Self::prepared(options, |_| (), |start| start())
    }

    fn prepared(
        options: WatchOptions,
        prepare: impl FnOnce(&Path),
        guard: impl FnOnce(&mut dyn FnMut() -> Watcher) -> Watcher,
    ) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir(&root).unwrap();
        prepare(&root);
        let kept = Arc::new(Kept::default());
        let mut options = Some(options);
        let watcher =
            guard(&mut || Watcher::start(&root, options.take().unwrap(), kept.clone()).unwrap());
        Self { watcher, kept, root, dir }
    }

    /// With inotify, so many directories are watched.
    #[track_caller]
    pub fn check_count(&self, count: usize) {
        let stats = self.watcher.stats();
        if stats.backend == Backend::Inotify {
            assert_eq!(stats.watched, count, "{stats:?}");
        }
    }

    /// With inotify, waits until so many directories are watched.
    #[track_caller]
    pub fn until_count(&self, count: usize) {
        until_stats(&self.watcher, |stats| {
            stats.backend != Backend::Inotify || stats.watched == count
        });
    }

    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }

    pub fn outside(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// All hints up to now.
    pub fn hints(&self) -> Vec<Hint> {
        self.watcher.barrier().unwrap();
        self.kept.take()
    }

    /// As [`Watched::hints`], without looks at everything: other tests change directories on the same
    /// file system, and one of them that cannot be found when its event is read costs such a look.
    pub fn precise_hints(&self) -> Vec<Hint> {
        let mut hints = self.hints();
        hints.retain(|hint| *hint != Hint::Subtree { path: None });
        hints
    }

    pub fn try_hints(&self) -> Result<Vec<Hint>, WatchError> {
        self.watcher.barrier()?;
        Ok(self.kept.take())
    }
}

/// The tests of a file, each with fanotify and with inotify.
macro_rules! each_backend {
    ($($test:ident,)*) => {
        mod fanotify {
            $(#[test]
            fn $test() {
                super::$test(driftless_watch::Backend::Fanotify);
            })*
        }
        mod inotify {
            $(#[test]
            fn $test() {
                super::$test(driftless_watch::Backend::Inotify);
            })*
        }
    };
}
pub(crate) use each_backend;

/// The options that choose a back-end.
pub fn with(backend: Backend) -> WatchOptions {
    WatchOptions { backend: Some(backend), ..WatchOptions::default() }
}

pub fn rel(path: &str) -> RelPath {
    RelPath::parse(path.as_bytes()).unwrap()
}

pub fn subtree(path: &str) -> Hint {
    Hint::Subtree { path: Some(rel(path)) }
}

pub fn renamed(from: &str, to: &str, is_dir: bool) -> Hint {
    Hint::Renamed { from: rel(from), to: rel(to), is_dir }
}

/// All that was said about one path.
pub fn what(hints: &[Hint], path: &str) -> What {
    hints.iter().fold(What::default(), |all, hint| match hint {
        Hint::Path { path: told, what } if *told == rel(path) => all | *what,
        _ => all,
    })
}

/// Whether somebody who follows the hints looks at the path.
pub fn is_covered(hints: &[Hint], path: &RelPath) -> bool {
    let within = |top: &RelPath| path == top || path.is_below(top);
    hints.iter().any(|hint| match hint {
        Hint::Path { path: told, .. } => told == path,
        Hint::Subtree { path: None } => true,
        Hint::Subtree { path: Some(top) } => within(top),
        Hint::Renamed { from, to, is_dir: true } => within(from) || within(to),
        Hint::Renamed { from, to, is_dir: false } => path == from || path == to,
        Hint::RootAttributes | Hint::RootLost(_) => false,
    })
}

/// Waits until the statistics are as wanted.
#[track_caller]
pub fn until_stats(watcher: &Watcher, wanted: impl Fn(&WatchStats) -> bool) -> WatchStats {
    let limit = Instant::now() + Duration::from_secs(60);
    loop {
        let stats = watcher.stats();
        if wanted(&stats) {
            return stats;
        }
        assert!(Instant::now() < limit, "{stats:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A mount, taken away in the end.
pub struct Mounted(PathBuf);

impl Mounted {
    pub fn bind(what: &Path, at: &Path) -> Self {
        rustix::mount::mount_bind(what, at).expect("this test mounts: run it as root");
        Self(at.to_path_buf())
    }

    pub fn tmpfs(at: &Path) -> Self {
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("tmpfs", at, "tmpfs", flags, None)
            .expect("this test mounts: run it as root");
        Self(at.to_path_buf())
    }
}

impl Mounted {
    pub fn overlay(options: &str, at: &Path) -> Self {
        let options = std::ffi::CString::new(options).unwrap();
        let flags = rustix::mount::MountFlags::empty();
        rustix::mount::mount("overlay", at, "overlay", flags, Some(&*options))
            .expect("this test mounts: run it as root");
        Self(at.to_path_buf())
    }
}

impl Mounted {
    /// The directory that it is in was renamed.
    pub fn moved_to(mut self, at: &Path) -> Self {
        self.0 = at.to_path_buf();
        self
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        rustix::mount::unmount(&self.0, rustix::mount::UnmountFlags::empty()).unwrap();
    }
}
