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

use driftless_delta::{Layout, Signature};
use driftless_proto::item::{Item, ItemFlags};
use driftless_proto::mux::{Demux, Tag};
use driftless_proto::ndx::{NdxReader, NdxValue, NdxWriter};
use driftless_proto::sums::{SumHead, take_blocks};
use driftless_proto::{Decode, Violation};
use driftless_tree::Kind;

use crate::connect::handshake::Setup;
use crate::driver::{Driver, ItemChange, Refusal, SentOutcome};
use crate::error::PushError;
use crate::link::{Link, Received};
use crate::push::Outcome;
use crate::sender::answer::Answerer;
use crate::sender::lists::Lists;

/// Sums of one basis that are kept at most; more than any honest basis has.
const MAX_SUMS_LEN: u64 = 1 << 30;

/// Where the closing of the session stands: how many D were answered after the last list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Phase {
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

pub(crate) struct Session<'a> {
    pub(crate) link: &'a mut Link,
    pub(crate) driver: &'a mut dyn Driver,
    pub(crate) outcome: &'a mut Outcome,
    pub(crate) setup: Setup,
    pub(crate) lists: Lists,
    pub(crate) ndx_writer: NdxWriter,
    /// No further list comes.
    pub(crate) lists_complete: bool,
    answerer: Answerer,
    ndx_reader: NdxReader,
    demux: Demux,
    /// Protocol data that arrived, handled up to `taken`.
    data: Vec<u8>,
    taken: usize,
    phase: Phase,
    dry_run: bool,
    spoiled: HashSet<u32>,
    /// The peer's last text that says why it may end.
    pub(super) last_error: Vec<u8>,
    /// io_error bits that arose while answering.
    late_io_error: u32,
}

impl<'a> Session<'a> {
    pub(crate) fn new(
        link: &'a mut Link,
        driver: &'a mut dyn Driver,
        outcome: &'a mut Outcome,
        setup: Setup,
        lists: Lists,
        level: Option<i32>,
        dry_run: bool,
    ) -> Self {
        Self {
            link,
            driver,
            outcome,
            lists,
            ndx_writer: NdxWriter::new(setup.protocol),
            lists_complete: false,
            answerer: Answerer::new(&setup, level),
            ndx_reader: NdxReader::new(setup.protocol),
            setup,
            demux: Demux::new(),
            data: Vec::new(),
            taken: 0,
            phase: Phase::Items,
            dry_run,
            spoiled: HashSet::new(),
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
                self.need(driftless_proto::stats::DelStats::take)?;
                Ok(Step::Handled)
            }
            Some(NdxValue::Item(ndx)) => {
                self.item(ndx)?;
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
        Ok(Step::Handled)
    }

    fn report_late_errors(&mut self) {
        if self.late_io_error != 0 {
            self.link.output.number(Tag::IoError, self.late_io_error as i32);
        }
    }

    fn item(&mut self, ndx: u32) -> Result<(), PushError> {
        let item = self.need(Item::take)?;
        let Some(listed) = self.lists.find(ndx) else {
            return Err(self.broken(format!("number {ndx} is in no open list"), 2));
        };
        let wanted = item.has(ItemFlags::TRANSFER);
        let is_file = listed.entry.kind() == Some(Kind::File);
        self.outcome.item_count += 1;
        self.driver.item(&listed, ItemChange(item.flags));
        if !wanted || self.dry_run {
            self.echo(ndx, &item);
            return Ok(());
        }
        if !is_file {
            return Err(self.broken(format!("content of number {ndx} cannot be requested"), 2));
        }
        let signature = self.take_signature()?;
        self.answer(ndx, &item, &signature)
    }

    fn echo(&mut self, ndx: u32, item: &Item) {
        // A member of a hard-link group that is reported as late as this: writing to a receiver
        // that has left would break the connection before the last D was read.
        if self.phase == Phase::Goodbye {
            return;
        }
        let writer = &mut self.ndx_writer;
        self.link.output.append(|out| {
            writer.put(out, NdxValue::Item(ndx));
            item.put(out);
        });
    }

    fn take_signature(&mut self) -> Result<(SumHead, Signature), PushError> {
        let (protocol, digest_len) = (self.setup.protocol, self.setup.checksum.digest_len());
        let head = self.need(|input| SumHead::take(input, protocol, digest_len))?;
        if head.sums_len() > MAX_SUMS_LEN {
            return Err(self.broken(format!("{} blocks in one basis", head.count), 2));
        }
        let layout = Layout::from_head(
            head.count as i32,
            head.block_len as i32,
            head.strong_len as i32,
            head.remainder as i32,
            digest_len,
        );
        let layout = layout.map_err(|bad| self.broken(bad.to_string(), 2))?;
        let mut signature = Signature::with_layout(layout);
        let mut missing = head.count;
        while missing > 0 {
            let mut input = &self.data[self.taken..];
            let before = input.len();
            for (rolling, strong) in take_blocks(&mut input, &head, missing) {
                signature.push(rolling, strong);
                missing -= 1;
            }
            self.taken += before - input.len();
            if missing > 0 {
                self.wait()?;
            }
        }
        Ok((head, signature))
    }

    fn answer(
        &mut self,
        ndx: u32,
        item: &Item,
        (head, signature): &(SumHead, Signature),
    ) -> Result<(), PushError> {
        let listed = self.lists.find(ndx).expect("found before its sums were read");
        let opened = match self.spoiled.contains(&ndx) {
            true => Err(Refusal::Spoiled),
            // A daemon of 3.5.0 comes back with the next member of a hard-link group whose other
            // members did not come over, when it cannot take content any more.
            false if self.phase > Phase::Redo => Err(Refusal::HeldBack),
            false => self.driver.open(&listed),
        };
        let mut content = match opened {
            Ok(content) => content,
            Err(refusal) => {
                if self.phase < Phase::Goodbye {
                    self.link.output.number(Tag::NoSend, ndx as i32);
                }
                self.outcome.refused_count += 1;
                self.late_io_error |= match refusal {
                    Refusal::Vanished => 2,
                    Refusal::Io(_) => 1,
                    Refusal::Changed
                    | Refusal::BeingWritten
                    | Refusal::Spoiled
                    | Refusal::HeldBack => 0,
                };
                self.outcome.io_error |= self.late_io_error;
                self.driver.sent(&listed, SentOutcome::Refused(refusal));
                return Ok(());
            }
        };
        let writer = &mut self.ndx_writer;
        self.link.output.append(|out| {
            writer.put(out, NdxValue::Item(ndx));
            item.put(out);
            head.put(out);
        });
        let driver = &*self.driver;
        let cancelled = || driver.cancelled();
        let sent = self.answerer.send(content.as_mut(), signature, self.link, &cancelled);
        let sent = match sent {
            Err(PushError::Closed { .. }) => return Err(self.left()),
            sent => sent?,
        };
        self.outcome.transferred_count += 1;
        self.outcome.literal_bytes += sent.literal_bytes;
        self.outcome.matched_bytes += sent.matched_bytes;
        if !sent.intact {
            self.spoiled.insert(ndx);
        }
        let outcome = if sent.intact { SentOutcome::Sent } else { SentOutcome::Spoiled };
        self.driver.sent(&listed, outcome);
        Ok(())
    }

    /// Writes when much is pending.
    pub(crate) fn relieve(&mut self) -> Result<(), PushError> {
        let driver = &*self.driver;
        if self.link.relieve(&|| driver.cancelled())? { Ok(()) } else { Err(self.left()) }
    }

    /// Writes everything and waits for something to arrive.
    pub(crate) fn wait(&mut self) -> Result<(), PushError> {
        if !self.link.input.is_empty() {
            // Read while writing, or behind the handshake.
            return self.sort_input();
        }
        let driver = &*self.driver;
        match self.link.receive(&|| driver.cancelled())? {
            Received::Bytes => self.sort_input(),
            Received::End => Err(self.left()),
        }
    }

    /// Writes and reads what goes without waiting.
    pub(crate) fn exchange(&mut self) -> Result<(), PushError> {
        let received = self.link.exchange()?;
        match received {
            _ if !self.link.input.is_empty() => self.sort_input(),
            Some(Received::End) => Err(self.left()),
            Some(Received::Bytes) | None => Ok(()),
        }
    }

    /// The peer has gone; what it said before may tell why.
    fn left(&mut self) -> PushError {
        if let Err(error) = self.sort_input() {
            return error;
        }
        let text = std::mem::take(&mut self.last_error);
        if text.is_empty() {
            PushError::Closed { phase: self.link.phase }
        } else {
            self.explained(text, 12)
        }
    }

    /// Separates what arrived into data and messages, and handles the messages.
    fn sort_input(&mut self) -> Result<(), PushError> {
        if self.taken == self.data.len() {
            self.data.clear();
            self.taken = 0;
        } else if self.taken > self.data.len() / 2 {
            self.data.drain(..self.taken);
            self.taken = 0;
        }
        let input = std::mem::take(&mut self.link.input);
        let mut rest = input.as_slice();
        loop {
            match self.demux.feed(&mut rest, &mut self.data) {
                Ok(Some(message)) => self.message(message)?,
                Ok(None) => break,
                Err(violation) => return Err(self.violated(&violation)),
            }
        }
        self.link.input = input;
        self.link.input.clear();
        Ok(())
    }

    /// Takes the next number, if it has arrived.
    fn try_take<T>(
        &mut self,
        take: impl FnOnce(&mut NdxReader, &mut &[u8]) -> Result<T, Decode>,
    ) -> Result<Option<T>, PushError> {
        let mut input = &self.data[self.taken..];
        match take(&mut self.ndx_reader, &mut input) {
            Ok(value) => {
                self.taken = self.data.len() - input.len();
                Ok(Some(value))
            }
            Err(Decode::Incomplete) => Ok(None),
            Err(Decode::Invalid(violation)) => Err(self.violated(&violation)),
        }
    }

    /// Takes one value, waiting for as many bytes as it needs.
    fn need<T>(
        &mut self,
        mut take: impl FnMut(&mut &[u8]) -> Result<T, Decode>,
    ) -> Result<T, PushError> {
        loop {
            let mut input = &self.data[self.taken..];
            match take(&mut input) {
                Ok(value) => {
                    self.taken = self.data.len() - input.len();
                    return Ok(value);
                }
                Err(Decode::Incomplete) => self.wait()?,
                Err(Decode::Invalid(violation)) => return Err(self.violated(&violation)),
            }
        }
    }

    fn violated(&self, violation: &Violation) -> PushError {
        self.broken(violation.to_string(), violation.exit_code())
    }

    pub(super) fn broken(&self, what: String, exit: u8) -> PushError {
        PushError::Protocol { phase: self.link.phase, what, exit }
    }
}
