//! rsync's face: what scripts and people know of rsync 3.5.0 that is not the transfer itself.
//!
//! ```text
//! argv ─► flags ─► Invocation ─► client / server ─► transfer
//!                                     └── output ◄── Report
//! ```
//! Its command line, its texts and its exit codes. How files are compared and moved is not known
//! here.

pub mod client;
pub mod flags;
pub mod hostspec;
pub mod output;
pub mod program;
pub mod server;
pub mod zone;

/// The rsync whose behaviour this is.
pub const COMPATIBLE: &str = "3.5.0";
