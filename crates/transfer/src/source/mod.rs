//! Where lists and content come from on this machine.

pub mod ahead;
pub mod cache;
pub mod content;
mod extras;
pub mod listed;
pub mod tree;

pub use ahead::ReadAhead;
pub use cache::{Attendance, SourceCache};
pub use content::{Expected, WriterPolicy};
pub use extras::{add_extras, add_extras_at, xattr_at};
pub use listed::ListedFiles;
pub use tree::{DiskTree, entry_of, file_sum};
