//! A connected, non-blocking socket to a daemon.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use socket2::{Domain, Protocol, Socket, Type};

use crate::connect::shell::Family;
use crate::connect::sockopts::SocketOption;
use crate::connect::stream::wait_for;
use crate::error::PushError;

/// Longest time without asking whether to give up.
pub(crate) const CANCEL_POLL: Duration = Duration::from_millis(100);

/// Where to connect to, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Way<'a> {
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) family: Family,
    /// Local addresses, of which one of the right family is bound; none: any.
    pub(crate) bind_addresses: &'a [IpAddr],
    pub(crate) socket_options: &'a [SocketOption],
}

impl Way<'_> {
    fn allows(&self, address: &SocketAddr) -> bool {
        match self.family {
            Family::Any => true,
            Family::V4 => address.is_ipv4(),
            Family::V6 => address.is_ipv6(),
        }
    }

    /// For error texts.
    fn address(&self) -> String {
        let Self { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

/// Connects to the first address of the host that answers. `deadline` bounds all of it.
pub(crate) fn connect(
    way: &Way<'_>,
    deadline: Option<Instant>,
    cancelled: &dyn Fn() -> bool,
) -> Result<Socket, PushError> {
    let failed = |source| PushError::Connect { addr: way.address(), source };
    let addresses = (way.host, way.port).to_socket_addrs().map_err(failed)?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in addresses.filter(|address| way.allows(address)) {
        match connect_to(address, way, deadline, cancelled) {
            Ok(socket) => return Ok(socket),
            Err(Stop::Failed(error)) => last = error,
            Err(Stop::Cancelled) => return Err(PushError::Cancelled),
            Err(Stop::Deadline) => {
                return Err(PushError::ConnectTimeout { addr: way.address() });
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
    way: &Way<'_>,
    deadline: Option<Instant>,
    cancelled: &dyn Fn() -> bool,
) -> Result<Socket, Stop> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    let same_family = |local: &&IpAddr| local.is_ipv4() == address.is_ipv4();
    match way.bind_addresses.iter().find(same_family) {
        Some(local) => socket.bind(&SocketAddr::new(*local, 0).into())?,
        None if way.bind_addresses.is_empty() => {}
        None => return Err(io::Error::from(io::ErrorKind::AddrNotAvailable).into()),
    }
    socket.set_nonblocking(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_keepalive(true)?;
    for option in way.socket_options {
        option.apply(&socket)?;
    }
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
