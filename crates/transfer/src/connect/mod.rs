//! The way to a daemon: address, password, socket, handshake.

pub(crate) mod handshake;
pub mod password;
pub(crate) mod socket;
pub mod url;
