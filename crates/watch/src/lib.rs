//! Kernel events to hints on paths: recursive watching that loses nothing.
//!
//! ```text
//! kernel queue ──read──► engine ──deliver──► Sink
//!                          │ ▲
//!                     arm  ▼ │ settle, list, compare
//!                      the directories on disk
//! ```
//! There are two engines. With fanotify ([`fanotify`]) one mark stands for a whole file system, there
//! is nothing to arm or list, and directories are found by their handles when events come. With
//! inotify every directory has a watch; those that cannot have one are compared at intervals.
//!
//! State, not events: a [`Hint`] says only where to look; the consumer looks at the disk. Hints may
//! be more than what changed, never less.
//!
//! Invariants
//! * With inotify a directory is armed first and listed afterwards, at the start, when it appears, when it is moved
//!   in and in a recovery. What was there before arming is in the listing, what came later is in the
//!   kernel queue.
//! * After [`Watcher::barrier`] every path that changed before the call is covered by a hint that has
//!   been delivered.
//! * Nothing is refused quietly: lost events end in [`Hint::Subtree`], directories without a watch are
//!   compared at intervals, a lost root is [`Hint::RootLost`].
//!
//! Not seen, because the kernel does not tell: stores through a memory map before it is unmapped,
//! changes through another hard link outside the tree, inode flags (`chattr`). On file systems that
//! other machines can change, directories are compared at intervals.
//!
//! Nothing here decides what is sent, reads the content of a file or follows a symbolic link.

mod compare;
mod disk;
mod engine;
mod events;
pub mod fanotify;
mod filesystems;
mod hint;
mod kernel;
mod limits;
mod look;
mod nodes;
mod options;
mod pairs;
mod polled;
mod record;
mod recovery;
mod root;
mod settle;
mod shared;
pub mod survey;
pub mod tools;
mod walk;
mod watcher;

pub use hint::{Hint, Sink, What};
pub use options::{Backend, LimitReached, WatchError, WatchOptions, WatchStats};
pub use watcher::Watcher;
