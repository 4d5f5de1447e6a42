//! Serves what the lists name: content, values of attributes, and at the end the removal of
//! sources.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use driftless_fs::is_absent;
use driftless_fs::xattr::Of;
use driftless_proto::item::{Item as WireItem, ItemFlags};
use driftless_proto::stats::Stats;
use driftless_tree::Kind;

use crate::driver::{Answered, Content, Driver, Level, Listed, Refusal, SentOutcome};
use crate::module::quoted;
use crate::options::RemoveSource;
use crate::push::Outcome;
use crate::report::{
    Direction, Item, KindCounts, Message, Origin as Speaker, Progress, Statistics, Transferred,
};
use crate::sender::attrs::value_of;
use crate::sender::scan::content::{Opened, Reading};
use crate::sender::scan::state::{Shared, State, describe};

/// Between two reports about content under way.
const PROGRESS_INTERVAL: Duration = Duration::from_millis(100);

/// The driver of a session whose lists were made by [`super::walk::Walk`]: the index of what is
/// listed is the number of its origin.
pub(crate) struct Supply<'a> {
    pub(crate) shared: Shared<'a>,
    /// `--stop-at`
    pub(crate) stop_at: Option<SystemTime>,
    /// When the caller last heard of content under way.
    pub(crate) told_progress: Option<Instant>,
}

impl State<'_> {
    fn open_content(&mut self, listed: &Listed<'_>) -> io::Result<Box<dyn Content>> {
        let number = listed.index as u32;
        let Some(origin) = self.origins.get(listed.index) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        let follows = self.options.link.copy_all || self.options.link.copy_unsafe;
        let copies_devices = self.options.read.copy_devices;
        let (dir, leaf) = self.disk.parent(number, origin, &listed.entry.name)?;
        let leaf = leaf.ok_or(io::ErrorKind::InvalidInput)?;
        let opened = match follows {
            true => dir.open_file_following(leaf),
            false => dir.open_file(leaf),
        };
        match opened {
            Ok(file) => {
                let len = file.opened().size;
                Ok(Box::new(Reading::new(Opened::File(Arc::new(file)), len)))
            }
            Err(error) if copies_devices && error.kind() == io::ErrorKind::InvalidInput => {
                let (device, len) = dir.open_device(leaf, follows)?;
                Ok(Box::new(Reading::new(Opened::Device(device), len)))
            }
            Err(error) => Err(error),
        }
    }

    fn path_of(&self, listed: &Listed<'_>) -> Vec<u8> {
        match self.origins.get(listed.index) {
            Some(origin) => origin.full_path(&listed.entry.name),
            None => listed.entry.name.to_vec(),
        }
    }

    fn remove_source(&mut self, listed: &Listed<'_>) {
        let entry = listed.entry;
        if self.options.delete.remove_source == RemoveSource::Nothing
            || entry.kind().is_none_or(|kind| kind == Kind::Dir)
        {
            return;
        }
        let Some(origin) = self.origins.get(listed.index) else { return };
        let path = origin.full_path(&entry.name);
        // Links on the way were followed for reading: what lies elsewhere is not ours to remove.
        let parent = match self.disk.parent_within(origin, &entry.name) {
            Ok(parent) => parent,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return self.already_removed(&entry.name);
            }
            Err(error) => {
                let start = b"rsync: [sender] sender failed to secure-open-parent ";
                let why = format!(": {}", describe(&error));
                let text = [&start[..], &entry.name, why.as_bytes()].concat();
                return self.say(Level::ErrorXfer, text);
            }
        };
        let leaf = parent.1.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput));
        let removed = leaf.and_then(|leaf| {
            let now = parent.0.lstat(leaf)?;
            let is_same = entry.kind() != Some(Kind::File)
                || (now.size, now.mtime) == (entry.size, entry.mtime)
                || self.options.link.copy_all;
            if is_same {
                parent.0.remove_file(leaf)?;
            }
            Ok(is_same)
        });
        match removed {
            Ok(true) if self.options.talk.info.remove > 0 => {
                self.say(Level::Info, [b"sender removed ", &*entry.name].concat());
            }
            Ok(true) => {}
            Ok(false) => {
                let text = [b"ERROR: Skipping sender remove for changed file: ", &*entry.name];
                self.say(Level::ErrorXfer, text.concat());
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.already_removed(&entry.name);
            }
            Err(error) => {
                let text = format!("sender failed to remove {}: ", String::from_utf8_lossy(&path));
                self.say(Level::ErrorXfer, (text + &describe(&error)).into_bytes());
            }
        }
    }

    fn already_removed(&mut self, name: &[u8]) {
        self.say(Level::Info, [b"sender file already removed: ", name].concat());
    }
}

impl Supply<'_> {
    fn with_item(
        &self,
        listed: &Listed<'_>,
        said: &WireItem,
        tell: impl FnOnce(&mut State<'_>, &Item<'_>),
    ) {
        let state = &mut *self.shared.borrow_mut();
        let source_dir = match state.origins.get_mut(listed.index) {
            Some(origin) => std::mem::take(&mut origin.source_dir),
            None => Vec::new(),
        };
        let mut flags = said.flags;
        if flags & ItemFlags::REPORT_TIME != 0
            && listed.entry.kind() == Some(Kind::Symlink)
            && !state.peer_sets_link_times
        {
            // Of a link this bit says that its time cannot be set.
            flags |= ItemFlags::REPORT_SIZE;
        }
        let item = Item {
            entry: listed.entry,
            flags,
            xname: said.xname.as_deref(),
            direction: Direction::Sent,
            source_dir: &source_dir,
            gives_group: true,
        };
        tell(state, &item);
        if let Some(origin) = state.origins.get_mut(listed.index) {
            origin.source_dir = source_dir;
        }
    }
}

impl Driver for Supply<'_> {
    fn open(&mut self, listed: &Listed<'_>) -> Result<Box<dyn Content>, Refusal> {
        let state = &mut *self.shared.borrow_mut();
        state.open_content(listed).map_err(|error| {
            let path = state.path_of(listed);
            if is_absent(&error) {
                state.vanished(&path);
                return Refusal::Vanished;
            }
            if error.kind() == io::ErrorKind::InvalidInput {
                return Refusal::Changed;
            }
            let shown = quoted(state.module, &path);
            let text = [b"rsync: [sender] send_files failed to open ", &shown[..], b": "];
            let text = [&text.concat(), describe(&error).as_bytes()].concat();
            state.say(Level::ErrorXfer, text);
            Refusal::Io(error)
        })
    }

    fn applied(&mut self, listed: &Listed<'_>) {
        self.shared.borrow_mut().remove_source(listed);
    }

    fn sent(&mut self, _: &Listed<'_>, _: SentOutcome) {}

    fn item_with_name(&mut self, listed: &Listed<'_>, said: &WireItem, again: bool) {
        self.with_item(listed, said, |state, item| {
            if said.has(ItemFlags::IS_NEW) && !again {
                let created = state.statistics.created.get_or_insert_with(KindCounts::default);
                created.count(item.entry.mode);
            }
            let looked_at = u64::from((listed.ndx + 1).saturating_sub(state.first_ndx));
            state.overall.remaining_count = state.overall.listed_count.saturating_sub(looked_at);
            state.report.item(item);
        });
    }

    fn progress(&mut self, listed: &Listed<'_>, offset: u64) {
        if self.told_progress.is_some_and(|at| at.elapsed() < PROGRESS_INTERVAL) {
            return;
        }
        self.told_progress = Some(Instant::now());
        let state = &mut *self.shared.borrow_mut();
        let overall = state.overall;
        state.report.progress(&Progress {
            entry: listed.entry,
            offset,
            len: listed.entry.size,
            finished: false,
            overall,
        });
    }

    fn answered(&mut self, listed: &Listed<'_>, answered: &Answered<'_>) {
        self.with_item(listed, answered.item, |state, item| {
            let entry = listed.entry;
            state.statistics.transferred_count += 1;
            state.statistics.transferred_size += entry.size;
            state.overall.done_bytes += entry.size;
            state.overall.transferred_count += 1;
            let overall = state.overall;
            state.report.progress(&Progress {
                entry,
                offset: entry.size,
                len: entry.size,
                finished: true,
                overall,
            });
            let transfer = Transferred {
                data_bytes: answered.data_bytes,
                sum_bytes: answered.sum_bytes,
                digest: answered.digest,
                accepted: true,
            };
            state.report.transferred(item, &transfer);
        });
    }

    fn xattr_value(&mut self, listed: &Listed<'_>, name: &[u8]) -> Option<Vec<u8>> {
        let state = &mut *self.shared.borrow_mut();
        let follows = state.options.link.copy_all || state.options.link.copy_unsafe;
        let kept = state.options.metadata.fake_super;
        let origin = state.origins.get(listed.index)?;
        let read = state.disk.parent(listed.index as u32, origin, &listed.entry.name);
        let value = read.and_then(|(dir, leaf)| {
            let of = match leaf {
                None => Of::Dir,
                Some(leaf) if follows => Of::Target(leaf),
                Some(leaf) => Of::Entry(leaf),
            };
            value_of(dir, of, kept, name)
        });
        value.ok().flatten()
    }

    fn statistics(&mut self, outcome: &Outcome, read_bytes: u64, written_bytes: u64) -> Stats {
        let state = &mut *self.shared.borrow_mut();
        let options = state.options;
        if state.is_server && options.talk.debug.deltasum > 0 && !options.selection.list_only {
            let totals = Statistics {
                match_count: outcome.match_count,
                literal_bytes: outcome.literal_bytes,
                ..state.statistics
            };
            state.say(Level::Info, totals.match_totals().into_bytes());
        }
        let statistics = &state.statistics;
        Stats {
            read_bytes: read_bytes as i64,
            written_bytes: written_bytes as i64,
            total_size: statistics.total_size as i64,
            list_build_ms: statistics.list_build.as_millis() as i64,
            list_transfer_ms: statistics.list_transfer.as_millis() as i64,
        }
    }

    fn take_texts(&mut self) -> Vec<(Level, Vec<u8>)> {
        std::mem::take(&mut self.shared.borrow_mut().texts)
    }

    fn deleted(&mut self, name: &[u8], is_dir: bool) {
        self.shared.borrow_mut().report.deleted(name, is_dir);
    }

    fn message(&mut self, level: Level, text: &[u8]) {
        let state = &mut *self.shared.borrow_mut();
        state.report.message(&Message { level, origin: Speaker::Peer, text });
    }

    fn cancelled(&self) -> bool {
        let is_late = self.stop_at.is_some_and(|at| SystemTime::now() >= at);
        is_late || self.shared.borrow().report.cancelled()
    }
}
