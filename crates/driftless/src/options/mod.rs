//! What can be said about a mirror, on the command line and in a file.
//!
//! ```text
//! flags (argv) ──┐
//!                ├─► table ─► Draft ─► MirrorConfig
//! config (TOML) ─┘
//! ```
//! The [`table`] alone knows which options exist, how they are called and what they do; flag, key,
//! help, man page and completions are made from it and cannot diverge.

mod draft;
mod duration;
pub mod flags;
mod size;
pub mod table;
mod values;

pub use draft::{Circumstances, Draft, TargetDraft};
pub use duration::parse_duration;
