//! A connection before its module is known, by whoever holds it: what is sent and logged.

use std::path::Path;

use driftless_fs::operator;
use driftless_proto::greeting::{ServerLine, put_listing_row};

use crate::conf::{Config, Key};
use crate::door::our_greeting;

/// Longest message of the day.
const MAX_MOTD_LEN: u64 = 1 << 20;

/// The greeting, and the message of the day behind it.
pub(crate) fn opening(config: &Config) -> Vec<u8> {
    let mut out = our_greeting();
    if let Some(path) = config.globals().text(Key::MotdFile) {
        use std::os::unix::ffi::OsStrExt;
        let path = Path::new(std::ffi::OsStr::from_bytes(&path));
        out.extend(operator::read(path, MAX_MOTD_LEN).unwrap_or_default());
        out.push(b'\n');
    }
    out
}

/// The modules that may be seen.
pub(crate) fn listing(config: &Config, protocol: i64) -> Vec<u8> {
    let mut out = Vec::new();
    for module in config.modules().filter(|module| module.flag(Key::List)) {
        let comment = module.raw(Key::Comment).unwrap_or_default();
        let comment = crate::conf::expand::expand(comment, crate::conf::expand::environment);
        put_listing_row(&mut out, module.name(), &comment.unwrap_or_default());
    }
    if protocol >= 25 {
        ServerLine::Exit.put(&mut out);
    }
    out
}
