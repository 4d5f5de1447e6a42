//! What the receiving side says beside its requests. Protocol reference, "Tags".

use std::time::Duration;

use driftless_proto::mux::{Message, Tag};

use crate::driver::Level;
use crate::error::PushError;
use crate::sender::session::Session;

/// How a daemon's text ends that refuses a push.
pub(super) const READ_ONLY: &[u8] = b"module is read only";

impl Session<'_> {
    /// Handles one message.
    pub(super) fn message(&mut self, message: Message) -> Result<(), PushError> {
        let number = message.number();
        match message.tag {
            Tag::ErrorXfer | Tag::Error | Tag::Warning | Tag::Info | Tag::IoTimeout
                if self.terms.is_server =>
            {
                let what = format!("a client cannot send {:?}", message.tag);
                return Err(self.broken(what, 2));
            }
            Tag::ErrorXfer => {
                self.outcome.error_xfer = true;
                self.error_text(Level::ErrorXfer, &message.payload)?;
            }
            Tag::Error => self.error_text(Level::Error, &message.payload)?,
            Tag::Warning => self.driver.message(Level::Warning, trimmed(&message.payload)),
            Tag::Info => self.driver.message(Level::Info, trimmed(&message.payload)),
            Tag::IoError => self.outcome.io_error |= number.unwrap_or(0) as u32 & 7,
            Tag::IoTimeout => self.lower_timeout(number.unwrap_or(0)),
            Tag::Success => {
                let ndx = number.and_then(|ndx| u32::try_from(ndx).ok());
                let listed = ndx.and_then(|ndx| self.lists.find(ndx));
                match listed {
                    Some(listed) => self.driver.applied(&listed),
                    None => {
                        let what = format!("success of number {number:?}, which is in no list");
                        return Err(self.broken(what, 2));
                    }
                }
            }
            Tag::Deleted => {
                let name = message.payload.strip_suffix(&[0]);
                self.outcome.deleted_count += 1;
                let is_dir = name.is_some();
                self.driver.deleted(name.unwrap_or(&message.payload), is_dir);
            }
            Tag::ErrorExit => return Err(self.error_exit(number)),
            Tag::Noop | Tag::Data => {}
            Tag::NoSend => return Err(self.broken("a receiving side cannot refuse".to_owned(), 2)),
        }
        Ok(())
    }

    fn error_text(&mut self, level: Level, text: &[u8]) -> Result<(), PushError> {
        let text = trimmed(text);
        self.driver.message(level, text);
        // The summary line says less than the text that it follows.
        if self.last_error.is_empty() || !text.starts_with(b"rsync error: ") {
            self.last_error = text.to_vec();
        }
        // The daemon takes half a second to leave after it has said so.
        match refused_option(text) {
            Some(option) => Err(PushError::Refused { option, text: text.to_vec() }),
            None => Ok(()),
        }
    }

    /// Protocol reference, "Tags": a daemon's timeout lowers ours.
    fn lower_timeout(&mut self, seconds: i32) {
        if (1..=86_400).contains(&seconds) {
            let theirs = Duration::from_secs(seconds as u64);
            let lower = self.link.timeout().map_or(theirs, |ours| ours.min(theirs));
            self.link.set_timeout(Some(lower));
        }
    }

    /// Protocol reference, "Error exit": answered with an empty one, or the peer waits.
    fn error_exit(&mut self, code: Option<i32>) -> PushError {
        self.outcome.peer_exit = Some(code.unwrap_or(0));
        self.link.output.message(Tag::ErrorExit, &[]);
        let _ = self.link.exchange();
        let text = std::mem::take(&mut self.last_error);
        self.explained(text, code.unwrap_or(12))
    }

    fn explained(&self, text: Vec<u8>, code: i32) -> PushError {
        if text.ends_with(READ_ONLY) {
            PushError::ReadOnly
        } else {
            PushError::PeerExit { code, text }
        }
    }
}

/// A text without its line end.
fn trimmed(text: &[u8]) -> &[u8] {
    text.strip_suffix(b"\n").unwrap_or(text)
}

/// The option in "The server is configured to refuse --X".
fn refused_option(text: &[u8]) -> Option<String> {
    const WORDS: &[u8] = b"The server is configured to refuse ";
    let at = text.windows(WORDS.len()).position(|window| window == WORDS)?;
    Some(String::from_utf8_lossy(&text[at + WORDS.len()..]).trim().to_owned())
}
