//! Text on standard output.

use std::io::{self, Write};

/// Writes `text`; a reader that has gone, as in `driftless status | head`, is no error.
///
/// # Errors
/// A full disk, for one.
pub fn print(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}
