//! The two directions of a session's bytes, whatever carries them: a socket, a child's pipes or our
//! own standard input and output. Never blocks but in [`Stream::wait`].

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use socket2::{SockRef, Socket};

/// Bytes that a pipe of ours holds; the kernel's usual 64 KiB make the two ends take turns.
const PIPE_LEN: usize = 256 * 1024;

/// An open byte stream.
#[derive(Debug)]
pub struct Stream {
    reader: OwnedFd,
    /// `None`: both directions share one descriptor.
    writer: Option<OwnedFd>,
    tcp: bool,
    /// Both ends block: no more is written at once than surely fits.
    blocks: bool,
}

impl Stream {
    /// A connected TCP socket.
    pub fn tcp(socket: Socket) -> Self {
        Self { reader: socket.into(), writer: None, tcp: true, blocks: false }
    }

    /// A connected socket of any kind.
    ///
    /// # Errors
    /// When it cannot be set to non-blocking.
    pub fn socket(socket: impl Into<OwnedFd>) -> io::Result<Self> {
        let reader = socket.into();
        set_nonblocking(reader.as_fd())?;
        Ok(Self { reader, writer: None, tcp: false, blocks: false })
    }

    /// Two one-way streams, for instance a child's standard output and input.
    ///
    /// # Errors
    /// When one cannot be set to non-blocking.
    pub fn pair(reader: impl Into<OwnedFd>, writer: impl Into<OwnedFd>) -> io::Result<Self> {
        let (reader, writer) = (reader.into(), writer.into());
        for fd in [&reader, &writer] {
            set_nonblocking(fd.as_fd())?;
            // Not a pipe, or no more room for this user: it works as it is.
            let _ = rustix::pipe::fcntl_setpipe_size(fd, PIPE_LEN);
        }
        Ok(Self { reader, writer: Some(writer), tcp: false, blocks: false })
    }

    /// Two pipes whose ends are left as they are, which is to block.
    pub(crate) fn blocking_pair(reader: impl Into<OwnedFd>, writer: impl Into<OwnedFd>) -> Self {
        let (reader, writer) = (reader.into(), Some(writer.into()));
        Self { reader, writer, tcp: false, blocks: true }
    }

    /// This process's standard input and output, where a server's client is.
    ///
    /// # Errors
    /// When they are closed.
    pub fn stdio() -> io::Result<Self> {
        let reader = io::stdin().as_fd().try_clone_to_owned()?;
        let writer = io::stdout().as_fd().try_clone_to_owned()?;
        Self::pair(reader, writer)
    }

    fn writer(&self) -> BorrowedFd<'_> {
        self.writer.as_ref().unwrap_or(&self.reader).as_fd()
    }

    /// Reads what is there, as far as `buffer` has room behind what it holds.
    ///
    /// # Errors
    /// `WouldBlock` when nothing is.
    pub fn read_on(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        if self.blocks && self.wait(PollFlags::IN, Duration::ZERO)?.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(rustix::io::read(&self.reader, spare_capacity(buffer))?)
    }

    /// Writes what there is room for.
    ///
    /// # Errors
    /// `WouldBlock` when there is none.
    pub fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        if !self.blocks {
            return Ok(rustix::io::write(self.writer(), bytes)?);
        }
        if self.wait(PollFlags::OUT, Duration::ZERO)?.is_empty() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(rustix::io::write(self.writer(), &bytes[..bytes.len().min(rustix::pipe::PIPE_BUF)])?)
    }

    /// Tells the peer that nothing more will come; reading goes on.
    ///
    /// # Errors
    /// The connection is gone already.
    pub(crate) fn end_output(&self) -> io::Result<()> {
        Ok(rustix::net::shutdown(self.writer(), rustix::net::Shutdown::Write)?)
    }

    /// Without it the peer's small writes wait for our delayed acknowledgement, 40 ms each. Not
    /// sticky; where it is not supported nothing breaks.
    pub(crate) fn acknowledge(&self) {
        if self.tcp {
            let _ = SockRef::from(&self.reader).set_tcp_quickack(true);
        }
    }

    /// Waits until it is ready for one of `interests`; empty when the time is over or a signal came.
    pub fn wait(&self, interests: PollFlags, wait: Duration) -> io::Result<PollFlags> {
        let Some(writer) = &self.writer else { return wait_for(&self.reader, interests, wait) };
        let mut fds = Vec::with_capacity(2);
        for (fd, interest) in [(&self.reader, PollFlags::IN), (writer, PollFlags::OUT)] {
            if interests.contains(interest) {
                fds.push(PollFd::new(fd, interest));
            }
        }
        wait_for_all(&mut fds, interests, wait)
    }
}

/// Waits until `fd` is ready for one of `interests`; empty when the time is over or a signal came.
pub(crate) fn wait_for(
    fd: &impl AsFd,
    interests: PollFlags,
    wait: Duration,
) -> io::Result<PollFlags> {
    wait_for_all(&mut [PollFd::new(fd, interests)], interests, wait)
}

fn wait_for_all(
    fds: &mut [PollFd<'_>],
    interests: PollFlags,
    wait: Duration,
) -> io::Result<PollFlags> {
    let timeout = wait.try_into().ok();
    match poll(fds, timeout.as_ref()) {
        Ok(_) => {
            let ready = fds.iter().fold(PollFlags::empty(), |all, fd| all | fd.revents());
            // An error or a hang-up shows in the read or write that follows.
            let troubled = ready.intersects(PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL);
            Ok(if troubled { ready | interests } else { ready })
        }
        Err(Errno::INTR) => Ok(PollFlags::empty()),
        Err(error) => Err(error.into()),
    }
}

fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    Ok(rustix::fs::fcntl_setfl(fd, flags | rustix::fs::OFlags::NONBLOCK)?)
}
