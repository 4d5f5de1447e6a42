//! The daemon's text handshake, line by line.
//!
//! Protocol reference, section "Daemon text handshake". Who speaks when is the session's business.

use driftless_tree::path::printable;

use crate::auth::Digest;
use crate::{Decode, Violation};

/// The longest line of the handshake that a daemon accepts, in bytes.
pub const MAX_LINE_LEN: usize = 1023;
/// The most bytes that a client may send ahead of the module's name.
pub const MAX_EARLY_INPUT: usize = 5120;

/// Takes a line without its LF; CR bytes are dropped.
///
/// # Errors
/// [`Decode::Incomplete`], a NUL byte, or no LF within `limit` bytes.
pub fn take_line(input: &mut &[u8], limit: usize) -> Result<Vec<u8>, Decode> {
    let end = input.iter().take(limit + 1).position(|&b| b == b'\n' || b == 0);
    let Some(end) = end else {
        return Err(match input.len() > limit {
            true => bad_line("no end of line", input.get(..80).unwrap_or(input)).into(),
            false => Decode::Incomplete,
        });
    };
    let (line, rest) = input.split_at(end);
    let Some((b'\n', rest)) = rest.split_first() else {
        return Err(bad_line("a NUL byte in a line", line).into());
    };
    *input = rest;
    Ok(line.iter().copied().filter(|&b| b != b'\r').collect())
}

fn bad_line(what: &'static str, line: &[u8]) -> Violation {
    Violation::Line { what, line: printable(line) }
}

/// The first line of both sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// The highest protocol version that its sender speaks.
    pub protocol: u8,
    /// Not 0: that version as of a pre-release.
    pub sub: u32,
    /// Supported digests for authentication, strongest first; empty when the list is absent.
    /// Unknown names are left out.
    pub digests: Vec<Digest>,
}

impl Greeting {
    /// Writes the line.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(format!("@RSYNCD: {}.{}", self.protocol, self.sub).as_bytes());
        for digest in &self.digests {
            out.push(b' ');
            out.extend_from_slice(digest.name().as_bytes());
        }
        out.push(b'\n');
    }

    /// Reads the line.
    ///
    /// # Errors
    /// The line is none, the version is outside 20..=40, or a part is absent that its version
    /// requires: the sub-protocol from 30, the digests from 32.
    pub fn parse(line: &[u8]) -> Result<Self, Violation> {
        let bad = |what| bad_line(what, line);
        let rest = line.strip_prefix(b"@RSYNCD: ").ok_or(bad("no rsync daemon greeting"))?;
        let mut words = rest.split(|&b| b == b' ').filter(|word| !word.is_empty());
        let version = words.next().ok_or(bad("a greeting without a version"))?;
        let mut parts = version.splitn(2, |&b| b == b'.').map(number);
        let protocol = parts.next().flatten().ok_or(bad("a greeting without a version"))?;
        let sub = parts.next().map(|sub| sub.ok_or(bad("a malformed sub-protocol"))).transpose()?;
        let protocol = checked_version(i64::from(protocol))?;
        if protocol >= 30 && sub.is_none() {
            return Err(bad("a greeting without sub-protocol"));
        }
        let mut names = words.peekable();
        if protocol > 31 && names.peek().is_none() {
            return Err(bad("a greeting without digest names"));
        }
        Ok(Self {
            protocol,
            sub: sub.unwrap_or(0),
            digests: names.filter_map(Digest::of).collect(),
        })
    }

    /// The version that the two ends speak.
    pub fn agree(&self, peer: &Greeting) -> u8 {
        let lower = if peer.protocol <= self.protocol { peer } else { self };
        let pre_release = match self.protocol == peer.protocol {
            true => self.sub != peer.sub,
            false => lower.sub != 0,
        };
        lower.protocol - u8::from(pre_release)
    }
}

/// A peer's version number, when it is one that rsync would talk to.
///
/// # Errors
/// It is outside 20..=40 (protocol reference, "Version").
pub fn checked_version(version: i64) -> Result<u8, Violation> {
    match u8::try_from(version) {
        Ok(version @ 20..=40) => Ok(version),
        _ => Err(Violation::Number { what: "protocol version", value: version }),
    }
}

fn number(digits: &[u8]) -> Option<u32> {
    let digits = std::str::from_utf8(digits).ok()?;
    if digits.starts_with('+') { None } else { digits.parse().ok() }
}

/// A line of the server after its greeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServerLine {
    /// Text for the user, or a row of the module listing.
    Motd(Vec<u8>),
    /// The module is open; arguments follow.
    Ok,
    /// The module wants an answer to this challenge.
    AuthRequired(Vec<u8>),
    /// The end of a listing.
    Exit,
    /// Fatal; the whole line.
    Error(Vec<u8>),
}

impl ServerLine {
    /// Reads a line.
    pub fn parse(line: Vec<u8>) -> Self {
        match line.strip_prefix(b"@RSYNCD: ") {
            Some(b"OK") => Self::Ok,
            Some(b"EXIT") => Self::Exit,
            Some(rest) if rest.starts_with(b"AUTHREQD ") => Self::AuthRequired(rest[9..].to_vec()),
            _ if line.starts_with(b"@ERROR") => Self::Error(line),
            _ => Self::Motd(line),
        }
    }

    /// Writes the line.
    pub fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::Motd(text) | Self::Error(text) => out.extend_from_slice(text),
            Self::Ok => out.extend_from_slice(b"@RSYNCD: OK"),
            Self::Exit => out.extend_from_slice(b"@RSYNCD: EXIT"),
            Self::AuthRequired(challenge) => {
                out.extend_from_slice(b"@RSYNCD: AUTHREQD ");
                out.extend_from_slice(challenge);
            }
        }
        out.push(b'\n');
    }
}

/// A row of the module listing.
pub fn put_listing_row(out: &mut Vec<u8>, name: &[u8], comment: &[u8]) {
    out.extend_from_slice(name);
    out.extend(std::iter::repeat_n(b' ', 15_usize.saturating_sub(name.len())));
    out.push(b'\t');
    out.extend_from_slice(comment);
    out.push(b'\n');
}

/// A line of the client after its greeting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientLine {
    /// So many raw bytes follow, then another line.
    EarlyInput(usize),
    /// The listing of modules is wanted.
    List,
    /// This module is wanted.
    Module(Vec<u8>),
    /// A command that does not exist.
    Unknown(Vec<u8>),
}

impl ClientLine {
    /// Reads a line.
    ///
    /// # Errors
    /// The early input's length is outside 1..=[`MAX_EARLY_INPUT`].
    pub fn parse(line: Vec<u8>) -> Result<Self, Violation> {
        if let Some(len) = line.strip_prefix(b"#early_input=") {
            let len = number(len).map(|len| len as usize);
            return match len {
                Some(len @ 1..=MAX_EARLY_INPUT) => Ok(Self::EarlyInput(len)),
                _ => Err(bad_line("invalid early_input length", &line)),
            };
        }
        Ok(match line.as_slice() {
            b"" | b"#list" => Self::List,
            [b'#', ..] => Self::Unknown(line),
            _ => Self::Module(line),
        })
    }

    /// Writes the line.
    pub fn put(&self, out: &mut Vec<u8>) {
        match self {
            Self::EarlyInput(len) => {
                out.extend_from_slice(format!("#early_input={len}").as_bytes());
            }
            // As an empty line, which clients have always sent.
            Self::List => {}
            Self::Module(line) | Self::Unknown(line) => out.extend_from_slice(line),
        }
        out.push(b'\n');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODERN: &[u8] = b"@RSYNCD: 32.0 sha512 sha256 sha1 md5 md4\n";

    #[test]
    fn the_greeting_of_rsync_3_5_is_understood_and_written() {
        let mut input = MODERN;
        let greeting = Greeting::parse(&take_line(&mut input, MAX_LINE_LEN).unwrap()).unwrap();
        assert_eq!((greeting.protocol, greeting.sub), (32, 0));
        assert_eq!(greeting.digests, Digest::PREFERENCE);
        let mut out = Vec::new();
        greeting.put(&mut out);
        assert_eq!(out, MODERN);
    }

    #[test]
    fn a_greeting_has_the_parts_that_its_version_requires() {
        for (line, fits) in [
            (&b"@RSYNCD: 29"[..], true),
            (b"@RSYNCD: 30", false),
            (b"@RSYNCD: 31.0", true),
            (b"@RSYNCD: 32.0", false),
            (b"@RSYNCD: 32.0 whirlpool", true),
            (b"@RSYNCD: 41.0 md5", false),
            (b"@RSYNCD: 19", false),
            (b"@RSYNCD: x", false),
            (b"SSH-2.0-OpenSSH_9.2", false),
        ] {
            assert_eq!(Greeting::parse(line).is_ok(), fits, "{}", printable(line));
        }
    }

    #[test]
    fn the_lower_version_counts_and_a_pre_release_one_less() {
        let at = |protocol, sub| Greeting { protocol, sub, digests: Vec::new() };
        assert_eq!(at(32, 0).agree(&at(31, 0)), 31);
        assert_eq!(at(30, 0).agree(&at(32, 0)), 30);
        assert_eq!(at(32, 0).agree(&at(31, 5)), 30);
        assert_eq!(at(32, 0).agree(&at(32, 1)), 31);
        assert_eq!(at(32, 1).agree(&at(32, 1)), 32);
    }

    #[test]
    fn a_line_ends_within_its_limit_and_has_no_nul() {
        assert_eq!(take_line(&mut &b"ab\r\nrest"[..], 3), Ok(b"ab".to_vec()));
        assert_eq!(take_line(&mut &b"abc"[..], 3), Err(Decode::Incomplete));
        assert!(matches!(take_line(&mut &b"abcd"[..], 3), Err(Decode::Invalid(_))));
        assert!(matches!(take_line(&mut &b"a\0\n"[..], 3), Err(Decode::Invalid(_))));
    }

    #[test]
    fn lines_of_both_sides_survive_the_wire() {
        for line in [
            ServerLine::Motd(b"welcome".to_vec()),
            ServerLine::Ok,
            ServerLine::AuthRequired(b"4/GK".to_vec()),
            ServerLine::Exit,
            ServerLine::Error(b"@ERROR: Unknown module 'x'".to_vec()),
        ] {
            let mut out = Vec::new();
            line.put(&mut out);
            assert_eq!(ServerLine::parse(take_line(&mut &*out, MAX_LINE_LEN).unwrap()), line);
        }
        for line in [
            ClientLine::EarlyInput(17),
            ClientLine::List,
            ClientLine::Module(b"src".to_vec()),
            ClientLine::Unknown(b"#quit".to_vec()),
        ] {
            let mut out = Vec::new();
            line.put(&mut out);
            assert_eq!(ClientLine::parse(take_line(&mut &*out, MAX_LINE_LEN).unwrap()), Ok(line));
        }
        assert!(ClientLine::parse(b"#early_input=0".to_vec()).is_err());
        assert!(ClientLine::parse(b"#early_input=5121".to_vec()).is_err());
    }
}
