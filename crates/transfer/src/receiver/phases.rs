//! The phases of a session: lists and phases are closed by both ends in turn. Protocol reference,
//! "Phases without incremental recursion" and "Phases with incremental recursion".

use driftless_proto::ndx::NdxValue;

use crate::error::PushError;
use crate::receiver::lists::Held;
use crate::receiver::reading::Reading;
use crate::receiver::session::Session;

impl Session<'_> {
    /// Closes lists that are finished, the oldest first. The D of the last one is that of the first
    /// phase.
    pub(super) fn close_lists(&mut self) -> Result<bool, PushError> {
        if !self.lists_incremental() {
            return Ok(false);
        }
        let mut closed = false;
        for at in 0..self.lists.held.len() {
            let last = at + 1 == self.lists.held.len();
            let Some(held) = self.lists.held.get_mut(at) else { break };
            if held.closed {
                continue;
            }
            if !held.examined() || held.unfinished > 0 || last {
                break;
            }
            held.closed = true;
            let directory = held.list.directory.clone();
            self.finish_directory(directory.as_deref());
            self.wire.put_ndx(NdxValue::Done);
            closed = true;
        }
        Ok(closed)
    }

    /// Goes on to the next phase when nothing of the present one is left. `false`: something is.
    pub(super) fn advance(&mut self) -> Result<bool, PushError> {
        let may = match self.sent_phase {
            0 => self.all_examined(),
            1 => self.seen_phase >= 1 && self.nothing_open(),
            2 => !self.options.delays() || self.seen_phase >= 2,
            3 => !self.last_round_waits() || self.seen_phase >= 3 && self.stats_seen,
            4 => self.setup.protocol >= 31 && self.seen_phase >= 4,
            _ => false,
        };
        if !may {
            return Ok(false);
        }
        match self.sent_phase {
            0 if self.lists_incremental() => {
                let directory = self.lists.held.back().and_then(|held| held.list.directory.clone());
                self.finish_directory(directory.as_deref());
            }
            2 => self.place_delayed()?,
            3 => {
                self.finish_deletions()?;
                self.finish_directories();
                self.put_deletion_counts();
                if self.setup.protocol < 31 {
                    self.warn_of_limit();
                }
                self.wire.link.phase = "during the closing exchange";
            }
            4 => self.warn_of_limit(),
            _ => {}
        }
        self.wire.put_ndx(NdxValue::Done);
        self.sent_phase += 1;
        let last = if self.setup.protocol >= 31 { 5 } else { 4 };
        self.finished = self.sent_phase == last;
        Ok(true)
    }

    /// Deletions that come last, or the goodbye of old protocols.
    fn last_round_waits(&self) -> bool {
        self.setup.protocol < 31 || self.deletions.come_last()
    }

    fn all_examined(&self) -> bool {
        let incremental = self.lists_incremental();
        let examined = self.lists.held.iter().all(|held| held.examined());
        let done = |held: &Held| held.closed || held.unfinished == 0;
        self.lists.complete && examined && (!incremental || self.lists.held.iter().all(done))
    }

    fn nothing_open(&self) -> bool {
        self.pending.is_empty() && self.redo.is_empty() && self.linkable.is_empty()
    }

    /// The other side closed a list, or a phase.
    pub(crate) fn mark(&mut self) -> Result<(), PushError> {
        if self.receive.recorded {
            self.catch_up_to_mark()?;
        }
        if self.lists_incremental() && self.lists.held.len() > 1 {
            if !self.lists.held.front().is_some_and(|held| held.closed) {
                return Err(self.wire.broken("a list is closed before it ends".to_owned(), 2));
            }
            self.lists.forget_oldest();
            return Ok(());
        }
        if self.seen_phase >= self.sent_phase {
            return Err(self.wire.broken("a phase ends before it begins".to_owned(), 2));
        }
        self.seen_phase += 1;
        if self.seen_phase == 1 {
            // Whatever was not answered by now never will be.
            while let Some(pending) = self.pending.pop() {
                self.finish_item(pending.list);
            }
        }
        if self.seen_phase == 3 && !self.stats_seen {
            self.reading = Reading::Stats;
        }
        Ok(())
    }

    /// One item of this list is finished.
    pub(crate) fn finish_item(&mut self, list: usize) {
        if let Some(held) = self.lists.by_number_mut(list) {
            held.unfinished = held.unfinished.saturating_sub(1);
        }
    }
}
