//! Where events go: a buffer in front of standard output or `--outfile`.
//!
//! One write takes what one read of the queue gave. A reader that is slow does not stop the queue
//! from being read: what it cannot take yet stays here, up to a limit.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

/// What a pipe that is ready to be written takes without waiting.
const PIPE_TAKES: usize = 4096;
/// Unwritten bytes at which the queue is no longer read.
const FULL: usize = 256 << 20;

/// Memory that is kept for the next events.
const KEPT: usize = 1 << 20;

/// The output.
#[derive(Debug)]
pub struct Out {
    to: OwnedFd,
    /// Writing to it does not wait for anybody.
    is_file: bool,
    /// The bytes before `written` are gone already.
    pending: Vec<u8>,
    written: usize,
}

impl Out {
    /// Standard output.
    ///
    /// # Errors
    /// When it is closed.
    pub fn stdout() -> io::Result<Self> {
        Ok(Self::new(io::stdout().as_fd().try_clone_to_owned()?))
    }

    /// A file that was opened for appending.
    pub fn file(file: File) -> Self {
        Self::new(file.into())
    }

    fn new(to: OwnedFd) -> Self {
        use rustix::fs::{FileType, fstat};
        let is_file = fstat(&to)
            .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile);
        Self { to, is_file, pending: Vec::new(), written: 0 }
    }

    /// The buffer, to append to.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.pending
    }

    /// Whether something waits to be written.
    pub fn is_waiting(&self) -> bool {
        self.written < self.pending.len()
    }

    /// Whether so much waits that no more should be made.
    pub fn is_full(&self) -> bool {
        self.pending.len() - self.written > FULL
    }

    /// Writes what can be written without waiting.
    ///
    /// # Errors
    /// Why nobody can read it any more.
    pub fn offer(&mut self) -> Result<(), Errno> {
        while self.is_waiting() && self.is_ready()? {
            let waiting = &self.pending[self.written..];
            let part =
                if self.is_file { waiting } else { &waiting[..waiting.len().min(PIPE_TAKES)] };
            self.written += match rustix::io::write(&self.to, part) {
                Ok(len) => len,
                Err(Errno::INTR | Errno::AGAIN) => 0,
                Err(error) => return Err(error),
            };
        }
        if !self.is_waiting() {
            self.pending.clear();
            self.pending.shrink_to(KEPT);
            self.written = 0;
        } else if self.written > self.pending.len() / 2 {
            self.pending.drain(..self.written);
            self.written = 0;
        }
        Ok(())
    }

    /// Writes everything, however long it takes.
    ///
    /// # Errors
    /// Why nobody can read it any more.
    pub fn flush(&mut self) -> Result<(), Errno> {
        while self.is_waiting() {
            self.offer()?;
            if self.is_waiting() {
                match poll(&mut [PollFd::new(&self.to, PollFlags::OUT)], None) {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }

    fn is_ready(&self) -> Result<bool, Errno> {
        let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
        if self.is_file {
            return Ok(true);
        }
        let mut fds = [PollFd::new(&self.to, PollFlags::OUT)];
        match poll(&mut fds, Some(&at_once)) {
            Ok(count) => Ok(count > 0),
            Err(Errno::INTR) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

impl AsFd for Out {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.to.as_fd()
    }
}
