//! From marks to a batch, by looking at the disk now.
//!
//! ```text
//! marks ──► subject (topmost name that is gone or hides the rest) ──► item
//! trees ──► walk ──► items, and deletions for names the target may hold
//! arrivals + renames ──► pairs (new name, former name): no content travels
//! ```
//! Invariants
//! * Every directory above an item is an item too, the root included: each write moves a
//!   directory's time, and a listed directory gets it back at the end. So no item lies below
//!   something that is not a directory, and of a vanished tree only the topmost name is an item. (A
//!   stock daemon ends the session at a name whose directory is not listed.) What breaks this,
//!   because the source changed between two looks, is left for the next batch.
//! * A former name is never deleted in the batch that uses it as basis.
//! * Every mark taken is covered by an item, a tree or `unreadable`, except those left for the next
//!   batch.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use driftless_fs::{Root, is_absent};
use driftless_tree::{Kind, Meta, RelPath, Timestamp};

use crate::batch::{Act, Batch, Item};
use crate::engine::dirty::{Mark, Need, Taken};
use crate::engine::presence::Presence;
use crate::links::Links;
use crate::rules::{Chains, SourceRules};

/// File systems stamp with a clock that moves in steps, and a write stamps before it is told.
const CLOCK_STEP: Duration = Duration::from_millis(100);

/// Most items of one batch.
pub const MAX_ITEMS: usize = 200_000;

/// What a lane wants of its batches.
#[derive(Debug, Clone, Copy)]
pub struct Wishes {
    /// Names gone at the source are removed at the target.
    pub delete: bool,
    /// Names of one inode travel together.
    pub hard_links: bool,
    /// The target can take a renamed object from its former name.
    pub renames: bool,
    /// The target compares times in whole seconds.
    pub whole_seconds: bool,
    /// Time since the mirror started.
    pub now: Duration,
    /// The same moment by the clock that file systems stamp with.
    pub clock: SystemTime,
    /// How long a file that is being written is left alone.
    pub settle: Duration,
}

impl Wishes {
    /// What a mark asks for, seeing what its object is now.
    ///
    /// A file that changed after the mark was told may have new content, of which an event is on its
    /// way. Its new time must not reach the target without it: if we died in between, size and time
    /// would say for ever that the target has it.
    fn need(&self, mark: &Mark, meta: &Meta) -> Need {
        match mark.need {
            Need::Attributes if self.is_in_doubt(mark.told, meta) => self.unsure(),
            Need::Unsure => self.unsure(),
            need => need,
        }
    }

    /// Whether a file may have been written to after the last event about it was `told`.
    fn is_in_doubt(&self, told: Duration, meta: &Meta) -> bool {
        let told = self.now.saturating_sub(told);
        let age = |stamp: Timestamp| {
            let since_1970 = Duration::new(u64::try_from(stamp.secs).unwrap_or(0), stamp.nanos);
            self.clock.duration_since(UNIX_EPOCH + since_1970).unwrap_or_default()
        };
        let written = age(meta.mtime) <= told + CLOCK_STEP || age(meta.ctime) < told;
        meta.kind == Kind::File && written
    }

    /// Where times in whole seconds are compared, two versions of one second look alike.
    fn unsure(&self) -> Need {
        if self.whole_seconds { Need::Content } else { Need::Unsure }
    }
}

/// Looks at the disk for one batch.
pub struct Planner<'a> {
    root: &'a Root,
    chains: Chains,
    links: &'a Links,
    presence: &'a Presence,
    wishes: Wishes,
    taken: &'a Taken,
    marks: HashMap<&'a RelPath, &'a Mark>,
    dirs: HashMap<RelPath, Seen>,
    items: BTreeMap<Option<RelPath>, Item>,
    /// Directories that are gone here and listed for the sake of former names below them.
    stand_ins: HashSet<RelPath>,
    /// Names under which content changed, whether the target holds them or not.
    changed: HashSet<RelPath>,
    root_covers: Vec<RelPath>,
    root_wanted: bool,
    batch: Batch,
    next_group: u32,
}

#[derive(Debug, Clone)]
enum Seen {
    Here(Meta),
    /// The topmost name that is not there.
    Gone(RelPath),
    /// A non-directory stands where a directory above would be.
    Hidden(RelPath, Meta),
    Unreadable(String),
}

impl<'a> Planner<'a> {
    /// A planner for the marks `taken` from one target.
    pub fn new(
        root: &'a Root,
        rules: &SourceRules,
        links: &'a Links,
        presence: &'a Presence,
        wishes: Wishes,
        taken: &'a Taken,
    ) -> Self {
        Self {
            root,
            chains: rules.chains(),
            links,
            presence,
            wishes,
            taken,
            marks: taken.paths.iter().map(|(path, mark)| (path, mark)).collect(),
            dirs: HashMap::new(),
            items: BTreeMap::new(),
            stand_ins: HashSet::new(),
            changed: HashSet::new(),
            root_covers: Vec::new(),
            root_wanted: taken.root,
            batch: Batch::default(),
            next_group: 0,
        }
    }

    /// Builds the batch.
    pub fn plan(mut self) -> Batch {
        self.look();
        if self.taken.root {
            self.departed(None);
        }
        if self.batch.too_large {
            return self.batch;
        }
        if self.root_wanted || !self.items.is_empty() {
            self.root_item();
        }
        self.hard_links();
        self.parents();
        self.finish()
    }

    /// Looks at everything that is marked.
    fn look(&mut self) {
        for (dir, mark) in &self.taken.trees {
            self.batch.trees.push(dir.clone());
            self.tree(dir, mark.need);
            if self.items.len() > MAX_ITEMS {
                self.batch.too_large = true;
                return;
            }
        }
        for (path, mark) in &self.taken.paths {
            self.path(path, mark);
            if mark.settled(self.wishes.now, self.wishes.settle)
                && let Some(item) = self.items.get_mut(&Some(path.clone()))
            {
                item.settled = true;
            }
        }
    }

    fn see(&mut self, path: &RelPath) -> Seen {
        for above in path.ancestors() {
            match self.see_one(&above) {
                Seen::Here(meta) if meta.kind == Kind::Dir => {}
                Seen::Here(meta) => return Seen::Hidden(above, meta),
                other => return other,
            }
        }
        self.see_one(path)
    }

    fn see_one(&mut self, path: &RelPath) -> Seen {
        if let Some(seen) = self.dirs.get(path) {
            return seen.clone();
        }
        let seen = match self.root.lstat(path) {
            Ok(meta) => {
                self.links.seen(path, &meta);
                Seen::Here(meta)
            }
            Err(error) if is_absent(&error) => Seen::Gone(path.clone()),
            Err(error) => Seen::Unreadable(error.to_string()),
        };
        self.dirs.insert(path.clone(), seen.clone());
        seen
    }

    fn path(&mut self, path: &RelPath, mark: &Mark) {
        match self.see(path) {
            Seen::Gone(top) => self.missing(&top, Some(path)),
            Seen::Hidden(top, meta) => self.object(&top, meta, Need::Content, Some(path)),
            Seen::Unreadable(why) => self.batch.unreadable.push((path.clone(), why)),
            Seen::Here(meta) if meta.kind == Kind::Dir => {
                if self.presence.contains(path) {
                    self.directory(path, meta, Some(path));
                    self.departed(Some(path));
                } else {
                    self.walk(path, meta, Need::Content);
                    self.cover(path, path);
                }
            }
            Seen::Here(meta) => {
                self.object(path, meta, self.wishes.need(mark, &meta), Some(path));
            }
        }
    }

    fn tree(&mut self, dir: &RelPath, need: Need) {
        match self.see(dir) {
            Seen::Gone(top) => self.missing(&top, None),
            Seen::Hidden(top, meta) => self.object(&top, meta, Need::Content, None),
            Seen::Unreadable(why) => self.batch.unreadable.push((dir.clone(), why)),
            Seen::Here(meta) if meta.kind == Kind::Dir => self.walk(dir, meta, need),
            Seen::Here(meta) => self.object(dir, meta, need, None),
        }
    }

    /// Everything at and below `dir`.
    fn walk(&mut self, dir: &RelPath, meta: Meta, need: Need) {
        self.directory(dir, meta, None);
        let mut found: Vec<(RelPath, Meta)> = Vec::new();
        let listing = self.root.open_dir(Some(dir)).and_then(|open| {
            for entry in open.entries()? {
                let Ok(path) = dir.join(&entry.name) else { continue };
                match open.lstat(&entry.name) {
                    Ok(meta) => found.push((path, meta)),
                    Err(error) if is_absent(&error) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(())
        });
        match listing {
            Ok(()) => {}
            // It went between being seen and being opened: its own event is on the way.
            Err(error) if is_absent(&error) => return,
            Err(error) => {
                self.batch.unreadable.push((dir.clone(), error.to_string()));
                return;
            }
        }
        let mut here = HashSet::new();
        for (path, meta) in found {
            if !self.chains.includes(Some(dir), &path, meta.kind == Kind::Dir) {
                continue;
            }
            here.insert(path.clone());
            if self.items.len() > MAX_ITEMS {
                return;
            }
            self.links.seen(&path, &meta);
            self.dirs.insert(path.clone(), Seen::Here(meta));
            let own = self.marks.get(&path).map(|mark| mark.need);
            let need = own.map_or(need, |own| own.max(need));
            match meta.kind {
                Kind::Dir => self.walk(&path, meta, need),
                _ => self.object(&path, meta, need, None),
            }
        }
        self.chains.forget();
        self.gone(Some(dir), |path| here.contains(path));
    }

    /// What the target may hold in a marked directory and the source does not. Without a watch a name
    /// can come, be sent for another reason and go between two looks; all that is told is that the
    /// directory changed.
    fn departed(&mut self, dir: Option<&RelPath>) {
        let listed = self.root.open_dir(dir).and_then(|open| {
            let entries = open.entries()?.into_iter();
            Ok(entries.filter_map(|entry| RelPath::child(dir, &entry.name).ok()).collect())
        });
        // What cannot be listed may all be there.
        let Ok::<HashSet<RelPath>, _>(listed) = listed else { return };
        self.gone(dir, |path| listed.contains(path));
    }

    fn gone(&mut self, dir: Option<&RelPath>, is_here: impl Fn(&RelPath) -> bool) {
        let held = self.presence.names(dir).filter_map(|name| RelPath::child(dir, name).ok());
        let gone: Vec<RelPath> = held.filter(|path| !is_here(path)).collect();
        for path in gone {
            self.missing(&path, None);
        }
    }

    fn missing(&mut self, path: &RelPath, covers: Option<&RelPath>) {
        if self.wishes.delete && self.presence.contains(path) {
            self.item(path, Act::Missing, None, covers);
        } else {
            self.only_the_parent(path, covers);
        }
    }

    /// A name came and went, or stays at the target: all that is left of it is its directory's time.
    fn only_the_parent(&mut self, path: &RelPath, covers: Option<&RelPath>) {
        let Some(dir) = path.parent() else {
            self.root_covers.extend(covers.cloned());
            self.root_wanted = true;
            return;
        };
        match self.see(&dir) {
            Seen::Here(meta) if meta.kind == Kind::Dir => self.directory(&dir, meta, covers),
            Seen::Gone(top) => self.missing(&top, covers),
            Seen::Here(meta) => self.object(&dir, meta, Need::Content, covers),
            Seen::Hidden(top, meta) => self.object(&top, meta, Need::Content, covers),
            Seen::Unreadable(why) => {
                self.batch.unreadable.extend(covers.map(|path| (path.clone(), why)));
            }
        }
    }

    fn directory(&mut self, path: &RelPath, meta: Meta, covers: Option<&RelPath>) {
        self.item(path, Act::Directory, Some(meta), covers);
    }

    fn object(&mut self, path: &RelPath, meta: Meta, need: Need, covers: Option<&RelPath>) {
        let held = self.presence.contains(path) || !self.wishes.delete;
        if need == Need::Content {
            self.changed.insert(path.clone());
        }
        let former =
            if need == Need::Arrived && !held { self.former_name(path, &meta) } else { None };
        self.batch.by_time |= need == Need::Unsure || former.is_some();
        let content = held && !matches!(need, Need::Attributes | Need::Unsure);
        self.item(path, Act::Object { content }, Some(meta), covers);
        if let Some(old) = former {
            self.pair(path, meta, &old);
        }
    }

    /// The name under which the target has the object that is now `path`.
    fn former_name(&mut self, path: &RelPath, meta: &Meta) -> Option<RelPath> {
        if !self.wishes.renames {
            return None;
        }
        let old = self.taken.renames.origin(path)?;
        let told = self.marks.get(path).map_or(self.wishes.now, |mark| mark.told);
        if self.wishes.whole_seconds && self.wishes.is_in_doubt(told, meta) {
            return None;
        }
        let unchanged = self.marks.get(&old).is_none_or(|mark| mark.need == Need::Gone);
        let gone = matches!(self.see(&old), Seen::Gone(_));
        (unchanged && gone && self.presence.contains(&old)).then_some(old)
    }

    fn pair(&mut self, new: &RelPath, meta: Meta, old: &RelPath) {
        let taken = |item: &Item| item.act == Act::FormerName;
        if self.items.get(&Some(old.clone())).is_some_and(taken) {
            return;
        }
        // It may have vanished since it was seen.
        let Some(group) = self.group_of(new) else { return };
        let link_target =
            self.items.get(&Some(new.clone())).map_or_else(Box::default, |i| i.link_target.clone());
        self.items.insert(
            Some(old.clone()),
            Item {
                path: Some(old.clone()),
                act: Act::FormerName,
                meta: Some(meta),
                link_target,
                group: Some(group),
                covers: Vec::new(),
                settled: false,
            },
        );
        // Its old directories must be listed; what they look like does not matter any more, they
        // are deleted next.
        let stand_in = new.parent().and_then(|dir| match self.dirs.get(&dir) {
            Some(Seen::Here(meta)) => Some(*meta),
            _ => None,
        });
        for above in old.ancestors() {
            if !matches!(self.see_one(&above), Seen::Here(_))
                && !self.stand_ins.contains(&above)
                && let Some(meta) = stand_in.or_else(|| self.root.meta().ok())
            {
                self.items.remove(&Some(above.clone()));
                self.directory(&above, meta, None);
                self.stand_ins.insert(above);
            }
        }
    }

    /// The number of the item's group, a new one if need be; `None` when there is no such item.
    fn group_of(&mut self, path: &RelPath) -> Option<u32> {
        let item = self.items.get_mut(&Some(path.clone()))?;
        Some(*item.group.get_or_insert_with(|| {
            self.next_group += 1;
            self.next_group
        }))
    }

    /// Brings all names of an inode, whichever of them was marked: a change shows in all of them.
    /// Together as a group where the target keeps hard links, else each for itself.
    fn hard_links(&mut self) {
        let mut seen = HashSet::new();
        let linked: Vec<(RelPath, Meta)> = self
            .items
            .values()
            .filter(|item| matches!(item.act, Act::Object { .. }))
            .filter_map(|item| Some((item.path.clone()?, item.meta?)))
            .filter(|(_, meta)| meta.link_count > 1 && seen.insert((meta.dev, meta.ino)))
            .collect();
        let names = self.links.all_names(self.root, &linked);
        for ((path, meta), names) in linked.into_iter().zip(names) {
            let names: Vec<RelPath> = names
                .into_iter()
                .filter(|name| {
                    let dir = name.parent();
                    self.chains.includes(dir.as_ref(), name, false)
                })
                .collect();
            if names.len() < 2 {
                continue;
            }
            for name in &names {
                if !self.items.contains_key(&Some(name.clone())) {
                    self.item(name, Act::Object { content: false }, Some(meta), None);
                }
            }
            let group = if self.wishes.hard_links { self.group_of(&path) } else { None };
            let changed =
                names.iter().any(|name| self.changed.contains(name) || self.taken.waits(name));
            let held = names.iter().any(|name| self.presence.contains(name));
            let mut content =
                (changed && held) || names.iter().any(|name| self.content_wanted(name));
            if held && !content && self.group_in_doubt(&names, &meta) {
                match self.wishes.unsure() {
                    Need::Content => content = true,
                    _ => self.batch.by_time = true,
                }
            }
            for name in &names {
                if let Some(item) = self.items.get_mut(&Some(name.clone())) {
                    item.group = group.or(item.group);
                    item.act = Act::Object { content };
                    item.meta = Some(meta);
                }
            }
        }
    }

    /// As [`Wishes::is_in_doubt`] for a file of these names, of which some or none are marked.
    fn group_in_doubt(&self, names: &[RelPath], meta: &Meta) -> bool {
        let told = names.iter().filter_map(|name| Some(self.marks.get(name)?.told)).max();
        self.wishes.is_in_doubt(told.unwrap_or(self.wishes.now), meta)
    }

    fn content_wanted(&self, name: &RelPath) -> bool {
        self.items
            .get(&Some(name.clone()))
            .is_some_and(|item| item.act == Act::Object { content: true })
    }

    fn parents(&mut self) {
        let above: Vec<RelPath> = self
            .items
            .keys()
            .flatten()
            .flat_map(|path| path.ancestors().collect::<Vec<_>>())
            .filter(|dir| !self.items.contains_key(&Some(dir.clone())))
            .collect();
        for dir in above {
            if let Seen::Here(meta) = self.see_one(&dir)
                && meta.kind == Kind::Dir
            {
                self.directory(&dir, meta, None);
            }
        }
    }

    fn root_item(&mut self) {
        match self.root.meta() {
            Ok(meta) => {
                let item = Item {
                    path: None,
                    act: Act::Directory,
                    meta: Some(meta),
                    link_target: Box::default(),
                    group: None,
                    covers: std::mem::take(&mut self.root_covers),
                    settled: false,
                };
                self.items.insert(None, item);
            }
            Err(error) => tracing::warn!(%error, "cannot look at the source's root"),
        }
    }

    fn cover(&mut self, path: &RelPath, mark: &RelPath) {
        if let Some(item) = self.items.get_mut(&Some(path.clone())) {
            item.covers.push(mark.clone());
        }
    }

    fn item(&mut self, path: &RelPath, act: Act, meta: Option<Meta>, covers: Option<&RelPath>) {
        let mut link_target = Box::default();
        if let (Some(meta), Act::Object { .. }) = (&meta, act)
            && meta.kind == Kind::Symlink
        {
            match self.root.read_link(path) {
                Ok(text) => link_target = text.into(),
                // It went, or became something else, since it was seen; its event is on the way.
                Err(error) if is_absent(&error) || error.kind() == io::ErrorKind::InvalidInput => {
                    return;
                }
                Err(error) => {
                    let covered = covers.unwrap_or(path).clone();
                    self.batch.unreadable.push((covered, error.to_string()));
                    return;
                }
            }
        }
        let fresh = Item {
            path: Some(path.clone()),
            act,
            meta,
            link_target,
            group: None,
            covers: Vec::new(),
            settled: false,
        };
        if self.stand_ins.contains(path) {
            // Its deletion waits for the next batch, and so does the mark.
            return;
        }
        let item = self.items.entry(Some(path.clone())).or_insert_with(|| fresh.clone());
        match (&mut item.act, act) {
            (Act::Object { content }, Act::Object { content: more }) => *content |= more,
            (Act::FormerName, _) => return,
            (old, new) => *old = new,
        }
        // It came back, or went, between two looks: the later one counts.
        (item.meta, item.link_target) = (fresh.meta, fresh.link_target);
        item.covers.extend(covers.cloned());
    }

    /// Leaves out what has no listed directory above it: the source changed since it was seen. The
    /// marks that brought it stay.
    fn leave_orphans(&mut self) {
        let mut orphans = HashSet::new();
        for path in self.items.keys().flatten() {
            let dir = path.parent();
            let listed = self.items.get(&dir).is_some_and(|above| above.act == Act::Directory);
            if dir.is_some_and(|dir| !listed || orphans.contains(&dir)) {
                orphans.insert(path.clone());
            }
        }
        if orphans.is_empty() {
            return;
        }
        let above = orphans.iter().flat_map(RelPath::ancestors).collect::<HashSet<_>>();
        let stays = |mark: &RelPath| above.contains(mark) || orphans.contains(mark);
        self.batch.trees.retain(|dir| !stays(dir));
        self.items.retain(|path, _| path.as_ref().is_none_or(|path| !orphans.contains(path)));
        self.items.values_mut().for_each(|item| item.covers.retain(|mark| !stays(mark)));
    }

    fn finish(mut self) -> Batch {
        self.leave_orphans();
        let mut batch = self.batch;
        batch.items = self.items.into_values().collect();
        // Former names are deleted by the batch that follows: what covers them stays marked.
        let formers = batch.items.iter().filter(|item| item.act == Act::FormerName);
        let above: HashSet<RelPath> =
            formers.filter_map(|item| item.path.as_ref()).flat_map(RelPath::ancestors).collect();
        batch.trees.retain(|dir| !above.contains(dir));
        batch.deletions = batch
            .items
            .iter()
            .filter_map(|item| {
                let path = item.path.as_ref()?;
                match item.act {
                    Act::Missing => Some(self.presence.count_at(path)),
                    // A directory that became something else goes with all that was in it.
                    Act::Object { .. } => Some(self.presence.count_at(path).saturating_sub(1)),
                    Act::Directory | Act::FormerName => None,
                }
            })
            .sum();
        batch
    }
}

#[cfg(test)]
mod tests;
