//! The time in a line: local, through `--timefmt`, computed once a second.

use std::ffi::CString;
use std::time::{SystemTime, UNIX_EPOCH};

use driftless_fs::local_time;

/// The longest text of a time, in bytes.
const LIMIT: usize = 1024;

/// A time format with its last result.
#[derive(Debug)]
pub struct Clock {
    format: CString,
    last: Option<(i64, CString)>,
}

impl Clock {
    /// For a `strftime` format.
    pub fn new(format: &[u8]) -> Self {
        let format = format.split(|&b| b == 0).next().unwrap_or_default();
        Self { format: CString::new(format).expect("cut at the first NUL"), last: None }
    }

    /// Now; empty when the format gives nothing.
    pub fn now(&mut self) -> &[u8] {
        let seconds = unix_time().0;
        if self.last.as_ref().is_none_or(|(at, _)| *at != seconds) {
            self.last = Some((seconds, local_time(&self.format, seconds, LIMIT)));
        }
        self.last.as_ref().map_or(&[], |(_, text)| text.as_bytes())
    }
}

/// Seconds since 1970 and the nanoseconds of the present one.
pub fn unix_time() -> (i64, u32) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (i64::try_from(now.as_secs()).unwrap_or(i64::MAX), now.subsec_nanos())
}
