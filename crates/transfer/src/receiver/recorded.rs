//! A record in the sender's place (batch files): it answers what another receiving side asked for.
//!
//! Where a live sender waits for requests, here the requests catch up with what comes: an entry is
//! looked at before an item about it is handled, and whatever the record has no answer to is given
//! up when its list, or the phase, is closed.

use std::io;
use std::rc::Rc;

use driftless_delta::Layout;
use driftless_proto::item::{Item, ItemFlags};
use driftless_proto::sums::SumHead;
use driftless_tree::path::printable;

use crate::driver::Level;
use crate::error::PushError;
use crate::generator::basis::BasisChoice;
use crate::receiver::answers::{Answer, Purpose};
use crate::receiver::lists::List;
use crate::receiver::reading::Reading;
use crate::receiver::{Pending, Session};

impl Session<'_> {
    /// Looks at entries up to this one.
    pub(super) fn catch_up(
        &mut self,
        number: usize,
        place: Option<usize>,
    ) -> Result<(), PushError> {
        while !self.was_examined(number, place) && self.generate()? {
            self.drain()?;
        }
        Ok(())
    }

    /// Values of extended attributes are about to come with an item.
    pub(super) fn catch_up_to_values(&mut self, ndx: u32) -> Result<(), PushError> {
        match self.lists.find(ndx) {
            Some((number, place)) if self.receive.recorded => self.catch_up(number, place),
            _ => Ok(()),
        }
    }

    fn was_examined(&self, number: usize, place: Option<usize>) -> bool {
        let held = self.lists.by_number(number);
        self.cursor > number
            || self.cursor == number
                && held.is_some_and(|held| held.begun && place.is_none_or(|at| held.next > at))
    }

    /// What is asked of a record goes nowhere, but it is not to pile up.
    fn drain(&mut self) -> Result<(), PushError> {
        if self.wire.congested() {
            self.wire.exchange()?;
        }
        Ok(())
    }

    /// An item with content came; it may be wanted.
    pub(super) fn recorded_content(
        &mut self,
        (number, place): (usize, Option<usize>),
        list: Rc<List>,
        ndx: u32,
        item: Item,
    ) -> Result<(), PushError> {
        let Some((at, entry)) = place.and_then(|at| Some((at, list.entries.get(at)?))) else {
            return Err(self.wire.broken(format!("content of number {ndx}, a directory"), 2));
        };
        if let Some(again) = self.redo.iter().position(|place| *place == (number, at)) {
            self.redo.remove(again);
            self.examine_again(number, at)?;
        }
        let wanted = self.pending.position(|pending| pending.ndx == ndx);
        let pending = wanted.and_then(|position| self.pending.remove(position));
        let start = self.wire.position();
        let (pending, purpose) = match pending {
            Some(pending) => {
                if !pending.redo {
                    self.show_item(entry, &item);
                }
                (self.with_recorded_basis(pending, &list, &item)?, Purpose::File)
            }
            None => {
                if !self.wants_content() {
                    self.show_item(entry, &item);
                } else {
                    let name = printable(&entry.name);
                    let text = format!("(Skipping batched update for \"{name}\")");
                    self.say(Level::Info, &text);
                    if item.has(ItemFlags::IS_NEW) {
                        self.counts.created.count(entry.mode);
                    }
                }
                let nothing = Pending {
                    ndx,
                    list: number,
                    at,
                    before: None,
                    displaces: false,
                    basis: BasisChoice::Destination,
                    basis_file: None,
                    layout: Layout::EMPTY,
                    sum_bytes: 0,
                    redo: false,
                };
                (nothing, Purpose::Nothing)
            }
        };
        let answer = Answer::new(pending, list, item, start, purpose);
        self.reading = Reading::Answer(Box::new(answer));
        Ok(())
    }

    /// The basis is the one that the record was made with.
    fn with_recorded_basis(
        &mut self,
        mut pending: Pending,
        list: &List,
        item: &Item,
    ) -> Result<Pending, PushError> {
        let known = self.options.update.alternates.as_ref().map_or(0, |all| all.dirs.len());
        let choice = BasisChoice::of_item(item.basis, item.xname.as_deref(), known);
        let Some(choice) = choice else {
            let what = format!("a basis for number {} that there is not", pending.ndx);
            return Err(self.wire.broken(what, 2));
        };
        if let Some(entry) = list.entries.get(pending.at) {
            // Whether it is needed is not known yet; where it is missing, content without a basis
            // still comes through.
            let opened: io::Result<_> = self.open_basis(entry, &choice);
            pending.basis_file = opened.ok().map(Rc::new);
        }
        pending.basis = choice;
        Ok(pending)
    }

    /// The layout of the basis that the record was made with.
    pub(super) fn recorded_layout(&self, head: &SumHead) -> Result<Layout, PushError> {
        let digest_len = self.strong().digest_len();
        let [count, block_len, strong_len, remainder] =
            [head.count, head.block_len, head.strong_len, head.remainder].map(|n| n as i32);
        Layout::from_head(count, block_len, strong_len, remainder, digest_len)
            .map_err(|bad| self.wire.broken(bad.to_string(), 2))
    }

    /// A block of a basis that is not here.
    pub(super) fn no_basis(&mut self, answer: &Answer) -> PushError {
        let name = answer.list.entries.get(answer.pending.at).map(|entry| self.name_of(entry));
        let full = printable(&self.full_path(&name.unwrap_or_default()));
        let text = format!("got a block match with no basis file for \"{full}\" [receiver]");
        PushError::Fatal { text, exit: 2 }
    }

    /// A list or a phase is closed: what has no answer by now gets none.
    pub(super) fn catch_up_to_mark(&mut self) -> Result<(), PushError> {
        loop {
            let by_list = self.lists_incremental() && self.lists.held.len() > 1;
            let done = match by_list {
                true => self.lists.held.front().is_none_or(|held| held.closed),
                false => self.seen_phase < self.sent_phase,
            };
            if done {
                return Ok(());
            }
            self.abandon(by_list.then_some(self.lists.forgotten));
            if !self.generate()? {
                return Ok(());
            }
            self.drain()?;
        }
    }

    /// Gives up requests, of one list or all.
    fn abandon(&mut self, number: Option<usize>) {
        let is_meant = |list: usize| number.is_none_or(|number| number == list);
        while let Some(at) = self.pending.position(|pending| is_meant(pending.list)) {
            if let Some(pending) = self.pending.remove(at) {
                self.give_up(pending.list, pending.at);
            }
        }
        // A whole list is closed before files in it are sent again.
        if !self.lists_incremental() && self.seen_phase == 0 {
            return;
        }
        while let Some(at) = self.redo.iter().position(|(list, _)| is_meant(*list)) {
            if let Some((list, at)) = self.redo.remove(at) {
                self.give_up(list, at);
            }
        }
    }

    fn give_up(&mut self, number: usize, at: usize) {
        let list = self.lists.by_number(number).map(|held| Rc::clone(&held.list));
        if let Some(entry) = list.as_ref().and_then(|list| list.entries.get(at)) {
            let text = format!("(No batched update for \"{}\")", printable(&entry.name));
            self.say(Level::ErrorXfer, &text);
        }
        self.give_up_group(number, at);
        self.finish_item(number);
    }
}
