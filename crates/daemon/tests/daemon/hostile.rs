//! Clients that mean harm: they speak the protocol as far as it takes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use driftless_proto::args::put_secluded;
use driftless_proto::sums::SumHead;
use driftless_testkit::plant::noise;

use crate::attacker::{Script, framed};
use crate::pair::{Daemon, OPEN, plant, soon};

/// Opens a module and hands over arguments.
fn enter(daemon: &Daemon, args: &[&str]) -> TcpStream {
    let mut stream = daemon.connect();
    let mut text = b"@RSYNCD: 31.0 md5\nw\n".to_vec();
    for arg in args {
        text.extend_from_slice(arg.as_bytes());
        text.push(0);
    }
    text.push(0);
    stream.write_all(&text).unwrap();
    stream
}

fn serves(daemon: &Daemon) {
    let outcome = daemon.client(&["-a", "@URL@/w/", "check/"]);
    assert_eq!((outcome.code, outcome.err), (0, Vec::new()));
}

#[test]
fn garbage_in_every_phase_harms_nobody() {
    let daemon = Daemon::ours(OPEN, plant);
    let push = ["--server", "-logDtpre.iLsfxCIvu", ".", "w/"];
    let pull = ["--server", "--sender", "-logDtpre.iLsfxCIvu", ".", "w/"];
    let mut seed = 1u64;
    let mut noise = |len: usize| -> Vec<u8> {
        (0..len)
            .map(|_| {
                seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                (seed >> 56) as u8
            })
            .collect()
    };
    for round in 0..60 {
        let mut stream = match round % 4 {
            0 => daemon.connect(),
            1 => enter(&daemon, &push),
            2 => enter(&daemon, &pull),
            _ => {
                let mut stream = enter(&daemon, &push);
                // A valid start: no rules, then noise in a frame.
                let _ = stream.write_all(b"\x1exxh128 xxh3 xxh64 md5 md4 sha1\x04\0\0\x07\0\0\0\0");
                stream
            }
        };
        let _ = stream.write_all(&noise(1 + round * 37));
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    serves(&daemon);
    assert!(!daemon.log().iter().any(|line| line.contains("panicked")));
}

#[test]
fn endless_lines_and_arguments_are_cut_off() {
    let daemon = Daemon::ours(OPEN, plant);
    let flood = |start: &[u8], chunk: &[u8], most: usize| {
        let mut stream = daemon.connect();
        stream.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        let _ = stream.write_all(start);
        let mut sent = 0;
        while sent < most && stream.write_all(chunk).is_ok() {
            sent += chunk.len();
        }
        assert!(sent < most, "{sent} bytes were taken");
    };
    let most = 64 << 20;
    flood(b"", &[b'x'; 65536], most);
    flood(b"@RSYNCD: 31.0\n", &[b'x'; 65536], most);
    flood(b"@RSYNCD: 31.0\nw\n", &[b'x'; 65536], most);
    flood(b"@RSYNCD: 31.0\nw\n", &b"x\0".repeat(32768), most);
    serves(&daemon);
}

#[test]
fn a_good_client_is_served_among_silent_ones() {
    // Short of that the kernel itself makes connections wait.
    let conf = format!("listenbacklog = 1024\n{OPEN}timeout = 0\n");
    let daemon = Daemon::ours(&conf, plant);
    let silent: Vec<TcpStream> = (0..500).map(|_| daemon.connect()).collect();
    let mut started: Vec<TcpStream> = (0..500).map(|_| daemon.connect()).collect();
    for stream in &mut started {
        stream.write_all(b"@RSYNCD: 31.0").unwrap();
    }
    serves(&daemon);
    // They cost a descriptor each, and no process.
    let children =
        std::fs::read_to_string(format!("/proc/{0}/task/{0}/children", daemon.child.id()));
    let count = children.unwrap().split_whitespace().count();
    assert!(count < 10, "{count} processes");
    drop((silent, started));
    soon("the listener lets them go", || {
        let open = std::fs::read_dir(format!("/proc/{}/fd", daemon.child.id())).unwrap().count();
        (open < 50).then_some(())
    });
    serves(&daemon);
}

#[test]
fn clients_smuggle_no_option_past_the_module() {
    let daemon = Daemon::ours(OPEN, plant);
    let log = format!("--log-file={}", daemon.path("stolen").display());
    for args in [
        &["--server", "--daemon", "--config=/etc/passwd", "."][..],
        &["--server", "--sender", "--log-file=/tmp/x", "-re.iLsfxCIvu", ".", "w/"],
        &["--server", "--insecure-links", "-re.iLsfxCIvu", ".", "w/"],
        &["--server", "--sender", "--max-alloc=0", "-re.iLsfxCIvu", ".", "w/"],
        &["--server", "--copy-as=root", "-re.iLsfxCIvu", ".", "w/"],
        &["--server", "--write-devices", "-re.iLsfxCIvu", ".", "w/"],
        &["--server", &log, "-re.iLsfxCIvu", ".", "w/"],
        &["--server", "--sender", "--confine-root=/etc", "-re.iLsfxCIvu", ".", "w/"],
        &["--server", "--sender", "--max-size=%n%n%99999999999999999999Q", "-re.iLs", ".", "w/"],
        &["--server", "--sender", "--max-alloc=99999999999999999999P", "-re.iLs", ".", "w/"],
        &["--server", "--sender", "--compress-threads=-1", "-zre.iLsfxCIvu", ".", "w/"],
        &["--server", "--read-batch=/etc/passwd", "-re.iLsfxCIvu", ".", "w/"],
        &["--server", "--sender", "-e", "touch x", "."],
        &["--sender", "-re.iLsfxCIvu", ".", "w/"],
        &["--version"],
        &["--help"],
        &[],
        &["."],
    ] {
        let mut stream = enter(&daemon, args);
        stream.write_all(b"\x1exxh128 xxh3 xxh64 md5 md4 sha1\x04\0\0\x07\0\0\0\0").unwrap();
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut said = Vec::new();
        let _ = stream.read_to_end(&mut said);
        assert!(!said.windows(5).any(|part| part == b"hello"), "{args:?} got content");
    }
    assert!(!daemon.path("stolen").exists());
    serves(&daemon);
}

#[test]
fn arguments_behind_the_first_ones_are_looked_at_alike() {
    let daemon = Daemon::ours(OPEN, |root| {
        plant(root);
        std::fs::create_dir(root.join("outside")).unwrap();
        std::fs::write(root.join("outside/greeting"), "hello\n").unwrap();
        std::os::unix::fs::symlink("../outside", root.join("w/out")).unwrap();
    });
    let stolen = daemon.path("stolen").display().to_string();
    let log = format!("--log-file={stolen}");
    let outside = daemon.path("outside/").display().to_string();
    let says_hello = |words: &[&str]| {
        let mut stream = enter(&daemon, &["--server", "--sender", "-s"]);
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let mut said = Vec::new();
        put_secluded(&mut said, words);
        said.extend_from_slice(b"\x03md5");
        // No rules, and the content of what is listed first.
        let mut script = Script::new().raw(&[0; 4]);
        for number in [1, 2] {
            script = script.answer(number, 0x8000).head(SumHead::default());
        }
        said.extend(framed(&script.data));
        stream.write_all(&said).unwrap();
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        heard.windows(5).any(|part| part == b"hello")
    };
    let start = ["--server", "--sender", "-re.LsfxCIvu"];
    assert!(says_hello(&[&start[..], &[".", "w/"]].concat()));
    for more in [
        &[".", "w/../outside/"][..],
        &[".", "w/out/"],
        &[".", "w/sub/../../outside/"],
        &[".", &outside],
        &["-L", ".", "w/out/"],
        &["--insecure-links", ".", "w/"],
        &["--max-alloc=0", ".", "w/"],
        &["--daemon", ".", "w/"],
        &[&log, ".", "w/"],
    ] {
        assert!(!says_hello(&[&start[..], more].concat()), "{more:?}");
    }
    assert!(!std::path::Path::new(&stolen).exists());
    serves(&daemon);
}

#[test]
fn the_kernel_starts_no_program_for_a_session() {
    let daemon = Daemon::ours(OPEN, plant);
    let mut stream = enter(&daemon, &["--server", "--sender", "-re.LsfxCIvu", ".", "w/"]);
    let mut heard = Vec::new();
    while !heard.ends_with(b"@RSYNCD: OK\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        heard.extend(byte);
    }
    // It waits for the client's side of the setup.
    let children = format!("/proc/{0}/task/{0}/children", daemon.child.id());
    let session = std::fs::read_to_string(children).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", session.trim())).unwrap();
    let is_filtered = status.contains("\nSeccomp:\t2\n") && status.contains("\nNoNewPrivs:\t1\n");
    assert!(is_filtered, "{status}");
}

#[test]
fn no_client_makes_more_threads_than_a_few() {
    let long = 64 << 20;
    let daemon = Daemon::ours(&format!("{OPEN}[x]\npath = @ROOT@/w\n"), |root| {
        plant(root);
        std::fs::write(root.join("w/sub/long"), noise(1, long)).unwrap();
    });
    let children = || {
        let path = format!("/proc/{0}/task/{0}/children", daemon.child.id());
        let text = std::fs::read_to_string(path).unwrap();
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>()
    };
    for option in ["--compress-threads=1000", "--zt=1000", "--zt=2147483647", "--zt=8"] {
        let args = ["--server", "--sender", "-ltrze.LsfxCIvu", "--compress-choice=zstd", option];
        let mut stream = enter(&daemon, &[&args[..], &[".", "w/sub/"]].concat());
        stream.write_all(b"\x03md5").unwrap();
        let script = Script::new().raw(&[0; 4]).answer(2, 0x8000).head(SumHead::default());
        stream.write_all(&framed(&script.data)).unwrap();
        // Some of it comes; the rest waits, since nobody reads it.
        let mut room = vec![0; 1 << 20];
        stream.read_exact(&mut room).unwrap();
        let threads = soon("the session is found", || {
            let [session] = children().try_into().ok()?;
            let tasks = std::fs::read_dir(format!("/proc/{session}/task")).ok()?;
            Some(tasks.count())
        });
        assert!(threads > 1, "{option} makes none");
        assert!(threads <= 10, "{option}: {threads} threads");
        drop(stream);
        soon("the session ends", || children().is_empty().then_some(()));
    }
    for refused in ["compress-threads", "zt", "compress", "compress*"] {
        daemon.configure(&format!("{OPEN}refuse options = {refused}\n"));
        for option in ["--compress-threads=2", "--zt=2"] {
            let args = ["--server", "--sender", "-re.LsfxCIvu", option, ".", "w/"];
            let mut stream = enter(&daemon, &args);
            stream.write_all(b"\x03md5").unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut heard = Vec::new();
            let _ = stream.read_to_end(&mut heard);
            let heard = String::from_utf8_lossy(&heard).into_owned();
            assert!(heard.contains("is configured to refuse"), "{refused} {option}: {heard}");
        }
    }
}

#[test]
fn failures_to_log_in_make_the_next_ones_slow_for_that_address_alone() {
    let conf = format!("{OPEN}auth users = alice\nsecrets file = @ROOT@/secrets\n");
    let daemon = Daemon::ours(&conf, plant);
    for _ in 0..4 {
        let outcome = daemon.client(&[
            "-a",
            "rsync://alice@127.0.0.1:@PORT@/w/",
            "x",
            "--password-file=pw-bad",
        ]);
        assert_eq!(outcome.err, ["@ERROR: auth failed on module w"]);
    }
    let outcome =
        daemon.client(&["-a", "rsync://alice@127.0.0.1:@PORT@/w/", "x", "--password-file=pw"]);
    assert_eq!((outcome.code, outcome.err), (0, Vec::new()));
}
