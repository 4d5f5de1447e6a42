//! How a mirror is doing: plain values, for any face.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use driftless_tree::RelPath;
use driftless_watch::Backend;

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
    /// When the next scheduled verify runs.
    pub next_verify: Option<SystemTime>,
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
    /// What the last verify found.
    pub last_verify: Option<Arc<VerifyStatus>>,
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

/// A verify that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifyStatus {
    /// When it began.
    pub began: SystemTime,
    /// How long it took.
    pub took: Duration,
    /// Names of the source that were compared.
    pub compared: u64,
    /// Names at which source and target differ.
    pub differing: u64,
    /// Those names, the first [`VerifyStatus::MOST_NAMES`] of them.
    pub differences: Vec<Difference>,
    /// Why not everything was compared, if it was not.
    pub error: Option<String>,
}

impl VerifyStatus {
    /// Most differing names that are kept.
    pub const MOST_NAMES: usize = 100_000;

    /// One that could not begin.
    pub fn impossible(why: impl Into<String>) -> Self {
        Self {
            began: SystemTime::now(),
            took: Duration::ZERO,
            compared: 0,
            differing: 0,
            differences: Vec::new(),
            error: Some(why.into()),
        }
    }

    /// Whether source and target were found to be the same.
    pub fn proved(&self) -> bool {
        self.differing == 0 && self.error.is_none()
    }
}

/// One name at which a target differs from its source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The name; `None` for the root.
    pub path: Option<RelPath>,
    /// In what.
    pub aspects: Vec<Aspect>,
}

impl Difference {
    /// The name as one safe line; `.` for the root.
    pub fn name(&self) -> String {
        self.path.as_ref().map_or_else(|| ".".to_owned(), RelPath::to_string)
    }
}

/// In what a name at the target differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Aspect {
    /// It is not there, or is of another kind.
    Missing,
    /// The source does not have it.
    Extra,
    /// A file's bytes, a symbolic link's text, a device's number.
    Content,
    /// Which names share an inode. A daemon tells of those that should and do not, only.
    HardLink,
    /// Permissions.
    Mode,
    /// Owner.
    Owner,
    /// Group.
    Group,
    /// Modification time.
    Time,
    /// The ACL, or the one that new files in a directory get.
    Acl,
    /// Extended attributes.
    Xattr,
}

impl Aspect {
    /// The word for it in status and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Extra => "extra",
            Self::Content => "content",
            Self::HardLink => "hard-link",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Group => "group",
            Self::Time => "time",
            Self::Acl => "acl",
            Self::Xattr => "xattr",
        }
    }
}

/// What a lane does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaneState {
    /// Before the first contact.
    Connecting,
    /// A whole-tree transfer.
    FullPass,
    /// A comparison of the whole tree by checksum; changes wait.
    Verifying,
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
            Self::Verifying => "verifying",
            Self::Live => "live",
            Self::CatchingUp => "catching-up",
            Self::Waiting => "waiting",
            Self::BackingOff => "backing-off",
            Self::Paused => "paused",
        }
    }
}
