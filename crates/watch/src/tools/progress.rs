//! A line on the terminal while watches are being set up.

use std::io::{IsTerminal, Write};

/// How many watches lie between two updates.
const STEP: usize = 2_000;

/// The line; it exists only on a terminal.
#[derive(Debug)]
pub struct Progress {
    shown: bool,
    enabled: bool,
}

impl Progress {
    /// No line.
    pub fn silent() -> Self {
        Self { shown: false, enabled: false }
    }

    /// A line on standard error, if that is a terminal.
    pub fn on_terminal() -> Self {
        Self { shown: false, enabled: std::io::stderr().is_terminal() }
    }

    /// Says how many watches there are.
    pub fn count(&mut self, watches: usize) {
        if self.enabled && watches.is_multiple_of(STEP) {
            self.shown = true;
            let _ = write!(std::io::stderr(), "\r{watches} directories");
        }
    }

    /// Takes the line away.
    pub fn clear(&mut self) {
        if std::mem::take(&mut self.shown) {
            let _ = write!(std::io::stderr(), "\r\x1b[K");
        }
    }
}
