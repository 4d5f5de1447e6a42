//! The way to a peer: address, password, socket or shell, handshake.

pub(crate) mod handshake;
pub mod password;
pub mod shell;
pub(crate) mod socket;
pub mod stream;
pub mod url;
