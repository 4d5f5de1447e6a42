//! How a transferred file gets its attributes and its place, or is kept for later.

use std::io;
use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use driftless_fs::replace::temporary_name;
use driftless_fs::{Attributes, Folder, NewFile, is_absent};
use driftless_tree::flist::Entry;
use driftless_tree::{Kind, Meta, Timestamp};

use crate::driver::Level;
use crate::error::PushError;
use crate::generator::absent;
use crate::generator::basis::BasisChoice;
use crate::generator::delete::join;
use crate::module::quoted;
use crate::options::Itemize;
use crate::receiver::content::{Finished, Target};
use crate::receiver::lists::{leaf_of, parent_of};
use crate::receiver::{Pending, Session};
use crate::report::Role;

/// The mode of a file that is not finished.
pub(super) const PRIVATE: u32 = 0o600;

/// A finished file that waits for the end of the transfer in a staging directory.
#[derive(Debug)]
pub(crate) struct Delayed {
    name: Rc<[u8]>,
    /// Its entry: the list's number, the place in it, and its own number.
    list: usize,
    at: usize,
    ndx: u32,
    /// Something is at its place.
    replaces: bool,
}

impl Session<'_> {
    /// Opens what the content of a requested file is written to; `None`, and said why, when that
    /// cannot be.
    pub(crate) fn open_target(&mut self, entry: &Entry, pending: &Pending) -> Option<Target> {
        let name = self.name_of(entry);
        let result = match self.options.write.in_place() {
            true => self.open_in_place(&name, pending),
            false => self.start_new(&name).map(Target::New),
        };
        result
            .map_err(|error| {
                match self.options.write.in_place() {
                    true => self.failed(Role::Receiver, "open", &name, &error),
                    false => {
                        // A name such as it would have had.
                        let temporary = temporary_name(leaf_of(&name));
                        let path = join(parent_of(&name), &temporary);
                        self.failed(Role::Receiver, "mkstemp", &path, &error);
                    }
                }
            })
            .ok()
    }

    fn open_in_place(&mut self, name: &[u8], pending: &Pending) -> io::Result<Target> {
        let device = self.options.write.write_devices;
        let leaves_times = self.options.read.open_noatime;
        let leaf = leaf_of(name);
        if pending.displaces {
            match self.options.write.backup.is_some() && !self.is_backup_name(name) {
                true if !self.move_to_backup(name) => return Err(not_backed_up()),
                true => {}
                false => self.folder_to_change(parent_of(name))?.remove_file(leaf)?,
            }
        }
        // Writing into a file does not move its directory's time.
        match self
            .folder(parent_of(name))
            .and_then(|f| f.open_for_update(leaf, device, leaves_times))
        {
            Err(error) if is_absent(&error) => {
                let folder = self.folder_to_change(parent_of(name))?;
                folder.create_file(leaf, PRIVATE).map(Target::InPlace)
            }
            answer => answer.map(Target::InPlace),
        }
    }

    /// Begins a file that will get this name, in the directory for temporary ones where one is set.
    pub(super) fn start_new(&mut self, name: &[u8]) -> io::Result<NewFile> {
        let own = self.folder_to_change(parent_of(name))?;
        match &self.destination {
            Some(destination) if destination.temp_dir.is_some() => {
                let dir = self.options.temp_dir.as_deref().unwrap_or_default();
                if let Some(folders) = self.folders.as_mut().filter(|_| !dir.starts_with(b"/")) {
                    // It may be one of the transfer, whose time moves then.
                    let _ = folders.change(dir.strip_suffix(b"/").unwrap_or(dir));
                }
                let destination = self.destination.as_ref().ok_or_else(absent)?;
                let root = destination.temp_dir.as_ref().ok_or_else(absent)?;
                root.folder(None, driftless_fs::Follow::Nothing)?.start_file(leaf_of(name), PRIVATE)
            }
            _ => own.start_file(leaf_of(name), PRIVATE),
        }
    }

    /// Judges finished content and puts it in its place. `false` when it is not there.
    pub(crate) fn settle(
        &mut self,
        entry: &Entry,
        pending: &Pending,
        finished: Finished,
        digest_right: bool,
    ) -> bool {
        let name = self.name_of(entry);
        let placed = match finished.target {
            Target::Nowhere => return false,
            Target::New(_) if !digest_right => {
                self.complain_of_digest(&name, pending.redo, "discarded");
                return false;
            }
            Target::New(file) => self.place_new(entry, &name, pending, file),
            Target::InPlace(file) if !digest_right => {
                self.complain_of_digest(&name, pending.redo, "retained");
                if let Err(error) = self.settle_in_place(entry, pending, &file, false) {
                    self.failed(Role::Receiver, "failed to set attributes on", &name, &error);
                }
                return false;
            }
            Target::InPlace(file) => {
                self.settle_in_place(entry, pending, &file, true).map(|()| true)
            }
        };
        match placed {
            Ok(true) => {
                self.drop_partial(&name, pending);
                true
            }
            Ok(false) => false,
            Err(error) => {
                self.failed(Role::Receiver, "rename", &name, &error);
                false
            }
        }
    }

    fn complain_of_digest(&mut self, name: &[u8], again: bool, what: &str) {
        let talk = &self.options.talk;
        if !again && talk.info.name == 0 && talk.itemize == Itemize::Off {
            return;
        }
        let (level, start, end) = match again {
            true => (Level::ErrorXfer, "ERROR: ", "."),
            false => (Level::Warning, "WARNING: ", " (will try again)."),
        };
        let rest = format!(" failed verification -- update {what}{end}");
        self.say(level, [start.as_bytes(), name, rest.as_bytes()].concat());
    }

    /// `false`: it cannot get its name, which was said.
    fn place_new(
        &mut self,
        entry: &Entry,
        name: &Rc<[u8]>,
        pending: &Pending,
        mut file: NewFile,
    ) -> io::Result<bool> {
        let before = pending.before.as_ref();
        let gives_group =
            self.folders.as_mut().is_some_and(|folders| folders.gives_group(parent_of(name)));
        let mut wanted = self.likeness.of_new(entry, Kind::File, before, gives_group);
        wanted.mode = wanted.mode.filter(|mode| *mode != PRIVATE);
        let temporary = join(parent_of(name), file.name());
        self.apply(Role::Receiver, &temporary, &wanted, |attributes| {
            file.set_attributes(attributes)
        });
        if entry.acl.is_some() || entry.xattrs.is_some() {
            let old = self.folder(parent_of(name)).ok().cloned();
            let old = old.filter(|_| before.is_some()).map(|f| (f, leaf_of(name).to_vec()));
            self.set_extras(entry, name, file.file(), old);
        }
        if self.options.fsync {
            file.file().sync_all()?;
        }
        if self.options.delays() {
            if self.partial_hides(name) {
                return Err(rustix::io::Errno::ACCESS.into());
            }
            let staging = self.staging_folder(parent_of(name))?;
            file.place(&staging, leaf_of(name))?;
            let replaces = before.is_some() || pending.displaces;
            let Pending { list, at, ndx, .. } = *pending;
            self.delayed.push(Delayed { name: Rc::clone(name), list, at, ndx, replaces });
            return Ok(true);
        }
        if (before.is_some() || pending.displaces) && !self.back_up_for_file(name) {
            return Err(not_backed_up());
        }
        let folder = self.folder_to_change(parent_of(name))?;
        match file.place(&folder, leaf_of(name)) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                self.place_copy(name, &folder, &file, &wanted)?;
            }
            Err(error) => {
                let from = self.temporary_path(name, file.name());
                let parts = [b"rename ", &from[..], b" -> \"", name, b"\""];
                self.said_failure(Role::Receiver, &parts.concat(), &error);
                return Ok(false);
            }
            Ok(()) => {}
        }
        Ok(true)
    }

    /// The whole path of a file's temporary, in quotes.
    fn temporary_path(&self, name: &[u8], temporary: &[u8]) -> Vec<u8> {
        match self.destination.as_ref().and_then(|destination| destination.temp_dir.as_ref()) {
            Some(dir) => {
                let path = [dir.path().as_os_str().as_bytes(), b"/", temporary].concat();
                quoted(self.receive.module.as_deref(), &path)
            }
            None => self.quoted_path(&join(parent_of(name), temporary)),
        }
    }

    /// The temporary directory is on another file system: the content moves once more.
    pub(super) fn place_copy(
        &mut self,
        name: &[u8],
        folder: &Folder,
        file: &NewFile,
        wanted: &Attributes,
    ) -> io::Result<()> {
        use std::io::{Read, Seek, SeekFrom, Write};
        let mut copy = folder.start_file(leaf_of(name), PRIVATE)?;
        let (mut from, mut to) = (file.file(), copy.file());
        from.seek(SeekFrom::Start(0))?;
        let mut room = vec![0; 256 * 1024];
        loop {
            match from.read(&mut room)? {
                0 => break,
                count => to.write_all(&room[..count])?,
            }
        }
        let temporary = join(parent_of(name), copy.name());
        self.apply(Role::Receiver, &temporary, wanted, |attributes| {
            copy.set_attributes(attributes)
        });
        copy.place(folder, leaf_of(name))
    }

    /// `is_right`: else its times stay those of the writing, which tells that it is not the source's.
    fn settle_in_place(
        &mut self,
        entry: &Entry,
        pending: &Pending,
        file: &std::fs::File,
        is_right: bool,
    ) -> io::Result<()> {
        let name = self.name_of(entry);
        if self.options.fsync {
            file.sync_all()?;
        }
        let present = match self.look(&name)? {
            Some(present) if present.kind == Kind::File => present,
            _ => return Ok(()),
        };
        let mut wanted = self.likeness.lacking(entry, &present);
        if pending.before.is_none() {
            wanted.mode = Some(self.likeness.mode(entry, None));
        }
        let keeps_time = is_right && self.likeness.keeps_times(Kind::File);
        wanted.mtime = keeps_time.then_some(entry.mtime);
        wanted.atime = wanted.atime.filter(|_| is_right);
        let folder = self.folder(parent_of(&name))?.clone();
        self.apply(Role::Receiver, &name, &wanted, |attributes| {
            folder.set_attributes(leaf_of(&name), Kind::File, attributes)
        });
        self.set_acls(entry, &name);
        self.set_xattrs(entry, &name);
        Ok(())
    }

    /// Sets attributes. `false`: one cannot be set, which was said and makes the transfer partial, and
    /// what comes after it is not set: what does not get its owner does not get his permissions.
    pub(crate) fn apply(
        &mut self,
        role: Role,
        name: &[u8],
        attributes: &Attributes,
        set: impl Fn(&Attributes) -> io::Result<()>,
    ) -> bool {
        if set(attributes).is_ok() {
            return true;
        }
        let Attributes { mode, uid, gid, mtime, atime } = *attributes;
        let nothing = Attributes::default();
        let stores = self.options.metadata.fake_super;
        let owner = if stores { "failed to write xattr user.rsync.%stat for" } else { "chown" };
        for (act, part) in [
            (owner, Attributes { uid, gid, ..nothing }),
            ("failed to set times on", Attributes { mtime, atime, ..nothing }),
            ("failed to set permissions on", Attributes { mode, ..nothing }),
        ] {
            if !part.is_empty()
                && let Err(error) = set(&part)
            {
                self.failed(role, act, name, &error);
                return false;
            }
        }
        true
    }

    /// The session ended while this file was under way.
    pub(crate) fn keep_partial(
        &mut self,
        entry: &Entry,
        pending: &Pending,
        target: Target,
        literal_bytes: u64,
    ) {
        let write = &self.options.write;
        let keeps = (write.partial || write.partial_dir.is_some()) && literal_bytes > 0;
        let (Target::New(mut file), true) = (target, keeps) else { return };
        let name = self.name_of(entry);
        let before = pending.before.as_ref();
        let mut wanted = self.likeness.of_new(entry, Kind::File, before, false);
        let folder = match write.partial_dir.is_some() {
            true => {
                wanted.mtime = None;
                self.make_partial_folder(parent_of(&name))
            }
            false => {
                // So that no quick check takes it for the whole file.
                wanted.mtime = Some(Timestamp::default());
                self.folder_to_change(parent_of(&name))
            }
        };
        let is_hidden = self.options.write.partial_dir.is_some() && self.partial_hides(&name);
        // Best effort: the session has an error of its own to tell.
        if let Ok(folder) = folder
            && !is_hidden
        {
            let _ = file.set_attributes(&wanted);
            let _ = file.place(&folder, leaf_of(&name));
        }
    }

    fn partial_name(&self) -> Option<Vec<u8>> {
        self.options.write.partial_dir.clone()
    }

    /// The directory for partial files of this directory.
    pub(crate) fn partial_folder(&mut self, dir: &[u8]) -> io::Result<Folder> {
        if let Some(root) = self.destination.as_ref().and_then(|d| d.partial_root.as_ref()) {
            return root.folder(None, driftless_fs::Follow::Nothing);
        }
        let name = self.partial_name().ok_or_else(absent)?;
        let name = name.strip_suffix(b"/").unwrap_or(&name).to_vec();
        self.folder(dir)?.open_folder(&name)
    }

    /// Whether the module's rules hide where the partial file of this name would be.
    fn partial_hides(&self, name: &[u8]) -> bool {
        if let Some(root) = self.destination.as_ref().and_then(|d| d.partial_root.as_ref()) {
            return self.hides_below(root, leaf_of(name), false);
        }
        let Some(partial) = &self.options.write.partial_dir else { return false };
        let (dir, leaf) = name.split_at(name.len() - leaf_of(name).len());
        self.hides(&self.full_path(&[dir, partial, b"/", leaf].concat()), false)
    }

    fn make_partial_folder(&mut self, dir: &[u8]) -> io::Result<Folder> {
        match self.partial_folder(dir) {
            Err(error) if is_absent(&error) => {}
            answer => return answer,
        }
        let name = self.partial_name().ok_or_else(absent)?;
        let name = name.strip_suffix(b"/").unwrap_or(&name).to_vec();
        let folder = self.folder_to_change(dir)?;
        folder.create_dir(&name, 0o700)?;
        folder.open_folder(&name)
    }

    /// Where a file waits, as messages name it: below the destination, unless that is elsewhere.
    fn staging_name(&self, name: &[u8]) -> Vec<u8> {
        let dir = self.partial_name().unwrap_or_default();
        let dir = dir.strip_suffix(b"/").unwrap_or(&dir);
        match dir.starts_with(b"/") {
            true => join(dir, leaf_of(name)),
            false => join(&join(parent_of(name), dir), leaf_of(name)),
        }
    }

    fn staging_folder(&mut self, dir: &[u8]) -> io::Result<Folder> {
        self.make_partial_folder(dir)
    }

    /// What an earlier transfer left of this file.
    pub(crate) fn partial_basis(&mut self, name: &[u8]) -> Option<Meta> {
        if self.options.write.partial_dir.is_none() || self.options.write.in_place() {
            return None;
        }
        if self.partial_hides(name) {
            return None;
        }
        let folder = self.partial_folder(parent_of(name)).ok()?;
        let meta = folder.lstat(leaf_of(name)).ok()?;
        (meta.kind == Kind::File && meta.size > 0).then_some(meta)
    }

    /// A partial file that was built on is not needed any more, nor is its directory when that is
    /// empty.
    fn drop_partial(&mut self, name: &[u8], pending: &Pending) {
        if pending.basis != BasisChoice::Partial || self.options.delays() {
            return;
        }
        if let Ok(folder) = self.partial_folder(parent_of(name)) {
            let _ = folder.remove_file(leaf_of(name));
        }
        self.drop_partial_folder(parent_of(name));
    }

    fn drop_partial_folder(&mut self, dir: &[u8]) {
        let absolute = self.destination.as_ref().is_some_and(|d| d.partial_root.is_some());
        let Some(name) = self.partial_name().filter(|_| !absolute) else { return };
        let name = name.strip_suffix(b"/").unwrap_or(&name).to_vec();
        if let Ok(folder) = self.folder_to_change(dir) {
            // Fails while other files are in it.
            let _ = folder.remove_dir(&name);
        }
    }

    /// Puts the files of `--delay-updates` in their places, in the order of the list, and links the
    /// other names of what is there now.
    pub(crate) fn place_delayed(&mut self) -> Result<(), PushError> {
        for Delayed { name, list, at, ndx, replaces } in std::mem::take(&mut self.delayed) {
            let dir = parent_of(&name);
            if replaces && !self.back_up_for_file(&name) {
                continue;
            }
            let result = self.staging_folder(dir).and_then(|staging| {
                let folder = self.folder_to_change(dir)?;
                staging.rename(leaf_of(&name), &folder, leaf_of(&name))
            });
            match result {
                Ok(()) => {
                    self.drop_partial_folder(dir);
                    self.acknowledge(ndx);
                    self.complete_group(list, at);
                }
                Err(error) => {
                    let (place, staging) = (self.quoted_path(&name), self.staging_name(&name));
                    let parts = [b"rename failed for ", &place[..], b" (from ", &staging, b")"];
                    self.said_failure(Role::Receiver, &parts.concat(), &error);
                    self.drop_partial_folder(dir);
                }
            }
        }
        while let Some(waiting) = self.linkable.pop_front() {
            self.link_member(&waiting)?;
        }
        Ok(())
    }
}

fn not_backed_up() -> io::Error {
    io::Error::other("the old version cannot be backed up")
}
