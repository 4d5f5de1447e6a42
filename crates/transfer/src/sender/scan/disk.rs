//! Where the names of the lists are on the disk, and the handles that reading them needs.
//!
//! Directories stay open while they are in use: files of one directory are opened one after the
//! other, so its handle serves them all.

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use driftless_fs::{Dir, Folder, Follow, FsError, Root};
use driftless_tree::RelPath;
use rustix::io::Errno;

/// Roots that stay open at the same time.
const MAX_ROOTS: usize = 16;

/// Directories that stay open at the same time.
const MAX_DIRS: usize = 8;

/// One place that names of the lists come from: an argument's directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Origin {
    /// The directory's path, as the operator gave it.
    pub(crate) base: Vec<u8>,
    /// What the names of the lists have in front of what lies below `base`; empty for nothing.
    pub(crate) prefix: Vec<u8>,
    /// The absolute path of `base`, for texts.
    pub(crate) shown: Vec<u8>,
    /// The argument's path that names are relative to, for reports.
    pub(crate) source_dir: Vec<u8>,
    /// Which rules are in force, see [`super::filters::Filters`].
    pub(crate) rules: usize,
    /// The argument's device, which is not left with `-x`.
    pub(crate) dev: u64,
}

impl Origin {
    /// The path below the base; `None` is the base itself.
    pub(crate) fn below<'a>(&self, name: &'a [u8]) -> Option<&'a [u8]> {
        if self.prefix.is_empty() {
            return (name != b".").then_some(name);
        }
        let rest = name.strip_prefix(self.prefix.as_slice()).unwrap_or(name);
        let rest = rest.strip_prefix(b"/").unwrap_or(rest);
        (!rest.is_empty()).then_some(rest)
    }

    /// The full path of a name, for texts.
    pub(crate) fn full_path(&self, name: &[u8]) -> Vec<u8> {
        match self.below(name) {
            None => self.shown.clone(),
            Some(rest) => join(&self.shown, rest),
        }
    }
}

/// `dir/name`, where the root's slash is not doubled; `name` where it is absolute. A dot in front
/// says nothing.
pub(crate) fn join(dir: &[u8], name: &[u8]) -> Vec<u8> {
    if name.starts_with(b"/") {
        return name.to_vec();
    }
    let name = match name {
        b"." => return dir.to_vec(),
        _ => name.strip_prefix(b"./").unwrap_or(name),
    };
    let mut path = if dir == b"." { Vec::new() } else { dir.to_vec() };
    if !path.ends_with(b"/") && !path.is_empty() {
        path.push(b'/');
    }
    path.extend_from_slice(name);
    path
}

pub(crate) fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

/// The directory part of a name below a base, and the last component.
fn split(path: &[u8]) -> (Option<&[u8]>, &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => (Some(&path[..slash]), &path[slash + 1..]),
        None => (None, path),
    }
}

/// Handles that were used last, the latest at the end.
pub(crate) struct Disk {
    /// Links below an argument are followed on the way.
    follows: bool,
    /// Attributes are those that are stored with files (`--fake-super`).
    stored: bool,
    roots: Vec<(Vec<u8>, Root)>,
    dirs: Vec<(u32, Box<[u8]>, Dir)>,
    /// The directory that something was removed from last: its base, its path below that.
    emptied: Option<(Vec<u8>, Box<[u8]>, Folder)>,
}

impl Disk {
    pub(crate) fn new(follows: bool, stored: bool) -> Self {
        Self { follows, stored, roots: Vec::new(), dirs: Vec::new(), emptied: None }
    }

    /// The root at an operator's path.
    pub(crate) fn root(&mut self, base: &[u8]) -> io::Result<Root> {
        if let Some((_, root)) = self.roots.iter().find(|(path, _)| path == base) {
            return Ok(root.clone());
        }
        let path = if base.is_empty() { Path::new(".") } else { path_of(base) };
        let root = Root::open(path).map_err(|FsError::Open { source, .. }| source)?;
        let root = root.with_stored(self.stored);
        if self.roots.len() == MAX_ROOTS {
            self.roots.remove(0);
        }
        self.roots.push((base.to_vec(), root.clone()));
        Ok(root)
    }

    /// Whether links on the way to a name are followed.
    pub(crate) fn follows_links(&self) -> bool {
        self.follows
    }

    /// Opens a directory of the lists for listing.
    pub(crate) fn open_dir(&mut self, origin: &Origin, name: &[u8]) -> io::Result<Dir> {
        let root = self.root(&origin.base)?;
        let path = rel_path(origin.below(name))?;
        match self.follows {
            true => root.open_dir_following(path.as_ref()),
            false => root.open_dir(path.as_ref()),
        }
    }

    /// The directory that holds a name of the lists, where no link on the way leads out of the base,
    /// and the name's last component.
    ///
    /// # Errors
    /// `LOOP` where one does.
    pub(crate) fn parent_within<'a>(
        &mut self,
        origin: &Origin,
        name: &'a [u8],
    ) -> io::Result<(Folder, Option<&'a [u8]>)> {
        let (dir, leaf) = match origin.below(name).map(split) {
            None => (None, None),
            Some((dir, leaf)) => (dir, Some(leaf)),
        };
        let key = dir.unwrap_or_default();
        if let Some((base, path, folder)) = &self.emptied
            && (&base[..], &**path) == (&origin.base[..], key)
        {
            return Ok((folder.clone(), leaf));
        }
        let follow = if self.follows { Follow::Inside } else { Follow::Nothing };
        let (root, path) = (self.root(&origin.base)?, rel_path(dir)?);
        let folder = root.folder(path.as_ref(), follow).map_err(|error| {
            let is_outside = self.follows && root.open_dir_unlisted(path.as_ref(), true).is_ok();
            if is_outside { Errno::LOOP.into() } else { error }
        })?;
        self.emptied = Some((origin.base.clone(), key.into(), folder.clone()));
        Ok((folder, leaf))
    }

    /// The directory that holds a name of the lists, kept open, and the name's last component;
    /// `None` for the base itself.
    pub(crate) fn parent<'a>(
        &mut self,
        number: u32,
        origin: &Origin,
        name: &'a [u8],
    ) -> io::Result<(&Dir, Option<&'a [u8]>)> {
        let below = origin.below(name);
        let (dir, leaf) = match below.map(split) {
            None => (None, None),
            Some((dir, leaf)) => (dir, Some(leaf)),
        };
        let key = dir.unwrap_or_default();
        let known = self.dirs.iter().rposition(|(at, path, _)| *at == number && **path == *key);
        let at = match known {
            Some(at) => at,
            None => {
                let root = self.root(&origin.base)?;
                let opened = root.open_dir_unlisted(rel_path(dir)?.as_ref(), self.follows)?;
                if self.dirs.len() == MAX_DIRS {
                    self.dirs.remove(0);
                }
                self.dirs.push((number, key.into(), opened));
                self.dirs.len() - 1
            }
        };
        Ok((&self.dirs[at].2, leaf))
    }
}

fn rel_path(path: Option<&[u8]>) -> io::Result<Option<RelPath>> {
    let invalid = |bad| io::Error::new(io::ErrorKind::InvalidInput, bad);
    path.map(RelPath::parse).transpose().map_err(invalid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(base: &str, prefix: &str) -> Origin {
        Origin {
            base: base.as_bytes().to_vec(),
            prefix: prefix.as_bytes().to_vec(),
            shown: format!("/home/{base}").into_bytes(),
            source_dir: Vec::new(),
            rules: 0,
            dev: 0,
        }
    }

    #[test]
    fn names_lead_to_what_is_below_the_base() {
        let plain = origin("src", "");
        assert_eq!(plain.below(b"."), None);
        assert_eq!(plain.below(b"a/b"), Some(&b"a/b"[..]));
        assert_eq!(plain.full_path(b"a"), b"/home/src/a");
        let relative = origin("x/a", "a");
        assert_eq!(relative.below(b"a"), None);
        assert_eq!(relative.below(b"a/b"), Some(&b"b"[..]));
        assert_eq!(relative.full_path(b"a/b"), b"/home/x/a/b");
    }
}
