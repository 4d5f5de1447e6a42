//! rsync's face, held against the real program.

mod alike;
mod bad_daemon;
mod batches;
mod coverage;
mod daemons;
mod environment;
mod hosts;
mod iconv;
mod options;
mod planted;
mod refused;
mod requested;
mod server_args;
mod side_by_side;
mod stock;
mod stored;
mod traffic;
mod unprivileged;
mod usage;
