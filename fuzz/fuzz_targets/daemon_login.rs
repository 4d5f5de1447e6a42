#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| driftless_daemon::any_bytes::login(input));
