//! Which old name explains a new one.
//!
//! Renames are kept in the order they happened; walking them backwards from a name says under which
//! name the same object was when the target last saw it.

use driftless_tree::RelPath;

/// One rename inside the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rename {
    /// The name before.
    pub from: RelPath,
    /// The name after.
    pub to: RelPath,
    /// Whether it moved a directory, with all that is below.
    pub is_dir: bool,
}

/// Renames in the order they happened; past [`MAX_RENAMES`] the oldest are forgotten, which costs
/// bytes and nothing else.
#[derive(Debug, Clone, Default)]
pub struct Renames(Vec<Rename>);

/// How many are remembered.
pub const MAX_RENAMES: usize = 4096;

impl Renames {
    /// Adds the latest.
    pub fn push(&mut self, rename: Rename) {
        if self.0.len() >= MAX_RENAMES {
            self.0.drain(..MAX_RENAMES / 2);
        }
        self.0.push(rename);
    }

    /// The name that the object now called `path` had before all of them; `None` when no rename
    /// touched it.
    pub fn origin(&self, path: &RelPath) -> Option<RelPath> {
        let mut name = path.clone();
        for Rename { from, to, is_dir } in self.0.iter().rev() {
            let moved = if *is_dir || name == *to { name.rebase(to, from) } else { None };
            name = moved.unwrap_or(name);
        }
        (name != *path).then_some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(raw: &str) -> RelPath {
        RelPath::parse(raw.as_bytes()).unwrap()
    }

    #[track_caller]
    fn check(renames: &[(&str, &str)], now: &str, origin: Option<&str>) {
        let mut all = Renames::default();
        for (from, to) in renames {
            let is_dir = from.ends_with('/');
            let name = |raw: &str| path(raw.trim_end_matches('/'));
            all.push(Rename { from: name(from), to: name(to), is_dir });
        }
        assert_eq!(all.origin(&path(now)), origin.map(path));
    }

    #[test]
    fn the_old_name_is_found_through_chains() {
        check(&[("a", "b")], "b", Some("a"));
        check(&[("a", "b"), ("b", "c")], "c", Some("a"));
        check(&[("d/", "e/")], "e/x/y", Some("d/x/y"));
        check(&[("d/", "e/"), ("e/x", "e/z")], "e/z", Some("d/x"));
        check(&[("d/x", "d/z"), ("d/", "e/")], "e/z", Some("d/x"));
        check(&[("a", "b")], "c", None);
        check(&[("a", "b")], "b/x", None);
    }
}
