//! Networks that count, cut and lie: a forwarding proxy, and a peer that only plays a script.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Forwards each connection to a port of this machine and counts what passes.
///
/// The threads end with their connections; the listening one when the proxy is dropped, and then the
/// port refuses.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    upstream: u16,
    up: AtomicU64,
    down: AtomicU64,
    connections: AtomicU64,
    /// Most connections that were open at once.
    most_at_once: AtomicU64,
    /// Bytes that may still go up before every connection is cut; negative means no limit.
    credit: AtomicI64,
    closed: AtomicBool,
    /// Bytes per second and direction; 0 means no limit.
    rate: AtomicU64,
    /// The digest names that both sides are told of in the greetings, instead of the true ones.
    digests: Option<String>,
}

impl Proxy {
    /// Listens on a port of its own and forwards to `upstream` on 127.0.0.1.
    ///
    /// # Panics
    /// When no port can be had.
    #[track_caller]
    pub fn start(upstream: u16) -> Self {
        Self::launch(upstream, 0, None)
    }

    /// The same on `port`, 0 for one of its own, but either side's greeting offers only `digests` for
    /// authentication.
    ///
    /// # Panics
    /// As [`Proxy::start`].
    #[track_caller]
    pub fn offering(upstream: u16, port: u16, digests: &str) -> Self {
        Self::launch(upstream, port, Some(digests.to_owned()))
    }

    #[track_caller]
    fn launch(upstream: u16, port: u16, digests: Option<String>) -> Self {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, port)).expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let shared = Arc::new(Shared {
            upstream,
            up: AtomicU64::new(0),
            down: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            most_at_once: AtomicU64::new(0),
            credit: AtomicI64::new(-1),
            closed: AtomicBool::new(false),
            rate: AtomicU64::new(0),
            digests,
        });
        let forwarding = Arc::clone(&shared);
        let accepting = Some(thread::spawn(move || accept(&listener, &forwarding)));
        Self { port, shared, accepting }
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Bytes that went to the daemon so far.
    pub fn bytes_up(&self) -> u64 {
        self.shared.up.load(Ordering::SeqCst)
    }

    /// Bytes that came from the daemon so far.
    pub fn bytes_down(&self) -> u64 {
        self.shared.down.load(Ordering::SeqCst)
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }

    /// Most connections that were open at the client's end at once so far.
    pub fn most_at_once(&self) -> u64 {
        self.shared.most_at_once.load(Ordering::SeqCst)
    }

    /// Lets `bytes` more go to the daemon, then cuts, and refuses new connections until
    /// [`Proxy::heal`].
    pub fn cut_after(&self, bytes: u32) {
        self.shared.credit.store(i64::from(bytes), Ordering::SeqCst);
    }

    /// Forwards at most `bytes` per second up, from now on; 0 means as fast as it goes.
    pub fn limit_rate(&self, bytes: u64) {
        self.shared.rate.store(bytes, Ordering::SeqCst);
    }

    /// Forwards everything again.
    pub fn heal(&self) {
        self.shared.credit.store(-1, Ordering::SeqCst);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        // Wakes the listening thread so that it sees that it is over.
        let woken = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok();
        if let Some(accepting) = self.accepting.take().filter(|_| woken) {
            let _ = accepting.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut open: Vec<Weak<TcpStream>> = Vec::new();
    for client in listener.incoming() {
        if shared.closed.load(Ordering::SeqCst) {
            return;
        }
        let Ok(client) = client else { continue };
        shared.connections.fetch_add(1, Ordering::SeqCst);
        if shared.credit.load(Ordering::SeqCst) == 0 {
            continue;
        }
        let upstream = SocketAddr::from((Ipv4Addr::LOCALHOST, shared.upstream));
        let Ok(server) = TcpStream::connect(upstream) else { continue };
        let _ = client.set_nodelay(true);
        let _ = server.set_nodelay(true);
        let (client, server) = (Arc::new(client), Arc::new(server));
        // A client that closed one before it opened this is seen to have closed it.
        open.retain(|one| one.upgrade().is_some_and(|one| !is_closed_by_peer(&one)));
        open.push(Arc::downgrade(&client));
        shared.most_at_once.fetch_max(open.len() as u64, Ordering::SeqCst);
        let (up, down) = (Arc::clone(shared), Arc::clone(shared));
        let (client2, server2) = (Arc::clone(&client), Arc::clone(&server));
        thread::spawn(move || pump_up(&client, &server, &up));
        thread::spawn(move || pump_down(&server2, &client2, &down));
    }
}

fn is_closed_by_peer(connection: &TcpStream) -> bool {
    let mut fds = [PollFd::new(connection, PollFlags::RDHUP)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|count| count > 0)
}

/// Passes a greeting on with other digest names in it, when there are any to tell.
fn pass_greeting(mut from: &TcpStream, mut to: &TcpStream, shared: &Shared) -> io::Result<()> {
    let Some(digests) = &shared.digests else { return Ok(()) };
    let mut line = Vec::new();
    let mut byte = [0];
    while byte != *b"\n" && line.len() < 256 {
        from.read_exact(&mut byte)?;
        line.extend_from_slice(&byte);
    }
    let words: Vec<&[u8]> = line.trim_ascii().split(|&b| b == b' ').take(2).collect();
    to.write_all(&[&words.join(&b' ')[..], b" ", digests.as_bytes(), b"\n"].concat())
}

fn pump_up(mut from: &TcpStream, mut to: &TcpStream, shared: &Shared) {
    let mut buffer = vec![0; 1 << 16];
    if pass_greeting(from, to, shared).is_err() {
        return;
    }
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        let credit = shared.credit.load(Ordering::SeqCst);
        let allowed = if credit < 0 { count } else { count.min(credit as usize) };
        if credit >= 0 {
            shared.credit.fetch_sub(allowed as i64, Ordering::SeqCst);
        }
        shared.up.fetch_add(allowed as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..allowed]).is_err() {
            break;
        }
        let rate = shared.rate.load(Ordering::SeqCst);
        if let Some(pause) = (allowed as u64 * 1_000_000).checked_div(rate) {
            thread::sleep(Duration::from_micros(pause));
        }
        if allowed < count {
            let _ = from.shutdown(Shutdown::Both);
            let _ = to.shutdown(Shutdown::Both);
            return;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

fn pump_down(mut from: &TcpStream, mut to: &TcpStream, shared: &Shared) {
    let mut buffer = vec![0; 1 << 16];
    if pass_greeting(from, to, shared).is_err() {
        return;
    }
    while let Ok(count @ 1..) = from.read(&mut buffer) {
        shared.down.fetch_add(count as u64, Ordering::SeqCst);
        if to.write_all(&buffer[..count]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Write);
}

/// What a [`FakePeer`] does with each connection, in order. Then it closes.
#[derive(Clone, Debug)]
pub enum Step {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Reads up to and with a line feed.
    ReadLine,
    /// Waits until the other side closes.
    Hold,
}

/// A listener that answers every connection with the same script.
#[derive(Debug)]
pub struct FakePeer {
    port: u16,
    closed: Arc<AtomicBool>,
    connections: Arc<AtomicU64>,
}

impl FakePeer {
    /// Listens on a port of its own.
    ///
    /// # Panics
    /// When no port can be had.
    #[track_caller]
    pub fn start(script: Vec<Step>) -> Self {
        let listener =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let closed = Arc::new(AtomicBool::new(false));
        let connections = Arc::new(AtomicU64::new(0));
        let (over, count) = (Arc::clone(&closed), Arc::clone(&connections));
        thread::spawn(move || {
            for client in listener.incoming() {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                count.fetch_add(1, Ordering::SeqCst);
                if let Ok(client) = client {
                    let script = script.clone();
                    thread::spawn(move || play(client, &script));
                }
            }
        });
        Self { port, closed, connections }
    }

    /// The port to connect to.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.connections.load(Ordering::SeqCst)
    }
}

impl Drop for FakePeer {
    fn drop(&mut self) {
        self.closed.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

fn play(mut client: TcpStream, script: &[Step]) {
    let _ = client.set_read_timeout(Some(Duration::from_secs(60)));
    let mut byte = [0];
    for step in script {
        match step {
            Step::Send(bytes) => {
                if client.write_all(bytes).is_err() {
                    return;
                }
            }
            Step::ReadLine => while matches!(client.read(&mut byte), Ok(1)) && byte[0] != b'\n' {},
            Step::Hold => while matches!(client.read(&mut byte), Ok(1)) {},
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn echo() -> FakePeer {
        FakePeer::start(vec![Step::ReadLine, Step::Send(b"heard\n".to_vec())])
    }

    fn ask(port: u16) -> Vec<u8> {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).unwrap();
        stream.write_all(b"hello\n").unwrap();
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        answer
    }

    #[test]
    fn a_proxy_forwards_and_counts() {
        let peer = echo();
        let proxy = Proxy::start(peer.port());
        assert_eq!(ask(proxy.port()), b"heard\n");
        assert_eq!((proxy.bytes_up(), proxy.bytes_down()), (6, 6));
    }

    #[test]
    fn a_cut_proxy_passes_no_more_than_it_was_told_until_healed() {
        let peer = echo();
        let proxy = Proxy::start(peer.port());
        proxy.cut_after(3);
        assert_eq!(ask(proxy.port()), b"");
        assert_eq!(proxy.bytes_up(), 3);
        proxy.heal();
        assert_eq!(ask(proxy.port()), b"heard\n");
    }
}
