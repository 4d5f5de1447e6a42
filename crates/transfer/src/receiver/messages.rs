//! What the sender says beside its data. Protocol reference, "Tags".

use std::time::Duration;

use driftless_proto::mux::{Message, Tag};

use crate::driver::Level;
use crate::error::PushError;
use crate::receiver::session::Session;
use crate::report::{self, Origin};

impl Session<'_> {
    /// Handles the messages that have arrived.
    pub(crate) fn handle_messages(&mut self) -> Result<(), PushError> {
        while let Some(message) = self.wire.messages.pop_front() {
            self.message(&message)?;
        }
        Ok(())
    }

    fn message(&mut self, message: &Message) -> Result<(), PushError> {
        let number = message.number();
        let text = message.payload.as_slice();
        match message.tag {
            // Only a server has texts for its peer.
            Tag::ErrorXfer | Tag::Error | Tag::Warning | Tag::Info if self.receive.server => {
                return Err(self.wire.broken("a client sends a text".to_owned(), 2));
            }
            Tag::ErrorXfer => {
                self.ending.error_xfer = true;
                self.hear(Level::ErrorXfer, text);
            }
            Tag::Error => self.hear(Level::Error, text),
            Tag::Warning => self.hear(Level::Warning, text),
            Tag::Info => self.hear(Level::Info, text),
            Tag::IoError => self.add_io_error(number.unwrap_or(0) as u32),
            Tag::IoTimeout if !self.receive.server => self.lower_timeout(number.unwrap_or(0)),
            Tag::NoSend => self.not_sent(number)?,
            Tag::ErrorExit => return Err(self.error_exit(number)),
            Tag::Noop | Tag::Data => {}
            Tag::Success | Tag::Deleted | Tag::IoTimeout => {
                let what = format!("a sender cannot send {:?}", message.tag);
                return Err(self.wire.broken(what, 2));
            }
        }
        Ok(())
    }

    fn hear(&mut self, level: Level, text: &[u8]) {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let tells_why = matches!(level, Level::Error | Level::ErrorXfer);
        // The summary line says less than the text that it follows.
        if tells_why && (self.last_error.is_empty() || !text.starts_with(b"rsync error: ")) {
            self.last_error = text.to_vec();
        }
        self.report.message(&report::Message { level, origin: Origin::Peer, text });
    }

    /// A daemon's timeout lowers ours.
    fn lower_timeout(&mut self, seconds: i32) {
        if (1..=86_400).contains(&seconds) {
            let theirs = Duration::from_secs(seconds as u64);
            let lower = self.wire.link.timeout().map_or(theirs, |ours| ours.min(theirs));
            self.wire.link.set_timeout(Some(lower));
        }
    }

    /// The sender cannot open what was requested: it counts as finished.
    fn not_sent(&mut self, number: Option<i32>) -> Result<(), PushError> {
        let ndx = number.and_then(|ndx| u32::try_from(ndx).ok());
        let at = self.pending.position(|pending| Some(pending.ndx) == ndx);
        match at.and_then(|at| self.pending.remove(at)) {
            Some(pending) => {
                let held = self.lists.by_number(pending.list);
                if let Some(entry) = held.and_then(|held| held.list.entries.get(pending.at)) {
                    self.extras.forget_requests(entry);
                }
                self.give_up_group(pending.list, pending.at);
                self.finish_item(pending.list);
                Ok(())
            }
            None if ndx.is_some_and(|ndx| self.lists.find(ndx).is_some()) => Ok(()),
            None => {
                let what = format!("number {number:?} cannot be refused, it was not requested");
                Err(self.wire.broken(what, 2))
            }
        }
    }

    /// Protocol reference, "Error exit": answered with an empty one, or the peer waits.
    fn error_exit(&mut self, code: Option<i32>) -> PushError {
        self.ending.peer_exit = Some(code.unwrap_or(0));
        self.wire.link.output.message(Tag::ErrorExit, &[]);
        let _ = self.wire.link.exchange();
        let text = std::mem::take(&mut self.last_error);
        PushError::PeerExit { code: code.unwrap_or(12), text }
    }
}
