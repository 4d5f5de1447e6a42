//! The lane to a stock rsync daemon: one session for each batch.
//!
//! What makes it safe (each point was observed on the real daemon):
//! * Paths are acknowledged one by one: the server is told to remove source files, answers with a
//!   message for each finished file, and nothing is removed here. An exit code proves nothing.
//! * Equal size is equal content for a session (`--size-only`), and a path whose content may differ
//!   is listed with a false size, so that one session carries both kinds. Sessions with renames
//!   compare times as well: there a former name is believed.
//! * Directories are listed without content, so that `--delete`, which carries the filter rules, can
//!   never look into one.

use std::collections::HashMap;
use std::time::Duration;

use driftless_transfer::connect::password::read_password_file;
use driftless_transfer::connect::url::DaemonUrl;
use driftless_transfer::source::{Expected, WriterPolicy};
use driftless_transfer::{
    Content, Driver, ItemChange, Level, ListPush, Listed, Outcome, Peer, Problem, PushError,
    PushFailure, Refusal, SentOutcome, TransferOptions, TreePush, push_list, push_tree,
};
use driftless_tree::flist::{Entry, HardLink};
use driftless_tree::path::printable;
use driftless_tree::{Kind, RelPath, Timestamp};
use zeroize::Zeroizing;

use super::report::{BatchReport, Failure, ItemEnd, LaneError, PassReport, Traffic};
use super::state::Lane;
use super::texts::{self, Meaning};
use super::work::{Target, View, Wants};
use crate::batch::{Act, Batch, Item};
use crate::config::{MaxDelete, PasswordSource};
use crate::mirror::chain as text;
use crate::pass::{PassSource, false_size};

/// How long a full daemon is left alone.
const BUSY_WAIT: Duration = Duration::from_millis(100);

/// A module of a daemon.
pub struct RsyncTarget {
    peer: Peer,
    password: PasswordSource,
    options: TransferOptions,
    delete: bool,
    refused: Refused,
}

/// What a target does without.
#[derive(Debug, Default)]
struct Refused {
    deletions: bool,
    force: bool,
    acknowledgements: bool,
}

impl RsyncTarget {
    /// A target that is not connected yet.
    pub fn new(
        url: DaemonUrl,
        password: PasswordSource,
        options: TransferOptions,
        delete: bool,
    ) -> Self {
        let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
        let peer = Peer { url, default_user: user.unwrap_or("nobody".into()), password: None };
        Self { peer, password, options, delete, refused: Refused::default() }
    }

    fn read_password(&mut self) -> Result<(), LaneError> {
        self.peer.password = match &self.password {
            PasswordSource::None => None,
            PasswordSource::Value(value) => Some(Zeroizing::clone(value)),
            PasswordSource::File(path) => {
                Some(read_password_file(path).map_err(|error| LaneError::Failed(text(&error)))?)
            }
        };
        Ok(())
    }

    /// Sorts what ended a session by what the lane does about it. `listed`: the target had the
    /// list, so it may have begun to write.
    fn lane_error(&mut self, error: &PushError, listed: bool) -> LaneError {
        match error {
            PushError::Cancelled => LaneError::Cancelled,
            PushError::MaxConnections { .. } => {
                LaneError::Busy { why: text(error), wait: BUSY_WAIT }
            }
            PushError::Refused { option, .. } => {
                let known = if option.contains("delete") {
                    &mut self.refused.deletions
                } else if option.contains("force") {
                    &mut self.refused.force
                } else if option.contains("remove-") {
                    &mut self.refused.acknowledgements
                } else {
                    return LaneError::Failed(text(error));
                };
                // Refused although it is not used any more: something else is wrong.
                if std::mem::replace(known, true) {
                    return LaneError::Failed(text(error));
                }
                LaneError::Learned(text(error))
            }
            PushError::Closed { .. } | PushError::Io(_) | PushError::Timeout { .. } if listed => {
                LaneError::Broken(text(error))
            }
            _ => LaneError::Failed(text(error)),
        }
    }

    /// The list of a batch, entry by entry in the order of its items, less what is not sent.
    fn list(&self, batch: &Batch) -> (Vec<Entry>, Vec<usize>) {
        let mut entries = Vec::with_capacity(batch.items.len());
        let mut items = Vec::with_capacity(batch.items.len());
        let mut groups: HashMap<u32, (u32, u64)> = HashMap::new();
        for (at, item) in batch.items.iter().enumerate() {
            if item.act == Act::Missing && !self.deletes() {
                continue;
            }
            let mut entry = item.entry();
            let regular = entry.kind() == Some(Kind::File);
            if item.act == (Act::Object { content: true }) && regular {
                entry.size = false_size(entry.size);
            }
            if let Some(group) = item.group {
                let here = u32::try_from(entries.len()).expect("lists are bounded");
                let first = *groups.entry(group).or_insert((here, entry.size));
                // A follower inherits the size of the first, false or not.
                entry.size = first.1;
                entry.hard_link = Some(match first.0 {
                    first if first == here => HardLink::First,
                    ndx => HardLink::Follows { ndx },
                });
            }
            entries.push(entry);
            items.push(at);
        }
        (entries, items)
    }

    fn deletes(&self) -> bool {
        self.delete && !self.refused.deletions
    }

    fn push(&self, batch: &Batch, entries: Vec<Entry>, view: &View) -> Result<ListPush, LaneError> {
        let rules = view
            .rules
            .wire_texts(self.options.protocol)
            .map_err(|error| LaneError::Failed(text(&error)))?;
        let missing = batch.items.iter().any(|item| item.act == Act::Missing);
        // `--delete` carries the rules that protect excluded names; it also does what `--force`
        // does, for a target that refuses that.
        let carrier = match rules {
            Some(rules) => Some(rules),
            None => self.refused.force.then(Vec::new),
        };
        Ok(ListPush {
            entries,
            size_only: !batch.by_time,
            ignore_times: false,
            force: self.delete && !self.refused.force,
            acknowledgements: !self.refused.acknowledgements,
            missing_args: missing && self.deletes(),
            filter_texts: carrier.filter(|_| self.deletes()),
        })
    }
}

fn traffic(outcome: &Outcome) -> Traffic {
    Traffic {
        sent: outcome.bytes_sent,
        received: outcome.bytes_received,
        files: outcome.transferred_count,
    }
}

/// Splits what a push gave into what is known and what ended it.
fn split(result: Result<Outcome, Box<PushFailure>>) -> (Outcome, Option<PushError>) {
    match result {
        Ok(outcome) => (outcome, None),
        Err(failure) => {
            let PushFailure { error, outcome } = *failure;
            (outcome, Some(error))
        }
    }
}

fn refusal(refused: &Refusal) -> Failure {
    match refused {
        Refusal::Io(error) => Failure::lasting(format!("cannot be read: {error}")),
        passing => Failure::transient(passing.to_string()),
    }
}

impl Target for RsyncTarget {
    fn wants(&self) -> Wants {
        Wants { delete: self.delete, deletes: self.deletes(), hard_links: self.options.hard_links }
    }

    fn apply(&mut self, batch: &Batch, view: &View, lane: &Lane) -> BatchReport {
        let (entries, items) = self.list(batch);
        let prepared = self.read_password().and_then(|()| self.push(batch, entries, view));
        let push = match prepared {
            Ok(push) => push,
            Err(error) => {
                return BatchReport {
                    items: vec![ItemEnd::Unproved; batch.items.len()],
                    end: Err(error),
                    unmatched: Vec::new(),
                    traffic: Traffic::default(),
                };
            }
        };
        let mut options = self.options.clone();
        options.hard_links |= batch.items.iter().any(|item| item.group.is_some());
        let acknowledged = push.acknowledgements;
        let protects = push.filter_texts.is_some() && !view.rules.is_empty();
        let mut driver = ListDriver {
            batch,
            items: &items,
            view,
            lane,
            states: batch.items.iter().map(|_| ItemState::default()).collect(),
            texts: Vec::new(),
            deleted: Vec::new(),
        };
        let (outcome, error) = split(push_list(&self.peer, &options, push, &mut driver));
        let ListDriver { states, texts, deleted, .. } = driver;
        let mut judge = Judge {
            batch,
            states,
            acknowledged,
            clean: outcome.clean_end,
            by_name: names(batch),
            deleted,
            unmatched: Vec::new(),
            prefix: prefix(&self.peer.url),
            protects,
            deletion_ignored: false,
        };
        judge.read(&texts);
        if judge.deletion_ignored {
            self.refused.deletions = true;
        }
        let sends_deletions = self.deletes();
        let items = (0..batch.items.len()).map(|at| judge.end(at, sends_deletions)).collect();
        BatchReport {
            items,
            end: error
                .map_or(Ok(()), |error| Err(self.lane_error(&error, outcome.listed_count > 0))),
            unmatched: judge.unmatched,
            traffic: traffic(&outcome),
        }
    }

    fn pass(
        &mut self,
        view: &View,
        unknown_since: Option<Timestamp>,
        limit: MaxDelete,
        lane: &Lane,
    ) -> PassReport {
        let mut report = PassReport {
            end: Ok(()),
            presence: Default::default(),
            failed: Vec::new(),
            unmatched: Vec::new(),
            traffic: Traffic::default(),
        };
        let rules = self.read_password().and_then(|()| {
            view.rules
                .wire_texts(self.options.protocol)
                .map_err(|error| LaneError::Failed(text(&error)))
        });
        let rules = match rules {
            Ok(rules) => rules.unwrap_or_default(),
            Err(error) => {
                report.end = Err(error);
                return report;
            }
        };
        let push = TreePush {
            delete: self.deletes(),
            force: self.delete && !self.refused.force,
            filter_texts: rules,
            ..TreePush::default()
        };
        if push.delete && limit != MaxDelete::Unlimited {
            let rehearsal = TreePush { dry_run: true, ..push.clone() };
            if let Err(error) = self.guard(rehearsal, view, limit, lane, &mut report) {
                report.end = Err(error);
                return report;
            }
        }
        let hard_links = self.options.hard_links;
        let mut source =
            PassSource::new(&view.root, &view.rules, &view.links, hard_links, unknown_since);
        let mut driver = PassDriver::new(view, lane, unknown_since.is_some());
        let result = push_tree(&self.peer, &self.options, push, &mut source, &mut driver);
        let (outcome, error) = split(result);
        report.traffic.sent += outcome.bytes_sent;
        report.traffic.received += outcome.bytes_received;
        report.traffic.files += outcome.transferred_count;
        report.presence = source.presence;
        driver.report(&prefix(&self.peer.url), &mut report);
        if let Some(error) = error {
            report.end = Err(self.lane_error(&error, outcome.listed_count > 0));
        }
        report
    }

    fn refusals(&self) -> Vec<String> {
        let told = [
            (self.refused.deletions, "deletions are refused: names gone at the source stay there"),
            (self.refused.force, "--force is refused: full directories go with --delete"),
            (
                self.refused.acknowledgements,
                "acknowledgements are refused: a batch counts as a whole",
            ),
        ];
        told.iter().filter(|(refused, _)| *refused).map(|(_, what)| (*what).into()).collect()
    }

    fn forget_refusals(&mut self) {
        self.refused = Refused::default();
    }
}

impl RsyncTarget {
    /// Asks the daemon what a pass would delete, and refuses what is more than `limit`. `push` is
    /// the pass as a dry run.
    ///
    /// The root alone is asked about first: where nothing in it would be deleted and the target has
    /// none of its names, the target holds nothing below them either, and walking the whole source
    /// for the question is spared.
    fn guard(
        &mut self,
        push: TreePush,
        view: &View,
        limit: MaxDelete,
        lane: &Lane,
        report: &mut PassReport,
    ) -> Result<(), LaneError> {
        let glance = TreePush { shallow: true, ..push.clone() };
        if self.rehearse(glance, view, lane, report)?.is_all_new() {
            return Ok(());
        }
        let Rehearsal { listed, deleted: count, .. } = self.rehearse(push, view, lane, report)?;
        let limit = limit.limit(listed + count);
        if count > limit {
            return Err(LaneError::WouldDelete { count, limit });
        }
        Ok(())
    }

    /// Runs a session that changes nothing.
    fn rehearse(
        &mut self,
        push: TreePush,
        view: &View,
        lane: &Lane,
        report: &mut PassReport,
    ) -> Result<Rehearsal, LaneError> {
        let hard_links = self.options.hard_links;
        let mut source = PassSource::new(&view.root, &view.rules, &view.links, hard_links, None);
        let mut driver = PassDriver::new(view, lane, false);
        let result = push_tree(&self.peer, &self.options, push, &mut source, &mut driver);
        let (outcome, error) = split(result);
        report.traffic.sent += outcome.bytes_sent;
        report.traffic.received += outcome.bytes_received;
        if let Some(error) = error {
            return Err(self.lane_error(&error, false));
        }
        let complaints = driver.texts.iter().any(|(level, _)| *level != Level::Info);
        Ok(Rehearsal {
            listed: source.presence.count(),
            new: driver.new,
            deleted: driver.deleted,
            troubled: complaints || outcome.io_error != 0 || outcome.error_xfer,
        })
    }
}

/// What a dry run told.
#[derive(Debug)]
struct Rehearsal {
    /// Names below the root that the source listed.
    listed: u64,
    /// Those of them that the target does not have.
    new: u64,
    deleted: u64,
    /// Somebody complained, so the counts prove nothing.
    troubled: bool,
}

impl Rehearsal {
    fn is_all_new(&self) -> bool {
        self.deleted == 0 && self.new == self.listed && !self.troubled
    }
}

/// Where the module's names begin in the daemon's texts.
fn prefix(url: &DaemonUrl) -> Vec<u8> {
    let mut prefix = url.path.clone();
    while prefix.last() == Some(&b'/') {
        prefix.pop();
    }
    if !prefix.is_empty() {
        prefix.push(b'/');
    }
    prefix
}

fn names(batch: &Batch) -> HashMap<Vec<u8>, usize> {
    let named = batch.items.iter().enumerate();
    named
        .map(|(at, item)| {
            let name = item.path.as_ref().map_or(&b"."[..], |path| path.as_bytes());
            (name.to_vec(), at)
        })
        .collect()
}

/// What a session said of one item.
#[derive(Debug, Default)]
struct ItemState {
    acknowledged: bool,
    sent: bool,
    failure: Option<Failure>,
}

/// Answers a partial session.
struct ListDriver<'a> {
    batch: &'a Batch,
    items: &'a [usize],
    view: &'a View,
    lane: &'a Lane,
    states: Vec<ItemState>,
    texts: Vec<(Level, Vec<u8>)>,
    deleted: Vec<Vec<u8>>,
}

impl ListDriver<'_> {
    fn state(&mut self, item: &Listed<'_>) -> Option<&mut ItemState> {
        let at = *self.items.get(item.index)?;
        self.states.get_mut(at)
    }

    fn planned(&self, item: &Listed<'_>) -> Option<&Item> {
        self.batch.items.get(*self.items.get(item.index)?)
    }
}

impl Driver for ListDriver<'_> {
    fn open(&mut self, item: &Listed<'_>) -> Result<Box<dyn Content>, Refusal> {
        let Some(planned) = self.planned(item) else { return Err(Refusal::Vanished) };
        // The daemon may ask for a former name when the target has neither.
        let planned = match (planned.act, planned.group) {
            (Act::FormerName, Some(group)) => self
                .batch
                .items
                .iter()
                .find(|other| other.group == Some(group) && other.act != Act::FormerName)
                .unwrap_or(planned),
            _ => planned,
        };
        let (Some(path), Some(meta)) = (&planned.path, &planned.meta) else {
            return Err(Refusal::Vanished);
        };
        let (expected, writers) = match planned.settled {
            true => (Expected::Grown(meta), WriterPolicy::Ignore),
            false => (Expected::Meta(meta), WriterPolicy::Refuse),
        };
        self.view.cache.open(&self.view.root, path, expected, writers)
    }

    fn applied(&mut self, item: &Listed<'_>) {
        if let Some(state) = self.state(item) {
            state.acknowledged = true;
        }
    }

    fn sent(&mut self, item: &Listed<'_>, outcome: SentOutcome) {
        let Some(state) = self.state(item) else { return };
        match outcome {
            SentOutcome::Sent => {
                state.sent = true;
                state.failure = None;
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

/// Decides what a session proved (stock-lane, "what proves that a path is applied").
struct Judge<'a> {
    batch: &'a Batch,
    states: Vec<ItemState>,
    acknowledged: bool,
    clean: bool,
    by_name: HashMap<Vec<u8>, usize>,
    deleted: Vec<Vec<u8>>,
    unmatched: Vec<String>,
    prefix: Vec<u8>,
    /// The session carried rules, so names that stay are names that rules protect.
    protects: bool,
    deletion_ignored: bool,
}

impl Judge<'_> {
    fn read(&mut self, texts: &[(Level, Vec<u8>)]) {
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

    fn end(&self, at: usize, sends_deletions: bool) -> ItemEnd {
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
            Act::Directory => self.clean,
            Act::FormerName => self.clean || state.acknowledged,
            Act::Object { .. } if self.acknowledged => state.acknowledged,
            Act::Object { .. } => self.clean && self.unmatched.is_empty(),
        };
        if !proved {
            return match (self.clean, self.unmatched.is_empty()) {
                // Not acknowledged at a clean end, for a reason that no text gave.
                (true, true) => ItemEnd::Failed(Failure::lasting("the target did not take it")),
                _ => ItemEnd::Unproved,
            };
        }
        let regular = item.meta.is_some_and(|meta| meta.kind == Kind::File);
        if item.act == (Act::Object { content: true }) && regular && !self.content_sent(at) {
            // The false size was the size of the target's file: list it with another one.
            return ItemEnd::Failed(Failure::transient("its content was not asked for"));
        }
        ItemEnd::Applied
    }

    /// The daemon asks for one member of a hard-link group; what fails for that one fails for all
    /// that it did not acknowledge.
    fn group_failure(&self, at: usize) -> Option<&Failure> {
        let group = self.batch.items[at].group?;
        if self.states[at].acknowledged {
            return None;
        }
        let members = self.batch.items.iter().zip(&self.states);
        members
            .filter(|(item, _)| item.group == Some(group))
            .find_map(|(_, state)| state.failure.as_ref())
    }

    fn is_deleted(&self, item: &Item) -> bool {
        let path = item.path.as_ref().map(RelPath::as_bytes);
        path.is_some_and(|path| self.deleted.iter().any(|name| name == path))
    }

    fn content_sent(&self, at: usize) -> bool {
        let Some(group) = self.batch.items[at].group else { return self.states[at].sent };
        let members = self.batch.items.iter().zip(&self.states);
        members.filter(|(item, _)| item.group == Some(group)).any(|(_, state)| state.sent)
    }
}

/// Answers a full pass.
struct PassDriver<'a> {
    view: &'a View,
    lane: &'a Lane,
    /// Some files are listed with a size that is not theirs.
    false_sizes: bool,
    failed: Vec<(RelPath, Failure)>,
    texts: Vec<(Level, Vec<u8>)>,
    deleted: u64,
    /// Names below the root that the target did not have.
    new: u64,
}

impl<'a> PassDriver<'a> {
    fn new(view: &'a View, lane: &'a Lane, false_sizes: bool) -> Self {
        Self { view, lane, false_sizes, failed: Vec::new(), texts: Vec::new(), deleted: 0, new: 0 }
    }

    fn report(self, prefix: &[u8], report: &mut PassReport) {
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
    }
}

impl Driver for PassDriver<'_> {
    fn open(&mut self, item: &Listed<'_>) -> Result<Box<dyn Content>, Refusal> {
        let Some(path) = item.path() else { return Err(Refusal::Vanished) };
        let open =
            |expected| self.view.cache.open(&self.view.root, &path, expected, WriterPolicy::Refuse);
        if !self.false_sizes {
            return open(Expected::Entry(item.entry));
        }
        let meta = self.view.root.lstat(&path).map_err(|error| {
            if driftless_fs::is_absent(&error) { Refusal::Vanished } else { Refusal::Io(error) }
        })?;
        if meta.kind != Kind::File || meta.mtime != item.entry.mtime {
            return Err(Refusal::Changed);
        }
        open(Expected::Meta(&meta))
    }

    fn applied(&mut self, _item: &Listed<'_>) {}

    fn item(&mut self, item: &Listed<'_>, change: ItemChange) {
        self.new += u64::from(change.is_new() && &*item.entry.name != b".");
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

    fn deleted(&mut self, _name: &[u8], _is_dir: bool) {
        self.deleted += 1;
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

#[cfg(test)]
mod tests;
