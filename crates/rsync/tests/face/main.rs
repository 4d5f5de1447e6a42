//! rsync's face, held against the real program.

mod options;
mod server_args;
mod stock;
mod usage;
