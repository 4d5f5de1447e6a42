//! Makes the lists of a session from its arguments. Protocol reference, "Incremental recursion" and
//! "Names from arguments".
//!
//! Memory holds the lists still open, the directories not yet listed, what arguments and their
//! parents add to directories that are listed later, and a number for each inode of several names.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::time::Instant;

use driftless_fs::Names;
use driftless_fs::charset::Charset;
use driftless_proto::flist::{ListOptions, ListWriter};
use driftless_proto::mux::Tag;
use driftless_proto::ndx::NdxValue;
use driftless_tree::Kind;
use driftless_tree::flist::{Entry, HardLink, compare};
use driftless_tree::path::MAX_PATH_LEN;

use crate::driver::Level;
use crate::error::PushError;
use crate::module;
use crate::report::{Direction, ListProgress};
use crate::sender::ids::Ids;
use crate::sender::lists::{EXCHANGE_INTERVAL, FileList};
use crate::sender::scan::state::{Found, Shared, State};
use crate::sender::session::{Session, Step};

/// An entry and the number of its origin.
pub(super) type Seed = (Entry, u32);

pub(crate) struct Walk<'a> {
    pub(super) shared: Shared<'a>,
    writer: ListWriter,
    pub(super) options: ListOptions,
    /// Names travel in UTF-8. The numbers of entries then follow the order in which they are sent.
    charset: Option<Charset>,
    /// The working directory, where relative arguments begin.
    pub(super) here: Vec<u8>,
    /// The directory that listed names lie in, which reports leave out.
    pub(super) entered: Vec<u8>,
    ids: Ids,
    /// Number of the first entry of each hard-link group. An inode's number may be used again
    /// during the walk, by a file of another kind.
    groups: HashMap<(u64, u64, Option<Kind>), u32>,
    /// Directories not yet listed, the next one last.
    pending: Vec<Pending>,
    /// What arguments add to directories that have lists of their own.
    pub(super) extras: HashMap<Box<[u8]>, Vec<Seed>>,
    /// Parents of arguments that are listed.
    pub(super) implied: HashSet<Vec<u8>>,
    /// The last ones: with incremental lists their root and the first of them, else the deepest.
    pub(super) last_implied: (Vec<u8>, Vec<u8>),
    dir_count: u32,
    /// The error state that the peer knows.
    told_io_error: u32,
    /// Of the directory that is listed.
    names: Names,
}

struct Pending {
    index: u32,
    entry: Entry,
    /// Where its content is.
    sources: Vec<u32>,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(
        shared: Shared<'a>,
        options: ListOptions,
        here: Vec<u8>,
        charset: Option<Charset>,
    ) -> Self {
        let owners = module::owners(shared.borrow().module);
        let is_numeric = shared.borrow().module.is_some_and(|module| module.numeric_ids);
        Self {
            shared,
            charset,
            writer: ListWriter::new(options.clone()),
            options,
            here,
            entered: Vec::new(),
            ids: Ids::new(owners, is_numeric),
            groups: HashMap::new(),
            pending: Vec::new(),
            extras: HashMap::new(),
            implied: HashSet::new(),
            last_implied: Default::default(),
            dir_count: 0,
            told_io_error: 0,
            names: Names::default(),
        }
    }

    /// Runs the session from the first list on. `names` are those of `--files-from`, relative to
    /// the only one of the `sources`.
    pub(crate) fn run(
        &mut self,
        sources: &[Vec<u8>],
        names: Option<&[Vec<u8>]>,
        session: &mut Session<'_>,
    ) -> Result<(), PushError> {
        let incremental = self.options.compat.inc_recurse();
        let started = ListProgress::Started { incremental, direction: Direction::Sent };
        let digests = session.setup.readable_list_digests(self.shared.borrow().options);
        if let Some(kind) = digests {
            self.shared.borrow_mut().report.list_digests(kind);
        }
        self.shared.borrow_mut().report.listing(started);
        let began = Instant::now();
        let mut list = self.arguments(sources, names, session)?;
        if !incremental {
            self.fill(&mut list, session)?;
        }
        self.shared.borrow_mut().statistics.list_build += began.elapsed();
        let root = list.iter().find(|(entry, _)| &*entry.name == b".").cloned();
        self.send_list(list, root, session)?;
        let count = session.outcome.listed_count;
        self.shared.borrow_mut().report.listing(ListProgress::Complete(count));
        if !incremental {
            session.lists_complete = true;
        }
        self.complete_if_done(session);
        if session.terms.is_server && count == 0 {
            // The client has nothing to ask and leaves, too.
            return session.flush();
        }
        loop {
            // A duty, not a habit: the peer may serve nothing before it knows so many entries.
            while !session.lists_complete && session.lists.are_too_few() {
                self.send_next(session)?;
                session.relieve()?;
            }
            match session.step()? {
                Step::Handled => session.relieve()?,
                Step::Finished => return Ok(()),
                Step::Starved if session.lists_complete || session.lists.are_enough() => {
                    session.wait()?;
                }
                Step::Starved => {
                    session.exchange()?;
                    let enough = session.lists.ahead() + EXCHANGE_INTERVAL;
                    while !session.lists_complete && session.lists.ahead() < enough {
                        self.send_next(session)?;
                        session.relieve()?;
                    }
                }
            }
        }
    }

    /// Adds what is in a directory, as far as it is not hidden.
    pub(super) fn children(
        &mut self,
        number: u32,
        name: &[u8],
        state: &mut State<'_>,
        list: &mut Vec<Seed>,
    ) -> Result<(), PushError> {
        let origin = &state.origins[number as usize];
        let rules = origin.rules;
        let mut names = std::mem::take(&mut self.names);
        let dir = match state.disk.open_dir(origin, name) {
            Ok(dir) => dir,
            Err(error) => {
                let path = state.origins[number as usize].full_path(name);
                state.unlisted("opendir", &path, &error);
                return Ok(());
            }
        };
        if let Err(error) = names.read(&dir) {
            let path = state.origins[number as usize].full_path(name);
            state.io_error |= 1;
            state.fail("readdir", &path, &error);
            return Ok(());
        }
        let chain = state.filters.enter(rules, name).map_err(PushError::Rules)?;
        let recursive = state.options.selection.recursive;
        let mut path = Vec::new();
        let first = list.len();
        list.reserve(names.len());
        for (leaf, kind) in names.iter() {
            path.clear();
            if name != b"." {
                path.extend_from_slice(name);
                path.push(b'/');
            }
            path.extend_from_slice(leaf);
            if path.len() > MAX_PATH_LEN {
                state.io_error |= 1;
                state.say(Level::ErrorXfer, [b"path is too long: ", &path[..]].concat());
                continue;
            }
            let looked = state.look(&dir, leaf, kind, &path, number, chain.as_ref());
            if let Found::Listed(mut entry) = looked {
                entry.dir.no_content |= entry.kind() == Some(Kind::Dir) && !recursive;
                list.push((entry, number));
            }
        }
        state.add_digests(&dir, list[first..].iter_mut().map(|(entry, _)| entry));
        self.names = names;
        Ok(())
    }

    /// Adds everything below the directories of the only list.
    fn fill(&mut self, list: &mut Vec<Seed>, session: &mut Session<'_>) -> Result<(), PushError> {
        let shared = self.shared.clone();
        if !shared.borrow().options.selection.recursive {
            return Ok(());
        }
        let has_content = |entry: &Entry| entry.kind() == Some(Kind::Dir) && !entry.dir.no_content;
        let mut waiting: Vec<usize> =
            (0..list.len()).rev().filter(|&at| has_content(&list[at].0)).collect();
        let mut reported = 0;
        while let Some(at) = waiting.pop() {
            let (name, number) = (list[at].0.name.clone(), list[at].1);
            let from = list.len();
            self.children(number, &name, &mut shared.borrow_mut(), list)?;
            waiting.extend((from..list.len()).rev().filter(|&at| has_content(&list[at].0)));
            // A hundred is told of when more comes, as by the original.
            let hundreds = list.len().saturating_sub(1) / 100;
            if hundreds > reported {
                let state = &mut *shared.borrow_mut();
                if state.options.talk.info.flist > 1 {
                    for hundred in reported + 1..=hundreds {
                        state.report.listing(ListProgress::Counted(hundred as u64 * 100));
                    }
                }
                reported = hundreds;
            }
            // Looks for a wish to stop and shows the peer that we live.
            session.relieve()?;
        }
        Ok(())
    }

    fn send_next(&mut self, session: &mut Session<'_>) -> Result<(), PushError> {
        if let Some(Pending { index, entry, sources }) = self.pending.pop() {
            let began = Instant::now();
            let mut list = self.extras.remove(&entry.name).unwrap_or_default();
            let shared = self.shared.clone();
            for &number in &sources {
                self.children(number, &entry.name, &mut shared.borrow_mut(), &mut list)?;
            }
            shared.borrow_mut().statistics.list_build += began.elapsed();
            let writer = &mut session.ndx_writer;
            session.link.output.append(|out| writer.put(out, NdxValue::SubList(index)));
            let number = sources.first().copied().unwrap_or_default();
            self.send_list(list, Some((entry, number)), session)?;
        }
        self.complete_if_done(session);
        Ok(())
    }

    fn complete_if_done(&mut self, session: &mut Session<'_>) {
        let incremental = self.options.compat.inc_recurse();
        if incremental && self.pending.is_empty() && !session.lists_complete {
            let writer = &mut session.ndx_writer;
            session.link.output.append(|out| writer.put(out, NdxValue::FlistEof));
            session.lists_complete = true;
        }
        self.shared.borrow_mut().overall.lists_complete = session.lists_complete;
    }

    fn send_list(
        &mut self,
        mut seeds: Vec<Seed>,
        directory: Option<Seed>,
        session: &mut Session<'_>,
    ) -> Result<(), PushError> {
        match &self.charset {
            None => seeds.sort_by(|(a, _), (b, _)| compare(a, b)),
            Some(_) => self.drop_unconvertible(&mut seeds),
        }
        let began = session.link.written_so_far();
        let first = session.lists.next_first();
        let known_directories = self.pending.len();
        let incremental = self.options.compat.inc_recurse();
        let mut entries = Vec::with_capacity(seeds.len());
        let mut places = Vec::with_capacity(seeds.len());
        for (at, (mut entry, number)) in seeds.into_iter().enumerate() {
            self.link(&mut entry, first + at as u32);
            if incremental {
                self.note_directory(&entry, number, known_directories);
            }
            session.attrs.refer(&mut entry);
            if !self.options.numeric_ids {
                if incremental {
                    self.ids.name_new(&mut entry);
                } else {
                    self.ids.note(&entry);
                }
            }
            self.count(&entry, session);
            let converted = self.converted(&entry);
            let wire = converted.as_ref().unwrap_or(&entry);
            session.link.output.append(|out| self.writer.entry(wire, out));
            entry.user = None;
            entry.group = None;
            entries.push(entry);
            places.push(number);
            if !incremental {
                session.relieve()?;
            }
        }
        // The first of them is listed next.
        self.pending[known_directories..].reverse();
        self.end_list(incremental, session);
        let (directory, directory_place) = directory.unzip();
        let list = FileList {
            first,
            entries,
            directory,
            directory_place,
            places: Some(places),
            requested: RefCell::default(),
        };
        session.lists.push(list);
        let bytes = session.link.written_so_far() - began;
        self.shared.borrow_mut().statistics.list_bytes += bytes;
        session.pass_on_texts();
        Ok(())
    }

    /// Ends the list with the error state, if that is news, and the names of ids.
    fn end_list(&mut self, incremental: bool, session: &mut Session<'_>) {
        let io_error = self.shared.borrow().io_error;
        let is_news = io_error != self.told_io_error;
        self.told_io_error = io_error;
        session.outcome.io_error |= io_error;
        let shown = if is_news || !incremental { io_error } else { 0 };
        let options = &self.options;
        session.link.output.append(|out| {
            self.writer.end(shown, out);
            if !incremental {
                self.ids.put_lists(options, out);
            }
            if options.protocol < 30 {
                out.extend_from_slice(&(shown as i32).to_le_bytes());
            }
        });
        let told_at_the_end = options.protocol != 30
            || options.compat.safe_flist()
            || options.compat.varint_flist_flags();
        if shown != 0 && !told_at_the_end {
            session.link.output.number(Tag::IoError, shown as i32);
        }
    }

    /// A directory gets a number, and, the first of its name, a list.
    fn note_directory(&mut self, entry: &Entry, number: u32, known_directories: usize) {
        if entry.kind() != Some(Kind::Dir) {
            return;
        }
        let index = self.dir_count;
        self.dir_count += 1;
        if &*entry.name == b"." {
            return;
        }
        let content = (!entry.dir.no_content).then_some(number);
        // In a sorted list equal names are next to each other.
        let known = &mut self.pending[known_directories..];
        let same = match self.charset {
            None => known.last_mut().filter(|pending| pending.entry.name == entry.name),
            Some(_) => known.iter_mut().find(|pending| pending.entry.name == entry.name),
        };
        match same {
            Some(pending) => {
                let origins = &self.shared.borrow().origins;
                let path = |number: u32| origins[number as usize].full_path(&entry.name);
                // The same directory is listed once, by whatever arguments it is meant.
                let known = |number| pending.sources.iter().any(|&one| path(one) == path(number));
                if let Some(number) = content.filter(|&number| !known(number)) {
                    pending.sources.push(number);
                }
            }
            None => self.pending.push(Pending {
                index,
                entry: entry.clone(),
                sources: content.into_iter().collect(),
            }),
        }
    }

    /// Leaves out names that have no form on the wire.
    fn drop_unconvertible(&mut self, seeds: &mut Vec<Seed>) {
        let Some(charset) = &mut self.charset else { return };
        let state = &mut *self.shared.borrow_mut();
        let converts_links = self.options.compat.symlink_iconv();
        seeds.retain(|(entry, number)| {
            let (what, name) = if charset.convert(&entry.name).is_err() {
                ("filename: ", entry.name.to_vec())
            } else if converts_links && charset.convert(&entry.link_target).is_err() {
                let path = state.origins[*number as usize].full_path(&entry.name);
                ("symlink data for: ", [b"\"", &path[..], b"\""].concat())
            } else {
                return true;
            };
            state.io_error |= 1;
            let start = format!("[sender] cannot convert {what}").into_bytes();
            let why = b" (Invalid or incomplete multibyte or wide character)";
            state.say(Level::ErrorXfer, [&start[..], &name, why].concat());
            false
        });
    }

    /// The entry as it travels; `None` where that is no different.
    fn converted(&mut self, entry: &Entry) -> Option<Entry> {
        let charset = self.charset.as_mut()?;
        let mut wire = entry.clone();
        wire.name = charset.convert(&entry.name).ok()?.into();
        if self.options.compat.symlink_iconv() {
            wire.link_target = charset.convert(&entry.link_target).ok()?.into();
        }
        Some(wire)
    }

    fn link(&mut self, entry: &mut Entry, ndx: u32) {
        let Some(HardLink::Inode { dev, ino }) = entry.hard_link else { return };
        if self.options.protocol < 30 {
            entry.hard_link = Some(HardLink::Inode { dev: dev + 1, ino });
            return;
        }
        entry.hard_link = Some(match self.groups.get(&(dev, ino, entry.kind())) {
            Some(&ndx) => HardLink::Follows { ndx },
            None => {
                self.groups.insert((dev, ino, entry.kind()), ndx);
                HardLink::First
            }
        });
    }

    fn count(&mut self, entry: &Entry, session: &mut Session<'_>) {
        let state = &mut *self.shared.borrow_mut();
        session.outcome.listed_count += 1;
        state.overall.listed_count += 1;
        match entry.mode {
            // What is to be deleted; a receiving side counts it otherwise (seen).
            0 => state.statistics.listed.files += 1,
            mode => state.statistics.listed.count(mode),
        }
        if matches!(entry.kind(), Some(Kind::File | Kind::Symlink)) {
            session.outcome.total_size += entry.size;
            state.statistics.total_size += entry.size;
            state.overall.total_bytes += entry.size;
        }
    }
}
