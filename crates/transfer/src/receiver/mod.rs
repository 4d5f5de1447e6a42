//! The receiving side of a session: lists in, requests out, files in.
//!
//! ```text
//! wire ─► lists ─► generator (decides, deletes, requests) ─► wire
//!   └───► content ─► fs          ▲ one thread: what has arrived comes first,
//!          └── finished, failed ─┘ requests are made while nothing has
//! ```
//! One owner of everything, so nothing is locked. Invariants
//! * Nothing blocks on writing alone, so two ends never wait for each other's reading.
//! * A file gets its name only when its digest was right; what is abandoned leaves nothing behind
//!   unless the options ask for it.
//! * Every number and name of the peer is checked before it is used; a directory is only entered by
//!   its handle.

mod answers;
pub(crate) mod content;
pub(crate) mod lists;
mod messages;
mod reading;
mod session;
mod wire;

pub(crate) use session::{Pending, Session, Waiting, is_made, reason};

use driftless_filter::Rules;
use std::sync::Arc;

use crate::connect::handshake::Setup;
use crate::link::Link;
use crate::options::TransferOptions;
use crate::report::Report;
use crate::request::{Ending, SessionFailure};

/// What a receiving side works on, besides its options.
pub(crate) struct Receive<'a> {
    /// Where to, as given; `None` lists only.
    pub(crate) destination: Option<&'a [u8]>,
    /// Rules that protect names from deletion.
    pub(crate) rules: Option<Arc<Rules>>,
    /// This end was called: texts travel to the peer, and no stats are expected from it.
    pub(crate) server: bool,
    /// Both ends are on this machine, and unless told otherwise files travel whole.
    pub(crate) local: bool,
}

/// Plays the receiving side from the file list to the goodbye; everything before was done.
pub(crate) fn run(
    link: &mut Link,
    setup: Setup,
    options: &TransferOptions,
    receive: Receive<'_>,
    report: &mut dyn Report,
) -> Result<Ending, Box<SessionFailure>> {
    let mut session = Session::new(link, setup, options, receive, report);
    let result = session.run();
    let ending = session.into_ending();
    match result {
        Ok(()) => Ok(ending),
        Err(error) => Err(Box::new(SessionFailure { error, ending })),
    }
}
