//! Sources that change under our hands, and peers that do not keep to the protocol.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;

use driftless_transfer::connect::shell::RemoteShell;
use driftless_transfer::connect::stream::Stream;
use driftless_transfer::connect::{Connection, Direction, End};
use driftless_transfer::driver::Level;
use driftless_transfer::options::ConnectOptions;
use driftless_transfer::remote_args::{ServerArgs, ServerSide};
use driftless_transfer::report::{ListProgress, Message, Quiet};
use driftless_transfer::{
    Ending, PushError, Report, Request, SessionFailure, TransferOptions, send,
};

use crate::support::Place;

fn options() -> TransferOptions {
    let mut options = TransferOptions::default();
    options.selection.recursive = true;
    options
}

fn request(place: &Place) -> Request {
    let mut source = place.path("src").into_os_string().into_encoded_bytes();
    source.push(b'/');
    Request { sources: vec![source], ..Request::default() }
}

/// Acts once the list is out, and keeps what is said.
struct Meddler<'a> {
    act: &'a dyn Fn(),
    said: Vec<(Level, String)>,
}

impl Report for Meddler<'_> {
    fn listing(&mut self, progress: ListProgress) {
        if matches!(progress, ListProgress::Complete(_)) {
            (self.act)();
        }
    }

    fn message(&mut self, message: &Message<'_>) {
        self.said.push((message.level, String::from_utf8_lossy(message.text).into_owned()));
    }
}

/// Pushes to the real server, with `act` between listing and sending.
fn push(place: &Place, act: &dyn Fn()) -> (Ending, Vec<(Level, String)>) {
    let options = options();
    let to = place.path("to").into_os_string().into_encoded_bytes();
    let shell = RemoteShell {
        command: vec![place.path("sh").into_os_string().into_encoded_bytes()],
        host: b"h".to_vec(),
        program: b"rsync".to_vec(),
        args: ServerArgs::new(&options, &ConnectOptions::default(), ServerSide::Receives)
            .for_shell(&[to]),
        ..RemoteShell::default()
    };
    let mut report = Meddler { act, said: Vec::new() };
    let established = Connection::shell(&shell, &options)
        .unwrap()
        .negotiate(End::Client, Direction::Send, &options, &mut report)
        .unwrap();
    let ending = send(established, &options, &request(place), &mut report).unwrap();
    (ending, report.said)
}

#[test]
fn a_source_that_vanishes_is_a_warning() {
    let place = Place::with_trees();
    let gone = place.path("src/x.tmp");
    let (ending, said) = push(&place, &|| fs::remove_file(&gone).unwrap());
    assert_eq!(ending.exit_code(), 24, "{said:?}");
    let text = format!("file has vanished: \"{}\"", gone.display());
    assert!(said.contains(&(Level::Warning, text)), "{said:?}");
    assert!(place.path("to/a/b/big").exists());
}

#[test]
fn a_link_in_a_files_place_is_not_followed() {
    let place = Place::with_trees();
    fs::write(place.path("secret"), "secret").unwrap();
    let (file, dir) = (place.path("src/x.tmp"), place.path("src/a"));
    let (ending, said) = push(&place, &|| {
        fs::remove_file(&file).unwrap();
        std::os::unix::fs::symlink("../secret", &file).unwrap();
        fs::rename(&dir, place.path("moved")).unwrap();
        std::os::unix::fs::symlink(place.path("moved"), &dir).unwrap();
    });
    assert_ne!(ending.exit_code(), 0, "{said:?}");
    let sent: Vec<PathBuf> = ["to/x.tmp", "to/a/b/big"].map(|name| place.path(name)).to_vec();
    for path in sent {
        assert!(!path.exists(), "{}", path.display());
    }
}

#[test]
fn a_file_that_grows_is_sent_as_it_is_when_it_is_opened() {
    let place = Place::with_trees();
    let grown = place.path("src/x.tmp");
    let (ending, said) = push(&place, &|| fs::write(&grown, vec![b'g'; 100_000]).unwrap());
    assert_eq!(ending.exit_code(), 0, "{said:?}");
    assert_eq!(fs::read(place.path("to/x.tmp")).unwrap(), vec![b'g'; 100_000]);
}

/// What our server makes of a client that says `client` after the setup of protocol 32.
fn serve(place: &Place, client: &[u8]) -> Result<Ending, Box<SessionFailure>> {
    let (ours, mut theirs) = UnixStream::pair().unwrap();
    let start = [&b"\x20\0\0\0"[..], b"\x06xxh128", client].concat();
    let mut reader = theirs.try_clone().unwrap();
    let drain = thread::spawn(move || {
        let mut all = Vec::new();
        let _ = reader.read_to_end(&mut all);
    });
    theirs.write_all(&start).unwrap();
    theirs.shutdown(std::net::Shutdown::Write).unwrap();
    let options = options();
    let end = End::Server { client_info: Some(b".iLsfxCIvu".to_vec()) };
    let stream = Stream::socket(ours).unwrap();
    let established = Connection::new(stream, None, &options)
        .negotiate(end, Direction::Send, &options, &mut Quiet)
        .unwrap();
    let result = send(established, &options, &request(place), &mut Quiet);
    drop(theirs);
    drain.join().unwrap();
    result
}

/// Data in one frame.
fn frame(data: &[u8]) -> Vec<u8> {
    let mut frame = (data.len() as u32).to_le_bytes().to_vec();
    frame[3] = 7;
    frame.extend_from_slice(data);
    frame
}

#[test]
fn a_client_that_breaks_the_protocol_ends_its_session() {
    let place = Place::with_trees();
    let no_rules = [0; 4];
    let cases: [(&str, Vec<u8>, u8); 7] = [
        ("it goes at once", Vec::new(), 12),
        ("a rule of two gigabytes", frame(&[0xff, 0xff, 0xff, 0x7f]), 2),
        ("a rule that is none", frame(b"\x05\0\0\0bogus\0\0\0\0"), 1),
        ("an unknown number", frame(&[&no_rules[..], b"\xfe\x7f\xff\0\xa0"].concat()), 2),
        ("content of a directory", frame(&[&no_rules[..], b"\x01\0\xa0"].concat()), 2),
        ("an internal message", [frame(&no_rules), b"\0\0\0\x10".to_vec()].concat(), 12),
        ("a list of lists", frame(&[&no_rules[..], b"\xff\x01"].concat()), 2),
    ];
    for (what, bytes, code) in cases {
        let failure = serve(&place, &bytes).expect_err(what);
        assert_eq!(failure.error.exit_code(), code, "{what}: {failure:?}");
        assert!(!matches!(failure.error, PushError::Cancelled), "{what}");
    }
}
