//! Words of the command line, from left to right.
//!
//! Origin: command-line reference, "Parsing rules".

use driftless_tree::path::printable;

use super::Usage;
use super::defs::{FLAGS, Flag, Take};
use super::typed::Typed;
use super::values::integer;

/// Applies all options among `words` to `typed` and returns the rest, in its order. `remote` words
/// come from a client, which matters for the text of errors only.
///
/// # Errors
/// The first word that is wrong.
pub fn parse(
    typed: &mut Typed,
    words: &[Vec<u8>],
    remote: bool,
    refuses: Refuses<'_>,
) -> Result<Vec<Vec<u8>>, Usage> {
    let mut parser = Parser { typed, rest: words.iter(), remote, refuses, arguments: Vec::new() };
    while let Some(word) = parser.rest.next() {
        parser.word(word)?;
    }
    Ok(parser.arguments)
}

/// Whether an option, or with `false` its negation, is not to be taken.
pub type Refuses<'a> = &'a dyn Fn(&'static Flag, bool) -> bool;

struct Parser<'a> {
    typed: &'a mut Typed,
    rest: std::slice::Iter<'a, Vec<u8>>,
    remote: bool,
    refuses: Refuses<'a>,
    arguments: Vec<Vec<u8>>,
}

impl Parser<'_> {
    fn word(&mut self, word: &[u8]) -> Result<(), Usage> {
        match word {
            b"--" => self.arguments.extend(self.rest.by_ref().cloned()),
            [b'-', b'-', long @ ..] => self.long(word, long)?,
            [b'-', cluster @ ..] if !cluster.is_empty() => self.cluster(word, cluster)?,
            _ => self.arguments.push(word.to_vec()),
        }
        Ok(())
    }

    fn long(&mut self, word: &[u8], long: &[u8]) -> Result<(), Usage> {
        let (name, value) = match long.iter().position(|b| *b == b'=') {
            Some(at) => (&long[..at], Some(&long[at + 1..])),
            None => (long, None),
        };
        let (flag, on) = by_long_name(name).ok_or_else(|| self.complain(word, "unknown option"))?;
        self.admit(flag, on, name)?;
        match (flag.take, value) {
            (Take::Switch(_), Some(_)) => {
                Err(self.complain(word, "option does not take an argument"))
            }
            (Take::Switch(set), None) => self.switch(flag, set, on),
            (_, Some(value)) => self.value(flag, value, word),
            (_, None) => self.next_value(flag, word),
        }
    }

    fn cluster(&mut self, word: &[u8], cluster: &[u8]) -> Result<(), Usage> {
        for (at, letter) in cluster.iter().enumerate() {
            let flag = by_letter(*letter).ok_or_else(|| self.complain(word, "unknown option"))?;
            self.admit(flag, true, flag.long.as_bytes())?;
            let behind = &cluster[at + 1..];
            match flag.take {
                Take::Switch(_) if behind.first() == Some(&b'=') => {
                    return Err(self.complain(word, "option does not take an argument"));
                }
                Take::Switch(set) => self.switch(flag, set, true)?,
                _ if behind.is_empty() => return self.next_value(flag, word),
                _ => {
                    let value = behind.strip_prefix(b"=").unwrap_or(behind);
                    return self.value(flag, value, word);
                }
            }
        }
        Ok(())
    }

    fn switch(
        &mut self,
        flag: &'static Flag,
        set: fn(&mut Typed, bool),
        on: bool,
    ) -> Result<(), Usage> {
        // There is no such time on the file systems of Linux to set.
        if on && flag.long == "crtimes" {
            return Err(Usage::syntax("This rsync does not support --crtimes (-N)".to_owned()));
        }
        set(self.typed, on);
        Ok(())
    }

    fn next_value(&mut self, flag: &'static Flag, word: &[u8]) -> Result<(), Usage> {
        match self.rest.next() {
            Some(value) => self.value(flag, value, value),
            None => Err(self.complain(word, "missing argument")),
        }
    }

    fn value(&mut self, flag: &'static Flag, value: &[u8], shown: &[u8]) -> Result<(), Usage> {
        match flag.take {
            Take::Text(take) => take(self.typed, value),
            Take::Number(take) => take(self.typed, integer(value, shown)?),
            Take::Switch(_) => unreachable!("switches have no value"),
        }
    }

    /// Refuses what a daemon is configured to refuse; `name` is the one that was used.
    fn admit(&self, flag: &'static Flag, on: bool, name: &[u8]) -> Result<(), Usage> {
        if !(self.refuses)(flag, on) {
            return Ok(());
        }
        let shown = match (name, flag.short) {
            (b"", Some(letter)) => format!("-{}", char::from(letter)),
            (name, Some(letter)) if on => {
                format!("--{} (-{})", printable(name), char::from(letter))
            }
            (name, _) => format!("--{}", printable(name)),
        };
        let text = format!("The server is configured to refuse {shown}");
        Err(Usage { code: 4, text, prefixed: true, with_help: false })
    }

    fn complain(&self, word: &[u8], what: &str) -> Usage {
        let far = if self.remote { "on remote machine: " } else { "" };
        Usage::syntax(format!("{far}{}: {what}", printable(word)))
    }
}

/// The option of a long name, and whether the name turns it on.
pub fn by_long_name(name: &[u8]) -> Option<(&'static Flag, bool)> {
    FLAGS.iter().find_map(|flag| {
        if flag.long_names().any(|long| long.as_bytes() == name) {
            Some((flag, true))
        } else if flag.negations.iter().any(|no| no.as_bytes() == name) {
            Some((flag, false))
        } else {
            None
        }
    })
}

/// The option of a letter.
pub fn by_letter(letter: u8) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.short == Some(letter))
}
