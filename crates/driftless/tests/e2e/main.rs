//! The main job end to end: real files, real kernel events, stock rsync daemons as targets and
//! stock rsync as judge.

mod backends;
mod bad_input;
mod book;
mod check;
mod failures;
mod faults;
mod forced;
mod property;
mod pulls;
mod refusals;
mod rules;
mod schedule;
mod torn;
mod verify;

/// The program under test.
const DRIFTLESS: &str = env!("CARGO_BIN_EXE_driftless");
