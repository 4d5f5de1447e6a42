//! A connection of its own process, before the transfer: lines in both directions, within a time.

use std::io;
use std::time::{Duration, Instant};

use driftless_proto::Decode;
use driftless_transfer::connect::stream::Stream;
use rustix::event::PollFlags;

/// Why a conversation ends.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WireError {
    #[error("the connection is closed")]
    Closed,
    #[error("the time for it is over")]
    Timeout,
    #[error("{0}")]
    Broken(driftless_proto::Violation),
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Most bytes of one value.
const MAX_INPUT_LEN: usize = 4 << 20;

/// Room for what one read may bring, at least.
const READ_SIZE: usize = 8192;

/// Longest wait between two looks at the clock.
const GLANCE: Duration = Duration::from_secs(3600);

/// A connection.
pub(crate) struct Wire {
    stream: Option<Stream>,
    /// Read and not yet understood.
    pub(crate) input: Vec<u8>,
    deadline: Option<Instant>,
}

impl Wire {
    pub(crate) fn new(stream: Stream, input: Vec<u8>) -> Self {
        Self { stream: Some(stream), input, deadline: None }
    }

    /// What follows has to be done until then.
    pub(crate) fn set_deadline(&mut self, deadline: Option<Instant>) {
        self.deadline = deadline;
    }

    /// Reads until `take` has what it needs.
    pub(crate) fn need<T>(
        &mut self,
        mut take: impl FnMut(&mut &[u8]) -> Result<T, Decode>,
    ) -> Result<T, WireError> {
        loop {
            let mut input = self.input.as_slice();
            match take(&mut input) {
                Ok(value) => {
                    let used = self.input.len() - input.len();
                    self.input.drain(..used);
                    return Ok(value);
                }
                Err(Decode::Incomplete) => self.more()?,
                Err(Decode::Invalid(violation)) => return Err(WireError::Broken(violation)),
            }
        }
    }

    /// Reads what comes next.
    pub(crate) fn more(&mut self) -> Result<(), WireError> {
        if self.input.len() > MAX_INPUT_LEN {
            let (what, limit) = ("handshake", MAX_INPUT_LEN as u64);
            let len = self.input.len() as u64;
            return Err(WireError::Broken(driftless_proto::Violation::TooLong {
                what,
                len,
                limit,
            }));
        }
        loop {
            self.input.reserve(READ_SIZE);
            let Some(stream) = &self.stream else { return Err(WireError::Closed) };
            match stream.read_on(&mut self.input) {
                Ok(0) => return Err(WireError::Closed),
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_gone(&error) => return Err(WireError::Closed),
                Err(error) => return Err(error.into()),
            }
            self.wait(PollFlags::IN)?;
        }
    }

    /// Writes all of it.
    pub(crate) fn say(&mut self, mut bytes: &[u8]) -> Result<(), WireError> {
        while !bytes.is_empty() {
            match self.stream()?.write(bytes) {
                Ok(len) => bytes = &bytes[len..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.wait(PollFlags::OUT)?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_gone(&error) => return Err(WireError::Closed),
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    fn stream(&self) -> io::Result<&Stream> {
        self.stream.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Hands the stream on; what is said here afterwards fails.
    pub(crate) fn take_stream(&mut self) -> io::Result<Stream> {
        self.stream.take().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }

    /// Reads what the client still sends until it leaves or the time is over.
    pub(crate) fn close_softly(&mut self) {
        while self.more().is_ok() {
            self.input.clear();
        }
    }

    fn wait(&mut self, interest: PollFlags) -> Result<(), WireError> {
        let left = match self.deadline {
            None => GLANCE,
            Some(at) => at.saturating_duration_since(Instant::now()),
        };
        if left.is_zero() {
            return Err(WireError::Timeout);
        }
        self.stream()?.wait(interest, left)?;
        Ok(())
    }
}

fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}
