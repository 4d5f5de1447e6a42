//! Everything that is no event: to standard error, or to the system's log under `--syslog`.

use std::fs::File;
use std::io::Write;
use std::os::unix::net::UnixDatagram;

use rustix::io::Errno;

/// Where diagnostics go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Diagnostics {
    /// Standard error.
    Stderr,
    /// The system's log; the console when no log daemon answers.
    Syslog,
}

/// What the original calls itself in the log, by whatever name it was called.
const IDENTIFIER: &str = "inotifywait";
/// Facility `daemon`, severity `info`. Syslog protocol, PRI part.
const PRIORITY: u32 = 3 * 8 + 6;

impl Diagnostics {
    /// Says one line.
    pub fn say(&self, line: &str) {
        self.say_bytes(line.as_bytes());
    }

    /// Says one line that holds a path or another name that may be no text.
    pub fn say_bytes(&self, line: &[u8]) {
        match self {
            // Nobody is left to tell when standard error is closed.
            Self::Stderr => drop(std::io::stderr().write_all(&[line, b"\n"].concat())),
            Self::Syslog => {
                let tag = format!("{IDENTIFIER}[{}]: ", std::process::id());
                let stamp = super::clock::Clock::new(b"%b %e %H:%M:%S").now().to_vec();
                let head = format!("<{PRIORITY}>");
                // With the newline that the original's messages end with.
                let message = [head.as_bytes(), &stamp, b" ", tag.as_bytes(), line, b"\n"].concat();
                let sent =
                    UnixDatagram::unbound().and_then(|socket| socket.send_to(&message, "/dev/log"));
                if sent.is_err()
                    && let Ok(mut console) = File::options().write(true).open("/dev/console")
                {
                    let _ = console.write_all(&[tag.as_bytes(), line, b"\r\n"].concat());
                }
            }
        }
    }

    /// Says what failed for a path: `what PATH: why`.
    pub fn say_failed(&self, what: &str, path: &[u8], why: &str) {
        self.say_bytes(&[what.as_bytes(), b" ", path, b": ", why.as_bytes()].concat());
    }

    /// Says what helps when a path of the command line cannot be read.
    pub fn say_next_step(&self, error: Errno) {
        if error == Errno::NOENT {
            let here = std::env::current_dir().unwrap_or_default();
            self.say(&format!(
                "Check the path: without a slash at its beginning it begins in {}.",
                here.display()
            ));
        } else if error == Errno::ACCESS {
            self.say(
                "It must be readable, and the directories above it searchable: change their modes, \
                 or run this as their owner or as root.",
            );
        }
    }
}
