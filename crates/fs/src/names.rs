//! The names in a directory, in memory that serves one directory after the other.

use crate::dir::Dir;
use driftless_tree::Kind;
use std::io;
use std::ops::Range;

/// The names in the directory that was read last: directories behind all others, each part in the
/// order of its bytes. A name whose kind the file system does not tell is not with the directories.
#[derive(Debug, Default)]
pub struct Names {
    bytes: Vec<u8>,
    found: Vec<Found>,
    buffer: Vec<u8>,
}

#[derive(Debug)]
struct Found {
    name: Range<usize>,
    kind: Option<Kind>,
}

impl Names {
    /// Reads all of `dir`, which nobody has listed through this handle yet.
    ///
    /// # Errors
    /// The listing broke off; the names of this directory are not to be used.
    pub fn read(&mut self, dir: &Dir) -> io::Result<()> {
        let Self { bytes, found, buffer } = self;
        bytes.clear();
        found.clear();
        dir.each(buffer, |name, kind, _| {
            let start = bytes.len();
            bytes.extend_from_slice(name);
            found.push(Found { name: start..bytes.len(), kind });
        })?;
        found.sort_unstable_by(|a, b| {
            let is_dir = |found: &Found| found.kind == Some(Kind::Dir);
            let by_kind = is_dir(a).cmp(&is_dir(b));
            by_kind.then_with(|| bytes[a.name.clone()].cmp(&bytes[b.name.clone()]))
        });
        Ok(())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// Each name, with its kind when the file system tells it in passing.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Option<Kind>)> {
        self.found.iter().map(|found| (&self.bytes[found.name.clone()], found.kind))
    }
}
