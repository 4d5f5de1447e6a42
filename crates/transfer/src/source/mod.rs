//! Where lists and content come from on this machine.

pub mod ahead;
pub mod cache;
pub mod content;
pub mod listed;
pub mod tree;

pub use ahead::ReadAhead;
pub use cache::{Attendance, SourceCache};
pub use content::{Expected, WriterPolicy};
pub use listed::ListedFiles;
pub use tree::{DiskTree, entry_of, file_sum};
