//! `name converter`: a program of the operator knows the names of users and groups in the system's
//! place. Daemon reference, "Hooks and name converter".
//!
//! ```text
//! uid 5 ─► alice      usr alice ─► 5      an empty line: unknown
//! ```
//! It runs as the daemon and lives as long as the session. A program that ends, is silent for too
//! long or says something else than it was asked for knows nothing: no answer ever becomes user 0.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use driftless_fs::NameService;
use driftless_tree::path::printable;

/// Longest request and longest answer, without their line end.
const MAX_LINE_LEN: usize = 1023;

/// Longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running converter.
#[derive(Debug)]
pub(crate) struct Converter(Mutex<Option<UnixStream>>);

impl Converter {
    /// Asks over `stream`, whose other end is the program's standard input and output.
    pub(crate) fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self(Mutex::new(Some(stream))))
    }

    /// The answer to one request; `None` when there is none.
    fn ask(&self, what: &str, of: &[u8]) -> io::Result<Option<Vec<u8>>> {
        let request = [what.as_bytes(), b" ", of, b"\n"].concat();
        if of.iter().any(|b| *b < 0x20 || *b == 0x7f) || request.len() > MAX_LINE_LEN {
            let text = format!("invalid name-converter token: {}", printable(of));
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        // Behind a panic the program's answers may belong to another request.
        let mut stream = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = stream.as_mut() else { return Ok(None) };
        match open.write_all(&request).and_then(|()| line(open)) {
            Ok(answer) => Ok(Some(answer).filter(|answer| !answer.is_empty())),
            // Whatever it says later would be taken for the next answer.
            Err(_) => {
                *stream = None;
                Ok(None)
            }
        }
    }

    fn number(&self, what: &str, name: &[u8]) -> io::Result<Option<u32>> {
        Ok(self.ask(what, name)?.as_deref().and_then(id))
    }
}

/// An id: digits alone, and not the number that stands for none.
fn id(answer: &[u8]) -> Option<u32> {
    let digits = answer.iter().all(u8::is_ascii_digit);
    let number = std::str::from_utf8(answer).ok().filter(|_| digits)?.parse().ok()?;
    (number != u32::MAX).then_some(number)
}

/// A line without its end.
fn line(stream: &mut UnixStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::new();
    let mut byte = [0];
    loop {
        stream.read_exact(&mut byte)?;
        match byte[0] {
            b'\n' => return Ok(line),
            _ if line.len() == MAX_LINE_LEN => return Err(io::ErrorKind::InvalidData.into()),
            other => line.push(other),
        }
    }
}

impl NameService for Converter {
    fn user_name(&self, uid: u32) -> io::Result<Option<Vec<u8>>> {
        self.ask("uid", uid.to_string().as_bytes())
    }

    fn group_name(&self, gid: u32) -> io::Result<Option<Vec<u8>>> {
        self.ask("gid", gid.to_string().as_bytes())
    }

    fn uid(&self, name: &[u8]) -> io::Result<Option<u32>> {
        self.number("usr", name)
    }

    fn gid(&self, name: &[u8]) -> io::Result<Option<u32>> {
        self.number("grp", name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a converter that says `answer` makes of a name, and what it was asked.
    fn check(answer: &[u8], name: &[u8]) -> (Option<u32>, Vec<u8>) {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(answer).unwrap();
        theirs.shutdown(std::net::Shutdown::Write).unwrap();
        let converter = Converter::new(ours).unwrap();
        let found = converter.uid(name).unwrap_or(None);
        drop(converter);
        let mut asked = Vec::new();
        let _ = theirs.read_to_end(&mut asked);
        (found, asked)
    }

    #[test]
    fn only_digits_are_a_number() {
        assert_eq!(check(b"77\n", b"ann"), (Some(77), b"usr ann\n".to_vec()));
        for answer in [
            "\n",
            "",
            "77",
            "-1\n",
            " 7\n",
            "7 7\n",
            "7x\n",
            "0x7\n",
            "+7\n",
            "7\r\n",
            "4294967295\n",
        ] {
            assert_eq!(check(answer.as_bytes(), b"ann").0, None, "{answer:?}");
        }
        assert_eq!(check(&b"1".repeat(MAX_LINE_LEN + 1), b"ann").0, None);
    }

    #[test]
    fn names_that_are_no_line_are_not_asked_for() {
        for name in [&b"a\nusr root"[..], b"a\0b", b"a\x7f", &[b'x'; MAX_LINE_LEN]] {
            assert_eq!(check(b"0\n", name), (None, Vec::new()), "{}", name.escape_ascii());
        }
    }

    #[test]
    fn a_converter_that_missed_an_answer_is_not_asked_again() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let converter = Converter::new(ours).unwrap();
        drop(theirs);
        assert_eq!(converter.uid(b"ann").unwrap(), None);
        assert_eq!(converter.user_name(0).unwrap(), None);
    }
}
