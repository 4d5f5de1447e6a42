//! A connection on which reading and writing wait together.
//!
//! Output collects until much of it is there or the session must wait for the peer; then it goes
//! out in as few writes as possible. While output waits for room, input is read on, since two ends
//! that both only write hang each other. Nothing here knows what the bytes mean.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;
use std::time::{Duration, Instant};

use driftless_proto::mux::{HEADER_LEN, Mux};
use rustix::event::PollFlags;

use crate::connect::socket::CANCEL_POLL;
use crate::connect::stream::Stream;
use crate::error::PushError;

/// Output that is not left to collect any longer.
const FULL: usize = 256 * 1024;

/// Input that is read ahead while output waits; the peer keeps the rest.
const READ_AHEAD: usize = 4 * 1024 * 1024;

/// Longest work without a look at the connection and at the caller's wish to stop.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// Longest wait for the peer's end of a session that we gave up.
const ABANDON_LIMIT: Duration = Duration::from_secs(2);

/// Room for what one read may bring, at least.
const READ_SIZE: usize = 128 * 1024;

/// The same during the handshake: a session that waits there has no large buffer.
const HANDSHAKE_READ_SIZE: usize = 4 * 1024;

/// What one read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// Input grew.
    Bytes,
    /// The peer closed its side.
    End,
}

/// Which directions of a session have frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frames {
    pub(crate) output: bool,
    pub(crate) input: bool,
}

pub(crate) struct Link {
    stream: Stream,
    /// What is to be written.
    pub(crate) output: Mux,
    /// Read and not yet taken.
    pub(crate) input: Vec<u8>,
    read_size: usize,
    /// The peer closed its side, or the connection broke.
    ended: bool,
    /// It did so without having read all that was sent to it.
    reset: bool,
    rate: Option<Rate>,
    /// Gets a copy of what the sender sends.
    record: Option<Arc<File>>,
    /// The sender is the peer.
    records_input: bool,
    timeout: Option<Duration>,
    /// Frames have begun, so that an empty one can be sent.
    framed: bool,
    /// The peer's data comes in frames.
    pub(crate) framed_input: bool,
    /// Of the handshake.
    deadline: Option<Instant>,
    last_progress: Instant,
    last_write: Instant,
    last_look: Instant,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    /// Pending bytes that are not to be counted.
    uncounted: usize,
    /// In the middle of what we are, for error texts.
    pub(crate) phase: &'static str,
}

impl Link {
    pub(crate) fn new(
        stream: Stream,
        deadline: Option<Instant>,
        timeout: Option<Duration>,
        bwlimit: Option<u64>,
    ) -> Self {
        let now = Instant::now();
        Self {
            stream,
            output: Mux::new(),
            input: Vec::new(),
            read_size: HANDSHAKE_READ_SIZE,
            ended: false,
            reset: false,
            rate: bwlimit.map(|limit| Rate::new(limit, now)),
            record: None,
            records_input: false,
            timeout,
            framed: false,
            framed_input: true,
            deadline,
            last_progress: now,
            last_write: now,
            last_look: now,
            bytes_sent: 0,
            bytes_received: 0,
            uncounted: 0,
            phase: "during the handshake",
        }
    }

    /// The handshake is over: from now on only silence ends the session, and we break ours.
    pub(crate) fn start_frames(&mut self) {
        self.framed = true;
        self.read_size = READ_SIZE;
        self.deadline = None;
        self.phase = "during the transfer";
    }

    /// As [`Link::start_frames`], where one direction may have none: before protocol 30 a client
    /// sends bare data.
    pub(crate) fn start_transfer(&mut self, frames: Frames) {
        self.start_frames();
        self.framed = frames.output;
        self.framed_input = frames.input;
        if !frames.output {
            let mut bare = Mux::bare();
            bare.unframed(self.output.ready());
            self.output = bare;
        }
    }

    /// Copies all protocol data that is sent from now on into a file.
    pub(crate) fn record_output(&mut self, file: Arc<File>) {
        self.output.keep_copy();
        self.record = Some(file);
    }

    /// Copies all protocol data that arrives from now on into a file, through
    /// [`Link::record_input`].
    pub(crate) fn expect_record(&mut self, file: Arc<File>) {
        self.record = Some(file);
        self.records_input = true;
    }

    /// Protocol data has arrived, without frames.
    pub(crate) fn record_input(&mut self, data: &[u8]) -> Result<(), PushError> {
        if self.records_input
            && let Some(file) = &self.record
        {
            file.as_ref().write_all(data)?;
        }
        Ok(())
    }

    /// Writes what was copied so far.
    pub(crate) fn write_record(&mut self) -> Result<(), PushError> {
        if let Some(file) = &self.record
            && let Some(copy) = self.output.take_copy()
        {
            file.as_ref().write_all(&copy)?;
        }
        Ok(())
    }

    /// Bytes per second that may be written from now on.
    pub(crate) fn set_bwlimit(&mut self, bwlimit: Option<u64>) {
        self.rate = bwlimit.map(|limit| Rate::new(limit, Instant::now()));
    }

    /// The longest silence.
    pub(crate) fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    /// Counts bytes that went another way.
    pub(crate) fn count_sent(&mut self, len: u64) {
        self.bytes_sent += len;
    }

    /// Counts what is given out and taken from now on.
    pub(crate) fn start_counting(&mut self) {
        self.bytes_sent = 0;
        self.uncounted = self.pending();
        self.bytes_received = self.input.len() as u64;
    }

    /// Bytes given out so far, written or not.
    pub(crate) fn written_so_far(&self) -> u64 {
        self.bytes_sent + self.pending() as u64
    }

    fn pending(&self) -> usize {
        self.output.pending_len()
    }

    /// Adds a sign of life when nothing was written for half the timeout. Protocol reference,
    /// "Keep-alives and timeouts".
    fn keep_alive(&mut self) {
        let Some(timeout) = self.timeout.filter(|_| self.framed && self.pending() == 0) else {
            return;
        };
        let interval = Duration::from_secs(timeout.as_secs().div_ceil(2).max(1));
        if self.last_write.elapsed() >= interval {
            self.output.keep_alive();
        }
    }

    /// Writes while much is pending. `false` when the peer has left and nothing can be written.
    pub(crate) fn relieve(&mut self, cancelled: &dyn Fn() -> bool) -> Result<bool, PushError> {
        self.write_record()?;
        if self.pending() < FULL {
            if self.last_look.elapsed() >= LOOK_INTERVAL {
                self.look(cancelled)?;
            }
            return Ok(true);
        }
        if cancelled() {
            return Err(PushError::Cancelled);
        }
        self.last_progress = Instant::now();
        while self.pending() >= FULL / 4 && !self.ended {
            self.write_some()?;
            if self.pending() < FULL / 4 {
                break;
            }
            let interests = if self.input.len() < READ_AHEAD {
                PollFlags::OUT | PollFlags::IN
            } else {
                PollFlags::OUT
            };
            if self.wait(interests, cancelled)?.contains(PollFlags::IN)
                && self.input.len() < READ_AHEAD
            {
                self.read_some()?;
            }
        }
        self.last_look = Instant::now();
        Ok(!self.ended)
    }

    /// Writes everything. `false` when the peer has left.
    pub(crate) fn flush(&mut self, cancelled: &dyn Fn() -> bool) -> Result<bool, PushError> {
        loop {
            self.write_some()?;
            if self.pending() == 0 || self.ended {
                return Ok(!self.ended);
            }
            if self.wait(PollFlags::OUT | PollFlags::IN, cancelled)?.contains(PollFlags::IN) {
                self.read_some()?;
            }
        }
    }

    /// In long work with little output: shows the peer that we live, and that work was done.
    fn look(&mut self, cancelled: &dyn Fn() -> bool) -> Result<(), PushError> {
        self.last_look = Instant::now();
        if cancelled() {
            return Err(PushError::Cancelled);
        }
        self.keep_alive();
        self.write_some()?;
        if self.input.len() < READ_AHEAD {
            self.read_some()?;
        }
        Ok(())
    }

    /// Writes everything and waits for input.
    pub(crate) fn receive(&mut self, cancelled: &dyn Fn() -> bool) -> Result<Received, PushError> {
        // While we were busy the peer's silence did not count.
        self.last_progress = Instant::now();
        loop {
            if self.ended {
                return Ok(Received::End);
            }
            self.keep_alive();
            self.write_some()?;
            self.check(cancelled)?;
            // Much comes without a wait in between.
            if let Some(received) = self.read_some()? {
                return Ok(received);
            }
            let mut interests = PollFlags::IN;
            if self.pending() > 0 {
                interests |= PollFlags::OUT;
            }
            self.wait(interests, cancelled)?;
        }
    }

    /// Writes everything and throws away what comes, until the peer leaves, says `last`, or is
    /// silent for too long.
    pub(crate) fn drain(&mut self, silence: Duration, last: &[u8]) {
        self.set_timeout(Some(silence));
        // A client that was told to leave does so when it hears no more.
        if self.flush(&|| false).is_err() || self.stream.end_output().is_err() {
            return;
        }
        while !self.input.ends_with(last) {
            let seen = self.input.len().saturating_sub(last.len());
            self.input.drain(..seen);
            if !matches!(self.receive(&|| false), Ok(Received::Bytes)) {
                return;
            }
        }
    }

    /// Writes until less than `len` bytes are pending, or input arrives.
    pub(crate) fn drain_below(
        &mut self,
        len: usize,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Option<Received>, PushError> {
        self.last_progress = Instant::now();
        loop {
            if self.ended {
                return Ok(Some(Received::End));
            }
            self.write_some()?;
            if self.pending() < len {
                return Ok(None);
            }
            if self.wait(PollFlags::OUT | PollFlags::IN, cancelled)?.contains(PollFlags::IN)
                && let Some(received) = self.read_some()?
            {
                return Ok(Some(received));
            }
        }
    }

    /// Leaves a session in the middle, and waits until the peer has ended it as well: it works on
    /// with what lies in its buffers, and would do so beside the next session.
    pub(crate) fn abandon(&mut self) {
        let until = Instant::now() + ABANDON_LIMIT;
        if self.stream.end_output().is_err() {
            return;
        }
        while !self.ended {
            self.input.clear();
            let left = until.saturating_duration_since(Instant::now());
            let ready = self.stream.wait(PollFlags::IN, left);
            if left.is_zero() || ready.is_err() || self.read_some().is_err() {
                return;
            }
        }
    }

    /// How a peer left that has gone in the middle of a session.
    pub(crate) fn broken(&self) -> PushError {
        match self.reset {
            true => io::Error::from(rustix::io::Errno::CONNRESET).into(),
            false => PushError::Closed { phase: self.phase },
        }
    }

    /// Writes and reads what goes at once, and waits for nothing.
    pub(crate) fn exchange(&mut self) -> Result<Option<Received>, PushError> {
        self.write_some()?;
        self.read_some()
    }

    /// Whether the session may go on, at the time that it returns.
    fn check(&self, cancelled: &dyn Fn() -> bool) -> Result<Instant, PushError> {
        if cancelled() {
            return Err(PushError::Cancelled);
        }
        let now = Instant::now();
        let is_late = self.deadline.is_some_and(|at| at <= now);
        if is_late || self.timeout.is_some_and(|limit| now - self.last_progress >= limit) {
            return Err(PushError::Timeout { phase: self.phase });
        }
        Ok(now)
    }

    fn wait(
        &mut self,
        interests: PollFlags,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<PollFlags, PushError> {
        let now = self.check(cancelled)?;
        let mut wait = CANCEL_POLL;
        if let Some(rate) = &mut self.rate
            && interests.contains(PollFlags::OUT)
        {
            let pause = rate.pause(now);
            if !pause.is_zero() {
                let ready = self.stream.wait(interests - PollFlags::OUT, wait.min(pause))?;
                return Ok(ready - PollFlags::OUT);
            }
        }
        if let Some(at) = self.deadline {
            wait = wait.min(at - now);
        }
        Ok(self.stream.wait(interests, wait)?)
    }

    /// Writes what is pending as far as the socket takes it.
    pub(crate) fn write_some(&mut self) -> Result<(), PushError> {
        self.output.flush();
        // Else our own signs of life would hide that the peer gives none.
        let sign_of_life = self.pending() <= HEADER_LEN;
        while self.pending() > 0 && !self.ended {
            let now = Instant::now();
            let mut ready = self.output.ready();
            if let Some(rate) = &mut self.rate {
                ready = &ready[..rate.allowance(now).min(ready.len())];
            }
            if ready.is_empty() {
                break;
            }
            let wanted = ready.len();
            match self.stream.write(ready) {
                Ok(len) => {
                    self.output.written(len);
                    let uncounted = len.min(self.uncounted);
                    self.uncounted -= uncounted;
                    self.bytes_sent += (len - uncounted) as u64;
                    self.last_write = now;
                    self.last_progress = if sign_of_life { self.last_progress } else { now };
                    if let Some(rate) = &mut self.rate {
                        rate.spend(len);
                    }
                    // There is no more room: asking would only tell that again.
                    if len < wanted {
                        break;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_broken(&error) => {
                    // What the peer said before it left is still to be read.
                    self.output = if self.output.is_bare() { Mux::bare() } else { Mux::new() };
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads what is there; `None` when nothing is.
    fn read_some(&mut self) -> Result<Option<Received>, PushError> {
        self.input.reserve(self.read_size);
        match self.stream.read_on(&mut self.input) {
            Ok(0) => {
                self.ended = true;
                Ok(Some(Received::End))
            }
            Ok(len) => {
                self.bytes_received += len as u64;
                self.last_progress = Instant::now();
                // A peer that sends much does not wait for it.
                if len < READ_SIZE {
                    self.stream.acknowledge();
                }
                Ok(Some(Received::Bytes))
            }
            Err(error) if is_broken(&error) => {
                self.ended = true;
                self.reset = error.kind() == io::ErrorKind::ConnectionReset;
                Ok(Some(Received::End))
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted => Ok(None),
                _ => Err(error.into()),
            },
        }
    }
}

fn is_broken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset)
}

/// A limit on bytes per second, with a tenth of a second's worth at once.
struct Rate {
    per_second: u64,
    budget: f64,
    burst: f64,
    refilled: Instant,
}

impl Rate {
    fn new(per_second: u64, now: Instant) -> Self {
        let burst = (per_second as f64 / 10.0).max(512.0);
        Self { per_second: per_second.max(1), budget: burst, burst, refilled: now }
    }

    fn refill(&mut self, now: Instant) {
        let earned = (now - self.refilled).as_secs_f64() * self.per_second as f64;
        self.budget = (self.budget + earned).min(self.burst);
        self.refilled = now;
    }

    fn allowance(&mut self, now: Instant) -> usize {
        self.refill(now);
        // Tiny writes cost more than they bring.
        if self.budget < self.burst / 4.0 { 0 } else { self.budget as usize }
    }

    fn spend(&mut self, len: usize) {
        self.budget -= len as f64;
    }

    /// How long until something may be written.
    fn pause(&mut self, now: Instant) -> Duration {
        self.refill(now);
        let missing = self.burst / 4.0 - self.budget;
        if missing <= 0.0 {
            Duration::ZERO
        } else {
            Duration::from_secs_f64(missing / self.per_second as f64)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use driftless_proto::mux::LAST_FRAME;
    use std::os::unix::net::UnixStream;

    #[test]
    fn a_peer_that_has_said_its_last_is_left_though_it_stays() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let mut link = Link::new(Stream::socket(ours).unwrap(), None, None, None);
        theirs.write_all(&[&[7; 9000], &LAST_FRAME[..]].concat()).unwrap();
        // Longer than anybody waits for a test.
        link.drain(Duration::from_secs(3600), &LAST_FRAME);
    }
}
