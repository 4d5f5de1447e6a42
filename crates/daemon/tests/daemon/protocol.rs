//! Clients that break the protocol inside a session: each ends with rsync's code, and nothing
//! outside the module is touched.

use std::fs;
use std::io::{self, Write};
use std::net::Shutdown;
use std::process::Command;

use driftless_proto::int::{put_int, put_varint, put_varlong};
use driftless_proto::mux::{Tag, put_frame};
use driftless_proto::ndx::NdxValue;
use driftless_proto::sums::SumHead;

use crate::attacker::{
    FILE, PULL, PUSH, Script, agreed, connect_from, framed, log_of, push_in_turn, rolling, say,
    snapshot,
};
use crate::pair::{Daemon, OPEN, plant};

const LOGGING: &str = "transfer logging = yes\nlog format = %o %f %M\n";

const CONTENT: u16 = 0x8000;

/// A daemon, what lies beside its module, and what must be so at the end.
struct Place {
    daemon: Daemon,
    before: Vec<String>,
}

impl Place {
    fn new() -> Self {
        let daemon = Daemon::ours(&format!("{OPEN}{LOGGING}"), |root| {
            plant(root);
            fs::create_dir(root.join("outside")).unwrap();
            fs::write(root.join("outside/canary"), "canary").unwrap();
        });
        let before = snapshot(&daemon.path("outside"));
        Self { daemon, before }
    }

    #[track_caller]
    fn check(&self, args: &[&str], script: &Script, code: i32) {
        self.check_bytes(args, &framed(&script.data), code);
    }

    #[track_caller]
    fn check_bytes(&self, args: &[&str], bytes: &[u8], code: i32) {
        let (text, found) = log_of(&self.daemon, &[&agreed(args), bytes].concat());
        assert!(found == code && text.contains("protocol error"), "{code} expected: {text}");
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        assert_eq!(snapshot(&self.daemon.path("outside")), self.before);
        let outcome = self.daemon.client(&["-a", "@URL@/w/", "check/"]);
        assert_eq!(outcome.code, 0, "{outcome:?}");
        let log = fs::read_to_string(self.daemon.path("log")).unwrap();
        assert!(!log.contains("panicked") && !log.contains("ended by signal"), "{log}");
    }
}

/// A pull's requests: no rules, then what the script says.
fn pull() -> Script {
    Script::new().raw(&[0; 4])
}

#[test]
fn sums_outside_their_range_end_a_pull() {
    let place = Place::new();
    let head = SumHead { count: 1, block_len: 700, strong_len: 2, remainder: 0 };
    for head in [
        // Of a digest there are sixteen bytes.
        SumHead { strong_len: 17, ..head },
        SumHead { strong_len: 64, ..head },
        SumHead { strong_len: u32::MAX, ..head },
        SumHead { block_len: 0, ..head },
        SumHead { block_len: 131_073, ..head },
        SumHead { remainder: 701, ..head },
        SumHead { count: u32::MAX, ..head },
    ] {
        place.check(PULL, &pull().answer(2, CONTENT).head(head), 2);
    }
    // More than anybody has memory for, and no client raises what there is.
    let head = SumHead { count: i32::MAX as u32, block_len: 131_072, strong_len: 16, remainder: 0 };
    let script = pull().answer(2, CONTENT).head(head);
    let raising = ["--server", "--sender", "--max-alloc=4T", "-ltre.LsfxCIvu", ".", "w/"];
    for args in [PULL, &raising] {
        let (text, code) = log_of(&place.daemon, &[agreed(args), framed(&script.data)].concat());
        assert!(code == 22 && text.contains("exceeded --max-alloc"), "{text}");
    }
    for args in [PULL, PUSH] {
        let args = [&args[..args.len() - 2], &["--max-alloc=0", ".", "w/"]].concat();
        let (text, code) = log_of(&place.daemon, &[agreed(&args), framed(&script.data)].concat());
        assert!(code == 4 && text.contains("max-alloc must be greater than zero"), "{text}");
    }
}

#[test]
fn blocks_that_all_seem_to_match_hold_nobody_up() {
    let daemon = Daemon::ours(&format!("{OPEN}{LOGGING}"), |root| {
        fs::create_dir(root.join("w")).unwrap();
        fs::write(root.join("w/same"), vec![b'x'; 3_000_000]).unwrap();
    });
    // The rolling sum of so many bytes of it, with a digest that none of them has. Each place of the
    // file would be compared with each block, or a long block digested at each place.
    for (block_len, count) in [(700u32, 200_000u32), (131_072, 20)] {
        let rolling = rolling(&vec![b'x'; block_len as usize]);
        let head = SumHead { count, block_len, strong_len: 16, remainder: 0 };
        let mut script = pull().answer(1, CONTENT).head(head);
        for number in 0..u128::from(count) {
            script = script.raw(&rolling.to_le_bytes()).raw(&number.to_le_bytes());
        }
        let mut stream = connect_from(&daemon, 1);
        let mut heard = stream.try_clone().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| io::copy(&mut heard, &mut io::sink()));
            stream.write_all(&[agreed(PULL), framed(&script.data)].concat()).unwrap();
            daemon.logs("send same");
            stream.shutdown(Shutdown::Both).unwrap();
        });
        daemon.rests();
        fs::write(daemon.path("log"), "").unwrap();
    }
}

#[test]
fn numbers_of_nothing_end_a_pull() {
    let place = Place::new();
    for script in [
        pull().answer(9_999, CONTENT),
        pull().answer(u32::MAX >> 1, CONTENT),
        // A directory.
        pull().answer(0, CONTENT).head(SumHead::default()),
        pull().number(NdxValue::SubList(1)),
        pull().number(NdxValue::FlistEof),
        // Text of a rule that is longer than any.
        Script::new().raw(&5_120i32.to_le_bytes()),
        Script::new().raw(&(-1i32).to_le_bytes()),
    ] {
        place.check(PULL, &script, 2);
    }
}

#[test]
fn a_basis_that_nobody_offered_ends_a_push() {
    let place = Place::new();
    let list = || Script::new().dir(b".").file(b"new", 3).end();
    // The flags for a type of basis and a name: what a fuzzy one would have.
    let flags = CONTENT | 0x1800;
    for name in [&b"../outside/canary"[..], b"/etc/passwd", b"a.txt"] {
        let mut said = framed(&list().data);
        let mut item = list();
        let start = item.data.len();
        item = item.number(NdxValue::Item(1)).raw(&flags.to_le_bytes()).raw(&[0x83]);
        item = item.raw(&[name.len() as u8]).raw(name).head(SumHead::default()).raw(&[0; 20]);
        said.extend(framed(&item.data[start..]));
        place.check_bytes(PUSH, &said, 2);
    }
    assert!(!place.daemon.path("w/new").exists());
}

#[test]
fn frames_that_a_client_cannot_send_end_its_session() {
    let place = Place::new();
    let frame = |tag, payload: &[u8]| {
        let mut out = Vec::new();
        put_frame(&mut out, tag, payload);
        out
    };
    for (what, bytes) in [
        ("no such tag", vec![0, 0, 0, 99]),
        ("no tag at all", vec![0, 0, 0, 0]),
        ("a text", frame(Tag::Error, b"you are wrong\n")),
        ("a limit of time", frame(Tag::IoTimeout, &1u32.to_le_bytes())),
        ("a number that is none", frame(Tag::Success, b"abc")),
        ("an end that is none", frame(Tag::ErrorExit, b"abc")),
    ] {
        for args in [PULL, PUSH] {
            let (text, code) = log_of(&place.daemon, &[&agreed(args)[..], &bytes].concat());
            let is_refused = matches!(code, 2 | 12) && text.contains("protocol error");
            assert!(is_refused, "{what}, {args:?}: {text}");
        }
    }
    // Signs of life without end are read, and are not answered one inside the other.
    let alive = frame(Tag::Noop, b"").repeat(200_000);
    assert_eq!(log_of(&place.daemon, &[agreed(PUSH), alive].concat()).1, 12);
    let alive = frame(Tag::Data, b"").repeat(200_000);
    assert_eq!(log_of(&place.daemon, &[agreed(PULL), alive].concat()).1, 12);
}

#[test]
fn lists_that_no_sender_makes_end_a_push() {
    let place = Place::new();
    let start = || Script::new().dir(b".");
    for (script, code) in [
        (start().file(b"../outside/canary", 1).end(), 4),
        (start().file(b"a/../../outside/canary", 1).end(), 4),
        (start().file(b"/etc/passwd", 1).end(), 4),
        (start().file(b"a\0b", 1).end(), 4),
        (start().file(b"", 1).end(), 4),
        (start().file(&[b'n'; 4096], 1).end(), 3),
        (Script::new().entry(b".", FILE, 1, b"").end(), 2),
        (start().entry(b"x", 0o777, 1, b"").end(), 2),
        (start().file(b"x", -5).end(), 4),
        (start().number(NdxValue::SubList(1)), 12),
    ] {
        place.check(PUSH, &script, code);
    }
    // Sizes of the list itself: a name, a text of a link, a count of ACL entries and of attributes.
    let long_name = |len: i32| {
        let mut script = start();
        put_varint(&mut script.data, 0x44);
        put_varint(&mut script.data, len);
        script
    };
    place.check(PUSH, &long_name(i32::MAX), 3);
    place.check(PUSH, &long_name(-1), 3);
    let link = |len: i32| {
        let mut script = start();
        put_varint(&mut script.data, 0x04);
        script = script.raw(b"\x01l");
        put_varlong(&mut script.data, 3, 3);
        put_varlong(&mut script.data, 1_600_000_000, 4);
        put_int(&mut script.data, 0o120_777);
        put_varint(&mut script.data, len);
        script
    };
    place.check(PUSH, &link(i32::MAX), 3);
}

/// The root's entry, with what follows it.
fn with_extras(numbers: &[i32], rest: &[u8]) -> Script {
    let mut script = Script::new().dir(b".");
    numbers.iter().for_each(|number| put_varint(&mut script.data, *number));
    script.raw(rest)
}

#[test]
fn attributes_that_no_sender_has_end_a_push() {
    let place = Place::new();
    let xattrs = &["--server", "-ltrXe.LsfxCIvu", ".", "w/"];
    for (numbers, rest) in [
        (&[0, 65_537][..], &b""[..]),
        (&[0, -1], b""),
        (&[2], b""),
        (&[0, 1, 4_097, 1], b""),
        (&[0, 1, 6, i32::MAX], b""),
        // Longer than a module takes.
        (&[0, 1, 7, (64 << 20) + 1], b"user.x\0"),
        (&[0, 1, 6, -1], b""),
        // A name without its end, and one with two.
        (&[0, 1, 6, 1], b"user.xv"),
        (&[0, 1, 6, 1], b"us\0rx\0v"),
    ] {
        place.check(xattrs, &with_extras(numbers, rest).raw(&[0; 64]), 11);
    }
    // The longest value that there may be is taken; then the client is missed.
    let longest = with_extras(&[0, 1, 7, 64 << 20], b"user.x\0").raw(&[0; 16]).end();
    let (text, code) = log_of(&place.daemon, &[agreed(xattrs), framed(&longest.data)].concat());
    assert!(code == 12 && !text.contains("protocol error"), "{text}");
    let acls = &["--server", "-ltrAe.LsfxCIvu", ".", "w/"];
    for (numbers, rest) in
        [(&[0][..], &b"\x10\xe0\x01\0\x01"[..]), (&[0], b"\xff"), (&[9], b""), (&[0], b"\x01\x08")]
    {
        place.check(acls, &with_extras(numbers, rest).raw(&[0; 64]), 12);
    }
}

#[test]
fn groups_of_hard_links_that_nobody_announced_end_a_push() {
    let place = Place::new();
    let member = |bits: i32, name: &[u8], number: Option<i32>| {
        let mut script = Script::new().dir(b".").file(b"alone", 1);
        put_varint(&mut script.data, bits);
        script = script.raw(&[name.len() as u8]).raw(name);
        number.iter().for_each(|number| put_varint(&mut script.data, *number));
        put_varlong(&mut script.data, 3, 3);
        put_varlong(&mut script.data, 1_600_000_000, 4);
        put_int(&mut script.data, FILE as i32);
        script.raw(&[0; 64])
    };
    let linked = &["--server", "-ltrHe.LsfxCIvu", ".", "w/"];
    // The flags of a member and of a first one; the latter is of no list without -H.
    let (follows, first) = (0x204, 0x1204);
    place.check(PUSH, &member(first, b"x", None), 2);
    place.check(PUSH, &member(follows, b"x", Some(1)), 2);
    // The root, a file without a group, itself, what comes later, and nothing.
    for number in [0, 1, 2, 3, 9_999, i32::MAX, -1, i32::MIN] {
        place.check(linked, &member(follows, b"x", Some(number)), 2);
    }
}

#[test]
fn attributes_that_are_not_set_leave_the_others_as_they_are() {
    let place = Place::new();
    let mut script = Script::new().dir(b".").raw(&[0, 0]).file(b"f", 0);
    let names = [&b"user.z"[..], b"rsync.%stat", b"user.rsync.%aacl", b"nowhere.x", b"user.a", b""];
    for number in [0, names.len() as i32] {
        put_varint(&mut script.data, number);
    }
    for (at, name) in names.iter().enumerate() {
        put_varint(&mut script.data, name.len() as i32 + 1);
        put_varint(&mut script.data, 1);
        script = script.raw(name).raw(&[0, b'0' + at as u8]);
    }
    let script = script.end().answer(1, CONTENT).head(SumHead::default()).raw(&[0; 4]);
    // MD5 of nothing.
    let script = script.raw(&0xd41d_8cd9_8f00_b204_e980_0998_ecf8_427e_u128.to_be_bytes());
    push_in_turn(&place.daemon, &["--server", "-ltrXe.LsfxCIvu", ".", "w/"], &script);
    let file = place.daemon.path("w/f");
    let shown = Command::new("getfattr").args(["-d", "-m", "-"]).arg(file).output().unwrap();
    let shown = String::from_utf8(shown.stdout).unwrap();
    let set: Vec<&str> = shown.lines().filter(|line| line.contains('=')).collect();
    assert_eq!(set, ["user.a=\"4\"", "user.z=\"0\""]);
}

#[test]
fn times_beyond_all_calendars_are_logged_and_listed() {
    let place = Place::new();
    let mut script = Script::new().dir(b".");
    for (name, secs) in [(b'p', 1i64 << 62), (b'q', -(1 << 62)), (b'r', i64::MAX), (b's', i64::MIN)]
    {
        put_varint(&mut script.data, 0x04);
        script = script.raw(&[1, name]);
        put_varlong(&mut script.data, 0, 3);
        put_varlong(&mut script.data, secs, 4);
        put_int(&mut script.data, FILE as i32);
    }
    script = script.end();
    say(&place.daemon, &[agreed(PUSH), framed(&script.data)].concat());
    say(&place.daemon, &[agreed(PULL), framed(&pull().answer(2, CONTENT).data)].concat());
    assert_eq!(place.daemon.client(&["-r", "@URL@/w/"]).code, 0);
}

#[test]
fn arguments_may_be_as_many_as_there_is_room_for() {
    let place = Place::new();
    let ask = |paths: &[&str]| {
        let mut args = vec!["--server", "--sender", "-re.LsfxCIvu", "."];
        args.extend(paths);
        // No rules.
        say(&place.daemon, &[agreed(&args), framed(&[0; 4])].concat())
    };
    let answered = |heard: &[u8]| heard.windows(3).any(|part| part == b"md5");
    // Behind the greeting, which also names the digest.
    let behind = |heard: &[u8]| {
        let at = heard.windows(11).position(|part| part == b"RSYNCD: OK\n").unwrap();
        heard[at..].to_vec()
    };
    assert!(answered(&behind(&ask(&["w/a.txt"; 15_995]))));
    assert!(!answered(&behind(&ask(&["w/a.txt"; 15_996]))));
    // Backslashes at the end of a path have nothing behind them.
    assert!(answered(&behind(&ask(&["w/\\", "w/a.txt\\", "w/*\\", "w/[\\", "\\"]))));
    let longest = format!("w/{}", "x".repeat(5_117));
    assert!(answered(&behind(&ask(&[&longest]))));
    assert!(!answered(&behind(&ask(&[&format!("{longest}x")]))));
}

#[test]
fn names_write_no_lines_of_their_own_into_the_log() {
    let daemon = Daemon::ours(&format!("{OPEN}{LOGGING}"), |root| {
        plant(root);
        fs::write(root.join("src/a\n2026-01-01 [1] forged"), "x").unwrap();
        fs::write(root.join("src/\x1b]0;title\x07"), "x").unwrap();
    });
    assert_eq!(daemon.client(&["-r", "src/", "@URL@/w/"]).code, 0);
    assert_eq!(daemon.client(&["-r", "@URL@/w/", "back/"]).code, 0);
    daemon.client(&["@URL@/w/no\nsuch\x1bfile", "back/"]);
    daemon.client(&["@URL@/no\nsuch\x1bmodule/"]);
    daemon.answer(b"@RSYNCD: 31.0\nno\x1bsuch\nm\n");
    daemon.logs("send ");
    let log = fs::read(daemon.path("log")).unwrap();
    for line in log.split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
        let shown = line.escape_ascii().to_string();
        assert!(line.iter().all(|b| *b >= b' ' || *b == b'\t'), "{shown}");
        assert!(line.starts_with(b"20") && !line.starts_with(b"2026-01-01"), "{shown}");
    }
}
