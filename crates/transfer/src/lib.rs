//! The roles of a transfer: what a sender and a receiving side do with a session, lists and a disk.
//!
//! ```text
//! options ─► server_args ─┐
//! connect (url, password) ─► session ─► sender (list, answers) ─► Driver (the caller)
//!                              │                  └── source (content, tree) ─► fs
//!                              └──────► receiver (lists, content) ─► generator ─► fs
//! ```
//! Nothing here parses a command line, prints or exits; texts of the peer go to the [`Driver`].

mod attempt;
mod beside;
mod charset;
pub mod chmod;
pub mod connect;
mod digests;
pub mod driver;
pub mod error;
mod generator;
mod handover;
mod ids;
mod link;
pub mod local;
pub mod module;
pub mod options;
pub mod push;
mod receiver;
pub mod record;
pub mod remote_args;
pub mod replay;
pub mod report;
pub mod request;
pub mod rule_texts;
mod sender;
pub mod server_args;
pub mod source;
mod stored;

pub use driftless_fs::operator;
pub use driver::{Content, Driver, ItemChange, Level, Listed, Refusal, SentOutcome};
pub use error::{PushError, PushFailure};
pub use local::copy;
pub use options::TransferOptions;
pub use push::{
    ListPush, Listing, Outcome, Peer, Problem, TreePush, TreeSource, push_list, push_tree,
};
pub use receiver::role::receive;
pub use report::Report;
pub use request::{Ending, Request, SessionFailure};
pub use sender::role::send;
