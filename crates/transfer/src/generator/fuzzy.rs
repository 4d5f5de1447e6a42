//! `--fuzzy`: a file of a similar name, or of equal size and time, as the basis of a new one.
//! Command-line reference, "Quick check and update decision".

use std::rc::Rc;

use driftless_fs::Folder;
use driftless_tree::flist::Entry;
use driftless_tree::{Kind, Meta};

use crate::generator::basis::BasisChoice;
use crate::receiver::Session;
use crate::receiver::lists::{leaf_of, parent_of};

/// Names that differ by more have nothing to do with each other: 25 units of the distance.
const LIMIT: u64 = 25 << 16;

/// Entries of a directory that are looked at.
const MAX_CANDIDATES: usize = 20_000;

/// Endings that do not count.
const IGNORED: [&[u8]; 4] = [b".bak", b".old", b".orig", b"~"];

/// The files of one directory, and of those in its place in the alternate directories, as they were
/// when a basis was first looked for in it (seen: what is changed meanwhile is remembered as it was).
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    /// Below the destination.
    dir: Box<[u8]>,
    /// The destination's own, then those of each alternate directory, sorted by name.
    places: Vec<Vec<Candidate>>,
}

#[derive(Debug, Clone)]
struct Candidate {
    name: Box<[u8]>,
    meta: Meta,
}

impl Candidates {
    /// A file is about to be replaced: it is no basis for those that come later.
    fn strike(&mut self, dir: &[u8], leaf: &[u8]) {
        if let Some(own) = self.places.first_mut().filter(|_| *self.dir == *dir)
            && let Ok(at) = own.binary_search_by(|candidate| (*candidate.name).cmp(leaf))
        {
            own.remove(at);
        }
    }

    /// The place and the file that has the same size and time, or else the most similar name.
    fn best(&self, leaf: &[u8], is_twin: impl Fn(&Meta) -> bool) -> Option<(usize, &Candidate)> {
        let all =
            || self.places.iter().enumerate().flat_map(|(at, p)| p.iter().map(move |c| (at, c)));
        all().find(|(_, candidate)| is_twin(&candidate.meta)).or_else(|| {
            let distances = all().map(|found| (distance(&found.1.name, leaf), found));
            let near = distances.filter(|(distance, _)| *distance <= LIMIT);
            // Of equal ones the last (seen).
            let best = near.reduce(|best, next| if next.0 <= best.0 { next } else { best });
            best.map(|(_, found)| found)
        })
    }
}

impl Session<'_> {
    /// The most similar file beside the entry's place, or, with the option given twice, in the same
    /// directory of an alternate directory.
    pub(crate) fn fuzzy_basis(
        &mut self,
        entry: &Entry,
        name: &Rc<[u8]>,
    ) -> Option<(BasisChoice, Meta)> {
        let dir = parent_of(name);
        if self.candidates.places.is_empty() || *self.candidates.dir != *dir {
            self.candidates = self.list_candidates(dir);
        }
        let is_twin = |meta: &Meta| {
            meta.size == entry.size && self.likeness.same_time(entry.mtime, meta.mtime)
        };
        let (place, found) = self.candidates.best(leaf_of(name), is_twin)?;
        let found_name = found.name.clone();
        let choice = match place.checked_sub(1) {
            None => BasisChoice::Fuzzy(found_name),
            Some(alternate) => BasisChoice::AlternateFuzzy(alternate as u8, found_name),
        };
        Some((choice, found.meta))
    }

    /// A file that is there is requested.
    pub(crate) fn strike_candidate(&mut self, name: &[u8]) {
        self.candidates.strike(parent_of(name), leaf_of(name));
    }

    fn list_candidates(&mut self, dir: &[u8]) -> Candidates {
        let own = self.folder(dir).ok().cloned();
        let mut places = vec![own.map(|folder| self.list_files(&folder, None, dir))];
        let alternates = match self.options.update.fuzzy {
            0 | 1 => 0,
            _ => self.destination.as_ref().map_or(0, |d| d.alternates.len()),
        };
        for at in 0..alternates {
            let folder = self.alternate_folder(at, dir).ok();
            places.push(folder.map(|folder| self.list_files(&folder, Some(at), dir)));
        }
        let places = places.into_iter().map(Option::unwrap_or_default).collect();
        Candidates { dir: dir.into(), places }
    }

    /// The files in `folder`, sorted; `alternate`: the number of the alternate directory that it is
    /// in.
    fn list_files(&self, folder: &Folder, alternate: Option<usize>, dir: &[u8]) -> Vec<Candidate> {
        let names = folder.list().and_then(|list| list.entries()).unwrap_or_default();
        let mut found = Vec::new();
        for candidate in names.into_iter().take(MAX_CANDIDATES) {
            if candidate.kind.is_some_and(|kind| kind != Kind::File) {
                continue;
            }
            let Ok(meta) = folder.lstat(&candidate.name) else { continue };
            if meta.kind != Kind::File || meta.size == 0 {
                continue;
            }
            let path = match dir {
                b"" => candidate.name.to_vec(),
                dir => [dir, b"/", &candidate.name].concat(),
            };
            let is_hidden = match alternate {
                None => self.hides(&self.full_path(&path), false),
                Some(at) => self.alternate_hides(at, &path, false),
            };
            if !is_hidden {
                found.push(Candidate { name: candidate.name.into(), meta });
            }
        }
        found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        found
    }
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
    use std::path::Path;

    use driftless_fs::Root;

    use super::*;

    #[test]
    fn versions_of_a_file_are_nearer_than_strangers() {
        let near = distance(b"report-2025.pdf", b"report-2026.pdf");
        assert!(near <= LIMIT);
        assert!(near < distance(b"report-2025.pdf", b"report-2026.txt"));
        assert!(distance(b"0123456789abcdefghijklmnopqrstuv", b"x") > LIMIT);
        assert_eq!(edit_distance(b"same", b"same"), 0);
    }

    fn candidates(places: &[&[&str]]) -> Candidates {
        let meta = Root::open(Path::new("/")).unwrap().meta().unwrap();
        let candidate = |name: &&str| Candidate { name: name.as_bytes().into(), meta };
        let place = |names: &&[&str]| names.iter().map(candidate).collect();
        Candidates { dir: b"d"[..].into(), places: places.iter().map(place).collect() }
    }

    #[track_caller]
    fn check(candidates: &Candidates, name: &str, expected: Option<(usize, &str)>) {
        let found = candidates.best(name.as_bytes(), |_| false);
        let expected = expected.map(|(place, name)| (place, name.as_bytes()));
        assert_eq!(found.map(|(place, found)| (place, &*found.name)), expected);
    }

    #[test]
    fn of_equally_similar_names_the_last_one_counts() {
        check(&candidates(&[&["ml", "mn"]]), "mm", Some((0, "mn")));
        check(&candidates(&[&["mn"], &["ml"]]), "mm", Some((1, "ml")));
    }

    #[test]
    fn the_first_twin_wins_over_all_names() {
        let candidates = candidates(&[&["aa", "ml"], &["mm"]]);
        let (place, found) = candidates.best(b"mm", |_| true).unwrap();
        assert_eq!((place, &*found.name), (0, &b"aa"[..]));
    }

    #[test]
    fn what_is_replaced_is_no_basis_any_more_but_in_the_alternates() {
        let mut candidates = candidates(&[&["mk", "ml"], &["ml"]]);
        candidates.strike(b"other", b"mk");
        candidates.strike(b"d", b"ml");
        check(&candidates, "mm", Some((1, "ml")));
        candidates.places.truncate(1);
        check(&candidates, "mm", Some((0, "mk")));
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
