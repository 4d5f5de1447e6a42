//! Regular files: whether they differ, and what of them is requested.
//!
//! The rules come in rsync's order (command-line reference, "Quick check and update decision").

use std::io;
use std::rc::Rc;

use driftless_delta::Layout;
use driftless_fs::xattr::Of;
use driftless_fs::{Attributes, SourceFile};
use driftless_proto::item::{Item, ItemFlags};
use driftless_proto::setup::ChecksumKind;
use driftless_tree::flist::Entry;
use driftless_tree::{Kind, Meta};

use crate::digests;
use crate::driver::Level;
use crate::error::PushError;
use crate::generator::alternates::Taken;
use crate::generator::basis::BasisChoice;
use crate::generator::hardlinks::Membership;
use crate::options::{Append, Itemize};
use crate::receiver::lists::{List, leaf_of, parent_of};
use crate::receiver::{Pending, Session};
use crate::report::Role;

/// Why a file is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// Its turn in the list has come.
    Listed,
    /// The other members of its hard-link group failed.
    Member,
    /// It failed verification: it is asked for again, whatever rules say.
    Redo,
}

/// What is known of the place that an entry gets, before anybody looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// This session made the directory. Only another writer, or a name that this file system takes for
    /// the same one, can be there.
    Empty,
    Unknown,
}

/// Bytes of files whose digests are computed ahead.
const DIGESTS_AHEAD: u64 = 256 * 1024 * 1024;

/// Files whose digests are computed ahead.
const MAX_DIGESTS_AHEAD: usize = 4096;

impl Session<'_> {
    pub(crate) fn examine_file(
        &mut self,
        number: usize,
        list: &Rc<List>,
        at: usize,
        pass: Pass,
    ) -> Result<(), PushError> {
        if pass == Pass::Listed && self.membership(number, list, at) == Membership::Waits {
            return Ok(());
        }
        let directory = list.directory.as_ref();
        let place = match directory.is_some_and(|directory| directory.state.borrow().new) {
            true => Place::Empty,
            false => Place::Unknown,
        };
        self.compare_file(number, list, at, pass, place)
    }

    fn compare_file(
        &mut self,
        number: usize,
        list: &Rc<List>,
        at: usize,
        pass: Pass,
        place: Place,
    ) -> Result<(), PushError> {
        let Some(entry) = list.entries.get(at) else { return Ok(()) };
        let redo = pass == Pass::Redo;
        let name = self.name_of(entry);
        let before = match place {
            Place::Empty => Ok(None),
            Place::Unknown => self.look(&name),
        };
        let before = match before {
            Ok(before) => before,
            Err(error) => {
                self.generator_failed("recv_generator: failed to stat", &name, &error);
                self.give_up_group(number, at);
                return Ok(());
            }
        };
        if !redo && self.leaves_alone(entry, &name, before.as_ref()) {
            self.give_up_group(number, at);
            return Ok(());
        }
        let mut displaces = false;
        let before = match before {
            Some(before) if before.kind == Kind::Dir => {
                if !self.make_way(&name, &before, "new regular file") {
                    self.give_up_group(number, at);
                    return Ok(());
                }
                None
            }
            Some(before) if before.kind != Kind::File => {
                let device = self.options.write.write_devices && before.kind.is_device();
                displaces = !device;
                device.then_some(before)
            }
            before => before,
        };
        let ndx = list.ndx(at);
        let mut basis = BasisChoice::Destination;
        let mut basis_meta = before;
        if !redo && self.options.update.alternates.is_some() {
            match self.take_from_alternate(entry, &name, ndx, before.as_ref(), displaces) {
                // Another writer's, or another name of the list that is the same here.
                Some(found) if found.taken == Taken::Occupied && place == Place::Empty => {
                    return self.compare_file(number, list, at, pass, Place::Unknown);
                }
                Some(found) if found.taken == Taken::Settled && found.stays_there => {
                    // Nothing is here that others could be linked to: each is compared.
                    self.settle_member(number, at, entry);
                    self.acknowledge(ndx);
                    return Ok(());
                }
                Some(found) if found.taken == Taken::Settled => {
                    self.complete_group(number, at);
                    self.note_alternate(entry, &found.meta);
                    self.acknowledge(ndx);
                    return Ok(());
                }
                Some(found) if before.is_none() => {
                    (basis, basis_meta) = (BasisChoice::Alternate(found.dir), Some(found.meta));
                }
                _ => {}
            }
        }
        if let Some(meta) = before.as_ref().filter(|_| !redo)
            && self.is_same(entry, &name, meta, (number, list, at))
        {
            self.keep_file(entry, &name, ndx, meta);
            self.complete_group(number, at);
            self.acknowledge_equal(ndx);
            return Ok(());
        }
        if let Some(meta) = self.partial_basis(&name) {
            (basis, basis_meta) = (BasisChoice::Partial, Some(meta));
        } else if basis_meta.is_none()
            && self.options.update.fuzzy > 0
            && entry.size > 0
            && let Some((choice, meta)) = self.fuzzy_basis(entry, &name)
        {
            (basis, basis_meta) = (choice, Some(meta));
        }
        if self.options.write.append != Append::Off
            && !redo
            && before.as_ref().is_some_and(|before| before.size >= entry.size)
        {
            self.give_up_group(number, at);
            return Ok(());
        }
        let request = Request { number, at, ndx, before, displaces, basis, basis_meta, redo };
        self.request(entry, request)
    }

    /// Whether a rule says that the entry is not to be looked at any further.
    fn leaves_alone(&mut self, entry: &Entry, name: &[u8], before: Option<&Meta>) -> bool {
        let Some((start, end)) = self.rule_against(entry, before) else { return false };
        self.skip(|| [start.as_bytes(), name, end.as_bytes()].concat());
        true
    }

    /// What to say, before and behind its name, of an entry that a rule leaves alone.
    pub(super) fn rule_against(
        &self,
        entry: &Entry,
        before: Option<&Meta>,
    ) -> Option<(&'static str, &'static str)> {
        let update = &self.options.update;
        if update.existing && before.is_none() {
            return Some(("not creating new file \"", "\""));
        }
        if update.ignore_existing && before.is_some() {
            return Some(("", " exists"));
        }
        if update.max_size.is_some_and(|most| entry.size > most) {
            return Some(("", " is over max-size"));
        }
        if update.min_size.is_some_and(|least| entry.size < least) {
            return Some(("", " is under min-size"));
        }
        let newer = before.is_some_and(|before| {
            before.kind == Kind::File && self.likeness.is_newer(before.mtime, entry.mtime)
        });
        (update.update && newer).then_some(("", " is newer"))
    }

    /// Whether content counts as equal; `place` is the entry's: its list's number, and its place
    /// there.
    fn is_same(
        &mut self,
        entry: &Entry,
        name: &[u8],
        present: &Meta,
        place: (usize, &List, usize),
    ) -> bool {
        if present.kind != Kind::File || present.size != entry.size {
            return false;
        }
        let update = &self.options.update;
        if update.checksum {
            if let Some(digest) = self.digest_ahead(place) {
                return digest == entry.checksum;
            }
            let file = self.folder(parent_of(name)).and_then(|f| f.open_file(leaf_of(name)));
            return file.is_ok_and(|file| self.has_digest(&file, entry));
        }
        update.size_only
            || !update.ignore_times && self.likeness.same_time(entry.mtime, present.mtime)
    }

    /// Whether a file has the digest that the list says.
    pub(crate) fn has_digest(&mut self, file: &SourceFile, entry: &Entry) -> bool {
        let kind = self.setup.list_checksum;
        kind != ChecksumKind::None
            && digests::of(file, kind, &mut self.room).is_ok_and(|digest| digest == entry.checksum)
    }

    /// The digest of the file that is at an entry's place, computed together with those of the
    /// entries behind it in its directory. `None` where that is not possible.
    fn digest_ahead(&mut self, (number, list, at): (usize, &List, usize)) -> Option<Box<[u8]>> {
        let kind = self.setup.list_checksum;
        let is_renamed = self.destination.as_ref().is_some_and(|d| d.rename.is_some());
        if kind == ChecksumKind::None || is_renamed {
            return None;
        }
        if !self.digests.covers(number, at) {
            let dir = parent_of(&list.entries.get(at)?.name);
            let folder = self.folder(dir).ok()?.clone();
            let mut len: u64 = 0;
            let is_near = |entry: &&Entry| {
                len = len.saturating_add(entry.size);
                parent_of(&entry.name) == dir && (len <= DIGESTS_AHEAD || len == entry.size)
            };
            let entries = list.entries[at..].iter();
            let files: Vec<&Entry> = entries.take(MAX_DIGESTS_AHEAD).take_while(is_near).collect();
            let digests = digests::of_all(&files, len, kind, |entry| {
                if entry.kind() != Some(Kind::File) {
                    return Err(io::ErrorKind::InvalidInput.into());
                }
                let file = folder.open_file(leaf_of(&entry.name))?;
                match file.opened().size == entry.size {
                    true => Ok(file),
                    false => Err(io::ErrorKind::InvalidData.into()),
                }
            });
            self.digests = Ahead { list: number, first: at, digests };
        }
        self.digests.digests.get_mut(at - self.digests.first)?.take()
    }

    /// A file whose content stays gets the attributes it lacks.
    fn keep_file(&mut self, entry: &Entry, name: &[u8], ndx: u32, present: &Meta) {
        let flags = self.differences_of_kept(entry, name, present);
        self.tell(entry, ndx, flags, None);
        let moves = self.options.update.checksum && self.moves_time(entry, present);
        self.report_equal(entry, if moves { flags | ItemFlags::REPORT_TIME } else { flags });
        if self.options.update.checksum {
            // Its time is known to belong to the same content, so it counts to the nanosecond.
            self.correct_time(entry, name, present);
        }
        self.correct(entry, name, present);
    }

    /// Whether the time of an object is to be set that differs, if only by nanoseconds.
    fn moves_time(&self, entry: &Entry, present: &Meta) -> bool {
        self.likeness.keeps_times(present.kind) && present.mtime != entry.mtime
    }

    /// Sets the time of an object that is as the entry says, to the nanosecond.
    pub(crate) fn correct_time(&mut self, entry: &Entry, name: &[u8], present: &Meta) {
        if self.is_dry() || !self.moves_time(entry, present) {
            return;
        }
        let time = Attributes { mtime: Some(entry.mtime), ..Attributes::default() };
        // What cannot be set is told of by the attributes that follow.
        let _ = match self.place_of(name) {
            Some((folder, Some(leaf))) => folder.set_attributes(&leaf, present.kind, &time),
            Some((folder, None)) => folder.set_own_attributes(&time),
            None => Ok(()),
        };
    }

    /// Sets what an existing object lacks.
    pub(crate) fn correct(&mut self, entry: &Entry, name: &[u8], present: &Meta) {
        let lacking = self.likeness.to_set(entry, present);
        if lacking.is_empty() || self.is_dry() {
            return self.set_acls(entry, name);
        }
        match self.folder(parent_of(name)).cloned() {
            Ok(folder) => {
                self.apply(Role::Generator, name, &lacking, |attributes| {
                    folder.set_attributes(leaf_of(name), present.kind, attributes)
                });
            }
            Err(error) => self.generator_failed("failed to set times on", name, &error),
        }
        self.set_acls(entry, name);
    }

    /// Whether what is as it should be is named in words.
    pub(super) fn names_equal(&self) -> bool {
        let talk = &self.options.talk;
        talk.info.name >= 2 && talk.itemize == Itemize::Off
    }

    /// Says that the content of an entry stays; `flags` tell what else differs.
    pub(crate) fn report_equal(&mut self, entry: &Entry, flags: u16) {
        if !self.names_equal() {
            return;
        }
        let differs = flags & !ItemFlags::LOCAL_CHANGE != 0;
        match (self.receive.server, differs) {
            (_, true) => self.say(Level::Info, &entry.name),
            (true, false) => self.say(Level::Info, [&entry.name[..], b" is uptodate"].concat()),
            (false, false) => self.report.up_to_date(entry),
        }
    }

    /// Whether the ACL of the file in an alternate directory is another one, as items tell it.
    fn differs_in_acl(&mut self, entry: &Entry, dir: u8, name: &[u8], like: &Meta) -> u16 {
        match self.alternate_folder(usize::from(dir), parent_of(name)) {
            Ok(folder) => {
                let flags = self.extras_in(entry, &folder, Of::Entry(leaf_of(name)), like);
                flags & ItemFlags::REPORT_ACL
            }
            Err(_) => 0,
        }
    }

    /// Asks for the content.
    fn request(&mut self, entry: &Entry, request: Request) -> Result<(), PushError> {
        let Request { number, at, ndx, before, displaces, mut basis, basis_meta, redo } = request;
        let mut flags = ItemFlags::TRANSFER;
        let compared = match basis {
            BasisChoice::Alternate(_) => basis_meta.as_ref(),
            _ => before.as_ref(),
        };
        match compared {
            None => flags |= ItemFlags::IS_NEW | self.extras_of_new(entry),
            Some(before) => {
                let before = *before;
                flags |= self.likeness.differences(entry, &before);
                let name = self.name_of(entry);
                let extras = self.extra_differences(entry, &name, &before);
                flags |= match basis {
                    BasisChoice::Alternate(dir) => {
                        let acl = self.differs_in_acl(entry, dir, &name, &before);
                        extras & !ItemFlags::REPORT_ACL | acl
                    }
                    _ => extras,
                };
                if !self.likeness.keeps_times(Kind::File) {
                    // Its time becomes that of the transfer.
                    flags |= ItemFlags::REPORT_TIME;
                }
                if self.options.update.checksum && !redo {
                    flags |= ItemFlags::REPORT_CHANGE;
                }
            }
        }
        let whole = self.sends_whole();
        let appends = self.options.write.append != Append::Off && !redo;
        // Beyond the end of another basis there is only a part of what is missing.
        let is_own = matches!(basis, BasisChoice::Destination | BasisChoice::Partial);
        let mut layout = Layout::EMPTY;
        let mut file = None;
        if self.requests_content()
            && let Some(meta) = &basis_meta
            && (!whole && !self.receive.recorded || appends)
            && (is_own || !appends)
            && meta.size > 0
        {
            match self.open_basis(entry, &basis) {
                Ok(opened) => {
                    layout = self.layout_of(opened.opened().size, redo);
                    file = Some(Rc::new(opened)).filter(|_| !appends);
                }
                Err(_) => basis = BasisChoice::Destination,
            }
        }
        if basis_meta.is_none() || layout.count() == 0 {
            basis = BasisChoice::Destination;
        }
        // What failed verification is not the old version any more.
        if before.is_some() && !redo && !self.is_dry() && self.backs_up_copies() {
            let name = self.name_of(entry);
            if let Err(error) = self.copy_to_backup(&name) {
                self.generator_failed("backup copy", &name, &error);
                self.give_up_group(number, at);
                return Ok(());
            }
            self.tell_backup(&name);
            if layout.count() > 0 && !appends {
                basis = BasisChoice::Backup;
            }
        }
        // Otherwise it gives way when the file has come.
        if displaces && self.is_dry() {
            self.back_up_for_file(&self.name_of(entry));
        }
        let mut item = Item::new(flags);
        item.basis = basis.wire();
        item.xname = basis.xname().map(Into::into);
        self.put_item(ndx, &item, entry);
        if !self.requests_content() {
            self.complete_group(number, at);
            return Ok(());
        }
        self.note_request(entry);
        if !self.is_dry() && self.options.update.fuzzy > 0 {
            let name = self.name_of(entry);
            self.strike_candidate(&name);
        }
        let sum_bytes = match appends {
            true => self.put_head_only(layout),
            false => self.put_sums(layout, file.clone()),
        };
        if !self.wants_content() {
            self.complete_group(number, at);
            return Ok(());
        }
        self.pending.push(Pending {
            ndx,
            list: number,
            at,
            before,
            displaces,
            basis,
            basis_file: file.filter(|_| layout.count() > 0),
            layout,
            sum_bytes,
            redo,
        });
        if let Some(held) = self.lists.by_number_mut(number) {
            held.unfinished += 1;
        }
        Ok(())
    }

    /// Files written in place are copied first, and the copy is built on.
    fn backs_up_copies(&self) -> bool {
        self.options.write.in_place() && self.options.write.backup.is_some()
    }

    /// Whether no deltas are made.
    pub(crate) fn sends_whole(&self) -> bool {
        if self.options.write.append != Append::Off {
            return false;
        }
        let choice = self.options.whole_file.unwrap_or(self.receive.local);
        choice || self.setup.checksum == ChecksumKind::None
    }
}

/// Digests of files that are looked at next.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// The number of their list, and the place of the first one there.
    list: usize,
    first: usize,
    digests: Vec<Option<Box<[u8]>>>,
}

impl Ahead {
    fn covers(&self, list: usize, at: usize) -> bool {
        let end = self.first + self.digests.len();
        self.list == list && (self.first..end).contains(&at)
    }
}

/// A request about to be made.
struct Request {
    number: usize,
    at: usize,
    ndx: u32,
    before: Option<Meta>,
    displaces: bool,
    basis: BasisChoice,
    basis_meta: Option<Meta>,
    redo: bool,
}
