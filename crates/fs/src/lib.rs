//! The only door to the disk: a root that no path escapes.
//!
//! ```text
//! Path ──Root::open──► Root ──RelPath──► SourceFile, Dir, Meta       (reading)
//!                                 └────► Replacement, Attributes     (writing)
//! ```
//! Invariants
//! * Below a root no symbolic link is followed, in no component of a path.
//! * Every act is relative to an open handle: what is renamed or swapped meanwhile changes what is
//!   found, never where it lies.
//! * Replaced files appear complete and with their attributes, or not at all.
//!
//! A process may be confined to one directory as a whole: see [`ground`].
//!
//! [`fanotify`] and [`handle`] are the system calls of the watcher that no other crate wraps.
//!
//! Nothing here decides what to read or write, or knows a peer.

pub mod attributes;
pub mod browse;
pub mod charset;
pub mod copy;
pub mod dir;
pub mod fanotify;
pub mod folder;
pub mod ground;
pub mod handle;
mod meta;
pub mod names;
pub mod operator;
pub mod owner;
pub mod replace;
mod resolve;
pub mod root;
pub mod source;
pub mod stored;
mod sys;
pub mod working_directory;
mod write;
pub mod xattr;

pub use attributes::Attributes;
pub use dir::{Dir, DirEntry};
pub use folder::{Folder, Follow, NewFile};
pub use names::Names;
pub use owner::{NameService, Owners, Powers};
pub use replace::Replacement;
pub use resolve::is_absent;
pub use root::{FsError, Root, RootId, RootLost};
pub use source::{SourceFile, Writers, leave_access_times};
pub use sys::posix::{BadPattern, Regex, local_time};
pub use sys::process::{Fork, forbid_programs, fork, host_name};
