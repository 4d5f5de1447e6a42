//! The daemon: the modules of an `rsyncd.conf`, served to any rsync client.
//!
//! ```text
//! command ─► program ─► listener ─ door ─► fork ─► session ─► transfer
//!              │            conf (per connection)     │ hosts, slots, auth, identity, hooks
//!              └── inetd, remote shell ─► visit ──────┘         log, journal ◄── Report
//! ```
//! Who may enter, as whom and where a session works, and what is logged. How content is compared
//! and moved is `driftless-transfer`'s.

#[cfg(any(test, feature = "any-bytes"))]
pub mod any_bytes;
mod args;
mod auth;
pub mod command;
pub mod conf;
mod converter;
mod crowd;
mod door;
mod greet;
mod hooks;
mod hosts;
mod http;
mod identity;
mod journal;
mod listener;
mod log;
mod names;
mod peer;
pub mod program;
mod proxy;
mod refuse;
pub mod report;
mod session;
mod slots;
mod status;
mod stop;
mod visit;
mod wire;
mod words;
