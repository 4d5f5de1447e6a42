//! Answers a full pass or a dry run of one, and collects what it did not bring over.

use std::time::Duration;

use driftless_transfer::source::{
    Expected, ListedFiles, ReadAhead, SourceCache, WriterPolicy, xattr_at,
};
use driftless_transfer::{
    Content, Driver, ItemChange, Level, Listed, Problem, Refusal, SentOutcome,
};
use driftless_tree::path::printable;
use driftless_tree::{Kind, RelPath};
use rustc_hash::FxHashMap;

use super::{compare, refusal};
use crate::lane::report::{Comparison, Failure, PassReport};
use crate::lane::state::Lane;
use crate::lane::texts::{self, Meaning};
use crate::lane::work::View;
use crate::status::Aspect;

/// Answers a full pass.
pub(super) struct PassDriver<'a> {
    pub(super) view: &'a View,
    pub(super) lane: &'a Lane,
    /// Some files are listed with a size that is not theirs.
    pub(super) false_sizes: bool,
    pub(super) failed: Vec<(RelPath, Failure)>,
    pub(super) texts: Vec<(Level, Vec<u8>)>,
    pub(super) deleted: u64,
    /// Names below the root that the target did not have.
    pub(super) new: u64,
    /// Where a dry run's items and deletions are noted as differences.
    pub(super) comparison: Option<Comparison>,
    files: ListedFiles,
}

impl<'a> PassDriver<'a> {
    pub(super) fn new(view: &'a View, lane: &'a Lane, settle: Duration, false_sizes: bool) -> Self {
        let cache = SourceCache::clone(&view.cache);
        Self {
            view,
            lane,
            false_sizes,
            failed: Vec::new(),
            texts: Vec::new(),
            deleted: 0,
            new: 0,
            comparison: None,
            files: ListedFiles::new(view.root.clone(), cache, WriterPolicy::Refuse, settle),
        }
    }

    /// With what is read while the pass lists it.
    pub(super) fn read_ahead(self, ahead: Option<ReadAhead>) -> Self {
        Self { files: self.files.with(ahead), ..self }
    }

    /// Notes what differs.
    pub(super) fn comparing(self, comparison: Comparison) -> Self {
        Self { comparison: Some(comparison), ..self }
    }

    /// `groups` are the names that were listed as one inode.
    pub(super) fn report<'g>(
        self,
        prefix: &[u8],
        groups: impl Iterator<Item = &'g Vec<RelPath>>,
        report: &mut PassReport,
    ) {
        report.failed.extend(self.failed);
        for (level, text) in self.texts {
            let error = matches!(level, Level::Warning | Level::Error | Level::ErrorXfer);
            if texts::meaning(&text, error) != Meaning::Failed {
                continue;
            }
            let why = printable(text.trim_ascii_end());
            let names = texts::paths(&text);
            // The last name is the final one, see `texts::paths`.
            let path = names.iter().find_map(|name| {
                let name = name.strip_prefix(prefix).unwrap_or(name);
                let path = RelPath::parse(name).ok()?;
                report.presence.contains(&path).then_some(path)
            });
            match path {
                Some(path) => report.failed.push((path, Failure::lasting(why))),
                None => report.unmatched.push(why),
            }
        }
        spread(groups, &mut report.failed);
    }
}

/// The daemon asks for one member of a hard-link group, and takes the others from it. When it cannot
/// have that one, it says nothing of them, or makes them when the times of their directories were
/// set already: what failed for one name failed for all.
fn spread<'g>(
    groups: impl Iterator<Item = &'g Vec<RelPath>>,
    failed: &mut Vec<(RelPath, Failure)>,
) {
    if failed.is_empty() {
        return;
    }
    let known: FxHashMap<RelPath, Failure> = failed.iter().cloned().collect();
    for names in groups {
        let Some(failure) = names.iter().find_map(|name| known.get(name)) else { continue };
        let others = names.iter().filter(|name| !known.contains_key(*name));
        failed.extend(others.map(|name| (name.clone(), failure.clone())));
    }
}

impl Driver for PassDriver<'_> {
    fn open(&mut self, item: &Listed<'_>) -> Result<Box<dyn Content>, Refusal> {
        if !self.false_sizes {
            return self.files.open(item.entry);
        }
        if let Some(content) = self.files.quiet(item.entry) {
            return Ok(content);
        }
        let Some(path) = item.path() else { return Err(Refusal::Vanished) };
        let meta = self.view.root.lstat(&path).map_err(|error| {
            if driftless_fs::is_absent(&error) { Refusal::Vanished } else { Refusal::Io(error) }
        })?;
        if meta.kind != Kind::File || meta.mtime != item.entry.mtime {
            return Err(Refusal::Changed);
        }
        let expected = Expected::Meta(&meta);
        self.view.cache.open(&self.view.root, &path, expected, WriterPolicy::Refuse)
    }

    fn xattr_value(&mut self, item: &Listed<'_>, name: &[u8]) -> Option<Vec<u8>> {
        let path = item.path();
        let value = xattr_at(&self.view.root, path.as_ref(), name);
        let is_as_listed = match (&path, item.entry.origin) {
            (Some(path), Some(origin)) => self.view.root.lstat(path).is_ok_and(|now| {
                (now.dev, now.ino, now.ctime) == (origin.dev, origin.ino, origin.ctime)
            }),
            _ => true,
        };
        if let Some(path) = path.filter(|_| value.is_none() || !is_as_listed) {
            self.failed.push((path, refusal(&Refusal::Changed)));
        }
        value
    }

    fn applied(&mut self, _item: &Listed<'_>) {}

    fn item(&mut self, item: &Listed<'_>, change: ItemChange) {
        self.new += u64::from(change.is_new() && &*item.entry.name != b".");
        if let Some(comparison) = &mut self.comparison {
            let aspects = compare::aspects(item, change);
            if !aspects.is_empty() {
                comparison.differs(item.path(), aspects);
            }
        }
    }

    fn unlisted(&mut self, problem: &Problem) {
        let vanished = problem.error.kind() == std::io::ErrorKind::NotFound;
        if let (false, Ok(path)) = (vanished, RelPath::parse(&problem.name)) {
            let why = format!("cannot be listed: {}", problem.error);
            self.failed.push((path, Failure::lasting(why)));
        }
    }

    fn sent(&mut self, item: &Listed<'_>, outcome: SentOutcome) {
        let failure = match outcome {
            SentOutcome::Sent => return,
            SentOutcome::Spoiled => refusal(&Refusal::Spoiled),
            SentOutcome::Refused(why) => refusal(&why),
        };
        self.failed.extend(item.path().map(|path| (path, failure)));
    }

    fn deleted(&mut self, name: &[u8], _is_dir: bool) {
        self.deleted += 1;
        if let (Some(comparison), Some(path)) = (&mut self.comparison, compare::extra(name)) {
            comparison.differs(Some(path), vec![Aspect::Extra]);
        }
    }

    fn message(&mut self, level: Level, text: &[u8]) {
        tracing::debug!(target = %self.lane.url, ?level, "{}", printable(text));
        if level != Level::Motd && self.texts.len() < 100_000 {
            self.texts.push((level, text.to_vec()));
        }
    }

    fn cancelled(&self) -> bool {
        self.lane.cancelled()
    }
}
