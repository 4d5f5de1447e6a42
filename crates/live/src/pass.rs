//! The list of a full pass: the source, walked as the session asks for it.

use std::io;

use driftless_fs::{Root, is_absent};
use driftless_transfer::{Listing, Problem, TreeSource};
use driftless_tree::flist::{Entry, HardLink};
use driftless_tree::{Kind, Meta, RelPath, Timestamp};
use rustc_hash::FxHashMap;

use crate::batch::entry;
use crate::engine::presence::Presence;
use crate::links::{InodeId, Links};
use crate::rules::{Chains, SourceRules};

/// Walks a source for one pass, and remembers what it listed.
pub struct PassSource<'a> {
    root: &'a Root,
    chains: Chains,
    links: &'a Links,
    hard_links: bool,
    /// Files whose ctime is not older may have changed without a trace in size and mtime.
    unknown_since: Option<Timestamp>,
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
        hard_links: bool,
        unknown_since: Option<Timestamp>,
    ) -> Self {
        Self {
            root,
            chains: rules.chains(),
            links,
            hard_links,
            unknown_since,
            presence: Presence::default(),
            groups: FxHashMap::default(),
        }
    }

    fn entry(&mut self, path: &RelPath, meta: &Meta, link_target: Vec<u8>) -> Entry {
        let mut listed = entry(path.as_bytes().into(), meta, link_target.into());
        listed.dir.top = false;
        listed.dir.no_content = false;
        if meta.kind != Kind::Dir && meta.link_count > 1 {
            self.links.seen(path, meta);
            if self.hard_links {
                listed.hard_link = Some(HardLink::Inode { dev: meta.dev, ino: meta.ino });
                self.groups.entry((meta.dev, meta.ino)).or_default().push(path.clone());
            }
        }
        if meta.kind == Kind::File && self.unknown_since.is_some_and(|since| meta.ctime >= since) {
            listed.size = false_size(meta.size);
        }
        listed
    }

    fn read(&mut self, dir: Option<&RelPath>, listing: &mut Listing) -> io::Result<()> {
        let open = self.root.open_dir(dir)?;
        for found in open.entries()? {
            let Ok(path) = RelPath::child(dir, &found.name) else { continue };
            let meta = match open.lstat(&found.name) {
                Ok(meta) => meta,
                Err(error) if is_absent(&error) => continue,
                Err(error) => {
                    listing.problems.push(Problem { name: path.as_bytes().into(), error });
                    continue;
                }
            };
            if !self.chains.includes(dir, &path, meta.kind == Kind::Dir) {
                continue;
            }
            let text = match meta.kind {
                Kind::Symlink => match open.read_link(&found.name) {
                    Ok(text) => text,
                    Err(_) => continue,
                },
                _ => Vec::new(),
            };
            self.presence.insert(&path);
            let listed = self.entry(&path, &meta, text);
            listing.entries.push(listed);
        }
        self.chains.forget();
        Ok(())
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
        Ok(root)
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
