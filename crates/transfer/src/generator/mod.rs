//! What the receiving side decides: which entries differ, what is made, removed and requested.
//!
//! Everything here works for the [`crate::receiver::Session`] that holds the lists, and touches the
//! destination only through [`folders::Folders`].

mod acls;
mod alternates;
mod backup;
pub(crate) mod basis;
pub(crate) mod delete;
pub(crate) mod destination;
mod directories;
pub(crate) mod extras;
pub(crate) mod files;
pub(crate) mod folders;
pub(crate) mod fuzzy;
pub(crate) mod hardlinks;
pub(crate) mod ids;
pub(crate) mod likeness;
pub(crate) mod nodes;
pub(crate) mod place;
mod protection;
mod removal;
pub(crate) mod sums;

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use driftless_fs::{Folder, Root, is_absent};
use driftless_tree::flist::Entry;
use driftless_tree::path::printable;
use driftless_tree::{Kind, Meta};

use crate::driver::Level;
use crate::error::PushError;
use crate::generator::files::Pass;
use crate::receiver::Session;
use crate::receiver::lists::{Directory, List, Stage, leaf_of, parent_of};
use crate::report::Role;

impl Session<'_> {
    /// Looks at an entry and does what it takes.
    pub(crate) fn examine(
        &mut self,
        number: usize,
        list: &Rc<List>,
        at: usize,
    ) -> Result<(), PushError> {
        let Some(entry) = list.entries.get(at) else { return Ok(()) };
        if self.lists_only() {
            if self.is_made_plain(entry) {
                return Ok(());
            }
            match self.receive.server.then(|| self.report.listing_line(entry)).flatten() {
                Some(line) => self.say(Level::Info, line),
                None => self.report.listed(entry),
            }
            return Ok(());
        }
        let blocked = self.block_of(list, entry);
        if let (Some(stage), Some(directory)) = (blocked, list.directories.get(&(at as u32))) {
            directory.state.borrow_mut().stage = stage;
        }
        let is_file = entry.kind() != Some(Kind::Dir);
        if blocked.is_some() || is_file && self.is_refused(&self.name_of(entry), "file", false) {
            self.leave_group(entry);
            return Ok(());
        }
        if !self.has_parent(list, entry) {
            return self.refuse_orphan(entry);
        }
        let ndx = list.ndx(at);
        match entry.kind() {
            None => self.remove_missing(entry),
            Some(Kind::Dir) => self.examine_directory(list, at, ndx),
            Some(Kind::File) => self.examine_file(number, list, at, Pass::Listed)?,
            Some(Kind::Symlink) => self.examine_symlink(number, list, at),
            Some(_) => self.examine_node(number, list, at),
        }
        Ok(())
    }

    /// A file that failed verification is looked at once more.
    pub(crate) fn examine_again(&mut self, number: usize, at: usize) -> Result<(), PushError> {
        let Some(held) = self.lists.by_number_mut(number) else { return Ok(()) };
        // It was counted when it was requested first.
        held.unfinished = held.unfinished.saturating_sub(1);
        let list = Rc::clone(&held.list);
        self.examine_file(number, &list, at, Pass::Redo)
    }

    /// What keeps an entry from being looked at: the stage of the directory that it lies in.
    fn block_of(&mut self, list: &List, entry: &Entry) -> Option<Stage> {
        if let Some(directory) = &list.directory {
            let stage = directory.stage();
            let blocks = matches!(stage, Stage::Failed | Stage::Skipped) && &*entry.name != b".";
            return blocks.then_some(stage);
        }
        let (dir, stage) = self.blocked.as_ref()?;
        if entry.name.starts_with(dir) && entry.name.get(dir.len()) == Some(&b'/') {
            return Some(*stage);
        }
        self.blocked = None;
        None
    }

    /// Whether the directory of an entry is listed, too, where one list has all.
    fn has_parent(&mut self, list: &List, entry: &Entry) -> bool {
        let parent = parent_of(&entry.name);
        if list.directory.is_some() || parent.is_empty() || *parent == *self.parent {
            return true;
        }
        if list.position(parent, true).is_some() {
            self.parent = parent.into();
            return true;
        }
        // What is to go may be below what is to go.
        entry.kind().is_none() && list.position(parent, false).is_some()
    }

    /// As the original, which ends the session unless the entry is to be deleted.
    fn refuse_orphan(&mut self, entry: &Entry) -> Result<(), PushError> {
        match entry.kind() {
            None => {
                let parent = parent_of(&entry.name);
                if *parent != *self.absent_parent {
                    let start = b"WARNING: parent dir is absent in the file list: ";
                    self.say(Level::Warning, [&start[..], parent].concat());
                    self.absent_parent = parent.into();
                }
                self.remove_missing(entry);
                Ok(())
            }
            Some(_) => {
                let name = printable(&entry.name);
                let text = format!("ABORTING due to invalid path from sender: {name}");
                Err(PushError::Fatal { text, exit: 2 })
            }
        }
    }

    /// Whether the module's rules hide what is at an absolute path: the peer neither learns of it nor
    /// changes it, by whatever way it is named.
    pub(crate) fn hides(&self, path: &[u8], is_dir: bool) -> bool {
        self.receive.module.as_ref().is_some_and(|module| module.hides(path, is_dir))
    }

    /// As [`Session::hides`], of a name below an open directory.
    pub(crate) fn hides_below(&self, root: &Root, name: &[u8], is_dir: bool) -> bool {
        let path = root.path().as_os_str().as_bytes();
        self.receive.module.is_some() && self.hides(&[path, b"/", name].concat(), is_dir)
    }

    /// Whether the module's rules keep a name out, which is said then.
    fn is_refused(&mut self, name: &[u8], what: &str, is_dir: bool) -> bool {
        if !self.hides(&self.full_path(name), is_dir) {
            return false;
        }
        let start = format!("ERROR: daemon refused to receive {what} \"");
        self.say(Level::ErrorXfer, [start.as_bytes(), name, b"\""].concat());
        true
    }

    /// The name of the entry below the destination: its own, unless a single file gets another.
    pub(crate) fn name_of(&self, entry: &Entry) -> Rc<[u8]> {
        match self.destination.as_ref().and_then(|destination| destination.rename.as_ref()) {
            Some(name) => Rc::clone(name),
            None => entry.name.as_ref().into(),
        }
    }

    /// The open directory of this path below the destination.
    pub(crate) fn folder(&mut self, dir: &[u8]) -> io::Result<&Folder> {
        match &mut self.folders {
            Some(folders) => folders.get(dir),
            None => Err(absent()),
        }
    }

    /// As [`Session::folder`], to change something in it. Missing parents of names that were listed
    /// without them are made.
    pub(crate) fn folder_to_change(&mut self, dir: &[u8]) -> io::Result<Folder> {
        let Some(folders) = &mut self.folders else {
            return Err(absent());
        };
        match folders.change(dir) {
            Err(error) if is_absent(&error) && self.options.selection.relative => {
                self.make_parents(dir)?;
                match &mut self.folders {
                    Some(folders) => folders.change(dir),
                    None => Err(error),
                }
            }
            answer => answer,
        }
    }

    fn make_parents(&mut self, dir: &[u8]) -> io::Result<()> {
        let Some(folders) = &mut self.folders else { return Ok(()) };
        let ends = dir.iter().enumerate().filter(|&(_, &b)| b == b'/').map(|(at, _)| at);
        for end in ends.chain([dir.len()]) {
            let path = &dir[..end];
            let parent = folders.change(parent_of(path))?;
            match parent.create_dir(leaf_of(path), 0o777) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        folders.forget();
        Ok(())
    }

    /// What is at a name below the destination; `None` when nothing is.
    ///
    /// # Errors
    /// [`leads_outside`], too, where links to directories are kept (`-K`).
    pub(crate) fn look(&mut self, name: &[u8]) -> io::Result<Option<Meta>> {
        let keeps_links = self.options.link.keep_dirlinks;
        let folder = match self.folder(parent_of(name)) {
            Err(error) if keeps_links && leads_outside(&error) => {
                return if self.is_imagined(parent_of(name)) { Ok(None) } else { Err(error) };
            }
            Err(error) if is_absent(&error) => return Ok(None),
            answer => answer?,
        };
        match folder.lstat(leaf_of(name)) {
            Ok(meta) => Ok(Some(meta)),
            Err(error) if is_absent(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// As [`Session::look`]; what is behind a link that leads outside counts as nothing, but not as
    /// missing (seen): the second value.
    pub(crate) fn look_inside(&mut self, name: &[u8]) -> io::Result<(Option<Meta>, bool)> {
        match self.look(name) {
            Err(error) if leads_outside(&error) => Ok((None, false)),
            answer => answer.map(|found| (found, found.is_none())),
        }
    }

    /// Whether a dry run would have made this directory, where one list has all.
    fn is_imagined(&self, dir: &[u8]) -> bool {
        let of_name = |directory: &&Rc<Directory>| &*directory.entry.name == dir;
        let found = self.visited.iter().rev().find(of_name);
        found.is_some_and(|directory| directory.stage() == Stage::Imagined)
    }

    /// Removes what is in the way of something of another kind. `false`, and said why, when it
    /// stays.
    pub(crate) fn make_way(&mut self, name: &[u8], before: &Meta, wanted: &str) -> bool {
        let gone = match before.kind {
            Kind::Dir => self.remove_directory_for_other(name),
            _ => self.remove_other(name),
        };
        if !gone {
            let start = format!("could not make way for {wanted}: ");
            self.say(Level::ErrorXfer, [start.as_bytes(), name].concat());
        }
        gone
    }

    /// Something failed at a name while the generator worked on it.
    pub(crate) fn generator_failed(&mut self, act: &str, name: &[u8], error: &io::Error) {
        self.failed(Role::Generator, act, name, error);
    }

    /// Says that a rule leaves an entry alone.
    pub(crate) fn skip(&mut self, text: impl FnOnce() -> Vec<u8>) {
        if self.options.talk.info.skip >= 1 {
            self.say(Level::Info, text());
        }
    }
}

/// Whether the error says that a symbolic link on the way leads out of the destination.
pub(crate) fn leads_outside(error: &io::Error) -> bool {
    error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// The error for what is not there, as the system would word it.
pub(crate) fn absent() -> io::Error {
    rustix::io::Errno::NOENT.into()
}
