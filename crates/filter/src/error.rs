//! What can be wrong with rules, and where they stood.

use std::fmt;
use std::io;

use driftless_tree::path::printable;

/// Where the text of a rule came from.
///
/// Text from a file is never shown, because the file may not be the reader's to see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// An option, or a rule from the peer: the text itself.
    Text(Vec<u8>),
    /// A line of a file. Word-split files have no line numbers. `named_in` says that the file was
    /// itself named by a rule in a file; then `file` and `line` are those of the naming rule.
    File {
        /// The name as the reader knows it.
        file: Vec<u8>,
        /// Counted from 1.
        line: Option<u64>,
        /// How many files stand between the named one and the rule, 0 for a rule in `file` itself.
        named_in: u32,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Text(text) => f.write_str(&printable(text)),
            Place::File { file, line, named_in } => {
                f.write_str("<rule from ")?;
                for _ in 0..*named_in {
                    f.write_str("a file named at ")?;
                }
                f.write_str(&printable(file))?;
                if let Some(line) = line {
                    write!(f, " line {line}")?;
                }
                f.write_str(">")
            }
        }
    }
}

/// Why rules cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum RuleError {
    /// The text is no rule. rsync's exit code is 1.
    #[error("{error}{place}")]
    Syntax {
        /// What is wrong.
        error: SyntaxError,
        /// The rule.
        place: Place,
    },
    /// A file that an option or a rule names does not exist or cannot be read. rsync's exit code
    /// is 11.
    #[error("failed to open {} file {name}", if *.include { "include" } else { "exclude" })]
    Open {
        /// The file as it was named.
        name: FileName,
        /// Whether it was to hold include patterns.
        include: bool,
        /// What the reader said.
        source: io::Error,
    },
    /// Files that read each other too deeply. rsync's exit code is 11.
    #[error("merge-file include depth limit ({limit}) exceeded at {place}")]
    Nesting {
        /// The most levels.
        limit: u32,
        /// The rule that would have gone deeper.
        place: Place,
    },
    /// The peer's protocol cannot express a rule. rsync's exit code is 2.
    #[error("filter rules are too modern for remote rsync.")]
    TooModern,
}

impl RuleError {
    /// The exit code with which rsync ends for it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Syntax { .. } => 1,
            Self::TooModern => 2,
            Self::Open { .. } | Self::Nesting { .. } => 11,
        }
    }
}

/// The name of a file as messages show it: a name from an option as it is, one from a file by the
/// place of the rule that has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileName {
    /// Given by the operator, or derived from a path that the operator gave.
    Plain(Vec<u8>),
    /// Named by a rule in a file.
    NamedAt(Place),
}

impl fmt::Display for FileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FileName::Plain(name) => f.write_str(&printable(name)),
            FileName::NamedAt(place) => place.fmt(f),
        }
    }
}

/// What is wrong with the text of a rule. The words are rsync's; the place follows them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SyntaxError {
    /// It begins with no known rule name.
    #[error("Unknown filter rule: ")]
    Unknown,
    /// The pattern or file name is missing.
    #[error("unexpected end of filter rule: ")]
    NoPattern,
    /// A modifier that does not exist or does not fit; shown when the rule is no file's.
    #[error("invalid modifier '{}' at position {position} in filter rule: ", *.modifier as char)]
    Modifier {
        /// The byte.
        modifier: u8,
        /// Its offset in the rule.
        position: usize,
    },
    /// The same in a file, whose text is not shown.
    #[error("invalid modifier in filter rule: ")]
    HiddenModifier,
    /// Something behind `!`.
    #[error("'!' rule has trailing characters: ")]
    TrailingClear,
    /// A rule with a side in a file for one side.
    #[error("specified-side merge file contains specified-side filter: ")]
    SideInSidedFile,
}

/// Something was left out, and the rules are used without it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    /// A rule longer than rsync takes.
    #[error("discarding over-long filter: {0}")]
    TooLong(Place),
    /// Per-directory files that declare each other too deeply.
    #[error("merge-file include depth limit ({limit}) exceeded at {place}")]
    Nesting {
        /// The most levels.
        limit: u32,
        /// The rule that would have gone deeper.
        place: Place,
    },
}
