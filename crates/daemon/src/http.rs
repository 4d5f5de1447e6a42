//! `/metrics` over HTTP, where the operator asked for it: one request, one answer.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// Longest request; what a scraper sends has some hundred bytes.
const MAX_REQUEST_LEN: usize = 8 * 1024;

/// Longest wait for a request, and for the answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Ok,
    BadRequest,
    NotFound,
    WrongMethod,
    TooLong,
}

impl Status {
    fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::WrongMethod => "405 Method Not Allowed",
            Self::TooLong => "431 Request Header Fields Too Large",
        }
    }
}

/// The answer to the head of a request.
fn judge(head: &[u8]) -> Status {
    let line = head.split(|b| *b == b'\r' || *b == b'\n').next().unwrap_or_default();
    let words: Vec<&[u8]> = line.split(|b| *b == b' ').collect();
    let [method, path, version] = words[..] else { return Status::BadRequest };
    let path = path.split(|b| *b == b'?').next().unwrap_or_default();
    match (version.starts_with(b"HTTP/1."), method, path) {
        (false, ..) => Status::BadRequest,
        (_, b"GET", b"/metrics") => Status::Ok,
        (_, b"GET", _) => Status::NotFound,
        _ => Status::WrongMethod,
    }
}

/// Answers whoever is at the other end; slow ones are left.
///
/// # Errors
/// They were, or the connection broke.
pub(crate) fn answer(mut stream: TcpStream, metrics: &str) -> io::Result<()> {
    let until = Instant::now() + PATIENCE;
    let mut head = Vec::new();
    let mut buffer = [0; 1024];
    stream.set_nonblocking(false)?;
    let status = loop {
        if head.windows(4).any(|part| part == b"\r\n\r\n") {
            break judge(&head);
        }
        if head.len() > MAX_REQUEST_LEN {
            break Status::TooLong;
        }
        let left = until.saturating_duration_since(Instant::now());
        stream.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
        match stream.read(&mut buffer)? {
            0 => return Ok(()),
            len => head.extend_from_slice(&buffer[..len]),
        }
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
    };
    let (kind, body) = match status {
        Status::Ok => (OPEN_METRICS, metrics.to_owned()),
        other => ("text/plain; charset=utf-8", format!("{}\n", other.line())),
    };
    let (line, len) = (status.line(), body.len());
    let text = format!(
        "HTTP/1.1 {line}\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\n\
         Connection: close\r\n\r\n{body}"
    );
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(text.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_metrics_are_to_be_had() {
        for (head, status) in [
            ("GET /metrics HTTP/1.1\r\nHost: x", Status::Ok),
            ("GET /metrics?a=b HTTP/1.0", Status::Ok),
            ("GET / HTTP/1.1", Status::NotFound),
            ("GET /metrics/ HTTP/1.1", Status::NotFound),
            ("POST /metrics HTTP/1.1", Status::WrongMethod),
            ("GET /metrics", Status::BadRequest),
            ("GET  /metrics HTTP/1.1", Status::BadRequest),
            ("\x16\x03\x01", Status::BadRequest),
            ("", Status::BadRequest),
        ] {
            assert_eq!(judge(head.as_bytes()), status, "{head}");
        }
    }
}
