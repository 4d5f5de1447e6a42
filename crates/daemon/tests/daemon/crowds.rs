//! How many sessions there are, and how much one of them may use up.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::TcpStream;

use driftless_proto::int::{put_int, put_varint, put_varlong};

use crate::attacker::{PUSH, Script, agreed, connect_from, framed, log_of, opening};
use crate::pair::{Daemon, plant, soon};

const OPEN: &str = "\
reverse lookup = no
uid = root
gid = root
use chroot = no
[w]
path = @ROOT@/w
read only = no
[after]
path = @ROOT@/w
post-xfer exec = true
";

fn children(daemon: &Daemon) -> usize {
    let path = format!("/proc/{0}/task/{0}/children", daemon.child.id());
    std::fs::read_to_string(path).unwrap().split_whitespace().count()
}

/// Waits until the daemon has let the connection in.
fn is_in(stream: &mut TcpStream) {
    let mut heard = Vec::new();
    let mut byte = [0];
    while !heard.ends_with(b"@RSYNCD: OK\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1, "{}", heard.escape_ascii());
        heard.push(byte[0]);
    }
}

fn enter(daemon: &Daemon, last: u8, bytes: &[u8]) -> TcpStream {
    let mut stream = connect_from(daemon, last);
    stream.write_all(bytes).unwrap();
    stream
}

fn said_to(daemon: &Daemon, last: u8, bytes: &[u8]) -> String {
    let mut said = Vec::new();
    let _ = enter(daemon, last, bytes).read_to_end(&mut said);
    String::from_utf8_lossy(&said).into_owned()
}

#[test]
pub fn clients_that_stall_make_room_for_those_that_come_after_them() {
    for module in ["w", "after"] {
        let daemon = Daemon::ours(&format!("max sessions per address = 4\n{OPEN}"), plant);
        let hello = format!("@RSYNCD: 32.0 md5\n{module}\n");
        let stalled: Vec<TcpStream> = (0..12)
            .map(|_| {
                let mut stream = enter(&daemon, 1, hello.as_bytes());
                is_in(&mut stream);
                stream
            })
            .collect();
        soon("the others are gone", || (children(&daemon) <= 4).then_some(()));
        let url = format!("@URL@/{module}/");
        let outcome = daemon.client(&["-a", &url, "got/"]);
        assert_eq!((outcome.code, outcome.err), (0, Vec::new()), "{module}");
        daemon.logs("too many sessions: that of");
        // Those that gave way are gone, also where a second process served them.
        for mut stream in stalled.into_iter().take(8) {
            let _ = stream.read_to_end(&mut Vec::new());
        }
    }
}

#[test]
pub fn sessions_at_work_keep_their_place_and_more_are_refused() {
    let conf = format!("max sessions per address = 2\nmax sessions = 3\n{OPEN}");
    let daemon = Daemon::ours(&conf, plant);
    let busy = |last, count| {
        let mut stream = enter(&daemon, last, &agreed(PUSH));
        is_in(&mut stream);
        soon("it is at work", || {
            let log = daemon.log();
            let lines = log.iter().filter(|line| line.contains("receiving file list"));
            (lines.count() == count).then_some(())
        });
        stream
    };
    let full = |limit: u32| format!("@ERROR: max connections ({limit}) reached -- try again later");
    let first = [busy(2, 1), busy(2, 2)];
    let said = said_to(&daemon, 2, &opening(PUSH));
    assert!(said.contains(&full(2)), "{said}");
    let third = busy(3, 3);
    let said = said_to(&daemon, 4, &opening(PUSH));
    assert!(said.contains(&full(3)), "{said}");
    assert_eq!(children(&daemon), 3);
    drop((first, third));
    soon("there is room again", || {
        (daemon.client(&["-a", "@URL@/w/", "got/"]).code == 0).then_some(())
    });
}

/// An entry that needs much more memory than bytes of the list.
fn greedy(script: &mut Script, first: bool) {
    let out = &mut script.data;
    let name = vec![b'n'; 255];
    if first {
        put_varint(out, 0x04);
        out.push(255);
        out.extend_from_slice(&name);
    } else {
        // All but the last byte is that of the name before.
        put_varint(out, 0x22);
        out.extend_from_slice(&[254, 1, b'x']);
    }
    put_varlong(out, 0, 3);
    put_varlong(out, 1_600_000_000, 4);
    if first {
        put_int(out, 0o100_644);
    }
}

#[test]
pub fn a_session_that_eats_memory_ends_and_no_other_one_notices() {
    let daemon = Daemon::ours(&format!("session memory mib = 64\n{OPEN}"), plant);
    let mut neighbour = enter(&daemon, 1, &agreed(PUSH));
    is_in(&mut neighbour);
    let mut script = Script::new().dir(b".");
    greedy(&mut script, true);
    let mut stream = enter(&daemon, 1, &[agreed(PUSH), framed(&script.data)].concat());
    let mut some = Script::new();
    (0..4096).for_each(|_| greedy(&mut some, false));
    let some = framed(&some.data);
    let most = 64 << 20;
    let mut sent = 0;
    while sent < most && stream.write_all(&some).is_ok() {
        sent += some.len();
    }
    assert!(sent < most, "{sent} bytes of a list were taken");
    daemon.logs("in module w ended by signal 6");
    assert_eq!(daemon.client(&["-a", "@URL@/w/", "got/"]).code, 0);
    // The other session still listens.
    neighbour.write_all(&framed(&Script::new().dir(b".").end().data)).unwrap();
    let mut heard = [0; 1];
    neighbour.read_exact(&mut heard).unwrap();
}

#[test]
pub fn a_session_that_computes_for_too_long_ends() {
    for module in ["w", "after"] {
        let daemon = Daemon::ours(&format!("session cpu seconds = 1\n{OPEN}"), |root| {
            plant(root);
            // A digest of it takes much longer than that.
            File::create(root.join("w/sub/huge")).unwrap().set_len(1 << 40).unwrap();
        });
        let url = format!("@URL@/{module}/sub/");
        assert_eq!(daemon.client(&["-rc", &url, "got/"]).code, 12);
        daemon.logs("used up its CPU time (session cpu seconds)");
        let url = format!("@URL@/{module}/a.txt");
        assert_eq!(daemon.client(&["-rc", &url, "got/"]).code, 0);
    }
}

#[test]
pub fn a_list_of_more_than_a_module_takes_is_refused() {
    let daemon = Daemon::ours(OPEN, |root| {
        plant(root);
        for dir in ["a", "b", "c"] {
            fs::create_dir(root.join("src").join(dir)).unwrap();
            (0..10).for_each(|at| fs::write(root.join(format!("src/{dir}/{at}")), "x").unwrap());
        }
    });
    let push = |form: &str| {
        let _ = fs::remove_dir_all(daemon.path("w/up"));
        daemon.client(&["-r", form, "src/", "@URL@/w/up/"])
    };
    // The root, what `plant` makes, and three directories with ten files.
    let all = 1 + 5 + 3 * 11;
    for (most, is_taken) in [(0, true), (all, true), (all - 1, false), (5, false), (-1, true)] {
        daemon.configure(&format!("max files = {most}\n{OPEN}"));
        for form in ["--inc-recursive", "--no-inc-recursive"] {
            let outcome = push(form);
            assert_eq!(outcome.code == 0, is_taken, "{most} {form} {outcome:?}");
            if !is_taken {
                daemon.logs(&format!("the file list has more than {most} entries"));
                assert!(outcome.err.iter().any(|line| line.contains("too many")), "{outcome:?}");
            }
        }
    }
    // A client that lists them and says nothing else.
    daemon.configure(&format!("max files = 3\n{OPEN}"));
    let list = Script::new().dir(b".").file(b"a", 1).file(b"b", 1).file(b"c", 1).end();
    let (text, code) = log_of(&daemon, &[agreed(PUSH), framed(&list.data)].concat());
    assert!(code == 4 && text.contains("more than 3 entries"), "{text}");
    // Who pulls lists nothing.
    assert_eq!(daemon.client(&["-a", "@URL@/w/", "got/"]).code, 0);
}
