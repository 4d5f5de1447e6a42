//! What a partial session proved, item by item (stock-lane reference, "what proves that a path is
//! applied"): acknowledged, no text that names it, and content that may differ really sent.

use std::collections::{HashMap, HashSet};

use driftless_transfer::Level;
use driftless_tree::path::printable;
use driftless_tree::{Kind, RelPath};

use super::batch_session::ItemState;
use crate::batch::{Act, Batch, Item};
use crate::lane::report::{Failure, ItemEnd};
use crate::lane::texts::{self, Meaning};

/// Decides what a session proved (stock-lane, "what proves that a path is applied").
pub(super) struct Judge<'a> {
    pub(super) batch: &'a Batch,
    pub(super) states: Vec<ItemState>,
    pub(super) acknowledged: bool,
    pub(super) clean: bool,
    pub(super) by_name: HashMap<Vec<u8>, usize>,
    pub(super) deleted: Vec<Vec<u8>>,
    pub(super) unmatched: Vec<String>,
    pub(super) prefix: Vec<u8>,
    /// The session carried rules, so names that stay are names that rules protect.
    pub(super) protects: bool,
    /// The session carried extended attributes. A daemon acknowledges what is there before it has
    /// read the values that it asked for.
    pub(super) has_xattrs: bool,
    pub(super) deletion_ignored: bool,
    /// Directories in which the daemon may have made links after it had set their times.
    pub(super) late: HashSet<Option<RelPath>>,
}

impl Judge<'_> {
    pub(super) fn read(&mut self, texts: &[(Level, Vec<u8>)]) {
        for (level, text) in texts {
            let error = matches!(level, Level::Warning | Level::Error | Level::ErrorXfer);
            let meaning = texts::meaning(text, error);
            if meaning == Meaning::Talk || (meaning == Meaning::NotEmpty && self.protects) {
                continue;
            }
            self.deletion_ignored |= meaning == Meaning::DeletionIgnored;
            let why = printable(text.trim_ascii_end());
            let mut matched = false;
            for name in texts::paths(text) {
                let name = name.strip_prefix(&self.prefix[..]).unwrap_or(&name).to_vec();
                if let Some(at) = self.find(&name) {
                    let failure = &mut self.states[at].failure;
                    if failure.as_ref().is_none_or(|failure| failure.transient) {
                        *failure = Some(Failure::lasting(why.clone()));
                    }
                    matched = true;
                }
            }
            if !matched && meaning == Meaning::Failed {
                self.unmatched.push(why);
            }
        }
        self.late = self.late_directories();
    }

    /// The directories of hard-link groups of which a member failed.
    fn late_directories(&self) -> HashSet<Option<RelPath>> {
        let members = || self.batch.items.iter().zip(&self.states);
        let failed = members().filter(|(_, state)| state.failure.is_some());
        let groups: HashSet<u32> = failed.filter_map(|(item, _)| item.group).collect();
        let of_failed = |item: &&Item| item.group.is_some_and(|group| groups.contains(&group));
        let items = self.batch.items.iter().filter(of_failed);
        items.filter_map(|item| Some(item.path.as_ref()?.parent())).collect()
    }

    /// The item that a name is about: itself, or the deleted directory that it was in.
    fn find(&self, name: &[u8]) -> Option<usize> {
        if let Some(&at) = self.by_name.get(name) {
            return Some(at);
        }
        let path = RelPath::parse(name).ok()?;
        path.ancestors().find_map(|above| {
            let at = *self.by_name.get(above.as_bytes())?;
            (self.batch.items[at].act != Act::Directory).then_some(at)
        })
    }

    pub(super) fn end(&self, at: usize, sends_deletions: bool) -> ItemEnd {
        let item = &self.batch.items[at];
        let state = &self.states[at];
        if let Some(failure) = state.failure.as_ref().or_else(|| self.group_failure(at)) {
            return ItemEnd::Failed(failure.clone());
        }
        let proved = match item.act {
            Act::Missing if !sends_deletions => {
                return ItemEnd::Failed(Failure::lasting("the target refuses deletions"));
            }
            Act::Missing => self.clean || self.is_deleted(item),
            Act::Directory if self.late.contains(&item.path) => return ItemEnd::Unproved,
            Act::Directory => self.clean,
            Act::FormerName => self.clean || state.acknowledged,
            Act::Object { .. } if self.acknowledged => {
                state.acknowledged && (self.clean || !self.has_xattrs)
            }
            Act::Object { .. } => self.clean && self.unmatched.is_empty(),
        };
        if !proved {
            return match (self.clean, self.unmatched.is_empty()) {
                // Not acknowledged at a clean end, for a reason that no text gave.
                (true, true) => ItemEnd::Failed(Failure::lasting("the target did not take it")),
                _ => ItemEnd::Unproved,
            };
        }
        if self.may_differ(at) && !self.content_sent(at) {
            // The false size was the size of the target's file: list it with another one. Or it was
            // linked to what the target had of another member of its group.
            return ItemEnd::Failed(Failure::transient("its content was not asked for"));
        }
        ItemEnd::Applied
    }

    /// The daemon asks for one member of a hard-link group; what fails for that one fails for all
    /// that it did not acknowledge.
    fn group_failure(&self, at: usize) -> Option<&Failure> {
        if self.states[at].acknowledged {
            return None;
        }
        self.members(at).find_map(|(_, state)| state.failure.as_ref())
    }

    fn is_deleted(&self, item: &Item) -> bool {
        let path = item.path.as_ref().map(RelPath::as_bytes);
        path.is_some_and(|path| self.deleted.iter().any(|name| name == path))
    }

    /// Whether the target may have other content under this name or another one of its group.
    fn may_differ(&self, at: usize) -> bool {
        self.members(at).any(|(item, _)| {
            let regular = item.meta.is_some_and(|meta| meta.kind == Kind::File);
            item.act == (Act::Object { content: true }) && regular
        })
    }

    fn content_sent(&self, at: usize) -> bool {
        self.members(at).any(|(_, state)| state.sent)
    }

    /// An item with those of its hard-link group.
    fn members(&self, at: usize) -> impl Iterator<Item = (&Item, &ItemState)> {
        let group = self.batch.items[at].group;
        let all = self.batch.items.iter().zip(&self.states).enumerate();
        all.filter(move |(other, (item, _))| *other == at || group.is_some() && item.group == group)
            .map(|(_, member)| member)
    }
}

pub(super) fn names(batch: &Batch) -> HashMap<Vec<u8>, usize> {
    let named = batch.items.iter().enumerate();
    named
        .map(|(at, item)| {
            let name = item.path.as_ref().map_or(&b"."[..], |path| path.as_bytes());
            (name.to_vec(), at)
        })
        .collect()
}
