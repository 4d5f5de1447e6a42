//! Block signatures and token search over byte slices.
//!
//! ```text
//! basis ──► Layout, Signature ──► Search ◄── new content, in pieces
//!                                   └──► Token (literal | block) ──► patch ──► new content
//! ```
//! Pure: nothing here reads a file, a socket or a clock, and nothing knows how the values are
//! written on the wire.

pub mod layout;
pub mod patch;
pub mod rolling;
pub mod search;
pub mod signature;
pub mod strong;

pub use layout::Layout;
pub use search::{Search, Token};
pub use signature::Signature;
pub use strong::{Digest, FileSum, Strong, file_digest};
