//! A client that sends whatever it likes, written without our own sender.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use driftless_proto::Decode;
use driftless_proto::int::{put_int, put_varint, put_varlong, put_vstring};
use driftless_proto::item::{Item, ItemFlags};
use driftless_proto::mux::{Demux, Tag, put_frame};
use driftless_proto::ndx::{NdxReader, NdxValue, NdxWriter};
use driftless_proto::setup::{CompatFlags, take_names, take_seed, take_version};
use driftless_proto::sums::SumHead;
use driftless_transfer::connect::stream::Stream;
use driftless_transfer::connect::{Connection, Direction, End};
use driftless_transfer::report::Quiet;
use driftless_transfer::{Ending, Request, SessionFailure, TransferOptions, receive};

pub const FILE: u32 = 0o100_644;
pub const DIR: u32 = 0o040_755;
pub const LINK: u32 = 0o120_777;

/// What a client says after the setup.
pub struct Script {
    pub data: Vec<u8>,
    /// What comes from here on is said when the first phase's requests have come.
    pub pause: Option<usize>,
    /// Longest wait for them, where they may never come and nothing depends on it.
    pub patience: Option<Duration>,
    ndx: NdxWriter,
}

impl Script {
    pub fn new() -> Self {
        Self { data: Vec::new(), pause: None, patience: None, ndx: NdxWriter::new(32) }
    }

    /// An entry with all fields; links need their text.
    pub fn entry(mut self, name: &[u8], mode: u32, size: i64, target: &[u8]) -> Self {
        let out = &mut self.data;
        let long = name.len() > 255;
        put_varint(out, if long { 0x44 } else { 0x04 });
        match long {
            true => put_varint(out, name.len() as i32),
            false => out.push(name.len() as u8),
        }
        out.extend_from_slice(name);
        put_varlong(out, size, 3);
        put_varlong(out, 1_600_000_000, 4);
        put_int(out, mode as i32);
        if mode == LINK {
            put_varint(out, target.len() as i32);
            out.extend_from_slice(target);
        }
        self
    }

    pub fn dir(self, name: &[u8]) -> Self {
        self.entry(name, DIR, 4096, b"")
    }

    pub fn file(self, name: &[u8], size: i64) -> Self {
        self.entry(name, FILE, size, b"")
    }

    pub fn link(self, name: &[u8], target: &[u8]) -> Self {
        self.entry(name, LINK, target.len() as i64, target)
    }

    pub fn end(mut self) -> Self {
        self.data.extend_from_slice(&[0, 0]);
        self
    }

    pub fn number(mut self, value: NdxValue) -> Self {
        self.ndx.put(&mut self.data, value);
        self
    }

    /// The start of an answer with content, after the requests.
    pub fn answer(mut self, ndx: u32, flags: u16) -> Self {
        self.pause.get_or_insert(self.data.len());
        self.ndx.put(&mut self.data, NdxValue::Item(ndx));
        Item::new(flags).put(&mut self.data);
        self
    }

    pub fn head(mut self, head: SumHead) -> Self {
        head.put(&mut self.data);
        self
    }

    pub fn literal(mut self, bytes: &[u8]) -> Self {
        put_int(&mut self.data, bytes.len() as i32);
        self.data.extend_from_slice(bytes);
        self
    }

    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.data.extend_from_slice(bytes);
        self
    }
}

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
        while waits && !requests_ended(&heard) {
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

/// Whether the first phase's requests, all without a basis, are among what a server says.
fn requests_ended(heard: &[u8]) -> bool {
    let end = |input: &mut &[u8]| {
        take_version(input)?;
        CompatFlags::take(input)?;
        take_names(input)?;
        take_seed(input)?;
        let mut data = Vec::new();
        while Demux::new().feed(input, &mut data).is_ok_and(|message| message.is_some()) {}
        let mut input = data.as_slice();
        let mut numbers = NdxReader::new(32);
        while numbers.take(&mut input)? != NdxValue::Done {
            if Item::take(&mut input)?.has(ItemFlags::TRANSFER) {
                SumHead::take(&mut input, 32, 16)?;
            }
        }
        Ok::<_, Decode>(())
    };
    end(&mut &*heard).is_ok()
}
