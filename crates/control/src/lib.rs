//! Status and commands over a Unix socket.
//!
//! ```text
//! driftless status ─► client ─► socket ─► server ─► api ─► Mirrors (the caller's) ─► live
//! ```
//! One thread with one small runtime answers HTTP; whatever may wait for a mirror waits on a
//! thread of its own, so that a `flush` of an hour delays no `status`.
//!
//! Nothing here starts, stops or knows the inside of a mirror: it reads [`driftless_live::status`]
//! and passes commands on.

mod api;
pub mod client;
pub mod mirrors;
pub mod report;
pub mod request;
pub mod server;
pub mod socket;

pub use client::{Client, ClientError};
pub use mirrors::{Mirrors, Operated};
pub use server::{Server, ServerError};
pub use socket::SocketError;
