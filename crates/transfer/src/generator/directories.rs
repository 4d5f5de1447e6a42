//! Directories: made early, entered when their own list comes, dressed when their content is done.

use std::io;
use std::rc::Rc;

use driftless_fs::{Attributes, is_absent};
use driftless_proto::item::ItemFlags;
use driftless_tree::flist::Entry;
use driftless_tree::{Kind, Meta};

use crate::driver::Level;
use crate::error::PushError;
use crate::receiver::Session;
use crate::receiver::lists::{Directory, List, Stage, leaf_of, parent_of};
use crate::report::Role;

/// What work inside a directory needs of its mode.
const OWNER_ALL: u32 = 0o700;

impl Session<'_> {
    /// A list's turn has come: its directory is entered.
    pub(crate) fn begin_list(&mut self, number: usize, list: &Rc<List>) -> Result<(), PushError> {
        if let Some(directory) = list.directory.clone()
            && !self.lists_only()
        {
            self.enter_directory(list.first.saturating_sub(1), &directory, list)?;
        }
        let _ = number;
        Ok(())
    }

    /// An entry that is a directory. With incremental recursion its own list says more; here it is
    /// only made, so that its parent's time is not moved later.
    pub(crate) fn examine_directory(&mut self, list: &Rc<List>, at: usize, ndx: u32) {
        if let Some(directory) = list.directories.get(&(at as u32)) {
            let name: &[u8] = &directory.entry.name;
            // That one is not made is told where it would be entered.
            let waits = self.options.update.existing
                && self.look_inside(name).is_ok_and(|(_, missing)| missing);
            if name != b"." && !waits {
                self.prepare_directory(directory);
            }
            return;
        }
        let Some(entry) = list.entries.get(at) else { return };
        let directory = Directory::new(entry.clone());
        // Errors of rules are told where the directory is entered.
        let _ = self.enter_directory(ndx, &directory, list);
        let stage = directory.stage();
        if matches!(stage, Stage::Failed | Stage::Skipped) {
            self.blocked = Some((entry.name.clone(), stage));
        }
        self.visited.push(directory);
    }

    fn prepare_directory(&mut self, directory: &Directory) {
        let (stage, new, before) = self.find_or_make(directory);
        let mut state = directory.state.borrow_mut();
        (state.stage, state.new, state.before) = (stage, new, before);
    }

    fn find_or_make(&mut self, directory: &Directory) -> (Stage, bool, Option<Meta>) {
        let entry = &directory.entry;
        let name: &[u8] = &entry.name;
        if name == b"." {
            return match self.folder(b"").and_then(|folder| folder.meta()) {
                Ok(_) if self.destination.as_ref().is_some_and(|d| d.created) => {
                    (Stage::There, true, None)
                }
                Ok(meta) => (Stage::There, false, Some(meta)),
                Err(_) => (Stage::Imagined, true, None),
            };
        }
        if self.is_refused(name, "directory", true) {
            let text = "*** Skipping any contents from this failed directory ***";
            self.say(Level::Error, text);
            return (Stage::Failed, false, None);
        }
        let (before, missing) = match self.look_inside(name) {
            Ok(found) => found,
            Err(error) => {
                self.generator_failed("recv_generator: failed to stat", name, &error);
                return (Stage::Failed, false, None);
            }
        };
        match before {
            Some(before) if before.kind == Kind::Dir => {
                return (Stage::There, false, Some(before));
            }
            Some(before) if before.kind == Kind::Symlink && self.options.link.keep_dirlinks => {
                if let Some(meta) = self.behind_link(name) {
                    return (Stage::There, false, Some(meta));
                }
            }
            _ => {}
        }
        if self.options.update.ignore_existing && before.is_some() {
            self.skip(|| [name, b" exists"].concat());
            // What is to be in it is tried all the same, and cannot be there.
            return (Stage::There, false, before);
        }
        if self.options.update.existing && missing {
            self.skip(|| [b"not creating new directory \"", name, b"\""].concat());
            return (Stage::Skipped, false, None);
        }
        if let Some(before) = before
            && !self.make_way(name, &before, "new directory")
        {
            return (Stage::Failed, false, None);
        }
        if self.is_dry() || self.folders.is_none() {
            return (Stage::Imagined, true, None);
        }
        match self.make_directory(directory) {
            Ok(()) => (Stage::There, true, None),
            Err(error) => {
                self.generator_failed("recv_generator: mkdir", name, &error);
                let text = "*** Skipping any contents from this failed directory ***";
                self.say(Level::Error, text);
                // It is told of all the same (seen).
                (Stage::Failed, true, None)
            }
        }
    }

    /// What the directory is that a symbolic link leads to. One outside is looked at, too, since the
    /// link stays then (seen), but nothing in it is changed.
    pub(super) fn behind_link(&mut self, name: &[u8]) -> Option<Meta> {
        if let Ok(folder) = self.folder(name) {
            return folder.meta().ok();
        }
        let parent = self.folder(parent_of(name)).and_then(|folder| folder.list());
        let found = parent.and_then(|dir| dir.stat_following(leaf_of(name))).ok()?;
        Some(found).filter(|meta| meta.kind == Kind::Dir)
    }

    fn make_directory(&mut self, directory: &Directory) -> io::Result<()> {
        let entry = &directory.entry;
        let mode = match self.options.perms {
            _ if self.is_made_plain(entry) => 0o777,
            // Private until it has its owner.
            true => OWNER_ALL,
            false => entry.mode & 0o777 | OWNER_ALL,
        };
        let folder = self.folder_to_change(parent_of(&entry.name))?;
        folder.create_dir(leaf_of(&entry.name), mode)
    }

    /// A directory's own turn: it is reported, gets its attributes but for those that its content
    /// would disturb, and what does not belong in it goes.
    fn enter_directory(
        &mut self,
        ndx: u32,
        directory: &Rc<Directory>,
        list: &Rc<List>,
    ) -> Result<(), PushError> {
        // Where links are kept, work on another name of it may have changed it meanwhile.
        let is_stale = self.options.link.keep_dirlinks && !directory.state.borrow().new;
        match directory.stage() {
            Stage::Unseen => self.prepare_directory(directory),
            Stage::There if is_stale => self.prepare_directory(directory),
            // What was in its way is still there in a dry run, and told of again (seen).
            Stage::Imagined if self.is_dry() && self.likeness.keeps_times(Kind::Dir) => {
                let name = &directory.entry.name;
                if self.look(name).is_ok_and(|m| m.is_some_and(|m| m.kind != Kind::Dir)) {
                    self.remove_other(name);
                }
            }
            _ => {}
        }
        let (stage, new, before) = {
            let state = directory.state.borrow();
            (state.stage, state.new, state.before)
        };
        if stage == Stage::Skipped || stage == Stage::Failed && !new {
            return Ok(());
        }
        if let Some(other) = before.filter(|before| before.kind != Kind::Dir) {
            // It stays as it is, but for its time, as if it were a directory (seen).
            let other = Meta { kind: Kind::Dir, ..other };
            self.correct_time(&directory.entry, &directory.entry.name, &other);
            return Ok(());
        }
        let entry = &directory.entry;
        let implied = self.is_only_implied(entry);
        let flags = match &before {
            Some(before) => self.differences(entry, &entry.name, before),
            None => match self.in_alternates(&entry.name, Kind::Dir) {
                Some((_, like)) => {
                    let differs = self.likeness.differences(entry, &like);
                    if differs == 0 && !implied && self.names_equal() {
                        self.say(Level::Info, [&entry.name[..], b"/ is uptodate"].concat());
                    }
                    let late = differs != 0 && !self.likeness.keeps_times(Kind::Dir);
                    let time = if late { ItemFlags::REPORT_TIME } else { 0 };
                    differs | ItemFlags::LOCAL_CHANGE | time
                }
                None => ItemFlags::IS_NEW | ItemFlags::LOCAL_CHANGE | self.extras_of_new(entry),
            },
        };
        if !implied {
            self.tell(entry, ndx, flags, None);
        }
        if stage == Stage::Failed {
            return Ok(());
        }
        let plain = new && self.is_made_plain(entry);
        // What is there and only lies on the way stays as it is.
        if stage == Stage::There && !self.is_dry() && !plain && (new || !implied) {
            self.dress_directory(directory, new, before.as_ref());
            self.set_acls(entry, &entry.name);
        }
        self.delete_in(directory, list)
    }

    /// Whether a directory that is missing is made as by `mkdir`: `--no-implied-dirs`.
    pub(super) fn is_made_plain(&self, entry: &Entry) -> bool {
        self.options.selection.relative && self.is_only_implied(entry)
    }

    /// Whether a directory is listed only because something below it is, without attributes that
    /// count.
    fn is_only_implied(&self, entry: &Entry) -> bool {
        let selection = &self.options.selection;
        let counts = selection.relative && selection.implied_dirs;
        entry.dir.top && entry.dir.no_content && !counts
    }

    fn dress_directory(&mut self, directory: &Directory, new: bool, before: Option<&Meta>) {
        let entry = &directory.entry;
        let name: &[u8] = &entry.name;
        let gives_group = before.is_none()
            && self.folders.as_mut().is_some_and(|folders| folders.gives_group(parent_of(name)));
        let mut wanted = match before {
            Some(before) => self.likeness.to_set(entry, before),
            None => self.likeness.of_new(entry, Kind::Dir, None, gives_group),
        };
        let final_mode = self.likeness.mode(entry, before);
        if new && !self.options.perms && name != b"." {
            // It was made with it, but for what work inside it needs, and may have got a
            // set-group-id bit from its parent.
            let setgid = if gives_group { 0o2000 } else { 0 };
            wanted.mode = Some(final_mode | setgid).filter(|mode| mode & OWNER_ALL != OWNER_ALL);
        }
        let mut state = directory.state.borrow_mut();
        let keeps = self.likeness.keeps_times(Kind::Dir);
        if new {
            state.late_time = keeps && wanted.mtime.is_some();
            wanted.mtime = None;
        }
        if final_mode & OWNER_ALL != OWNER_ALL && !self.likeness.superuser() {
            state.late_mode = Some(final_mode);
            wanted.mode = Some(final_mode | OWNER_ALL);
        }
        drop(state);
        if wanted.is_empty() {
            return;
        }
        let result = match name {
            b"." => self.folder(b"").cloned(),
            _ => self.folder(parent_of(name)).cloned(),
        };
        let settled = match result {
            Ok(folder) if name == b"." => {
                self.apply(Role::Generator, name, &wanted, |attributes| {
                    folder.set_own_attributes(attributes)
                })
            }
            Ok(folder) => self.apply(Role::Generator, name, &wanted, |attributes| {
                folder.set_attributes(leaf_of(name), Kind::Dir, attributes)
            }),
            Err(error) => {
                self.generator_failed("failed to set times on", name, &error);
                false
            }
        };
        directory.state.borrow_mut().resists = !settled && !new;
    }

    /// All content of a directory is in place: it gets what that would have disturbed.
    pub(crate) fn finish_directory(&mut self, directory: Option<&Directory>) {
        let Some(directory) = directory else { return };
        let entry = &directory.entry;
        let name: &[u8] = &entry.name;
        if self.is_dry() || directory.stage() != Stage::There {
            return;
        }
        let path = if name == b"." { &b""[..] } else { name };
        let touched = self.folders.as_mut().is_some_and(|folders| folders.take_touched(path));
        // Not where it only failed.
        let touched = touched && self.time_moved(name, directory.state.borrow().before);
        // Where links are kept, it may have been by another name.
        let touched = touched || self.options.link.keep_dirlinks && self.has_other_time(entry);
        let state = directory.state.borrow();
        let implied = self.is_only_implied(entry);
        let plain = self.is_made_plain(entry);
        let keeps = self.likeness.keeps_times(Kind::Dir) && (!implied || state.new) && !plain;
        let wanted = Attributes {
            mode: state.late_mode,
            mtime: (keeps && (state.late_time || touched)).then_some(entry.mtime),
            ..Attributes::default()
        };
        let is_known = state.resists;
        drop(state);
        if wanted.is_empty() {
            return;
        }
        let set = match name {
            b"." => self.folder(b"").and_then(|folder| folder.set_own_attributes(&wanted)),
            _ => self
                .folder(parent_of(name))
                .and_then(|folder| folder.set_attributes(leaf_of(name), Kind::Dir, &wanted)),
        };
        // A link that is kept may have led to what was deleted meanwhile.
        let is_gone = |error: &io::Error| self.options.link.keep_dirlinks && is_absent(error);
        if let Err(error) = set
            && !is_known
            && !is_gone(&error)
        {
            self.generator_failed("failed to set times on", name, &error);
        }
    }

    /// Whether a directory has another time than before, when it was looked at. The time of a link
    /// in its place is its own.
    fn time_moved(&mut self, name: &[u8], before: Option<Meta>) -> bool {
        let Some(before) = before else { return true };
        self.meta_at(name)
            .is_none_or(|present| present.kind != Kind::Symlink && present.mtime != before.mtime)
    }

    /// Whether a directory, or the link in its place, has another time than it shall have.
    fn has_other_time(&mut self, entry: &Entry) -> bool {
        let present = self.meta_at(&entry.name);
        present.is_some_and(|present| !self.likeness.same_time(entry.mtime, present.mtime))
    }

    /// Finishes what is left: all directories without incremental recursion, and those that
    /// were changed after their list was closed.
    pub(crate) fn finish_directories(&mut self) {
        let visited = std::mem::take(&mut self.visited);
        for directory in visited.iter().rev() {
            self.finish_directory(Some(directory));
        }
    }
}
