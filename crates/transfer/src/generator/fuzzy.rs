//! `--fuzzy`: a file of a similar name, or of equal size and time, as the basis of a new one.
//! Command-line reference, "Quick check and update decision".

use std::rc::Rc;

use driftless_fs::Folder;
use driftless_tree::flist::Entry;
use driftless_tree::{Kind, Meta};

use crate::generator::basis::BasisChoice;
use crate::receiver::Session;
use crate::receiver::lists::{List, leaf_of, parent_of};

/// Names that differ by more have nothing to do with each other: 25 units of the distance.
const LIMIT: u64 = 25 << 16;

/// Entries of a directory that are looked at.
const MAX_CANDIDATES: usize = 20_000;

/// Endings that do not count.
const IGNORED: [&[u8]; 4] = [b".bak", b".old", b".orig", b"~"];

impl Session<'_> {
    /// The most similar file beside the entry's place, or, with the option given twice, in the same
    /// directory of an alternate directory.
    pub(crate) fn fuzzy_basis(
        &mut self,
        entry: &Entry,
        name: &Rc<[u8]>,
        _list: &List,
    ) -> Option<(BasisChoice, Meta)> {
        if entry.size == 0 {
            return None;
        }
        let dir = parent_of(name);
        let own = self.folder(dir).ok().cloned();
        let mut best = own.and_then(|folder| self.most_similar(&folder, None, entry, name));
        let mut choice = best.as_ref().map(|found| BasisChoice::Fuzzy(found.name.clone()));
        let alternates = match self.options.update.fuzzy {
            0 | 1 => 0,
            _ => self.destination.as_ref().map_or(0, |d| d.alternates.len()),
        };
        for at in 0..alternates {
            let Ok(folder) = self.alternate_folder(at, dir) else { continue };
            let Some(found) = self.most_similar(&folder, Some(at), entry, name) else { continue };
            if best.as_ref().is_none_or(|best| found.distance < best.distance) {
                choice = Some(BasisChoice::AlternateFuzzy(at as u8, found.name.clone()));
                best = Some(found);
            }
        }
        Some((choice?, best?.meta))
    }

    /// `alternate`: the number of the alternate directory that the folder is in.
    fn most_similar(
        &mut self,
        folder: &Folder,
        alternate: Option<usize>,
        entry: &Entry,
        name: &[u8],
    ) -> Option<Similar> {
        let leaf = leaf_of(name);
        let names = folder.list().ok()?.entries().ok()?;
        let mut best: Option<Similar> = None;
        for candidate in names.into_iter().take(MAX_CANDIDATES) {
            if candidate.kind.is_some_and(|kind| kind != Kind::File) {
                continue;
            }
            let Ok(meta) = folder.lstat(&candidate.name) else { continue };
            if meta.kind != Kind::File || meta.size == 0 {
                continue;
            }
            let beside = [&name[..name.len() - leaf.len()], &candidate.name].concat();
            let is_hidden = match alternate {
                None => self.hides(&self.full_path(&beside), false),
                Some(at) => self.alternate_hides(at, &beside, false),
            };
            if is_hidden {
                continue;
            }
            let twin = meta.size == entry.size && self.likeness.same_time(entry.mtime, meta.mtime);
            let distance = if twin { 0 } else { distance(&candidate.name, leaf) };
            if distance <= LIMIT && best.as_ref().is_none_or(|best| distance < best.distance) {
                best = Some(Similar { name: candidate.name.into(), meta, distance });
            }
            if twin {
                break;
            }
        }
        best
    }
}

struct Similar {
    name: Box<[u8]>,
    meta: Meta,
    distance: u64,
}

/// How much two names differ, and ten times how much their endings do.
fn distance(a: &[u8], b: &[u8]) -> u64 {
    let (a_ending, b_ending) = (ending(a), ending(b));
    edit_distance(a, b).saturating_add(edit_distance(a_ending, b_ending).saturating_mul(10))
}

fn ending(name: &[u8]) -> &[u8] {
    let mut stem = name;
    while let Some(rest) = IGNORED.iter().find_map(|end| stem.strip_suffix(*end)) {
        if rest.is_empty() {
            break;
        }
        stem = rest;
    }
    match stem.iter().skip(1).rposition(|&b| b == b'.') {
        Some(dot) => stem.get(dot + 2..).unwrap_or_default(),
        None => &[],
    }
}

/// Insertions, deletions and replacements, a unit of 65536 each, plus the difference of what is
/// inserted, deleted or replaced.
fn edit_distance(a: &[u8], b: &[u8]) -> u64 {
    const UNIT: u64 = 1 << 16;
    let cost = |byte: u8| UNIT + u64::from(byte);
    let mut row: Vec<u64> = std::iter::once(0)
        .chain(b.iter().scan(0, |sum, &byte| {
            *sum += cost(byte);
            Some(*sum)
        }))
        .collect();
    for &x in a {
        let mut diagonal = row[0];
        row[0] += cost(x);
        for (at, &y) in b.iter().enumerate() {
            let replaced = diagonal + if x == y { 0 } else { UNIT + u64::from(x.abs_diff(y)) };
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(row[at] + cost(y)).min(diagonal + cost(x));
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_a_file_are_nearer_than_strangers() {
        let near = distance(b"report-2025.pdf", b"report-2026.pdf");
        assert!(near <= LIMIT);
        assert!(near < distance(b"report-2025.pdf", b"report-2026.txt"));
        assert!(distance(b"0123456789abcdefghijklmnopqrstuv", b"x") > LIMIT);
        assert_eq!(edit_distance(b"same", b"same"), 0);
    }

    #[test]
    fn endings_are_behind_the_last_dot_that_counts() {
        assert_eq!(ending(b"a.tar.gz"), b"gz");
        assert_eq!(ending(b"a.txt.bak"), b"txt");
        assert_eq!(ending(b"a.txt~"), b"txt");
        assert_eq!(ending(b".hidden"), b"");
        assert_eq!(ending(b"plain"), b"");
    }
}
