//! The inotify tools beside the originals: the same command lines, the same changes, the same output,
//! exit code and standard error.

mod beyond;
mod coverage;
mod fsnotify;
mod limits;
mod lines;
mod recursion;
mod refusals;
mod statistics;
mod support;
mod syslog;
