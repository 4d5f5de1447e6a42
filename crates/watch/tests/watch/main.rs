//! The watcher against the real kernel.

mod behaviour;
mod filesystems;
mod limits;
mod loss;
mod root;
mod support;
