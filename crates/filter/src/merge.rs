//! Lists of rules from options and files.
//!
//! ```text
//! text ──split──► rule texts ──rule::parse──► Item ──► List
//!                                 │ merge, -from: the next file, at most 32 deep
//! ```
//! Invariants
//! * A list never holds two merge rules for files of the same name.
//! * A rule read from a directory's file that begins with a slash is anchored at that directory.

use std::io;

use crate::cvs;
use crate::error::{FileName, Place, RuleError, SyntaxError, Warning};
use crate::pattern::Pattern;
use crate::place;
use crate::rule::{self, Grammar, Merge, Parsed, Rule, Sense, Sides, Traits};
use crate::rules::ParseOptions;

/// The most files that may read each other.
const MAX_DEPTH: u32 = 32;
/// The longest pattern, in bytes.
const MAX_PATTERN_LEN: usize = 4095;

/// Reads the files that hold rules.
///
/// Names come in two forms. A file inside the transfer root that was found by walking (per-directory
/// files, and files that those name) has a path relative to the root, without leading slash. All
/// other names are as the operator or the peer gave them, or, for the directories above the root
/// that a rule such as `: /.rsync-filter` scans, absolute. `-` given to an option or a merge rule on
/// the command line means standard input.
pub trait ReadFile {
    /// The whole content, or `None` when there is no such file.
    ///
    /// # Errors
    /// Whatever reading failed with; it ends parsing or walking, so a reader that takes an
    /// unreadable per-directory file for a missing one returns `None`.
    fn read(&mut self, path: &[u8]) -> io::Result<Option<Vec<u8>>>;
}

/// One element of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Item {
    Rule(Rule),
    /// The list of `-C`: `from_option` if the option put it here, not a rule.
    Cvs {
        rules: Vec<Rule>,
        traits: Traits,
        from_option: bool,
    },
    /// The place of a per-directory file's rules.
    PerDir(PerDir),
}

/// A per-directory merge rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PerDir {
    /// With the name as it was given.
    pub(crate) merge: Merge,
    pub(crate) from_option: bool,
    /// How many per-directory rules declared each other down to this one.
    pub(crate) depth: u32,
}

impl PerDir {
    /// The name of the file in each directory.
    pub(crate) fn file_name(&self) -> &[u8] {
        place::base_name(&self.merge.name)
    }
}

/// Rules in order.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct List {
    pub(crate) items: Vec<Item>,
    /// A `!` has emptied it, so what it would inherit is void too.
    pub(crate) cleared: bool,
}

/// Where texts stand: decides how names of files and anchors are understood.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Base<'b> {
    /// Options: names are the operator's, anchors are the transfer root.
    Options,
    /// A file of this directory, an absolute path; per-directory rules declared in it are this deep.
    Dir(&'b [u8], u32),
}

/// Builds one list.
pub(crate) struct Loader<'l> {
    pub(crate) options: &'l ParseOptions,
    pub(crate) files: &'l mut dyn ReadFile,
    pub(crate) base: Base<'l>,
    /// Rules in files end at NUL bytes.
    pub(crate) from0: bool,
    /// Per-directory files that are known elsewhere.
    pub(crate) known: &'l [&'l [u8]],
    pub(crate) list: List,
    pub(crate) warnings: Vec<Warning>,
}

impl<'l> Loader<'l> {
    pub(crate) fn new(
        options: &'l ParseOptions,
        files: &'l mut dyn ReadFile,
        base: Base<'l>,
        known: &'l [&'l [u8]],
    ) -> Self {
        let (list, warnings) = (List::default(), Vec::new());
        Self { options, files, base, from0: options.from0, known, list, warnings }
    }

    /// Adds the rule of one option.
    pub(crate) fn add_text(&mut self, text: &[u8], grammar: Grammar) -> Result<(), RuleError> {
        self.add(text, grammar, &Place::Text(text.to_vec()), 0)
    }

    /// Adds the rules of a file that an option names.
    pub(crate) fn add_from(&mut self, name: &[u8], sense: Sense) -> Result<(), RuleError> {
        let text = self.read(name, FileName::Plain(name.to_vec()), sense)?;
        let origin = Place::File { file: name.to_vec(), line: None, named_in: 0 };
        self.add_lines(&text, Grammar::OldStyle(sense), &origin, 1)
    }

    /// Adds the rules of a directory's file; nothing when it does not exist.
    pub(crate) fn add_dir_file(&mut self, dir: &[u8], rule: &PerDir) -> Result<(), RuleError> {
        let absolute = place::join(dir, rule.file_name());
        let path = self.reader_path(&absolute);
        let read = self.files.read(&path).map_err(|source| RuleError::Open {
            name: FileName::Plain(absolute.clone()),
            include: false,
            source,
        })?;
        match read {
            Some(text) => {
                let origin = Place::File { file: absolute, line: None, named_in: 0 };
                self.add_file(&text, &rule.merge, &origin, 1)
            }
            None => Ok(()),
        }
    }

    /// Adds CVS's list. Origin: filter reference, "CVS excludes".
    pub(crate) fn add_cvs_list(&mut self, traits: Traits, from_option: bool) {
        let defaults =
            Traits { perishable: traits.perishable || self.options.protocol >= 30, ..traits };
        let mut rules = Vec::new();
        let texts = [
            (Some(cvs::DEFAULTS), defaults),
            (self.options.home_cvsignore.as_deref(), traits),
            (self.options.cvsignore.as_deref(), traits),
        ];
        for (text, traits) in texts {
            for word in words(text.unwrap_or_default()) {
                if word == b"!" {
                    rules.clear();
                } else if word.len() <= MAX_PATTERN_LEN {
                    let pattern = Pattern::new(word, traits.full_path);
                    rules.push(Rule { pattern, traits, from_file: false });
                } else {
                    self.warnings.push(Warning::TooLong(Place::Text(word.to_vec())));
                }
            }
        }
        self.list.items.push(Item::Cvs { rules, traits, from_option });
    }

    /// Adds the rules of a text of words that is no file's. Unlike in a file, the pattern may
    /// follow its rule's name as a word of its own.
    pub(crate) fn add_words(&mut self, text: &[u8], grammar: Grammar) -> Result<(), RuleError> {
        let mut words = words(text);
        while let Some(word) = words.next() {
            let waits = matches!(rule::parse(word, grammar), Err(SyntaxError::NoPattern));
            match if waits { words.next() } else { None } {
                Some(pattern) => self.add_text(&[word, b" ", pattern].concat(), grammar)?,
                None => self.add_text(word, grammar)?,
            }
        }
        Ok(())
    }

    fn add(
        &mut self,
        text: &[u8],
        grammar: Grammar,
        place: &Place,
        depth: u32,
    ) -> Result<(), RuleError> {
        let parsed = rule::parse(text, grammar).map_err(|error| RuleError::Syntax {
            error: match (place, error) {
                (Place::File { .. }, SyntaxError::Modifier { .. }) => SyntaxError::HiddenModifier,
                (_, error) => error,
            },
            place: place.clone(),
        })?;
        match parsed {
            Parsed::Clear => {
                self.list.items.clear();
                self.list.cleared = true;
            }
            Parsed::Pattern { text, traits } => self.add_pattern(text, traits, place),
            Parsed::CvsList(traits) => self.add_cvs_list(traits, false),
            Parsed::MergeNow(merge) => self.add_merge(&merge, place, depth)?,
            Parsed::PerDir(merge) => self.add_per_dir(merge, false, place),
        }
        Ok(())
    }

    fn add_pattern(&mut self, text: &[u8], mut traits: Traits, place: &Place) {
        if text.len() > MAX_PATTERN_LEN {
            let shown = match place {
                Place::Text(_) => Place::Text(text.to_vec()),
                file => file.clone(),
            };
            self.warnings.push(Warning::TooLong(shown));
            return;
        }
        let pattern = match self.base {
            Base::Dir(dir, _) if text.starts_with(b"/") && !traits.full_path => {
                traits.full_path = true;
                // The directory's name takes part as pattern, wildcards and all, as in rsync.
                let dir = dir.strip_suffix(b"/").unwrap_or(dir);
                Pattern::new(&[dir, text].concat(), true)
            }
            _ => Pattern::new(text, traits.full_path),
        };
        let from_file = matches!(place, Place::File { .. });
        self.list.items.push(Item::Rule(Rule { pattern, traits, from_file }));
    }

    fn exclude_itself(&mut self, merge: &Merge, place: &Place) {
        if merge.self_exclude {
            self.add_pattern(place::base_name(&merge.name), Traits::default(), place);
        }
    }

    pub(crate) fn add_per_dir(&mut self, merge: Merge, from_option: bool, place: &Place) {
        let depth = match self.base {
            Base::Options => 0,
            Base::Dir(_, depth) => depth,
        };
        if depth > MAX_DEPTH {
            self.warnings.push(Warning::Nesting { limit: MAX_DEPTH, place: place.clone() });
            return;
        }
        self.exclude_itself(&merge, place);
        let rule = PerDir { merge, from_option, depth };
        let declared = self.list.items.iter().any(|item| match item {
            Item::PerDir(other) => other.file_name() == rule.file_name(),
            _ => false,
        });
        if !declared && !self.known.contains(&rule.file_name()) {
            self.list.items.push(Item::PerDir(rule));
        }
    }

    fn add_merge(&mut self, merge: &Merge, place: &Place, depth: u32) -> Result<(), RuleError> {
        if depth >= MAX_DEPTH {
            return Err(RuleError::Nesting { limit: MAX_DEPTH, place: place.clone() });
        }
        self.exclude_itself(merge, place);
        let path = match self.base {
            Base::Options => merge.name.clone(),
            Base::Dir(dir, _) => {
                self.reader_path(&place::normalize(&place::join(dir, &merge.name)))
            }
        };
        let (shown, origin) = match place {
            Place::Text(_) => (
                FileName::Plain(merge.name.clone()),
                Place::File { file: merge.name.clone(), line: None, named_in: 0 },
            ),
            Place::File { file, line, named_in } => (
                FileName::NamedAt(place.clone()),
                Place::File { file: file.clone(), line: *line, named_in: named_in + 1 },
            ),
        };
        let text = self.read(&path, shown, merge.form.bare.unwrap_or(Sense::Exclude))?;
        self.add_file(&text, merge, &origin, depth + 1)
    }

    fn add_file(
        &mut self,
        text: &[u8],
        merge: &Merge,
        origin: &Place,
        depth: u32,
    ) -> Result<(), RuleError> {
        if merge.form.word_split {
            for word in words(text) {
                self.add(word, merge.grammar(), origin, depth)?;
            }
            return Ok(());
        }
        self.add_lines(text, merge.grammar(), origin, depth)
    }

    fn add_lines(
        &mut self,
        text: &[u8],
        grammar: Grammar,
        origin: &Place,
        depth: u32,
    ) -> Result<(), RuleError> {
        for (number, line) in (1..).zip(lines(text, self.from0)) {
            // A NUL within a line ends what counts of it (seen).
            let line = line.split(|&byte| byte == 0).next().unwrap_or_default();
            if line.is_empty() || matches!(line[0], b'#' | b';') {
                continue;
            }
            self.add(line, grammar, &at_line(origin, number), depth)?;
        }
        Ok(())
    }

    fn read(&mut self, path: &[u8], name: FileName, sense: Sense) -> Result<Vec<u8>, RuleError> {
        let missing = || io::Error::from(io::ErrorKind::NotFound);
        self.files
            .read(path)
            .and_then(|text| text.ok_or_else(missing))
            .map_err(|source| RuleError::Open { name, include: sense == Sense::Include, source })
    }

    /// The name under which the reader knows the normalized absolute path.
    fn reader_path(&self, absolute: &[u8]) -> Vec<u8> {
        let root = place::normalize(&self.options.root);
        place::below(absolute, &root).unwrap_or(absolute).to_vec()
    }
}

/// The line of a file that an option or a directory names; a file that a rule in a file names is
/// known by that rule's line.
fn at_line(origin: &Place, number: u64) -> Place {
    match origin {
        Place::File { file, line: _, named_in: 0 } => {
            Place::File { file: file.clone(), line: Some(number), named_in: 0 }
        }
        other => other.clone(),
    }
}

fn words(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    text.split(|&byte| rule::is_space(byte)).filter(|word| !word.is_empty())
}

/// The lines, or with `from0` the NUL-terminated pieces. CR, LF and CRLF each end a line.
fn lines(text: &[u8], from0: bool) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let end = text.iter().position(|&b| if from0 { b == 0 } else { b == b'\n' || b == b'\r' });
        let Some(end) = end else {
            rest = None;
            return Some(text);
        };
        let crlf = !from0 && text[end..].starts_with(b"\r\n");
        rest = text.get(end + 1 + usize::from(crlf)..);
        Some(&text[..end])
    })
}

/// The default of [`Sides`] for rules from a peer: their sides are settled, so `--delete-excluded`
/// does not take the receiver's away.
pub(crate) fn settle_sides(items: &mut [Item]) {
    for item in items {
        if let Item::Rule(Rule { traits, .. }) = item
            && traits.sides == Sides::Plain
        {
            traits.sides = Sides::Both;
        }
    }
}
