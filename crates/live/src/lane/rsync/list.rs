//! A batch as a file list.

use std::collections::{HashMap, HashSet};

use driftless_fs::is_absent;
use driftless_transfer::source::add_extras_at;
use driftless_tree::flist::{Entry, HardLink};
use driftless_tree::{Kind, Meta, RelPath};

use super::RsyncTarget;
use crate::batch::{Act, Batch, Item};
use crate::lane::report::Failure;
use crate::lane::work::View;
use crate::pass::false_size;

/// What a partial session lists.
#[derive(Default)]
pub(super) struct List {
    pub(super) entries: Vec<Entry>,
    /// The item that each entry stands for, by its place in the batch.
    pub(super) items: Vec<usize>,
    /// Items that cannot be listed, and why.
    pub(super) failed: Vec<(usize, Failure)>,
}

impl RsyncTarget {
    /// The list of a batch, entry by entry in the order of its items, less what is not sent.
    pub(super) fn list(&self, batch: &Batch, view: &View) -> List {
        let mut list = List::default();
        let mut groups: HashMap<u32, (u32, u64)> = HashMap::new();
        let mut unlisted: HashSet<&RelPath> = HashSet::new();
        for (at, item) in batch.items.iter().enumerate() {
            if item.act == Act::Missing && !self.deletes() {
                continue;
            }
            let path = item.path.as_ref();
            if path.is_some_and(|path| path.ancestors().any(|above| unlisted.contains(&above))) {
                list.failed.push((at, Failure::transient("its directory could not be listed")));
                continue;
            }
            let mut entry = item.entry();
            if let Err(failure) = self.add_extras(item, batch, view, &mut entry) {
                list.failed.push((at, failure));
                unlisted.extend(path);
                continue;
            }
            let regular = entry.kind() == Some(Kind::File);
            if item.act == (Act::Object { content: true }) && regular {
                entry.size = false_size(entry.size);
            }
            if let Some(group) = item.group {
                let here = u32::try_from(list.entries.len()).expect("lists are bounded");
                let first = *groups.entry(group).or_insert((here, entry.size));
                // A follower inherits the size of the first, false or not.
                entry.size = first.1;
                entry.hard_link = Some(match first.0 {
                    first if first == here => HardLink::First,
                    ndx => HardLink::Follows { ndx },
                });
            }
            list.entries.push(entry);
            list.items.push(at);
        }
        list
    }

    /// Puts ACLs and extended attributes into the entry of an item.
    fn add_extras(
        &self,
        item: &Item,
        batch: &Batch,
        view: &View,
        entry: &mut Entry,
    ) -> Result<(), Failure> {
        let metadata = &self.options.metadata;
        let Some(meta) = item.meta.filter(|_| metadata.acls || metadata.xattrs > 0) else {
            return Ok(());
        };
        let path = batch.named(item).path.as_ref();
        let added = add_extras_at(&view.root, path, &self.options, entry);
        let is_same = |now: Meta| (now.dev, now.ino) == (meta.dev, meta.ino);
        let same = match (added, path) {
            (Ok(()), Some(path)) if meta.kind != Kind::Dir => view.root.lstat(path).map(is_same),
            // One that went, for which another one may stand in, is told of again.
            (Err(error), _) if meta.kind == Kind::Dir && is_absent(&error) => Ok(true),
            (added, _) => added.map(|()| true),
        };
        match same {
            Ok(true) => Ok(()),
            // Other names of what had this one share an inode with it at the target.
            Ok(false) => Err(Failure::transient("another file has its name now")),
            Err(error) if is_absent(&error) => Err(Failure::transient("it is not there any more")),
            Err(error) => {
                let why = format!("its extended attributes cannot be read: {error}");
                Err(Failure::lasting(why))
            }
        }
    }
}
