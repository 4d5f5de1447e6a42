//! What arrives, one thing after the other: lists, marks, items, figures.

use std::os::unix::ffi::OsStrExt;
use std::rc::Rc;

use driftless_fs::charset::Charset;
use driftless_proto::flist::{IdList, ListItem};
use driftless_proto::int::take_int;
use driftless_proto::item::{Item, XattrNumbers};
use driftless_proto::ndx::NdxValue;
use driftless_proto::stats::{DelStats, Stats};
use driftless_proto::{Decode, Violation};
use driftless_tree::Kind;
use driftless_tree::flist::{Cached, Entry, XattrValue};
use driftless_tree::path::printable;

use crate::driver::Level;
use crate::error::PushError;
use crate::generator::nodes::MUNGED;
use crate::module::{max_xattr_value_len, sanitized_link};
use crate::receiver::answers::Answer;
use crate::receiver::lists::{BadList, Directory, Kept, infer_content};
use crate::receiver::session::{Session, Step};
use crate::report::ListProgress;
use crate::sender::partial::apply_chmod;

/// What is expected next.
pub(crate) enum Reading {
    /// Entries of a list, or its end.
    List { directory: Option<Rc<Directory>>, entries: Vec<Entry> },
    /// Names of users behind a list that has everything.
    UserNames,
    /// Names of groups, likewise.
    GroupNames,
    /// Protocol 29's error state.
    OldIoError,
    /// A number: an item, a mark or the head of a list.
    Number,
    /// Attributes of the item with this number.
    Attributes(u32),
    /// Values of extended attributes that an item brings.
    Values(Box<(u32, Item, XattrNumbers)>),
    /// Content of a requested file.
    Answer(Box<Answer>),
    /// The sender's figures.
    Stats,
    /// Numbers of deletions, sent back.
    DelStats,
}

impl Session<'_> {
    /// Handles the next thing that has arrived, messages first: they overtake.
    pub(crate) fn step(&mut self) -> Result<Step, PushError> {
        self.handle_messages()?;
        match std::mem::replace(&mut self.reading, Reading::Number) {
            Reading::List { directory, entries } => self.read_list(directory, entries),
            Reading::UserNames => self.read_names(true),
            Reading::GroupNames => self.read_names(false),
            Reading::OldIoError => {
                let read = self.wire.try_take(take_int)?;
                self.after(Reading::OldIoError, read, |session, bits| {
                    session.add_io_error(bits as u32);
                    session.reading = Reading::Number;
                    Ok(())
                })
            }
            Reading::Number => self.read_number(),
            Reading::Attributes(ndx) => {
                let read = self.wire.try_take(Item::take)?;
                self.after(Reading::Attributes(ndx), read, |session, item| {
                    if session.has_xattr_list(&item) {
                        session.catch_up_to_values(ndx)?;
                        let values = (ndx, item, XattrNumbers::new());
                        session.reading = Reading::Values(Box::new(values));
                        return Ok(());
                    }
                    session.item(ndx, item)
                })
            }
            Reading::Values(values) => self.read_values(values),
            Reading::Answer(answer) => self.read_answer(answer),
            Reading::Stats => {
                let protocol = self.setup.protocol;
                let read = self.wire.try_take(|input| Stats::take(input, protocol))?;
                self.after(Reading::Stats, read, |session, stats| {
                    session.take_stats(&stats);
                    Ok(())
                })
            }
            Reading::DelStats => {
                let read = self.wire.try_take(DelStats::take)?;
                self.after(Reading::DelStats, read, |_, _| Ok(()))
            }
        }
    }

    /// Goes on with what was read, or waits for it again.
    fn after<T>(
        &mut self,
        same: Reading,
        read: Option<T>,
        then: impl FnOnce(&mut Self, T) -> Result<(), PushError>,
    ) -> Result<Step, PushError> {
        match read {
            Some(value) => then(self, value).map(|()| Step::Handled),
            None => {
                self.reading = same;
                Ok(Step::Starved)
            }
        }
    }

    fn read_values(
        &mut self,
        mut state: Box<(u32, Item, XattrNumbers)>,
    ) -> Result<Step, PushError> {
        let (ndx, _, numbers) = &mut *state;
        let ndx = *ndx;
        let longest = max_xattr_value_len(self.receive.module.as_deref());
        let read = self.wire.try_take(|input| {
            let value = numbers.take_value(input, longest)?;
            Ok(value.map(|(number, bytes)| (number, bytes.to_vec())))
        })?;
        match read {
            None => {
                self.reading = Reading::Values(state);
                Ok(Step::Starved)
            }
            Some(Some((number, bytes))) => {
                if !self.take_value(ndx, number, &bytes) {
                    let what = format!("extended attribute {number} was not asked for");
                    return Err(self.wire.broken(what, 2));
                }
                self.reading = Reading::Values(state);
                Ok(Step::Handled)
            }
            Some(None) => {
                let (ndx, item, _) = *state;
                self.item(ndx, item)?;
                Ok(Step::Handled)
            }
        }
    }

    fn take_value(&mut self, ndx: u32, number: u32, bytes: &[u8]) -> bool {
        let Some((at, place)) = self.lists.find(ndx) else { return false };
        let Some(list) = self.lists.by_number(at).map(|held| Rc::clone(&held.list)) else {
            return false;
        };
        let entry = match place {
            Some(at) => list.entries.get(at),
            None => list.directory.as_ref().map(|directory| &directory.entry),
        };
        let arrived = entry.is_some_and(|entry| self.extras.arrived(entry, number, bytes));
        // A record has values that another tree lacked.
        arrived || self.receive.recorded
    }

    fn read_number(&mut self) -> Result<Step, PushError> {
        let Some(value) = self.wire.try_ndx()? else { return Ok(Step::Starved) };
        match value {
            NdxValue::Done => self.mark()?,
            NdxValue::Item(ndx) => self.reading = Reading::Attributes(ndx),
            NdxValue::FlistEof if self.lists_incremental() && !self.lists.complete => {
                self.lists.complete = true;
            }
            NdxValue::SubList(index) if self.lists_incremental() => {
                let directory = self.lists.announced(index);
                let directory = directory.map_err(|bad| self.bad_list(&bad))?;
                self.reading = Reading::List { directory: Some(directory), entries: Vec::new() };
            }
            NdxValue::DelStats => self.reading = Reading::DelStats,
            value @ (NdxValue::FlistEof | NdxValue::SubList(_)) => {
                return Err(self.wire.broken(format!("{value:?} is not expected"), 2));
            }
        }
        Ok(Step::Handled)
    }

    fn bad_list(&self, bad: &BadList) -> PushError {
        self.wire.broken(bad.to_string(), bad.exit_code())
    }

    fn read_list(
        &mut self,
        directory: Option<Rc<Directory>>,
        mut entries: Vec<Entry>,
    ) -> Result<Step, PushError> {
        let start = self.wire.position();
        let mut input = self.wire.input();
        let before = input.len();
        let mut unconverted = Vec::new();
        let end = loop {
            match self.list_reader.next(&mut input) {
                Ok(ListItem::Entry(mut entry)) => {
                    let first = self.list_reader.first_ndx();
                    let own = first.saturating_add(entries.len() as u32);
                    self.check_limits(&entry, entries.len())?;
                    if !self.hard_links.settle(&mut entry, own, first) {
                        let text = format!("a hard link of number {own} to no group");
                        return Err(self.wire.broken(text, 2));
                    }
                    if let Some(charset) = &mut self.charset {
                        let links = self.setup.compat.symlink_iconv();
                        if let Err(what) = convert(charset, &mut entry, links) {
                            unconverted.push(what);
                        }
                    }
                    if self.ids_are_numbers() {
                        drop_names(&mut entry);
                    }
                    self.likeness.receive(&mut entry);
                    self.extras.receive(&mut entry, &mut self.likeness);
                    // Within this machine nothing is munged (seen).
                    let munges = self.options.link.munge && !self.receive.local;
                    if munges && entry.kind() == Some(Kind::Symlink) {
                        entry.link_target = [MUNGED, &entry.link_target].concat().into();
                    }
                    if let Some(module) = &self.receive.module {
                        if module.sanitizes_links && entry.kind() == Some(Kind::Symlink) {
                            let clean = sanitized_link(&entry.link_target, &entry.name);
                            entry.link_target = clean.into();
                        }
                        if entry.kind() != Some(Kind::Symlink) {
                            apply_chmod(&mut entry, module.chmod.as_ref());
                        }
                    }
                    entries.push(entry);
                    if entries.len().is_multiple_of(100) && self.lists.entry_count == 0 {
                        self.report.listing(ListProgress::Counted(entries.len() as u64));
                    }
                }
                Ok(ListItem::End { io_error }) => break Some(io_error),
                Err(Decode::Incomplete) => break None,
                Err(Decode::Invalid(violation)) => return Err(self.wire.violated(&violation)),
            }
        };
        let used = before - input.len();
        self.wire.used(used);
        self.ending.statistics.list_bytes += self.wire.position() - start;
        for what in unconverted {
            self.complain_of_charset(what)?;
        }
        match end {
            Some(io_error) => {
                self.add_list_error(io_error);
                self.complete_list(directory, entries)?;
                Ok(Step::Handled)
            }
            None => {
                self.reading = Reading::List { directory, entries };
                Ok(Step::Starved)
            }
        }
    }

    /// Whether the module takes an entry behind so many others of its list.
    fn check_limits(&self, entry: &Entry, before: usize) -> Result<(), PushError> {
        let Some(module) = self.receive.module.as_deref() else { return Ok(()) };
        let count = self.lists.entry_count + before as u64;
        if let Some(most) = module.max_files.filter(|most| count >= *most) {
            let text =
                format!("the file list has more than {most} entries, which is too many here");
            return Err(PushError::Fatal { text, exit: 4 });
        }
        let limit = max_xattr_value_len(Some(module));
        let Some(Cached::Literal(attributes)) = entry.xattrs.as_deref() else { return Ok(()) };
        let long = attributes.iter().find_map(|(_, value)| match value {
            XattrValue::Digest { len, .. } if *len as usize > limit => Some(i64::from(*len)),
            _ => None,
        });
        let violation = |value| Violation::Xattr { what: "length of a value", value };
        long.map_or(Ok(()), |value| Err(self.wire.violated(&violation(value))))
    }

    fn complete_list(
        &mut self,
        directory: Option<Rc<Directory>>,
        mut entries: Vec<Entry>,
    ) -> Result<(), PushError> {
        if self.setup.protocol < 30 {
            infer_content(&mut entries, self.options.selection.recursive);
        }
        let number = self.lists.end();
        // The original tells of it once it has a generator.
        let tells = self.options.talk.debug.filter > 0 && !self.is_early(number);
        let mut texts = Vec::new();
        for entry in &mut entries {
            texts.extend(self.receive.requested.why(entry).filter(|_| tells));
            self.receive.requested.check(entry)?;
            match entry.mode {
                // What is to be deleted; a sender counts it otherwise (seen).
                0 if self.receive.local => self.counts.listed.files += 1,
                0 => self.counts.listed.specials += 1,
                mode => self.counts.listed.count(mode),
            }
            let sized = !matches!(entry.kind(), None | Some(Kind::Dir));
            self.ending.statistics.total_size += if sized { entry.size } else { 0 };
        }
        texts.into_iter().for_each(|text| self.say(Level::Info, text));
        let chain = match self.options.selection.prune_empty_dirs {
            true => Some(self.unread_rules()?),
            false => None,
        };
        // A rule that protects a directory keeps it from being pruned, too.
        let kept = |name: &[u8]| {
            chain
                .as_ref()
                .and_then(Option::as_ref)
                .is_some_and(|chain| chain.check(name, true).is_excluded())
        };
        let kept: Kept<'_> = &kept;
        let duplicates = self
            .lists
            .add(entries, directory, chain.is_some().then_some(kept))
            .map_err(|bad| self.bad_list(&bad))?;
        self.tell_duplicates(number, &duplicates);
        self.note_hard_links(number)?;
        if self.lists_incremental() {
            return Ok(());
        }
        self.lists.complete = true;
        self.reading = self.names_after(Reading::Number);
        Ok(())
    }

    /// Whether the original reads a list before it has two processes. It waits for the second one
    /// where the first one does not tell whether there are several names.
    fn is_early(&self, number: usize) -> bool {
        number == 0 || number == 1 && self.lists.began_with_one()
    }

    /// Names the entries of a list whose names were listed before.
    fn tell_duplicates(&mut self, number: usize, places: &[u32]) {
        if self.options.talk.debug.dup == 0 || places.is_empty() {
            return;
        }
        let Some(held) = self.lists.by_number(number) else { return };
        let list = Rc::clone(&held.list);
        let texts = places.iter().filter_map(|&at| {
            let name = &list.entries.get(at as usize)?.name;
            let end = format!(" from file list ({})", list.ndx(at as usize));
            Some([b"removing duplicate name ", &**name, end.as_bytes()].concat())
        });
        let mut texts: Vec<Vec<u8>> = texts.collect();
        // Each of the original's two processes says it.
        if !self.is_early(number) {
            texts.extend_from_within(..);
        }
        match self.destination {
            // What tells of the progress of the list ends its line first.
            None => self.held_back.extend(texts),
            Some(_) => texts.into_iter().for_each(|text| self.say(Level::Info, text)),
        }
    }

    /// What stands behind a list that has everything, after `last`.
    fn names_after(&self, last: Reading) -> Reading {
        let options = &self.list_options;
        let named = !options.numeric_ids;
        match last {
            Reading::Number if named && (options.owner || options.acls) => Reading::UserNames,
            Reading::Number | Reading::UserNames if named && (options.group || options.acls) => {
                Reading::GroupNames
            }
            Reading::Number | Reading::UserNames | Reading::GroupNames if options.protocol < 30 => {
                Reading::OldIoError
            }
            _ => Reading::Number,
        }
    }

    fn read_names(&mut self, users: bool) -> Result<Step, PushError> {
        let options = &self.list_options;
        let read = self.wire.try_take(|input| IdList::take(input, options))?;
        let same = if users { Reading::UserNames } else { Reading::GroupNames };
        self.after(same, read, |session, mut list| {
            if session.ids_are_numbers() {
                list = IdList::default();
            }
            let likeness = &mut session.likeness;
            let map = if users { &mut likeness.users } else { &mut likeness.groups };
            for (id, name) in &list.names {
                map.learn(*id, Some(name), &likeness.owners);
            }
            if let Some(name) = &list.zero {
                map.learn(0, Some(name), &likeness.owners);
            }
            let passed = if users { Reading::UserNames } else { Reading::GroupNames };
            session.reading = session.names_after(passed);
            Ok(())
        })
    }

    /// The module says so.
    fn ids_are_numbers(&self) -> bool {
        self.receive.module.as_ref().is_some_and(|module| module.numeric_ids)
    }

    fn take_stats(&mut self, stats: &Stats) {
        self.stats_seen = true;
        let bytes = |count: i64| u64::try_from(count).unwrap_or(0);
        self.told_traffic = Some((bytes(stats.read_bytes), bytes(stats.written_bytes)));
        let millis = |ms: i64| std::time::Duration::from_millis(u64::try_from(ms).unwrap_or(0));
        let statistics = &mut self.ending.statistics;
        statistics.total_size = bytes(stats.total_size);
        statistics.list_build = millis(stats.list_build_ms);
        statistics.list_transfer = millis(stats.list_transfer_ms);
    }

    pub(crate) fn add_io_error(&mut self, bits: u32) {
        self.ending.io_error |= bits & 7;
    }

    /// The end of a list tells of errors at the source: the lists before it were complete.
    fn add_list_error(&mut self, bits: u32) {
        // With hard links the original looks ahead before it does anything.
        let goes_ahead = self.lists_incremental() && !self.options.hard_links;
        if bits & 1 != 0 && self.ending.io_error & 1 == 0 && goes_ahead {
            self.unsound_from = self.lists.next_first();
        }
        self.add_io_error(bits);
    }
}

/// Leaves the numbers of owners alone.
fn drop_names(entry: &mut Entry) {
    (entry.user, entry.group) = (None, None);
    let Some(acls) = &mut entry.acl else { return };
    for acl in [Some(&mut acls.access), acls.default.as_mut()].into_iter().flatten() {
        if let Cached::Literal(acl) = acl {
            acl.named.iter_mut().flatten().for_each(|named| named.name = None);
        }
    }
}

/// What of an entry has no form in the character set of this machine.
enum Unconverted {
    /// Its name, and with it the whole list.
    Name(Vec<u8>),
    /// What a symbolic link of that name points to: it is left out.
    LinkTarget(Vec<u8>),
}

/// Brings an entry's names into the character set of this machine.
fn convert(charset: &mut Charset, entry: &mut Entry, links: bool) -> Result<(), Unconverted> {
    match charset.convert(&entry.name) {
        Ok(name) => entry.name = name.into(),
        Err(_) => return Err(Unconverted::Name(entry.name.to_vec())),
    }
    if links && entry.kind() == Some(Kind::Symlink) {
        match charset.convert(&entry.link_target) {
            Ok(target) => entry.link_target = target.into(),
            Err(_) => {
                entry.link_target = Box::default();
                return Err(Unconverted::LinkTarget(entry.name.to_vec()));
            }
        }
    }
    Ok(())
}

impl Session<'_> {
    fn complain_of_charset(&mut self, what: Unconverted) -> Result<(), PushError> {
        const WHY: &str = "(Invalid or incomplete multibyte or wide character)";
        match what {
            Unconverted::Name(name) => {
                let name = printable(&name);
                let text = format!("[Receiver] cannot convert filename: {name} {WHY}");
                Err(PushError::Fatal { text, exit: 4 })
            }
            Unconverted::LinkTarget(name) => {
                let here = std::env::current_dir().unwrap_or_default();
                let full = here.join(std::ffi::OsStr::from_bytes(&name));
                let full = printable(full.as_os_str().as_bytes());
                let text = format!("[Receiver] cannot convert symlink data for: \"{full}\" {WHY}");
                self.say(Level::ErrorXfer, text);
                self.add_io_error(1);
                Ok(())
            }
        }
    }
}
