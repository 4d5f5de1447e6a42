//! ACLs and extended attributes of what a caller lists.

use std::io;

use driftless_fs::xattr::Of;
use driftless_fs::{Dir, Root};
use driftless_tree::RelPath;
use driftless_tree::flist::Entry;

use crate::options::TransferOptions;
use crate::sender::attrs::{XattrChoice, add_acls, add_xattrs};

/// Puts into `entry`, which is `of` in `dir`, the ACLs and extended attributes that `options` want.
/// Without this, a session that carries them removes the target's.
///
/// # Errors
/// What the disk says; the entry must not be listed then.
pub fn add_extras(
    dir: &Dir,
    of: Of<'_>,
    options: &TransferOptions,
    entry: &mut Entry,
) -> io::Result<()> {
    let metadata = &options.metadata;
    if metadata.acls {
        let mode = options.chmod.as_ref().map_or(entry.mode, |chmod| chmod.apply(entry.mode));
        add_acls(dir, of, false, mode, entry)?;
    }
    if metadata.xattrs > 0 {
        let choice = XattrChoice { own_names: metadata.xattrs > 1, rules: None, kept: false };
        add_xattrs(dir, of, choice, entry)?;
    }
    Ok(())
}

/// As [`add_extras`], for what is at `path` below a root; `None` is the root itself.
///
/// # Errors
/// As for [`add_extras`].
pub fn add_extras_at(
    root: &Root,
    path: Option<&RelPath>,
    options: &TransferOptions,
    entry: &mut Entry,
) -> io::Result<()> {
    if !options.metadata.acls && options.metadata.xattrs == 0 {
        return Ok(());
    }
    let (dir, of) = place(root, path)?;
    add_extras(&dir, of, options, entry)
}

/// The value of one extended attribute, for [`crate::Driver::xattr_value`].
pub fn xattr_at(root: &Root, path: Option<&RelPath>, name: &[u8]) -> Option<Vec<u8>> {
    let (dir, of) = place(root, path).ok()?;
    dir.xattr(of, name).ok().flatten()
}

fn place<'a>(root: &Root, path: Option<&'a RelPath>) -> io::Result<(Dir, Of<'a>)> {
    Ok(match path {
        None => (root.open_dir(None)?, Of::Dir),
        Some(path) => (root.open_dir(path.parent().as_ref())?, Of::Entry(path.file_name())),
    })
}
