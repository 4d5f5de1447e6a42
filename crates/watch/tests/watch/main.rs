//! The watcher against the real kernel.

mod behaviour;
mod support;
