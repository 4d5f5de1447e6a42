//! The mirror engine: marks in, acknowledged batches out.

pub mod config;
mod mirror;
pub mod status;

pub use mirror::{Mirror, NoSuchTarget, NotFlushed, StartError};
