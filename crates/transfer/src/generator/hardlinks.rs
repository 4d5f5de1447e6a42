//! Groups of names of one file: one member is transferred, the others are linked to it.
//!
//! The member that represents its group is the first that exists at the destination, else the last
//! one known, as in rsync, so that items read alike. The others wait, and their lists stay open
//! until they are linked.

use std::collections::HashMap;
use std::io;
use std::rc::Rc;

use driftless_proto::item::ItemFlags;
use driftless_tree::flist::{Entry, HardLink};
use driftless_tree::{Kind, Meta};

use crate::error::PushError;
use crate::generator::alternates::Level;
use crate::generator::files::Pass;
use crate::options::{AlternateKind, Itemize};
use crate::receiver::lists::{List, leaf_of, parent_of};
use crate::receiver::{Session, Turn, Waiting};

/// What an entry's group means for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Membership {
    /// It is looked at like any other, for itself or for its group.
    Acts,
    /// Another member acts for it, or did.
    Waits,
}

/// The groups of a session.
#[derive(Debug, Default)]
pub(crate) struct HardLinks {
    groups: HashMap<(u64, u64), Group>,
}

#[derive(Debug, Default)]
struct Group {
    /// Members that are listed and whose turn has not come.
    ahead: u32,
    waiting: Vec<Waiting>,
    /// Members that are not here because an alternate directory has them (`--compare-dest`).
    settled: Vec<Waiting>,
    /// A member acts for the group.
    busy: bool,
    /// A member that is in place.
    done: Option<Rc<[u8]>>,
    /// What that one was taken from in an alternate directory: device and inode.
    taken_from: Option<(u64, u64)>,
    /// And is the same in all as that.
    is_equal: bool,
    /// Its content was asked for.
    requested: bool,
}

/// What names the group of an entry whose references were settled on arrival.
fn key_of(entry: &Entry) -> Option<(u64, u64)> {
    match entry.hard_link? {
        HardLink::Follows { ndx } => Some((0, u64::from(ndx))),
        HardLink::Inode { dev, ino } => Some((dev.saturating_add(1), ino)),
        HardLink::First => None,
    }
}

impl HardLinks {
    /// Settles the reference of an entry that arrives: first members get their own number.
    /// `false`: it refers to a group that never began.
    pub(crate) fn settle(&self, entry: &mut Entry, own: u32, list_first: u32) -> bool {
        match entry.hard_link {
            Some(HardLink::First) => {
                entry.hard_link = Some(HardLink::Follows { ndx: own });
                true
            }
            Some(HardLink::Follows { ndx }) if ndx < list_first => {
                self.groups.contains_key(&(0, u64::from(ndx)))
            }
            _ => true,
        }
    }
}

impl Session<'_> {
    /// A list came: its members are known from now on.
    pub(crate) fn note_hard_links(&mut self, number: usize) -> Result<(), PushError> {
        if !self.options.hard_links {
            return Ok(());
        }
        let Some(held) = self.lists.by_number(number) else { return Ok(()) };
        let list = Rc::clone(&held.list);
        for (at, entry) in list.entries.iter().enumerate() {
            if let Some(key) = key_of(entry).filter(|_| !list.is_dropped(at)) {
                self.hard_links.groups.entry(key).or_default().ahead += 1;
            }
        }
        Ok(())
    }

    /// An entry's turn has come.
    pub(crate) fn membership(&mut self, number: usize, list: &List, at: usize) -> Membership {
        let Some(entry) = list.entries.get(at) else { return Membership::Acts };
        let Some(key) = key_of(entry) else { return Membership::Acts };
        let Some(group) = self.hard_links.groups.get_mut(&key) else { return Membership::Acts };
        group.ahead = group.ahead.saturating_sub(1);
        let (ahead, is_open) = (group.ahead, group.done.is_none() && !group.busy);
        // Of files the first one that exists or has a similar one beside it, else the last one acts
        // for all; what has no content needs no choice. What is beside the others is not looked at.
        let acts = is_open
            && (ahead == 0 || entry.kind() != Some(Kind::File) || self.has_something_alike(entry));
        let Some(group) = self.hard_links.groups.get_mut(&key) else { return Membership::Acts };
        if acts {
            group.busy = true;
            return Membership::Acts;
        }
        let turn = match (&group.done, group.busy) {
            // The original is ahead of what comes.
            (Some(_), _) if !group.requested => Turn::Late,
            (Some(_), _) | (None, true) => Turn::Meanwhile,
            (None, false) => Turn::Early,
        };
        let waiting = Waiting { list: number, at, turn, settled: false };
        if group.done.is_some() {
            self.linkable.push_back(waiting);
        } else {
            group.waiting.push(waiting);
        }
        if let Some(held) = self.lists.by_number_mut(number) {
            held.unfinished += 1;
        }
        if turn == Turn::Early && self.is_dry() {
            // What is in the way goes now, and in a dry run when the link is made, too (seen).
            self.tell_what_gives_way(entry);
        }
        Membership::Waits
    }

    /// Whether there is a file of the entry's name, here or in an alternate directory, or one that
    /// `--fuzzy` takes for it.
    fn has_something_alike(&mut self, entry: &Entry) -> bool {
        self.look(&entry.name).is_ok_and(|meta| meta.is_some_and(|meta| meta.kind == Kind::File))
            || self.in_alternates(&entry.name, Kind::File).is_some()
            || self.options.update.fuzzy > 0
                && self.fuzzy_basis(entry, &entry.name.as_ref().into()).is_some()
    }

    /// Says what a dry run would remove or keep for this file.
    fn tell_what_gives_way(&mut self, entry: &Entry) {
        let name = &self.name_of(entry);
        match self.look(name) {
            Ok(Some(present)) if self.rule_against(entry, Some(&present)).is_some() => {}
            Ok(Some(present)) if present.kind == Kind::Dir => {
                self.make_way(name, &present, "new regular file");
            }
            Ok(Some(present)) if present.kind != Kind::File => {
                self.back_up_for_file(name);
            }
            _ => {}
        }
    }

    /// A member is not to be here, whatever becomes of the others: who waits does so for the last one.
    pub(crate) fn leave_group(&mut self, entry: &Entry) {
        if let Some(group) = key_of(entry).and_then(|key| self.hard_links.groups.get_mut(&key)) {
            group.ahead = group.ahead.saturating_sub(1);
            if group.ahead == 0 && group.done.is_none() && !group.busy {
                self.linkable.extend(group.waiting.pop());
            }
        }
    }

    /// A member is in place: the others can be linked to it.
    pub(crate) fn complete_group(&mut self, number: usize, at: usize) {
        if !self.options.hard_links {
            return;
        }
        let Some(held) = self.lists.by_number(number) else { return };
        let list = Rc::clone(&held.list);
        let Some(entry) = list.entries.get(at) else { return };
        let name = self.name_of(entry);
        if let Some(group) = key_of(entry).and_then(|key| self.hard_links.groups.get_mut(&key)) {
            group.done = Some(name);
            // Those whose turn came before it was known who acts are the last, backwards (seen).
            let is_early = |waiting: &mut Waiting| waiting.turn == Turn::Early;
            let early: Vec<Waiting> = group.waiting.extract_if(.., is_early).collect();
            self.linkable.extend(group.waiting.drain(..).chain(early.into_iter().rev()));
            self.linkable.extend(group.settled.drain(..));
        }
    }

    /// A member need not be here; where another one comes all the same, it is linked to that (seen).
    pub(crate) fn settle_member(&mut self, number: usize, at: usize, entry: &Entry) {
        if let Some(group) = key_of(entry).and_then(|key| self.hard_links.groups.get_mut(&key)) {
            group.busy = false;
            // Who waits does so for the last one.
            if group.ahead == 0 && group.done.is_none() {
                self.linkable.extend(group.waiting.pop());
            }
            let turn = Turn::Meanwhile;
            group.settled.push(Waiting { list: number, at, turn, settled: true });
        }
    }

    /// The member that is in place was taken from this file of an alternate directory.
    pub(crate) fn note_alternate(&mut self, entry: &Entry, meta: &Meta) {
        if let Some(group) = key_of(entry).and_then(|key| self.hard_links.groups.get_mut(&key)) {
            group.taken_from = Some((meta.dev, meta.ino));
        }
    }

    /// The member that is about to be in place is the same in all as its like in an alternate
    /// directory.
    pub(crate) fn note_equal(&mut self, entry: &Entry) {
        if let Some(group) = key_of(entry).and_then(|key| self.hard_links.groups.get_mut(&key)) {
            group.is_equal = true;
        }
    }

    /// The content of a member is asked for.
    pub(crate) fn note_request(&mut self, entry: &Entry) {
        if let Some(group) = key_of(entry).and_then(|key| self.hard_links.groups.get_mut(&key)) {
            group.requested = true;
        }
    }

    /// A member will not be in place: the next one acts for itself.
    pub(crate) fn give_up_group(&mut self, number: usize, at: usize) {
        if !self.options.hard_links {
            return;
        }
        let Some(held) = self.lists.by_number(number) else { return };
        let list = Rc::clone(&held.list);
        let key = list.entries.get(at).and_then(key_of);
        if let Some(group) = key.and_then(|key| self.hard_links.groups.get_mut(&key))
            && group.done.is_none()
        {
            group.busy = false;
            if group.ahead == 0 {
                self.linkable.extend(group.waiting.pop());
            }
        }
    }

    /// A member that waited is linked, or, where the others failed, acts for itself.
    pub(crate) fn link_member(&mut self, waiting: &Waiting) -> Result<(), PushError> {
        let Some(held) = self.lists.by_number(waiting.list) else { return Ok(()) };
        let list = Rc::clone(&held.list);
        let is_last = self.lists.held.back().is_some_and(|last| Rc::ptr_eq(&last.list, &list));
        if waiting.settled && held.closed && !is_last {
            // The sender knows it no more.
            return Ok(());
        }
        let Some(entry) = list.entries.get(waiting.at) else { return Ok(()) };
        let group = key_of(entry).and_then(|key| self.hard_links.groups.get_mut(&key));
        let done = group.and_then(|group| {
            group.busy |= group.done.is_none();
            group.done.clone()
        });
        let Some(done) = done else {
            self.finish_item(waiting.list);
            return match entry.kind() {
                Some(Kind::File) => {
                    self.examine_file(waiting.list, &list, waiting.at, Pass::Member)
                }
                _ => Ok(()),
            };
        };
        let ndx = list.ndx(waiting.at);
        self.link_to(entry, ndx, &done, waiting.turn);
        self.acknowledge(ndx);
        if !waiting.settled {
            self.finish_item(waiting.list);
        }
        Ok(())
    }

    fn link_to(&mut self, entry: &Entry, ndx: u32, done: &[u8], turn: Turn) {
        // What was of another kind went at its turn.
        let is_gone = turn == Turn::Early && !self.is_dry();
        let name: &[u8] = &entry.name;
        let before = self.look(name).ok().flatten();
        if before.is_none() && self.options.update.existing {
            return self.skip(|| [b"not creating new file \"", name, b"\""].concat());
        }
        let there = self.look(done).ok().flatten();
        let inode = |meta: Meta| (meta.dev, meta.ino);
        let group = key_of(entry).and_then(|key| self.hard_links.groups.get(&key));
        let taken_from = group.and_then(|group| group.taken_from);
        let is_equal = group.is_some_and(|group| group.is_equal);
        // In a dry run the other one is not yet what it was taken from.
        let parts = self.is_dry() && taken_from.is_some_and(|from| before.map(inode) != Some(from));
        if before.is_some() && before.map(inode) == there.map(inode) && !parts {
            // The other names' turn has corrected it, except in a dry run.
            let differs = before.map_or(0, |present| self.likeness.differences(entry, &present));
            self.tell(entry, ndx, ItemFlags::LOCAL_CHANGE | differs, Some(b""));
            return self.report_equal(entry, differs);
        }
        if let Some(present) = before.filter(|before| before.kind == Kind::Dir)
            && !self.make_way(name, &present, "new regular file")
        {
            return;
        }
        let mut flags = ItemFlags::LOCAL_CHANGE;
        let alternate = entry.kind().and_then(|kind| self.in_alternates(name, kind));
        let is_linked_there = before.is_none()
            && self.uses_alternates(AlternateKind::Link)
            && is_equal
            && taken_from.is_some()
            && alternate.is_some_and(|(_, meta)| Some(inode(meta)) == taken_from);
        match &before {
            // It is another name of the same file in the alternate directory, too.
            None if is_linked_there => {}
            // Whose turn comes when the file is there is compared with what it would be a copy of.
            None if turn == Turn::Late && !self.uses_alternates(AlternateKind::Link) => {
                flags |= match self.best_alternate(entry, name) {
                    Some((_, meta, level)) if level > Level::Exists => {
                        self.likeness.differences(entry, &meta)
                    }
                    _ => ItemFlags::IS_NEW,
                };
            }
            // What is replaced is compared as if it were of the entry's kind, unless it was found
            // to be of another one before the file was there (seen).
            Some(present) if !(is_gone && Some(present.kind) != entry.kind()) => {
                // Of a name's own ACL and attributes only a dry run tells (seen).
                if self.is_dry() {
                    flags |= self.extra_differences(entry, name, present);
                }
                let present = Meta { kind: entry.kind().unwrap_or(present.kind), ..*present };
                flags |= self.likeness.differences(entry, &present);
            }
            _ => flags |= ItemFlags::IS_NEW,
        }
        let replaces = before.is_some_and(|before| before.kind != Kind::Dir);
        if let Err(error) = self.put_link(name, done, replaces, turn) {
            return self.generator_failed("link", name, &error);
        }
        let talk = &self.options.talk;
        let shows_equal =
            talk.itemize == Itemize::All || talk.itemize == Itemize::Changed && talk.info.name >= 2;
        let shown = if is_linked_there && !shows_equal { &b""[..] } else { done };
        self.tell(entry, ndx, flags, Some(shown));
        // Those that waited for a copy are named as what is equal, too (seen).
        let copies = self.uses_alternates(AlternateKind::Copy);
        if turn == Turn::Early && is_equal && copies && self.names_equal() {
            self.say(crate::driver::Level::Info, [name, b" => ", done].concat());
        }
        if is_linked_there {
            self.report_equal(entry, 0);
        }
    }

    fn put_link(&mut self, name: &[u8], done: &[u8], replaces: bool, turn: Turn) -> io::Result<()> {
        let is_kept = match turn {
            _ if !replaces => true,
            Turn::Early => self.back_up_for_file(&name.into()),
            _ => self.back_up(&name.into()),
        };
        if !is_kept {
            return Err(io::Error::other("the old version cannot be backed up"));
        }
        if self.is_dry() {
            return Ok(());
        }
        let from = self.folder(parent_of(done))?.clone();
        let folder = self.folder_to_change(parent_of(name))?;
        let leaf = leaf_of(name);
        match from.hard_link(leaf_of(done), &folder, leaf) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            answer => return answer,
        }
        let (temporary, ()) = folder.make_temporary(leaf, |folder, temporary| {
            from.hard_link(leaf_of(done), folder, temporary)
        })?;
        folder.rename(&temporary, &folder, leaf).inspect_err(|_| {
            let _ = folder.remove_file(&temporary);
        })
    }
}
