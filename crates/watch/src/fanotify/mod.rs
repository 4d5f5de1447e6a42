//! fanotify: one mark for a whole file system instead of one watch for each directory.

mod reader;
mod record;

pub use reader::Reader;
pub use record::{Entry, Event, ObjectId, take_event};
