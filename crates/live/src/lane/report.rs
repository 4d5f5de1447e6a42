//! What a target made of a batch or a pass.

use std::collections::HashSet;
use std::fmt;
use std::time::Duration;

use driftless_tree::RelPath;

use crate::engine::presence::Presence;
use crate::status::{Aspect, Difference, VerifyStatus};

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

/// The end of a comparison.
#[derive(Debug)]
pub struct Comparison {
    /// Whether it ran to its end.
    pub end: Result<(), LaneError>,
    /// Names of the source that were looked at.
    pub compared: u64,
    /// What differs.
    pub found: Vec<Difference>,
    /// How many more differ.
    pub more: u64,
    /// Names that could not be compared.
    pub failed: Vec<(RelPath, Failure)>,
    /// Why the comparison says little of names that are not known.
    pub unmatched: Vec<String>,
    /// Bytes.
    pub traffic: Traffic,
}

impl Comparison {
    /// One that has found nothing.
    pub fn new() -> Self {
        Self {
            end: Ok(()),
            compared: 0,
            found: Vec::new(),
            more: 0,
            failed: Vec::new(),
            unmatched: Vec::new(),
            traffic: Traffic::default(),
        }
    }

    /// What could not be compared is not called different.
    pub fn leave_out_failed(&mut self) {
        let failed: HashSet<&RelPath> = self.failed.iter().map(|(path, _)| path).collect();
        if !failed.is_empty() {
            self.found
                .retain(|found| found.path.as_ref().is_none_or(|path| !failed.contains(path)));
        }
    }

    /// Notes a difference.
    pub fn differs(&mut self, path: Option<RelPath>, aspects: Vec<Aspect>) {
        if self.found.len() < VerifyStatus::MOST_NAMES {
            self.found.push(Difference { path, aspects });
        } else {
            self.more += 1;
        }
    }
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

impl PassReport {
    /// One that has brought nothing over.
    pub fn new() -> Self {
        Self {
            end: Ok(()),
            presence: Presence::default(),
            differed: false,
            failed: Vec::new(),
            unmatched: Vec::new(),
            traffic: Traffic::default(),
        }
    }
}
