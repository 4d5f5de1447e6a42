//! Peers that break off, talk garbage or fall silent: always an error value, never a hang.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use driftless_fs::Root;
use driftless_transfer::connect::url::DaemonUrl;
use driftless_transfer::source::DiskTree;
use driftless_transfer::{
    Content, Driver, Level, Listed, Outcome, Peer, PushError, PushFailure, Refusal, SentOutcome,
    TransferOptions, TreePush, push_tree,
};

use crate::daemon::{Daemon, options};
use crate::tree::Recorder;

/// Listens once and runs `serve` with the connection.
pub fn fake(serve: impl FnOnce(TcpStream) + Send + 'static) -> (Peer, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || serve(listener.accept().unwrap().0));
    let url = DaemonUrl::parse(&format!("rsync://127.0.0.1:{port}/m")).unwrap();
    (Peer { url, default_user: "u".to_owned(), password: None }, thread)
}

pub fn source() -> tempfile::TempDir {
    let source = tempfile::tempdir().unwrap();
    fs::create_dir(source.path().join("d")).unwrap();
    fs::write(source.path().join("d/f"), "some content").unwrap();
    fs::write(source.path().join("g"), "more").unwrap();
    source
}

pub fn push(
    peer: &Peer,
    source: &tempfile::TempDir,
    options: &TransferOptions,
) -> Result<Outcome, Box<PushFailure>> {
    let mut recorder = Recorder::new(source.path());
    let mut tree = DiskTree::new(Root::open(source.path()).unwrap(), options);
    push_tree(
        peer,
        options,
        TreePush { delete: true, ..TreePush::default() },
        &mut tree,
        &mut recorder,
    )
}

/// A session of ours with the real daemon, as the daemon's bytes with the point in our bytes that
/// each followed. The seed is fixed and all ids are numbers, so the replay is exact.
pub fn record(source: &tempfile::TempDir, options: &TransferOptions) -> Vec<u8> {
    let daemon = Daemon::start("");
    let said = Arc::new(Mutex::new(Vec::new()));
    let (from, port) = (Arc::clone(&said), daemon.port);
    let (peer, thread) = fake(move |client| {
        let server = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (mut up_from, mut up_to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        let up = std::thread::spawn(move || {
            let _ = std::io::copy(&mut up_from, &mut up_to);
            let _ = up_to.shutdown(std::net::Shutdown::Write);
        });
        let (mut server, mut client) = (server, client);
        let mut buffer = [0; 4096];
        loop {
            let len = server.read(&mut buffer).unwrap_or(0);
            if len == 0 || client.write_all(&buffer[..len]).is_err() {
                break;
            }
            from.lock().unwrap().extend_from_slice(&buffer[..len]);
        }
        let _ = client.shutdown(std::net::Shutdown::Both);
        up.join().unwrap();
    });
    assert!(push(&peer, source, options).unwrap().clean_end);
    thread.join().unwrap();
    Arc::try_unwrap(said).unwrap().into_inner().unwrap()
}

/// Says `bytes` at once, then closes its side and reads on until we have gone.
fn say(bytes: Vec<u8>) -> (Peer, JoinHandle<()>) {
    fake(move |mut stream| {
        let _ = stream.write_all(&bytes);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    })
}

#[test]
fn a_connection_cut_at_any_byte_is_an_error() {
    let source = source();
    let options = TransferOptions { numeric_ids: true, checksum_seed: Some(1), ..options() };
    let said = record(&source, &options);
    for cut in 0..said.len() {
        let (peer, thread) = say(said[..cut].to_vec());
        let failure = push(&peer, &source, &options).expect_err("the end is missing");
        assert!(!failure.outcome.clean_end);
        let expected = matches!(failure.error, PushError::Closed { .. });
        assert!(expected, "cut at {cut} of {}: {:?}", said.len(), failure.error);
        thread.join().unwrap();
    }
    // Whole, it is the session again.
    let (peer, thread) = say(said);
    assert!(push(&peer, &source, &options).unwrap().clean_end);
    thread.join().unwrap();
}

#[test]
fn garbage_at_any_point_is_an_error_or_harmless() {
    let source = source();
    let options = TransferOptions { numeric_ids: true, checksum_seed: Some(1), ..options() };
    let said = record(&source, &options);
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..400 {
        let mut bytes = said.clone();
        let at = random.usize(..bytes.len());
        match random.u8(..3) {
            0 => bytes[at] ^= 1 << random.u8(..8),
            1 => bytes[at] = random.u8(..),
            _ => {
                bytes.truncate(at);
                bytes.extend(std::iter::repeat_with(|| random.u8(..)).take(300));
            }
        }
        let (peer, thread) = say(bytes);
        // A changed text or item flag may pass unnoticed; a panic or a hang may not.
        let _ = push(&peer, &source, &options);
        thread.join().unwrap();
    }
}

#[test]
fn something_else_than_a_daemon_is_recognised() {
    let source = source();
    let (peer, thread) = say(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec());
    let error = push(&peer, &source, &options()).unwrap_err().error;
    assert!(matches!(error, PushError::NotRsync { .. }), "{error:?}");
    assert_eq!(error.exit_code(), 5);
    thread.join().unwrap();

    let (peer, thread) = say(b"@RSYNCD: 29.0\n".to_vec());
    let error = push(&peer, &source, &options()).unwrap_err().error;
    assert!(matches!(error, PushError::Protocol { .. }), "{error:?}");
    thread.join().unwrap();
}

#[test]
fn silence_ends_a_session() {
    let source = source();
    let hold = |bytes: &'static [u8]| {
        fake(move |mut stream| {
            stream.write_all(bytes).unwrap();
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        })
    };
    let short = TransferOptions { timeout: Some(Duration::from_secs(1)), ..options() };
    for said in [&b""[..], b"@RSYNCD: 32.0 md5\n", b"@RSYNCD: 32.0 md5\n@RSYNCD: OK\n\x81\xff"] {
        let (peer, thread) = hold(said);
        let error = push(&peer, &source, &short).unwrap_err().error;
        assert!(matches!(error, PushError::Timeout { .. }), "{error:?}");
        assert_eq!(error.exit_code(), 30);
        thread.join().unwrap();
    }
}

#[test]
fn a_daemon_without_the_usual_flags_gets_a_second_connection() {
    let source = source();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let thread = std::thread::spawn(move || {
        let (mut first, _) = listener.accept().unwrap();
        // None of the flags that every known daemon of this protocol has.
        first.write_all(b"@RSYNCD: 32.0 md5\n@RSYNCD: OK\n\x00").unwrap();
        let _ = std::io::copy(&mut first, &mut std::io::sink());
        let (mut second, _) = listener.accept().unwrap();
        second.write_all(b"@RSYNCD: 32.0 md5\n@RSYNCD: OK\n").unwrap();
        second.shutdown(std::net::Shutdown::Write).unwrap();
        let mut said = Vec::new();
        second.read_to_end(&mut said).unwrap();
        said
    });
    let url = DaemonUrl::parse(&format!("rsync://127.0.0.1:{port}/m")).unwrap();
    let peer = Peer { url, default_user: "u".to_owned(), password: None };
    let error = push(&peer, &source, &options()).unwrap_err().error;
    assert!(matches!(error, PushError::Closed { .. }), "{error:?}");
    let said = thread.join().unwrap();
    assert!(said.ends_with(b".\0m/\0\0"), "nothing follows the arguments");
}

/// Wants out as soon as it is asked the second time.
struct Leaving(std::cell::Cell<u32>);

impl Driver for Leaving {
    fn open(&mut self, _: &Listed<'_>) -> Result<Box<dyn Content>, Refusal> {
        Err(Refusal::HeldBack)
    }
    fn applied(&mut self, _: &Listed<'_>) {}
    fn sent(&mut self, _: &Listed<'_>, _: SentOutcome) {}
    fn deleted(&mut self, _: &[u8], _: bool) {}
    fn message(&mut self, _: Level, _: &[u8]) {}
    fn cancelled(&self) -> bool {
        self.0.set(self.0.get() + 1);
        self.0.get() > 3
    }
}

#[test]
fn a_cancelled_session_ends_though_the_peer_is_silent() {
    let source = source();
    let (peer, thread) = fake(|mut stream| {
        let _ = std::io::copy(&mut stream, &mut std::io::sink());
    });
    let mut tree = DiskTree::new(Root::open(source.path()).unwrap(), &options());
    let mut leaving = Leaving(std::cell::Cell::new(0));
    let push = push_tree(&peer, &options(), TreePush::default(), &mut tree, &mut leaving);
    assert!(matches!(push.unwrap_err().error, PushError::Cancelled));
    thread.join().unwrap();
}
