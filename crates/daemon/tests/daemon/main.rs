//! The daemon, side by side with the real one, under the real client.

mod access;
mod advisories;
mod attacker;
mod book;
mod confined;
mod content;
mod crowds;
mod flood;
mod hidden;
mod hostile;
mod ids;
mod log;
mod logins;
mod operators;
mod options;
mod pair;
mod parameters;
mod product;
mod protocol;
mod races;
mod running;
mod shells;
mod soak;
