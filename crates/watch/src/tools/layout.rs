//! How an event becomes bytes: the plain line, `--csv`, `--format` and `--json`.
//!
//! Nothing here knows where the bytes go or where events come from.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::clock::{Clock, unix_time};
use super::names;

/// What is told.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// The name of the watched object: as it was typed, directories with a slash at the end.
    pub watched: &'a [u8],
    /// The name in the watched directory; empty when it is about the directory itself.
    pub file: &'a [u8],
    /// The kernel's bits.
    pub mask: u32,
    /// Equal in the two halves of a rename, else 0.
    pub cookie: u32,
    /// Whether it was found by looking at the disk, because no watch could tell.
    pub found: bool,
}

/// One piece of a `--format`.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Watched,
    File,
    Events(u8),
    Time,
    Cookie,
}

/// A parsed `--format`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format(Vec<Piece>);

/// The longest format.
const MAX_FORMAT_LEN: usize = 4096;

impl Format {
    /// Reads a format; `None` when it is too long.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() > MAX_FORMAT_LEN {
            return None;
        }
        let mut pieces = Vec::new();
        let mut literal = Vec::new();
        let mut rest = text;
        loop {
            let (piece, used) = match rest {
                [] => break,
                [b'%', b'w', ..] => (Piece::Watched, 2),
                [b'%', b'f', ..] => (Piece::File, 2),
                [b'%', b'e', ..] => (Piece::Events(b','), 2),
                [b'%', b'T', ..] => (Piece::Time, 2),
                [b'%', b'c', ..] => (Piece::Cookie, 2),
                [b'%', plain @ (b'0' | b'n' | b'%'), ..] => {
                    literal.push(match plain {
                        b'0' => 0,
                        b'n' => b'\n',
                        _ => b'%',
                    });
                    rest = &rest[2..];
                    continue;
                }
                [b'%', separator, b'e', ..] => (Piece::Events(*separator), 3),
                [byte, ..] => {
                    literal.push(*byte);
                    rest = &rest[1..];
                    continue;
                }
            };
            if !literal.is_empty() {
                pieces.push(Piece::Text(std::mem::take(&mut literal)));
            }
            pieces.push(piece);
            rest = &rest[used..];
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        Some(Self(pieces))
    }
}

/// The form of an event's output.
#[derive(Debug)]
pub enum Layout {
    /// Watched name, events, file name.
    Plain,
    /// Three columns.
    Csv,
    /// What `--format` says; without a clock there is no `%T` in it.
    Format(Format, Option<Clock>),
    /// One JSON object.
    Json,
}

impl Layout {
    /// Appends an event without its terminator. Returns whether there is one to print: a `%T` that
    /// gives nothing takes the whole event with it.
    pub fn write(&mut self, event: &Event<'_>, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Plain => {
                out.extend_from_slice(event.watched);
                out.push(b' ');
                names::write(event.mask, b',', out);
                out.push(b' ');
                out.extend_from_slice(event.file);
                true
            }
            Self::Csv => {
                write_csv(event, out);
                true
            }
            Self::Format(Format(pieces), clock) => {
                let start = out.len();
                for piece in pieces {
                    match piece {
                        Piece::Text(text) => out.extend_from_slice(text),
                        Piece::Watched => out.extend_from_slice(event.watched),
                        Piece::File => out.extend_from_slice(event.file),
                        Piece::Events(separator) => names::write(event.mask, *separator, out),
                        Piece::Time => {
                            let time = clock.as_mut().map_or(&[][..], Clock::now);
                            if time.is_empty() {
                                out.truncate(start);
                                return false;
                            }
                            out.extend_from_slice(time);
                        }
                        Piece::Cookie => write_hex(event.cookie, out),
                    }
                }
                true
            }
            Self::Json => {
                write_json(event, out);
                true
            }
        }
    }
}

fn write_hex(value: u32, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{value:x}").as_bytes());
}

/// An event without a watched name (an overflow) lacks the first column, as in the original.
fn write_csv(event: &Event<'_>, out: &mut Vec<u8>) {
    if !event.watched.is_empty() {
        write_csv_field(event.watched, out);
        out.push(b',');
    }
    let mut events = Vec::new();
    names::write(event.mask, b',', &mut events);
    write_csv_field(&events, out);
    out.push(b',');
    write_csv_field(event.file, out);
}

fn write_csv_field(field: &[u8], out: &mut Vec<u8>) {
    let special = |byte: &u8| matches!(byte, b'"' | b',' | b'\n');
    let spaced = field.first() == Some(&b' ') || field.last() == Some(&b' ');
    if !spaced && !field.iter().any(special) {
        out.extend_from_slice(field);
        return;
    }
    out.push(b'"');
    for &byte in field {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// `watched`, `file` and `path` are strings; where the bytes are not UTF-8, replacement characters
/// stand in for them and `watched_base64` or `file_base64` holds the exact bytes.
fn write_json(event: &Event<'_>, out: &mut Vec<u8>) {
    let (seconds, nanos) = unix_time();
    out.extend_from_slice(format!("{{\"time\":{seconds}.{nanos:09},\"path\":").as_bytes());
    let path = [event.watched, event.file].concat();
    write_json_string(&path, out);
    for (key, bytes) in [("watched", event.watched), ("file", event.file)] {
        out.extend_from_slice(format!(",\"{key}\":").as_bytes());
        write_json_string(bytes, out);
        if std::str::from_utf8(bytes).is_err() {
            let exact = STANDARD.encode(bytes);
            out.extend_from_slice(format!(",\"{key}_base64\":\"{exact}\"").as_bytes());
        }
    }
    out.extend_from_slice(b",\"events\":[");
    for (index, name) in names::printed(event.mask).enumerate() {
        if index > 0 {
            out.push(b',');
        }
        out.extend_from_slice(format!("\"{name}\"").as_bytes());
    }
    out.extend_from_slice(format!("],\"cookie\":{}", event.cookie).as_bytes());
    out.extend_from_slice(if event.found { b",\"found\":true}" } else { b"}" });
}

/// Appends a JSON string; bytes that are not UTF-8 become replacement characters.
pub fn write_json_string(bytes: &[u8], out: &mut Vec<u8>) {
    out.push(b'"');
    for character in String::from_utf8_lossy(bytes).chars() {
        match character {
            '"' => out.extend_from_slice(b"\\\""),
            '\\' => out.extend_from_slice(b"\\\\"),
            control if u32::from(control) < 0x20 || control == '\u{7f}' => {
                out.extend_from_slice(format!("\\u{:04x}", u32::from(control)).as_bytes());
            }
            other => out.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event<'a>(watched: &'a str, file: &'a [u8], mask: u32) -> Event<'a> {
        Event { watched: watched.as_bytes(), file, mask, cookie: 0xab, found: false }
    }

    fn written(mut layout: Layout, event: &Event<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        layout.write(event, &mut out);
        out
    }

    #[track_caller]
    fn check(format: &str, text: &str) {
        let layout = Layout::Format(Format::parse(format.as_bytes()).unwrap(), None);
        let found = written(layout, &event("d/", b"f", names::CLOSE_WRITE));
        assert_eq!(String::from_utf8(found).unwrap(), text, "{format}");
    }

    #[test]
    fn format_escapes_are_those_of_the_original() {
        check("%w|%f|%e|%;e|%c", "d/|f|CLOSE_WRITE,CLOSE|CLOSE_WRITE;CLOSE|ab");
        check("%y|%%|%n|%0|", "%y|%|\n|\0|");
        check("%ee|%we|%ne|%%e", "CLOSE_WRITE,CLOSEe|d/e|\ne|%e");
        check("a%..%;e", "a%..CLOSE_WRITE;CLOSE");
        check("abc%", "abc%");
        check("", "");
    }

    #[test]
    fn a_time_that_gives_nothing_takes_the_event_with_it() {
        let format = Format::parse(b"x%T").unwrap();
        let mut layout = Layout::Format(format, Some(Clock::new(b"")));
        let mut out = b"before".to_vec();
        assert!(!layout.write(&event("d/", b"f", names::OPEN), &mut out));
        assert_eq!(out, b"before");
    }

    #[test]
    fn too_long_formats_are_refused() {
        assert!(Format::parse(&[b'x'; 4096]).is_some());
        assert!(Format::parse(&[b'x'; 4097]).is_none());
    }

    #[track_caller]
    fn check_csv(watched: &str, file: &str, mask: u32, text: &str) {
        let found = written(Layout::Csv, &event(watched, file.as_bytes(), mask));
        assert_eq!(String::from_utf8(found).unwrap(), text);
    }

    #[test]
    fn csv_fields_are_quoted_when_they_must() {
        check_csv("d/", "f", names::OPEN, "d/,OPEN,f");
        check_csv("a,b/", " x", names::CLOSE_WRITE, "\"a,b/\",\"CLOSE_WRITE,CLOSE\",\" x\"");
        check_csv("ff", "", names::ATTRIB, "ff,ATTRIB,");
        check_csv("d/", "q\"r\n", names::OPEN, "d/,OPEN,\"q\"\"r\n\"");
        check_csv("", "", names::Q_OVERFLOW, "Q_OVERFLOW,");
    }

    #[test]
    fn json_keeps_names_that_are_not_text() {
        let bytes = written(Layout::Json, &event("d/", b"a\xff\"\n", names::CREATE));
        let text = String::from_utf8(bytes).unwrap();
        assert!(
            text.contains(r#""path":"d/a�\"\u000a","watched":"d/","file":"a�\"\u000a""#),
            "{text}"
        );
        assert!(
            text.contains(r#""file_base64":"Yf8iCg==","events":["CREATE"],"cookie":171}"#),
            "{text}"
        );
    }
}
