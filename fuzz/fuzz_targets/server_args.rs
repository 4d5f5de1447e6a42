//! The arguments that a client gives a server, NUL between them: understood or refused, never more.

#![no_main]

use driftless_rsync::flags::{Environment, interpret};
use driftless_rsync::hostspec;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let environment = Environment {
        umask: 0o022,
        now: Timestamp::UNIX_EPOCH,
        zone: TimeZone::UTC.into(),
        rsh: None,
        old_args: None,
        protect_args: None,
        partial_dir: None,
        iconv: None,
        checksum_list: None,
        compress_list: None,
        max_alloc: None,
    };
    let mut words: Vec<Vec<u8>> = input.split(|&b| b == 0).map(<[u8]>::to_vec).collect();
    for word in &words {
        hostspec::parse(word);
    }
    // As a client's command line, and as a server's.
    let _ = interpret(&words, &environment);
    words.insert(0, b"--server".to_vec());
    let _ = interpret(&words, &environment);
});
