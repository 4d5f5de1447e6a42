//! A running session: the peer's messages and requests, and the phases to its end. Protocol
//! reference, "Items, phases, goodbye".
//!
//! ```text
//! list(s) ─► requests ⇄ answers ─► D per list ─► D1 D2 D3 ─► D4 ─► D5
//! ```
//! Invariants
//! * Requests are answered in the order in which they came; a refusal is a message and may overtake.
//! * A number whose answer was spoiled is refused from then on.

use std::collections::HashSet;

use driftless_proto::mux::{Demux, TEXT_LIMIT, Tag};
use driftless_proto::ndx::{NdxReader, NdxValue, NdxWriter};

use crate::connect::handshake::Setup;
use crate::driver::{Driver, Level};
use crate::error::PushError;
use crate::handover::Handover;
use crate::link::Link;
use crate::options::Append;
use crate::push::Outcome;
use crate::sender::answer::Answerer;
use crate::sender::attrs::Attrs;
use crate::sender::lists::Lists;

/// Where the closing of the session stands: how many D were answered after the last list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
pub(super) enum Phase {
    Items,
    Redo,
    Delayed,
    /// D3 was answered: deletions may still be reported.
    Late,
    /// D4 was answered, and nobody reads our answers any more.
    Goodbye,
}

/// What the next thing from the peer was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something was handled.
    Handled,
    /// Nothing complete has arrived.
    Starved,
    /// The closing exchange is over.
    Finished,
}

/// What of a session's options its answers depend on.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Terms {
    /// The peer is a client: texts go to it, and it gets statistics.
    pub(crate) is_server: bool,
    /// Nothing is sent for requests.
    pub(crate) dry_run: bool,
    /// Content goes into the record of the session only.
    pub(crate) diverted: bool,
    /// Requests may ask for values of extended attributes.
    pub(crate) xattrs: bool,
    /// Receiving files are written under their own names.
    pub(crate) in_place: bool,
    /// Files only grow.
    pub(crate) append: Append,
    /// Level of compression; `None`: the method's own.
    pub(crate) level: Option<i32>,
    /// Threads that compress long literals.
    pub(crate) threads: Option<u32>,
    /// Most bytes that the sums of one basis may take; `None`: rsync's usual limit.
    pub(crate) max_alloc: Option<u64>,
}

pub(crate) struct Session<'a> {
    pub(crate) link: &'a mut Link,
    pub(crate) driver: &'a mut dyn Driver,
    pub(crate) outcome: &'a mut Outcome,
    pub(crate) setup: Setup,
    pub(crate) lists: Lists,
    /// ACLs and extended attributes listed so far.
    pub(crate) attrs: Attrs,
    pub(crate) ndx_writer: NdxWriter,
    /// No further list comes.
    pub(crate) lists_complete: bool,
    /// The way to a receiver in this process.
    pub(crate) handover: Option<Handover>,
    pub(super) answerer: Answerer,
    pub(super) ndx_reader: NdxReader,
    pub(super) demux: Demux,
    /// Protocol data that arrived, handled up to `taken`.
    pub(super) data: Vec<u8>,
    pub(super) taken: usize,
    pub(super) phase: Phase,
    pub(crate) terms: Terms,
    pub(super) spoiled: HashSet<u32>,
    /// Numbers that were answered: a second request is a redo.
    pub(super) answered: HashSet<u32>,
    /// No more than one frame is taken at a time.
    pub(super) singly: bool,
    /// The peer's last text that says why it may end.
    pub(super) last_error: Vec<u8>,
    /// io_error bits that arose while answering.
    pub(super) late_io_error: u32,
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        link: &'a mut Link,
        driver: &'a mut dyn Driver,
        outcome: &'a mut Outcome,
        setup: Setup,
        lists: Lists,
        terms: Terms,
    ) -> Self {
        Self {
            link,
            driver,
            outcome,
            lists,
            attrs: Attrs::default(),
            ndx_writer: NdxWriter::new(setup.protocol),
            lists_complete: false,
            handover: None,
            answerer: Answerer::new(&setup, terms.level, terms.threads),
            ndx_reader: NdxReader::new(setup.protocol),
            setup,
            demux: Demux::new(),
            data: Vec::new(),
            taken: 0,
            phase: Phase::Items,
            terms,
            spoiled: HashSet::new(),
            answered: HashSet::new(),
            singly: false,
            last_error: Vec::new(),
            late_io_error: 0,
        }
    }

    /// Serves until the end; all lists were sent.
    pub(crate) fn serve(&mut self) -> Result<(), PushError> {
        loop {
            match self.step()? {
                Step::Handled => self.relieve()?,
                Step::Starved => self.wait()?,
                Step::Finished => return Ok(()),
            }
        }
    }

    /// Handles the next request or mark, if one has arrived.
    pub(crate) fn step(&mut self) -> Result<Step, PushError> {
        match self.try_take(|reader, input| reader.take(input))? {
            None => Ok(Step::Starved),
            Some(NdxValue::Done) => self.done(),
            Some(NdxValue::DelStats) => {
                let stats = self.need(driftless_proto::stats::DelStats::take)?;
                self.outcome.del_stats = Some(stats);
                if self.terms.is_server {
                    let writer = &mut self.ndx_writer;
                    self.link.output.append(|out| {
                        writer.put(out, NdxValue::DelStats);
                        stats.put(out);
                    });
                }
                Ok(Step::Handled)
            }
            Some(NdxValue::Item(ndx)) => {
                self.item(ndx)?;
                self.pass_on_texts();
                Ok(Step::Handled)
            }
            Some(value @ (NdxValue::FlistEof | NdxValue::SubList(_))) => {
                Err(self.broken(format!("{value:?} from the receiving side"), 2))
            }
        }
    }

    fn done(&mut self) -> Result<Step, PushError> {
        self.phase = match self.phase {
            Phase::Items if self.lists.open_count() > 1 => {
                self.lists.close_oldest();
                Phase::Items
            }
            Phase::Items if !self.lists_complete => {
                return Err(self.broken("a list is closed before it ends".to_owned(), 2));
            }
            Phase::Items => Phase::Redo,
            Phase::Redo => Phase::Delayed,
            Phase::Delayed => {
                self.link.phase = "during the closing exchange";
                self.report_late_errors();
                // Protocol 30 has no round for late deletions.
                if self.setup.protocol >= 31 { Phase::Late } else { Phase::Goodbye }
            }
            Phase::Late => Phase::Goodbye,
            Phase::Goodbye => return Ok(Step::Finished),
        };
        let writer = &mut self.ndx_writer;
        self.link.output.append(|out| writer.put(out, NdxValue::Done));
        if self.phase == Phase::Goodbye {
            // The goodbye is not part of what is told.
            self.outcome.bytes_sent = self.link.written_so_far();
            self.outcome.bytes_received = self.link.bytes_received;
        }
        let is_recorded = self.link.output.is_copied();
        if (self.terms.is_server || is_recorded) && self.phase == self.phase_of_statistics() {
            let (read, written) = (self.link.bytes_received, self.link.written_so_far());
            let stats = self.driver.statistics(self.outcome, read, written);
            self.pass_on_texts();
            let protocol = self.setup.protocol;
            // Who plays a record is always told.
            if !self.terms.is_server {
                self.link.output.divert(true);
            }
            self.link.output.append(|out| stats.put(out, protocol));
            if is_recorded {
                self.link.output.divert(false);
            }
        }
        Ok(Step::Handled)
    }

    /// The phase that begins with the last answer of content, D3.
    fn phase_of_statistics(&self) -> Phase {
        if self.setup.protocol >= 31 { Phase::Late } else { Phase::Goodbye }
    }

    /// Sends what the driver has to say to a client; a client's driver speaks for itself.
    pub(crate) fn pass_on_texts(&mut self) {
        if !self.terms.is_server {
            return;
        }
        let modern = self.setup.protocol >= 30;
        for (level, mut text) in self.driver.take_texts() {
            let tag = match level {
                Level::ErrorXfer => Tag::ErrorXfer,
                Level::Error if modern => Tag::Error,
                Level::Error => Tag::ErrorXfer,
                Level::Warning if modern => Tag::Warning,
                Level::Warning | Level::Info | Level::Motd => Tag::Info,
            };
            text.truncate(TEXT_LIMIT - 2);
            text.push(b'\n');
            self.link.output.message(tag, &text);
        }
    }

    fn report_late_errors(&mut self) {
        if self.late_io_error != 0 {
            self.link.output.number(Tag::IoError, self.late_io_error as i32);
        }
    }

    /// Writes when much is pending.
    pub(crate) fn relieve(&mut self) -> Result<(), PushError> {
        let driver = &*self.driver;
        if self.link.relieve(&|| driver.cancelled())? { Ok(()) } else { Err(self.left()) }
    }

    /// Writes everything.
    pub(crate) fn flush(&mut self) -> Result<(), PushError> {
        let driver = &*self.driver;
        if self.link.flush(&|| driver.cancelled())? { Ok(()) } else { Err(self.left()) }
    }
}
