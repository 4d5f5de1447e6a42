//! Makes the lists of a session from its arguments. Protocol reference, "Incremental recursion" and
//! "Names from arguments".
//!
//! Memory holds the lists still open, the directories not yet listed, what arguments and their
//! parents add to directories that are listed later, and a number for each inode of several names.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use driftless_fs::Names;
use driftless_fs::charset::Charset;
use driftless_proto::flist::{ListOptions, ListWriter};
use driftless_proto::mux::Tag;
use driftless_proto::ndx::NdxValue;
use driftless_tree::flist::{DirFlags, Entry, HardLink, compare};
use driftless_tree::path::MAX_PATH_LEN;
use driftless_tree::{Kind, Meta};

use crate::driver::Level;
use crate::error::PushError;
use crate::options::MissingArgs;
use crate::report::{Direction, ListProgress};
use crate::sender::ids::Ids;
use crate::sender::lists::FileList;
use crate::sender::scan::args::{self, Argument};
use crate::sender::scan::disk::{Origin, join};
use crate::sender::scan::state::{Found, Shared, State};
use crate::sender::session::{Session, Step};
use crate::source::tree::entry_of;

/// Entries that the peer must know beyond the list it works on.
const MIN_AHEAD: usize = 1000;

/// Entries that are sent ahead while there is nothing else to do.
const MAX_AHEAD: usize = 10_000;

/// An entry and the number of its origin.
type Seed = (Entry, u32);

pub(crate) struct Walk<'a> {
    shared: Shared<'a>,
    writer: ListWriter,
    options: ListOptions,
    /// Names travel in UTF-8. The numbers of entries then follow the order in which they are sent.
    charset: Option<Charset>,
    /// The working directory, where relative arguments begin.
    here: Vec<u8>,
    ids: Ids,
    /// Number of the first entry of each hard-link group.
    groups: HashMap<(u64, u64), u32>,
    /// Directories not yet listed, the next one last.
    pending: Vec<Pending>,
    /// What arguments add to directories that have lists of their own.
    extras: HashMap<Box<[u8]>, Vec<Seed>>,
    /// Parents of arguments that are listed.
    implied: HashSet<Vec<u8>>,
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
        Self {
            shared,
            charset,
            writer: ListWriter::new(options.clone()),
            options,
            here,
            ids: Ids::default(),
            groups: HashMap::new(),
            pending: Vec::new(),
            extras: HashMap::new(),
            implied: HashSet::new(),
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
            while !session.lists_complete && session.lists.ahead() < MIN_AHEAD {
                self.send_next(session)?;
                session.relieve()?;
            }
            match session.step()? {
                Step::Handled => session.relieve()?,
                Step::Finished => return Ok(()),
                Step::Starved if session.lists_complete || session.lists.ahead() >= MAX_AHEAD => {
                    session.wait()?;
                }
                Step::Starved => {
                    session.exchange()?;
                    self.send_next(session)?;
                }
            }
        }
    }

    /// What the arguments themselves give, with the content of those that stand for it.
    fn arguments(
        &mut self,
        sources: &[Vec<u8>],
        names: Option<&[Vec<u8>]>,
        session: &mut Session<'_>,
    ) -> Result<Vec<Seed>, PushError> {
        let relative = self.shared.borrow().options.selection.relative;
        let mut list = Vec::new();
        let dot_dot = |text: &[u8]| {
            let text = String::from_utf8_lossy(text).into_owned();
            PushError::Usage(format!("found \"..\" dir in relative path: {text}"))
        };
        match names {
            None => {
                for source in sources {
                    let argument = match relative {
                        true => args::relative(source, b"").map_err(|_| dot_dot(source))?,
                        false => args::plain(source),
                    };
                    self.argument(&argument, &mut list)?;
                    session.pass_on_texts();
                }
            }
            Some(names) => {
                let dir = sources.first().map_or(&b"."[..], Vec::as_slice);
                for name in names {
                    let clean = args::sanitized(name);
                    let argument = match relative {
                        true => args::relative(&clean, dir).map_err(|_| dot_dot(name))?,
                        false => args::plain(&join(dir, &clean)),
                    };
                    self.argument(&argument, &mut list)?;
                    session.pass_on_texts();
                }
            }
        }
        Ok(list)
    }

    fn argument(&mut self, argument: &Argument, list: &mut Vec<Seed>) -> Result<(), PushError> {
        let shared = self.shared.clone();
        let state = &mut *shared.borrow_mut();
        let name = argument.name();
        let full = join(&self.here, &argument.path());
        if name.len() > MAX_PATH_LEN {
            state.io_error |= 1;
            state.say(Level::ErrorXfer, [b"path is too long: ", &full[..]].concat());
            return Ok(());
        }
        let root = match state.disk.root(&argument.base) {
            Err(error) if argument.parents.is_empty() => {
                state.io_error |= 1;
                state.fail("change_dir", &join(&self.here, &argument.base), &error);
                return Ok(());
            }
            root => root,
        };
        let opened = root.and_then(|root| {
            let dir = root.open_dir_unlisted(None, false)?;
            let meta = match &argument.leaf {
                Some(leaf) => dir.lstat(leaf)?,
                None => dir.meta()?,
            };
            Ok((dir, meta))
        });
        let (dir, meta) = match opened {
            Ok(opened) => opened,
            Err(error) if driftless_fs::is_absent(&error) => {
                self.missing(argument, &full, &error, state, list);
                return Ok(());
            }
            Err(error) => {
                state.io_error |= 1;
                // Without `-R` rsync enters the directory first.
                if argument.parents.is_empty() && argument.leaf.is_some() {
                    state.fail("change_dir", &join(&self.here, &argument.base), &error);
                } else {
                    state.fail("link_stat", &full, &error);
                }
                return Ok(());
            }
        };
        let number = self.origin(argument, &meta, state)?;
        let rules = state.origins[number as usize].rules;
        let mut entry = match &argument.leaf {
            None => entry_of(&name, &meta, Vec::new(), false),
            Some(leaf) => match state.examine(&dir, leaf, &name, number, meta) {
                Found::Listed(entry) => entry,
                Found::Passed | Found::Failed => return Ok(()),
            },
        };
        let is_dir = entry.kind() == Some(Kind::Dir);
        if name != b"." && state.filters.hides(rules, &name, is_dir) {
            return Ok(());
        }
        let selection = &state.options.selection;
        let is_content = is_dir && (selection.recursive || argument.leaf.is_none());
        if is_dir && !selection.recursive && !selection.dirs() {
            if state.options.talk.info.nonreg > 0 {
                state.say(Level::Info, [b"skipping directory ", &name[..]].concat());
            }
            return Ok(());
        }
        entry.dir = DirFlags { top: is_content, no_content: is_dir && !is_content };
        let chain = state.filters.enter(rules, b".").map_err(bad_rules)?;
        let leaf = argument.leaf.as_deref();
        // The argument's own file system is the one that is not left.
        let found = state.complete(&dir, leaf, entry, &meta, chain.as_ref(), number);
        let Found::Listed(entry) = found else { return Ok(()) };
        self.parents(argument, number, state, list);
        let lists_children = is_content && (name == b"." || !state.options.selection.recursive);
        self.place(argument, (entry, number), state, list);
        if lists_children
            && (self.options.compat.inc_recurse() || !state.options.selection.recursive)
        {
            self.children(number, &name, state, list)?;
        }
        Ok(())
    }

    /// A source that is not there.
    fn missing(
        &mut self,
        argument: &Argument,
        full: &[u8],
        error: &std::io::Error,
        state: &mut State<'_>,
        list: &mut Vec<Seed>,
    ) {
        match state.options.selection.missing_args {
            MissingArgs::Ignore => {}
            MissingArgs::Error => state.fail("link_stat", full, error),
            MissingArgs::Delete => {
                let entry = Entry { name: argument.name().into(), ..Entry::default() };
                let place = Meta { dev: 0, ..NOTHING };
                let Ok(number) = self.origin(argument, &place, state) else { return };
                self.parents(argument, number, state, list);
                self.place(argument, (entry, number), state, list);
            }
        }
    }

    /// The number of the argument's origin.
    fn origin(
        &mut self,
        argument: &Argument,
        meta: &Meta,
        state: &mut State<'_>,
    ) -> Result<u32, PushError> {
        let root = join(&self.here, &argument.root);
        let rules = state.filters.tree_at(&root).map_err(bad_rules)?;
        let origin = Origin {
            base: argument.base.clone(),
            prefix: argument.prefix.clone(),
            shown: join(&self.here, &argument.base),
            source_dir: argument.shown_root(),
            rules,
            dev: meta.dev,
        };
        // Names of `--files-from` come from few directories, one after the other.
        let at = match state.origins.iter().rposition(|known| *known == origin) {
            Some(at) if state.origins.len() - at <= KNOWN_ORIGINS => at,
            _ => {
                state.origins.push(origin);
                state.origins.len() - 1
            }
        };
        Ok(at as u32)
    }

    /// Lists the directories above an argument with `-R`.
    fn parents(
        &mut self,
        argument: &Argument,
        number: u32,
        state: &mut State<'_>,
        list: &mut Vec<Seed>,
    ) {
        if !self.lists_parents(state) {
            return;
        }
        for name in &argument.parents {
            if !self.implied.insert(name.clone()) {
                continue;
            }
            let path = join(&argument.root, name);
            let opened = state.disk.root(&path).and_then(|root| {
                let dir = root.open_dir_unlisted(None, false)?;
                let meta = dir.meta()?;
                Ok((dir, meta))
            });
            // What is missing here is missed in the argument.
            let Ok((dir, meta)) = opened else { continue };
            let mut entry = entry_of(name, &meta, Vec::new(), false);
            entry.dir = DirFlags { top: true, no_content: true };
            let found = state.complete(&dir, None, entry, &meta, None, number);
            let Found::Listed(entry) = found else { continue };
            self.put_below(name, (entry, number), list);
        }
    }

    /// From protocol 30 on the receiving side wants them in any case, and looks away by itself.
    fn lists_parents(&self, state: &State<'_>) -> bool {
        state.options.selection.implied_dirs || self.options.protocol >= 30
    }

    fn place(&mut self, argument: &Argument, seed: Seed, state: &State<'_>, list: &mut Vec<Seed>) {
        if argument.parents.is_empty() || !self.lists_parents(state) {
            list.push(seed);
        } else {
            let name = seed.0.name.to_vec();
            self.put_below(&name, seed, list);
        }
    }

    /// With incremental lists a name belongs into the list of its directory.
    fn put_below(&mut self, name: &[u8], seed: Seed, list: &mut Vec<Seed>) {
        match name.iter().rposition(|&b| b == b'/') {
            Some(slash) if self.options.compat.inc_recurse() => {
                self.extras.entry(name[..slash].into()).or_default().push(seed);
            }
            _ => list.push(seed),
        }
    }

    /// Adds what is in a directory, as far as it is not hidden.
    fn children(
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
        let chain = state.filters.enter(rules, name).map_err(bad_rules)?;
        let recursive = state.options.selection.recursive;
        let mut path = Vec::new();
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
            let hundreds = list.len() / 100;
            if hundreds > reported {
                reported = hundreds;
                let state = &mut *shared.borrow_mut();
                if state.options.talk.info.flist > 1 {
                    state.report.listing(ListProgress::Counted(hundreds as u64 * 100));
                }
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
            self.shared.borrow_mut().attrs.refer(&mut entry);
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
        let list = FileList { first, entries, directory, directory_place, places: Some(places) };
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
            Some(pending) => pending.sources.extend(content),
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
        entry.hard_link = Some(match self.groups.get(&(dev, ino)) {
            Some(&ndx) => HardLink::Follows { ndx },
            None => {
                self.groups.insert((dev, ino), ndx);
                HardLink::First
            }
        });
    }

    fn count(&mut self, entry: &Entry, session: &mut Session<'_>) {
        let state = &mut *self.shared.borrow_mut();
        session.outcome.listed_count += 1;
        state.overall.listed_count += 1;
        state.statistics.listed.count(entry.mode);
        if matches!(entry.kind(), Some(Kind::File | Kind::Symlink)) {
            session.outcome.total_size += entry.size;
            state.statistics.total_size += entry.size;
            state.overall.total_bytes += entry.size;
        }
    }
}

/// Origins among which a repeated one is looked for.
const KNOWN_ORIGINS: usize = 4;

/// The attributes of what is not there.
const NOTHING: Meta = {
    use driftless_tree::Timestamp;
    const NEVER: Timestamp = Timestamp { secs: 0, nanos: 0 };
    Meta {
        kind: Kind::File,
        mode: 0,
        dev: 0,
        ino: 0,
        link_count: 0,
        uid: 0,
        gid: 0,
        size: 0,
        mtime: NEVER,
        atime: NEVER,
        ctime: NEVER,
        rdev: (0, 0),
    }
};

fn bad_rules(error: driftless_filter::RuleError) -> PushError {
    PushError::Rules(error.to_string())
}
