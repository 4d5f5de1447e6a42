//! What one batch brings to a target: plain values that every kind of lane can apply.

use driftless_tree::flist::{DirFlags, Entry};
use driftless_tree::{Meta, RelPath};

/// What the planner found on the disk for the marks of one batch.
#[derive(Debug, Default)]
pub struct Batch {
    /// Directories come before what is in them.
    pub items: Vec<Item>,
    /// Marked trees that the items cover completely.
    pub trees: Vec<RelPath>,
    /// Names that the target may hold and that the batch removes.
    pub deletions: u64,
    /// Paths that could not be looked at, and why.
    pub unreadable: Vec<(RelPath, String)>,
    /// Whether equal size is not enough for content to be equal: times count as well.
    pub by_time: bool,
    /// Whether it is too much for a list: a full pass does better.
    pub too_large: bool,
}

impl Batch {
    /// The item that has the name by which the source knows an item's object: itself, or of a former
    /// name the new one.
    pub fn named<'a>(&'a self, item: &'a Item) -> &'a Item {
        let has_it = |other: &&Item| other.group == item.group && other.act != Act::FormerName;
        match (item.act, item.group) {
            (Act::FormerName, Some(_)) => self.items.iter().find(has_it).unwrap_or(item),
            _ => item,
        }
    }
}

/// One name.
#[derive(Debug, Clone)]
pub struct Item {
    /// `None` is the root.
    pub path: Option<RelPath>,
    /// What to do with it.
    pub act: Act,
    /// What the disk said; `None` for names that are gone.
    pub meta: Option<Meta>,
    /// Text of a symbolic link.
    pub link_target: Box<[u8]>,
    /// Names with the same number are one inode.
    pub group: Option<u32>,
    /// Marked paths that are applied once it is.
    pub covers: Vec<RelPath>,
    /// Dirty for so long that it is sent although somebody has it open for writing.
    pub settled: bool,
}

/// What to do with a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// A directory: made if need be, attributes set. Nothing in it is looked at.
    Directory,
    /// Nothing has this name any more, nor anything below it.
    Missing,
    /// Anything but a directory. With `content`, what the target holds under the name may be
    /// anything; without, only attributes can differ, or the target has nothing there.
    Object {
        /// See above.
        content: bool,
    },
    /// The name that an object of the same group had before: the target's file there is the basis.
    FormerName,
}

impl Item {
    /// The item as an entry of a file list, with the size as it is.
    pub fn entry(&self) -> Entry {
        let name: Box<[u8]> = match &self.path {
            Some(path) => path.as_bytes().into(),
            None => (*b".").into(),
        };
        match &self.meta {
            Some(meta) => entry(name, meta, self.link_target.clone()),
            None => Entry { name, ..Entry::default() },
        }
    }
}

/// An entry from what `lstat` said. Directories are flagged as without content.
pub fn entry(name: Box<[u8]>, meta: &Meta, link_target: Box<[u8]>) -> Entry {
    use driftless_tree::Kind;
    let is_dir = meta.kind == Kind::Dir;
    let size = if meta.kind.is_device() || meta.kind.is_special() { 0 } else { meta.size };
    Entry {
        name,
        mode: meta.mode,
        size,
        mtime: meta.mtime,
        uid: meta.uid,
        gid: meta.gid,
        rdev: if meta.kind.is_device() { meta.rdev } else { (0, 0) },
        link_target,
        dir: DirFlags { top: is_dir, no_content: is_dir },
        ..Entry::default()
    }
}
