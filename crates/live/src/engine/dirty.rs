//! Which paths of one target may differ from the source.
//!
//! Marks come from the watcher, failed batches, restarts and operators; the planner takes them.
//! ```text
//! watch ──mark──► DirtySet ──take──► batch in flight ──applied──► gone
//!                    ▲                    └────failed────┐
//!                    └───────────────────────────────────┘
//! ```
//! Invariants
//! * A path leaves only by [`DirtySet::applied`]. Anything else that ends a batch gives its marks back.
//! * A mark made while its path is in flight survives the acknowledgement: it is newer than what
//!   was read.
//! * A mark keeps the serial number of its first cause until it is applied, so that "everything up
//!   to serial N has arrived" never comes true early.
//!
//! Memory is bounded: past [`MAX_MARKS`] the set gives up detail and asks for a full pass.

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use driftless_tree::RelPath;

use super::renames::{Rename, Renames};

/// Marks kept before they fold into one full pass.
pub const MAX_MARKS: usize = 200_000;

/// A path that is closed and opened again all the time is caught between two writers, if that works
/// within so many settle times.
const SETTLE_TRIES: u32 = 10;

/// What a path needs at the target, weakest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// The name went away; the object that had it did not change by that.
    Gone,
    /// Only attributes changed.
    Attributes,
    /// It changed and nothing is known of how: size and time tell whether its content did.
    Unsure,
    /// An object that may exist at the target under another name arrived under this one.
    Arrived,
    /// The content may be anything.
    Content,
}

/// How an event bears on a file that somebody may be writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Writing {
    /// Somebody has it open: it is sent once closed, or after the settle time.
    Open,
    /// The last writer closed it.
    Closed,
    /// The event says nothing about writers.
    Unknown,
}

/// Why and since when a path is dirty.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mark {
    /// What it needs.
    pub need: Need,
    /// When it became dirty.
    pub since: Duration,
    /// When the last event that it knows of was told.
    pub told: Duration,
    /// Number of the first cause that has not been applied.
    pub serial: u64,
    /// Since when somebody writes to it.
    pub open_since: Option<Duration>,
    /// Failed tries in a row.
    pub failures: u32,
    /// Not to be tried before.
    pub not_before: Option<Duration>,
}

impl Mark {
    fn merge(&mut self, other: Mark) {
        self.need = self.need.max(other.need);
        self.since = self.since.min(other.since);
        self.told = self.told.max(other.told);
        self.serial = self.serial.min(other.serial);
        self.failures = self.failures.max(other.failures);
        self.not_before = self.not_before.max(other.not_before);
    }

    /// Whether the path has been written for so long that it is sent although it still is: by one
    /// writer who does not close it, or by so many that no moment between them was found.
    pub fn settled(&self, now: Duration, settle: Duration) -> bool {
        let passed = |since: Duration, limit: Duration| now.saturating_sub(since) >= limit;
        self.open_since.is_some_and(|open| passed(open, settle))
            || passed(self.since, settle.saturating_mul(SETTLE_TRIES))
    }

    fn ripe_at(&self, settle: Duration, hurry: bool) -> Duration {
        let settled = match self.open_since {
            Some(open) if !hurry => open + settle,
            _ => Duration::ZERO,
        };
        settled.max(self.not_before.unwrap_or_default())
    }
}

/// When the next batch can be built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Readiness {
    /// Something can be sent.
    Now,
    /// Everything dirty waits until then, at the earliest.
    At(Duration),
    /// Nothing is dirty.
    Idle,
}

/// What a batch is to look at.
#[derive(Debug, Default)]
pub struct Taken {
    /// Single paths.
    pub paths: Vec<(RelPath, Mark)>,
    /// Directories with everything below them.
    pub trees: Vec<(RelPath, Mark)>,
    /// Whether the root's own attributes are dirty.
    pub root: bool,
    /// Renames that may explain the arrivals among them.
    pub renames: Renames,
    /// Marks that stay behind, for files still being written or failed ones: the target may have old
    /// content there. Paths, and directories with everything below them.
    pub waiting: HashSet<RelPath>,
}

impl Taken {
    /// Whether what the target has at `path` may be old without this batch knowing.
    pub fn waits(&self, path: &RelPath) -> bool {
        !self.waiting.is_empty()
            && (self.waiting.contains(path)
                || path.ancestors().any(|dir| self.waiting.contains(&dir)))
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub struct DirtySet {
    paths: BTreeMap<RelPath, Mark>,
    trees: BTreeMap<RelPath, Mark>,
    root: Option<Mark>,
    pass: Option<Mark>,
    renames: Renames,
    flying: Flying,
}

#[derive(Debug, Default)]
struct Flying {
    paths: BTreeMap<RelPath, Mark>,
    trees: BTreeMap<RelPath, Mark>,
    root: Option<Mark>,
    pass: Option<Mark>,
}

impl Flying {
    fn first_serial(&self) -> Option<u64> {
        let marks = self.paths.values().chain(self.trees.values());
        marks.chain(&self.root).chain(&self.pass).map(|mark| mark.serial).min()
    }
}

/// When and by which cause a mark is made.
#[derive(Debug, Clone, Copy)]
pub struct Cause {
    /// Now.
    pub now: Duration,
    /// Grows with every cause.
    pub serial: u64,
}

impl Cause {
    fn mark(self, need: Need) -> Mark {
        Mark {
            need,
            since: self.now,
            told: self.now,
            serial: self.serial,
            open_since: None,
            failures: 0,
            not_before: None,
        }
    }
}

fn put(marks: &mut BTreeMap<RelPath, Mark>, path: RelPath, mark: Mark) {
    // Of writers the present mark knows more.
    marks.entry(path).and_modify(|old| old.merge(mark)).or_insert(mark);
}

impl DirtySet {
    /// Marks one path. A fresh event lifts the delay of an earlier failure, unless it only says that
    /// somebody goes on writing.
    pub fn mark(&mut self, path: RelPath, need: Need, writing: Writing, cause: Cause) {
        let fresh = cause.mark(need);
        let mark = self.paths.entry(path).or_insert(fresh);
        mark.merge(fresh);
        match writing {
            Writing::Open => {
                mark.open_since = mark.open_since.or(Some(cause.now));
                return self.bound();
            }
            Writing::Closed => mark.open_since = None,
            Writing::Unknown => {}
        }
        mark.not_before = None;
        self.bound();
    }

    /// Marks a directory and everything below it.
    pub fn mark_tree(&mut self, path: RelPath, need: Need, cause: Cause) {
        put(&mut self.trees, path, cause.mark(need));
        self.bound();
    }

    /// Marks the root's own attributes.
    pub fn mark_root(&mut self, cause: Cause) {
        self.root.get_or_insert(cause.mark(Need::Attributes));
    }

    /// Asks for a full pass, now.
    pub fn mark_pass(&mut self, cause: Cause) {
        self.pass.get_or_insert(cause.mark(Need::Content)).not_before = None;
    }

    /// Asks for a full pass, unless one is asked for already, not before `at`.
    pub fn mark_pass_at(&mut self, at: Duration, cause: Cause) {
        self.pass.get_or_insert(Mark { not_before: Some(at), ..cause.mark(Need::Content) });
    }

    /// Records that `from` became `to`, and carries over what was unknown about the content of
    /// `from` and of what lies below it. The arrival itself is marked by its own event.
    pub fn rename(&mut self, rename: Rename, cause: Cause) {
        let Rename { from, to, is_dir } = &rename;
        let touched = |marks: &BTreeMap<RelPath, Mark>, flying: bool| -> Vec<RelPath> {
            below(marks, from)
                .filter(|(_, mark)| flying || mark.need == Need::Content)
                .filter_map(|(path, _)| path.rebase(from, to))
                .collect()
        };
        let mut paths = touched(&self.paths, false);
        paths.extend(touched(&self.flying.paths, true));
        let mut trees = touched(&self.trees, false);
        trees.extend(touched(&self.flying.trees, true));
        // What flies as part of a tree above is as unknown as the tree.
        if from.ancestors().any(|dir| self.flying.trees.contains_key(&dir)) {
            if *is_dir {
                trees.push(to.clone());
            } else {
                paths.push(to.clone());
            }
        }
        for path in paths {
            put(&mut self.paths, path, cause.mark(Need::Content));
        }
        for path in trees {
            put(&mut self.trees, path, cause.mark(Need::Content));
        }
        if *is_dir {
            put(&mut self.trees, to.clone(), cause.mark(Need::Arrived));
        }
        self.renames.push(rename);
    }

    fn bound(&mut self) {
        if self.paths.len() + self.trees.len() <= MAX_MARKS {
            return;
        }
        let oldest = self.paths.values().chain(self.trees.values()).copied().reduce(|mut a, b| {
            a.merge(b);
            a
        });
        self.paths.clear();
        self.trees.clear();
        self.renames = Renames::default();
        if let Some(mut mark) = oldest {
            mark.not_before = None;
            match &mut self.pass {
                Some(pass) => pass.merge(mark),
                None => self.pass = Some(mark),
            }
        }
    }

    /// Whether a full pass is due by now.
    pub fn pass_due(&self, now: Duration) -> bool {
        self.pass.is_some_and(|mark| mark.not_before.is_none_or(|at| at <= now))
    }

    /// Whether a pass is asked for, now or later.
    pub fn pass_marked(&self) -> bool {
        self.pass.is_some()
    }

    /// Asks for another pass after one that had to leave something out.
    pub fn repeat_pass(&mut self, retry: impl Fn(u32) -> Duration, cause: Cause) {
        let mut mark = self.flying.pass.take().unwrap_or_else(|| cause.mark(Need::Content));
        mark.failures += 1;
        mark.not_before = Some(retry(mark.failures));
        self.pass.get_or_insert(mark);
    }

    /// Takes the full pass, and with it every mark that it covers.
    pub fn take_pass(&mut self) {
        self.flying.pass = self.pass.take();
        self.flying.root = self.root.take();
        self.flying.paths = std::mem::take(&mut self.paths);
        self.flying.trees = std::mem::take(&mut self.trees);
        self.renames = Renames::default();
    }

    /// Says when a batch can be built. `hurry`: do not wait for files to be closed.
    pub fn readiness(&self, now: Duration, settle: Duration, hurry: bool) -> Readiness {
        let mut next = None;
        let marks = self.paths.values().chain(self.trees.values()).chain(&self.root);
        for mark in marks.chain(&self.pass) {
            let at = mark.ripe_at(settle, hurry);
            if at <= now {
                return Readiness::Now;
            }
            next = Some(next.map_or(at, |earlier: Duration| earlier.min(at)));
        }
        next.map_or(Readiness::Idle, Readiness::At)
    }

    /// Takes up to `limit` ripe marks into flight.
    pub fn take(&mut self, now: Duration, settle: Duration, hurry: bool, limit: usize) -> Taken {
        let ripe = |mark: &Mark| mark.ripe_at(settle, hurry) <= now;
        let mut taken = Taken::default();
        let mut left = limit.max(1);
        let mut move_ripe = |from: &mut BTreeMap<RelPath, Mark>,
                             flying: &mut BTreeMap<RelPath, Mark>,
                             out: &mut Vec<(RelPath, Mark)>| {
            for (path, mark) in from.extract_if(.., |_, mark| {
                let take = left > 0 && ripe(mark);
                left -= usize::from(take);
                take
            }) {
                flying.insert(path.clone(), mark);
                out.push((path, mark));
            }
        };
        move_ripe(&mut self.trees, &mut self.flying.trees, &mut taken.trees);
        move_ripe(&mut self.paths, &mut self.flying.paths, &mut taken.paths);
        if let Some(mark) = self.root.take_if(|mark| ripe(mark)) {
            self.flying.root = Some(mark);
            taken.root = true;
        }
        let unsure = self.paths.iter().filter(|(_, mark)| mark.need > Need::Attributes);
        taken.waiting = unsure.map(|(path, _)| path).chain(self.trees.keys()).cloned().collect();
        // Not kept for marks that stay behind: after this batch an old name may hold another object
        // at the target, and forgetting a rename only costs bytes.
        taken.renames = std::mem::take(&mut self.renames);
        taken
    }

    /// The target has the path as it was when it was read.
    pub fn applied(&mut self, path: &RelPath) {
        self.flying.paths.remove(path);
    }

    /// As [`DirtySet::applied`], for a directory with all that is below it.
    pub fn tree_applied(&mut self, path: &RelPath) {
        self.flying.trees.remove(path);
    }

    /// As [`DirtySet::applied`], for the root's attributes.
    pub fn root_applied(&mut self) {
        self.flying.root = None;
    }

    /// The full pass ended well: everything that it took has arrived.
    pub fn pass_applied(&mut self) {
        self.flying = Flying::default();
    }

    /// Marks a path whose content the pass in flight did not look at; it is no newer than the pass.
    pub fn doubt(&mut self, path: RelPath, cause: Cause) {
        let mut mark = cause.mark(Need::Content);
        mark.serial = self.flying.first_serial().unwrap_or(cause.serial);
        put(&mut self.paths, path, mark);
    }

    /// Gives one path of the batch back, to be tried again at `retry`, in detail: only that path,
    /// also when the batch took it as part of a tree or a pass.
    pub fn failed(&mut self, path: &RelPath, retry: impl Fn(u32) -> Duration, cause: Cause) {
        let mut mark = self.flying.paths.remove(path).unwrap_or_else(|| {
            // It flew as part of something else, and is no newer than that.
            let mut mark = cause.mark(Need::Content);
            mark.serial = self.flying.first_serial().unwrap_or(cause.serial);
            mark
        });
        mark.failures += 1;
        mark.not_before = Some(retry(mark.failures));
        mark.need = Need::Content;
        put(&mut self.paths, path.clone(), mark);
    }

    /// Gives everything that is still in flight back.
    pub fn give_back(&mut self) {
        let flying = std::mem::take(&mut self.flying);
        for (path, mark) in flying.paths {
            put(&mut self.paths, path, mark);
        }
        for (path, mark) in flying.trees {
            put(&mut self.trees, path, mark);
        }
        for (slot, mark) in [(&mut self.root, flying.root), (&mut self.pass, flying.pass)] {
            match (slot.as_mut(), mark) {
                (Some(old), Some(mark)) => old.merge(mark),
                (None, mark) => *slot = mark,
                (Some(_), None) => {}
            }
        }
    }

    /// Paths (a tree or a due pass counts as one) that may differ, in flight or not.
    pub fn len(&self) -> usize {
        let waiting = self.paths.len() + self.trees.len();
        let flying = self.flying.paths.keys().filter(|p| !self.paths.contains_key(*p)).count()
            + self.flying.trees.keys().filter(|p| !self.trees.contains_key(*p)).count();
        let single = usize::from(self.root.is_some() || self.flying.root.is_some())
            + usize::from(self.pass.is_some() || self.flying.pass.is_some());
        waiting + flying + single
    }

    /// Whether nothing may differ.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn all(&self) -> impl Iterator<Item = &Mark> {
        let waiting = self.paths.values().chain(self.trees.values());
        let flying = self.flying.paths.values().chain(self.flying.trees.values());
        waiting
            .chain(flying)
            .chain(&self.root)
            .chain(&self.pass)
            .chain(&self.flying.root)
            .chain(&self.flying.pass)
    }

    /// Since when something has been different; `None` when nothing is.
    pub fn oldest(&self) -> Option<Duration> {
        self.all().map(|mark| mark.since).min()
    }

    /// The first cause that has not been applied; `None` when all have.
    pub fn first_serial(&self) -> Option<u64> {
        self.all().map(|mark| mark.serial).min()
    }

    /// As [`DirtySet::first_serial`], of the marks that were not tried yet.
    pub fn first_untried_serial(&self) -> Option<u64> {
        self.all().filter(|mark| mark.failures == 0).map(|mark| mark.serial).min()
    }

    /// Where the target may differ as things are, for a look at many paths while nothing flies.
    pub fn expected(&self) -> Expected<'_> {
        let parents = self.paths.keys().chain(self.trees.keys()).map(RelPath::parent).collect();
        Expected { set: self, parents }
    }
}

/// What [`DirtySet::expected`] gives.
pub struct Expected<'a> {
    set: &'a DirtySet,
    /// Directories in which something changed, and with that their times.
    parents: HashSet<Option<RelPath>>,
}

impl Expected<'_> {
    /// Whether a mark explains that the target differs at `path`; `None` is the root.
    pub fn covers(&self, path: Option<&RelPath>) -> bool {
        let DirtySet { paths, trees, root, pass, .. } = self.set;
        // A pass that failed left marks for what it did not bring over.
        if pass.is_some_and(|mark| mark.failures == 0) || self.parents.contains(&path.cloned()) {
            return true;
        }
        let Some(path) = path else { return root.is_some() };
        let replaced =
            |dir: &RelPath| paths.get(dir).is_some_and(|mark| mark.need != Need::Attributes);
        paths.contains_key(path)
            || trees.contains_key(path)
            || path.ancestors().any(|dir| trees.contains_key(&dir) || replaced(&dir))
    }
}

fn below<'a>(
    marks: &'a BTreeMap<RelPath, Mark>,
    dir: &'a RelPath,
) -> impl Iterator<Item = (&'a RelPath, &'a Mark)> {
    // Names like `dir.x` sort between `dir` and `dir/`, so the range is filtered, not cut.
    marks
        .range(dir.clone()..)
        .take_while(|(path, _)| path.as_bytes().starts_with(dir.as_bytes()))
        .filter(move |(path, _)| *path == dir || path.is_below(dir))
}

#[cfg(test)]
mod tests;
