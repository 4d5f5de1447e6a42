//! Signs of life, timeouts that the daemon sets, and giving up in the middle of a file.

use std::cell::Cell;
use std::fs;
use std::io::{self, Read, Write};
use std::rc::Rc;
use std::time::{Duration, Instant};

use driftless_fs::Root;
use driftless_transfer::source::DiskTree;
use driftless_transfer::{
    Content, Driver, Level, Listed, PushError, Refusal, SentOutcome, TransferOptions, TreePush,
    push_tree,
};

use crate::daemon::{Daemon, options};
use crate::hostile::{fake, push, record, source};
use crate::tree::Recorder;

const KEEP_ALIVE: [u8; 4] = [0, 0, 0, 7];

/// How many of the recorded bytes are the handshake and the setup.
fn setup_len(said: &[u8]) -> usize {
    const OK: &[u8] = b"@RSYNCD: OK\n";
    let at = said.windows(OK.len()).position(|window| window == OK).unwrap() + OK.len();
    // Two bytes of flags, the checksums with their length before them, and the seed.
    at + 2 + 1 + usize::from(said[at + 2]) + 4
}

/// The setup of a session, then `more`, then silence until we leave. Returns how the push ended and
/// what the daemon heard.
fn silent_after(more: &'static [u8], timeout: Option<Duration>) -> (PushError, Vec<u8>) {
    let source = source();
    let options = TransferOptions {
        numeric_ids: true,
        checksum_seed: Some(1),
        timeout,
        hard_links: false,
        ..TransferOptions::default()
    };
    let said = record(&source, &options);
    let heard = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let hears = heard.clone();
    let (peer, thread) = fake(move |mut stream| {
        stream.write_all(&[&said[..setup_len(&said)], more].concat()).unwrap();
        let limit = Instant::now() + Duration::from_secs(60);
        let mut buffer = [0; 4096];
        while let Ok(len @ 1..) = stream.read(&mut buffer) {
            hears.lock().unwrap().extend_from_slice(&buffer[..len]);
            assert!(Instant::now() < limit, "the session goes on without an answer");
        }
    });
    let error = push(&peer, &source, &options).unwrap_err().error;
    thread.join().unwrap();
    let heard = heard.lock().unwrap().clone();
    (error, heard)
}

#[test]
fn a_waiting_session_gives_signs_of_life_which_do_not_hide_that_the_peer_gives_none() {
    let (error, heard) = silent_after(b"", Some(Duration::from_secs(2)));
    assert!(matches!(error, PushError::Timeout { .. }), "{error:?}");
    assert!(heard.ends_with(&KEEP_ALIVE), "{heard:?}");
}

#[test]
fn a_daemon_can_set_and_lower_the_timeout() {
    // A message that says: one second.
    const ONE_SECOND: &[u8] = &[4, 0, 0, 7 + 33, 1, 0, 0, 0];
    for timeout in [None, Some(Duration::from_secs(1000))] {
        let (error, heard) = silent_after(ONE_SECOND, timeout);
        assert!(matches!(error, PushError::Timeout { .. }), "{error:?}");
        assert!(!heard.is_empty());
    }
}

/// Cancelled once the first bytes of a file were read.
struct Fickle {
    recorder: Recorder,
    cancelled: Rc<Cell<bool>>,
}

struct SlowContent {
    inner: Box<dyn Content>,
    cancelled: Rc<Cell<bool>>,
}

impl Content for SlowContent {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn chunk(&mut self, offset: u64) -> io::Result<&[u8]> {
        if offset > 0 {
            self.cancelled.set(true);
            // Like a disk that is slow: the session looks about in long work only.
            std::thread::sleep(Duration::from_millis(60));
        }
        self.inner.chunk(offset)
    }

    fn unchanged(&mut self) -> bool {
        self.inner.unchanged()
    }
}

impl Driver for Fickle {
    fn open(&mut self, item: &Listed<'_>) -> Result<Box<dyn Content>, Refusal> {
        let inner = self.recorder.open(item)?;
        Ok(Box::new(SlowContent { inner, cancelled: self.cancelled.clone() }))
    }

    fn applied(&mut self, item: &Listed<'_>) {
        self.recorder.applied(item);
    }

    fn sent(&mut self, item: &Listed<'_>, outcome: SentOutcome) {
        self.recorder.sent(item, outcome);
    }

    fn deleted(&mut self, name: &[u8], is_dir: bool) {
        self.recorder.deleted(name, is_dir);
    }

    fn message(&mut self, level: Level, text: &[u8]) {
        self.recorder.message(level, text);
    }

    fn cancelled(&self) -> bool {
        self.cancelled.get()
    }
}

#[test]
fn a_session_cancelled_in_the_middle_of_a_file_leaves_the_old_one() {
    for basis in [true, false] {
        let daemon = Daemon::start("");
        let source = tempfile::tempdir().unwrap();
        let content: Vec<u8> =
            (0..4_000_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        fs::write(source.path().join("f"), &content).unwrap();
        let old = daemon.module().join("f");
        if basis {
            fs::write(&old, &content[..3_000_000]).unwrap();
        }
        let mut driver =
            Fickle { recorder: Recorder::new(source.path()), cancelled: Rc::default() };
        let mut tree = DiskTree::new(Root::open(source.path()).unwrap(), &options());
        let tree_push = TreePush::default();
        let failure = push_tree(&daemon.peer(), &options(), tree_push, &mut tree, &mut driver);
        let failure = failure.unwrap_err();
        assert!(matches!(failure.error, PushError::Cancelled), "{:?}", failure.error);
        assert!(driver.recorder.sent.is_empty(), "{:?}", driver.recorder.sent);
        // The daemon takes its temporary file away.
        let limit = Instant::now() + Duration::from_secs(60);
        let expected = usize::from(basis);
        while fs::read_dir(daemon.module()).unwrap().count() != expected {
            assert!(Instant::now() < limit, "a temporary file stays");
            std::thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(fs::read(&old).ok(), basis.then(|| content[..3_000_000].to_vec()));
    }
}
