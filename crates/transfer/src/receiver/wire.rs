//! The session's streams as the receiving side sees them: values in, requests out, messages aside.
//!
//! Nothing here blocks on writing alone: while output waits for room, input is read on.

use std::collections::VecDeque;

use driftless_proto::mux::{Demux, Message};
use driftless_proto::ndx::{NdxReader, NdxValue, NdxWriter};
use driftless_proto::{Decode, Violation};

use crate::error::PushError;
use crate::link::{Link, Received};

/// Output that is pending when no further requests are made.
const CONGESTED: usize = 192 * 1024;

pub(crate) struct Wire<'a> {
    pub(crate) link: &'a mut Link,
    /// Messages that arrived and were not looked at.
    pub(crate) messages: VecDeque<Message>,
    demux: Demux,
    /// Protocol data that arrived, taken up to `taken`.
    data: Vec<u8>,
    taken: usize,
    /// Protocol data taken and dropped since the start.
    dropped: u64,
    ndx_reader: NdxReader,
    ndx_writer: NdxWriter,
}

impl<'a> Wire<'a> {
    pub(crate) fn new(link: &'a mut Link, protocol: u8) -> Self {
        Self {
            link,
            messages: VecDeque::new(),
            demux: Demux::new(),
            data: Vec::new(),
            taken: 0,
            dropped: 0,
            ndx_reader: NdxReader::new(protocol),
            ndx_writer: NdxWriter::new(protocol),
        }
    }

    /// Protocol data taken so far.
    pub(crate) fn position(&self) -> u64 {
        self.dropped + self.taken as u64
    }

    /// Takes a value, if it has arrived completely.
    pub(crate) fn try_take<T>(
        &mut self,
        take: impl FnOnce(&mut &[u8]) -> Result<T, Decode>,
    ) -> Result<Option<T>, PushError> {
        let mut input = self.data.get(self.taken..).unwrap_or_default();
        match take(&mut input) {
            Ok(value) => {
                self.taken = self.data.len() - input.len();
                Ok(Some(value))
            }
            Err(Decode::Incomplete) => Ok(None),
            Err(Decode::Invalid(violation)) => Err(self.violated(&violation)),
        }
    }

    /// Hands out what has arrived; `use_up` returns how much of it was used.
    pub(crate) fn input(&self) -> &[u8] {
        self.data.get(self.taken..).unwrap_or_default()
    }

    /// The first `len` bytes of [`Wire::input`] were used.
    pub(crate) fn used(&mut self, len: usize) {
        self.taken = (self.taken + len).min(self.data.len());
    }

    pub(crate) fn try_ndx(&mut self) -> Result<Option<NdxValue>, PushError> {
        let mut input = self.data.get(self.taken..).unwrap_or_default();
        match self.ndx_reader.take(&mut input) {
            Ok(value) => {
                self.taken = self.data.len() - input.len();
                Ok(Some(value))
            }
            Err(Decode::Incomplete) => Ok(None),
            Err(Decode::Invalid(violation)) => Err(self.violated(&violation)),
        }
    }

    pub(crate) fn put_ndx(&mut self, value: NdxValue) {
        let writer = &mut self.ndx_writer;
        self.link.output.append(|out| writer.put(out, value));
    }

    /// Whether requests should wait until output has gone out.
    pub(crate) fn congested(&self) -> bool {
        self.link.output.pending_len() >= CONGESTED
    }

    /// Writes and reads what goes without waiting. `false`: the peer has closed its side.
    pub(crate) fn exchange(&mut self) -> Result<bool, PushError> {
        let received = self.link.exchange()?;
        self.sort()?;
        Ok(received != Some(Received::End))
    }

    /// Writes everything and waits for something to arrive. `false`: the peer has closed its side.
    pub(crate) fn wait(&mut self, cancelled: &dyn Fn() -> bool) -> Result<bool, PushError> {
        if !self.link.input.is_empty() {
            self.sort()?;
            return Ok(true);
        }
        let received = self.link.receive(cancelled)?;
        self.sort()?;
        Ok(received != Received::End)
    }

    /// Writes until there is room for further requests, or something arrives. `false`: the peer has
    /// closed its side.
    pub(crate) fn make_room(&mut self, cancelled: &dyn Fn() -> bool) -> Result<bool, PushError> {
        let received = self.link.drain_below(CONGESTED / 2, cancelled)?;
        self.sort()?;
        Ok(received != Some(Received::End))
    }

    /// Separates what arrived into data and messages.
    pub(crate) fn sort(&mut self) -> Result<(), PushError> {
        if self.link.input.is_empty() {
            return Ok(());
        }
        if self.taken == self.data.len() {
            self.dropped += self.taken as u64;
            self.data.clear();
            self.taken = 0;
        } else if self.taken > self.data.len() / 2 {
            self.dropped += self.taken as u64;
            self.data.drain(..self.taken);
            self.taken = 0;
        }
        let known = self.data.len();
        if !self.link.framed_input {
            self.data.append(&mut self.link.input);
            return self.link.record_input(&self.data[known..]);
        }
        let mut rest = self.link.input.as_slice();
        loop {
            match self.demux.feed(&mut rest, &mut self.data) {
                Ok(Some(message)) => self.messages.push_back(message),
                Ok(None) => break,
                Err(violation) => return Err(self.violated(&violation)),
            }
        }
        self.link.input.clear();
        self.link.record_input(&self.data[known..])
    }

    pub(crate) fn violated(&self, violation: &Violation) -> PushError {
        self.broken(violation.to_string(), violation.exit_code())
    }

    pub(crate) fn broken(&self, what: String, exit: u8) -> PushError {
        PushError::Protocol { phase: self.link.phase, what, exit }
    }
}
