//! What a mirror says about itself.

use std::time::Duration;

/// One mirror.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct MirrorStatus {
    pub name: String,
    pub source: String,
    pub state: MirrorState,
    pub error: Option<String>,
    pub watch: WatchStatus,
    pub targets: Vec<TargetStatus>,
}

/// A mirror's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum MirrorState {
    Starting,
    Running,
    SourceLost,
}

impl MirrorState {
    /// Its name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Running => "running",
            Self::SourceLost => "source-lost",
        }
    }
}

/// The watcher.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)]
pub struct WatchStatus {
    pub directories: usize,
    pub polled: usize,
    pub events: u64,
    pub overflows: u64,
    pub warning: Option<String>,
}

/// One target.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct TargetStatus {
    pub url: String,
    pub state: LaneState,
    pub lag: Duration,
    pub dirty_paths: u64,
    pub bytes_sent: u64,
    pub bytes_received: u64,
    pub batches: u64,
    pub passes: u64,
    pub files_sent: u64,
    pub last_error: Option<String>,
    pub next_retry: Option<Duration>,
    pub refusals: Vec<String>,
}

/// A lane's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)]
pub enum LaneState {
    Connecting,
    FullPass,
    Live,
    CatchingUp,
    BackingOff,
    Paused,
}

impl LaneState {
    /// Its name in reports.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::FullPass => "full-pass",
            Self::Live => "live",
            Self::CatchingUp => "catching-up",
            Self::BackingOff => "backing-off",
            Self::Paused => "paused",
        }
    }
}
