//! fanotify: one mark for a whole file system instead of one watch for each directory.

//!
//! ```text
//! queue ──Reader──► Event ──State::take──► hints
//!                             │ ▲
//!                   handle    ▼ │  path
//!             Dirs (what is known) ◄── View (what the disk says)
//! ```
//! Invariants
//! * What an event is told of is where the directory was at some time between the event and now;
//!   the renames in between are still to be taken, and each speaks for all below.
//! * What could not be found out ends in a hint on the whole tree.
//! * A file system without a mark is never part of the tree: another back-end takes over.
//!
//! [`Reader`] is for whoever wants the events themselves.

mod dirs;
mod engine;
mod events;
mod marking;
mod mounts;
mod reader;
mod record;
mod view;
mod window;

pub(crate) use engine::{Consumer, End, Engine};
pub(crate) use marking::Refusal;

pub use reader::Reader;
pub use record::{Entry, Event, ObjectId, take_event};
