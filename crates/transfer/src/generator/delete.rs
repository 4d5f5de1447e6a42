//! Deletion of names that the sender does not have. Protocol reference, "Deletion timing"; filter
//! reference, "Deletion details".
//!
//! Only directories are looked into whose content was listed, and that the list itself made known;
//! what a rule protects stays, and what holds something protected stays with it.

use std::io;
use std::rc::Rc;

use driftless_filter::Chain;
use driftless_fs::DirEntry;
use driftless_proto::mux::Tag;
use driftless_proto::ndx::NdxValue;
use driftless_proto::stats::DelStats;
use driftless_tree::flist::{self, Entry};
use driftless_tree::{Kind, RelPath};

use crate::driver::Level;
use crate::error::PushError;
use crate::generator::folders::Folders;
use crate::generator::leads_outside;
use crate::options::{DeleteWhen, TransferOptions};
use crate::receiver::Session;
use crate::receiver::lists::{Directory, List, Stage, leaf_of, parent_of};
use crate::report::Role;

/// When and how much is deleted, and what waits.
#[derive(Debug)]
pub(crate) struct Deletions {
    when: Option<DeleteWhen>,
    /// A delete option or `--force`: the other side wants numbers.
    counted: bool,
    force: bool,
    most: Option<u64>,
    done_count: u64,
    skipped_count: u64,
    /// With `--delete-delay`: names found, in the order in which they go.
    delayed: Vec<(Vec<u8>, Kind)>,
    delayed_dirs: Vec<Rc<Directory>>,
    /// The rules of directories on the way to the last one asked about, the root's first.
    pub(crate) chains: Vec<(Vec<u8>, Chain)>,
}

impl Deletions {
    pub(crate) fn new(options: &TransferOptions, protocol: u8) -> Self {
        let delete = &options.delete;
        let asked = delete.when.or(delete.excluded.then_some(DeleteWhen::Unspecified));
        let when = asked.map(|when| match when {
            DeleteWhen::Unspecified if protocol < 30 => DeleteWhen::Before,
            DeleteWhen::Unspecified => DeleteWhen::During,
            when => when,
        });
        Self {
            when,
            counted: when.is_some() || delete.force,
            force: when.is_some() || delete.force,
            most: delete.max,
            done_count: 0,
            skipped_count: 0,
            delayed: Vec::new(),
            delayed_dirs: Vec::new(),
            chains: Vec::new(),
        }
    }

    /// Whether only so many names may be deleted.
    pub(super) fn is_limited(&self) -> bool {
        self.most.is_some()
    }

    /// Whether deletions come after everything else.
    pub(crate) fn come_last(&self) -> bool {
        matches!(self.when, Some(DeleteWhen::After | DeleteWhen::Delay))
    }
}

impl Session<'_> {
    /// `--delete-before`: everything goes before anything comes.
    pub(crate) fn start_deletions(&mut self) -> Result<(), PushError> {
        if self.deletions.when == Some(DeleteWhen::Before) && !self.lists_only() {
            self.delete_everywhere()?;
        }
        Ok(())
    }

    /// A directory is entered.
    pub(crate) fn delete_in(
        &mut self,
        directory: &Rc<Directory>,
        list: &Rc<List>,
    ) -> Result<(), PushError> {
        let is_new = directory.state.borrow().new;
        match self.deletions.when {
            // Nothing is in it, but it counts as one where nothing may be deleted (seen).
            Some(DeleteWhen::During | DeleteWhen::Delay) if is_new => {
                self.keeps_all(directory, list);
            }
            Some(DeleteWhen::During) => {
                let found = self.unlisted(directory, list)?;
                self.delete_all(path_of(&directory.entry), found)?;
            }
            Some(DeleteWhen::Delay) => {
                let found = self.unlisted(directory, list)?;
                if !found.is_empty() {
                    self.deletions.delayed_dirs.push(Rc::clone(directory));
                }
                self.deletions.delayed.extend(found);
            }
            _ => {}
        }
        Ok(())
    }

    /// The deletions that come last.
    pub(crate) fn finish_deletions(&mut self) -> Result<(), PushError> {
        match self.deletions.when {
            _ if self.lists_only() => {}
            Some(DeleteWhen::After) => self.delete_everywhere()?,
            Some(DeleteWhen::Delay) => {
                for (name, kind) in std::mem::take(&mut self.deletions.delayed) {
                    let keeps = kind != Kind::Dir && self.options.write.backup.is_some();
                    let kind = match self.look(&name) {
                        Ok(Some(meta)) => meta.kind,
                        Err(error) if leads_outside(&error) => kind,
                        _ => {
                            // It went by another name, when a link leads here, and is told of where
                            // it would have been kept (seen).
                            if keeps && !self.is_backup_name(&name) {
                                self.deleted(&name, kind);
                            }
                            continue;
                        }
                    };
                    self.delete(&name, kind)?;
                }
                if self.lists_incremental() {
                    for directory in std::mem::take(&mut self.deletions.delayed_dirs) {
                        self.finish_directory(Some(&directory));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    fn delete_everywhere(&mut self) -> Result<(), PushError> {
        let Some(held) = self.lists.held.front() else { return Ok(()) };
        let list = Rc::clone(&held.list);
        for (at, entry) in list.entries.iter().enumerate() {
            if entry.kind() != Some(Kind::Dir) || list.is_dropped(at) {
                continue;
            }
            let there = match &*entry.name {
                b"." => self.folders.is_some(),
                name => match self.look(name).ok().flatten().map(|meta| meta.kind) {
                    Some(Kind::Symlink) if self.options.link.keep_dirlinks => {
                        self.behind_link(name).is_some()
                    }
                    kind => kind == Some(Kind::Dir),
                },
            };
            // It is told of each that is listed with its content, there or not (seen).
            let told = if entry.name[..] == *b"." { there } else { !entry.dir.no_content };
            if told && self.options.talk.debug.del > 0 && entry.dir.top {
                self.say(Level::Info, [b"deleting in ", &*entry.name].concat());
            }
            if there {
                let directory = Directory::new(entry.clone());
                directory.state.borrow_mut().stage = Stage::There;
                let found = self.unlisted(&directory, &list)?;
                self.delete_all(path_of(&directory.entry), found)?;
            }
        }
        Ok(())
    }

    /// Whether nothing is deleted in a directory, for it was not listed, or perhaps not as a whole.
    fn keeps_all(&mut self, directory: &Directory, list: &List) -> bool {
        if directory.entry.dir.no_content || directory.stage() != Stage::There {
            return true;
        }
        let unsound = self.ending.io_error & 1 != 0 && list.first >= self.unsound_from;
        let keeps = unsound && !self.options.delete.ignore_errors;
        if keeps && !std::mem::replace(&mut self.counts.told_io_error, true) {
            self.say(Level::Info, "IO error encountered -- skipping file deletion");
        }
        keeps
    }

    /// What is in a directory, unlisted and unprotected, in the order in which it goes.
    fn unlisted(
        &mut self,
        directory: &Directory,
        list: &List,
    ) -> Result<Vec<(Vec<u8>, Kind)>, PushError> {
        if self.keeps_all(directory, list) {
            return Ok(Vec::new());
        }
        let dir = path_of(&directory.entry);
        let present = match self.names_in(dir) {
            Ok(present) => present,
            Err(error) => {
                self.generator_failed("opendir", dir, &error);
                return Ok(Vec::new());
            }
        };
        let mut found = Vec::new();
        for entry in present {
            let name = join(dir, &entry.name);
            let is_listed = list.has(&name);
            // What rules say of it is told all the same.
            if is_listed && self.options.talk.debug.filter == 0 {
                continue;
            }
            let Some(kind) = self.kind_of(&name, entry.kind) else { continue };
            if !self.is_protected(dir, &name, kind, false)? && !is_listed {
                found.push((name, kind));
            }
        }
        found.sort_by(last_first);
        Ok(found)
    }

    fn names_in(&mut self, dir: &[u8]) -> io::Result<Vec<DirEntry>> {
        let keeps_links = self.options.link.keep_dirlinks;
        match self.folder(dir) {
            // What is in the way outside is named, but stays.
            Err(error) if keeps_links && leads_outside(&error) => {
                let root = self.folders.as_ref().map(Folders::root).ok_or(error)?;
                root.open_dir_following(RelPath::parse(dir).ok().as_ref())?.entries()
            }
            folder => folder?.list()?.entries(),
        }
    }

    /// What a name is, asked only where the listing did not say it; `None` when it is gone.
    fn kind_of(&mut self, name: &[u8], listed: Option<Kind>) -> Option<Kind> {
        listed.or_else(|| self.look(name).ok().flatten().map(|meta| meta.kind))
    }

    /// Deletes an object, a directory with what is in it. `false`: it stays, which was said.
    pub(super) fn delete(&mut self, name: &[u8], kind: Kind) -> Result<bool, PushError> {
        if kind != Kind::Dir {
            return Ok(self.delete_leaf(name, kind));
        }
        Ok(self.empty_directory(name)? && self.delete_emptied(name))
    }

    /// Deletes a directory itself. `false`: it stays, which was said.
    fn delete_emptied(&mut self, name: &[u8]) -> bool {
        if self.limit_reached() {
            return false;
        }
        if !self.is_dry()
            && let Err(error) = self
                .folder_to_change(parent_of(name))
                .and_then(|folder| folder.remove_dir(leaf_of(name)))
        {
            match error.kind() {
                io::ErrorKind::DirectoryNotEmpty => self.say_not_empty(name),
                _ => self.deletion_failed("rmdir", name, &error),
            }
            return false;
        }
        self.forget_below();
        self.deleted(name, Kind::Dir);
        true
    }

    fn deletion_failed(&mut self, call: &str, name: &[u8], error: &io::Error) {
        let what = [b"delete_file: ", call.as_bytes(), b"(", name, b") failed"].concat();
        self.said_failure(Role::Generator, &what, error);
    }

    fn say_not_empty(&mut self, name: &[u8]) {
        self.say(Level::Info, [b"cannot delete non-empty directory: ", name].concat());
    }

    /// Deletes what is in a directory. `false`: something stays, which was said.
    ///
    /// A directory in it is tried even when it is not empty, as rsync does (seen): it is spoken of
    /// twice, and in a dry run it seems to go.
    fn empty_directory(&mut self, name: &[u8]) -> Result<bool, PushError> {
        let inside = match self.inside(name) {
            Ok(inside) => inside,
            Err(error) => {
                self.generator_failed("opendir", name, &error);
                return Ok(false);
            }
        };
        let mut emptied = true;
        for (child, kind) in inside {
            emptied &= match kind {
                _ if self.is_protected(name, &child, kind, true)? => false,
                Kind::Dir => {
                    let is_empty = self.empty_directory(&child)?;
                    self.delete_emptied(&child) && is_empty
                }
                _ => self.delete_leaf(&child, kind),
            };
        }
        if !emptied {
            self.say_not_empty(name);
        }
        Ok(emptied)
    }

    /// What is in a directory, in the order in which it goes.
    fn inside(&mut self, name: &[u8]) -> io::Result<Vec<(Vec<u8>, Kind)>> {
        let mut inside = Vec::new();
        for entry in self.names_in(name)? {
            let child = join(name, &entry.name);
            if let Some(kind) = self.kind_of(&child, entry.kind) {
                inside.push((child, kind));
            }
        }
        inside.sort_by(last_first);
        Ok(inside)
    }

    /// Tells of the rules that decide about what is in a directory, also where it stays in any case
    /// (seen).
    fn tell_rules_in(&mut self, name: &[u8]) {
        if self.options.talk.debug.filter == 0 {
            return;
        }
        for (child, kind) in self.inside(name).unwrap_or_default() {
            // A rule that cannot be read is told of where it counts.
            let _ = self.is_protected(name, &child, kind, true);
        }
    }

    fn delete_leaf(&mut self, name: &[u8], kind: Kind) -> bool {
        if self.limit_reached() {
            return false;
        }
        let keeps = self.options.write.backup.is_some() && !self.is_backup_name(name);
        if keeps {
            if !self.move_to_backup(name) {
                return false;
            }
        } else if !self.is_dry() {
            let removed = self
                .folder_to_change(parent_of(name))
                .and_then(|folder| folder.remove_file(leaf_of(name)));
            if let Err(error) = removed {
                self.deletion_failed("unlink", name, &error);
                return false;
            }
        }
        self.deleted(name, kind);
        true
    }

    fn limit_reached(&mut self) -> bool {
        let deletions = &mut self.deletions;
        if deletions.most.is_some_and(|most| deletions.done_count >= most) {
            deletions.skipped_count += 1;
            return true;
        }
        false
    }

    pub(super) fn deleted(&mut self, name: &[u8], kind: Kind) {
        let is_dir = kind == Kind::Dir;
        self.deletions.done_count += 1;
        let counts = &mut self.counts.deleted;
        match kind {
            Kind::File => counts.files += 1,
            Kind::Dir => counts.dirs += 1,
            Kind::Symlink => counts.symlinks += 1,
            Kind::CharDevice | Kind::BlockDevice => counts.devices += 1,
            Kind::Fifo | Kind::Socket => counts.specials += 1,
        }
        if self.receive.server {
            let converted = self.to_wire.as_mut().and_then(|charset| charset.convert(name).ok());
            let mut payload = converted.unwrap_or_else(|| name.to_vec());
            if is_dir {
                payload.push(0);
            }
            self.wire.link.output.message(Tag::Deleted, &payload);
        }
        self.report.deleted(name, is_dir);
    }

    /// Handles of directories may lead to what is gone.
    pub(super) fn forget_below(&mut self) {
        if let Some(folders) = &mut self.folders {
            folders.forget();
        }
    }

    /// Protocol reference, "Missing arguments".
    pub(crate) fn remove_missing(&mut self, entry: &Entry) {
        let name = self.name_of(entry);
        let Ok(Some(meta)) = self.look(&name) else { return };
        match meta.kind {
            Kind::Dir => {
                self.remove_directory_for_other(&name);
            }
            _ => {
                self.delete_leaf(&name, meta.kind);
            }
        }
    }

    /// Removes a directory that is in the way: with what is in it only when that is allowed.
    pub(crate) fn remove_directory_for_other(&mut self, name: &[u8]) -> bool {
        let force = self.deletions.force;
        if !force {
            self.tell_rules_in(name);
        }
        let emptied = match force {
            true => self.empty_directory(name).unwrap_or(false),
            // Asked for what it would say.
            false if self.is_dry() && self.names_in(name).is_ok_and(|names| !names.is_empty()) => {
                self.say_not_empty(name);
                false
            }
            false => true,
        };
        if !emptied || self.is_dry() {
            return emptied;
        }
        let removed = self
            .folder_to_change(parent_of(name))
            .and_then(|folder| folder.remove_dir(leaf_of(name)));
        self.forget_below();
        match removed {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                self.say_not_empty(name);
                false
            }
            Err(error) => {
                self.deletion_failed("rmdir", name, &error);
                false
            }
        }
    }

    /// Removes something that is no directory and in the way of one.
    pub(crate) fn remove_other(&mut self, name: &[u8]) -> bool {
        let keeps = self.options.write.backup.is_some() && !self.is_backup_name(name);
        if keeps {
            return self.move_to_backup(name);
        }
        if self.is_dry() {
            return true;
        }
        let removed = self
            .folder_to_change(parent_of(name))
            .and_then(|folder| folder.remove_file(leaf_of(name)));
        match removed {
            Ok(()) => true,
            Err(error) => {
                self.deletion_failed("unlink", name, &error);
                false
            }
        }
    }

    /// Tells the sender how much was deleted.
    pub(crate) fn put_deletion_counts(&mut self) {
        if !self.deletions.counted || self.setup.protocol < 31 {
            return;
        }
        const MOST: u64 = 1 << 28;
        let count = |n: u64| n.min(MOST) as u32;
        let counts = &self.counts.deleted;
        let stats = DelStats {
            files: count(counts.files),
            dirs: count(counts.dirs),
            symlinks: count(counts.symlinks),
            devices: count(counts.devices),
            specials: count(counts.specials),
        };
        self.wire.put_ndx(NdxValue::DelStats);
        self.wire.link.output.append(|out| stats.put(out));
    }

    /// Says that there would have been more to delete.
    pub(crate) fn warn_of_limit(&mut self) {
        if self.deletions.skipped_count == 0 {
            return;
        }
        let skipped = self.deletions.skipped_count;
        let text = format!("Deletions stopped due to --max-delete limit ({skipped} skipped)");
        self.say(Level::Warning, &text);
        self.add_io_error(4);
    }
}

/// The reverse of the lists' order.
/// The path of a directory of the list, as [`crate::generator::folders::Folders`] takes it.
fn path_of(directory: &Entry) -> &[u8] {
    if &*directory.name == b"." { b"" } else { &directory.name }
}

pub(super) fn last_first(a: &(Vec<u8>, Kind), b: &(Vec<u8>, Kind)) -> std::cmp::Ordering {
    flist::compare_names(&b.0, b.1 == Kind::Dir, &a.0, a.1 == Kind::Dir)
}

pub(crate) fn join(dir: &[u8], leaf: &[u8]) -> Vec<u8> {
    if dir.is_empty() { leaf.to_vec() } else { [dir, b"/", leaf].concat() }
}
