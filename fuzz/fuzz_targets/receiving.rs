//! A hostile sender's stream into a receiving server with a destination on a disk.

#![no_main]

use driftless_fuzz::{any_stream, room};
use driftless_transfer::connect::Direction;

libfuzzer_sys::fuzz_target!(|input: &[u8]| any_stream::session(input, Direction::Receive, room()));
