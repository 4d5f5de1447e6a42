//! What the fuzz targets of the wire protocol run: the same functions that the property tests feed
//! with random bytes.
//!
//! `cargo +nightly fuzz run TARGET`, with cargo-fuzz installed.

#[path = "../../crates/proto/tests/wire/decoders.rs"]
pub mod decoders;
