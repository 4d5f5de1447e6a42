//! Requests of the receiving side: what is asked about an entry, and the answer. Protocol
//! reference, "Items, phases, goodbye" and "Xattr data".

use std::cell::RefCell;

use driftless_delta::{Layout, Signature};
use driftless_proto::item::{Item, ItemFlags, XattrNumbers};
use driftless_proto::mux::Tag;
use driftless_proto::ndx::NdxValue;
use driftless_proto::sums::{SumHead, take_blocks};
use driftless_proto::token::LITERAL_LEN;
use driftless_tree::Kind;

use crate::connect::handshake::Setup;
use crate::driver::{Answered, Content, Refusal, SentOutcome};
use crate::error::PushError;
use crate::options::Append;
use crate::sender::answer::{Manner, Sent, Watch};
use crate::sender::session::{Phase, Session};

/// Sums of one basis that are kept at most; more than any honest basis has.
const MAX_SUMS_LEN: u64 = 1 << 30;

impl Session<'_> {
    pub(super) fn item(&mut self, ndx: u32) -> Result<(), PushError> {
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
        let again = wanted && self.lists.requested(ndx);
        self.driver.item_with_name(&listed, &item, again);
        let asked = self.take_xattr_request(&item)?;
        if !wanted || self.terms.dry_run {
            // A member of a hard-link group that is reported as late as this: writing to a receiver
            // that has left would break the connection before the last D was read.
            if self.phase == Phase::Goodbye {
                return Ok(());
            }
            self.echo(ndx, &item);
            return self.put_xattr_values(ndx, asked);
        }
        if !is_file {
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
            let Some(name) = self.attrs.long_name(listed.entry, number) else {
                let what = format!("attribute {number} of number {ndx} cannot be requested");
                return Err(self.broken(what, 2));
            };
            // What cannot be read any more travels as nothing.
            let value = self.driver.xattr_value(&listed, name).unwrap_or_default();
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
        let limit = self.terms.max_alloc.unwrap_or(MAX_SUMS_LEN);
        if head.sums_len() > limit {
            let what = format!("the sums of {} blocks of one basis", head.count);
            let text = format!("exceeded --max-alloc={limit} setting: {what}");
            return Err(PushError::Fatal { text, exit: 22 });
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
            // A daemon of 3.5.0 comes back with the next member of a hard-link group whose other
            // members did not come over, when it cannot take content any more.
            false if self.phase > Phase::Redo => Err(Refusal::HeldBack),
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
        let way = self.handover.as_ref().filter(|way| {
            let is_whole = manner == Manner::Fresh && head.count == 0 && !content.is_empty();
            is_whole && way.has_room()
        });
        let handed = way.and_then(|way| Some((way, content.hand_over().ok()??)));
        let sent = match handed {
            None => self.answerer.send(content.as_mut(), signature, manner, self.link, watch),
            Some((way, handed)) => {
                let len = handed.len();
                way.put(ndx, handed);
                let digest = self.answerer.put_mark(self.link);
                // As if it had gone over.
                self.link.count_sent(len + len.div_ceil(LITERAL_LEN as u64) * 4);
                (watch.progress)(len);
                Ok((Sent { literal_bytes: len, intact: true, ..Sent::default() }, digest))
            }
        };
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
        self.outcome.match_count += sent.match_count;
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
            digest: &self.setup.shown(&digest),
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
        if self.phase < Phase::Goodbye {
            self.link.output.number(Tag::NoSend, ndx as i32);
        }
        self.outcome.refused_count += 1;
        self.late_io_error |= match refusal {
            Refusal::Vanished => 2,
            Refusal::Io(_) => 1,
            Refusal::Changed | Refusal::BeingWritten | Refusal::Spoiled | Refusal::HeldBack => 0,
        };
        self.outcome.io_error |= self.late_io_error;
        self.driver.sent(&listed, SentOutcome::Refused(refusal));
    }
}
