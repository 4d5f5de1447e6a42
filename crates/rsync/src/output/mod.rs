//! What rsync prints: values of a session made into its lines.
//!
//! Origin of all forms: command-line reference, "Output".

pub mod escape;
pub mod exit;
pub mod format;
pub mod itemize;
pub mod journal;
pub mod listing;
pub mod log;
mod meter;
pub mod number;
pub mod printer;
pub mod progress;
pub mod stats;
pub mod version;

pub use printer::Printer;
