//! What a pass would delete: counted before it changes anything.

use std::io;

use driftless_fs::is_absent;
use driftless_tree::{Kind, RelPath};

use super::listing;
use super::writer::{Trouble, Writer};
use crate::lane::work::View;
use crate::rules::Chains;

/// Names at the target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Count {
    /// All, less those in protected directories.
    pub(super) names: u64,
    /// Those that the source does not have. A directory that protected names keep counts, too.
    pub(super) doomed: u64,
}

/// Compares the names of both trees. What cannot be listed counts for nothing: the pass does not
/// delete there either.
pub(super) fn count(writer: &mut Writer<'_>, view: &View) -> Result<Count, Trouble> {
    let mut chains = view.rules.chains();
    let mut count = Count::default();
    // Directories to look into, and whether they go.
    let mut dirs: Vec<(Option<RelPath>, bool)> = vec![(None, false)];
    while let Some((dir, doomed)) = dirs.pop() {
        writer.go_on()?;
        match one(writer, &mut chains, dir.as_ref(), doomed, &mut count) {
            Ok(more) => dirs.extend(more),
            Err(error) if is_absent(&error) => {}
            Err(error) => tracing::debug!(?dir, %error, "not counted"),
        }
    }
    Ok(count)
}

fn one(
    writer: &mut Writer<'_>,
    chains: &mut Chains,
    dir: Option<&RelPath>,
    doomed: bool,
    count: &mut Count,
) -> io::Result<Vec<(Option<RelPath>, bool)>> {
    let names = match doomed {
        true => Default::default(),
        false => listing::list(writer.source, chains, dir)?.names,
    };
    let open = writer.target.open_dir(dir)?;
    let mut more = Vec::new();
    for entry in open.entries()? {
        let Ok(path) = RelPath::child(dir, &entry.name) else { continue };
        let kind = match entry.kind {
            Some(kind) => kind,
            None => open.lstat(&entry.name)?.kind,
        };
        let is_dir = kind == Kind::Dir;
        count.names += 1;
        match names.get(&path) {
            // A directory that something else takes the place of goes with what is in it.
            Some(Some(meta)) if is_dir && writer.likeness.makes(meta.kind) => {
                more.push((Some(path), meta.kind != Kind::Dir));
            }
            Some(_) => {}
            None if writer.protection.protects(dir, &path, is_dir, doomed) => {}
            None => {
                count.doomed += 1;
                if is_dir {
                    more.push((Some(path), true));
                }
            }
        }
    }
    writer.protection.forget();
    Ok(more)
}
