//! A directory tree on this machine as the source of a full pass.

use std::io;

use driftless_fs::{Dir, Root};
use driftless_tree::flist::{Entry, HardLink};
use driftless_tree::{Kind, Meta, RelPath};

use crate::options::TransferOptions;
use crate::push::{Listing, Problem, TreeSource};

/// The entry for a file with these attributes; `link_target` is the text of a symbolic link.
///
/// With `hard_links`, a file of several names carries its inode, as [`crate::push_tree`] wants it.
pub fn entry_of(name: &[u8], meta: &Meta, link_target: Vec<u8>, hard_links: bool) -> Entry {
    let linked = hard_links && meta.link_count > 1 && meta.kind != Kind::Dir;
    let has_content = matches!(meta.kind, Kind::File | Kind::Dir | Kind::Symlink);
    Entry {
        name: name.into(),
        mode: meta.mode,
        size: if has_content { meta.size } else { 0 },
        mtime: meta.mtime,
        uid: meta.uid,
        gid: meta.gid,
        rdev: meta.rdev,
        link_target: link_target.into(),
        hard_link: linked.then_some(HardLink::Inode { dev: meta.dev, ino: meta.ino }),
        ..Entry::default()
    }
}
