//! The lists of a full pass, made while the session runs. Protocol reference, "Incremental
//! recursion".
//!
//! Lists go out depth-first and ahead of the receiving side, which may not serve anything before it
//! knows enough of them. Memory holds the lists still open, the directories not yet listed, and a
//! number for each inode of several names. Where nothing recurses incrementally there is one list,
//! and memory holds all of it.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;

use driftless_proto::flist::{ListOptions, ListWriter};
use driftless_proto::ndx::NdxValue;
use driftless_tree::flist::{DirFlags, Entry, HardLink};
use driftless_tree::{Kind, RelPath, flist};

use crate::chmod::Chmod;
use crate::error::PushError;
use crate::push::{Listing, Problem, TreeSource};
use crate::sender::ids::Ids;
use crate::sender::lists::{EXCHANGE_INTERVAL, FileList};
use crate::sender::partial::apply_chmod;
use crate::sender::session::{Session, Step};

pub(crate) struct Walk<'a> {
    source: &'a mut dyn TreeSource,
    writer: ListWriter,
    options: ListOptions,
    chmod: Option<&'a Chmod>,
    /// Directories below the root are listed without content.
    shallow: bool,
    ids: Ids,
    /// Number of the first entry of each hard-link group. An inode's number may be used again
    /// during the walk, by a file of another kind.
    groups: HashMap<(u64, u64, Option<Kind>), u32>,
    /// Directories not yet listed, the next one last.
    pending: Vec<Pending>,
    /// Directories listed so far.
    dir_count: u32,
    io_error: u32,
}

struct Pending {
    index: u32,
    entry: Entry,
}

impl<'a> Walk<'a> {
    pub(crate) fn new(
        source: &'a mut dyn TreeSource,
        options: ListOptions,
        chmod: Option<&'a Chmod>,
        shallow: bool,
    ) -> Self {
        Self {
            source,
            writer: ListWriter::new(options.clone()),
            options,
            chmod,
            shallow,
            ids: Ids::default(),
            groups: HashMap::new(),
            pending: Vec::new(),
            dir_count: 0,
            io_error: 0,
        }
    }

    /// Runs the whole session from the first list on.
    pub(crate) fn run(&mut self, session: &mut Session<'_>) -> Result<(), PushError> {
        let mut root = self.source.root().map_err(PushError::Source)?;
        root.name = (*b".").into();
        root.dir = DirFlags { top: true, no_content: false };
        if self.shallow || !self.options.compat.inc_recurse() {
            self.send_everything(root, session)?;
            return session.serve();
        }
        let mut listing = self.source.list(None);
        listing.entries.push(root.clone());
        self.send_list(listing, root, session);
        self.complete_if_done(session);
        loop {
            // A duty, not a habit: the peer may serve nothing before it knows so many entries.
            while !session.lists_complete && session.lists.are_too_few() {
                self.send_next(session);
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
                        self.send_next(session);
                        session.relieve()?;
                    }
                }
            }
        }
    }

    fn send_next(&mut self, session: &mut Session<'_>) {
        if let Some(Pending { index, entry }) = self.pending.pop() {
            let writer = &mut session.ndx_writer;
            session.link.output.append(|out| writer.put(out, NdxValue::SubList(index)));
            let path = RelPath::parse(&entry.name).expect("checked before it was listed");
            let listing = self.source.list(Some(&path));
            self.send_list(listing, entry, session);
        }
        self.complete_if_done(session);
    }

    fn complete_if_done(&mut self, session: &mut Session<'_>) {
        if self.pending.is_empty() && !session.lists_complete {
            let writer = &mut session.ndx_writer;
            session.link.output.append(|out| writer.put(out, NdxValue::FlistEof));
            session.lists_complete = true;
        }
    }

    fn send_list(&mut self, mut listing: Listing, directory: Entry, session: &mut Session<'_>) {
        let io_error = check(&mut listing, session);
        let mut entries = listing.entries;
        flist::sort(&mut entries);
        let first = session.lists.next_first();
        let known_directories = self.pending.len();
        for (at, entry) in entries.iter_mut().enumerate() {
            self.prepare(entry, first + at as u32);
            session.attrs.refer(entry);
            if !self.options.numeric_ids {
                self.ids.name_new(entry);
            }
            if entry.kind() == Some(Kind::Dir) {
                if &*entry.name != b"." {
                    self.pending.push(Pending { index: self.dir_count, entry: entry.clone() });
                }
                self.dir_count += 1;
            }
            session.outcome.listed_count += 1;
            session.outcome.total_size += entry.size;
            session.link.output.append(|out| self.writer.entry(entry, out));
        }
        // The first of them is listed next.
        self.pending[known_directories..].reverse();
        let news = io_error & !self.io_error;
        self.io_error |= io_error;
        session.outcome.io_error |= io_error;
        let shown = if news == 0 { 0 } else { self.io_error };
        session.link.output.append(|out| self.writer.end(shown, out));
        session.lists.push(FileList {
            first,
            entries,
            directory: Some(directory),
            directory_place: None,
            places: None,
            requested: RefCell::default(),
        });
    }

    /// One list with everything, where nothing recurses incrementally. It goes out while the source
    /// is walked; both ends sort it afterwards.
    fn send_everything(&mut self, root: Entry, session: &mut Session<'_>) -> Result<(), PushError> {
        let mut entries = Vec::new();
        self.send_entry(root, &mut entries, session);
        let mut directories = vec![None];
        let mut io_error = 0;
        while let Some(dir) = directories.pop() {
            let mut listing = self.source.list(dir.as_ref());
            io_error |= check(&mut listing, session);
            for mut entry in listing.entries {
                if entry.kind() == Some(Kind::Dir)
                    && let Ok(path) = RelPath::parse(&entry.name)
                {
                    if self.shallow {
                        entry.dir.no_content = true;
                    } else {
                        directories.push(Some(path));
                    }
                }
                self.send_entry(entry, &mut entries, session);
            }
            session.relieve()?;
        }
        session.link.output.append(|out| {
            self.writer.end(io_error, out);
            self.ids.put_lists(&self.options, out);
        });
        flist::sort(&mut entries);
        session.outcome.io_error |= io_error;
        session.lists.push(FileList {
            first: 0,
            entries,
            directory: None,
            directory_place: None,
            places: None,
            requested: RefCell::default(),
        });
        session.lists_complete = true;
        Ok(())
    }

    /// Writes the next entry of the only list. A group's numbers count the order of writing.
    fn send_entry(
        &mut self,
        mut entry: Entry,
        entries: &mut Vec<Entry>,
        session: &mut Session<'_>,
    ) {
        self.prepare(&mut entry, entries.len() as u32);
        session.attrs.refer(&mut entry);
        if !self.options.numeric_ids {
            self.ids.note(&entry);
        }
        session.outcome.listed_count += 1;
        session.outcome.total_size += entry.size;
        session.link.output.append(|out| self.writer.entry(&entry, out));
        entries.push(entry);
    }

    fn prepare(&mut self, entry: &mut Entry, ndx: u32) {
        if let Some(HardLink::Inode { dev, ino }) = entry.hard_link {
            let group = (dev, ino, entry.kind());
            entry.hard_link = Some(match self.groups.get(&group) {
                Some(&ndx) => HardLink::Follows { ndx },
                None => {
                    self.groups.insert(group, ndx);
                    HardLink::First
                }
            });
        }
        apply_chmod(entry, self.chmod);
    }
}

/// Leaves out names that no list can carry, and reports what is missing. Returns io_error bits.
fn check(listing: &mut Listing, session: &mut Session<'_>) -> u32 {
    let problems = &mut listing.problems;
    listing.entries.retain(|entry| {
        let bad = match &*entry.name {
            b"." => None,
            name => RelPath::check(name).err(),
        };
        if let Some(bad) = bad {
            let error = io::Error::new(io::ErrorKind::InvalidInput, bad.to_string());
            problems.push(Problem { name: entry.name.clone(), error });
        }
        bad.is_none()
    });
    problems.iter().fold(0, |bits, problem| {
        session.driver.unlisted(problem);
        bits | if problem.error.kind() == io::ErrorKind::NotFound { 2 } else { 1 }
    })
}
