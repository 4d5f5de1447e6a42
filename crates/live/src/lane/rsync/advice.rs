//! What the operator can do about a failed session, in the line that tells of it.

use driftless_transfer::PushError;
use driftless_transfer::connect::password::PasswordError;

use crate::mirror::chain;

const TRIED_AGAIN: &str = "it is tried again";

/// What happened, why, and what to do next.
pub fn explain(error: &PushError) -> String {
    format!("{}; {}", chain(error), advice(error))
}

/// As [`explain`], for a comparison, which is not tried again by itself.
pub fn explain_comparison(error: &PushError) -> String {
    let next = match advice(error) {
        TRIED_AGAIN => {
            "see the target's log (a timeout there counts while a large file is read \
                        here), and verify again"
        }
        next => next.strip_suffix(" It is tried again").unwrap_or(next),
    };
    format!("{}; {next}", chain(error))
}

/// As [`explain`], for a password file.
pub fn explain_password(error: &PasswordError) -> String {
    match error {
        // They tell the command.
        PasswordError::OtherAccessible { .. } | PasswordError::Owner { .. } => chain(error),
        PasswordError::Read { .. } | PasswordError::Empty { .. } => {
            format!("{}; put the password alone into its first line", chain(error))
        }
    }
}

fn advice(error: &PushError) -> &'static str {
    match error {
        PushError::Connect { .. } | PushError::ConnectTimeout { .. } => {
            "is the daemon running there, and does a firewall let us through? It is tried again"
        }
        PushError::NotRsync { .. } => "check the host and the port in the target's URL",
        PushError::AuthFailed { .. } => {
            "check the user in the URL and the password against the module's auth users and secrets \
             file"
        }
        PushError::NoPassword { .. } => "give a password-file, or set RSYNC_PASSWORD",
        PushError::ReadOnly => "set read only = no for the module in the target's rsyncd.conf",
        PushError::Daemon { .. } => {
            "check the module's name in the URL, and the module in the target's rsyncd.conf and log"
        }
        PushError::Refused { .. } => {
            "take it out of the module's refuse options, or do without that option here"
        }
        PushError::MaxConnections { .. } => "raise the module's max connections if this goes on",
        PushError::PeerExit { .. } | PushError::PeerLeft { .. } | PushError::Protocol { .. } => {
            "see the daemon's log"
        }
        PushError::Source(_) => "check the source directory",
        PushError::Closed { .. }
        | PushError::Fatal { .. }
        | PushError::Timeout { .. }
        | PushError::Io(_)
        | PushError::Shell { .. }
        | PushError::ShellEnded { .. }
        | PushError::Proxy { .. }
        | PushError::Usage(_)
        | PushError::Rules(_)
        | PushError::TimeLimit
        | PushError::Charset { .. }
        | PushError::Cancelled
        | PushError::List(_) => TRIED_AGAIN,
    }
}
