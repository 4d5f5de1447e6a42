//! The daemon, side by side with the real one, under the real client.

mod access;
mod book;
mod confined;
mod coverage;
mod hostile;
mod log;
mod options;
mod pair;
mod running;
