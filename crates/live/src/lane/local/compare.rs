//! What a directory holds, compared with the source name by name; nothing is changed.

use driftless_fs::is_absent;
use driftless_tree::{Kind, Meta, RelPath};
use rustc_hash::{FxHashMap, FxHashSet};

use super::extras::is_acl;
use super::listing;
use super::writer::{Doing, Object, Trouble, Trust, Writer};
use crate::lane::report::{Comparison, Failure, LaneError};
use crate::lane::verify::Chosen;
use crate::lane::work::View;
use crate::rules::Chains;
use crate::status::Aspect;

struct Compare<'a> {
    writer: Writer<'a>,
    view: &'a View,
    chains: Chains,
    chosen: Option<&'a Chosen>,
    /// Inodes of the source with several names, and that of the target which has their first one.
    held: FxHashMap<(u64, u64), (u64, u64)>,
    /// The inodes of the target among those.
    claimed: FxHashSet<(u64, u64)>,
    comparison: Comparison,
}

/// Compares the target with the source, contents byte by byte.
pub(super) fn compare(writer: Writer<'_>, view: &View, chosen: Option<&Chosen>) -> Comparison {
    let mut compare = Compare {
        writer,
        view,
        chains: view.rules.chains(),
        chosen,
        held: FxHashMap::default(),
        claimed: FxHashSet::default(),
        comparison: Comparison::new(),
    };
    let end = compare.walk();
    Comparison { end, ..compare.comparison }
}

impl Compare<'_> {
    fn walk(&mut self) -> Result<(), LaneError> {
        let source = self.view.root.meta();
        let source = source
            .map_err(|error| LaneError::Failed(format!("cannot read the source: {error}")))?;
        let target = self.writer.target.meta();
        let target = target
            .map_err(|error| LaneError::Failed(format!("cannot read the target: {error}")))?;
        match self.attributes(None, &source, &target) {
            Ok(aspects) => self.differs(None, aspects),
            Err(Trouble::Name(failure)) => self.note(None, failure),
            Err(Trouble::Cancelled) => return Err(LaneError::Cancelled),
        }
        let mut dirs: Vec<Option<RelPath>> = vec![None];
        while let Some(dir) = dirs.pop() {
            match self.directory(dir.as_ref()) {
                Ok(more) => dirs.extend(more),
                Err(Trouble::Cancelled) => return Err(LaneError::Cancelled),
                Err(Trouble::Name(failure)) => self.note(dir.as_ref(), failure),
            }
        }
        Ok(())
    }

    /// Compares what is in a directory of the source; returns the directories in it.
    fn directory(&mut self, dir: Option<&RelPath>) -> Result<Vec<Option<RelPath>>, Trouble> {
        let listing = match listing::list(&self.view.root, &mut self.chains, dir) {
            Err(error) if is_absent(&error) => return Ok(Vec::new()),
            listing => listing.doing("cannot list the source")?,
        };
        for (path, error) in listing.unreadable {
            let why = format!("cannot look at the source: {error}");
            self.note(Some(&path), Failure::lasting(why));
        }
        let mut subdirs = Vec::new();
        for (path, meta) in &listing.names {
            let Some(meta) = meta else { continue };
            if self.chosen.is_some_and(|chosen| !chosen.leads_to(path)) {
                continue;
            }
            self.writer.go_on()?;
            self.comparison.compared += 1;
            match self.name(path, meta) {
                Ok(aspects) => self.differs(Some(path), aspects),
                Err(Trouble::Name(failure)) => self.note(Some(path), failure),
                Err(cancelled) => return Err(cancelled),
            }
            if meta.kind == Kind::Dir {
                subdirs.push(Some(path.clone()));
            }
        }
        if self.writer.delete && self.chosen.is_none_or(Chosen::has_extra) {
            match self.extra(dir, &listing.names) {
                Ok(()) => {}
                Err(Trouble::Name(failure)) => self.note(dir, failure),
                Err(cancelled) => return Err(cancelled),
            }
        }
        Ok(subdirs)
    }

    /// What could not be compared.
    fn note(&mut self, path: Option<&RelPath>, failure: Failure) {
        match path {
            Some(path) => self.comparison.failed.push((path.clone(), failure)),
            None => self.comparison.unmatched.push(failure.why),
        }
    }

    fn differs(&mut self, path: Option<&RelPath>, aspects: Vec<Aspect>) {
        let asked = self.chosen.is_none_or(|chosen| chosen.includes(path));
        if asked && !aspects.is_empty() {
            self.comparison.differs(path.cloned(), aspects);
        }
    }

    fn name(&mut self, path: &RelPath, meta: &Meta) -> Result<Vec<Aspect>, Trouble> {
        if !self.writer.likeness.makes(meta.kind) {
            return Ok(Vec::new());
        }
        let present = self.writer.present(path)?.filter(|present| present.kind == meta.kind);
        let Some(present) = present else { return Ok(vec![Aspect::Missing]) };
        let attributes = self.attributes(Some(path), meta, &present)?;
        if meta.kind == Kind::Dir {
            return Ok(attributes);
        }
        let mut compared = false;
        let mut is_linked = true;
        if self.writer.options.hard_links {
            let (inode, at_target) = ((meta.dev, meta.ino), (present.dev, present.ino));
            let held = self.held.get(&inode).copied();
            compared = held == Some(at_target);
            is_linked = match held {
                Some(held) => held == at_target,
                None if meta.link_count > 1 => {
                    self.held.insert(inode, at_target);
                    self.claimed.insert(at_target)
                }
                None => present.link_count == 1,
            };
        }
        let mut aspects = Vec::new();
        if !compared && self.content_differs(path, meta, &present)? {
            aspects.push(Aspect::Content);
        }
        if !is_linked {
            aspects.push(Aspect::HardLink);
        }
        aspects.extend(attributes);
        Ok(aspects)
    }

    /// The attributes in which the target's `path`, which is `present`, differs.
    fn attributes(
        &self,
        path: Option<&RelPath>,
        source: &Meta,
        present: &Meta,
    ) -> Result<Vec<Aspect>, Trouble> {
        let mut aspects = self.writer.likeness.unlike(source, present);
        let change = self.writer.lacking_extras(path, source, present)?;
        let names = || change.set.iter().map(|(name, _)| name).chain(&change.remove);
        let differs = [
            (names().any(|name| is_acl(name)), Aspect::Acl),
            (names().any(|name| !is_acl(name)), Aspect::Xattr),
        ];
        aspects.extend(differs.into_iter().filter(|(differs, _)| *differs).map(|(_, what)| what));
        Ok(aspects)
    }

    fn content_differs(
        &self,
        path: &RelPath,
        meta: &Meta,
        present: &Meta,
    ) -> Result<bool, Trouble> {
        Ok(match meta.kind {
            Kind::File if meta.size != present.size => true,
            Kind::File => {
                let trust = Trust::Content;
                let object = Object { path, meta, link_target: &[], trust, settled: true };
                let same = self.writer.has_content(&object)?;
                self.writer.go_on()?;
                !same
            }
            Kind::Symlink => {
                let text = self.view.root.read_link(path).doing("cannot read the symbolic link")?;
                let there = self.writer.target.read_link(path);
                text != there.doing("cannot read the target's symbolic link")?
            }
            Kind::CharDevice | Kind::BlockDevice => meta.rdev != present.rdev,
            Kind::Dir | Kind::Fifo | Kind::Socket => false,
        })
    }

    /// Names at the target that the source does not have, with all below them.
    fn extra(
        &mut self,
        dir: Option<&RelPath>,
        names: &FxHashMap<RelPath, Option<Meta>>,
    ) -> Result<(), Trouble> {
        let mut doomed: Vec<RelPath> = Vec::new();
        self.extra_in(dir, Some(names), &mut doomed)?;
        while let Some(dir) = doomed.pop() {
            self.writer.go_on()?;
            self.extra_in(Some(&dir), None, &mut doomed)?;
        }
        Ok(())
    }

    /// `names` are the source's, none for a directory that it does not have.
    fn extra_in(
        &mut self,
        dir: Option<&RelPath>,
        names: Option<&FxHashMap<RelPath, Option<Meta>>>,
        doomed: &mut Vec<RelPath>,
    ) -> Result<(), Trouble> {
        let open = match self.writer.target.open_dir(dir) {
            // It was told that it is missing.
            Err(error) if is_absent(&error) => return Ok(()),
            open => open.doing("cannot list the target")?,
        };
        for entry in open.entries().doing("cannot list the target")? {
            let Ok(path) = RelPath::child(dir, &entry.name) else { continue };
            if names.is_some_and(|names| names.contains_key(&path)) {
                continue;
            }
            let kind = match entry.kind {
                Some(kind) => kind,
                None => open.lstat(&entry.name).doing("cannot look at the target")?.kind,
            };
            let is_dir = kind == Kind::Dir;
            if self.writer.protection.protects(dir, &path, is_dir, names.is_none()) {
                continue;
            }
            self.differs(Some(&path), vec![Aspect::Extra]);
            if is_dir {
                doomed.push(path);
            }
        }
        self.writer.protection.forget();
        Ok(())
    }
}
