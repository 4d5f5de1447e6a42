//! Where the transfer goes. Command-line reference, "How the destination is interpreted".

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use driftless_fs::browse::stat_unchecked;
use driftless_fs::{Folder, Follow, FsError, Root, operator};
use driftless_tree::Kind;
use driftless_tree::path::printable;

use crate::driver::Level;
use crate::error::PushError;
use crate::generator::absent;
use crate::generator::folders::Folders;
use crate::module::quoted;
use crate::options::Itemize;
use crate::receiver::Session;
use crate::receiver::reason;

/// The destination, once it is known what comes.
#[derive(Debug, Default)]
pub(crate) struct Destination {
    /// Its whole path, for messages.
    pub(crate) shown: Vec<u8>,
    /// It was made for this transfer.
    pub(crate) created: bool,
    /// The name that a single file gets.
    pub(crate) rename: Option<Rc<[u8]>>,
    pub(crate) temp_dir: Option<Root>,
    /// An absolute partial directory.
    pub(crate) partial_root: Option<Root>,
    /// Where backups go; opened, or made, when the first one is.
    pub(crate) backup: Option<PathBuf>,
    pub(crate) backup_root: Option<Root>,
    pub(crate) alternates: Vec<Option<Folders>>,
}

/// What stands at the destination's path.
enum Found {
    Dir(Root),
    Other,
    Nothing,
}

impl Session<'_> {
    /// Finds the destination, makes it where that is asked for, and opens the other directories
    /// that the options name.
    pub(crate) fn find_destination(&mut self) -> Result<(), PushError> {
        let Some(raw) = self.receive.destination else {
            self.destination = Some(Destination::default());
            return Ok(());
        };
        let raw = if raw.is_empty() { b"." } else { raw };
        let path = absolute(raw);
        let shown = path.as_os_str().as_bytes().to_vec();
        let mut destination = Destination { shown, ..Destination::default() };
        self.check_module_rules(raw, destination.shown.as_slice())?;
        let first = self.lists.held.front().map(|held| Rc::clone(&held.list));
        let single = first.as_ref().filter(|list| {
            self.lists.entry_count == 1 && self.lists.complete && list.entries.len() == 1
        });
        let single_kind = single.and_then(|list| list.entries.first()).map(|entry| entry.kind());
        let wants_dir = raw.ends_with(b"/") || matches!(raw, b"." | b"..");
        let found = self.look_at(&path, wants_dir)?;
        let root = match (found, single_kind) {
            (Found::Dir(root), _) => Some(root),
            (Found::Other, Some(Some(Kind::Dir))) => {
                return Err(fatal("ERROR: cannot overwrite non-directory with a directory", 3));
            }
            (Found::Other, Some(_)) => self.parent_root(&path, &mut destination)?,
            (Found::Other, None) => {
                let text = "ERROR: destination must be a directory when copying more than 1 file";
                return Err(fatal(text, 3));
            }
            // Who only lists makes nothing.
            (Found::Nothing, _) if self.lists_only() => None,
            (Found::Nothing, Some(kind)) if !wants_dir && kind != Some(Kind::Dir) => {
                if self.options.write.mkpath
                    && let Some(parent) = path.parent()
                {
                    self.make_path(parent)?;
                }
                self.parent_root(&path, &mut destination)?
            }
            (Found::Nothing, _) => {
                destination.created = !self.options.write.mkpath;
                self.make_destination(&path, raw)?
            }
        };
        let follow = match self.options.link.keep_dirlinks {
            true => Follow::Inside,
            false if self.options.selection.relative && !self.options.selection.implied_dirs => {
                Follow::Inside
            }
            false => Follow::Nothing,
        };
        if let Some(root) = root {
            self.open_others(&mut destination)?;
            self.folders = Some(Folders::new(root, follow));
        }
        self.destination = Some(destination);
        Ok(())
    }

    /// What a module's rules hide is no destination either.
    fn check_module_rules(&self, raw: &[u8], path: &[u8]) -> Result<(), PushError> {
        let Some(module) = &self.receive.module else { return Ok(()) };
        let is_dir = raw.ends_with(b"/") || !module.hides(path, false);
        match module.hides(path, is_dir) {
            false => Ok(()),
            true => {
                let name = printable(&module.named(raw));
                Err(fatal(&format!("ERROR: daemon has excluded destination \"{name}\""), 3))
            }
        }
    }

    fn open_root(&self, path: &Path) -> Result<Root, FsError> {
        let root = match self.options.link.insecure {
            true => Root::open(path),
            false => Root::open_operator(path),
        };
        root.map(|root| root.with_stored(self.options.metadata.fake_super))
    }

    /// Opens a directory that an option names beside the destination, which `--confine-root` bounds.
    fn open_other(&self, path: &Path) -> Result<Root, FsError> {
        let root = self.open_root(path)?;
        let Some(bounds) = &self.options.link.confine_root else { return Ok(root) };
        let outside = |source| FsError::Open { path: path.to_owned(), source };
        let bounds = Root::open_operator(Path::new(OsStr::from_bytes(bounds)))?;
        match root.is_within(&bounds) {
            Ok(true) => Ok(root),
            Ok(false) => Err(outside(rustix::io::Errno::LOOP.into())),
            Err(error) => Err(outside(error)),
        }
    }

    fn look_at(&self, path: &Path, wants_dir: bool) -> Result<Found, PushError> {
        let error = match self.open_root(path) {
            Ok(root) => return Ok(Found::Dir(root)),
            Err(FsError::Open { source, .. }) => source,
        };
        let stat = match self.options.link.insecure {
            true => stat_unchecked(path, true).map(drop),
            false => operator::stat(path).map(drop),
        };
        match stat {
            Ok(()) if !wants_dir => Ok(Found::Other),
            Ok(()) => Err(self.cannot_enter(path, &error)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
            Err(error) => Err(self.cannot_enter(path, &error)),
        }
    }

    /// What is said of a destination that is not reached.
    fn cannot_enter(&self, path: &Path, error: &io::Error) -> PushError {
        let Some(module) = &self.receive.module else { return cannot_stat(path, error) };
        let shown = printable(&module.quoted(path.as_os_str().as_bytes()));
        let text = format!("rsync: [Receiver] change_dir#1 {shown} failed: {}", reason(error));
        PushError::Fatal { text, exit: 3 }
    }

    fn cannot_make(&self, path: &Path, error: &io::Error) -> PushError {
        let shown = quoted(self.receive.module.as_deref(), path.as_os_str().as_bytes());
        let (shown, why) = (printable(&shown), reason(error));
        PushError::Fatal {
            text: format!("rsync: [Receiver] mkdir {shown} failed: {why}"),
            exit: 11,
        }
    }

    /// A single file is stored under the destination's own name.
    fn parent_root(
        &self,
        path: &Path,
        destination: &mut Destination,
    ) -> Result<Option<Root>, PushError> {
        let name = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
        let parent = path.parent().unwrap_or(Path::new("/"));
        destination.rename = Some(name.into());
        destination.shown = parent.as_os_str().as_bytes().to_vec();
        match self.open_root(parent) {
            Ok(root) => Ok(Some(root)),
            Err(_) if self.is_dry() && self.options.write.mkpath => Ok(None),
            Err(FsError::Open { source, .. }) => {
                let shown = printable(parent.as_os_str().as_bytes());
                let text = format!(
                    "rsync: [Receiver] change_dir#3 \"{shown}\" failed: {}",
                    reason(&source)
                );
                Err(PushError::Fatal { text, exit: 3 })
            }
        }
    }

    fn make_destination(&mut self, path: &Path, raw: &[u8]) -> Result<Option<Root>, PushError> {
        if self.options.write.mkpath {
            self.make_path(path)?;
        } else if !self.is_dry() {
            let parent = path.parent().unwrap_or(Path::new("/"));
            let made = self.open_root(parent).map_err(|FsError::Open { source, .. }| source);
            let made = made.and_then(|root| {
                let name = path.file_name().map(OsStr::as_bytes).unwrap_or_default();
                root.folder(None, Follow::Nothing)?.create_dir(name, 0o777)
            });
            made.map_err(|error| self.cannot_make(path, &error))?;
        }
        let talk = &self.options.talk;
        if !self.options.write.mkpath && (talk.info.name >= 1 || talk.itemize != Itemize::Off) {
            let name = raw.strip_suffix(b"/").unwrap_or(raw);
            let name = match &self.receive.module {
                Some(module) => module.named(name),
                None => name.to_vec(),
            };
            self.say(Level::Info, [b"created directory ", &name[..]].concat());
        }
        match self.is_dry() {
            true => Ok(None),
            false => self
                .open_root(path)
                .map(Some)
                .map_err(|FsError::Open { source, .. }| cannot_stat(path, &source)),
        }
    }

    /// `--mkpath`: makes every missing directory of a path.
    fn make_path(&mut self, path: &Path) -> Result<(), PushError> {
        let missing: Vec<&Path> =
            path.ancestors().take_while(|dir| self.open_root(dir).is_err()).collect();
        if missing.is_empty() {
            return Ok(());
        }
        if !self.is_dry() {
            for dir in missing.iter().rev() {
                let parent = dir.parent().unwrap_or(Path::new("/"));
                let made = self.open_root(parent).map_err(|FsError::Open { source, .. }| source);
                let made = made.and_then(|root| {
                    let name = dir.file_name().map(OsStr::as_bytes).unwrap_or_default();
                    root.folder(None, Follow::Nothing)?.create_dir(name, 0o777)
                });
                made.map_err(|error| self.cannot_make(dir, &error))?;
            }
        }
        if self.options.talk.info.name >= 1 || self.options.talk.itemize != Itemize::Off {
            let count = missing.len();
            let word = if count == 1 { "directory" } else { "directories" };
            let relative = self.receive.destination.is_some_and(|given| !given.starts_with(b"/"));
            let here = std::env::current_dir().ok().filter(|_| relative);
            let path = here.and_then(|here| path.strip_prefix(here).ok()).unwrap_or(path);
            let start = format!("created {count} {word} for ");
            self.say(Level::Info, [start.as_bytes(), path.as_os_str().as_bytes()].concat());
        }
        Ok(())
    }

    /// Opens the directories for temporaries, backups, partial files and alternates.
    fn open_others(&mut self, destination: &mut Destination) -> Result<(), PushError> {
        // Who only lists does not go there.
        let base = match self.lists_only() {
            true => absolute(b"."),
            false => PathBuf::from(OsStr::from_bytes(&destination.shown)),
        };
        let below = |dir: &[u8]| base.join(OsStr::from_bytes(dir));
        if let Some(alternates) = &self.options.update.alternates {
            let option = alternates.kind.option();
            for dir in &alternates.dirs {
                let opened = self.open_other(&below(dir));
                if opened.is_err() {
                    let path = below(dir);
                    let start = format!("{option} arg does not exist: ");
                    let text = [start.as_bytes(), path.as_os_str().as_bytes()].concat();
                    self.say(Level::Warning, text);
                }
                let folders = opened.ok().map(|root| Folders::new(root, Follow::Nothing));
                destination.alternates.push(folders);
            }
        }
        if let Some(dir) = &self.options.temp_dir {
            let opened = self.open_other(&below(dir));
            destination.temp_dir = Some(opened.map_err(|FsError::Open { path, source }| {
                let shown = printable(dir);
                if source.kind() == io::ErrorKind::NotFound {
                    return fatal(&format!("The temp-dir does not exist: {shown}"), 1);
                }
                if source.kind() == io::ErrorKind::NotADirectory {
                    return fatal(&format!("The temp-dir is not a directory: {shown}"), 1);
                }
                let shown = printable(path.as_os_str().as_bytes());
                let why = reason(&source);
                let refused = source.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
                let exit = if refused { 23 } else { 11 };
                fatal(&format!("rsync: [receiver] mkstemp \"{shown}\" failed: {why}"), exit)
            })?);
        }
        if let Some(dir) = &self.options.write.partial_dir
            && dir.starts_with(b"/")
        {
            destination.partial_root = self.open_other(&below(dir)).ok();
        }
        if let Some(dir) = self.options.write.backup.as_ref().and_then(|b| b.dir.as_ref()) {
            let path = below(dir);
            let is_new = stat_unchecked(&path, false).is_err();
            if self.open_root(&path).is_err() && !is_new {
                let text = format!("The backup-dir is not a directory: {}", printable(dir));
                return Err(PushError::Fatal { text, exit: 1 });
            }
            if self.options.talk.info.backup > 0 {
                let start = if is_new { "(new) backup_dir is " } else { "backup_dir is " };
                let end = dir.iter().rposition(|&b| b != b'/').map_or(dir.len(), |at| at + 1);
                self.say(Level::Info, [start.as_bytes(), &dir[..end]].concat());
            }
            destination.backup = Some(path);
        }
        Ok(())
    }

    /// The directory for backups, made where it is missing.
    pub(crate) fn backup_root(&mut self) -> io::Result<Root> {
        let Some(destination) = &self.destination else { return Err(absent()) };
        if let Some(root) = &destination.backup_root {
            return Ok(root.clone());
        }
        let path = destination.backup.clone().ok_or_else(absent)?;
        let missing: Vec<&Path> =
            path.ancestors().take_while(|dir| self.open_root(dir).is_err()).collect();
        for dir in missing.iter().rev() {
            let parent = dir.parent().unwrap_or(Path::new("/"));
            let root = self.open_other(parent).map_err(|FsError::Open { source, .. }| source)?;
            let name = dir.file_name().map(OsStr::as_bytes).unwrap_or_default();
            root.folder(None, Follow::Nothing)?.create_dir(name, 0o777)?;
        }
        let root = self.open_other(&path).map_err(|FsError::Open { source, .. }| source)?;
        if let Some(destination) = &mut self.destination {
            destination.backup_root = Some(root.clone());
        }
        Ok(root)
    }

    /// A directory of an alternate directory.
    pub(crate) fn alternate_folder(&mut self, at: usize, dir: &[u8]) -> io::Result<Folder> {
        let alternates = self.destination.as_mut().map(|destination| &mut destination.alternates);
        let folders = alternates.and_then(|all| all.get_mut(at)?.as_mut()).ok_or_else(absent)?;
        folders.get(dir).cloned()
    }
}

fn absolute(raw: &[u8]) -> PathBuf {
    let path = Path::new(OsStr::from_bytes(raw));
    let base = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("."));
    // Without `.` components and slashes at the end, but with `..`, which the walk resolves.
    base.join(path).components().collect()
}

fn fatal(text: &str, exit: u8) -> PushError {
    PushError::Fatal { text: text.to_owned(), exit }
}

fn cannot_stat(path: &Path, error: &io::Error) -> PushError {
    let shown = printable(path.as_os_str().as_bytes());
    let text =
        format!("rsync: [Receiver] ERROR: cannot stat destination \"{shown}\": {}", reason(error));
    PushError::Fatal { text, exit: 3 }
}
