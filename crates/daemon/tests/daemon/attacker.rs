//! A client that says whatever it likes to a daemon.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU8, Ordering};

use driftless_proto::Decode;
use driftless_proto::auth::{Digest, respond};
use driftless_proto::int::put_vstring;
use driftless_proto::mux::{Demux, Tag, put_frame};
use driftless_proto::setup::{CompatFlags, take_names, take_seed};
use driftless_testkit::wait;
use socket2::{Domain, Socket, Type};

use crate::pair::Daemon;

// The receiving side's own tests use all of it.
#[allow(dead_code)]
#[path = "../../../transfer/tests/receive/script.rs"]
mod script;

pub use script::{FILE, Script, requests_ended};

/// What a client asks for that pushes into the module `w`.
pub const PUSH: &[&str] = &["--server", "-ltre.LsfxCIvu", ".", "w/"];

/// What a client asks for that pulls the module `w`.
pub const PULL: &[&str] = &["--server", "--sender", "-ltre.LsfxCIvu", ".", "w/"];

/// A connection to the daemon from this end of the loopback network.
pub fn connect_from(daemon: &Daemon, last: u8) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((Ipv4Addr::new(127, 0, 0, last), 0)).into()).unwrap();
    socket.connect(&SocketAddr::from((Ipv4Addr::LOCALHOST, daemon.port)).into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(wait::GENEROUS)).unwrap();
    stream.set_write_timeout(Some(wait::GENEROUS)).unwrap();
    stream
}

/// Greeting, module and arguments.
pub fn opening(args: &[&str]) -> Vec<u8> {
    let mut text = b"@RSYNCD: 32.0 md5\nw\n".to_vec();
    for arg in args {
        text.extend_from_slice(arg.as_bytes());
        text.push(0);
    }
    text.push(0);
    text
}

/// As [`opening`], and the client's part of the setup: from here on there are frames.
pub fn agreed(args: &[&str]) -> Vec<u8> {
    let mut text = opening(args);
    put_vstring(&mut text, b"md5");
    text
}

/// Protocol data in frames.
pub fn framed(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    for piece in data.chunks(50_000) {
        put_frame(&mut out, Tag::Data, piece);
    }
    out
}

/// Asks for a module as somebody; returns all that the daemon says, up to its closing the connection or
/// letting the client in. Each comes from another address: failures from one make the next ones slow.
pub fn log_in(daemon: &Daemon, module: &str, user: &str, password: &str) -> String {
    static LAST: AtomicU8 = AtomicU8::new(0);
    let last = LAST.fetch_add(1, Ordering::Relaxed) % 250 + 2;
    let mut stream = connect_from(daemon, last);
    stream.write_all(format!("@RSYNCD: 32.0 sha256\n{module}\n").as_bytes()).unwrap();
    let mut heard = String::new();
    let mut byte = [0];
    while !heard.ends_with("@RSYNCD: OK\n") && stream.read(&mut byte).is_ok_and(|count| count == 1)
    {
        heard.push(char::from(byte[0]));
        let line = heard.lines().last().unwrap_or_default();
        if let Some(challenge) = line.strip_prefix("@RSYNCD: AUTHREQD ")
            && byte[0] == b'\n'
        {
            let response = respond(Digest::Sha256, password.as_bytes(), challenge.as_bytes(), 32);
            stream.write_all(format!("{user} {response}\n").as_bytes()).unwrap();
        }
    }
    heard
}

/// Says all of it, and hears the daemon out. Returns what it said.
pub fn say(daemon: &Daemon, bytes: &[u8]) -> Vec<u8> {
    let mut stream = connect_from(daemon, 1);
    let mut other = stream.try_clone().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _ = other.write_all(bytes);
            let _ = other.shutdown(Shutdown::Write);
        });
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        heard
    })
}

/// What a daemon that has let the client in says in frames, up to where they are whole.
fn data_in(heard: &[u8]) -> Result<Vec<u8>, Decode> {
    let end = b"@RSYNCD: OK\n";
    let at = heard.windows(end.len()).position(|part| part == end).ok_or(Decode::Incomplete)?;
    let mut input = &heard[at + end.len()..];
    CompatFlags::take(&mut input)?;
    take_names(&mut input)?;
    take_seed(&mut input)?;
    let mut data = Vec::new();
    while Demux::new().feed(&mut input, &mut data).is_ok_and(|message| message.is_some()) {}
    Ok(data)
}

/// What the daemon sends in a session in which all of the script was said.
pub fn data_of(daemon: &Daemon, args: &[&str], script: &Script) -> Vec<u8> {
    let heard = say(daemon, &[agreed(args), framed(&script.data)].concat());
    data_in(&heard).expect("the client was let in")
}

/// Pushes by a script, whose answers wait for the requests.
pub fn push_in_turn(daemon: &Daemon, args: &[&str], script: &Script) {
    let (before, behind) = script.data.split_at(script.pause.expect("it answers"));
    let mut stream = connect_from(daemon, 1);
    stream.write_all(&[agreed(args), framed(before)].concat()).unwrap();
    let mut heard = Vec::new();
    let mut room = [0; 4096];
    while !data_in(&heard).is_ok_and(|data| requests_ended(&data).is_ok()) {
        let count = stream.read(&mut room).unwrap();
        assert!(count > 0, "{}", heard.escape_ascii());
        heard.extend_from_slice(&room[..count]);
    }
    let _ = stream.write_all(&framed(behind));
    let _ = stream.shutdown(Shutdown::Write);
    let _ = stream.read_to_end(&mut heard);
}

/// What the daemon logs of the session in which this was said, up to its exit code.
#[track_caller]
pub fn log_of(daemon: &Daemon, bytes: &[u8]) -> (String, i32) {
    log_while(daemon, || drop(say(daemon, bytes)))
}

/// What the daemon logs of the session in which somebody acts, up to its exit code.
#[track_caller]
pub fn log_while(daemon: &Daemon, act: impl FnOnce()) -> (String, i32) {
    let log = daemon.path("log");
    let before = fs::read(&log).unwrap().len();
    act();
    wait::until("the session's code in the log", wait::GENEROUS, || {
        let text = fs::read(&log).unwrap();
        let text = String::from_utf8_lossy(&text[before..]).into_owned();
        let line = text.lines().find(|line| line.contains("] rsync error: "))?;
        // Not all of the line may be there yet.
        let (_, code) = line.rsplit_once("(code ")?;
        let code = code.split_once(')')?.0.parse().ok()?;
        Some((text, code))
    })
}

/// The rolling sum of a block below 128. Protocol reference, "Sums".
pub fn rolling(text: &[u8]) -> u32 {
    let (sum, weighted) = text.iter().fold((0u32, 0u32), |(sum, weighted), byte| {
        let sum = sum.wrapping_add(u32::from(*byte));
        (sum, weighted.wrapping_add(sum))
    });
    (sum & 0xffff) | weighted << 16
}

/// All that a tree holds, with all attributes that somebody might change.
pub fn snapshot(root: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let mut found = Vec::new();
    let mut left = vec![root.to_owned()];
    while let Some(path) = left.pop() {
        let meta = fs::symlink_metadata(&path).unwrap();
        let content = match meta.file_type() {
            kind if kind.is_dir() => {
                left.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
                Vec::new()
            }
            kind if kind.is_symlink() => {
                fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()
            }
            kind if kind.is_file() => fs::read(&path).unwrap(),
            _ => Vec::new(),
        };
        // A change of anything, extended attributes and links included, is in the ctime.
        found.push(format!(
            "{} mode {:o} owner {}:{} links {} size {} mtime {}.{} ctime {}.{} {}",
            path.display(),
            meta.mode(),
            meta.uid(),
            meta.gid(),
            meta.nlink(),
            meta.size(),
            meta.mtime(),
            meta.mtime_nsec(),
            meta.ctime(),
            meta.ctime_nsec(),
            content.escape_ascii(),
        ));
    }
    found.sort();
    found
}
