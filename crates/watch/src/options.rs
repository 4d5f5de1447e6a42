//! What the caller chooses and what it can ask.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use driftless_tree::RelPath;

/// How to watch.
pub struct WatchOptions {
    /// The longest time between two comparisons of a directory that cannot be watched. After a change
    /// the next one comes within a second, and then ever later.
    pub poll_interval: Duration,
    /// Directories that are not watched, with all below them: nothing is told of what happens there.
    /// Asked once for each directory that is met, again when one above it was renamed.
    pub skip: Box<dyn Fn(&RelPath) -> bool + Send + Sync>,
    /// The most inotify watches to take from the user's allowance; `None` for as many as the kernel
    /// gives.
    pub max_watches: Option<usize>,
    /// How to learn of changes; `None` for what suits the tree and is possible.
    pub backend: Option<Backend>,
    /// Whether `fs.fanotify.max_queued_events` bounds the events that wait, rather than memory.
    pub limited_queue: bool,
}

/// Where changes are learnt from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Backend {
    /// One mark for each file system of the tree, however large that is. Each change on those file
    /// systems gets dearer, in the tree or not. Needs `CAP_SYS_ADMIN` and `CAP_DAC_READ_SEARCH`.
    Fanotify,
    /// One watch for each directory.
    #[default]
    Inotify,
    /// Nothing: all directories are compared at intervals.
    Poll,
}

impl Backend {
    /// The word for it in options, status and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fanotify => "fanotify",
            Self::Inotify => "inotify",
            Self::Poll => "poll",
        }
    }
}

impl Default for WatchOptions {
    fn default() -> Self {
        Self {
            poll_interval: Duration::from_secs(30),
            skip: Box::new(|_| false),
            max_watches: None,
            backend: None,
            limited_queue: false,
        }
    }
}

/// The state of a watcher, for status pages and metrics.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WatchStats {
    /// How changes are learnt of.
    pub backend: Backend,
    /// Why not in a better way, unless that was chosen.
    pub refused: Option<String>,
    /// Directories known, with the root: `watched + polled`. With fanotify, those that something
    /// happened in lately: the others cost nothing and are not known.
    pub directories: usize,
    /// Directories with an inotify watch.
    pub watched: usize,
    /// Directories without one, compared at intervals.
    pub polled: usize,
    /// Events read from the kernel.
    pub events: u64,
    /// Times the kernel queue overflowed.
    pub overflows: u64,
    /// Whether events were lost and the tree has not been gone through since.
    pub recovering: bool,
    /// The limit on watches, while it leaves directories without one.
    pub limit: Option<LimitReached>,
}

/// The limit on watches was reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LimitReached {
    /// The setting to raise.
    pub sysctl: &'static str,
    /// Its value.
    pub present: u64,
    /// A value that would suffice for the directories known.
    pub sufficient: u64,
    /// Directories without a watch.
    pub unwatched: usize,
}

/// Why a tree is not, or no longer, watched.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The root cannot be opened.
    #[error("cannot open the directory {}", path.display())]
    Root {
        /// The root.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// The root is no directory.
    #[error("{} is not a directory", path.display())]
    NotADirectory {
        /// The root.
        path: PathBuf,
    },
    /// The user's inotify instances are used up.
    #[error(
        "cannot watch {}: all {present} inotify instances of this user are taken; \
         raise the limit with sysctl fs.inotify.max_user_instances={sufficient}",
        path.display()
    )]
    Instances {
        /// The root.
        path: PathBuf,
        /// The present value of `fs.inotify.max_user_instances`.
        present: u64,
        /// A value that leaves room.
        sufficient: u64,
    },
    /// The back-end that was chosen is not possible.
    #[error("cannot watch {} with fanotify: {why}", path.display())]
    Refused {
        /// The root.
        path: PathBuf,
        /// What is missing.
        why: String,
    },
    /// The kernel refuses something else that watching needs.
    #[error("cannot {act} to watch {}", path.display())]
    Setup {
        /// The root.
        path: PathBuf,
        /// What was attempted.
        act: &'static str,
        /// The cause.
        source: io::Error,
    },
    /// The watcher has ended, because of the root or by a failure of its own.
    #[error("the watcher has ended: {0}")]
    Ended(String),
}
