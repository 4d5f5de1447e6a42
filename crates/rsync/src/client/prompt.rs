//! Asking a person for the password of a daemon.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Asks on the terminal, without showing what is typed. `None` where there is no terminal.
pub fn password() -> Option<Zeroizing<Vec<u8>>> {
    let mut terminal = OpenOptions::new().read(true).write(true).open("/dev/tty").ok()?;
    let before = tcgetattr(&terminal).ok()?;
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&terminal, OptionalActions::Flush, &hidden).ok()?;
    let asked = terminal.write_all(b"Password: ");
    let mut line = Zeroizing::new(Vec::with_capacity(256));
    let read = BufReader::with_capacity(256, &terminal).read_until(b'\n', &mut line);
    // Whatever happened, the terminal shows again what is typed.
    let _ = tcsetattr(&terminal, OptionalActions::Flush, &before);
    let _ = terminal.write_all(b"\n");
    asked.ok()?;
    read.ok()?;
    if line.last() == Some(&b'\n') {
        line.pop();
    }
    Some(line)
}
