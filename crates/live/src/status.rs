//! How a mirror is doing: plain values, for any face.

use driftless_watch::Backend;
use std::time::{Duration, SystemTime};

/// One mirror.
#[derive(Debug, Clone)]
pub struct MirrorStatus {
    /// Its name.
    pub name: String,
    /// The directory that is mirrored.
    pub source: String,
    /// Whether the source is there and watched.
    pub state: MirrorState,
    /// Why not, and what to do.
    pub error: Option<String>,
    /// The watcher.
    pub watch: WatchStatus,
    /// When the next scheduled pass runs.
    pub next_pass: Option<SystemTime>,
    /// In the order of the configuration.
    pub targets: Vec<TargetStatus>,
}

/// State of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MirrorState {
    /// Watches are being set up.
    Starting,
    /// Changes are noticed.
    Running,
    /// The source is gone or is another directory: nothing is sent, nothing is deleted.
    SourceLost,
}

impl MirrorState {
    /// The word for it in status and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::SourceLost => "source-lost",
        }
    }
}

/// What the watcher does.
#[derive(Debug, Clone, Default)]
pub struct WatchStatus {
    /// How changes are learnt of.
    pub backend: Backend,
    /// Directories in the tree; with fanotify, those that something happened in lately.
    pub directories: usize,
    /// Those that cannot be watched and are compared from time to time.
    pub polled: usize,
    /// Kernel events read.
    pub events: u64,
    /// Times the kernel's queue overflowed.
    pub overflows: u64,
    /// What limits it, and what to do.
    pub warning: Option<String>,
}

/// One target.
#[derive(Debug, Clone)]
pub struct TargetStatus {
    /// Where.
    pub url: String,
    /// What it does.
    pub state: LaneState,
    /// Age of the oldest change that it may not have.
    pub lag: Duration,
    /// Paths that may differ; a tree or pass that is due counts as one.
    pub dirty_paths: u64,
    /// Bytes sent to it in all.
    pub bytes_sent: u64,
    /// Bytes received from it in all.
    pub bytes_received: u64,
    /// Batches that ended well.
    pub batches: u64,
    /// Full passes that ended well.
    pub passes: u64,
    /// Files whose content was sent.
    pub files_sent: u64,
    /// What went wrong last, while it matters.
    pub last_error: Option<String>,
    /// Time until the next try.
    pub next_retry: Option<Duration>,
    /// What the target was found to refuse, and what that means.
    pub refusals: Vec<String>,
    /// How the last full pass ended.
    pub last_pass: Option<PassStatus>,
}

/// A full pass that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassStatus {
    /// When it began.
    pub began: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// Files whose content was sent.
    pub files: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Why the target is not identical, if it is not.
    pub error: Option<String>,
}

/// What a lane does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneState {
    /// Before the first contact.
    Connecting,
    /// A whole-tree transfer.
    FullPass,
    /// Caught up, or about to be.
    Live,
    /// Working through changes that are older than a moment.
    CatchingUp,
    /// Between the runs of a schedule.
    Waiting,
    /// Waiting for the next try.
    BackingOff,
    /// Until a person resumes it, or its source is back.
    Paused,
}

impl LaneState {
    /// The word for it in status and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::FullPass => "full-pass",
            Self::Live => "live",
            Self::CatchingUp => "catching-up",
            Self::Waiting => "waiting",
            Self::BackingOff => "backing-off",
            Self::Paused => "paused",
        }
    }
}
