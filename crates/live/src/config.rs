//! What one mirror is to do.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use driftless_filter::Given;
use driftless_transfer::TransferOptions;
use driftless_transfer::connect::url::DaemonUrl;
use zeroize::Zeroizing;

/// One source, its targets, and how they are kept equal.
#[derive(Clone, PartialEq, Debug)]
pub struct MirrorConfig {
    /// Unique among the mirrors of a process.
    pub name: String,
    /// The directory whose content is mirrored.
    pub source: PathBuf,
    /// Where to.
    pub targets: Vec<TargetConfig>,
    /// Filter rules in order.
    pub rules: Vec<Given>,
    /// Whether what the source has not is deleted from targets.
    pub delete: bool,
    /// The guard against mass deletion.
    pub max_delete: MaxDelete,
    /// How long a file that is being written is waited for.
    pub settle: Duration,
    /// What transfers do.
    pub options: TransferOptions,
    /// How often directories that cannot be watched are compared.
    pub poll_interval: Duration,
}

/// One target.
#[derive(Clone, PartialEq, Debug)]
pub struct TargetConfig {
    /// Where it is.
    pub destination: Destination,
    /// Where its password comes from.
    pub password: PasswordSource,
}

/// Where a target is.
#[derive(Clone, PartialEq, Debug)]
pub enum Destination {
    /// A module of an rsync daemon.
    Daemon(DaemonUrl),
    /// A directory of this machine.
    Local(PathBuf),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Daemon(url) => url.fmt(f),
            Self::Local(path) => path.display().fmt(f),
        }
    }
}

/// Where a password comes from.
#[derive(Clone, PartialEq, Debug)]
pub enum PasswordSource {
    /// There is none.
    None,
    /// The first line of this file, read for each session.
    File(PathBuf),
    /// This value, from `RSYNC_PASSWORD`.
    Value(Zeroizing<Vec<u8>>),
}

/// The guard against mass deletion.
#[derive(Clone, Copy, PartialEq, Debug)]
pub enum MaxDelete {
    /// Per cent of the mirror's files, once it has more than 100.
    Share(u8),
    /// So many.
    Count(u64),
    /// No guard.
    Unlimited,
}

impl Default for MaxDelete {
    fn default() -> Self {
        Self::Share(50)
    }
}
