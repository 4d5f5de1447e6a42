//! Pushes to a real rsync daemon.

mod daemon;
mod list;
mod setup;
mod tree;
