//! Names that a client asked for: a server may list these and what is below them, nothing else.
//! Security reference, "Protocol-state rules".

use std::collections::HashSet;
use std::sync::Arc;

use driftless_filter::{Chain, Given, ParseOptions, ReadFile, Rules, Side};
use driftless_tree::Kind;
use driftless_tree::flist::Entry;
use driftless_tree::path::printable;

use crate::error::PushError;
use crate::receiver::lists::parent_of;
use crate::report::{Role, told_reason};

/// What may be listed.
pub(crate) struct Requested {
    /// `None`: every name.
    names: Option<Names>,
    /// Our own rules, as far as they can be applied without the files of the other side.
    hidden: Option<Chain>,
}

/// Where a name was given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Origin {
    /// Wildcards in it are expanded by the other side.
    Argument,
    /// It means itself.
    Listed,
}

#[derive(Default)]
struct Names {
    /// These, and what is below them.
    whole: HashSet<Vec<u8>>,
    /// Directories on the way to them.
    parents: HashSet<Vec<u8>>,
    /// Patterns with wildcards, which the other side expands, and directories on the way to them.
    patterns: Option<Chain>,
    /// The patterns alone.
    matches: Option<Chain>,
}

impl Requested {
    /// Everything.
    pub(crate) fn anything() -> Self {
        Self { names: None, hidden: None }
    }

    /// `sources` as given, without host or module; none means that they are not known. `listed`
    /// are the names of a list that was sent.
    pub(crate) fn new(
        sources: &[Vec<u8>],
        listed: Option<&[Vec<u8>]>,
        relative: bool,
        given: &[Given],
        rules: &Arc<Rules>,
    ) -> Self {
        let names = match listed {
            Some(listed) => Names::of(listed, relative, Origin::Listed),
            None if sources.is_empty() => None,
            None => Names::of(sources, relative, Origin::Argument),
        };
        Self { names, hidden: own_rules(given, rules) }
    }

    /// What there is to tell of a rule that asks for this name.
    pub(crate) fn why(&self, entry: &Entry) -> Option<Vec<u8>> {
        let name = entry.name.strip_prefix(b"/").unwrap_or(&entry.name);
        let is_dir = entry.kind() == Some(Kind::Dir);
        let reason = self.hidden.as_ref()?.reason(name, is_dir, false)?;
        let told = reason.includes() && name != b".";
        told.then(|| told_reason(Role::Generator, "risking", name, is_dir, &reason))
    }

    /// Refuses a name that was not asked for. What is a directory on the way to others stays one:
    /// whatever its flags say, nothing in it is listed as a whole, so that nothing can be missing.
    pub(crate) fn check(&self, entry: &mut Entry) -> Result<(), PushError> {
        let name = entry.name.strip_prefix(b"/").unwrap_or(&entry.name);
        let is_root = name == b"." || name.is_empty();
        if self.names.as_ref().is_some_and(|names| is_root || !names.cover(name)) {
            entry.dir.no_content = true;
        }
        if is_root {
            return Ok(());
        }
        let is_dir = entry.kind() == Some(Kind::Dir);
        if let Some(names) = &self.names
            && !names.allow(name, is_dir)
        {
            return Err(refusal("unrequested", name));
        }
        if let Some(hidden) = &self.hidden
            && hidden.check(name, is_dir).is_excluded()
        {
            return Err(refusal("excluded", name));
        }
        Ok(())
    }
}

fn refusal(what: &str, name: &[u8]) -> PushError {
    let text = format!("ERROR: rejecting {what} file-list name: {}", printable(name));
    PushError::Fatal { text, exit: 4 }
}

impl Names {
    /// `None` when every name is asked for, or what the other side makes of an argument is unknown.
    fn of(arguments: &[Vec<u8>], relative: bool, from: Origin) -> Option<Self> {
        let mut names = Self::default();
        let mut patterns = Vec::new();
        for argument in arguments {
            let dot_dir = argument.is_empty()
                || argument.ends_with(b"/")
                || argument == b"."
                || argument.ends_with(b"/.")
                || argument.ends_with(b"..");
            let path = match relative {
                true => relative_part(argument),
                false if dot_dir => return None,
                false => argument.rsplit(|&b| b == b'/').next().unwrap_or_default().to_vec(),
            };
            if path.is_empty() || (from == Origin::Argument && is_obscure(argument, &path)) {
                return None;
            }
            if from == Origin::Argument && path.iter().any(|b| b"*?[".contains(b)) {
                patterns.push(path.clone());
            }
            // Where nothing matches a pattern, it means itself.
            let mut parent = parent_of(&path);
            while !parent.is_empty() {
                names.parents.insert(parent.to_vec());
                parent = parent_of(parent);
            }
            names.whole.insert(path);
        }
        if !patterns.is_empty() {
            names.patterns = pattern_chain(&patterns, true);
            names.matches = pattern_chain(&patterns, false);
        }
        Some(names)
    }

    fn allow(&self, name: &[u8], is_dir: bool) -> bool {
        if is_dir && self.parents.contains(name) {
            return true;
        }
        let matches = |chain: &Chain| !chain.check(name, is_dir).is_excluded();
        self.holds(name) || self.patterns.as_ref().is_some_and(matches)
    }

    /// Whether a directory of this name was asked for with all that is in it.
    fn cover(&self, name: &[u8]) -> bool {
        let matches = |chain: &Chain| {
            // A rule with a slash in the middle speaks of what lies below what it matches, too.
            let ends = name.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
            ends.chain([name.len()]).any(|end| !chain.check(&name[..end], true).is_excluded())
        };
        self.holds(name) || self.matches.as_ref().is_some_and(matches)
    }

    fn holds(&self, name: &[u8]) -> bool {
        let mut at = name;
        while !at.is_empty() {
            if self.whole.contains(at) {
                return true;
            }
            at = parent_of(at);
        }
        false
    }
}

/// Whether the name depends on what is known on the other side only: a home, or how much of the
/// quoting is taken away.
fn is_obscure(argument: &[u8], path: &[u8]) -> bool {
    path.contains(&b'\\') || (argument.starts_with(b"~") && argument.starts_with(path))
}

/// The name that an argument gets with `--relative`.
fn relative_part(argument: &[u8]) -> Vec<u8> {
    let marker = argument.windows(3).position(|window| window == b"/./");
    let rest = marker.map_or(argument, |at| &argument[at + 3..]);
    let parts = rest.split(|&b| b == b'/').filter(|part| !part.is_empty() && *part != b".");
    parts.collect::<Vec<_>>().join(&b'/')
}

/// Everything but what matches one of the patterns, or is below it, or, `with_parents`, above it, is
/// excluded.
fn pattern_chain(patterns: &[Vec<u8>], with_parents: bool) -> Option<Chain> {
    let mut given = Vec::new();
    for path in patterns {
        let mut parent = if with_parents { parent_of(path) } else { b"" };
        while !parent.is_empty() {
            given.push(Given::Filter([b"+ /", parent, b"/"].concat()));
            parent = parent_of(parent);
        }
        given.push(Given::Filter([b"+ /", &path[..]].concat()));
        given.push(Given::Filter([b"+ /", &path[..], b"/**"].concat()));
    }
    given.push(Given::Filter(b"- *".to_vec()));
    let options = ParseOptions {
        delete_excluded: false,
        from0: false,
        protocol: 32,
        root: b"/".to_vec(),
        home_cvsignore: None,
        cvsignore: None,
    };
    let rules = Rules::parse(&given, &options, &mut Nowhere).ok()?;
    Chain::root(Arc::new(rules), Side::Receiver, &mut Nowhere).ok()
}

/// Our own rules as the sender should have applied them. Files beside the names, and the path of
/// the other side's root, are unknown here: where rules depend on them, nothing is checked.
fn own_rules(given: &[Given], rules: &Arc<Rules>) -> Option<Chain> {
    let full_path = |one: &Given| match one {
        Given::Filter(text) => {
            let mods = text.split(|b| matches!(b, b' ' | b'_')).next().unwrap_or_default();
            mods.contains(&b'/')
        }
        _ => false,
    };
    if rules.is_empty() || rules.has_per_dir() || given.iter().any(full_path) {
        return None;
    }
    Chain::root(Arc::clone(rules), Side::Sender, &mut Nowhere).ok()
}

struct Nowhere;

impl ReadFile for Nowhere {
    fn read(&mut self, _: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_from(from: Origin, sources: &[&str], relative: bool, name: &str, allowed: bool) {
        let sources: Vec<Vec<u8>> = sources.iter().map(|s| s.as_bytes().to_vec()).collect();
        let names = Names::of(&sources, relative, from);
        let is_dir = name.ends_with('/');
        let name = name.strip_suffix('/').unwrap_or(name);
        let got = names.is_none_or(|names| names.allow(name.as_bytes(), is_dir));
        assert_eq!(got, allowed, "{sources:?} {name}");
    }

    #[track_caller]
    fn check(sources: &[&str], relative: bool, name: &str, allowed: bool) {
        check_from(Origin::Argument, sources, relative, name, allowed);
    }

    #[track_caller]
    fn check_listed(listed: &[&str], relative: bool, name: &str, allowed: bool) {
        check_from(Origin::Listed, listed, relative, name, allowed);
    }

    #[test]
    fn only_what_was_asked_for_may_be_listed() {
        check(&["a/dir"], false, "dir/", true);
        check(&["a/dir"], false, "dir/x", true);
        check(&["a/dir"], false, "other", false);
        check(&["a/dir"], false, "directory", false);
        check(&["a/dir/"], false, "anything", true);
        check(&["a/*.c"], false, "x.c", true);
        check(&["a/*.c"], false, "x.h", false);
        check(&["a/d*"], false, "dir/x/y", true);
        check(&["a/b/f"], true, "a/", true);
        check(&["a/b/f"], true, "a", false);
        check(&["a/b/f"], true, "a/b/f", true);
        check(&["a/b/f"], true, "a/c", false);
        check(&["a/./b/f"], true, "b/f", true);
        check(&["a/./b/f"], true, "a/b/f", false);
    }

    #[test]
    fn a_pattern_that_matches_nothing_means_itself() {
        check(&["a/f[1].txt"], false, "f[1].txt", true);
        check(&["a/f[1].txt"], false, "f1.txt", true);
        check(&["a/f[1].txt"], false, "f2.txt", false);
        check(&["a/[[:alpha:]].c"], false, "b.c", true);
        check(&["a/[[:alpha:]].c"], false, "1.c", false);
        check(&["a/{b,c}"], false, "{b,c}", true);
        check(&["a/{b,c}"], false, "b", false);
        check(&["a/d*/f"], true, "a/d[1]/f", true);
    }

    #[test]
    fn what_only_the_other_side_knows_is_not_checked() {
        check(&["a/\\*b"], false, "*b", true);
        check(&["~"], false, "root", true);
        check(&["~/f"], false, "f", true);
        check(&["~/f"], false, "g", false);
        check(&["~/f"], true, "root/f", true);
    }

    #[test]
    fn names_of_a_list_mean_themselves() {
        check_listed(&["a/f[1]"], true, "a/f[1]", true);
        check_listed(&["a/f*"], true, "a/f*", true);
        check_listed(&["a/f*"], true, "a/fg", false);
        check_listed(&["a/f"], false, "f", true);
        check_listed(&["a/f"], false, "a", false);
        check_listed(&["a\\b"], true, "a\\b", true);
        check_listed(&["a\\b"], true, "other", false);
    }
}
