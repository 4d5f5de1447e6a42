//! `--log-file`: lines with time and process.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;

use driftless_transfer::operator::{self, Links};
use driftless_tree::Timestamp;

use crate::zone::Zone;

use super::escape::{self, Charset};
use super::listing::time;

/// An open log.
#[derive(Debug)]
pub struct Log {
    file: File,
    zone: Zone,
    pid: u32,
}

impl Log {
    /// Opens the file for appending and creates it; links on its path are followed as `links` says.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(path: &Path, links: Links, zone: Zone) -> io::Result<Self> {
        let file = match links {
            Links::Trusted => operator::open_to_append(path, 0o666)?,
            Links::All => OpenOptions::new().append(true).create(true).open(path)?,
        };
        Ok(Self { file, zone, pid: std::process::id() })
    }

    /// Writes a line. A log that cannot be written does not stop a transfer.
    pub fn line(&mut self, text: &[u8]) {
        let secs = jiff::Timestamp::now().as_second();
        let now = time(Timestamp { secs, nanos: 0 }, &self.zone, ' ');
        let mut line = format!("{now} [{}] ", self.pid).into_bytes();
        escape::put(&mut line, text, Charset::Log);
        line.push(b'\n');
        let _ = self.file.write_all(&line);
    }
}
