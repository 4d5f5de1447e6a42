//! A running session: the peer's messages and requests, and the phases to its end. Protocol
//! reference, "Items, phases, goodbye".
//!
//! ```text
//! list(s) ─► requests ⇄ answers ─► D per list ─► D1 D2 D3 ─► D4 ─► D5
//! ```
//! Invariants
//! * Requests are answered in the order in which they came; a refusal is a message and may overtake.
//! * A number whose answer was spoiled is refused from then on.

use std::cell::RefCell;
use std::collections::HashSet;

use driftless_delta::{Layout, Signature};
use driftless_proto::item::{Item, ItemFlags, XattrNumbers};
use driftless_proto::mux::{Demux, TEXT_LIMIT, Tag, take_header};
use driftless_proto::ndx::{NdxReader, NdxValue, NdxWriter};
use driftless_proto::sums::{SumHead, take_blocks};
use driftless_proto::{Decode, Violation};
use driftless_tree::Kind;

use crate::connect::handshake::Setup;
use crate::driver::{Answered, Content, Driver, Level, Refusal, SentOutcome};
use crate::error::PushError;
use crate::link::{Link, Received};
use crate::options::Append;
use crate::push::Outcome;
use crate::sender::answer::{Answerer, Manner, Watch};
use crate::sender::lists::Lists;

/// Sums of one basis that are kept at most; more than any honest basis has.
const MAX_SUMS_LEN: u64 = 1 << 30;

/// Where the closing of the session stands: how many D were answered after the last list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Items,
    Redo,
    Delayed,
    /// D3 was answered: deletions may still be reported.
    Late,
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
    pub(crate) terms: Terms,
    spoiled: HashSet<u32>,
    /// Numbers that were answered: a second request is a redo.
    answered: HashSet<u32>,
    /// No more than one frame is taken at a time.
    singly: bool,
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
        terms: Terms,
    ) -> Self {
        Self {
            link,
            driver,
            outcome,
            lists,
            ndx_writer: NdxWriter::new(setup.protocol),
            lists_complete: false,
            answerer: Answerer::new(&setup, terms.level),
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
        let is_recorded = self.link.output.is_copied();
        if (self.terms.is_server || is_recorded) && self.phase == self.phase_of_statistics() {
            let stats = self.driver.statistics(self.link.bytes_received, self.link.bytes_sent);
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

    fn item(&mut self, ndx: u32) -> Result<(), PushError> {
        let item = self.need(Item::take)?;
        let Some(listed) = self.lists.find(ndx) else {
            if self.is_old_keep_alive(ndx, &item) {
                return Ok(());
            }
            return Err(self.broken(format!("number {ndx} is in no open list"), 2));
        };
        let wanted = item.has(ItemFlags::TRANSFER);
        let is_file = listed.entry.kind() == Some(Kind::File);
        self.outcome.item_count += 1;
        self.driver.item_with_name(&listed, &item);
        let asked = self.take_xattr_request(&item)?;
        if !wanted || self.terms.dry_run {
            self.echo(ndx, &item);
            return self.put_xattr_values(ndx, asked);
        }
        if !is_file || matches!(self.phase, Phase::Delayed | Phase::Late | Phase::Goodbye) {
            return Err(self.broken(format!("content of number {ndx} cannot be requested"), 2));
        }
        let signature = self.take_signature(ndx)?;
        self.answer(ndx, &item, asked, &signature)
    }

    /// Protocol 29: the number behind the last one, new, as a sign of life.
    fn is_old_keep_alive(&self, ndx: u32, item: &Item) -> bool {
        self.setup.protocol < 30
            && item.flags == ItemFlags::IS_NEW
            && u64::from(ndx) == self.outcome.listed_count
    }

    /// Protocol reference, "Xattr data".
    fn take_xattr_request(&mut self, item: &Item) -> Result<Option<Vec<u32>>, PushError> {
        let Setup { protocol, compat, .. } = self.setup;
        let follows = self.terms.xattrs && !self.terms.dry_run;
        if !follows || !item.has_xattr_list(protocol, compat) {
            return Ok(None);
        }
        let mut reader = XattrNumbers::new();
        let mut numbers = Vec::new();
        while let Some(number) = self.need(|input| reader.take_request(input))? {
            numbers.push(number);
        }
        Ok(Some(numbers))
    }

    fn put_xattr_values(&mut self, ndx: u32, asked: Option<Vec<u32>>) -> Result<(), PushError> {
        let Some(asked) = asked else { return Ok(()) };
        let mut writer = XattrNumbers::new();
        for number in asked {
            let listed = self.lists.find(ndx).expect("found when it was requested");
            let Some(value) = self.driver.xattr_value(&listed, number) else {
                let what = format!("attribute {number} of number {ndx} cannot be requested");
                return Err(self.broken(what, 2));
            };
            self.link.output.append(|out| writer.put_value(out, number, &value));
        }
        self.link.output.append(XattrNumbers::put_end);
        Ok(())
    }

    fn echo(&mut self, ndx: u32, item: &Item) {
        let writer = &mut self.ndx_writer;
        self.link.output.append(|out| {
            writer.put(out, NdxValue::Item(ndx));
            item.put(out);
        });
    }

    fn take_signature(&mut self, ndx: u32) -> Result<(SumHead, Signature), PushError> {
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
        // Whoever only appends has nothing to compare; a redo has.
        let has_sums = self.terms.append == Append::Off || self.answered.contains(&ndx);
        let mut missing = if has_sums { head.count } else { 0 };
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
        asked: Option<Vec<u32>>,
        (head, signature): &(SumHead, Signature),
    ) -> Result<(), PushError> {
        let is_redo = self.answered.contains(&ndx);
        let manner = self.manner(item, head, is_redo);
        let listed = self.lists.find(ndx).expect("found before its sums were read");
        let opened = match self.spoiled.contains(&ndx) {
            true => Err(Refusal::Spoiled),
            false => self.driver.open(&listed),
        };
        let too_short = |content: &dyn Content| content.len() < manner.start();
        let mut content = match opened {
            Ok(content) if too_short(content.as_ref()) => {
                self.refuse(ndx, Refusal::Changed);
                return Ok(());
            }
            Ok(content) => content,
            Err(refusal) => {
                self.refuse(ndx, refusal);
                return Ok(());
            }
        };
        self.link.output.append(|out| {
            self.ndx_writer.put(out, NdxValue::Item(ndx));
            item.put(out);
        });
        self.put_xattr_values(ndx, asked)?;
        let before = self.link.written_so_far();
        if self.terms.diverted {
            self.link.output.divert(true);
        }
        self.link.output.append(|out| head.put(out));
        let listed = self.lists.find(ndx).expect("found before its sums were read");
        let driver = RefCell::new(&mut *self.driver);
        let cancelled = || driver.borrow().cancelled();
        let progress = |offset| driver.borrow_mut().progress(&listed, offset);
        let watch = Watch { cancelled: &cancelled, progress: &progress };
        let sent = self.answerer.send(content.as_mut(), signature, manner, self.link, watch);
        let (sent, digest) = match sent {
            Err(PushError::Closed { .. }) => return Err(self.left()),
            sent => sent?,
        };
        if self.terms.diverted {
            self.link.output.divert(false);
        }
        self.outcome.transferred_count += 1;
        self.outcome.literal_bytes += sent.literal_bytes;
        self.outcome.matched_bytes += sent.matched_bytes;
        if !sent.intact {
            self.spoiled.insert(ndx);
        }
        if self.terms.append != Append::Off {
            self.answered.insert(ndx);
        }
        let answered = Answered {
            item,
            data_bytes: self.link.written_so_far() - before,
            sum_bytes: if manner.is_append() { 16 } else { 16 + head.sums_len() },
            digest: &digest,
        };
        let listed = self.lists.find(ndx).expect("found before its sums were read");
        self.driver.answered(&listed, &answered);
        let outcome = if sent.intact { SentOutcome::Sent } else { SentOutcome::Spoiled };
        self.driver.sent(&listed, outcome);
        Ok(())
    }

    /// How a request is to be answered. Protocol reference, "Append and in-place".
    fn manner(&self, item: &Item, head: &SumHead, is_redo: bool) -> Manner {
        match self.terms.append {
            Append::Trusting if !is_redo => {
                let verifies = self.setup.protocol < 30;
                return Manner::Append { from: head.file_len(), verifies };
            }
            Append::Verifying if !is_redo => {
                return Manner::Append { from: head.file_len(), verifies: true };
            }
            _ => {}
        }
        const OWN_FILE: u8 = 0x80;
        const PARTIAL_DIR: u8 = 0x81;
        let basis = item.basis.unwrap_or(OWN_FILE);
        let partial = basis == PARTIAL_DIR && self.setup.compat.inplace_partial_dir();
        if self.terms.in_place && basis == OWN_FILE || partial {
            Manner::InPlace
        } else {
            Manner::Fresh
        }
    }

    fn refuse(&mut self, ndx: u32, refusal: Refusal) {
        let listed = self.lists.find(ndx).expect("found before its sums were read");
        self.link.output.number(Tag::NoSend, ndx as i32);
        self.outcome.refused_count += 1;
        self.late_io_error |= match refusal {
            Refusal::Vanished => 2,
            Refusal::Io(_) => 1,
            Refusal::Changed | Refusal::BeingWritten | Refusal::Spoiled | Refusal::HeldBack => 0,
        };
        self.outcome.io_error |= self.late_io_error;
        self.driver.sent(&listed, SentOutcome::Refused(refusal));
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

    /// Takes one frame at a time from now on, or again all that has arrived: bytes without frames
    /// are about to come. Protocol reference, "files-from over the wire", protocol 30.
    pub(crate) fn take_frames_singly(&mut self, singly: bool) {
        self.singly = singly;
    }

    /// Takes one value that comes without a frame around it.
    pub(crate) fn need_unframed<T>(
        &mut self,
        take: impl Fn(&mut &[u8]) -> Result<T, Decode>,
    ) -> Result<T, PushError> {
        loop {
            let mut input = self.link.input.as_slice();
            match take(&mut input) {
                Ok(value) => {
                    let taken = self.link.input.len() - input.len();
                    self.link.input.drain(..taken);
                    return Ok(value);
                }
                Err(Decode::Incomplete) => self.receive_more()?,
                Err(Decode::Invalid(violation)) => return Err(self.violated(&violation)),
            }
        }
    }

    fn receive_more(&mut self) -> Result<(), PushError> {
        let driver = &*self.driver;
        match self.link.receive(&|| driver.cancelled())? {
            Received::Bytes => Ok(()),
            Received::End => Err(self.left()),
        }
    }

    /// Waits for one whole frame and takes it.
    fn take_frame(&mut self) -> Result<(), PushError> {
        loop {
            let mut rest = self.link.input.as_slice();
            match take_header(&mut rest) {
                Ok(header) if rest.len() >= header.len => {
                    let len = self.link.input.len() - rest.len() + header.len;
                    let behind = self.link.input.split_off(len);
                    self.sort_input()?;
                    self.link.input = behind;
                    return Ok(());
                }
                Ok(_) | Err(Decode::Incomplete) => self.receive_more()?,
                Err(Decode::Invalid(violation)) => return Err(self.violated(&violation)),
            }
        }
    }

    /// Writes everything and waits for something to arrive.
    pub(crate) fn wait(&mut self) -> Result<(), PushError> {
        if self.singly {
            return self.take_frame();
        }
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
        if !self.link.framed_input {
            self.data.append(&mut self.link.input);
            return Ok(());
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
    pub(crate) fn need<T>(
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

    pub(crate) fn broken(&self, what: String, exit: u8) -> PushError {
        PushError::Protocol { phase: self.link.phase, what, exit }
    }
}
