//! One file for each subcommand: its arguments, and what it does with them.

pub mod check;
pub mod completions;
pub mod daemon;
pub mod demo;
pub mod flush;
pub mod live;
pub mod man;
pub mod pause;
pub mod resume;
pub mod resync;
pub mod rsync;
pub mod status;
pub mod tool;
pub mod verify;
