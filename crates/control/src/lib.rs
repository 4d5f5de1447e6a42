//! Status API over a Unix socket.
