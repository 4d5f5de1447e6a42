//! The tools `inotifywait`, `inotifywatch`, `fsnotifywait` and `fsnotifywatch`: options, output, exit
//! codes and diagnostics as scripts know them.
//!
//! ```text
//! words ──getopt──► Options ──► Watches ──► Follower ──Told──► Wait (lines) or Statistics (a table)
//! ```
//! Beyond the originals, without changing what old options do: what is in a new directory before its
//! watch is told, lost events are told and repaired, and some options of our own.
//!
//! Nothing here knows hints, mirrors or filter rules: scripts get the kernel's events.

mod called;
mod clock;
mod diagnostics;
mod filter;
mod follow;
mod getopt;
mod handles;
mod help;
mod layout;
mod leaves;
mod limits;
mod list;
mod marks;
mod names;
mod out;
mod progress;
mod refusal;
mod setup;
mod signals;
mod snapshot;
mod source;
mod statistics;
mod table;
mod timeout;
mod wait;
mod watches;

pub use called::{Called, Tool};

use refusal::Refusal;
use timeout::{Timeout, duration, parse_timeout};

/// What the C library says about an error, without the number.
fn reason(error: rustix::io::Errno) -> String {
    reason_of(&error.into())
}

/// What the C library says about an error, without the number.
fn reason_of(error: &std::io::Error) -> String {
    let text = error.to_string();
    match text.find(" (os error") {
        Some(at) => text[..at].to_owned(),
        None => text,
    }
}
