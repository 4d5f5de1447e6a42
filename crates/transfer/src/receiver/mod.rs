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
mod pending;
mod phases;
mod reading;
mod recorded;
pub(crate) mod requested;
pub mod role;
mod session;
mod telling;
mod wire;

pub(crate) use pending::Pending;
pub(crate) use session::{Session, Turn, Waiting, is_made};
pub(crate) use telling::reason;
