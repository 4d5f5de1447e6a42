//! Answers a partial session, and notes what it said of each item.

use driftless_transfer::source::{Attendance, Expected, WriterPolicy, xattr_at};
use driftless_transfer::{Content, Driver, Level, Listed, Refusal, SentOutcome};
use driftless_tree::Kind;
use driftless_tree::path::printable;

use super::refusal;
use crate::batch::{Act, Batch, Item};
use crate::lane::report::Failure;
use crate::lane::state::Lane;
use crate::lane::work::View;

/// What a session said of one item.
#[derive(Debug, Default)]
pub(super) struct ItemState {
    pub(super) acknowledged: bool,
    pub(super) sent: bool,
    pub(super) failure: Option<Failure>,
    /// A value of its extended attributes was not what was listed: what was sent is not what it is.
    pub(super) outdated: bool,
    /// It is about to be read: lanes that send it too wait a little, so that all read it once.
    pub(super) attendance: Option<Attendance>,
}

/// Answers a partial session.
pub(super) struct ListDriver<'a> {
    pub(super) batch: &'a Batch,
    pub(super) items: &'a [usize],
    pub(super) view: &'a View,
    pub(super) lane: &'a Lane,
    pub(super) states: Vec<ItemState>,
    pub(super) texts: Vec<(Level, Vec<u8>)>,
    pub(super) deleted: Vec<Vec<u8>>,
}

impl ListDriver<'_> {
    /// Tells the other lanes which files are going to be read. Before the daemons compute their
    /// signatures: the first lane to have one would be too far ahead of the last otherwise.
    pub(super) fn attend(&mut self) {
        for &at in self.items {
            let item = &self.batch.items[at];
            if let (Act::Object { content: true }, Some(meta)) = (item.act, &item.meta)
                && meta.kind == Kind::File
            {
                self.states[at].attendance = self.view.cache.attend(meta);
            }
        }
    }

    fn state(&mut self, item: &Listed<'_>) -> Option<&mut ItemState> {
        let at = *self.items.get(item.index)?;
        self.states.get_mut(at)
    }

    /// What was done for one name was done for all names of its inode.
    fn fail_all_names(&mut self, item: &Listed<'_>, failure: &Failure) {
        let Some(&at) = self.items.get(item.index) else { return };
        let group = self.batch.items[at].group;
        for (other, state) in self.states.iter_mut().enumerate() {
            if other == at || group.is_some() && self.batch.items[other].group == group {
                state.failure.get_or_insert_with(|| failure.clone());
                state.outdated = true;
            }
        }
    }

    fn planned(&self, item: &Listed<'_>) -> Option<&Item> {
        self.batch.items.get(*self.items.get(item.index)?)
    }
}

impl Driver for ListDriver<'_> {
    fn open(&mut self, item: &Listed<'_>) -> Result<Box<dyn Content>, Refusal> {
        // The content attends by itself. It is opened before this goes, in the same breath.
        let _attendance = self.state(item).and_then(|state| state.attendance.take());
        let Some(planned) = self.planned(item) else { return Err(Refusal::Vanished) };
        // The daemon may ask for a former name when the target has neither.
        let planned = self.batch.named(planned);
        let (Some(path), Some(meta)) = (&planned.path, &planned.meta) else {
            return Err(Refusal::Vanished);
        };
        let (expected, writers) = match planned.settled {
            true => (Expected::Grown(meta), WriterPolicy::Ignore),
            false => (Expected::Meta(meta), WriterPolicy::Refuse),
        };
        self.view.cache.open(&self.view.root, path, expected, writers)
    }

    fn xattr_value(&mut self, item: &Listed<'_>, name: &[u8]) -> Option<Vec<u8>> {
        let planned = self.batch.named(self.planned(item)?);
        let value = xattr_at(&self.view.root, planned.path.as_ref(), name);
        let is_as_planned = match (&planned.path, planned.meta) {
            (Some(path), Some(meta)) => {
                self.view.root.lstat(path).is_ok_and(|now| now.same_version(&meta))
            }
            // The root stays, and tells of its changes itself.
            _ => true,
        };
        if value.is_none() || !is_as_planned {
            self.fail_all_names(item, &refusal(&Refusal::Changed));
        }
        value
    }

    fn applied(&mut self, item: &Listed<'_>) {
        if let Some(state) = self.state(item) {
            state.acknowledged = true;
        }
    }

    fn sent(&mut self, item: &Listed<'_>, outcome: SentOutcome) {
        let Some(state) = self.state(item) else { return };
        // It was not opened when it is refused for good.
        state.attendance = None;
        match outcome {
            SentOutcome::Sent => {
                state.sent = true;
                state.failure = state.failure.take().filter(|_| state.outdated);
            }
            SentOutcome::Spoiled => state.failure = Some(refusal(&Refusal::Spoiled)),
            SentOutcome::Refused(why) => {
                state.failure.get_or_insert(refusal(&why));
            }
        }
    }

    fn deleted(&mut self, name: &[u8], _is_dir: bool) {
        self.deleted.push(name.to_vec());
    }

    fn message(&mut self, level: Level, text: &[u8]) {
        tracing::debug!(target = %self.lane.url, ?level, "{}", printable(text));
        if level != Level::Motd {
            self.texts.push((level, text.to_vec()));
        }
    }

    fn cancelled(&self) -> bool {
        self.lane.cancelled()
    }
}
