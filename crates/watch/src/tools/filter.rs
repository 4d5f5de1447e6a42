//! `--exclude`, `--include` and their kin: which events are told, by watched name and file name.

use std::ffi::{CStr, CString};

use driftless_fs::Regex;

/// How the expressions of a run are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Events that match are dropped.
    Exclude,
    /// Events that do not match are dropped.
    Include,
}

/// The expression of a run, if there is one.
#[derive(Default)]
pub struct Filter {
    rule: Option<(Kind, Regex)>,
    subject: Vec<u8>,
}

impl Filter {
    /// Compiles the expression.
    ///
    /// # Errors
    /// The line that the original prints, and what the C library says about the expression.
    pub fn new(kind: Kind, pattern: &[u8], ignore_case: bool) -> Result<Self, String> {
        let option = match kind {
            Kind::Exclude => "exclude",
            Kind::Include => "include",
        };
        let pattern = CString::new(pattern).unwrap_or_default();
        match Regex::new(&pattern, ignore_case) {
            Ok(regex) => Ok(Self { rule: Some((kind, regex)), subject: Vec::new() }),
            Err(error) => Err(format!(
                "Error in `{option}' regular expression.\n'{}': {error}; see regex(7).",
                pattern.to_string_lossy()
            )),
        }
    }

    /// Whether an event of `file` below `watched` is told.
    pub fn admits(&mut self, watched: &[u8], file: &[u8]) -> bool {
        let Some((kind, regex)) = &self.rule else { return true };
        self.subject.clear();
        self.subject.extend_from_slice(watched);
        self.subject.extend_from_slice(file);
        self.subject.push(0);
        let subject = CStr::from_bytes_until_nul(&self.subject).expect("a NUL was added");
        regex.is_match(subject) == (*kind == Kind::Include)
    }
}
