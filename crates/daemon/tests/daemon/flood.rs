//! A flood of connections that stall, lie or babble, in every phase: a good client is served beside
//! them, memory stays within bounds, and nothing is left of them afterwards.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use driftless_proto::int::put_varint;
use driftless_proto::sums::SumHead;

use crate::attacker::{PULL, PUSH, Script, agreed, connect_from, framed, opening};
use crate::pair::{Daemon, OPEN, plant, soon};

const GLOBALS: &str = "listen backlog = 1024\nreverse lookup = no\n";

/// Connections at the same time; more where `DRIFTLESS_FLOOD` says so.
fn wanted() -> usize {
    std::env::var("DRIFTLESS_FLOOD").ok().and_then(|text| text.parse().ok()).unwrap_or(1_000)
}

/// What the clients say before they fall silent.
fn lines() -> Vec<Vec<u8>> {
    let lie = |args: &[&str], script: Script| [agreed(args), framed(&script.data)].concat();
    let list = |numbers: &[i32]| {
        let mut script = Script::new().dir(b".");
        numbers.iter().for_each(|number| put_varint(&mut script.data, *number));
        script
    };
    let pull = || Script::new().raw(&[0; 4]);
    let head = SumHead { count: 1_000_000, block_len: 131_072, strong_len: 16, remainder: 0 };
    let xattrs = ["--server", "-ltrXe.LsfxCIvu", ".", "w/"];
    let acls = ["--server", "-ltrAe.LsfxCIvu", ".", "w/"];
    vec![
        Vec::new(),
        b"@RSYNCD: 31".to_vec(),
        b"@RSYNCD: 32.0 md5\n".to_vec(),
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".repeat(20),
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n".to_vec(),
        vec![b'x'; 1000],
        b"@RSYNCD: 32.0 md5\nw\n".to_vec(),
        b"@RSYNCD: 32.0 md5\nw\n--server\0--sender\0-r".to_vec(),
        [b"@RSYNCD: 32.0 md5\nw\n".to_vec(), vec![b'y'; 60_000]].concat(),
        opening(PUSH),
        agreed(PUSH),
        agreed(PULL),
        // A frame that is said to be as long as frames may be, of which little comes.
        [agreed(PUSH), vec![0xff, 0xff, 0xff, 7], vec![4; 100]].concat(),
        lie(PUSH, list(&[0x44, 4_000])),
        lie(PUSH, Script::new().dir(b".").file(b"huge", i64::MAX >> 1)),
        lie(PUSH, Script::new().dir(b".").file(b"f", 3).end()),
        lie(PULL, pull()),
        lie(PULL, pull().answer(2, 0x8000).head(head)),
        lie(PULL, Script::new().raw(&5_000i32.to_le_bytes()).raw(b"- *")),
        lie(&xattrs, list(&[0, 60_000, 9, 1 << 26])),
        lie(&acls, list(&[0]).raw(b"\x10\x80\xff\x7f")),
    ]
}

/// The process and its children.
fn processes(daemon: &Daemon) -> Vec<u32> {
    let pid = daemon.child.id();
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    let children = children.unwrap_or_default();
    std::iter::once(pid)
        .chain(children.split_whitespace().map(|pid| pid.parse().unwrap()))
        .collect()
}

/// Memory that a process has alone, with its part of what is shared, in KiB.
fn memory(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok()).unwrap_or(0)
}

fn descriptors(daemon: &Daemon) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", daemon.child.id())).unwrap().count()
}

/// Serves a good client a few times; returns how long one session took in the middle.
fn good_session(daemon: &Daemon) -> Duration {
    let mut took: Vec<Duration> = (0..7)
        .map(|round| {
            let out = format!("got{round}/");
            let began = Instant::now();
            let pull = daemon.client(&["-a", "@URL@/w/", &out]);
            let push = daemon.client(&["-aI", "src/", "@URL@/w/t/"]);
            let took = began.elapsed();
            assert_eq!((pull.code, pull.err), (0, Vec::new()));
            assert_eq!((push.code, push.err), (0, Vec::new()));
            took
        })
        .collect();
    took.sort();
    took[took.len() / 2]
}

#[test]
fn a_flood_keeps_nobody_out_and_leaves_nothing_behind() {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let room = rustix::process::Rlimit { current: limit.maximum, maximum: limit.maximum };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, room).unwrap();
    let daemon = Daemon::ours(&format!("{GLOBALS}{OPEN}"), plant);
    let usual = good_session(&daemon);
    let (before, small) = (descriptors(&daemon), memory(daemon.child.id()));
    let lines = lines();
    let mut flood: Vec<TcpStream> = Vec::new();
    for at in 0..wanted() {
        // Of a few networks, none of which is the good client's.
        let mut stream = connect_from(&daemon, 10 + (at % 40) as u8);
        let _ = stream.write_all(&lines[at % lines.len()]);
        flood.push(stream);
    }
    let under_flood = good_session(&daemon);
    let all = processes(&daemon);
    let listener = memory(all[0]);
    let sessions: u64 = all[1..].iter().map(|pid| memory(*pid)).sum();
    eprintln!(
        "{} connections, {} processes: a good session takes {under_flood:?}, {:.2} of {usual:?}; \
         the listener has {listener} KiB ({small} before), all sessions {sessions} KiB",
        flood.len(),
        all.len() - 1,
        under_flood.as_secs_f64() / usual.as_secs_f64(),
    );
    // Far above what it is, far below what stops anybody's work.
    assert!(under_flood < usual * 20 + Duration::from_secs(5), "{under_flood:?} and {usual:?}");
    assert!(listener < 200 * 1024, "{listener} KiB");
    assert!(sessions / (all.len() as u64) < 8 * 1024, "{sessions} KiB in {}", all.len());
    assert!(all.len() <= 2_100, "{} processes", all.len());
    // The same address once more, from which a twentieth of the flood came.
    let mut other = connect_from(&daemon, 10);
    other.write_all(b"@RSYNCD: 32.0 md5\n#list\n").unwrap();
    let mut said = String::new();
    std::io::Read::read_to_string(&mut other, &mut said).unwrap();
    assert!(said.ends_with("@RSYNCD: EXIT\n"), "{said}");
    drop((flood, other));
    soon("sessions and descriptors are gone", || {
        let is_clean = processes(&daemon).len() == 1 && descriptors(&daemon) <= before;
        is_clean.then_some(())
    });
    good_session(&daemon);
    let log = std::fs::read_to_string(daemon.path("log")).unwrap();
    assert!(!log.contains("panicked") && !log.contains("ended by signal"));
}

#[test]
fn a_line_without_an_end_is_cut_long_before_it_costs_anything() {
    let daemon = Daemon::ours(&format!("{GLOBALS}{OPEN}"), plant);
    for start in lines() {
        let mut stream = connect_from(&daemon, 2);
        stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        let _ = stream.write_all(&start);
        // Of the gibibyte that would come a sixteenth is more than is ever taken, in a list or in
        // sums as in a line.
        let (piece, most) = (vec![0x41; 64 * 1024], 64 << 20);
        let mut sent = 0;
        while sent < most && stream.write_all(&piece).is_ok() {
            sent += piece.len();
        }
        assert!(
            sent < most,
            "{} was followed by {sent} bytes",
            start[..start.len().min(60)].escape_ascii()
        );
    }
    good_session(&daemon);
}
