//! What ended a session, in rsync's words.

use std::io;

use driftless_transfer::PushError;
use driftless_transfer::report::Role;
use driftless_tree::path::printable;

/// The system's text of an error and its number, as rsync writes them.
pub fn system_text(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => {
            let text = error.to_string();
            let text = text.split(" (os error").next().unwrap_or_default().to_owned();
            format!("{text} ({number})")
        }
        None => error.to_string(),
    }
}

/// As [`system_text`], after the reason where a link of somebody else was not followed.
pub fn path_text(start: &str, error: &io::Error) -> String {
    let text = format!("{start}: {}", system_text(error));
    match error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
        true => format!("{UNTRUSTED_LINK}\n{text}"),
        false => text,
    }
}

/// Why a link on an operator's path is not followed.
const UNTRUSTED_LINK: &str = "refusing to follow a symlink owned by an untrusted user; use \
    --insecure-links locally or \"insecure links = yes\" in a daemon module ONLY if every path \
    component is trusted";

/// Returns the line that is printed before the last one; empty where the peer said all.
pub fn text(error: &PushError, role: Role, bytes_received: u64, timeout_secs: u64) -> String {
    let (told_by, role) = (role, role.name());
    match error {
        PushError::Connect { addr, source } => {
            let host = addr.rsplit_once(':').map_or(addr.as_str(), |(host, _)| host);
            let why = system_text(source);
            format!("rsync: [{role}] failed to connect to {host} ({host}): {why}")
        }
        PushError::ConnectTimeout { .. } => String::new(),
        PushError::Shell { program, source } => {
            let (program, why) = (printable(program), system_text(source));
            format!("rsync: [{role}] Failed to exec {program}: {why}")
        }
        PushError::Daemon { text } | PushError::MaxConnections { text } => {
            format!("@ERROR: {}", printable(text))
        }
        PushError::AuthFailed { module, .. } | PushError::NoPassword { module, .. } => {
            format!("@ERROR: auth failed on module {module}")
        }
        PushError::NotRsync { got } => {
            format!("rsync: server sent \"{}\" rather than greeting", printable(got))
        }
        PushError::Closed { .. } | PushError::ShellEnded { .. } => format!(
            "rsync: connection unexpectedly closed ({bytes_received} bytes received so far) \
             [{role}]"
        ),
        PushError::Timeout { .. } => {
            format!("[{role}] io timeout after {timeout_secs} seconds -- exiting")
        }
        // The peer said it, and its words were printed as they came.
        PushError::PeerExit { .. } | PushError::Refused { .. } | PushError::ReadOnly => {
            String::new()
        }
        PushError::PeerLeft { end, .. } => text(end, told_by, bytes_received, timeout_secs),
        PushError::Cancelled => String::new(),
        PushError::Fatal { text, .. } => text.clone(),
        PushError::Usage(text) => format!("rsync: {text}"),
        PushError::Source(source) => format!("rsync: [{role}] {}", system_text(source)),
        PushError::Io(source) => {
            let act = match source.kind() {
                io::ErrorKind::ConnectionReset => "read",
                _ => "connection",
            };
            format!("rsync: [{role}] {act} error: {}", system_text(source))
        }
        other => other.to_string(),
    }
}
