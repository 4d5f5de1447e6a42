//! Daemons that mean harm, beside the original client: it ends with the same code, and what lies
//! outside its destination stays as it is.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Command, Stdio};

use driftless_proto::int::{put_varint, put_vstring};
use driftless_proto::mux::{Tag, put_frame};
use driftless_proto::ndx::NdxValue;
use driftless_proto::sums::SumHead;
use driftless_testkit::peer::{Module, RsyncDaemon};

use crate::side_by_side::ours;

// The receiving side's own tests use all of it.
#[allow(dead_code)]
#[path = "../../../transfer/tests/receive/script.rs"]
mod script;

use script::{DIR, FILE, Script};

const CONTENT: u16 = 0x8000;

/// What a client said and left.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    code: Option<i32>,
    inside: Vec<String>,
}

fn read_to(stream: &mut TcpStream, end: &[u8]) {
    let mut heard = Vec::new();
    let mut byte = [0];
    while !heard.ends_with(end) && stream.read(&mut byte).is_ok_and(|count| count == 1) {
        heard.push(byte[0]);
    }
}

/// A daemon for one client: it says `before` in place of its greeting, if anything, or behind the
/// setup what the frames hold.
fn serve(listener: &TcpListener, before: &[u8], frames: &[u8]) {
    let (mut stream, _) = listener.accept().unwrap();
    if !before.is_empty() {
        let _ = stream.write_all(before);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
        return;
    }
    stream.write_all(b"@RSYNCD: 32.0 md5\n").unwrap();
    read_to(&mut stream, b"\n");
    read_to(&mut stream, b"\n");
    stream.write_all(b"@RSYNCD: OK\n").unwrap();
    read_to(&mut stream, b"\0\0");
    let mut setup = Vec::new();
    put_varint(&mut setup, 0x1fe);
    put_vstring(&mut setup, b"md5");
    setup.extend_from_slice(&7i32.to_le_bytes());
    let _ = stream.write_all(&setup);
    let _ = stream.write_all(frames);
    let _ = stream.shutdown(std::net::Shutdown::Write);
    let _ = stream.read_to_end(&mut Vec::new());
}

fn framed(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    data.chunks(50_000).for_each(|piece| put_frame(&mut out, Tag::Data, piece));
    out
}

fn message(tag: Tag, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    put_frame(&mut out, tag, payload);
    out
}

fn names_in(dir: &Path, shown: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(dir).into_iter().flatten() {
        let entry = entry.unwrap();
        let name = format!("{shown}{}", entry.file_name().display());
        if entry.file_type().unwrap().is_dir() {
            names_in(&entry.path(), &format!("{name}/"), found);
        }
        found.push(name);
    }
}

/// Runs a client against such a daemon; `words` are its options.
fn client(
    program: &Path,
    words: &[&str],
    path: &str,
    before: &[u8],
    frames: &[u8],
) -> (Left, String) {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir_all(at("outside")).unwrap();
    fs::write(at("outside/canary"), "alive").unwrap();
    fs::create_dir_all(at("d/kept")).unwrap();
    fs::write(at("d/kept/file"), "kept").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rsync://127.0.0.1:{}/m/{path}", listener.local_addr().unwrap().port());
    let output = std::thread::scope(|scope| {
        scope.spawn(|| serve(&listener, before, frames));
        Command::new("timeout")
            .arg("60")
            .arg(program)
            .args(words)
            .args([&url, "d/"])
            .current_dir(folder.path())
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .output()
            .expect("the program starts")
    });
    let mut beside = Vec::new();
    names_in(folder.path(), "", &mut beside);
    beside.retain(|name| !name.starts_with("d/"));
    beside.sort();
    assert_eq!(beside, ["d", "outside", "outside/canary"], "{words:?}");
    assert_eq!(fs::read(at("outside/canary")).unwrap(), b"alive");
    let mut inside = Vec::new();
    names_in(&at("d"), "", &mut inside);
    inside.sort();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (Left { code: output.status.code(), inside }, said)
}

/// Both clients leave the same and end alike, and not well; but it may be that one of them ends since
/// the other end has left.
#[track_caller]
fn check(words: &[&str], path: &str, before: &[u8], frames: &[u8]) -> String {
    let (theirs, _) = client("rsync".as_ref(), words, path, before, frames);
    let (found, said) = client(&ours(), words, path, before, frames);
    assert_eq!(found.inside, theirs.inside, "{words:?}: {said}");
    let alike = found.code == theirs.code || found.code == Some(12) || theirs.code == Some(12);
    let is_well = |left: &Left| left.code.is_none_or(|code| code == 0 || code == 124);
    assert!(alike && !is_well(&found) && !is_well(&theirs), "{found:?} {theirs:?} {said}");
    said
}

#[test]
fn a_list_leads_nowhere_but_into_the_destination() {
    let start = || Script::new().dir(b".");
    for script in [
        start().file(b"../outside/canary", 1).end(),
        start().file(b"a/../../outside/canary", 1).end(),
        start().file(b"/etc/passwd", 1).end(),
        start().link(b"l", b"../outside").file(b"l/canary", 3).end(),
        Script::new().entry(b".", FILE, 1, b"").end(),
        start().entry(b"x", 0o777, 1, b"").end(),
        start().file(b"x", 3).end().number(NdxValue::SubList(1)),
    ] {
        check(&["-rl"], "", b"", &framed(&script.data));
    }
}

#[test]
fn names_that_were_not_asked_for_are_rejected_and_delete_nothing() {
    let lists = [
        Script::new().entry(b"other", FILE, 1, b"").end(),
        Script::new().entry(b"x", DIR, 1, b"").entry(b".ssh/keys", FILE, 1, b"").end(),
        // The whole destination, where one name was asked for.
        Script::new().entry(b".", DIR, 1, b"").end(),
        Script::new().entry(b"kept", DIR, 1, b"").end(),
        // A directory on the way to it, as if its content had been asked for.
        Script::new().dir(b".").dir(b"kept").end(),
    ];
    for script in lists {
        for words in [&["-r"][..], &["-r", "--delete"], &["-rR", "--delete"]] {
            check(words, "x", b"", &framed(&script.data));
            check(words, "kept/x", b"", &framed(&script.data));
        }
    }
}

#[test]
fn answers_must_be_to_what_was_asked() {
    let start = || Script::new().dir(b".").file(b"f", 3).end();
    let head = SumHead { count: 1, block_len: 700, strong_len: 2, remainder: 3 };
    let basis = |name: &[u8]| {
        let flags = CONTENT | 0x1800;
        let item = start().number(NdxValue::Item(1)).raw(&flags.to_le_bytes()).raw(&[0x83]);
        item.raw(&[name.len() as u8]).raw(name).head(SumHead::default()).raw(&[0; 20])
    };
    for script in [
        start().answer(9, CONTENT),
        start().answer(1, CONTENT).head(SumHead { strong_len: 99, ..head }),
        start().answer(1, CONTENT).head(SumHead { block_len: 0, ..head }),
        start().answer(1, CONTENT).head(SumHead::default()).raw(&(-1_i32).to_le_bytes()),
        basis(b"../outside/canary"),
        basis(b"/etc/passwd"),
    ] {
        check(&["-r"], "", b"", &framed(&script.data));
    }
}

#[test]
fn links_that_may_lead_out_are_not_made_where_only_safe_ones_are() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("s/deep")).unwrap();
    let targets = [
        "/etc/passwd",
        "..",
        "../outside",
        "deep/../../outside",
        "deep/..",
        "deep/../safe",
        "./deep/../../outside",
        "a//../../outside",
        "../s/../../outside",
    ];
    for (at, target) in targets.iter().enumerate() {
        for dir in ["s", "s/deep"] {
            symlink(target, folder.path().join(dir).join(format!("l{at}"))).unwrap();
        }
    }
    symlink("deep/x", folder.path().join("s/safe")).unwrap();
    // The real one sends them as they are.
    let daemon =
        RsyncDaemon::start(&[Module::book("m").anonymous().chroot().at(&folder.path().join("s"))]);
    let url = format!("rsync://127.0.0.1:{}/m/", daemon.port());
    let pulled = |program: &Path, to: &str| {
        let words = ["-rl", "--safe-links", &url, to];
        let status = Command::new(program).args(words).current_dir(folder.path()).status();
        assert_eq!(status.unwrap().code(), Some(0));
        let mut made = Vec::new();
        names_in(&folder.path().join(to), "", &mut made);
        made.sort();
        made
    };
    let found = pulled(&ours(), "ours");
    assert_eq!(found, pulled("rsync".as_ref(), "theirs"));
    // One directory further down, two of them stay inside.
    assert_eq!(found, ["deep", "deep/l1", "deep/l2", "safe"]);
}

#[test]
fn a_backslash_at_the_end_of_what_is_asked_for_is_the_end() {
    let list = |name: &[u8]| framed(&Script::new().dir(b".").file(name, 1).end().data);
    for path in ["x\\", "x\\\\", "*\\", "[\\", "[a-\\", "kept/\\", "\\"] {
        for words in [&["-r"][..], &["-rR"], &["-rs"], &["-r", "--old-args"]] {
            check(words, path, b"", &list(b"other"));
            let leaf = path.rsplit('/').next().unwrap_or_default();
            check(words, path, b"", &list(leaf.as_bytes()));
        }
    }
}

#[test]
fn content_with_a_wrong_digest_is_not_put_in_place() {
    let script = Script::new().dir(b".").file(b"f", 3).end();
    let script = script.answer(1, CONTENT).head(SumHead::default()).literal(b"abc").raw(&[0; 4]);
    let (left, said) = client(&ours(), &["-r"], "", b"", &framed(&script.raw(&[0x5a; 16]).data));
    assert!(left.code != Some(0) && left.inside == ["kept", "kept/file"], "{left:?} {said}");
}

#[test]
fn a_limit_of_time_is_taken_only_where_it_is_one() {
    let list = framed(&Script::new().dir(b".").end().data);
    for seconds in [0u32, u32::MAX, i32::MAX as u32, 86_401] {
        let bytes = [message(Tag::IoTimeout, &seconds.to_le_bytes()), list.clone()].concat();
        let (theirs, _) = client("rsync".as_ref(), &["-r"], "", b"", &bytes);
        let (found, said) = client(&ours(), &["-r"], "", b"", &bytes);
        assert_eq!(found, theirs, "{seconds}: {said}");
    }
}

#[test]
fn texts_of_a_daemon_command_no_terminal() {
    let frames = message(Tag::Error, b"\x1b]0;title\x07\x1b[2J now\n");
    let said = check(&["-r"], "", b"", &frames);
    assert!(said.contains("now") && !said.contains('\x1b'), "{said:?}");
    let name = framed(&Script::new().dir(b".").file(b"a\x1b[2Jb\nc", 0).end().data);
    let (_, said) = client(&ours(), &["-rv"], "", b"", &name);
    assert!(!said.contains('\x1b'), "{said:?}");
    for line in ["@ERROR: \x1b[2J\n", "@RSYNCD: 32.0 md5\n\x1b[2Jmotd\n@RSYNCD: EXIT\n"] {
        let (_, said) = client(&ours(), &["-r"], "", line.as_bytes(), b"");
        assert!(!said.contains('\x1b'), "{said:?}");
    }
}

#[test]
fn a_daemon_that_never_comes_to_an_end_is_left() {
    for before in [
        b"@RSYNCD: 32.0 md5 ".iter().copied().chain(std::iter::repeat_n(b'x', 9 << 20)).collect(),
        [&b"@RSYNCD: 32.0 md5\n"[..], &b"more\n".repeat(2 << 20)].concat(),
        vec![b'y'; 9 << 20],
    ] {
        let before: Vec<u8> = before;
        let (left, _) = client(&ours(), &["-r"], "", &before, b"");
        assert!(left.code.is_some_and(|code| code != 0 && code != 124), "{left:?}");
    }
}

#[test]
fn a_proxy_that_never_comes_to_an_end_is_left() {
    for reply in [
        [&b"HTTP/1.0 200 "[..], &vec![b'x'; 9 << 20]].concat(),
        [&b"HTTP/1.0 200 OK\r\n"[..], &b"Header: x\r\n".repeat(1 << 20)].concat(),
        [&b"HTTP/1.0 200 OK\r\nHeader: "[..], &vec![b'x'; 9 << 20]].concat(),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = listener.local_addr().unwrap().to_string();
        let status = std::thread::scope(|scope| {
            scope.spawn(|| {
                let (mut stream, _) = listener.accept().unwrap();
                read_to(&mut stream, b"\r\n\r\n");
                let _ = stream.write_all(&reply);
                let _ = stream.read_to_end(&mut Vec::new());
            });
            Command::new("timeout")
                .arg("60")
                .arg(ours())
                .arg("rsync://nowhere.example/m/")
                .env("RSYNC_PROXY", proxy)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status()
                .unwrap()
        });
        assert!(status.code().is_some_and(|code| code != 0 && code != 124), "{status}");
    }
}
