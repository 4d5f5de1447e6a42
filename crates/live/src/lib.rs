//! The mirror engine: marks in, acknowledged batches out.
//!
//! ```text
//! watch ──hints──► marks ──► DirtySet (one per lane) ──► planner ──► batch ──► lane ──► target
//!                                ▲                      reads the               │
//!                                └───────── what was not applied ◄── report ────┘
//! ```
//! Nothing here prints or knows HTTP; [`Mirror::status`] gives plain values.

mod batch;
pub mod check;
pub mod config;
mod engine;
mod lane;
mod links;
mod looks;
mod marks;
mod mirror;
mod pass;
mod planner;
mod pull;
mod rules;
pub mod schedule;
pub mod status;

pub use mirror::{Mirror, NoSuchTarget, NotFlushed, StartError};
pub use pull::Pull;
