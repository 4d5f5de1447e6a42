//! What a target made of a batch or a pass.

use std::fmt;
use std::time::Duration;

use driftless_tree::RelPath;

use crate::engine::presence::Presence;

/// What became of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ItemEnd {
    /// The target has it.
    Applied,
    /// Not known: the batch ended before it was proved.
    Unproved,
    /// Not applied.
    Failed(Failure),
}

/// Why a path was not applied, and when to try again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For the operator.
    pub why: String,
    /// Whether it mends itself in a moment (a file that is being written), so that it is no error
    /// of the target.
    pub transient: bool,
}

impl Failure {
    /// A failure that somebody must mend.
    pub fn lasting(why: impl Into<String>) -> Self {
        Self { why: why.into(), transient: false }
    }

    /// A failure that passes by itself.
    pub fn transient(why: impl Into<String>) -> Self {
        Self { why: why.into(), transient: true }
    }
}

/// Bytes and files of one batch or pass.
#[derive(Debug, Clone, Copy, Default)]
pub struct Traffic {
    /// Bytes to the target.
    pub sent: u64,
    /// Bytes from it.
    pub received: u64,
    /// Files whose content was sent.
    pub files: u64,
}

/// Why a batch or pass ended early.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaneError {
    /// Told to stop.
    Cancelled,
    /// Nothing happened, and the reason passes quickly: try again after this time.
    Busy {
        /// For the operator.
        why: String,
        /// How long to leave it alone.
        wait: Duration,
    },
    /// The target refuses something that can be done without; the lane has learned it.
    Learned(String),
    /// A guard: so many names would be deleted.
    WouldDelete {
        /// How many.
        count: u64,
        /// How many are allowed.
        limit: u64,
    },
    /// The session ended before its time after the list was sent, by a broken connection or because
    /// the target gave up: its processes may have been killed, and then their temporary files are
    /// still there. A full pass removes them.
    Broken(String),
    /// Anything else; back off and try again.
    Failed(String),
}

impl fmt::Display for LaneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("cancelled"),
            Self::Busy { why, .. } | Self::Learned(why) | Self::Broken(why) | Self::Failed(why) => {
                f.write_str(why)
            }
            Self::WouldDelete { count, limit } => write!(
                f,
                "it would delete {count} names, and max-delete allows {limit}; \
                 if that is meant: driftless resume --accept-deletes"
            ),
        }
    }
}

/// The end of a batch.
#[derive(Debug)]
pub struct BatchReport {
    /// For each item of the batch, in its order.
    pub items: Vec<ItemEnd>,
    /// Whether it ran to its end.
    pub end: Result<(), LaneError>,
    /// Errors of the target that name no item: which paths they concern is not known.
    pub unmatched: Vec<String>,
    /// Bytes and files.
    pub traffic: Traffic,
}

/// The end of a pass.
#[derive(Debug)]
pub struct PassReport {
    /// Whether it ran to its end.
    pub end: Result<(), LaneError>,
    /// What the target may hold now; complete only after a good end.
    pub presence: Presence,
    /// The target held something, and not what the source has.
    pub differed: bool,
    /// Paths that it did not bring over.
    pub failed: Vec<(RelPath, Failure)>,
    /// Errors of the target that name no path.
    pub unmatched: Vec<String>,
    /// Bytes and files.
    pub traffic: Traffic,
}
