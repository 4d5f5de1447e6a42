//! The file of `driftless live -c FILE`.
//!
//! ```toml
//! [control]
//! socket = "/run/driftless/control.sock"
//!
//! [[mirror]]
//! source = "/web/wwwroot"
//! targets = ["rsync://web1user@192.168.12.134/web1"]
//! ```
//! Keys of a mirror are those of [`crate::options::table`] and `source`, `targets`. Every error names
//! the file, the line and the key.

mod mirror;
mod nearest;
mod text;

use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};

use driftless_live::config::{MirrorConfig, PullConfig};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::options::Circumstances;
use mirror::AnyMirror;
use text::{At, Text, kind_of};

/// What a file says.
#[derive(Debug, PartialEq)]
pub struct Config {
    /// Where to answer, if the file says so.
    pub socket: Option<PathBuf>,
    /// In the order of the file.
    pub mirrors: Vec<MirrorConfig>,
    /// Those with a remote source, likewise; there is at least one mirror of either sort.
    pub pulls: Vec<PullConfig>,
}

/// Why a file is not used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Not there, not readable, not UTF-8.
    #[error("cannot read the configuration {}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Not TOML, or not what this program knows.
    #[error("{}:{line}: {what}", .path.display())]
    Line {
        /// Which.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong there.
        what: String,
    },
}

/// Reads the file at `path`; relative names in it start at its directory.
///
/// # Errors
/// The first thing that is wrong.
pub fn read(path: &Path, run_by: &Circumstances) -> Result<Config, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    let path = run_by.absolute(path.as_os_str());
    let base = path.parent().unwrap_or(Path::new("/")).to_owned();
    parse(&path, &text, &Circumstances { base, ..run_by.clone() })
}

fn parse(path: &Path, text: &str, at: &Circumstances) -> Result<Config, ConfigError> {
    let file = Text::new(text);
    config(text, at).map_err(|At { offset, what }| ConfigError::Line {
        path: path.to_owned(),
        line: file.line(offset),
        what,
    })
}

fn config(text: &str, at: &Circumstances) -> Result<Config, At> {
    let root = DeTable::parse(text).map_err(|error| {
        At::new(error.span().map_or(0, |span| span.start), error.message().replace('\n', ", "))
    })?;
    let mut all = Config { socket: None, mirrors: Vec::new(), pulls: Vec::new() };
    for (key, value) in in_file_order(root.get_ref()) {
        match key.get_ref().as_ref() {
            "control" => all.socket = control(value, at)?,
            "mirror" => all_mirrors(value, at, &mut all)?,
            unknown => {
                return Err(At::of(key, nearest::unknown_key(unknown, "", ["control", "mirror"])));
            }
        }
    }
    if all.mirrors.is_empty() && all.pulls.is_empty() {
        return Err(At::new(0, "there is no [[mirror]]"));
    }
    Ok(all)
}

/// Errors come in the order in which a person reads.
fn in_file_order<'t, 'i>(
    table: &'t DeTable<'i>,
) -> Vec<(&'t Spanned<std::borrow::Cow<'i, str>>, &'t Spanned<DeValue<'i>>)> {
    let mut entries: Vec<_> = table.iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    entries
}

fn control(value: &Spanned<DeValue<'_>>, at: &Circumstances) -> Result<Option<PathBuf>, At> {
    let Some(table) = value.get_ref().as_table() else {
        return Err(At::of(value, format!("control is a table, not {}", kind_of(value))));
    };
    let mut socket = None;
    for (key, value) in in_file_order(table) {
        match key.get_ref().as_ref() {
            "socket" => {
                let path = text::string(value, "socket")?;
                socket = Some(at.absolute(OsStr::new(path)));
            }
            "listen" => {
                return Err(At::of(key, "control.listen is not supported by driftless live yet"));
            }
            unknown => {
                return Err(At::of(
                    key,
                    nearest::unknown_key(unknown, " in [control]", ["socket"]),
                ));
            }
        }
    }
    Ok(socket)
}

fn all_mirrors(
    value: &Spanned<DeValue<'_>>,
    at: &Circumstances,
    all: &mut Config,
) -> Result<(), At> {
    let Some(list) = value.get_ref().as_array() else {
        return Err(At::of(value, "write [[mirror]], with two brackets: there can be several"));
    };
    for one in list.iter() {
        let mirror = mirror::read(one, at)?;
        let live = all.mirrors.iter().map(|earlier| &earlier.name);
        let mut names = live.chain(all.pulls.iter().map(|earlier| &earlier.name));
        if names.any(|earlier| earlier == mirror.name()) {
            let what = format!("two mirrors are named '{}'; give one another name", mirror.name());
            return Err(At::of(one, what));
        }
        match mirror {
            AnyMirror::Live(mirror) => all.mirrors.push(mirror),
            AnyMirror::Pull(pull) => all.pulls.push(pull),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
