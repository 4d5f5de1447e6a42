//! The configuration: an `rsyncd.conf` as it is. Daemon reference, "Configuration grammar".
//!
//! ```text
//! files ─ text ─► lines ─ load ─► Config ◄─ params (types, defaults)
//!                                   └─ expand (%VAR%, at use)          lint looks at all of it
//! ```
//! Invariants
//! * What cannot be read makes no configuration: there is no half of one.
//! * Texts that were not set where a module began are looked up in the final defaults; everything
//!   else a module inherits is what was in force there.

pub mod expand;
pub mod lint;
mod load;
pub mod params;
pub mod text;

use std::path::{Path, PathBuf};

use driftless_fs::operator;

pub use load::{Override, Setting, load};
pub use params::Key;
use params::{Fallback, Kind, PARAMS, integer};

/// A value as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Value {
    Text(Option<Vec<u8>>),
    Bool(bool),
    Tri(Option<bool>),
    Int(i64),
}

/// A value for each parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Values(Vec<Value>);

impl Default for Values {
    fn default() -> Self {
        Self(
            PARAMS
                .iter()
                .map(|param| match param.default {
                    Fallback::None => Value::Text(None),
                    Fallback::Text(text) => Value::Text(Some(text.as_bytes().to_vec())),
                    Fallback::Bool(answer) => Value::Bool(answer),
                    Fallback::Unset => Value::Tri(None),
                    Fallback::Int(number) => Value::Int(number),
                })
                .collect(),
        )
    }
}

impl Values {
    fn set(&mut self, key: Key, value: &[u8]) -> Result<(), BadValue> {
        let stored = &mut self.0[key as usize];
        *stored = match key.param().kind {
            Kind::Text => Value::Text(Some(value.to_vec())),
            Kind::Path => {
                let end = value.iter().rposition(|b| *b != b'/').map_or(1, |at| at + 1);
                Value::Text(Some(value[..end.min(value.len())].to_vec()))
            }
            Kind::Bool => Value::Bool(params::boolean(value).ok_or(BadValue)?),
            Kind::Tri => {
                let folded = params::folded(value);
                match folded.as_slice() {
                    b"unset" | b"-1" => Value::Tri(None),
                    _ => Value::Tri(Some(params::boolean(value).ok_or(BadValue)?)),
                }
            }
            Kind::Int => Value::Int(integer(value)),
            Kind::Facility => match params::facility(value) {
                Some(number) => Value::Int(number),
                None => return Ok(()),
            },
        };
        Ok(())
    }

    fn text(&self, key: Key) -> Option<&[u8]> {
        match &self.0[key as usize] {
            Value::Text(text) => text.as_deref(),
            other => unreachable!("{key:?} is no text but {other:?}"),
        }
    }

    fn bool(&self, key: Key) -> bool {
        match self.0[key as usize] {
            Value::Bool(answer) => answer,
            _ => unreachable!("{key:?} is no answer"),
        }
    }

    fn int(&self, key: Key) -> i64 {
        match self.0[key as usize] {
            Value::Int(number) => number,
            _ => unreachable!("{key:?} is no number"),
        }
    }
}

/// A value that is not of its parameter's type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BadValue;

/// A module as it was defined.
#[derive(Debug, Clone)]
struct Section {
    name: Vec<u8>,
    values: Values,
}

/// A whole configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// In force where the first section begins.
    listener: Values,
    /// In force at the end.
    defaults: Values,
    modules: Vec<Section>,
    /// What was wrong and did not matter, in the order of the lines.
    pub issues: Vec<Issue>,
    /// All that was set, in the order of the lines.
    pub settings: Vec<Setting>,
    stamps: Vec<Stamp>,
}

/// Something that is wrong with a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issue {
    /// Where.
    pub place: Place,
    /// What sort of thing.
    pub kind: IssueKind,
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// As it was named.
    pub file: PathBuf,
    /// From 1.
    pub line: usize,
}

/// What is wrong with a line, and ignored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IssueKind {
    /// No parameter has this name.
    Unknown(Vec<u8>),
    /// There is no `=`.
    Bare(Vec<u8>),
    /// The value is neither yes nor no.
    NotBoolean(Key, Vec<u8>),
    /// It counts for the whole daemon and stands in a module.
    GlobalInModule(Key),
}

impl Issue {
    /// The lines of the log that tell it.
    pub fn log_lines(&self) -> Vec<String> {
        let shown = driftless_tree::path::printable;
        match &self.kind {
            IssueKind::Unknown(name) if name.starts_with(b"-") => {
                vec![format!("IGNORING unknown parameter \"{}\"", shown(name))]
            }
            IssueKind::Unknown(name) => vec![
                format!("Unknown Parameter encountered: \"{}\"", shown(name)),
                format!("IGNORING unknown parameter \"{}\"", shown(name)),
            ],
            IssueKind::Bare(text) => vec![format!(
                "params.c:Parameter() - Ignoring badly formed line in config file: {}",
                shown(text)
            )],
            IssueKind::NotBoolean(_, value) => {
                vec![format!("Badly formed boolean in configuration file: \"{}\".", shown(value))]
            }
            IssueKind::GlobalInModule(key) => {
                vec![format!("Global parameter {} found in module section!", key.param().name)]
            }
        }
    }
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
#[error("{}", .lines.join("\n"))]
pub struct BadConfig {
    /// Where, when it is a line.
    pub place: Option<Place>,
    /// The lines of the log that tell it.
    pub lines: Vec<String>,
    /// What was in force where the first section began, when that was reached: a listener starts
    /// with it.
    pub listener: Option<Box<Config>>,
}

/// What a file was when it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Stamp {
    path: PathBuf,
    found: Option<(u64, u64, u64, driftless_tree::Timestamp, driftless_tree::Timestamp)>,
}

impl Stamp {
    fn of(path: &Path) -> Self {
        let meta = operator::stat(path).ok();
        let found = meta.map(|m| (m.dev, m.ino, m.size, m.mtime, m.ctime));
        Self { path: path.to_owned(), found }
    }
}

impl Config {
    /// Whether all its files are what they were when it was read.
    pub fn is_current(&self) -> bool {
        self.stamps.iter().all(|stamp| Stamp::of(&stamp.path) == *stamp)
    }

    /// The listener's own values: those from before the first section.
    pub fn listener(&self) -> Globals<'_> {
        Globals(&self.listener)
    }

    /// The values for the whole daemon, for sessions.
    pub fn globals(&self) -> Globals<'_> {
        Globals(&self.defaults)
    }

    /// The modules, in the order of their definition.
    pub fn modules(&self) -> impl Iterator<Item = Module<'_>> {
        self.modules.iter().map(|section| Module { config: self, section })
    }

    /// The module of exactly this name; the last one when there are several.
    pub fn module(&self, name: &[u8]) -> Option<Module<'_>> {
        self.modules().filter(|module| module.name() == name).last()
    }

    /// Whether a name is to be found for each address before anything else.
    pub fn looks_up_names(&self) -> bool {
        self.globals().flag(Key::ReverseLookup)
            || self.modules().any(|module| module.flag(Key::ReverseLookup))
    }
}

/// Values that count for the whole daemon.
#[derive(Debug, Clone, Copy)]
pub struct Globals<'a>(&'a Values);

impl Globals<'_> {
    /// A text with the environment's variables put in; `None` when empty.
    pub fn text(&self, key: Key) -> Option<Vec<u8>> {
        let raw = self.0.text(key)?;
        let text = expand::expand(raw, expand::environment).unwrap_or_else(|_| raw.to_vec());
        Some(text).filter(|text| !text.is_empty())
    }

    /// Yes or no.
    pub fn flag(&self, key: Key) -> bool {
        self.0.bool(key)
    }

    /// A number.
    pub fn int(&self, key: Key) -> i64 {
        self.0.int(key)
    }
}

/// A module of a configuration.
#[derive(Debug, Clone, Copy)]
pub struct Module<'a> {
    config: &'a Config,
    section: &'a Section,
}

impl<'a> Module<'a> {
    /// The name on the wire.
    pub fn name(&self) -> &'a [u8] {
        self.section.values.text(Key::Name).filter(|n| !n.is_empty()).unwrap_or(&self.section.name)
    }

    /// A text as written; `None` when there is none, empty when nothing was written.
    pub fn raw(&self, key: Key) -> Option<&'a [u8]> {
        let own = self.section.values.text(key);
        own.or_else(|| self.config.defaults.text(key))
    }

    /// Yes or no.
    pub fn flag(&self, key: Key) -> bool {
        self.section.values.bool(key)
    }

    /// Yes, no or unset.
    pub fn tri(&self, key: Key) -> Option<bool> {
        match self.section.values.0[key as usize] {
            Value::Tri(answer) => answer,
            _ => unreachable!("{key:?} has two answers"),
        }
    }

    /// A number.
    pub fn int(&self, key: Key) -> i64 {
        self.section.values.int(key)
    }
}

#[cfg(test)]
mod tests;
