//! The way to a daemon: address, password, socket, handshake.

pub mod password;
pub mod url;
