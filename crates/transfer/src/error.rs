//! Why a push ended early, by who must act.

use std::io;

use driftless_filter::RuleError;
use driftless_tree::path::printable;

use crate::push::Outcome;

/// What ended a session before its closing exchange.
#[derive(Debug, thiserror::Error)]
pub enum PushError {
    /// No connection; try again later.
    #[error("cannot connect to {addr}")]
    Connect {
        /// Host and port.
        addr: String,
        /// The last address's failure.
        source: io::Error,
    },
    /// The connection was not made, or the daemon did not let us in, in time.
    #[error("{addr} did not answer in time")]
    ConnectTimeout {
        /// Host and port.
        addr: String,
    },
    /// The remote shell, or the program in place of a socket, cannot be started.
    #[error("cannot start {}", printable(.program))]
    Shell {
        /// Which program.
        program: Vec<u8>,
        /// Why.
        source: io::Error,
    },
    /// The proxy makes no connection to the daemon.
    #[error("bad response from proxy -- {}", printable(.answer))]
    Proxy {
        /// The first line of its answer.
        answer: Vec<u8>,
    },
    /// Something else listens there; the operator must look.
    #[error("this is no rsync daemon, it says: {}", printable(.got))]
    NotRsync {
        /// Start of what it said.
        got: Vec<u8>,
    },
    /// The daemon refuses us (`@ERROR` line); usually the operator must look.
    #[error("the daemon refuses: {}", printable(.text))]
    Daemon {
        /// The line without `@ERROR: `.
        text: Vec<u8>,
    },
    /// Wrong user or password, or a user without access; the operator must look.
    #[error("authentication as {user} failed for module {module}")]
    AuthFailed {
        /// Who we said we are.
        user: String,
        /// Where.
        module: String,
    },
    /// All slots taken; try again soon, nothing happened.
    #[error("the daemon has no free connection: {}", printable(.text))]
    MaxConnections {
        /// The daemon's text.
        text: Vec<u8>,
    },
    /// The daemon wants a password and there is none.
    #[error("module {module} wants a password for {user}, and none is configured")]
    NoPassword {
        /// Who we would be.
        user: String,
        /// Where.
        module: String,
    },
    /// The daemon does not allow an option; go without or give up.
    #[error("the daemon refuses option {option}")]
    Refused {
        /// With its dashes.
        option: String,
        /// The whole text.
        text: Vec<u8>,
    },
    /// The module cannot be written.
    #[error("the module is read only")]
    ReadOnly,
    /// The peer broke the protocol (or we did).
    #[error("protocol error {phase}: {what}")]
    Protocol {
        /// In the middle of what.
        phase: &'static str,
        /// What was wrong.
        what: String,
        /// rsync's exit code for it.
        exit: u8,
    },
    /// The peer closed the connection.
    #[error("the connection was closed {phase}")]
    Closed {
        /// In the middle of what.
        phase: &'static str,
    },
    /// The remote shell ended, and the connection with it.
    #[error("the remote shell ended with exit code {code}")]
    ShellEnded {
        /// Its exit code, which is that of the program over there if it was started.
        code: u8,
    },
    /// The peer was silent for too long.
    #[error("the peer was silent for too long {phase}")]
    Timeout {
        /// In the middle of what.
        phase: &'static str,
    },
    /// The peer gave up with this exit code.
    #[error("the peer gave up with exit code {code}: {}", printable(.text))]
    PeerExit {
        /// rsync's exit code.
        code: i32,
        /// Its last error text.
        text: Vec<u8>,
    },
    /// The peer told of an error and left without saying that it gives up.
    #[error("the peer left: {}", printable(.text))]
    PeerLeft {
        /// Its last error text.
        text: Vec<u8>,
        /// How the connection ended.
        end: Box<PushError>,
    },
    /// [`crate::Driver::cancelled`].
    #[error("cancelled")]
    Cancelled,
    /// The list cannot be sent as given; a bug or an impossible name.
    #[error("the list cannot be sent: {0}")]
    List(String),
    /// The arguments make no sense.
    #[error("{0}")]
    Usage(String),
    /// A filter rule is none, or its file cannot be read.
    #[error("{0}")]
    Rules(RuleError),
    /// Names cannot be converted (`--iconv`).
    #[error("iconv_open(\"{to}\", \"{from}\") failed")]
    Charset {
        /// The character set of what is converted.
        from: String,
        /// That of what comes of it.
        to: String,
    },
    /// `--stop-at` or `--stop-after`.
    #[error("stopping at requested limit")]
    TimeLimit,
    /// The root of the source cannot be listed.
    #[error("cannot read the source")]
    Source(#[source] io::Error),
    /// Nothing can be done at the destination; the operator must look.
    #[error("{text}")]
    Fatal {
        /// In rsync's words.
        text: String,
        /// rsync's exit code for it.
        exit: u8,
    },
    /// The socket failed.
    #[error("the connection failed")]
    Io(#[from] io::Error),
}

impl PushError {
    /// rsync's exit code for it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Connect { .. } | Self::Proxy { .. } | Self::Io(_) => 10,
            Self::ConnectTimeout { .. } => 35,
            Self::NotRsync { .. }
            | Self::Daemon { .. }
            | Self::AuthFailed { .. }
            | Self::NoPassword { .. }
            | Self::MaxConnections { .. } => 5,
            Self::Shell { .. } => 14,
            Self::Refused { .. } | Self::Charset { .. } => 4,
            Self::ReadOnly | Self::Usage(_) => 1,
            Self::Rules(error) => error.exit_code(),
            Self::Protocol { exit, .. } | Self::Fatal { exit, .. } => *exit,
            Self::Closed { .. } => 12,
            // At least that of a stream that broke off.
            Self::ShellEnded { code } => (*code).max(12),
            Self::Timeout { .. } | Self::TimeLimit => 30,
            Self::PeerExit { code, .. } => u8::try_from(*code).unwrap_or(12),
            Self::PeerLeft { end, .. } => end.exit_code(),
            Self::Cancelled => 20,
            Self::List(_) => 2,
            Self::Source(_) => 23,
        }
    }
}

/// A failed push: why, and what is known nevertheless (acknowledgements given stay valid).
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct PushFailure {
    /// What ended it.
    pub error: PushError,
    /// Until then.
    pub outcome: Outcome,
}
