//! The whole tree, directory by directory: what is in one, what must go from it, then what is below.
//!
//! Memory: the names of the directories on the way down, and the inodes with several names.

use driftless_fs::is_absent;
use driftless_tree::{Kind, Meta, RelPath, Timestamp};
use rustc_hash::{FxHashMap, FxHashSet};

use super::count::count;
use super::listing::{self, Listing};
use super::writer::{Doing, Object, Trouble, Trust, Writer};
use crate::config::MaxDelete;
use crate::lane::report::{Failure, LaneError, PassReport};
use crate::lane::work::View;
use crate::rules::{Chains, SourceRules};

struct Pass<'a> {
    writer: Writer<'a>,
    view: &'a View,
    chains: Chains,
    unknown_since: Option<Timestamp>,
    /// Inodes of the source with several names: the name at the target that the others link to.
    held: FxHashMap<(u64, u64), RelPath>,
    /// The inodes of those at the target.
    claimed: FxHashSet<(u64, u64)>,
    report: PassReport,
}

/// A directory whose attributes are set once all below it is done.
struct Open {
    dir: Option<RelPath>,
    meta: Meta,
    before: Option<Meta>,
    subdirs: Vec<(RelPath, Meta)>,
}

/// Makes the target's tree that of the source.
pub(super) fn pass(
    writer: Writer<'_>,
    view: &View,
    unknown_since: Option<Timestamp>,
    limit: MaxDelete,
) -> PassReport {
    let report = PassReport::new();
    let mut pass = Pass {
        writer,
        view,
        chains: SourceRules::chains(&view.rules),
        unknown_since,
        held: FxHashMap::default(),
        claimed: FxHashSet::default(),
        report,
    };
    let end = pass.guard(limit).and_then(|()| pass.walk());
    PassReport { end, traffic: pass.writer.traffic, ..pass.report }
}

impl Pass<'_> {
    fn guard(&mut self, limit: MaxDelete) -> Result<(), LaneError> {
        if !self.writer.delete || limit == MaxDelete::Unlimited {
            return Ok(());
        }
        let counted = count(&mut self.writer, self.view).map_err(|trouble| match trouble {
            Trouble::Cancelled => LaneError::Cancelled,
            Trouble::Name(failure) => LaneError::Failed(failure.why),
        })?;
        let limit = limit.limit(counted.names);
        if counted.doomed > limit {
            return Err(LaneError::WouldDelete { count: counted.doomed, limit });
        }
        Ok(())
    }

    fn walk(&mut self) -> Result<(), LaneError> {
        let source =
            |error: std::io::Error| LaneError::Failed(format!("cannot read the source: {error}"));
        let meta = self.view.root.meta().map_err(source)?;
        let top = listing::list(&self.view.root, &mut self.chains, None).map_err(source)?;
        let before = self.writer.target.meta().ok();
        let mut stack = vec![Open { dir: None, meta, before, subdirs: Vec::new() }];
        stack[0].subdirs = self.content(None, top)?;
        while let Some(open) = stack.last_mut() {
            match open.subdirs.pop() {
                Some((dir, meta)) => stack.extend(self.enter(dir, meta)?),
                None => {
                    let Some(Open { dir, meta, before, .. }) = stack.pop() else { break };
                    let done = self.writer.finish_directory(dir.as_ref(), &meta, before.as_ref());
                    self.note(dir.as_ref(), done)?;
                }
            }
        }
        Ok(())
    }

    fn enter(&mut self, dir: RelPath, meta: Meta) -> Result<Option<Open>, LaneError> {
        let made = self.writer.go_on().and_then(|()| self.writer.directory(&dir, &meta));
        let Some(before) = self.note(Some(&dir), made)? else { return Ok(None) };
        let subdirs = match listing::list(&self.view.root, &mut self.chains, Some(&dir)) {
            Ok(listing) => self.content(Some(&dir), listing)?,
            // Its own event is on the way.
            Err(error) if is_absent(&error) => Vec::new(),
            Err(error) => {
                let why = format!("cannot list the source: {error}");
                self.report.failed.push((dir.clone(), Failure::lasting(why)));
                Vec::new()
            }
        };
        Ok(Some(Open { dir: Some(dir), meta, before, subdirs }))
    }

    /// Brings over what is in a directory; returns the directories in it. Files first: a rule file
    /// among them decides what is protected.
    fn content(
        &mut self,
        dir: Option<&RelPath>,
        listing: Listing,
    ) -> Result<Vec<(RelPath, Meta)>, LaneError> {
        for (path, error) in listing.unreadable {
            let why = format!("cannot look at the source: {error}");
            self.report.failed.push((path, Failure::lasting(why)));
        }
        let mut subdirs = Vec::new();
        for (path, meta) in &listing.names {
            self.report.presence.insert(path);
            match meta {
                None => {}
                Some(meta) if meta.kind == Kind::Dir => subdirs.push((path.clone(), *meta)),
                Some(meta) => {
                    let done = self.writer.go_on().and_then(|()| self.object(path, meta));
                    self.note(Some(path), done)?;
                }
            }
        }
        if self.writer.delete {
            let done = self.extraneous(dir, &listing.names);
            if let Some(names) = self.note(dir, done)? {
                for name in names {
                    let done = self.writer.go_on().and_then(|()| self.writer.remove(&name));
                    self.note(Some(&name), done)?;
                }
            }
        }
        Ok(subdirs)
    }

    /// Names at the target that the source does not have.
    fn extraneous(
        &self,
        dir: Option<&RelPath>,
        names: &FxHashMap<RelPath, Option<Meta>>,
    ) -> Result<Vec<RelPath>, Trouble> {
        let open = self.writer.target.open_dir(dir).doing("cannot list the target")?;
        let entries = open.entries().doing("cannot list the target")?;
        let found = entries.iter().filter_map(|entry| RelPath::child(dir, &entry.name).ok());
        Ok(found.filter(|path| !names.contains_key(path)).collect())
    }

    fn object(&mut self, path: &RelPath, meta: &Meta) -> Result<(), Trouble> {
        let mut text = Vec::new();
        if meta.kind == Kind::Symlink {
            text = match self.view.root.read_link(path) {
                Ok(text) => text,
                // It is something else by now, and its event on the way.
                Err(error) if is_absent(&error) => return Ok(()),
                answer => answer.doing("cannot read the symbolic link")?,
            };
        }
        let recent = self.unknown_since.is_some_and(|since| meta.ctime >= since);
        let trust = if recent { Trust::Content } else { Trust::QuickCheck };
        let object = Object { path, meta, link_target: &text, trust, settled: false };
        if meta.link_count > 1 {
            self.view.links.seen(path, meta);
            if self.writer.options.hard_links {
                return self.linked(object);
            }
        }
        self.writer.object(&object)
    }

    fn linked(&mut self, mut object: Object<'_>) -> Result<(), Trouble> {
        let inode = (object.meta.dev, object.meta.ino);
        if let Some(held) = self.held.get(&inode)
            && self.writer.link(held, object.path)?
        {
            return Ok(());
        }
        let present = self.writer.present(object.path)?;
        if present.is_some_and(|present| self.claimed.contains(&(present.dev, present.ino))) {
            // It was linked to what is another inode at the source now.
            object.trust = Trust::Nothing;
        }
        self.writer.object(&object)?;
        if let Some(made) = self.writer.present(object.path)? {
            self.claimed.insert((made.dev, made.ino));
            self.held.insert(inode, object.path.clone());
        }
        Ok(())
    }

    /// A name's trouble is reported; the lane's ends the pass.
    fn note<T>(
        &mut self,
        path: Option<&RelPath>,
        done: Result<T, Trouble>,
    ) -> Result<Option<T>, LaneError> {
        match (done, path) {
            (Ok(value), _) => Ok(Some(value)),
            (Err(Trouble::Cancelled), _) => Err(LaneError::Cancelled),
            (Err(Trouble::Name(failure)), Some(path)) => {
                self.report.failed.push((path.clone(), failure));
                Ok(None)
            }
            (Err(Trouble::Name(failure)), None) => {
                self.report.unmatched.push(failure.why);
                Ok(None)
            }
        }
    }
}
