//! Lines of a configuration file.
//!
//! ```text
//! bytes ─► Line::{Section, Directive, Param, Bare}
//! ```
//! A line that ends in a backslash goes on in the next one, unless it is a comment. What names and
//! values mean is not known here. Daemon reference, "Configuration grammar".

/// What stands on a line, with the line's number, from 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// `[NAME]`
    Section(Vec<u8>),
    /// `&WORD PATH`
    Directive {
        /// With its ampersand.
        word: Vec<u8>,
        /// What follows.
        path: Vec<u8>,
    },
    /// `NAME = VALUE`
    Param {
        /// As written.
        name: Vec<u8>,
        /// Without blanks around it.
        value: Vec<u8>,
    },
    /// A line without `=`, which sets nothing.
    Bare(Vec<u8>),
}

/// A line that makes the whole file unusable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bad {
    /// `[]`
    EmptySection,
    /// A section that is not closed on its line.
    OpenSection(Vec<u8>),
    /// A section that is not closed in the file.
    End(Vec<u8>),
    /// `= VALUE`
    NoName,
}

/// The lines of a file, with their numbers.
pub struct Lines<'a> {
    rest: &'a [u8],
    number: usize,
}

impl<'a> Lines<'a> {
    /// A NUL ends the text.
    pub fn new(text: &'a [u8]) -> Self {
        let end = text.iter().position(|b| *b == 0).unwrap_or(text.len());
        Self { rest: &text[..end], number: 0 }
    }

    /// Takes a line of the file; `true` when a line end closed it.
    fn physical(&mut self) -> Option<(&'a [u8], bool)> {
        if self.rest.is_empty() {
            return None;
        }
        self.number += 1;
        match self.rest.iter().position(|b| *b == b'\n') {
            Some(at) => {
                let line = &self.rest[..at];
                self.rest = &self.rest[at + 1..];
                Some((line, true))
            }
            None => Some((std::mem::take(&mut self.rest), false)),
        }
    }
}

impl Iterator for Lines<'_> {
    type Item = (usize, Result<Line, Bad>);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let (line, mut closed) = self.physical()?;
            let number = self.number;
            let mut start = line.trim_ascii_start();
            if let [b'\\', more @ ..] = start
                && !more.trim_ascii().is_empty()
            {
                start = more.trim_ascii_start();
            }
            if start.is_empty() || matches!(start[0], b'#' | b';') {
                continue;
            }
            let mut whole = start.to_vec();
            while let [before @ .., b'\\'] = whole.trim_ascii_end() {
                whole = before.trim_ascii_end().to_vec();
                match self.physical() {
                    Some((more, end)) => {
                        closed = end;
                        whole.extend_from_slice(more);
                    }
                    None => {
                        closed = false;
                        break;
                    }
                }
            }
            if whole.trim_ascii().is_empty() {
                continue;
            }
            return Some((number, parse(&whole, closed)));
        }
    }
}

fn parse(line: &[u8], closed: bool) -> Result<Line, Bad> {
    match line[0] {
        b'[' => {
            let Some(end) = line.iter().position(|b| *b == b']') else {
                let name = single_spaced(&line[1..]);
                return Err(if closed { Bad::OpenSection(name) } else { Bad::End(name) });
            };
            let name = single_spaced(&line[1..end]);
            if name.is_empty() { Err(Bad::EmptySection) } else { Ok(Line::Section(name)) }
        }
        b'&' => {
            let end = line.iter().position(|b| b.is_ascii_whitespace() || *b == b'=');
            let (word, rest) = line.split_at(end.unwrap_or(line.len()));
            let rest = rest.trim_ascii_start();
            let path = rest.strip_prefix(b"=").unwrap_or(rest).trim_ascii().to_vec();
            Ok(Line::Directive { word: word.to_vec(), path })
        }
        _ => match line.iter().position(|b| *b == b'=') {
            None => Ok(Line::Bare(line.trim_ascii().to_vec())),
            Some(at) => {
                let name = line[..at].trim_ascii().to_vec();
                if name.is_empty() {
                    return Err(Bad::NoName);
                }
                let mut value = line[at + 1..].to_vec();
                value.retain(|b| *b != b'\r');
                Ok(Line::Param { name, value: value.trim_ascii().to_vec() })
            }
        },
    }
}

/// A name without blanks around it and with one blank for each run inside.
fn single_spaced(name: &[u8]) -> Vec<u8> {
    let words = name.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
    words.collect::<Vec<_>>().join(&b' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[(usize, Result<Line, Bad>)]) {
        assert_eq!(Lines::new(text.as_bytes()).collect::<Vec<_>>(), expected);
    }

    fn param(name: &str, value: &str) -> Result<Line, Bad> {
        Ok(Line::Param { name: name.into(), value: value.into() })
    }

    #[test]
    fn lines_are_comments_sections_directives_and_parameters() {
        check(
            "# no\\\n; no\n\n [ first   mod ] x\npath = /a b \r\n ignore errors\n&include  = /x\n\\ list=no\0 y = z",
            &[
                (4, Ok(Line::Section(b"first mod".to_vec()))),
                (5, param("path", "/a b")),
                (6, Ok(Line::Bare(b"ignore errors".to_vec()))),
                (7, Ok(Line::Directive { word: b"&include".to_vec(), path: b"/x".to_vec() })),
                (8, param("list", "no")),
            ],
        );
    }

    #[test]
    fn a_backslash_continues_names_values_and_sections() {
        check(
            "comment = default \\\n   comment\npa\\\nth = x\\\n[a\\\nb]\n[c\\\nd]\n",
            &[
                (1, param("comment", "default   comment")),
                (
                    3,
                    param("path", "x[a\nb]")
                        .map(|_| Line::Param { name: b"path".to_vec(), value: b"x[ab]".to_vec() }),
                ),
                (7, Ok(Line::Section(b"cd".to_vec()))),
            ],
        );
    }

    #[test]
    fn what_makes_a_file_unusable() {
        check("[ ]\n", &[(1, Err(Bad::EmptySection))]);
        check(
            "[a\nb]\n",
            &[(1, Err(Bad::OpenSection(b"a".to_vec()))), (2, Ok(Line::Bare(b"b]".to_vec())))],
        );
        check("[a", &[(1, Err(Bad::End(b"a".to_vec())))]);
        check("= x", &[(1, Err(Bad::NoName))]);
        check("a =", &[(1, param("a", ""))]);
    }
}
