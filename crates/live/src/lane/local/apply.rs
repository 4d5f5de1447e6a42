//! Applying a batch: its items in order, then the attributes of directories, deepest first.

use driftless_tree::{Meta, RelPath};
use rustc_hash::FxHashMap;

use super::writer::{Object, Trouble, Trust, Writer};
use crate::batch::{Act, Batch, Item};
use crate::lane::report::{BatchReport, Failure, ItemEnd, LaneError};

/// Names of one inode, and where the target has it.
#[derive(Default)]
struct Group<'a> {
    objects: Vec<&'a Item>,
    former: Option<&'a RelPath>,
    /// A name at the target that has the object.
    held: Option<&'a RelPath>,
}

struct Apply<'a> {
    writer: Writer<'a>,
    groups: FxHashMap<u32, Group<'a>>,
    /// Inodes of the target, and the group that each belongs to: groups that were split at the
    /// source may still share one.
    claimed: FxHashMap<(u64, u64), u32>,
    /// What directories were before, by the number of their item.
    before: FxHashMap<usize, Option<Meta>>,
}

/// Applies a batch.
pub(super) fn apply<'a>(writer: Writer<'a>, batch: &'a Batch) -> BatchReport {
    let mut groups = FxHashMap::<u32, Group<'_>>::default();
    for item in &batch.items {
        let Some(group) = item.group else { continue };
        let group = groups.entry(group).or_default();
        match item.act {
            Act::FormerName => group.former = item.path.as_ref(),
            _ => group.objects.push(item),
        }
    }
    let (claimed, before) = (FxHashMap::default(), FxHashMap::default());
    let mut apply = Apply { writer, groups, claimed, before };
    let mut items = vec![ItemEnd::Unproved; batch.items.len()];
    let end = apply.run(batch, &mut items);
    BatchReport { items, end, unmatched: Vec::new(), traffic: apply.writer.traffic }
}

impl<'a> Apply<'a> {
    fn run(&mut self, batch: &'a Batch, ends: &mut [ItemEnd]) -> Result<(), LaneError> {
        for (at, (item, end)) in batch.items.iter().zip(&mut *ends).enumerate() {
            *end = settle(self.writer.go_on().and_then(|()| self.item(at, item)))?;
        }
        fail_whole_groups(batch, ends);
        // Writing in a directory moves its time.
        for (at, (item, end)) in batch.items.iter().zip(ends).enumerate().rev() {
            if let (Act::Directory, Some(meta), ItemEnd::Applied) = (item.act, &item.meta, &*end) {
                let before = self.before.get(&at).and_then(Option::as_ref);
                *end = settle(self.writer.finish_directory(item.path.as_ref(), meta, before))?;
            }
        }
        Ok(())
    }

    fn item(&mut self, at: usize, item: &'a Item) -> Result<(), Trouble> {
        let Some(path) = &item.path else {
            self.before.insert(at, self.writer.target.meta().ok());
            return Ok(());
        };
        match (item.act, &item.meta) {
            (Act::Directory, Some(meta)) => {
                let before = self.writer.directory(path, meta)?;
                self.before.insert(at, before);
                Ok(())
            }
            (Act::Object { content }, Some(meta)) => {
                let trust = if content { Trust::Nothing } else { Trust::QuickCheck };
                let link_target = &item.link_target;
                let object = Object { path, meta, link_target, trust, settled: item.settled };
                match item.group {
                    Some(group) => self.grouped(group, &object),
                    None => self.writer.object(&object),
                }
            }
            (Act::Missing, _) => self.writer.remove(path),
            // It is looked at when its new name is.
            (Act::FormerName, _) => Ok(()),
            (Act::Directory | Act::Object { .. }, None) => {
                Err(Trouble::Name(Failure::transient("it was not looked at")))
            }
        }
    }

    fn grouped(&mut self, number: u32, object: &Object<'a>) -> Result<(), Trouble> {
        let mut group = self.groups.remove(&number).unwrap_or_default();
        let done = self.member(number, &mut group, object);
        self.groups.insert(number, group);
        done
    }

    fn member(
        &mut self,
        number: u32,
        group: &mut Group<'a>,
        object: &Object<'a>,
    ) -> Result<(), Trouble> {
        let believed = object.trust != Trust::Nothing;
        if group.held.is_none() && believed {
            let paths = group.objects.iter().filter_map(|item| item.path.as_ref());
            group.held =
                paths.into_iter().find(|path| self.has(number, object, path).unwrap_or(false));
        }
        let mut object = *object;
        match group.held {
            Some(held) if held != object.path => {
                if self.writer.link(held, object.path)? {
                    return Ok(());
                }
            }
            Some(_) => object.trust = Trust::QuickCheck,
            None => {
                if let Some(former) = group.former
                    && believed
                    && self.has(number, &object, former)?
                {
                    // Other names are linked to this one, so the former name has served.
                    self.writer.rename(former, object.path)?;
                } else if self.is_anothers(number, object.path)? {
                    object.trust = Trust::Nothing;
                }
            }
        }
        self.writer.object(&object)?;
        group.held.get_or_insert(object.path);
        if let Some(made) = self.writer.present(object.path)? {
            self.claimed.insert((made.dev, made.ino), number);
        }
        Ok(())
    }

    /// Whether the target's `path` is the object of this group.
    fn has(&self, number: u32, object: &Object<'_>, path: &RelPath) -> Result<bool, Trouble> {
        let Some(present) = self.writer.present(path)? else { return Ok(false) };
        Ok(self.writer.is_like(object, path, &present) && !self.is_anothers(number, path)?)
    }

    fn is_anothers(&self, number: u32, path: &RelPath) -> Result<bool, Trouble> {
        let present = self.writer.present(path)?;
        let owner = present.and_then(|found| self.claimed.get(&(found.dev, found.ino)));
        Ok(owner.is_some_and(|owner| *owner != number))
    }
}

/// A name that was linked to another one of its group has what that one has.
fn fail_whole_groups(batch: &Batch, ends: &mut [ItemEnd]) {
    let mut failures = FxHashMap::default();
    for (item, end) in batch.items.iter().zip(&*ends) {
        if let (Some(group), ItemEnd::Failed(failure)) = (item.group, end) {
            failures.insert(group, failure.clone());
        }
    }
    for (item, end) in batch.items.iter().zip(ends) {
        let failure = item.group.and_then(|group| failures.get(&group));
        if let (Some(failure), ItemEnd::Applied) = (failure, &*end) {
            *end = ItemEnd::Failed(failure.clone());
        }
    }
}

/// A name's trouble is its own; the lane's ends the batch.
fn settle(done: Result<(), Trouble>) -> Result<ItemEnd, LaneError> {
    match done {
        Ok(()) => Ok(ItemEnd::Applied),
        Err(Trouble::Name(failure)) => Ok(ItemEnd::Failed(failure)),
        Err(Trouble::Cancelled) => Err(LaneError::Cancelled),
    }
}
