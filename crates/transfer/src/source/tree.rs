//! A directory tree on this machine as the source of a full pass.

use std::io;

use driftless_delta::FileSum;
use driftless_fs::{Dir, DirEntry, Root, SourceFile, is_absent};
use driftless_tree::flist::{Entry, HardLink};
use driftless_tree::{Kind, Meta, RelPath};

use crate::options::{ChecksumKind, TransferOptions};
use crate::push::{Listing, Problem, TreeSource};
use crate::sender::answer::strong;

/// The entry for a file with these attributes; `link_target` is the text of a symbolic link.
///
/// With `hard_links`, a file of several names carries its inode, as [`crate::push_tree`] wants it.
pub fn entry_of(name: &[u8], meta: &Meta, link_target: Vec<u8>, hard_links: bool) -> Entry {
    let linked = hard_links && meta.link_count > 1 && meta.kind != Kind::Dir;
    let has_content = matches!(meta.kind, Kind::File | Kind::Dir | Kind::Symlink);
    Entry {
        name: name.into(),
        mode: meta.mode,
        size: if has_content { meta.size } else { 0 },
        mtime: meta.mtime,
        uid: meta.uid,
        gid: meta.gid,
        rdev: meta.rdev,
        link_target: link_target.into(),
        hard_link: linked.then_some(HardLink::Inode { dev: meta.dev, ino: meta.ino }),
        ..Entry::default()
    }
}

/// Lists what is below a root as it is on the disk.
pub struct DiskTree {
    root: Root,
    links: bool,
    devices: bool,
    specials: bool,
    hard_links: bool,
    digests: Option<ChecksumKind>,
    /// Names of the directory being listed; kept for its memory.
    names: Vec<DirEntry>,
}

impl DiskTree {
    /// The tree below `root`, with the kinds of files that `options` transfer.
    pub fn new(root: Root, options: &TransferOptions) -> Self {
        Self {
            root,
            links: options.links,
            devices: options.devices,
            specials: options.specials,
            hard_links: options.hard_links,
            digests: None,
            names: Vec::new(),
        }
    }

    fn wants(&self, kind: Kind) -> bool {
        match kind {
            Kind::File | Kind::Dir => true,
            Kind::Symlink => self.links,
            Kind::CharDevice | Kind::BlockDevice => self.devices,
            Kind::Fifo | Kind::Socket => self.specials,
        }
    }

    /// `None`: it is of a kind that is not transferred.
    fn entry(&self, dir: &Dir, name: &[u8], path: &[u8]) -> io::Result<Option<Entry>> {
        let meta = dir.lstat(name)?;
        if !self.wants(meta.kind) {
            return Ok(None);
        }
        let target = match meta.kind {
            Kind::Symlink => dir.read_link(name)?,
            _ => Vec::new(),
        };
        let mut entry = entry_of(path, &meta, target, self.hard_links);
        if let (Some(kind), Kind::File) = (self.digests, meta.kind) {
            let path = RelPath::parse(path)
                .map_err(|bad| io::Error::new(io::ErrorKind::InvalidInput, bad))?;
            entry.checksum = file_sum(&self.root.open_file(&path)?, kind)?;
        }
        Ok(Some(entry))
    }
}

impl TreeSource for DiskTree {
    fn root(&mut self) -> io::Result<Entry> {
        Ok(entry_of(b".", &self.root.meta()?, Vec::new(), false))
    }

    fn carry_digests(&mut self, kind: ChecksumKind) {
        self.digests = Some(kind);
    }

    fn list(&mut self, dir: Option<&RelPath>) -> Listing {
        let mut listing = Listing::default();
        let dir_name = dir.map_or(&b"."[..], RelPath::as_bytes);
        let mut names = std::mem::take(&mut self.names);
        names.clear();
        let opened = self.root.open_dir(dir).and_then(|open| {
            let complete = open.read(&mut names);
            Ok((open, complete?))
        });
        let open = match opened {
            Ok((open, ())) => open,
            Err(error) => {
                listing.problems.push(problem(dir_name, error));
                return listing;
            }
        };
        let mut path = Vec::new();
        listing.entries.reserve(names.len());
        for DirEntry { name, .. } in &names {
            path.clear();
            if let Some(dir) = dir {
                path.extend_from_slice(dir.as_bytes());
                path.push(b'/');
            }
            path.extend_from_slice(name);
            match self.entry(&open, name, &path) {
                Ok(entry) => listing.entries.extend(entry),
                Err(error) => listing.problems.push(problem(&path, error)),
            }
        }
        self.names = names;
        listing
    }
}

fn problem(name: &[u8], error: io::Error) -> Problem {
    let error = if is_absent(&error) { io::ErrorKind::NotFound.into() } else { error };
    Problem { name: name.into(), error }
}

/// The unseeded digest of a whole file.
fn file_sum(file: &SourceFile, kind: ChecksumKind) -> io::Result<Box<[u8]>> {
    let mut sum = FileSum::new(strong(kind));
    let mut buffer = vec![0; 256 * 1024];
    let mut offset = 0;
    loop {
        let len = file.read_at(offset, &mut buffer)?;
        if len == 0 {
            return Ok(sum.finish().as_bytes().into());
        }
        sum.update(&buffer[..len]);
        offset += len as u64;
    }
}
