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

mod advice;
mod batch_session;
mod compare;
mod judge;
mod list;
mod pass_session;

use std::collections::HashSet;
use std::time::Duration;

use driftless_transfer::connect::Module;
use driftless_transfer::connect::daemon::Reach;
use driftless_transfer::connect::password::read_password_file;
use driftless_transfer::connect::url::DaemonUrl;
use driftless_transfer::operator::Links;
use driftless_transfer::report::Quiet;
use driftless_transfer::source::ReadAhead;
use driftless_transfer::{
    Level, ListPush, Outcome, Peer, PushError, PushFailure, Refusal, TransferOptions, TreePush,
    push_list, push_tree,
};
use driftless_tree::Timestamp;
use driftless_tree::flist::Entry;
use zeroize::Zeroizing;

use self::advice::{explain, explain_password};
use self::batch_session::ListDriver;
use self::judge::Judge;
use self::list::List;
use self::pass_session::PassDriver;
use super::report::{BatchReport, Comparison, Failure, ItemEnd, LaneError, PassReport, Traffic};
use super::state::Lane;
use super::verify::Chosen;
use super::work::{Target, View, Wants};
use crate::batch::{Act, Batch};
use crate::config::{MaxDelete, PasswordSource};
use crate::engine::presence::Presence;
use crate::mirror::chain as text;
use crate::pass::PassSource;

/// Longest wait for a connection and a login.
const CONNECT_LIMIT: Duration = Duration::from_secs(30);

/// Longest silence in the first try; doubled after each failure, since a slow disk at the target can
/// be silent too.
const SILENCE_LIMIT: Duration = Duration::from_secs(30);

/// How long a full daemon is left alone.
const BUSY_WAIT: Duration = Duration::from_millis(100);

/// A module of a daemon.
pub struct RsyncTarget {
    peer: Peer,
    password: PasswordSource,
    options: TransferOptions,
    delete: bool,
    settle: Duration,
    refused: Refused,
    /// The last session's times were whole seconds.
    whole_seconds: bool,
}

/// What a target does without.
#[derive(Debug, Default)]
struct Refused {
    deletions: bool,
    force: bool,
    acknowledgements: bool,
}

impl RsyncTarget {
    /// A target that is not connected yet. `settle`: how long a file that is open is left alone.
    pub fn new(
        url: DaemonUrl,
        password: PasswordSource,
        options: TransferOptions,
        delete: bool,
        settle: Duration,
    ) -> Self {
        let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok());
        let peer = Peer { url, default_user: user.unwrap_or("nobody".into()), password: None };
        Self {
            peer,
            password,
            options,
            delete,
            settle,
            refused: Refused::default(),
            whole_seconds: false,
        }
    }

    fn read_password(&mut self) -> Result<(), LaneError> {
        self.peer.password = match &self.password {
            PasswordSource::None => None,
            PasswordSource::Value(value) => Some(Zeroizing::clone(value)),
            PasswordSource::File(path) => {
                let password = read_password_file(path, Links::Trusted);
                Some(password.map_err(|error| LaneError::Failed(explain_password(&error)))?)
            }
        };
        Ok(())
    }

    /// Connects, logs in and enters the module; nothing is transferred.
    pub fn reach(&mut self) -> Result<(), LaneError> {
        self.read_password()?;
        self.options.connect_timeout.get_or_insert(CONNECT_LIMIT);
        self.options.silence_limit = Some(SILENCE_LIMIT);
        let Peer { url, default_user, password } = &self.peer;
        let args = ["--server", "--sender", "-de.LsfxCIvu", ".", url.module.as_str()];
        let module = Module {
            name: &url.module,
            user: url.user.as_deref().unwrap_or(default_user),
            password: &|| password.clone(),
            early_input: None,
            args: &args.map(|arg| arg.as_bytes().to_vec()),
        };
        Reach::default()
            .connect(&url.host, url.port, &self.options, &mut Quiet)
            .and_then(|mut connection| connection.enter_module(&module, &self.options, &mut Quiet))
            .map_err(|error| LaneError::Failed(explain(&error)))
    }

    /// Bounds the next session where the operator set no bounds.
    fn bound(&mut self, lane: &Lane) {
        self.options.connect_timeout.get_or_insert(CONNECT_LIMIT);
        let doublings = lane.failures().min(10);
        self.options.silence_limit = Some(SILENCE_LIMIT.saturating_mul(1 << doublings));
    }

    /// Sorts what ended a session by what the lane does about it. `listed`: the target had the
    /// list, so it may have begun to write.
    fn lane_error(&mut self, error: &PushError, listed: bool) -> LaneError {
        match error {
            PushError::Cancelled => LaneError::Cancelled,
            PushError::MaxConnections { .. } => {
                LaneError::Busy { why: explain(error), wait: BUSY_WAIT }
            }
            PushError::Refused { option, .. } => {
                let known = if option.contains("delete") {
                    &mut self.refused.deletions
                } else if option.contains("force") {
                    &mut self.refused.force
                } else if option.contains("remove-") {
                    &mut self.refused.acknowledgements
                } else {
                    return LaneError::Failed(explain(error));
                };
                // Refused although it is not used any more: something else is wrong.
                if std::mem::replace(known, true) {
                    return LaneError::Failed(explain(error));
                }
                LaneError::Learned(explain(error))
            }
            // It is told at the start of a session.
            PushError::ReadOnly => LaneError::Failed(explain(error)),
            _ if listed => LaneError::Broken(explain(error)),
            _ => LaneError::Failed(explain(error)),
        }
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
        Wants {
            delete: self.delete,
            deletes: self.deletes(),
            hard_links: self.options.hard_links,
            whole_seconds: self.whole_seconds,
        }
    }

    fn apply(&mut self, batch: &Batch, view: &View, lane: &Lane) -> BatchReport {
        self.bound(lane);
        let List { entries, items, failed } = self.list(batch, view);
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
            states: batch.items.iter().map(|_| Default::default()).collect(),
            texts: Vec::new(),
            deleted: Vec::new(),
        };
        for (at, failure) in failed {
            driver.states[at].failure = Some(failure);
        }
        // Whoever fails is not waited for.
        if lane.failures() == 0 {
            driver.attend();
        }
        let (outcome, error) = split(push_list(&self.peer, &options, push, &mut driver));
        self.learn(&outcome);
        let ListDriver { states, texts, deleted, .. } = driver;
        let mut judge = Judge {
            batch,
            states,
            acknowledged,
            clean: outcome.clean_end,
            by_name: judge::names(batch),
            deleted,
            unmatched: Vec::new(),
            prefix: prefix(&self.peer.url),
            protects,
            has_xattrs: options.metadata.xattrs > 0,
            deletion_ignored: false,
            late: HashSet::new(),
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
        self.bound(lane);
        let mut report = PassReport::new();
        let rules = match self.prepare(view) {
            Ok(rules) => rules,
            Err(error) => {
                report.end = Err(error);
                return report;
            }
        };
        let push = TreePush {
            delete: self.deletes(),
            force: self.delete && !self.refused.force,
            filter_texts: rules,
            checksum_for_whole_seconds: true,
            ..TreePush::default()
        };
        let mut ahead = None;
        if push.delete {
            let rehearsal = TreePush { dry_run: true, ..push.clone() };
            match self.ask(rehearsal, view, limit, lane, &mut report) {
                Ok(Found::Nothing) => ahead = Some(ReadAhead::new(self.settle)),
                // Times and sizes that are not to be trusted were not looked at.
                Ok(Found::Same(presence)) if unknown_since.is_none() => {
                    report.presence = presence;
                    return report;
                }
                Ok(Found::Same(_) | Found::Other) => {}
                Err(error) => {
                    report.end = Err(error);
                    return report;
                }
            }
        }
        let options = self.options.clone();
        let mut source =
            PassSource::new(&view.root, &view.rules, &view.links, &options, unknown_since)
                .read_ahead(ahead.clone());
        let mut driver = PassDriver::new(view, lane, self.settle, unknown_since.is_some())
            .read_ahead(ahead.clone());
        let result = push_tree(&self.peer, &self.options, push, &mut source, &mut driver);
        let (outcome, error) = split(result);
        self.learn(&outcome);
        report.traffic.sent += outcome.bytes_sent;
        report.traffic.received += outcome.bytes_received;
        report.traffic.files += outcome.transferred_count;
        report.presence = source.presence;
        report.differed = ahead.is_none() && outcome.item_count + driver.deleted > 0;
        driver.report(&prefix(&self.peer.url), source.groups.values(), &mut report);
        if let Some(error) = error {
            report.end = Err(self.lane_error(&error, outcome.listed_count > 0));
        }
        report
    }

    fn compare(&mut self, view: &View, chosen: Option<&Chosen>, lane: &Lane) -> Comparison {
        self.dry_run_by_checksum(view, chosen, lane)
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
    /// What a session over the whole tree needs: the password, and the rules that it carries.
    fn prepare(&mut self, view: &View) -> Result<Vec<Vec<u8>>, LaneError> {
        self.read_password()?;
        let rules = view.rules.wire_texts(self.options.protocol);
        rules.map(Option::unwrap_or_default).map_err(|error| LaneError::Failed(text(&error)))
    }

    /// Asks the daemon what a pass would do, and refuses to delete more than `limit`. `push` is the
    /// pass as a dry run.
    ///
    /// The root alone is asked about first: where nothing in it would be deleted and the target has
    /// none of its names, the target holds nothing below them either, and walking the whole source
    /// for the question is spared.
    fn ask(
        &mut self,
        push: TreePush,
        view: &View,
        limit: MaxDelete,
        lane: &Lane,
        report: &mut PassReport,
    ) -> Result<Found, LaneError> {
        let glance = TreePush { shallow: true, checksum_for_whole_seconds: false, ..push.clone() };
        if self.rehearse(glance, view, lane, report)?.is_all_new() {
            return Ok(Found::Nothing);
        }
        if limit == MaxDelete::Unlimited {
            return Ok(Found::Other);
        }
        let rehearsal = self.rehearse(push, view, lane, report)?;
        let count = rehearsal.deleted;
        let limit = limit.limit(rehearsal.listed() + count);
        if count > limit {
            return Err(LaneError::WouldDelete { count, limit });
        }
        Ok(match rehearsal.is_all_same() {
            true => Found::Same(rehearsal.presence),
            false => Found::Other,
        })
    }

    /// Runs a session that changes nothing.
    fn rehearse(
        &mut self,
        push: TreePush,
        view: &View,
        lane: &Lane,
        report: &mut PassReport,
    ) -> Result<Rehearsal, LaneError> {
        let options = self.options.clone();
        let mut source = PassSource::new(&view.root, &view.rules, &view.links, &options, None);
        let mut driver = PassDriver::new(view, lane, self.settle, false);
        let result = push_tree(&self.peer, &self.options, push, &mut source, &mut driver);
        let (outcome, error) = split(result);
        self.learn(&outcome);
        report.traffic.sent += outcome.bytes_sent;
        report.traffic.received += outcome.bytes_received;
        if let Some(error) = error {
            return Err(self.lane_error(&error, false));
        }
        let complaints = driver.texts.iter().any(|(level, _)| *level != Level::Info);
        let unlisted = !driver.failed.is_empty();
        Ok(Rehearsal {
            presence: source.presence,
            new: driver.new,
            changed: outcome.item_count,
            deleted: driver.deleted,
            troubled: complaints || unlisted || outcome.io_error != 0 || outcome.error_xfer,
        })
    }

    /// What only a session tells of a target.
    fn learn(&mut self, outcome: &Outcome) {
        if outcome.protocol != 0 {
            self.whole_seconds = outcome.whole_seconds();
        }
    }
}

/// What a target was found to hold.
#[derive(Debug)]
enum Found {
    /// None of the source's names, and nothing to delete.
    Nothing,
    /// Exactly what the source has: these names.
    Same(Presence),
    Other,
}

/// What a dry run told.
#[derive(Debug)]
struct Rehearsal {
    /// Names below the root that the source listed.
    presence: Presence,
    /// Those of them that the target does not have.
    new: u64,
    /// Names that the target does not have as they are, the root included.
    changed: u64,
    deleted: u64,
    /// Somebody complained, so the counts prove nothing.
    troubled: bool,
}

impl Rehearsal {
    fn listed(&self) -> u64 {
        self.presence.count()
    }

    fn is_all_new(&self) -> bool {
        self.deleted == 0 && self.new == self.listed() && !self.troubled
    }

    fn is_all_same(&self) -> bool {
        self.deleted == 0 && self.changed == 0 && !self.troubled
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

#[cfg(test)]
mod tests;
