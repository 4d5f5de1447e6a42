//! The list of a full pass: the source, walked as the session asks for it.

use std::io;

use driftless_fs::xattr::Of;
use driftless_fs::{Dir, Names, Root, is_absent};
use driftless_transfer::options::ChecksumKind;
use driftless_transfer::source::{ReadAhead, add_extras, add_extras_at, file_sum};
use driftless_transfer::{Listing, Problem, TransferOptions, TreeSource};
use driftless_tree::flist::{Entry, HardLink, Origin};
use driftless_tree::path::MAX_PATH_LEN;
use driftless_tree::{Kind, Meta, RelPath, Timestamp};
use rustc_hash::FxHashMap;

use crate::batch::entry;
use crate::engine::presence::Presence;
use crate::lane::verify::Chosen;
use crate::links::{InodeId, Links};
use crate::rules::{Chains, SourceRules};

/// Walks a source for one pass, and remembers what it listed.
pub struct PassSource<'a> {
    root: &'a Root,
    chains: Chains,
    links: &'a Links,
    options: &'a TransferOptions,
    /// Files whose ctime is not older may have changed without a trace in size and mtime.
    unknown_since: Option<Timestamp>,
    /// Of the directory being listed; kept for its memory.
    names: Names,
    ahead: Option<ReadAhead>,
    /// Entries of files carry digests of this kind.
    digests: Option<ChecksumKind>,
    /// Asked while files are read for their digests.
    cancelled: Option<&'a dyn Fn() -> bool>,
    /// Nothing else is listed.
    chosen: Option<&'a Chosen>,
    /// Files whose digest was wanted and could not be had, and why.
    pub undigested: Vec<(RelPath, io::Error)>,
    /// Every name listed.
    pub presence: Presence,
    /// The names listed as one inode.
    pub groups: FxHashMap<InodeId, Vec<RelPath>>,
}

impl<'a> PassSource<'a> {
    /// A walk of `root`. Files changed at or after `unknown_since` are listed so that the target
    /// asks for their content, whatever their size and time.
    pub fn new(
        root: &'a Root,
        rules: &SourceRules,
        links: &'a Links,
        options: &'a TransferOptions,
        unknown_since: Option<Timestamp>,
    ) -> Self {
        Self {
            root,
            chains: rules.chains(),
            links,
            options,
            unknown_since,
            names: Names::default(),
            ahead: None,
            digests: None,
            cancelled: None,
            chosen: None,
            undigested: Vec::new(),
            presence: Presence::default(),
            groups: FxHashMap::default(),
        }
    }

    /// For a target that has none of the files: `ahead` reads them while they are listed.
    pub fn read_ahead(self, ahead: Option<ReadAhead>) -> Self {
        Self { ahead, ..self }
    }

    /// Reads no more for digests once `cancelled` says so.
    pub fn unless(self, cancelled: &'a dyn Fn() -> bool) -> Self {
        Self { cancelled: Some(cancelled), ..self }
    }

    /// Lists `chosen` names and what leads to them only.
    pub fn only(self, chosen: Option<&'a Chosen>) -> Self {
        Self { chosen, ..self }
    }

    fn entry(&mut self, path: &[u8], meta: &Meta, link_target: Vec<u8>) -> Entry {
        let mut listed = entry(path.into(), meta, link_target.into());
        listed.dir.top = false;
        listed.dir.no_content = false;
        if meta.kind != Kind::Dir && meta.link_count > 1 {
            if self.options.hard_links {
                listed.hard_link = Some(HardLink::Inode { dev: meta.dev, ino: meta.ino });
            }
            if let Ok(path) = RelPath::parse(path) {
                self.links.seen(&path, meta);
                if self.options.hard_links {
                    self.groups.entry((meta.dev, meta.ino)).or_default().push(path);
                }
            }
        }
        if meta.kind == Kind::File {
            if self.unknown_since.is_some_and(|since| meta.ctime >= since) {
                listed.size = false_size(meta.size);
            } else {
                listed.origin = Some(Origin { dev: meta.dev, ino: meta.ino, ctime: meta.ctime });
            }
            if let (Some(kind), Ok(path)) = (self.digests, RelPath::parse(path)) {
                // What cannot be read has no digest, so it is asked for, and then told.
                let go_on = || self.cancelled.is_none_or(|cancelled| !cancelled());
                let sum = self.root.open_file(&path).and_then(|file| file_sum(&file, kind, go_on));
                listed.checksum = sum.unwrap_or_else(|error| {
                    self.undigested.push((path, error));
                    vec![0; kind.digest_len()].into()
                });
            }
        }
        listed
    }

    fn read(&mut self, dir: Option<&RelPath>, listing: &mut Listing) -> io::Result<()> {
        let open = self.root.open_dir(dir)?;
        let mut names = std::mem::take(&mut self.names);
        let complete = names.read(&open);
        if complete.is_ok() {
            self.look(dir, &open, &names, listing);
        }
        self.names = names;
        self.chains.forget();
        complete
    }

    fn look(&mut self, dir: Option<&RelPath>, open: &Dir, names: &Names, listing: &mut Listing) {
        let mut path = Vec::new();
        if let Some(dir) = dir {
            path.extend_from_slice(dir.as_bytes());
            path.push(b'/');
        }
        let above = path.len();
        listing.entries.reserve(names.len());
        let ahead = self.ahead.clone();
        ahead.iter().for_each(ReadAhead::start_directory);
        for (name, kind) in names.iter() {
            path.truncate(above);
            path.extend_from_slice(name);
            // What is too deep to be named is not mirrored.
            if path.len() > MAX_PATH_LEN {
                continue;
            }
            if let Some(chosen) = self.chosen
                && RelPath::parse(&path).is_ok_and(|path| !chosen.leads_to(&path))
            {
                continue;
            }
            // The kind that came with the name saves looking at what is hidden.
            let mut hidden = |is_dir| !self.chains.includes_raw(dir, &path, is_dir);
            if kind.is_some_and(|kind| hidden(kind == Kind::Dir)) {
                continue;
            }
            let looked = match &ahead {
                Some(ahead) if kind == Some(Kind::File) => ahead.look(open, name),
                _ => open.lstat(name),
            };
            let meta = match looked {
                Ok(meta) => meta,
                Err(error) if is_absent(&error) => continue,
                Err(error) => {
                    listing.problems.push(Problem { name: path.as_slice().into(), error });
                    continue;
                }
            };
            if kind != Some(meta.kind) && hidden(meta.kind == Kind::Dir) {
                continue;
            }
            let text = match meta.kind {
                Kind::Symlink => match open.read_link(name) {
                    Ok(text) => text,
                    Err(_) => continue,
                },
                _ => Vec::new(),
            };
            let mut listed = self.entry(&path, &meta, text);
            let extras = add_extras(open, Of::Entry(name), self.options, &mut listed);
            let now = extras.and_then(|()| {
                match meta.link_count > 1 && (listed.acl.is_some() || listed.xattrs.is_some()) {
                    true => open.lstat(name),
                    false => Ok(meta),
                }
            });
            match now {
                // Other names of what had this one share an inode with it at the target.
                Ok(now) if (now.dev, now.ino) != (meta.dev, meta.ino) => {}
                Ok(_) => listing.entries.push(listed),
                Err(error) if is_absent(&error) => {}
                Err(error) => {
                    listing.problems.push(Problem { name: path.as_slice().into(), error });
                }
            }
        }
        let listed = listing.entries.iter().map(|entry| &entry.name[above..]);
        self.presence.insert_all(dir, listed);
    }
}

/// A size that no file of `size` bytes has, so that a target's quick check fails and it asks for
/// the content. Different each time: the target's old file might have just this size.
pub fn false_size(size: u64) -> u64 {
    size + 1 + fastrand::u64(..1 << 16)
}

impl TreeSource for PassSource<'_> {
    fn root(&mut self) -> io::Result<Entry> {
        let meta = self.root.meta()?;
        let mut root = entry((*b".").into(), &meta, Box::default());
        root.dir.no_content = false;
        add_extras_at(self.root, None, self.options, &mut root)?;
        Ok(root)
    }

    fn carry_digests(&mut self, kind: ChecksumKind) {
        self.digests = Some(kind);
    }

    fn list(&mut self, dir: Option<&RelPath>) -> Listing {
        let mut listing = Listing::default();
        if let Err(error) = self.read(dir, &mut listing) {
            let name = dir.map_or(&b"."[..], RelPath::as_bytes).into();
            // Whatever stands there instead of a directory has an event of its own.
            let error = if is_absent(&error) { io::ErrorKind::NotFound.into() } else { error };
            listing.problems.push(Problem { name, error });
        }
        listing
    }
}
