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
    let (ours, theirs) = UnixStream::pair().unwrap();
    let frames = |data: &[u8]| {
        let mut out = Vec::new();
        for piece in data.chunks(50_000) {
            put_frame(&mut out, Tag::Data, piece);
        }
        out
    };
    let (before, behind) = script.data.split_at(script.pause.unwrap_or(script.data.len()));
    let mut said = Vec::new();
    put_int(&mut said, 32);
    put_vstring(&mut said, b"md5");
    said.extend_from_slice(&frames(before));
    let (waits, behind) = (script.pause.is_some(), frames(behind));
    let patience = script.patience;
    let client = std::thread::spawn(move || {
        let mut stream = theirs;
        let _ = stream.write_all(&said);
        stream.set_read_timeout(patience).unwrap();
        let mut heard = Vec::new();
        let mut room = [0; 4096];
        while waits && !has_requests(&heard) {
            match stream.read(&mut room) {
                Ok(count @ 1..) => heard.extend_from_slice(&room[..count]),
                _ => break,
            }
        }
        let _ = stream.write_all(&behind);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        stream.set_read_timeout(None).unwrap();
        let _ = stream.read_to_end(&mut heard);
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
