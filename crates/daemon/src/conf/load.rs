//! Reads a configuration with all its files.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use driftless_fs::operator;
use driftless_tree::Kind as FileKind;
use driftless_tree::path::printable;

use super::expand::{environment, expand};
use super::params::{self, Key, Kind, folded};
use super::text::{Bad, Line, Lines};
use super::{BadConfig, Config, Issue, IssueKind, Place, Section, Stamp, Values};

/// Files that may name each other, at most.
const MAX_DEPTH: usize = 16;

/// Longest file.
const MAX_FILE_LEN: u64 = 16 << 20;

/// A parameter from the command line, which outweighs the file's global ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Override {
    /// Which.
    pub key: Key,
    /// As written.
    pub value: Vec<u8>,
}

/// A parameter that was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Where.
    pub place: Place,
    /// The module, `None` for all of them.
    pub module: Option<Vec<u8>>,
    /// Which.
    pub key: Key,
    /// As written.
    pub value: Vec<u8>,
}

/// Reads the configuration at `path`.
///
/// # Errors
/// A file cannot be read, or has a line that makes it unusable.
pub fn load(path: &Path, overrides: &[Override]) -> Result<Config, BadConfig> {
    let mut loader = Loader {
        config: Config {
            listener: Values::default(),
            defaults: Values::default(),
            modules: Vec::new(),
            issues: Vec::new(),
            settings: Vec::new(),
            stamps: Vec::new(),
        },
        overrides,
        current: None,
        seen_section: false,
        chain: Vec::new(),
    };
    match loader.file(path) {
        Ok(()) => {
            loader.first_section();
            Ok(loader.config)
        }
        Err(mut bad) => {
            bad.listener = loader.seen_section.then(|| Box::new(loader.config));
            Err(bad)
        }
    }
}

struct Loader<'a> {
    config: Config,
    overrides: &'a [Override],
    /// The module that parameters belong to.
    current: Option<usize>,
    seen_section: bool,
    /// Files that are being read, outermost first.
    chain: Vec<PathBuf>,
}

fn bad(place: Option<Place>, lines: Vec<String>) -> BadConfig {
    BadConfig { place, lines, listener: None }
}

impl Loader<'_> {
    fn file(&mut self, path: &Path) -> Result<(), BadConfig> {
        if self.chain.len() == MAX_DEPTH {
            let chain: Vec<String> = self.chain.iter().map(|p| p.display().to_string()).collect();
            let text = format!("config files include each other too deeply: {}", chain.join(" > "));
            return Err(bad(None, vec![text]));
        }
        self.config.stamps.push(Stamp::of(path));
        let text = operator::read(path, MAX_FILE_LEN).map_err(|error| {
            let shown = path.display();
            let why = describe(&error);
            bad(
                None,
                vec![format!("rsync: [Receiver] unable to open config file \"{shown}\": {why}")],
            )
        })?;
        self.chain.push(path.to_owned());
        for (number, line) in Lines::new(&text) {
            let place = Place { file: path.to_owned(), line: number };
            let line = line.map_err(|reason| unusable(&place, &reason))?;
            self.line(place, line)?;
        }
        self.chain.pop();
        Ok(())
    }

    fn line(&mut self, place: Place, line: Line) -> Result<(), BadConfig> {
        match line {
            Line::Section(name) => self.section(&place, name)?,
            Line::Directive { word, path } => self.directive(&place, &word, &path)?,
            Line::Bare(text) => {
                self.config.issues.push(Issue { place, kind: IssueKind::Bare(text) })
            }
            Line::Param { name, value } => self.param(place, &name, value),
        }
        Ok(())
    }

    /// What the command line says comes behind what stands before the first section.
    fn first_section(&mut self) {
        if std::mem::replace(&mut self.seen_section, true) {
            return;
        }
        for Override { key, value } in self.overrides {
            // Checked when the command line was read.
            let _ = self.config.defaults.set(*key, value);
        }
        self.config.listener = self.config.defaults.clone();
    }

    fn section(&mut self, place: &Place, name: Vec<u8>) -> Result<(), BadConfig> {
        self.first_section();
        if name.eq_ignore_ascii_case(b"global") {
            self.current = None;
            return Ok(());
        }
        if name.contains(&b'/') {
            let text = format!(
                "Warning: invalid section name in configuration file: {}",
                printable(&name)
            );
            return Err(bad(Some(place.clone()), vec![text, FAILED.to_owned()]));
        }
        let wanted = folded(&name);
        let modules = &mut self.config.modules;
        let known = modules.iter().position(|module| folded(&module.name) == wanted);
        self.current = Some(known.unwrap_or_else(|| {
            modules.push(Section { name, values: self.config.defaults.clone() });
            modules.len() - 1
        }));
        Ok(())
    }

    fn param(&mut self, place: Place, name: &[u8], value: Vec<u8>) {
        let Some(param) = params::find(name) else {
            let kind = IssueKind::Unknown(name.to_vec());
            self.config.issues.push(Issue { place, kind });
            return;
        };
        let key = param.key;
        if param.global && self.current.is_some() {
            let kind = IssueKind::GlobalInModule(key);
            self.config.issues.push(Issue { place, kind });
            return;
        }
        let is_text = matches!(param.kind, Kind::Text | Kind::Path);
        let now = match is_text {
            true => value.clone(),
            false => expand(&value, environment).unwrap_or_else(|_| value.clone()),
        };
        let values = match self.current {
            Some(at) => &mut self.config.modules[at].values,
            None => &mut self.config.defaults,
        };
        if values.set(key, &now).is_err() {
            let kind = IssueKind::NotBoolean(key, value);
            self.config.issues.push(Issue { place, kind });
            return;
        }
        let module = self.current.map(|at| self.config.modules[at].name.clone());
        self.config.settings.push(Setting { place, module, key, value });
    }

    fn directive(&mut self, place: &Place, word: &[u8], path: &[u8]) -> Result<(), BadConfig> {
        let includes = match word {
            b"&include" => true,
            b"&merge" => false,
            _ => {
                let text = format!("Unknown directive: {}.", printable(word));
                return Err(bad(Some(place.clone()), vec![text, FAILED.to_owned()]));
            }
        };
        let path = expand(path, environment).unwrap_or_else(|_| path.to_vec());
        let path = Path::new(OsStr::from_bytes(&path)).to_owned();
        let files = self.files(place, &path, includes)?;
        let before = self.config.defaults.clone();
        for file in files {
            if includes {
                self.current = None;
            }
            self.file(&file)?;
            if includes {
                self.config.defaults = before.clone();
            }
        }
        if includes {
            self.current = None;
        }
        Ok(())
    }

    /// The file itself, or what of a directory is meant.
    fn files(
        &mut self,
        place: &Place,
        path: &Path,
        includes: bool,
    ) -> Result<Vec<PathBuf>, BadConfig> {
        let cannot = |error: &io::Error| {
            let (shown, why) = (path.display(), describe(error));
            let text = format!("rsync: [Receiver] unable to stat config file \"{shown}\": {why}");
            bad(Some(place.clone()), vec![text, FAILED.to_owned()])
        };
        let found = operator::stat(path).map_err(|error| cannot(&error))?;
        if found.kind != FileKind::Dir {
            return Ok(vec![path.to_owned()]);
        }
        self.config.stamps.push(Stamp::of(path));
        let suffix: &[u8] = if includes { b".conf" } else { b".inc" };
        let root = driftless_fs::Root::open_operator(path);
        let root = root.map_err(|driftless_fs::FsError::Open { source, .. }| cannot(&source))?;
        let mut names = driftless_fs::Names::default();
        let read = root.open_dir(None).and_then(|dir| names.read(&dir));
        read.map_err(|error| cannot(&error))?;
        let named = names.iter().map(|(name, _)| name).filter(|name| name.ends_with(suffix));
        let mut files: Vec<PathBuf> =
            named.map(|name| path.join(OsStr::from_bytes(name))).collect();
        files.sort();
        Ok(files)
    }
}

const FAILED: &str = "params.c:pm_process() - Failed.  Error returned from params.c:parse().";

fn unusable(place: &Place, reason: &Bad) -> BadConfig {
    let text = match reason {
        Bad::EmptySection => "params.c:Section() - Empty section name in config file.".to_owned(),
        Bad::OpenSection(name) => {
            format!("params.c:Section() - Badly formed line in config file: {}", printable(name))
        }
        Bad::End(name) => {
            format!("params.c:Section() - Unexpected EOF in the config file: {}", printable(name))
        }
        Bad::NoName => "params.c:Parameter() - Invalid parameter name in config file.".to_owned(),
    };
    bad(Some(place.clone()), vec![text, FAILED.to_owned()])
}

fn describe(error: &io::Error) -> String {
    driftless_rsync::client::failure::system_text(error)
}
