//! The watcher against the real kernel.

mod behaviour;
mod filesystems;
mod limits;
mod loss;
mod remote;
mod root;
mod support;
