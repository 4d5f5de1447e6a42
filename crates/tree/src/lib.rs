//! The vocabulary: names and metadata of files, and the order of file lists.
//!
//! Nothing here knows the wire, the disk or the content of a file.

pub mod entry;
pub mod flist;
pub mod path;

pub use entry::{Kind, Meta, Timestamp};
pub use path::{BadPath, RelPath};
