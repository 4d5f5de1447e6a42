//! A directory tree on this machine as the source of a full pass.

use std::io;
use std::sync::Arc;

use driftless_delta::FileSum;
use driftless_filter::{Chain, ReadFile, RuleError, Rules, Side};
use driftless_fs::xattr::Of;
use driftless_fs::{Dir, Names, Root, SourceFile, is_absent};
use driftless_tree::flist::{Entry, HardLink, Origin};
use driftless_tree::{Kind, Meta, RelPath};

use crate::options::{ChecksumKind, TransferOptions};
use crate::push::{Listing, Problem, TreeSource};
use crate::sender::answer::strong;
use crate::source::{add_extras, add_extras_at};

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
        origin: Some(Origin { dev: meta.dev, ino: meta.ino, ctime: meta.ctime }),
        ..Entry::default()
    }
}

/// Lists what is below a root as it is on the disk.
pub struct DiskTree {
    root: Root,
    options: TransferOptions,
    digests: Option<ChecksumKind>,
    filter: Option<Filter>,
    /// Of the directory being listed; kept for its memory.
    names: Names,
}

impl DiskTree {
    /// The tree below `root`, with the kinds of files that `options` transfer.
    pub fn new(root: Root, options: &TransferOptions) -> Self {
        Self {
            root,
            options: options.clone(),
            digests: None,
            filter: None,
            names: Names::default(),
        }
    }

    /// Leaves out what `rules` hide; `files` reads the files that hold rules.
    ///
    /// # Errors
    /// A rule in a file of the root that is none.
    pub fn with_filter(
        mut self,
        rules: Arc<Rules>,
        mut files: Box<dyn ReadFile>,
    ) -> Result<Self, RuleError> {
        let root = Chain::root(rules, Side::Sender, files.as_mut())?;
        self.filter = Some(Filter { root, inner: Vec::new(), files });
        Ok(self)
    }

    fn wants(&self, kind: Kind) -> bool {
        match kind {
            Kind::File | Kind::Dir => true,
            Kind::Symlink => self.options.links,
            Kind::CharDevice | Kind::BlockDevice => self.options.devices,
            Kind::Fifo | Kind::Socket => self.options.specials,
        }
    }

    /// `None`: it is hidden, or of a kind that is not transferred.
    fn entry(
        &self,
        dir: &Dir,
        name: &[u8],
        told: Option<Kind>,
        path: &[u8],
        chain: Option<&Chain>,
    ) -> io::Result<Option<Entry>> {
        let hidden =
            |kind| chain.is_some_and(|chain| chain.check(path, kind == Kind::Dir).is_excluded());
        // The kind that came with the name saves asking about what is hidden.
        if told.is_some_and(hidden) {
            return Ok(None);
        }
        let meta = dir.lstat(name)?;
        if !self.wants(meta.kind) || told != Some(meta.kind) && hidden(meta.kind) {
            return Ok(None);
        }
        let target = match meta.kind {
            Kind::Symlink => dir.read_link(name)?,
            _ => Vec::new(),
        };
        let mut entry = entry_of(path, &meta, target, self.options.hard_links);
        add_extras(dir, Of::Entry(name), &self.options, &mut entry)?;
        if let (Some(kind), Kind::File) = (self.digests, meta.kind) {
            let path = RelPath::parse(path)
                .map_err(|bad| io::Error::new(io::ErrorKind::InvalidInput, bad))?;
            entry.checksum = file_sum(&self.root.open_file(&path)?, kind, || true)?;
        }
        Ok(Some(entry))
    }
}

impl TreeSource for DiskTree {
    fn root(&mut self) -> io::Result<Entry> {
        let mut root = entry_of(b".", &self.root.meta()?, Vec::new(), false);
        add_extras_at(&self.root, None, &self.options, &mut root)?;
        Ok(root)
    }

    fn carry_digests(&mut self, kind: ChecksumKind) {
        self.digests = Some(kind);
    }

    fn list(&mut self, dir: Option<&RelPath>) -> Listing {
        let mut listing = Listing::default();
        let dir_name = dir.map_or(&b"."[..], RelPath::as_bytes);
        let mut names = std::mem::take(&mut self.names);
        let opened = self.root.open_dir(dir).and_then(|open| {
            names.read(&open)?;
            Ok(open)
        });
        let open = match opened {
            Ok(open) => open,
            Err(error) => {
                listing.problems.push(problem(dir_name, error));
                return listing;
            }
        };
        let chain = match self.filter.as_mut().map(|filter| filter.enter(dir)).transpose() {
            Ok(chain) => chain,
            Err(bad) => {
                listing.problems.push(problem(dir_name, io::Error::other(bad)));
                return listing;
            }
        };
        let mut path = Vec::new();
        if let Some(dir) = dir {
            path.extend_from_slice(dir.as_bytes());
            path.push(b'/');
        }
        let above = path.len();
        listing.entries.reserve(names.len());
        for (name, told) in names.iter() {
            path.truncate(above);
            path.extend_from_slice(name);
            match self.entry(&open, name, told, &path, chain.as_ref()) {
                Ok(entry) => listing.entries.extend(entry),
                Err(error) => listing.problems.push(problem(&path, error)),
            }
        }
        self.names = names;
        listing
    }
}

/// The rules in force along the way to the directory that was listed last.
struct Filter {
    root: Chain,
    /// Directories below the root, each in the one before.
    inner: Vec<(RelPath, Chain)>,
    files: Box<dyn ReadFile>,
}

impl Filter {
    /// The rules in `dir`. A depth-first walk reads each directory's rule files once.
    fn enter(&mut self, dir: Option<&RelPath>) -> Result<Chain, RuleError> {
        let Some(dir) = dir else { return Ok(self.root.clone()) };
        self.inner.retain(|(outer, _)| dir.is_below(outer));
        let known = self.inner.len();
        for way in dir.ancestors().chain([dir.clone()]).skip(known) {
            let outer = self.inner.last().map_or(&self.root, |(_, chain)| chain);
            let chain = outer.enter(&way, self.files.as_mut())?;
            self.inner.push((way, chain));
        }
        let (_, chain) = self.inner.last().expect("the directory itself was pushed");
        Ok(chain.clone())
    }
}

fn problem(name: &[u8], error: io::Error) -> Problem {
    let error = if is_absent(&error) { io::ErrorKind::NotFound.into() } else { error };
    Problem { name: name.into(), error }
}

/// The unseeded digest of a whole file.
///
/// # Errors
/// It cannot be read, or `go_on`, asked between pieces, says no.
pub fn file_sum(
    file: &SourceFile,
    kind: ChecksumKind,
    go_on: impl Fn() -> bool,
) -> io::Result<Box<[u8]>> {
    let mut sum = FileSum::new(strong(kind));
    let mut buffer = vec![0; 256 * 1024];
    let mut offset = 0;
    loop {
        if !go_on() {
            return Err(io::ErrorKind::Interrupted.into());
        }
        let len = file.read_at(offset, &mut buffer)?;
        if len == 0 {
            return Ok(sum.finish().as_bytes().into());
        }
        sum.update(&buffer[..len]);
        offset += len as u64;
    }
}
