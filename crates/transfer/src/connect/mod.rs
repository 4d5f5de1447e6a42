//! The way to a peer: address, password, socket or shell, handshake.

mod connection;
pub mod daemon;
pub(crate) mod handshake;
pub mod password;
pub mod proxy;
pub mod shell;
pub(crate) mod socket;
pub mod sockopts;
pub mod stream;
pub mod url;

pub(crate) use connection::Listener;
pub use connection::{
    Connection, Direction, End, Established, LEAST_PROTOCOL, Module, can_recurse_incrementally,
};
