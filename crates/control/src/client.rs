//! Asks a running driftless.
//!
//! One request for each connection, in HTTP/1.0, so that the answer ends with the connection and is
//! never chunked.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::report::{Failure, Status, Verified};
use crate::request::{Choice, Resume, Wait};

/// How long an answer may take that waits for nothing.
const PATIENCE: Duration = Duration::from_secs(30);
/// Longest answer that is read.
const MAX_ANSWER: u64 = 64 << 20;

/// Why there is no answer, or what the answer refuses.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ClientError {
    #[error(
        "no driftless answers at {} (is `driftless live` running with --control there?)",
        .path.display()
    )]
    NoAnswer { path: PathBuf, source: io::Error },
    #[error(
        "the control socket {} is for the user who runs `driftless live` and for root",
        .path.display()
    )]
    Denied { path: PathBuf, source: io::Error },
    #[error("driftless at {} stopped before it answered", .path.display())]
    Stopped { path: PathBuf },
    #[error("driftless at {} has not answered in time", .path.display())]
    Silent { path: PathBuf },
    #[error("cannot talk to driftless at {}", .path.display())]
    Talk { path: PathBuf, source: io::Error },
    #[error("what answers at {} is no driftless of this version", .path.display())]
    Stranger { path: PathBuf },
    #[error("{error}")]
    Refused { error: String },
    /// A flush that came too late, with a line for each target that is behind.
    #[error("{error}")]
    Behind { error: String, lines: Vec<String> },
}

/// A control socket to ask at.
#[derive(Debug, Clone)]
pub struct Client {
    path: PathBuf,
}

impl Client {
    /// Asks nothing yet.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    /// Returns the state of all mirrors.
    ///
    /// # Errors
    /// No proper answer.
    pub fn status(&self) -> Result<Status, ClientError> {
        self.ask("GET", "/api/status", b"", PATIENCE)
    }

    /// Waits until everything that has changed is everywhere.
    ///
    /// # Errors
    /// [`ClientError::Behind`] when it is not in time.
    pub fn flush(&self, request: &Wait) -> Result<(), ClientError> {
        self.command("/api/flush", request, patience(request))
    }

    /// Compares targets with their sources by checksum, and waits for the outcome.
    ///
    /// # Errors
    /// No proper answer, or no such mirror or target.
    pub fn verify(&self, request: &Wait) -> Result<Verified, ClientError> {
        self.ask("POST", "/api/verify", &json(request), patience(request))
    }

    /// Pauses a mirror or a target.
    ///
    /// # Errors
    /// No proper answer, or no such mirror or target.
    pub fn pause(&self, request: &Choice) -> Result<(), ClientError> {
        self.command("/api/pause", request, PATIENCE)
    }

    /// Resumes a mirror or a target.
    ///
    /// # Errors
    /// No proper answer, or no such mirror or target.
    pub fn resume(&self, request: &Resume) -> Result<(), ClientError> {
        self.command("/api/resume", request, PATIENCE)
    }

    /// Starts full passes.
    ///
    /// # Errors
    /// No proper answer, or no such mirror or target.
    pub fn resync(&self, request: &Choice) -> Result<(), ClientError> {
        self.command("/api/resync", request, PATIENCE)
    }

    fn command(
        &self,
        address: &str,
        request: &impl Serialize,
        patience: Duration,
    ) -> Result<(), ClientError> {
        self.ask::<serde_json::Value>("POST", address, &json(request), patience).map(drop)
    }

    fn ask<T: DeserializeOwned>(
        &self,
        method: &str,
        address: &str,
        body: &[u8],
        patience: Duration,
    ) -> Result<T, ClientError> {
        let mut stream = self.connect()?;
        let answer = exchange(&mut stream, method, address, body, patience)
            .map_err(|source| self.failed(source))?;
        if answer.is_empty() {
            return Err(ClientError::Stopped { path: self.path.clone() });
        }
        let stranger = || ClientError::Stranger { path: self.path.clone() };
        let (code, content) = split_answer(&answer).ok_or_else(stranger)?;
        if code == 200 {
            return serde_json::from_slice(content).map_err(|_| stranger());
        }
        let failure: Failure = serde_json::from_slice(content).map_err(|_| stranger())?;
        Err(match failure {
            Failure { error, behind } if behind.is_empty() => ClientError::Refused { error },
            Failure { error, behind } => ClientError::Behind { error, lines: behind },
        })
    }

    fn connect(&self) -> Result<UnixStream, ClientError> {
        UnixStream::connect(&self.path).map_err(|source| match source.kind() {
            io::ErrorKind::PermissionDenied => {
                ClientError::Denied { path: self.path.clone(), source }
            }
            _ => ClientError::NoAnswer { path: self.path.clone(), source },
        })
    }

    fn failed(&self, source: io::Error) -> ClientError {
        let path = self.path.clone();
        match source.kind() {
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => ClientError::Silent { path },
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                ClientError::Stopped { path }
            }
            _ => ClientError::Talk { path, source },
        }
    }
}

fn json(request: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(request).expect("plain values have a JSON form")
}

/// How long the answer to a request may take that waits for mirrors.
fn patience(request: &Wait) -> Duration {
    let timeout = Duration::try_from_secs_f64(request.timeout).unwrap_or(Duration::MAX);
    timeout.saturating_add(PATIENCE)
}

/// Sends one request and reads until the connection ends.
fn exchange(
    stream: &mut UnixStream,
    method: &str,
    address: &str,
    body: &[u8],
    patience: Duration,
) -> io::Result<Vec<u8>> {
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut request = format!(
        "{method} {address} HTTP/1.0\r\nHost: driftless\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    )
    .into_bytes();
    request.extend_from_slice(body);
    stream.write_all(&request)?;
    let mut answer = Vec::new();
    stream.take(MAX_ANSWER).read_to_end(&mut answer)?;
    Ok(answer)
}

/// The status code and the content of an answer that is complete.
fn split_answer(answer: &[u8]) -> Option<(u16, &[u8])> {
    let end = answer.windows(4).position(|four| four == b"\r\n\r\n")?;
    let (head, content) = (answer.get(..end)?, answer.get(end + 4..)?);
    let head = std::str::from_utf8(head).ok()?;
    let mut lines = head.split("\r\n");
    let code = lines.next()?.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    let length = lines.find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    if length.is_some_and(|length| length != content.len()) {
        return None;
    }
    Some((code, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_that_was_cut_is_no_answer() {
        let whole = b"HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\n{}";
        assert_eq!(split_answer(whole), Some((200, &b"{}"[..])));
        for len in 0..whole.len() {
            assert_eq!(split_answer(&whole[..len]), None, "{len}");
        }
    }
}
