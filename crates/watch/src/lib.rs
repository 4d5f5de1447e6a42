//! Kernel events to hints on paths: recursive inotify that loses nothing.
//!
//! ```text
//! kernel queue ──read──► engine ──deliver──► Sink
//!                          │ ▲
//!                     arm  ▼ │ settle, list, compare
//!                      the directories on disk
//! ```
//! State, not events: a [`Hint`] says only where to look; the consumer looks at the disk. Hints may
//! be more than what changed, never less.
//!
//! Invariants
//! * A directory is armed first and listed afterwards, at the start, when it appears, when it is moved
//!   in and in a recovery. What was there before arming is in the listing, what came later is in the
//!   kernel queue.
//! * After [`Watcher::barrier`] every path that changed before the call is covered by a hint that has
//!   been delivered.
//! * Nothing is refused quietly: lost events end in [`Hint::Subtree`], directories without a watch are
//!   compared at intervals, a lost root is [`Hint::RootLost`].
//!
//! Not seen, because the kernel does not tell: stores through a memory map before it is unmapped,
//! changes through another hard link outside the tree, changes made by other machines on a network
//! file system, inode flags (`chattr`).
//!
//! Nothing here decides what is sent, reads the content of a file or follows a symbolic link.

mod compare;
mod disk;
mod engine;
mod events;
pub mod fanotify;
mod hint;
mod kernel;
mod limits;
mod nodes;
mod options;
mod pairs;
mod polled;
mod record;
mod recovery;
mod root;
mod settle;
mod shared;
mod walk;
mod watcher;

pub use hint::{Hint, Sink, What};
pub use options::{LimitReached, WatchError, WatchOptions, WatchStats};
pub use watcher::Watcher;
