//! The rsync wire protocol, sans-IO: bytes to values and back.
//!
//! Every codec is a pair of a `put_…` that appends to a `Vec<u8>` and a `take_…` that takes one
//! value off the front of a slice, or a small state machine where the wire carries state. Versions
//! 30, 31 and 32, and 29 where it differs. Nothing here knows sockets, files, clocks or threads.
//!
//! Invariants
//! * No input makes a decoder panic; every length meets a limit before an allocation.
//! * A decoder that answers [`Decode::Incomplete`] has consumed nothing and changed no state; only
//!   [`token::TokenReader`] may keep compressed bytes to itself.

pub mod args;
pub mod auth;
pub mod batch;
mod error;
pub mod files_from;
pub mod filterlist;
pub mod flist;
pub mod greeting;
pub mod int;
pub mod item;
pub mod mux;
pub mod ndx;
pub mod setup;
pub mod stats;
pub mod sums;
pub mod token;

pub use error::{Decode, Violation};
