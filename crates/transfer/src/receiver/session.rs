//! A running session: what is done next, and the phases to its end. Protocol reference, "Items,
//! phases, goodbye".

use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use driftless_delta::{FileSum, Strong};
use driftless_filter::Rules;
use driftless_fs::charset::Charset;
use driftless_proto::flist::{ListOptions, ListReader};
use driftless_proto::token::TokenReader;
use driftless_tree::Kind;

use crate::connect::handshake::Setup;
use crate::driver::Level;
use crate::error::PushError;
use crate::generator::delete::Deletions;
use crate::generator::destination::Destination;
use crate::generator::extras::Extras;
use crate::generator::files::Ahead;
use crate::generator::folders::Folders;
use crate::generator::fuzzy::Candidates;
use crate::generator::hardlinks::HardLinks;
use crate::generator::likeness::Likeness;
use crate::generator::sums::Summing;
use crate::handover::Handover;
use crate::module::{self, ModuleTerms};
use crate::options::{MissingArgs, TransferOptions};
use crate::receiver::lists::{Directory, Lists, Stage};
use crate::receiver::pending::Requests;
use crate::receiver::reading::Reading;
use crate::receiver::requested::Requested;
use crate::receiver::wire::Wire;
use crate::report::{Direction, KindCounts, ListProgress, Report};
use crate::request::Ending;
use crate::sender::answer::strong;

/// What a receiving side works on, besides its options.
pub(crate) struct Receive<'a> {
    /// Where to, as given; `None` lists only.
    pub(crate) destination: Option<&'a [u8]>,
    /// Rules that protect names from deletion.
    pub(crate) rules: Option<Arc<Rules>>,
    /// What the sender may list.
    pub(crate) requested: Requested,
    /// This end was called: texts travel to the peer, and no stats are expected from it.
    pub(crate) server: bool,
    /// The module that the session is in.
    pub(crate) module: Option<Arc<ModuleTerms>>,
    /// Both ends are on this machine, and unless told otherwise files travel whole.
    pub(crate) local: bool,
    /// The way by which a sender in this process hands content over.
    pub(crate) handover: Option<Handover>,
    /// The sender is a record: it answers what it was asked once, in that order.
    pub(crate) recorded: bool,
}

/// Entries that must be known with hard links before any is looked at, so that groups that lie
/// close together are known whole.
const GROUP_SIGHT: usize = 500;

/// Entries looked at between two looks at the connection.
const BATCH: usize = 64;

/// Batches between two looks at the connection while there is little to say: each word wakes a
/// sender that waits.
const QUIET_BATCHES: usize = 8;

/// Bytes of output that are little: a few ends of lists.
const LITTLE: usize = 64;

/// When the turn of a member of a hard-link group came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// Before one acted for its group.
    Early,
    /// While one did.
    Meanwhile,
    /// When one was in place.
    Late,
}

/// Something to say about an entry that waited for another one.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) list: usize,
    pub(crate) at: usize,
    pub(crate) turn: Turn,
    /// It needs nothing unless another one is transferred after all, and no list waits for it.
    pub(crate) settled: bool,
}

pub(crate) struct Session<'a> {
    pub(crate) wire: Wire<'a>,
    pub(crate) setup: Setup,
    pub(crate) options: &'a TransferOptions,
    pub(crate) receive: Receive<'a>,
    pub(crate) report: &'a mut dyn Report,
    pub(crate) list_options: ListOptions,
    pub(crate) list_reader: ListReader,
    pub(crate) reading: Reading,
    pub(crate) tokens: TokenReader,
    /// Room for content, between files.
    pub(crate) room: Vec<u8>,
    pub(crate) lists: Lists,
    /// From the wire's names to ours, and back.
    pub(crate) charset: Option<Charset>,
    pub(crate) to_wire: Option<Charset>,
    pub(crate) likeness: Likeness,
    pub(crate) extras: Extras,
    pub(crate) destination: Option<Destination>,
    /// The directories of the destination; `None` before it is known, and where a dry run would
    /// make it.
    pub(crate) folders: Option<Folders>,
    /// Number of the list that entries are looked at in.
    pub(crate) cursor: usize,
    /// Without incremental recursion: directories seen, in order.
    pub(crate) visited: Vec<Rc<Directory>>,
    /// A directory whose content is not looked at, and why.
    pub(crate) blocked: Option<(Box<[u8]>, Stage)>,
    pub(crate) pending: Requests,
    /// Files to be requested again: list and place.
    pub(crate) redo: VecDeque<(usize, usize)>,
    /// Members of hard-link groups whose file is there now.
    pub(crate) linkable: VecDeque<Waiting>,
    pub(crate) hard_links: HardLinks,
    pub(crate) deletions: Deletions,
    /// Files in their staging directories, waiting for the end: list and place.
    pub(crate) delayed: Vec<crate::generator::place::Delayed>,
    pub(crate) summing: Option<Summing>,
    pub(crate) digests: Ahead,
    pub(crate) candidates: Candidates,
    /// The last directory that was found to be listed.
    pub(crate) parent: Box<[u8]>,
    /// The directory that was last found to be absent from the list.
    pub(crate) absent_parent: Box<[u8]>,
    /// After an error at the source: the first number of the first list that something may be missing
    /// from.
    pub(crate) unsound_from: u32,
    /// D that we sent, and that we saw, beyond those that close lists.
    pub(crate) sent_phase: u8,
    pub(crate) seen_phase: u8,
    pub(crate) stats_seen: bool,
    /// Bytes that the sender has read and written, as it says.
    pub(crate) told_traffic: Option<(u64, u64)>,
    /// The peer closed its side.
    ended: bool,
    pub(crate) finished: bool,
    pub(crate) ending: Ending,
    pub(crate) counts: Counts,
    /// Texts about lists that came before it was known where to.
    pub(crate) held_back: Vec<Vec<u8>>,
    /// The peer's last text that says why it may end.
    pub(crate) last_error: Vec<u8>,
    pub(crate) last_progress: Instant,
}

/// What is counted on the way.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) listed: KindCounts,
    pub(crate) created: KindCounts,
    pub(crate) deleted: KindCounts,
    pub(crate) done_bytes: u64,
    /// The message about skipped deletions was given.
    pub(crate) told_io_error: bool,
}

/// What the next thing from the peer was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Handled,
    /// Nothing complete has arrived.
    Starved,
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        wire: Wire<'a>,
        setup: Setup,
        options: &'a TransferOptions,
        receive: Receive<'a>,
        charset: Option<Charset>,
        report: &'a mut dyn Report,
    ) -> Self {
        let list_options = list_options(options, &setup);
        let incremental = setup.compat.inc_recurse();
        let owners = module::owners(receive.module.as_deref());
        let (likeness, complaints) = Likeness::new(options, !receive.server, owners);
        let mut session = Self {
            wire,
            options,
            list_reader: ListReader::new(list_options.clone()),
            list_options,
            reading: Reading::List { directory: None, entries: Vec::new() },
            tokens: TokenReader::new(setup.compression, setup.protocol),
            room: Vec::new(),
            lists: Lists::new(incremental, charset.is_some()),
            charset,
            to_wire: None,
            likeness,
            extras: Extras::default(),
            destination: None,
            folders: None,
            cursor: 0,
            visited: Vec::new(),
            blocked: None,
            pending: Requests::default(),
            redo: VecDeque::new(),
            linkable: VecDeque::new(),
            hard_links: HardLinks::default(),
            deletions: Deletions::new(options, setup.protocol),
            delayed: Vec::new(),
            summing: None,
            digests: Ahead::default(),
            candidates: Candidates::default(),
            parent: Box::default(),
            absent_parent: Box::default(),
            unsound_from: 0,
            sent_phase: 0,
            seen_phase: 0,
            stats_seen: receive.server,
            told_traffic: None,
            ended: false,
            finished: false,
            ending: Ending { protocol: setup.protocol, ..Ending::default() },
            counts: Counts::default(),
            held_back: Vec::new(),
            last_error: Vec::new(),
            last_progress: Instant::now(),
            setup,
            receive,
            report,
        };
        for text in complaints {
            session.say(Level::Error, &text);
        }
        session
    }

    /// Runs to the end of the goodbye.
    pub(crate) fn run(&mut self) -> Result<(), PushError> {
        self.wire.link.phase = "during the transfer";
        let incremental = self.setup.compat.inc_recurse();
        let direction = Direction::Received;
        if let Some(kind) = self.setup.readable_list_digests(self.options) {
            self.report.list_digests(kind);
        }
        self.report.listing(ListProgress::Started { incremental, direction });
        let result = self.work();
        if result.is_err() {
            self.break_off();
        }
        result
    }

    fn work(&mut self) -> Result<(), PushError> {
        self.wire.sort()?;
        let mut quiet_batches = 0;
        loop {
            while self.step()? == Step::Handled {
                if self.finished {
                    return self.say_goodbye();
                }
            }
            if self.generate_some()? {
                if self.finished {
                    return self.say_goodbye();
                }
                if self.report.cancelled() || is_late(self.options.limit.stop_at) {
                    return Err(PushError::Cancelled);
                }
                quiet_batches += 1;
                if quiet_batches >= QUIET_BATCHES || self.wire.link.output.pending_len() > LITTLE {
                    quiet_batches = 0;
                    self.ended |= !self.wire.exchange()?;
                }
                continue;
            }
            if self.finished {
                return self.say_goodbye();
            }
            if self.ended {
                return Err(self.left());
            }
            let (report, stop_at) = (&*self.report, self.options.limit.stop_at);
            let cancelled = || report.cancelled() || is_late(stop_at);
            // What was put off because of congestion does not wait for input.
            self.ended = match self.wire.congested() {
                true => !self.wire.make_room(&cancelled)?,
                false => !self.wire.wait(&cancelled)?,
            };
        }
    }

    /// Writes what is left to be written.
    fn say_goodbye(&mut self) -> Result<(), PushError> {
        self.ended |= !self.wire.exchange()?;
        while !self.ended && self.wire.link.output.pending_len() > 0 {
            let report = &*self.report;
            self.ended = !self.wire.wait(&|| report.cancelled())?;
        }
        // Texts may arrive with the last mark.
        self.handle_messages()
    }

    /// The peer has gone; what it said before may tell why.
    pub(crate) fn left(&mut self) -> PushError {
        if self.lists.complete && self.lists.entry_count == 0 {
            // A server without anything to send leaves at once; see the caller of `finished`.
            return PushError::Closed { phase: "before any file was listed" };
        }
        let text = std::mem::take(&mut self.last_error);
        let broken = self.wire.link.broken();
        match text.is_empty() {
            true => broken,
            false => PushError::PeerLeft { text, end: Box::new(broken) },
        }
    }

    /// Does work that was asked for by lists, as long as nothing else matters more. `false` when
    /// there is none.
    fn generate_some(&mut self) -> Result<bool, PushError> {
        let mut any = false;
        for _ in 0..BATCH {
            if self.wire.congested() || self.finished {
                break;
            }
            if !self.generate()? {
                break;
            }
            any = true;
        }
        if any {
            // A sender that knows of it makes further lists meanwhile.
            self.close_lists()?;
        }
        Ok(any)
    }

    pub(super) fn generate(&mut self) -> Result<bool, PushError> {
        if self.summing.is_some() {
            self.go_on_summing();
            return Ok(true);
        }
        if self.destination.is_none() {
            return self.begin();
        }
        if let Some(waiting) = self.linkable.pop_front() {
            self.link_member(&waiting)?;
            return Ok(true);
        }
        if self.pending.is_full() && !self.receive.recorded {
            return Ok(false);
        }
        let may_redo = self.lists_incremental() || self.seen_phase >= 1;
        if may_redo && let Some((list, at)) = self.redo.pop_front() {
            self.examine_again(list, at)?;
            return Ok(true);
        }
        Ok(self.examine_next()? || self.close_lists()? || self.advance()?)
    }

    /// Whether nothing but members of hard-link groups holds lists open. A sender that waits for
    /// these lists would wait for ever.
    fn only_groups_wait(&self) -> bool {
        self.pending.is_empty() && self.lists.held.iter().any(|held| held.unfinished > 0)
    }

    pub(crate) fn lists_incremental(&self) -> bool {
        self.setup.compat.inc_recurse()
    }

    /// Finds out where to, once it is known how much comes. `false` when it is not.
    fn begin(&mut self) -> Result<bool, PushError> {
        let Some(first) = self.lists.held.front() else { return Ok(false) };
        let count = first.list.entries.len();
        if count <= 1 && !self.lists.complete && self.lists.held.len() < 2 {
            return Ok(false);
        }
        if count == 0 && self.lists.complete && self.lists.held.len() == 1 {
            // A server without anything to send has left; a client goes on to the end.
            self.finished = !self.receive.server;
            self.destination = Some(Destination::default());
            return Ok(self.receive.server);
        }
        self.report.listing(ListProgress::Complete(self.lists.entry_count));
        for text in std::mem::take(&mut self.held_back) {
            self.say(Level::Info, text);
        }
        self.find_destination()?;
        self.start_deletions()?;
        if self.options.talk.debug.deltasum >= 1 || self.options.talk.verbosity >= 2 {
            let text = match self.sends_whole() {
                true => "delta-transmission disabled for local transfer or --whole-file",
                false => "delta-transmission enabled",
            };
            self.say(Level::Info, text);
        }
        Ok(true)
    }

    /// Looks at the next entry of the lists. `false` when there is none to look at now.
    fn examine_next(&mut self) -> Result<bool, PushError> {
        if self.options.hard_links
            && self.lists_incremental()
            && !self.lists.complete
            && self.lists.ahead < GROUP_SIGHT
            && !self.receive.recorded
            && !self.only_groups_wait()
        {
            return Ok(false);
        }
        let end = self.lists.end();
        // The list that was looked at last may be closed by now.
        self.cursor = self.cursor.max(self.lists.forgotten);
        while self.cursor < end {
            let number = self.cursor;
            let Some(held) = self.lists.by_number_mut(number) else { return Ok(false) };
            let list = Rc::clone(&held.list);
            if !held.begun {
                held.begun = true;
                self.begin_list(number, &list)?;
                return Ok(true);
            }
            if held.next < list.entries.len() {
                let at = held.next;
                held.next += 1;
                self.lists.ahead = self.lists.ahead.saturating_sub(1);
                if !list.is_dropped(at) {
                    self.examine(number, &list, at)?;
                }
                return Ok(true);
            }
            // The last list may still get company.
            self.cursor += 1;
        }
        Ok(false)
    }

    /// Whether nothing is changed.
    pub(crate) fn is_dry(&self) -> bool {
        self.options.dry_run || self.options.talk.only_write_batch
    }

    /// Whether content is requested in earnest, whoever gets it.
    pub(crate) fn requests_content(&self) -> bool {
        !self.options.dry_run
    }

    /// Whether content comes for requests. Where only a batch file is written on a pull, it does,
    /// and nothing is done with it.
    pub(crate) fn wants_content(&self) -> bool {
        !self.is_dry() || !self.options.dry_run && !self.receive.server
    }

    pub(crate) fn lists_only(&self) -> bool {
        self.options.selection.list_only || self.receive.destination.is_none()
    }

    pub(crate) fn strong(&self) -> Strong {
        strong(self.setup.checksum)
    }

    /// A digest of a whole file, as the sender computes it.
    pub(crate) fn file_sum(&self) -> FileSum {
        let mut sum = FileSum::new(self.strong());
        if self.setup.seeds_files {
            sum.update(&self.setup.seed.to_le_bytes());
        }
        sum
    }

    pub(crate) fn into_ending(mut self) -> (Wire<'a>, Ending, &'a mut dyn Report) {
        let statistics = &mut self.ending.statistics;
        statistics.listed = self.counts.listed;
        statistics.created = Some(self.counts.created);
        statistics.deleted = (self.setup.protocol >= 31).then_some(self.counts.deleted);
        let link = &self.wire.link;
        (statistics.bytes_sent, statistics.bytes_received) =
            self.told_traffic.unwrap_or((link.bytes_sent, link.bytes_received));
        (self.wire, self.ending, self.report)
    }
}

/// Whether the time limit of the session has passed.
pub(crate) fn is_late(stop_at: Option<SystemTime>) -> bool {
    stop_at.is_some_and(|at| SystemTime::now() >= at)
}

/// What the lists of the session carry.
pub(crate) fn list_options(options: &TransferOptions, setup: &Setup) -> ListOptions {
    ListOptions {
        protocol: setup.protocol,
        compat: setup.compat,
        owner: options.owner,
        group: options.group,
        devices: options.devices,
        specials: options.specials,
        links: options.links,
        hard_links: options.hard_links,
        atimes: options.metadata.atimes > 0,
        checksum_len: options.update.checksum.then(|| setup.list_checksum.digest_len()),
        acls: options.metadata.acls,
        xattrs: options.metadata.xattrs > 0,
        numeric_ids: options.numeric_ids,
        relative: options.selection.relative,
        missing_args: options.selection.missing_args == MissingArgs::Delete,
    }
}

/// Whether an entry is of a kind that this session makes, devices and specials included.
pub(crate) fn is_made(options: &TransferOptions, superuser: bool, kind: Kind) -> bool {
    match kind {
        Kind::File | Kind::Dir => true,
        Kind::Symlink => options.links,
        Kind::CharDevice | Kind::BlockDevice => {
            options.devices && superuser && !options.metadata.drop_devices
        }
        Kind::Fifo | Kind::Socket => options.specials && !options.metadata.drop_devices,
    }
}
