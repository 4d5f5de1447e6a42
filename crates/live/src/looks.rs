//! What was seen when a name was looked at for a change of its object.
//!
//! An event is read after it happened. The object that was changed may have lost its name meanwhile,
//! to another object or to nobody, and what else it is called is not known then. Whether it had can
//! be known once the kernel's queue was found empty: until then, what happened before a look may
//! still wait in it.

use std::collections::BTreeMap;

use driftless_tree::RelPath;

/// Most names that are kept.
const MAX: usize = 100_000;

/// The looks since the kernel's queue was empty.
#[derive(Debug, Default)]
pub struct Looks {
    names: BTreeMap<RelPath, Look>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Look {
    /// Something is there: what was changed, unless it is told that something came.
    Seen,
    /// Nothing was there.
    Missed,
    /// It was looked at since a rename said that what was changed is called so by now; that it came
    /// is still to be told.
    Expected,
}

impl Looks {
    /// `path` was looked at for a change of its object. `false`: there are too many names; what was
    /// seen so far may have been something else.
    #[must_use]
    pub fn note(&mut self, path: &RelPath, is_there: bool) -> bool {
        let look = if is_there { Look::Seen } else { Look::Missed };
        match self.names.get_mut(path) {
            // Once nothing was there, an object may have been missed.
            Some(known) if *known == Look::Seen => *known = look,
            Some(_) => {}
            None => {
                let fits = self.names.len() < MAX;
                if !fits {
                    self.names.clear();
                }
                self.names.insert(path.clone(), look);
                return fits;
            }
        }
        true
    }

    /// Something came to `path`. Whether a look may have seen that in the place of what was changed.
    #[must_use]
    pub fn came(&mut self, path: &RelPath, is_dir: bool) -> bool {
        let names: Vec<RelPath> = match is_dir {
            true => self.below(path).cloned().collect(),
            false => vec![path.clone()],
        };
        let mut doubtful = false;
        for name in names {
            let Some(look) = self.names.get_mut(&name) else { continue };
            match look {
                Look::Expected => *look = Look::Seen,
                Look::Seen | Look::Missed => doubtful = true,
            }
        }
        doubtful
    }

    /// `from` became `to`. Returns the new names of what was missed: to be looked at, and told of with
    /// [`Looks::found`].
    pub fn renamed(&mut self, from: &RelPath, to: &RelPath, is_dir: bool) -> Vec<RelPath> {
        let missed: Vec<RelPath> = match is_dir {
            true => self.below(from).cloned().collect(),
            false => vec![from.clone()],
        };
        let missed = missed.into_iter().filter(|name| self.names.get(name) == Some(&Look::Missed));
        let moved: Vec<(RelPath, RelPath)> =
            missed.filter_map(|name| Some((name.clone(), name.rebase(from, to)?))).collect();
        for (name, _) in &moved {
            self.names.remove(name);
        }
        moved.into_iter().map(|(_, name)| name).collect()
    }

    /// What was missed under a former name was looked for under this one, of whose coming an event
    /// follows.
    pub fn found(&mut self, path: RelPath, is_there: bool) {
        let look = if is_there { Look::Expected } else { Look::Missed };
        // What was looked at before it came may have been seen in the place of what was changed.
        self.names.entry(path).or_insert(look);
    }

    /// The queue was empty: what was seen was right. Whether something was missed.
    #[must_use]
    pub fn caught_up(&mut self) -> bool {
        std::mem::take(&mut self.names).into_values().any(|look| look == Look::Missed)
    }

    fn below<'a>(&'a self, dir: &'a RelPath) -> impl Iterator<Item = &'a RelPath> {
        let start = dir.as_bytes();
        let behind = self.names.range(dir..).map(|(name, _)| name);
        behind.take_while(|name| name.as_bytes().starts_with(start)).filter(|n| n.is_below(dir))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(raw: &str) -> RelPath {
        RelPath::parse(raw.as_bytes()).unwrap()
    }

    #[test]
    fn what_comes_to_a_name_behind_a_look_may_have_been_seen() {
        for is_there in [true, false] {
            let mut looks = Looks::default();
            assert!(!looks.came(&path("n"), false), "before it is looked at");
            assert!(looks.note(&path("n"), is_there));
            assert!(!looks.came(&path("m"), false));
            assert!(looks.came(&path("n"), false));
            assert_eq!(looks.caught_up(), !is_there);
            assert!(!looks.came(&path("n"), false));
        }
        let mut looks = Looks::default();
        for name in ["d!", "d/e/n", "dd"] {
            assert!(looks.note(&path(name), true));
        }
        assert!(!looks.came(&path("d!"), true) && !looks.came(&path("d/e/n"), true));
        assert!(looks.came(&path("d"), true) && looks.came(&path("d/e"), true));
    }

    #[test]
    fn what_was_renamed_is_found_under_its_new_name() {
        let (old, new) = (path("old"), path("new"));
        let mut looks = Looks::default();
        assert!(looks.note(&old, false));
        assert_eq!(looks.renamed(&old, &new, false), [path("new")]);
        looks.found(new.clone(), true);
        assert!(!looks.came(&new, false), "that is the rename");
        assert!(looks.came(&new, false), "that is another one");
        assert!(!looks.caught_up());

        assert!(looks.note(&path("old/n"), false) && looks.note(&path("old/seen"), true));
        assert_eq!(looks.renamed(&old, &new, true), [path("new/n")]);
        looks.found(path("new/n"), true);
        assert!(!looks.came(&new, true) && looks.came(&new, true));
        assert!(!looks.caught_up());
        assert!(looks.note(&old, false));
        assert_eq!(looks.renamed(&old, &new, false), [path("new")]);
        looks.found(new.clone(), false);
        assert!(looks.caught_up(), "it is not there either");
    }

    #[test]
    fn a_rename_explains_no_look_at_what_it_replaced() {
        for is_there in [true, false] {
            let mut looks = Looks::default();
            assert!(looks.note(&path("n"), is_there) && looks.note(&path("temporary"), false));
            assert_eq!(looks.renamed(&path("temporary"), &path("n"), false), [path("n")]);
            looks.found(path("n"), true);
            assert!(looks.came(&path("n"), false));
        }
    }

    #[test]
    fn too_many_looks_are_no_looks() {
        let mut looks = Looks::default();
        for at in 0..MAX {
            assert!(looks.note(&path(&at.to_string()), true));
        }
        assert!(!looks.note(&path("one more"), true));
        assert!(!looks.came(&path("0"), false));
    }
}
