//! Any bytes for a stream of a peer, in either role: the session ends, and nothing outside the
//! destination is touched. What the fuzz targets run, and the replay of what they found worth
//! keeping.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;

use driftless_proto::int::{put_int, put_vstring};
use driftless_proto::mux::{Tag, put_frame};
use driftless_transfer::connect::stream::Stream;
use driftless_transfer::connect::{Connection, Direction, End};
use driftless_transfer::options::{Append, DeleteWhen, TransferOptions};
use driftless_transfer::report::Quiet;
use driftless_transfer::{Request, receive, send};

use crate::fake::options;

/// Options from two bytes, so that they are part of what is tried.
fn varied(bits: u16) -> TransferOptions {
    let on = |bit: u16| bits >> bit & 1 == 1;
    let mut options = options();
    options.hard_links = on(1);
    options.devices = on(2);
    options.specials = on(2);
    options.owner = on(3);
    options.group = on(3);
    options.perms = on(4);
    options.sparse = on(5);
    options.write.inplace = on(6);
    options.write.append = if on(7) { Append::Trusting } else { Append::Off };
    options.metadata.xattrs = u8::from(on(8));
    options.metadata.acls = on(8);
    options.delete.when = on(9).then_some(DeleteWhen::During);
    options.delay_updates = on(10);
    options.selection.relative = on(11);
    options.update.checksum = on(12);
    options.write.partial = on(13);
    options.dry_run = on(14);
    options
}

/// What a client says: the setup, then `data` in frames, or as it is where `raw` says so.
fn said(data: &[u8], raw: bool) -> Vec<u8> {
    let mut said = Vec::new();
    put_int(&mut said, 32);
    put_vstring(&mut said, b"md5");
    if raw {
        said.extend_from_slice(data);
    } else {
        for piece in data.chunks(50_000) {
            put_frame(&mut said, Tag::Data, piece);
        }
    }
    said
}

/// Runs a server of ours in `folder` against a client that says all of `input`.
fn serve(input: &[u8], direction: Direction, folder: &Path) {
    let Some(([low, high], data)) = input.split_first_chunk() else { return };
    let bits = u16::from_le_bytes([*low, *high]);
    let options = varied(bits);
    let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let words = said(data, bits >> 15 & 1 == 1);
    let client = std::thread::spawn(move || {
        let mut stream = theirs;
        // The server may be gone before it has heard everything.
        let _ = stream.write_all(&words);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let info = if bits & 1 == 1 { &b".iLsfxCIvu"[..] } else { b".LsfxCIvu" };
    let end = End::Server { client_info: Some(info.to_vec()) };
    let path = |name: &str| folder.join(name).into_os_string().into_encoded_bytes();
    let stream = Stream::socket(ours).expect("a socket is a stream");
    let session =
        Connection::new(stream, None, &options).negotiate(end, direction, &options, &mut Quiet);
    // Whatever comes of it, it comes to an end.
    if let Ok(session) = session {
        match direction {
            Direction::Receive => {
                let request = Request { destination: Some(path("dst")), ..Request::default() };
                let _ = receive(session, &options, &request, &mut Quiet);
            }
            Direction::Send => {
                let mut source = path("src");
                source.push(b'/');
                let request = Request { sources: vec![source], ..Request::default() };
                let _ = send(session, &options, &request, &mut Quiet);
            }
        }
    }
    client.join().expect("the client says its piece");
}

/// Runs a session of `direction` and looks at what lies around it.
///
/// # Panics
/// When something outside has changed, or the session panics.
pub fn session(input: &[u8], direction: Direction, parent: &Path) {
    let folder = tempfile::tempdir_in(parent).expect("room for a session");
    let path = |name: &str| folder.path().join(name);
    for dir in ["dst/d", "outside", "src/d"] {
        fs::create_dir_all(path(dir)).expect("the folder is ours");
    }
    for (file, text) in
        [("dst/d/old", "old"), ("dst/f", "old text"), ("src/f", "text"), ("src/d/g", "")]
    {
        fs::write(path(file), text).expect("the folder is ours");
    }
    fs::write(path("outside/canary"), "alive").expect("the folder is ours");
    serve(input, direction, folder.path());
    let names = |dir: &Path| {
        let entries = fs::read_dir(dir).expect("it is still there");
        let mut names: Vec<_> = entries.map(|entry| entry.expect("listed").file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(folder.path()), ["dst", "outside", "src"]);
    assert_eq!(names(&path("outside")), ["canary"]);
    assert_eq!(fs::read(path("outside/canary")).expect("it lives"), b"alive");
    let source = (fs::read(path("src/f")), fs::read(path("src/d/g")));
    assert!(matches!(source, (Ok(f), Ok(g)) if f == b"text" && g.is_empty()));
}
