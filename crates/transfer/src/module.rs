//! What a daemon's module lays down for a session in it.

use std::sync::Arc;

use driftless_filter::{Chain, ReadFile, Rules, Side};
use driftless_fs::{NameService, Owners};
use driftless_proto::item;

use crate::chmod::Chmod;
use crate::error::PushError;

/// The longest value of an extended attribute that a module takes, in bytes.
const MAX_XATTR_VALUE_LEN: usize = 64 << 20;

/// The terms of a module.
#[derive(Debug, Clone)]
pub struct ModuleTerms {
    /// Its name, for texts.
    pub name: Vec<u8>,
    /// The absolute path under which this process reaches it, without a slash at its end; empty for
    /// the root.
    pub root: Vec<u8>,
    /// Applied to the modes of what is listed or received, behind everything else.
    pub chmod: Option<Chmod>,
    /// Texts of links that arrive lose what leads out.
    pub sanitizes_links: bool,
    /// What cannot be read is left out without a word.
    pub ignores_nonreadable: bool,
    /// Knows the names of owners in the system's place.
    pub names: Option<Arc<dyn NameService>>,
    /// Owners keep their numbers: names that arrive do not count, and none are told. The lists of
    /// names are there all the same, since the peer knows nothing of it.
    pub numeric_ids: bool,
    /// The most entries that a client may list in the session; `None`: as many as there is memory for.
    pub max_files: Option<u64>,
    filter: Option<Chain>,
}

/// The longest value of an extended attribute that a session takes, by the module it is in.
pub(crate) fn max_xattr_value_len(module: Option<&ModuleTerms>) -> usize {
    module.map_or(item::MAX_XATTR_VALUE_LEN, |_| MAX_XATTR_VALUE_LEN)
}

/// The rules of a module are in its configuration.
struct NoFiles;

impl ReadFile for NoFiles {
    fn read(&mut self, _: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
        Ok(None)
    }
}

impl ModuleTerms {
    /// Terms without any of what they may hold. `rules` are those of the configuration.
    ///
    /// # Errors
    /// A rule is none.
    pub fn new(name: &[u8], root: &[u8], rules: Rules) -> Result<Self, PushError> {
        let filter = match rules.is_empty() {
            true => None,
            false => Some(
                Chain::root(Arc::new(rules), Side::Sender, &mut NoFiles)
                    .map_err(PushError::Rules)?,
            ),
        };
        Ok(Self {
            name: name.to_vec(),
            root: root.strip_suffix(b"/").unwrap_or(root).to_vec(),
            chmod: None,
            sanitizes_links: false,
            ignores_nonreadable: false,
            names: None,
            numeric_ids: false,
            max_files: None,
            filter,
        })
    }

    /// The part of an absolute path below the module; `None` for the module itself and for what lies
    /// outside.
    fn below<'p>(&self, path: &'p [u8]) -> Option<&'p [u8]> {
        let rest = path.strip_prefix(&self.root[..])?.strip_prefix(b"/")?;
        let rest = rest.strip_suffix(b"/").unwrap_or(rest);
        (!rest.is_empty()).then_some(rest)
    }

    /// Whether the rules hide what is at an absolute path, or a directory above it. The path is taken
    /// as it is spelled: links on it are not looked at.
    pub fn hides(&self, path: &[u8], is_dir: bool) -> bool {
        let Some(chain) = &self.filter else { return false };
        let path = without_dots(path);
        let Some(name) = self.below(&path) else { return false };
        let above = name.iter().enumerate().filter(|(_, b)| **b == b'/').map(|(at, _)| at);
        above.clone().any(|end| chain.check(&name[..end], true).is_excluded())
            || chain.check(name, is_dir).is_excluded()
    }

    /// A client's path as texts have it: where the module is all that the process sees, it begins
    /// with a slash.
    pub(crate) fn named(&self, raw: &[u8]) -> Vec<u8> {
        match self.root.is_empty() && !raw.starts_with(b"/") {
            true => [b"/", raw].concat(),
            false => raw.to_vec(),
        }
    }

    /// An absolute path as it is shown to people: below the module, with the module's name. Where the
    /// module is all that the process sees, it begins with a slash.
    pub fn quoted(&self, path: &[u8]) -> Vec<u8> {
        let shown = match path {
            path if self.root.is_empty() => path,
            path if path == self.root => b".",
            path => self.below(path).unwrap_or(path),
        };
        [b"\"", shown, b"\" (in ", &self.name, b")"].concat()
    }
}

/// Who knows the names of owners where this session is.
pub(crate) fn owners(module: Option<&ModuleTerms>) -> Owners {
    match module.and_then(|module| module.names.clone()) {
        Some(service) => Owners::asking(service),
        None => Owners::new(),
    }
}

/// An absolute path without empty components, `.` and `..`.
fn without_dots(path: &[u8]) -> Vec<u8> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    parts.iter().flat_map(|part| [b"/", *part]).flatten().copied().collect()
}

/// A path between quotes, as texts have it.
pub(crate) fn quoted(module: Option<&ModuleTerms>, path: &[u8]) -> Vec<u8> {
    match module {
        Some(module) => module.quoted(path),
        None => [b"\"", path, b"\""].concat(),
    }
}

/// What becomes of `.` between other components.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dots {
    /// It stays: it marks where the name begins that is kept (`-R`).
    Kept,
    /// It goes.
    Dropped,
}

/// The components of a path, with as many `..` as there are directories to leave: those in it, and
/// `depth` above it.
pub fn bounded(path: &[u8], mut depth: usize, dots: Dots) -> Vec<&[u8]> {
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|b| *b == b'/') {
        match part {
            b"" => {}
            b"." if dots == Dots::Dropped || parts.is_empty() => {}
            b".." => match parts.last() {
                Some(&last) if last != b".." => {
                    parts.pop();
                }
                _ if depth > 0 => {
                    depth -= 1;
                    parts.push(part);
                }
                _ => {}
            },
            part => parts.push(part),
        }
    }
    parts
}

/// The text of a link without what leads out of the module: no slash in front, and no more `..` than
/// the directories that the link lies in. Daemon reference, "munge symlinks".
pub(crate) fn sanitized_link(target: &[u8], name: &[u8]) -> Vec<u8> {
    let depth =
        name.split(|b| *b == b'/').filter(|part| !part.is_empty()).count().saturating_sub(1);
    let parts = bounded(target, depth, Dots::Dropped);
    if parts.is_empty() { b".".to_vec() } else { parts.join(&b'/') }
}

#[cfg(test)]
mod tests {
    use super::*;
    use driftless_filter::{ModuleRules, ParseOptions};

    #[test]
    fn links_lose_what_leads_out() {
        for (target, name, clean) in [
            ("/etc/passwd", "l", "etc/passwd"),
            ("../../x", "l", "x"),
            ("../../x", "d/l", "../x"),
            ("../f", "d/l", "../f"),
            ("a/../b", "l", "b"),
            ("/", "l", "."),
        ] {
            let found = sanitized_link(target.as_bytes(), name.as_bytes());
            assert_eq!(String::from_utf8_lossy(&found), clean, "{target} in {name}");
        }
    }

    #[test]
    fn rules_hide_names_and_all_below_them() {
        let options = ParseOptions {
            delete_excluded: false,
            from0: false,
            protocol: 32,
            root: b"/".to_vec(),
            home_cvsignore: None,
            cvsignore: None,
        };
        let given = ModuleRules { exclude: b"/secret/ *.key".to_vec(), ..ModuleRules::default() };
        let rules = Rules::parse_module(&given, &options, &mut NoFiles).unwrap();
        let terms = ModuleTerms::new(b"m", b"/srv/m", rules).unwrap();
        for (path, hidden) in [
            ("/srv/m/secret", true),
            ("/srv/m/secret/a/b", true),
            ("/srv/m/x/secret", false),
            ("/srv/m/x/a.key", true),
            ("/srv/m/x/a.txt", false),
            ("/srv/m", false),
            ("/srv/m/x/../secret/b", true),
            ("/srv/m//./secret/a", true),
            ("/srv/m/secret/../b", false),
        ] {
            let is_dir = !path.contains('.');
            assert_eq!(terms.hides(path.as_bytes(), is_dir), hidden, "{path}");
        }
        assert_eq!(terms.quoted(b"/srv/m/a"), b"\"a\" (in m)");
        assert_eq!(terms.quoted(b"/srv/m"), b"\".\" (in m)");
        let terms = ModuleTerms::new(b"m", b"/", Rules::none(&options)).unwrap();
        assert_eq!(terms.quoted(b"/a"), b"\"/a\" (in m)");
    }
}
