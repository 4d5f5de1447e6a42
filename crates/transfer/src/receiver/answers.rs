//! Items that come back from the sender, and the content that comes with them.

use std::rc::Rc;

use driftless_delta::Layout;
use driftless_proto::item::{Item, ItemFlags};
use driftless_proto::setup::Compression;
use driftless_proto::sums::SumHead;
use driftless_proto::token::Token;
use driftless_proto::{Decode, Violation};
use driftless_tree::path::printable;

use crate::error::PushError;
use crate::generator::basis::BasisChoice;
use crate::options::Append;
use crate::receiver::Pending;
use crate::receiver::content::{BlockError, Incoming, Target};
use crate::receiver::lists::List;
use crate::receiver::reading::Reading;
use crate::receiver::reason;
use crate::receiver::session::{Session, Step};
use crate::report::{self, Direction};

/// A requested file whose content comes now.
pub(crate) struct Answer {
    pub(crate) pending: Pending,
    pub(crate) list: Rc<List>,
    pub(crate) item: Item,
    /// Where its data began in the stream.
    start: u64,
    /// `None` before the sums' head.
    incoming: Option<Incoming>,
    /// All tokens came, only the digest is missing.
    tokens_done: bool,
    pub(crate) purpose: Purpose,
}

/// What content is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// It becomes the file.
    File,
    /// It is verified, and nothing is changed.
    Record,
    /// A record has it, and nobody wants it.
    Nothing,
}

impl Answer {
    pub(crate) fn new(
        pending: Pending,
        list: Rc<List>,
        item: Item,
        start: u64,
        purpose: Purpose,
    ) -> Self {
        Self { pending, list, item, start, incoming: None, tokens_done: false, purpose }
    }
}

impl Session<'_> {
    /// An item came back.
    pub(crate) fn item(&mut self, ndx: u32, item: Item) -> Result<(), PushError> {
        let Some((number, place)) = self.lists.find(ndx) else {
            return Err(self.wire.broken(format!("number {ndx} is in no open list"), 2));
        };
        let Some(held) = self.lists.by_number(number) else {
            return Err(self.wire.broken(format!("number {ndx} is in no open list"), 2));
        };
        let list = Rc::clone(&held.list);
        let content = item.has(ItemFlags::TRANSFER);
        if self.receive.recorded {
            self.catch_up(number, place)?;
            if content {
                return self.recorded_content((number, place), list, ndx, item);
            }
        }
        if !content || !self.wants_content() {
            let entry = match place {
                Some(at) => list.entries.get(at),
                None => list.directory.as_ref().map(|directory| &directory.entry),
            };
            if let Some(entry) = entry {
                if content {
                    self.ending.statistics.transferred_count += 1;
                    self.ending.statistics.transferred_size += entry.size;
                }
                self.show_item(entry, &item);
                if item.has(ItemFlags::REPORT_XATTR) {
                    let name = self.name_of(entry);
                    self.set_xattrs(entry, &name);
                    if let Some(present) = self.meta_at(&name)
                        && Some(present.kind) == entry.kind()
                    {
                        // As the original does after it has set attributes.
                        self.correct_time(entry, &name, &present);
                    }
                }
            }
            return Ok(());
        }
        // What was requested before it, and is not answered, never will be.
        let Some(skipped) = self.pending.position(|pending| pending.ndx == ndx) else {
            return Err(self.wire.broken(format!("content of number {ndx} was not requested"), 2));
        };
        for _ in 0..skipped {
            if let Some(lost) = self.pending.pop() {
                self.give_up_group(lost.list, lost.at);
                self.finish_item(lost.list);
            }
        }
        let Some(pending) = self.pending.pop() else { return Ok(()) };
        if item.basis != pending.basis.wire() || item.xname.as_deref() != pending.basis.xname() {
            return Err(self.wire.broken(format!("another basis for number {ndx}"), 2));
        }
        if let Some(entry) = list.entries.get(pending.at) {
            self.show_item(entry, &item);
        }
        let start = self.wire.position();
        let purpose = if self.is_dry() { Purpose::Record } else { Purpose::File };
        let answer = Answer::new(pending, list, item, start, purpose);
        self.reading = Reading::Answer(Box::new(answer));
        Ok(())
    }

    /// Reads on in the content that comes.
    pub(crate) fn read_answer(&mut self, mut answer: Box<Answer>) -> Result<Step, PushError> {
        if answer.incoming.is_none() {
            let (protocol, digest_len) = (self.setup.protocol, self.strong().digest_len());
            let head = self.wire.try_take(|input| SumHead::take(input, protocol, digest_len))?;
            let Some(head) = head else {
                self.reading = Reading::Answer(answer);
                return Ok(Step::Starved);
            };
            if self.receive.recorded {
                answer.pending.layout = self.recorded_layout(&head)?;
            } else if !same_layout(&head, &answer.pending.layout) {
                let what = format!("other sums than number {} was sent", answer.pending.ndx);
                return Err(self.wire.broken(what, 2));
            }
            answer.incoming = Some(self.open_incoming(&answer));
        }
        if !answer.tokens_done {
            let done = self.read_tokens(&mut answer);
            match done {
                Ok(true) => answer.tokens_done = true,
                Ok(false) => {
                    let offset = answer.incoming.as_ref().map_or(0, Incoming::len);
                    let list = Rc::clone(&answer.list);
                    self.show_progress(&list, answer.pending.at, offset, false);
                    self.reading = Reading::Answer(answer);
                    return Ok(Step::Starved);
                }
                Err(error) => {
                    self.reading = Reading::Answer(answer);
                    return Err(error);
                }
            }
        }
        let digest_len = self.strong().digest_len();
        let digest = self.wire.try_take(|input| {
            let bytes = input.get(..digest_len).ok_or(Decode::Incomplete)?.to_vec();
            *input = &input[digest_len..];
            Ok(bytes)
        })?;
        match digest {
            Some(digest) => {
                self.complete_file(*answer, &digest)?;
                Ok(Step::Handled)
            }
            None => {
                self.reading = Reading::Answer(answer);
                Ok(Step::Starved)
            }
        }
    }

    /// Takes the tokens that have arrived. `true` when the last one was among them.
    fn read_tokens(&mut self, answer: &mut Answer) -> Result<bool, PushError> {
        let Some(incoming) = &mut answer.incoming else { return Ok(false) };
        let wants_blocks = self.setup.compression == Compression::Zlib;
        let mut input = self.wire.input();
        let before = input.len();
        let outcome = loop {
            let block = match self.tokens.next(&mut input) {
                Ok(Token::Literal(bytes)) => {
                    incoming.literal(bytes);
                    continue;
                }
                Ok(Token::End) => break Ok(true),
                Ok(Token::Block(block)) => block,
                Err(Decode::Incomplete) => break Ok(false),
                Err(Decode::Invalid(violation)) => break Err(violation),
            };
            if answer.purpose == Purpose::Nothing {
                // Any content does: what is unpacked with it is not looked at.
                let range = answer.pending.layout.range(block).unwrap_or(0..0);
                let data = vec![0; (range.end - range.start) as usize];
                match self.tokens.block_data(&data) {
                    Ok(()) => continue,
                    Err(violation) => break Err(violation),
                }
            }
            if self.receive.recorded && !incoming.has_basis() {
                return Err(self.no_basis(answer));
            }
            match incoming.block(block) {
                Ok(()) if wants_blocks => {
                    if let Err(violation) = self.tokens.block_data(incoming.block_bytes(block)) {
                        break Err(violation);
                    }
                }
                Ok(()) => {}
                // What comes out will not have the digest.
                Err(BlockError::Unreadable) => incoming.spoil(),
                Err(BlockError::Unknown) => {
                    let (what, value) = ("number of a block", i64::from(block));
                    break Err(Violation::Number { what, value });
                }
            }
        };
        let used = before - input.len();
        self.wire.used(used);
        outcome.map_err(|violation| self.wire.violated(&violation))
    }

    /// Opens what the content is written to and built from. Where that fails, it goes nowhere: the
    /// stream has to be read all the same.
    fn open_incoming(&mut self, answer: &Answer) -> Incoming {
        let Pending { ref layout, redo, .. } = answer.pending;
        let Some(entry) = answer.list.entries.get(answer.pending.at) else {
            return Incoming::new(Target::Nowhere, *layout, self.file_sum(), Vec::new());
        };
        let mut room = std::mem::take(&mut self.room);
        room.clear();
        let target = match answer.purpose {
            Purpose::File => self.open_target(entry, &answer.pending).unwrap_or(Target::Nowhere),
            Purpose::Record | Purpose::Nothing => Target::Nowhere,
        };
        let sum = self.file_sum();
        let mut incoming = Incoming::new(target, *layout, sum, room);
        let appends = self.options.write.append != Append::Off && !redo;
        if appends {
            let verify = self.options.write.append == Append::Verifying || self.setup.protocol < 30;
            incoming.append_after(layout.basis_len(), verify);
        } else if let Some(file) = &answer.pending.basis_file {
            let is_own = answer.pending.basis == BasisChoice::Destination;
            incoming.set_basis(Rc::clone(file), is_own);
        }
        if self.options.sparse {
            incoming.set_sparse();
        }
        if self.options.write.preallocate {
            incoming.preallocate(entry.size);
        }
        incoming
    }

    /// All of a file has come.
    ///
    /// # Errors
    /// It could not be written: a full disk takes no other file either, so the session ends.
    fn complete_file(&mut self, answer: Answer, digest: &[u8]) -> Result<(), PushError> {
        let Answer { pending, list, item, start, incoming, purpose, .. } = answer;
        let data_bytes = self.wire.position() - start;
        let (Some(mut incoming), Some(entry)) = (incoming, list.entries.get(pending.at)) else {
            return Ok(());
        };
        let way = self.receive.handover.clone();
        let handed = way.and_then(|way| Some((way.take(pending.ndx)?, way)));
        let whole = handed.map(|(handed, way)| {
            let whole = incoming.take_over(&handed, || !way.is_closed());
            (whole, way.is_closed())
        });
        if whole == Some((false, true)) {
            // The sender gave up in the middle of it.
            let (target, literal_bytes) = incoming.break_off();
            self.keep_partial(entry, &pending, target, literal_bytes);
            return Err(self.left());
        }
        let mut finished = incoming.finish();
        self.room = std::mem::take(&mut finished.room);
        let statistics = &mut self.ending.statistics;
        statistics.literal_bytes += finished.literal_bytes;
        statistics.matched_bytes += finished.matched_bytes;
        statistics.transferred_count += 1;
        statistics.transferred_size += entry.size;
        self.counts.done_bytes += entry.size;
        let digest_right = match whole {
            // What became shorter meanwhile is asked for again.
            Some((whole, _)) => whole,
            None => {
                self.strong() == driftless_delta::Strong::None
                    || finished.digest.as_bytes() == digest && !finished.spoiled
            }
        };
        let computed = finished.digest;
        if purpose == Purpose::Nothing {
            return Ok(());
        }
        if let Some(error) = finished.failure.take() {
            let shown = printable(&self.full_path(&entry.name));
            let why = reason(&error);
            let literal_bytes = finished.literal_bytes;
            self.keep_partial(entry, &pending, finished.target, literal_bytes);
            let text = format!("rsync: [receiver] write failed on \"{shown}\": {why}");
            return Err(PushError::Fatal { text, exit: 11 });
        }
        let accepted = match purpose {
            Purpose::Record if digest_right => true,
            _ => self.settle(entry, &pending, finished, digest_right),
        };
        let shown_entry = self.with_owner_here(entry);
        self.report.transferred(
            &report::Item {
                entry: &shown_entry,
                flags: item.flags,
                xname: item.xname.as_deref(),
                direction: Direction::Received,
                source_dir: b"",
                gives_group: self.likeness.gid(entry).is_some(),
            },
            &report::Transferred {
                data_bytes,
                sum_bytes: pending.sum_bytes,
                digest: &self.setup.shown(computed.as_bytes()),
                accepted,
            },
        );
        self.show_progress(&list, pending.at, entry.size, true);
        if accepted {
            // What is only staged is there later.
            if purpose == Purpose::Record || !self.options.delays() {
                self.acknowledge(pending.ndx);
                self.complete_group(pending.list, pending.at);
            }
            self.finish_item(pending.list);
        } else if !digest_right && !pending.redo {
            self.redo.push_back((pending.list, pending.at));
        } else {
            self.give_up_group(pending.list, pending.at);
            self.finish_item(pending.list);
        }
        Ok(())
    }

    /// The session ends before its end: what was under way is kept or goes.
    pub(crate) fn break_off(&mut self) {
        if let Reading::Answer(answer) = std::mem::replace(&mut self.reading, Reading::Number)
            && let Answer { pending, list, incoming: Some(incoming), .. } = *answer
            && let Some(entry) = list.entries.get(pending.at)
        {
            let (target, literal_bytes) = incoming.break_off();
            self.keep_partial(entry, &pending, target, literal_bytes);
        }
    }
}

fn same_layout(head: &SumHead, layout: &Layout) -> bool {
    (head.count, head.block_len, head.strong_len as usize, head.remainder)
        == (layout.count(), layout.block_len(), layout.strong_len(), layout.remainder())
}
