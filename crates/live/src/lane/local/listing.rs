//! The included names of one directory of the source.

use std::io;

use driftless_fs::{Root, is_absent};
use driftless_tree::{Meta, RelPath};
use rustc_hash::FxHashMap;

use crate::rules::Chains;

/// A directory of the source.
#[derive(Default)]
pub(super) struct Listing {
    /// What is mirrored of it; `None` for what cannot be looked at, and so is left alone.
    pub(super) names: FxHashMap<RelPath, Option<Meta>>,
    /// Names that cannot be looked at, and why.
    pub(super) unreadable: Vec<(RelPath, io::Error)>,
}

/// Lists a directory.
///
/// # Errors
/// Then nothing is known of what is in it: [`is_absent`] when it went.
pub(super) fn list(
    source: &Root,
    chains: &mut Chains,
    dir: Option<&RelPath>,
) -> io::Result<Listing> {
    let mut listing = Listing::default();
    let open = source.open_dir(dir)?;
    for entry in open.entries()? {
        let Ok(path) = RelPath::child(dir, &entry.name) else { continue };
        match open.lstat(&entry.name) {
            Ok(meta) if chains.includes(dir, &path, meta.kind == driftless_tree::Kind::Dir) => {
                listing.names.insert(path, Some(meta));
            }
            Ok(_) => {}
            Err(error) if is_absent(&error) => {}
            Err(error) => {
                listing.names.insert(path.clone(), None);
                listing.unreadable.push((path, error));
            }
        }
    }
    chains.forget();
    Ok(listing)
}
