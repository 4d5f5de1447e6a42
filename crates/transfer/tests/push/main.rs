//! Pushes to a real rsync daemon.

mod args;
mod daemon;
mod hostile;
mod list;
mod liveness;
mod setup;
mod tree;
