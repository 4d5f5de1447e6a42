//! The command line as GNU `getopt_long` reads it, with its messages: options and operands mixed,
//! `--` ends options, short ones in clusters, long ones abbreviated when that is unique.

use std::collections::VecDeque;

/// One option.
#[derive(Debug)]
pub struct Spec<T> {
    /// The letter after one dash.
    pub short: Option<u8>,
    /// The word after two dashes.
    pub long: &'static str,
    /// Whether it has an argument.
    pub takes: bool,
    /// Whether the original tools lack it. Such an option cannot be abbreviated, so that every
    /// abbreviation means what it means there.
    pub own: bool,
    /// What it is.
    pub meaning: T,
}

/// What was found in a command line.
#[derive(Debug, PartialEq, Eq)]
pub enum Found<T> {
    /// An option, with its argument (empty when it takes none).
    Option(T, Vec<u8>),
    /// A word that is no option.
    Operand(Vec<u8>),
    /// The C library's complaint.
    Wrong(String),
}

/// Reads words one by one.
#[derive(Debug)]
pub struct Words<T: 'static> {
    specs: &'static [Spec<T>],
    program: String,
    words: VecDeque<Vec<u8>>,
    /// The rest of a cluster of short options.
    cluster: Vec<u8>,
    only_operands: bool,
}

impl<T: Copy> Words<T> {
    /// The words after the program's name, which messages begin with.
    pub fn new(specs: &'static [Spec<T>], program: &[u8], words: Vec<Vec<u8>>) -> Self {
        Self {
            specs,
            program: String::from_utf8_lossy(program).into_owned(),
            words: words.into(),
            cluster: Vec::new(),
            only_operands: false,
        }
    }

    fn wrong(&self, what: &str) -> Option<Found<T>> {
        Some(Found::Wrong(format!("{}: {what}", self.program)))
    }

    fn short(&mut self) -> Option<Found<T>> {
        let letter = self.cluster.remove(0);
        let Some(spec) = self.specs.iter().find(|spec| spec.short == Some(letter)) else {
            let shown = String::from_utf8_lossy(&[letter]).into_owned();
            return self.wrong(&format!("invalid option -- '{shown}'"));
        };
        if !spec.takes {
            return Some(Found::Option(spec.meaning, Vec::new()));
        }
        if !self.cluster.is_empty() {
            return Some(Found::Option(spec.meaning, std::mem::take(&mut self.cluster)));
        }
        match self.words.pop_front() {
            Some(argument) => Some(Found::Option(spec.meaning, argument)),
            None => self.wrong(&format!("option requires an argument -- '{}'", char::from(letter))),
        }
    }

    fn long(&mut self, word: &[u8]) -> Option<Found<T>> {
        let (name, argument) = match word.iter().position(|&b| b == b'=') {
            Some(at) => (&word[..at], Some(word[at + 1..].to_vec())),
            None => (word, None),
        };
        let shown = String::from_utf8_lossy(word).into_owned();
        let exact = self.specs.iter().find(|spec| spec.long.as_bytes() == name);
        let alike: Vec<&Spec<T>> = self
            .specs
            .iter()
            .filter(|spec| !spec.own && spec.long.as_bytes().starts_with(name))
            .collect();
        let spec = match (exact, alike.as_slice()) {
            (Some(spec), _) => spec,
            (None, [spec]) => *spec,
            (None, []) => return self.wrong(&format!("unrecognized option '--{shown}'")),
            (None, several) => {
                let names: String =
                    several.iter().map(|spec| format!(" '--{}'", spec.long)).collect();
                return self
                    .wrong(&format!("option '--{shown}' is ambiguous; possibilities:{names}"));
            }
        };
        match (spec.takes, argument) {
            (false, None) => Some(Found::Option(spec.meaning, Vec::new())),
            (false, Some(_)) => {
                self.wrong(&format!("option '--{}' doesn't allow an argument", spec.long))
            }
            (true, Some(argument)) => Some(Found::Option(spec.meaning, argument)),
            (true, None) => match self.words.pop_front() {
                Some(argument) => Some(Found::Option(spec.meaning, argument)),
                None => self.wrong(&format!("option '--{}' requires an argument", spec.long)),
            },
        }
    }
}

impl<T: Copy> Iterator for Words<T> {
    type Item = Found<T>;

    fn next(&mut self) -> Option<Found<T>> {
        if !self.cluster.is_empty() {
            return self.short();
        }
        let word = self.words.pop_front()?;
        match word.as_slice() {
            _ if self.only_operands => Some(Found::Operand(word)),
            b"--" => {
                self.only_operands = true;
                self.next()
            }
            [b'-', b'-', long @ ..] => self.long(long),
            [b'-', letters @ ..] if !letters.is_empty() => {
                self.cluster = letters.to_vec();
                self.short()
            }
            _ => Some(Found::Operand(word)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPECS: &[Spec<u8>] = &[
        Spec { short: Some(b'm'), long: "monitor", takes: false, own: false, meaning: 1 },
        Spec { short: Some(b'e'), long: "event", takes: true, own: false, meaning: 2 },
        Spec { short: None, long: "exclude", takes: true, own: false, meaning: 3 },
        Spec { short: None, long: "excludei", takes: true, own: false, meaning: 4 },
        Spec { short: None, long: "more", takes: false, own: true, meaning: 5 },
    ];

    #[track_caller]
    fn check(words: &[&str], expected: &[Found<u8>]) {
        let words = words.iter().map(|word| word.as_bytes().to_vec()).collect();
        let found: Vec<_> = Words::new(SPECS, b"prog", words).collect();
        assert_eq!(found, expected);
    }

    fn option(meaning: u8, argument: &str) -> Found<u8> {
        Found::Option(meaning, argument.into())
    }

    fn operand(word: &str) -> Found<u8> {
        Found::Operand(word.into())
    }

    fn wrong(text: &str) -> Found<u8> {
        Found::Wrong(format!("prog: {text}"))
    }

    #[test]
    fn options_and_operands_are_mixed_until_a_double_dash() {
        check(
            &["a", "-me", "x", "-", "--", "-m"],
            &[operand("a"), option(1, ""), option(2, "x"), operand("-"), operand("-m")],
        );
        check(
            &["-exy", "--event=", "--event", "-1"],
            &[option(2, "xy"), option(2, ""), option(2, "-1")],
        );
    }

    #[test]
    fn long_options_may_be_abbreviated_when_that_is_unique() {
        check(
            &["--m", "--ev=x", "--exclude", "y", "--more"],
            &[option(1, ""), option(2, "x"), option(3, "y"), option(5, "")],
        );
        check(
            &["--excl", "a"],
            &[
                wrong("option '--excl' is ambiguous; possibilities: '--exclude' '--excludei'"),
                operand("a"),
            ],
        );
    }

    #[test]
    fn complaints_are_those_of_the_c_library() {
        check(&["--bogus=1"], &[wrong("unrecognized option '--bogus=1'")]);
        check(&["-x"], &[wrong("invalid option -- 'x'")]);
        check(&["-e"], &[wrong("option requires an argument -- 'e'")]);
        check(&["--event"], &[wrong("option '--event' requires an argument")]);
        check(&["--mon=3"], &[wrong("option '--monitor' doesn't allow an argument")]);
    }
}
