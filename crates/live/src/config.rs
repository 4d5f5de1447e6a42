//! What a mirror is told to do: checked values, no file formats.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use driftless_filter::Given;
use driftless_transfer::TransferOptions;
use driftless_transfer::connect::url::DaemonUrl;
use driftless_tree::path::printable;
use driftless_watch::Backend;
use zeroize::Zeroizing;

use crate::schedule::Schedule;

/// One source and where it goes.
#[derive(Debug, Clone, PartialEq)]
pub struct MirrorConfig {
    /// For status, logs and commands.
    pub name: String,
    /// The directory that is mirrored.
    pub source: PathBuf,
    /// Where to.
    pub targets: Vec<TargetConfig>,
    /// Filter rules in the order given.
    pub rules: Vec<Given>,
    /// Whether what goes at the source goes at the targets.
    pub delete: bool,
    /// How much may be deleted at once without asking a person.
    pub max_delete: MaxDelete,
    /// How long a file that is not closed is left alone.
    pub settle: Duration,
    /// What is transferred and how.
    pub options: TransferOptions,
    /// How often directories that cannot be watched are compared.
    pub poll_interval: Duration,
    /// How changes are learnt of; `None` for the best that is possible.
    pub backend: Option<Backend>,
    /// When full passes run besides those that the mirror needs.
    pub schedule: Option<Schedule>,
    /// When targets are compared by checksum.
    pub verify: Option<Schedule>,
}

/// A source on another machine that directories of this one are made to equal at set times.
#[derive(Debug, Clone, PartialEq)]
pub struct PullConfig {
    /// For status, logs and commands.
    pub name: String,
    /// What is copied.
    pub source: RemoteSource,
    /// Directories of this machine.
    pub targets: Vec<PathBuf>,
    /// Filter rules in the order given.
    pub rules: Vec<Given>,
    /// Whether what goes at the source goes at the targets.
    pub delete: bool,
    /// How much a run may delete without asking a person.
    pub max_delete: MaxDelete,
    /// What is transferred and how.
    pub options: TransferOptions,
    /// When runs begin.
    pub schedule: Schedule,
    /// How we prove who we are to a daemon.
    pub password: PasswordSource,
}

/// A directory of another machine.
#[derive(Debug, Clone, PartialEq)]
pub enum RemoteSource {
    /// In a module of an rsync daemon.
    Daemon(DaemonUrl),
    /// Behind a remote shell.
    Shell {
        /// Who logs in there; `None` leaves it to the shell.
        user: Option<Vec<u8>>,
        /// Where.
        host: Vec<u8>,
        /// The directory; empty for the one that the login leads to.
        path: Vec<u8>,
        /// The shell's command with its options.
        command: Vec<Vec<u8>>,
    },
}

impl RemoteSource {
    /// The directory as a server is told of it: with a slash at its end, since its content is meant.
    pub fn path_inside(&self) -> Vec<u8> {
        let path = match self {
            Self::Daemon(url) => &url.path,
            Self::Shell { path, .. } => path,
        };
        match path.as_slice() {
            b"" => match self {
                Self::Daemon(_) => Vec::new(),
                Self::Shell { .. } => b"./".to_vec(),
            },
            path if path.ends_with(b"/") => path.to_vec(),
            path => [path, b"/"].concat(),
        }
    }
}

impl fmt::Display for RemoteSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Daemon(url) => url.fmt(f),
            Self::Shell { user, host, path, .. } => {
                if let Some(user) = user {
                    write!(f, "{}@", printable(user))?;
                }
                write!(f, "{}:{}", printable(host), printable(path))
            }
        }
    }
}

/// One place that a mirror keeps identical.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetConfig {
    /// Where.
    pub destination: Destination,
    /// How we prove who we are.
    pub password: PasswordSource,
}

/// Where a target is.
#[derive(Debug, Clone, PartialEq)]
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
#[derive(Clone, PartialEq)]
pub enum PasswordSource {
    /// There is none.
    None,
    /// The first line of a file, read anew for each connection.
    File(PathBuf),
    /// Given in the environment.
    Value(Zeroizing<Vec<u8>>),
}

/// Never shows a password.
impl fmt::Debug for PasswordSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Value(_) => f.write_str("Value(…)"),
        }
    }
}

/// The guard against a source that vanished: a batch or pass that would delete more pauses its
/// target until a person accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MaxDelete {
    /// Percent of the names at the target, once it has more than [`MaxDelete::FEW`].
    Share(u8),
    /// Names.
    Count(u64),
    /// No guard.
    Unlimited,
}

impl Default for MaxDelete {
    fn default() -> Self {
        Self::Share(50)
    }
}

impl MaxDelete {
    /// Up to so many names a share does not guard.
    pub const FEW: u64 = 100;

    /// Most names that may be deleted from a target that holds `names`.
    pub fn limit(self, names: u64) -> u64 {
        match self {
            Self::Share(_) if names <= Self::FEW => u64::MAX,
            Self::Share(percent) => names.saturating_mul(u64::from(percent)) / 100,
            Self::Count(count) => count,
            Self::Unlimited => u64::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_guards_only_mirrors_that_are_not_small() {
        assert_eq!(MaxDelete::Share(50).limit(100), u64::MAX);
        assert_eq!(MaxDelete::Share(50).limit(101), 50);
        assert_eq!(MaxDelete::Count(3).limit(10_000), 3);
        assert_eq!(MaxDelete::Unlimited.limit(10_000), u64::MAX);
    }

    #[test]
    fn a_password_is_never_shown() {
        let source = PasswordSource::Value(Zeroizing::new(b"s3cret".to_vec()));
        assert!(!format!("{source:?}").contains("s3cret"));
    }
}
