//! Where lists and content come from on this machine.

pub mod cache;
pub mod content;

pub use cache::SourceCache;
pub use content::{Expected, WriterPolicy};
