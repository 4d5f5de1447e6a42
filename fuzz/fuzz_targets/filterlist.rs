#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| driftless_fuzz::decoders::filter_list(input));
