//! A connection on which reading and writing wait together.
//!
//! Output collects until much of it is there or the session must wait for the peer; then it goes
//! out in as few writes as possible. While output waits for room, input is read on, since two ends
//! that both only write hang each other. Nothing here knows what the bytes mean.

use std::io::{self, Read, Write};
use std::time::{Duration, Instant};

use driftless_proto::mux::Mux;
use rustix::event::PollFlags;
use socket2::Socket;

use crate::connect::socket::{CANCEL_POLL, wait_for};
use crate::error::PushError;

/// Output that is not left to collect any longer.
const FULL: usize = 256 * 1024;

/// Input that is read ahead while output waits; the peer keeps the rest.
const READ_AHEAD: usize = 4 * 1024 * 1024;

/// Bytes asked of the socket at once.
const READ_SIZE: usize = 64 * 1024;

/// What one read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Received {
    /// Input grew.
    Bytes,
    /// The peer closed its side.
    End,
}

pub(crate) struct Link {
    socket: Socket,
    /// What is to be written.
    pub(crate) output: Mux,
    /// Read and not yet taken.
    pub(crate) input: Vec<u8>,
    /// The peer closed its side, or the connection broke.
    ended: bool,
    rate: Option<Rate>,
    timeout: Option<Duration>,
    /// Frames have begun, so that an empty one can be sent.
    framed: bool,
    /// Of the handshake.
    deadline: Option<Instant>,
    last_progress: Instant,
    last_write: Instant,
    pub(crate) bytes_sent: u64,
    pub(crate) bytes_received: u64,
    /// In the middle of what we are, for error texts.
    pub(crate) phase: &'static str,
}

impl Link {
    pub(crate) fn new(
        socket: Socket,
        deadline: Option<Instant>,
        timeout: Option<Duration>,
        bwlimit: Option<u64>,
    ) -> Self {
        let now = Instant::now();
        Self {
            socket,
            output: Mux::new(),
            input: Vec::with_capacity(16 * 1024),
            ended: false,
            rate: bwlimit.map(|limit| Rate::new(limit, now)),
            timeout,
            framed: false,
            deadline,
            last_progress: now,
            last_write: now,
            bytes_sent: 0,
            bytes_received: 0,
            phase: "during the handshake",
        }
    }

    /// The handshake is over: from now on only silence ends the session, and we break ours.
    pub(crate) fn start_frames(&mut self) {
        self.framed = true;
        self.deadline = None;
        self.phase = "during the transfer";
    }

    /// The longest silence.
    pub(crate) fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    pub(crate) fn timeout(&self) -> Option<Duration> {
        self.timeout
    }

    fn pending(&self) -> usize {
        self.output.pending_len()
    }

    /// Whether nothing was written for so long that the peer should get a sign of life.
    pub(crate) fn is_keepalive_due(&self) -> bool {
        self.framed
            && self.pending() == 0
            && self.keepalive_interval().is_some_and(|every| self.last_write.elapsed() >= every)
    }

    fn keepalive_interval(&self) -> Option<Duration> {
        // Protocol reference, "Keep-alives and timeouts": after half the timeout, rounded up.
        self.timeout.map(|timeout| Duration::from_secs(timeout.as_secs().div_ceil(2).max(1)))
    }

    /// Writes while much is pending. `false` when the peer has left and nothing can be written.
    pub(crate) fn relieve(&mut self, cancelled: &dyn Fn() -> bool) -> Result<bool, PushError> {
        if self.pending() < FULL {
            return Ok(true);
        }
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
        Ok(!self.ended)
    }

    /// Writes everything and waits for input. Returns early, with `None`, when a keep-alive is due.
    pub(crate) fn receive(
        &mut self,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Option<Received>, PushError> {
        loop {
            if self.ended {
                return Ok(Some(Received::End));
            }
            self.write_some()?;
            if self.is_keepalive_due() {
                return Ok(None);
            }
            let mut interests = PollFlags::IN;
            if self.pending() > 0 {
                interests |= PollFlags::OUT;
            }
            let ready = self.wait(interests, cancelled)?;
            if ready.contains(PollFlags::IN)
                && let Some(received) = self.read_some()?
            {
                return Ok(Some(received));
            }
        }
    }

    /// Writes and reads what goes at once, and waits for nothing.
    pub(crate) fn exchange(&mut self) -> Result<Option<Received>, PushError> {
        self.write_some()?;
        self.read_some()
    }

    fn wait(
        &mut self,
        interests: PollFlags,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<PollFlags, PushError> {
        if cancelled() {
            return Err(PushError::Cancelled);
        }
        let now = Instant::now();
        if self.deadline.is_some_and(|at| at <= now) {
            return Err(PushError::Timeout { phase: self.phase });
        }
        if self.timeout.is_some_and(|limit| now - self.last_progress >= limit) {
            return Err(PushError::Timeout { phase: self.phase });
        }
        let mut wait = CANCEL_POLL;
        if let Some(rate) = &mut self.rate
            && interests.contains(PollFlags::OUT)
        {
            let pause = rate.pause(now);
            if !pause.is_zero() {
                let ready = wait_for(&self.socket, interests - PollFlags::OUT, wait.min(pause))?;
                return Ok(ready - PollFlags::OUT);
            }
        }
        if let Some(at) = self.deadline {
            wait = wait.min(at - now);
        }
        Ok(wait_for(&self.socket, interests, wait)?)
    }

    /// Writes what is pending as far as the socket takes it.
    fn write_some(&mut self) -> Result<(), PushError> {
        self.output.flush();
        while self.pending() > 0 && !self.ended {
            let now = Instant::now();
            let mut ready = self.output.ready();
            if let Some(rate) = &mut self.rate {
                ready = &ready[..rate.allowance(now).min(ready.len())];
            }
            if ready.is_empty() {
                break;
            }
            match (&self.socket).write(ready) {
                Ok(len) => {
                    self.output.written(len);
                    self.bytes_sent += len as u64;
                    self.last_write = now;
                    self.last_progress = now;
                    if let Some(rate) = &mut self.rate {
                        rate.spend(len);
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_broken(&error) => {
                    // What the peer said before it left is still to be read.
                    self.output = Mux::new();
                    break;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Reads what is there; `None` when nothing is.
    fn read_some(&mut self) -> Result<Option<Received>, PushError> {
        let start = self.input.len();
        self.input.resize(start + READ_SIZE, 0);
        let read = (&self.socket).read(&mut self.input[start..]);
        let len = *read.as_ref().unwrap_or(&0);
        self.input.truncate(start + len);
        match read {
            Ok(0) => {
                self.ended = true;
                Ok(Some(Received::End))
            }
            Ok(len) => {
                self.bytes_received += len as u64;
                self.last_progress = Instant::now();
                // Not sticky. Without it the peer's small writes wait for our delayed
                // acknowledgement, 40 ms each. Where it is not supported nothing breaks.
                let _ = self.socket.set_tcp_quickack(true);
                Ok(Some(Received::Bytes))
            }
            Err(error) if is_broken(&error) => {
                self.ended = true;
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
