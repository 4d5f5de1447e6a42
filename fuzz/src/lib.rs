//! What the fuzz targets run: the same functions that tests feed with random bytes, and with the
//! streams in `seeds`.
//!
//! `cargo +nightly fuzz run TARGET`, with cargo-fuzz installed; `make fuzz` runs all of them.

#[path = "../../crates/transfer/tests/receive/any_stream.rs"]
pub mod any_stream;
#[path = "../../crates/proto/tests/wire/decoders.rs"]
pub mod decoders;
#[allow(dead_code, reason = "the tests say more with it")]
#[path = "../../crates/transfer/tests/receive/fake.rs"]
pub mod fake;
#[path = "../../crates/transfer/tests/receive/script.rs"]
pub mod script;

use std::path::Path;

/// Where sessions find room: in memory.
pub fn room() -> &'static Path {
    Path::new("/dev/shm")
}
