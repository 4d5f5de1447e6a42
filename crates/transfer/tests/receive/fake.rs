//! A client that sends whatever it likes, written without our own sender.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::script::requests_ended;
pub use crate::script::{FILE, Script};
use driftless_proto::int::{put_int, put_vstring};
use driftless_proto::mux::{Demux, Tag, put_frame};
use driftless_proto::setup::{CompatFlags, take_names, take_seed, take_version};
use driftless_transfer::connect::stream::Stream;
use driftless_transfer::connect::{Connection, Direction, End};
use driftless_transfer::report::Quiet;
use driftless_transfer::{Ending, Request, SessionFailure, TransferOptions, receive};

pub fn options() -> TransferOptions {
    let mut options = TransferOptions {
        links: true,
        times: true,
        silence_limit: Some(Duration::from_secs(20)),
        ..TransferOptions::plain()
    };
    options.selection.recursive = true;
    options
}

/// Runs a receiving server against a client that says all of `script` and closes its side.
pub fn receive_from(
    script: &Script,
    incremental: bool,
    options: &TransferOptions,
    destination: &Path,
) -> Result<Ending, Box<SessionFailure>> {
    let (before, behind) = script.data.split_at(script.pause.unwrap_or(script.data.len()));
    let (before, behind) = (frames(before), frames(behind));
    let (waits, patience) = (script.pause.is_some(), script.patience);
    let client = move |stream: &mut UnixStream| {
        let mut heard = Vec::new();
        let _ = stream.write_all(&before);
        stream.set_read_timeout(patience).unwrap();
        let mut room = [0; 4096];
        while waits && !has_requests(&heard) {
            match stream.read(&mut room) {
                Ok(count @ 1..) => heard.extend_from_slice(&room[..count]),
                _ => break,
            }
        }
        let _ = stream.write_all(&behind);
    };
    receive_beside(client, incremental, options, destination)
}

/// As [`receive_from`]; the client does `meanwhile` before it says the rest.
pub fn receive_with(
    meanwhile: impl FnOnce() + Send + 'static,
    [before, behind]: [Script; 2],
    options: &TransferOptions,
    destination: &Path,
) -> Result<Ending, Box<SessionFailure>> {
    let client = move |stream: &mut UnixStream| {
        let _ = stream.write_all(&frames(&before.data));
        meanwhile();
        let _ = stream.write_all(&frames(&behind.data));
    };
    receive_beside(client, true, options, destination)
}

fn frames(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in data.chunks(50_000) {
        put_frame(&mut out, Tag::Data, piece);
    }
    out
}

/// Runs a receiving server; `client` speaks after the setup, and closes its side when it is done.
fn receive_beside(
    client: impl FnOnce(&mut UnixStream) + Send + 'static,
    incremental: bool,
    options: &TransferOptions,
    destination: &Path,
) -> Result<Ending, Box<SessionFailure>> {
    let (ours, mut stream) = UnixStream::pair().unwrap();
    let client = std::thread::spawn(move || {
        let mut setup = Vec::new();
        put_int(&mut setup, 32);
        put_vstring(&mut setup, b"md5");
        let _ = stream.write_all(&setup);
        client(&mut stream);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        stream.set_read_timeout(None).unwrap();
        let _ = stream.read_to_end(&mut Vec::new());
    });
    let info = if incremental { &b".iLsfxCIvu"[..] } else { b".LsfxCIvu" };
    let end = End::Server { client_info: Some(info.to_vec()) };
    let destination = destination.to_str().unwrap().as_bytes().to_vec();
    let request = Request { destination: Some(destination), ..Request::default() };
    let stream = Stream::socket(ours).unwrap();
    let established = Connection::new(stream, None, options)
        .negotiate(end, Direction::Receive, options, &mut Quiet)
        .expect("the setup is correct");
    let result = receive(established, options, &request, &mut Quiet);
    client.join().unwrap();
    result
}

/// Whether the first phase's requests are among what a server says.
fn has_requests(heard: &[u8]) -> bool {
    let end = |input: &mut &[u8]| {
        take_version(input)?;
        CompatFlags::take(input)?;
        take_names(input)?;
        take_seed(input)?;
        let mut data = Vec::new();
        while Demux::new().feed(input, &mut data).is_ok_and(|message| message.is_some()) {}
        requests_ended(&data)
    };
    end(&mut &*heard).is_ok()
}
