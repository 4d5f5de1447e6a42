//! What arrives from the receiving side: protocol data and messages, told apart and taken value by
//! value.

use driftless_proto::mux::take_header;
use driftless_proto::ndx::NdxReader;
use driftless_proto::{Decode, Violation};

use crate::error::PushError;
use crate::link::Received;
use crate::sender::messages::READ_ONLY;
use crate::sender::session::Session;

impl Session<'_> {
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
    pub(super) fn left(&mut self) -> PushError {
        if let Err(error) = self.sort_input() {
            return error;
        }
        let text = std::mem::take(&mut self.last_error);
        let broken = self.link.broken();
        match text.is_empty() {
            true => broken,
            false if text.ends_with(READ_ONLY) => PushError::ReadOnly,
            false => PushError::PeerLeft { text, end: Box::new(broken) },
        }
    }

    /// Separates what arrived into data and messages, and handles the messages.
    pub(super) fn sort_input(&mut self) -> Result<(), PushError> {
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
    pub(super) fn try_take<T>(
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

    pub(super) fn violated(&self, violation: &Violation) -> PushError {
        self.broken(violation.to_string(), violation.exit_code())
    }

    pub(crate) fn broken(&self, what: String, exit: u8) -> PushError {
        PushError::Protocol { phase: self.link.phase, what, exit }
    }
}
