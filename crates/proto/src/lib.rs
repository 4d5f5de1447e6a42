//! The rsync wire protocol, sans-IO: bytes to values and back.
