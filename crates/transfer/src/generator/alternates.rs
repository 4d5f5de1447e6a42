//! Files that another directory here has already: `--compare-dest`, `--copy-dest`, `--link-dest`.
//! Command-line reference, "Alternate destinations".

use std::io;
use std::rc::Rc;

use driftless_fs::Attributes;
use driftless_fs::xattr::Of;
use driftless_proto::item::ItemFlags;
use driftless_tree::flist::Entry;
use driftless_tree::{Kind, Meta};

use crate::generator::backup::fill;
use crate::generator::place::PRIVATE;
use crate::options::AlternateKind;
use crate::receiver::Session;
use crate::receiver::lists::{leaf_of, parent_of};

/// The best that the alternate directories have.
pub(crate) struct Alternate {
    /// Number of the directory.
    pub(crate) dir: u8,
    pub(crate) meta: Meta,
    pub(crate) taken: Taken,
    /// Nothing is at its place here (`--compare-dest`).
    pub(crate) stays_there: bool,
}

/// What became of a file that an alternate directory has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// Nothing is left to be done for the entry.
    Settled,
    /// Not taken: what is missing comes over the wire.
    Left,
    /// Not linked, since something is at the entry's place that was not seen there.
    Occupied,
}

/// What an alternate directory has of something without content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeFound {
    /// It was linked, or need not be here.
    Settled,
    /// The same: what is made here is a copy of it.
    Equal,
    /// Something else.
    Different,
}

/// How much a file in an alternate directory is worth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    /// It has the name.
    Exists,
    /// It has the content.
    Content,
    /// It has the attributes, too.
    Everything,
}

impl Session<'_> {
    /// Takes a regular file from the alternate directories where that is possible.
    pub(crate) fn take_from_alternate(
        &mut self,
        entry: &Entry,
        name: &Rc<[u8]>,
        ndx: u32,
        before: Option<&Meta>,
        displaces: bool,
    ) -> Option<Alternate> {
        let kind = self.options.update.alternates.as_ref()?.kind;
        if before.is_some() && kind == AlternateKind::Copy {
            return None;
        }
        let (dir, meta, level) = self.best_alternate(entry, name)?;
        let mut found = Alternate { dir, meta, taken: Taken::Left, stays_there: false };
        let inode = |meta: &Meta| (meta.dev, meta.ino);
        let is_linked = kind == AlternateKind::Link && before.map(inode) == Some(inode(&meta));
        if before.is_some() && (is_linked || level < Level::Everything) {
            return None;
        }
        found.taken = match (level, kind) {
            (Level::Exists, _) => Taken::Left,
            (Level::Everything, AlternateKind::Compare) => {
                self.leave_to_alternate(entry, name, ndx, before, displaces)
            }
            (Level::Everything, AlternateKind::Link) => {
                self.link_alternate(entry, name, ndx, &found, before, displaces)
            }
            (Level::Content | Level::Everything, _) => {
                self.copy_alternate(entry, name, ndx, &found, before, displaces)
            }
        };
        let is_settled = found.taken == Taken::Settled;
        if is_settled && level == Level::Everything && kind == AlternateKind::Copy {
            self.report_equal(entry, 0);
        }
        if is_settled && level == Level::Everything {
            self.note_equal(entry);
        }
        found.stays_there = level == Level::Everything && kind == AlternateKind::Compare;
        Some(found)
    }

    /// Whether the alternate directories are there for this.
    pub(super) fn uses_alternates(&self, kind: AlternateKind) -> bool {
        self.options.update.alternates.as_ref().is_some_and(|alternates| alternates.kind == kind)
    }

    /// What the alternate directories have of a regular file.
    pub(super) fn best_alternate(
        &mut self,
        entry: &Entry,
        name: &[u8],
    ) -> Option<(u8, Meta, Level)> {
        let count = self.destination.as_ref()?.alternates.len();
        let mut best: Option<(u8, Meta, Level)> = None;
        for at in 0..count {
            let Ok(folder) = self.alternate_folder(at, parent_of(name)) else { continue };
            let Ok(meta) = folder.lstat(leaf_of(name)) else { continue };
            if meta.kind != Kind::File || self.alternate_hides(at, name, false) {
                continue;
            }
            let update = &self.options.update;
            let same = meta.size == entry.size
                && match update.checksum {
                    true => folder
                        .open_file(leaf_of(name))
                        .is_ok_and(|file| self.has_digest(&file, entry)),
                    false => {
                        update.size_only
                            || !update.ignore_times
                                && self.likeness.same_time(entry.mtime, meta.mtime)
                    }
                };
            let level = match same {
                false => Level::Exists,
                true if self.likeness.lacking(entry, &meta).is_empty()
                    && self.extras_in(entry, &folder, Of::Entry(leaf_of(name)), &meta) == 0 =>
                {
                    Level::Everything
                }
                true => Level::Content,
            };
            if best.as_ref().is_none_or(|(_, _, known)| level > *known) {
                best = Some((at as u8, meta, level));
            }
            if level == Level::Everything {
                break;
            }
        }
        best
    }

    /// The first object of this name and kind in the alternate directories.
    pub(crate) fn in_alternates(&mut self, name: &[u8], kind: Kind) -> Option<(u8, Meta)> {
        let count = self.destination.as_ref()?.alternates.len();
        (0..count).find_map(|at| {
            let meta = match name {
                b"." => self.alternate_folder(at, b"").ok()?.meta().ok()?,
                _ => self.alternate_folder(at, parent_of(name)).ok()?.lstat(leaf_of(name)).ok()?,
            };
            let is_hidden = self.alternate_hides(at, name, kind == Kind::Dir);
            (meta.kind == kind && !is_hidden).then_some((at as u8, meta))
        })
    }

    /// Whether the module's rules hide what has this name in an alternate directory.
    pub(crate) fn alternate_hides(&self, at: usize, name: &[u8], is_dir: bool) -> bool {
        let alternates = self.destination.as_ref().map(|destination| &destination.alternates);
        let folders = alternates.and_then(|all| all.get(at)?.as_ref());
        folders.is_some_and(|folders| self.hides_below(folders.root(), name, is_dir))
    }

    /// Takes something without content, which says the same there, from an alternate directory.
    pub(crate) fn node_from_alternate(
        &mut self,
        entry: &Entry,
        name: &Rc<[u8]>,
        ndx: u32,
        dir: u8,
        meta: &Meta,
    ) -> NodeFound {
        let mut lacking = self.likeness.lacking(entry, meta);
        if meta.kind == Kind::Symlink {
            // It moves when the link is read.
            lacking.atime = None;
        }
        if !lacking.is_empty() {
            return NodeFound::Different;
        }
        let found = match self.options.update.alternates.as_ref().map(|alternates| alternates.kind)
        {
            Some(AlternateKind::Compare) => {
                self.tell(entry, ndx, 0, None);
                NodeFound::Settled
            }
            Some(AlternateKind::Link)
                if self.is_dry() || self.put_alternate_link(name, dir, false).is_ok() =>
            {
                self.tell(entry, ndx, ItemFlags::LOCAL_CHANGE, Some(b""));
                NodeFound::Settled
            }
            _ => NodeFound::Equal,
        };
        self.report_equal(entry, 0);
        found
    }

    /// `--compare-dest`: the destination needs no copy of its own.
    fn leave_to_alternate(
        &mut self,
        entry: &Entry,
        name: &Rc<[u8]>,
        ndx: u32,
        before: Option<&Meta>,
        displaces: bool,
    ) -> Taken {
        // Of a file the original keeps nothing.
        let keeps = displaces && self.options.write.backup.is_some() && !self.is_backup_name(name);
        if keeps {
            self.move_to_backup(name);
        } else if (before.is_some() || displaces) && !self.is_dry() {
            let removed = self
                .folder_to_change(parent_of(name))
                .and_then(|folder| folder.remove_file(leaf_of(name)));
            if let Err(error) = removed {
                self.generator_failed("unlink", name, &error);
            }
        }
        self.tell(entry, ndx, 0, None);
        self.report_equal(entry, 0);
        Taken::Settled
    }

    fn link_alternate(
        &mut self,
        entry: &Entry,
        name: &Rc<[u8]>,
        ndx: u32,
        found: &Alternate,
        before: Option<&Meta>,
        displaces: bool,
    ) -> Taken {
        let replaces = before.is_some() || displaces;
        match self.put_alternate_link(name, found.dir, replaces) {
            Ok(()) => {}
            Err(error) if !replaces && error.kind() == io::ErrorKind::AlreadyExists => {
                return Taken::Occupied;
            }
            // Another file system, or too many links.
            Err(_) => return self.copy_alternate(entry, name, ndx, found, before, displaces),
        }
        self.tell(entry, ndx, ItemFlags::LOCAL_CHANGE, Some(b""));
        self.report_equal(entry, 0);
        Taken::Settled
    }

    fn put_alternate_link(&mut self, name: &Rc<[u8]>, dir: u8, replaces: bool) -> io::Result<()> {
        if replaces {
            // Of a file that is replaced by a link the original keeps nothing.
            let is_file = self.look(name)?.is_some_and(|present| present.kind == Kind::File);
            if !is_file && !self.back_up_for_file(name) {
                return Err(io::Error::other("the old version cannot be backed up"));
            }
        }
        if self.is_dry() {
            return Ok(());
        }
        let from = self.alternate_folder(usize::from(dir), parent_of(name))?;
        let folder = self.folder_to_change(parent_of(name))?;
        let leaf = leaf_of(name);
        if !replaces {
            return from.hard_link(leaf, &folder, leaf);
        }
        let (temporary, ()) = folder
            .make_temporary(leaf, |folder, temporary| from.hard_link(leaf, folder, temporary))?;
        folder.rename(&temporary, &folder, leaf).inspect_err(|_| {
            let _ = folder.remove_file(&temporary);
        })
    }

    fn copy_alternate(
        &mut self,
        entry: &Entry,
        name: &Rc<[u8]>,
        ndx: u32,
        found: &Alternate,
        before: Option<&Meta>,
        displaces: bool,
    ) -> Taken {
        let mut flags = ItemFlags::LOCAL_CHANGE | self.likeness.differences(entry, &found.meta);
        if let Ok(folder) = self.alternate_folder(usize::from(found.dir), parent_of(name)) {
            flags |= self.extras_in(entry, &folder, Of::Entry(leaf_of(name)), &found.meta);
        }
        if (before.is_some() || displaces) && !self.back_up_for_file(name) {
            return Taken::Left;
        }
        if !self.is_dry() {
            let gives_group =
                self.folders.as_mut().is_some_and(|folders| folders.gives_group(parent_of(name)));
            let wanted = self.likeness.of_new(entry, Kind::File, before, gives_group);
            if self.put_alternate_copy(name, found.dir, &wanted).is_err() {
                // It comes over the wire instead.
                return Taken::Left;
            }
            if let Ok(Some(present)) = self.look(name) {
                self.correct(entry, name, &present);
            }
        }
        self.tell(entry, ndx, flags, None);
        Taken::Settled
    }

    fn put_alternate_copy(&mut self, name: &[u8], dir: u8, wanted: &Attributes) -> io::Result<()> {
        let leaf = leaf_of(name);
        let from = self.alternate_folder(usize::from(dir), parent_of(name))?;
        let source = from.open_file(leaf)?;
        let folder = self.folder_to_change(parent_of(name))?;
        let mut copy = match self.options.write.in_place() {
            true => folder.start_file(leaf, PRIVATE)?,
            false => self.start_new(name)?,
        };
        fill(&source, &mut copy, wanted)?;
        match copy.place(&folder, leaf) {
            Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
                self.place_copy(name, &folder, &copy, wanted)
            }
            placed => placed,
        }
    }
}
