//! Where lists and content come from on this machine.

pub mod cache;
pub mod content;
pub mod tree;

pub use cache::{Attendance, SourceCache};
pub use content::{Expected, WriterPolicy};
pub use tree::{DiskTree, entry_of};
