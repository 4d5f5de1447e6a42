//! A connected, non-blocking socket to a daemon.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use socket2::{Domain, Protocol, Socket, Type};

use crate::connect::stream::wait_for;
use crate::connect::url::DaemonUrl;
use crate::error::PushError;
use crate::options::TransferOptions;

/// Longest time without asking whether to give up.
pub(crate) const CANCEL_POLL: Duration = Duration::from_millis(100);

/// Connects to the first address of the host that answers. `deadline` bounds all of it.
pub(crate) fn connect(
    url: &DaemonUrl,
    options: &TransferOptions,
    deadline: Option<Instant>,
    cancelled: &dyn Fn() -> bool,
) -> Result<Socket, PushError> {
    let failed = |source| PushError::Connect { addr: url.address(), source };
    let addresses = (url.host.as_str(), url.port).to_socket_addrs().map_err(failed)?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in addresses {
        match connect_to(address, options, deadline, cancelled) {
            Ok(socket) => return Ok(socket),
            Err(Stop::Failed(error)) => last = error,
            Err(Stop::Cancelled) => return Err(PushError::Cancelled),
            Err(Stop::Deadline) => {
                return Err(PushError::ConnectTimeout { addr: url.address() });
            }
        }
    }
    Err(failed(last))
}

enum Stop {
    Failed(io::Error),
    Cancelled,
    Deadline,
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

fn connect_to(
    address: SocketAddr,
    options: &TransferOptions,
    deadline: Option<Instant>,
    cancelled: &dyn Fn() -> bool,
) -> Result<Socket, Stop> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if let Some(local) = options.bind_address {
        socket.bind(&SocketAddr::new(local, 0).into())?;
    }
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    match socket.connect(&address.into()) {
        Ok(()) => return Ok(socket),
        Err(error) if error.raw_os_error() == Some(libc_in_progress()) => {}
        Err(error) => return Err(error.into()),
    }
    loop {
        if cancelled() {
            return Err(Stop::Cancelled);
        }
        let left = deadline.map(|at| at.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Err(Stop::Deadline);
        }
        let wait = left.map_or(CANCEL_POLL, |left| left.min(CANCEL_POLL));
        if wait_for(&socket, PollFlags::OUT, wait)?.contains(PollFlags::OUT) {
            return match socket.take_error()? {
                None => Ok(socket),
                Some(error) => Err(error.into()),
            };
        }
    }
}

fn libc_in_progress() -> i32 {
    rustix::io::Errno::INPROGRESS.raw_os_error()
}
