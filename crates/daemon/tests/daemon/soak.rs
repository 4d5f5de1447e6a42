//! Many clients of all sorts at once, for a while: what the good ones transfer is complete, nothing
//! crashes, and nothing grows.

use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use driftless_testkit::compare::{CompareOptions, differences};
use driftless_testkit::plant::{age, forest, noise};

use crate::attacker::{PULL, PUSH, Script, agreed, connect_from, framed, opening};
use crate::pair::{Daemon, program, soon};

const OPEN: &str = "\
listen backlog = 1024
reverse lookup = no
max sessions per address = 1000
uid = root
gid = root
[w]
path = @ROOT@/w
read only = no
use chroot = no
[jail]
path = @ROOT@/w
read only = no
use chroot = yes
[locked]
path = @ROOT@/w
auth users = alice
secrets file = @ROOT@/secrets
";

/// How long, in seconds (`DRIFTLESS_SOAK`).
fn seconds() -> u64 {
    std::env::var("DRIFTLESS_SOAK").ok().and_then(|text| text.parse().ok()).unwrap_or(3)
}

/// How many at once.
fn clients() -> usize {
    if seconds() > 10 { 200 } else { 20 }
}

fn plant(root: &Path) {
    for dir in ["w/data", "w/in", "src"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    forest(&root.join("w/data"), 3, 20, 3000);
    forest(&root.join("src"), 3, 20, 3000);
    fs::write(root.join("w/data/large"), noise(1, 700_000)).unwrap();
    fs::write(root.join("src/large"), noise(2, 700_000)).unwrap();
    ["w/data", "src"].iter().for_each(|dir| age(&root.join(dir)));
    driftless_testkit::peer::write_private(&root.join("secrets"), "alice:secret\n");
    driftless_testkit::peer::write_private(&root.join("pw"), "secret\n");
}

/// What each sort of client did.
#[derive(Default)]
struct Done {
    pulls: AtomicUsize,
    pushes: AtomicUsize,
    attacks: AtomicUsize,
}

fn count(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::Relaxed);
}

fn run(daemon: &Daemon, client: &Path, words: &[&str]) {
    let output = Command::new("timeout")
        .arg("120")
        .arg(client)
        .args(words)
        .current_dir(daemon.folder.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{} {words:?}: {} {said}", client.display(), output.status);
}

#[track_caller]
fn equal(a: &Path, b: &Path) {
    let found = differences(a, b, &CompareOptions::default()).unwrap();
    assert!(found.is_empty(), "{found:#?}");
}

fn pull(daemon: &Daemon, client: &Path, number: usize, round: usize) {
    let out = daemon.path(&format!("out{number}"));
    let to = out.to_str().unwrap();
    let url = |module| format!("rsync://127.0.0.1:{}/{module}/data/", daemon.port);
    let more = ["-z", "-W", "-c", "--no-inc-recursive"][round % 4];
    match round % 3 {
        0 => run(daemon, client, &["-a", more, &url("w"), to]),
        1 => run(daemon, client, &["-a", more, &url("jail"), to]),
        _ => {
            let url = format!("rsync://alice@127.0.0.1:{}/locked/data/", daemon.port);
            run(daemon, client, &["-a", more, "--password-file=pw", &url, to]);
        }
    }
    equal(&daemon.path("w/data"), &out);
    fs::remove_dir_all(&out).unwrap();
}

fn push(daemon: &Daemon, client: &Path, number: usize, round: usize) {
    let module = ["w", "jail"][round % 2];
    let url = format!("rsync://127.0.0.1:{}/{module}/in/{number}/", daemon.port);
    let more = ["--delete", "-I", "--inplace", "--partial"][round % 4];
    run(daemon, client, &["-a", more, "src/", &url]);
    equal(&daemon.path("src"), &daemon.path(&format!("w/in/{number}")));
}

fn attack(daemon: &Daemon, number: usize, round: usize) {
    let mut random = fastrand::Rng::with_seed((number * 1_000_003 + round) as u64);
    let script = || Script::new().dir(b".").file(b"in/x", 9).end();
    let mut bytes = match round % 6 {
        0 => Vec::new(),
        1 => opening(PUSH),
        2 => [agreed(PUSH), framed(&script().data)].concat(),
        3 => [agreed(PULL), framed(&Script::new().raw(&[0; 4]).answer(1, 0x8000).data)].concat(),
        4 => b"@RSYNCD: 32.0 md5\nlocked\nalice wrong\n".to_vec(),
        _ => agreed(PULL),
    };
    // Some of it wrong, and some of it missing.
    for _ in 0..random.usize(..3).min(bytes.len()) {
        let at = random.usize(..bytes.len());
        bytes[at] = random.u8(..);
    }
    let until = if random.bool() { bytes.len() } else { random.usize(..=bytes.len()) };
    let mut stream = connect_from(daemon, 2 + (number % 100) as u8);
    let _ = stream.write_all(&bytes[..until]);
    // Some leave at once, some with a reset, some when they have read a little.
    if random.bool() {
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let _ = stream.read(&mut [0; 64]);
    }
}

fn descriptors(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

fn resident_kib(pid: u32) -> u64 {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().strip_suffix("kB").unwrap().trim().parse().unwrap()
}

#[test]
fn good_clients_are_served_among_bad_ones_and_nothing_grows() {
    let daemon = Daemon::ours(OPEN, plant);
    let pid = daemon.child.id();
    let programs = [PathBuf::from("rsync"), program()];
    // Once each beforehand, so that the listener has seen all that it remembers.
    programs.iter().for_each(|client| pull(&daemon, client, 0, 2));
    (0..6).for_each(|round| attack(&daemon, 0, round));
    let idle = || {
        let path = format!("/proc/{pid}/task/{pid}/children");
        fs::read_to_string(path).unwrap().trim().is_empty()
    };
    soon("all sessions end", || idle().then_some(()));
    let (descriptors_before, memory_before) = (descriptors(pid), resident_kib(pid));
    let end = Instant::now() + Duration::from_secs(seconds());
    let done = Done::default();
    std::thread::scope(|scope| {
        for number in 0..clients() {
            let (daemon, done, programs) = (&daemon, &done, &programs);
            scope.spawn(move || {
                let mut round = number;
                while Instant::now() < end {
                    let client = &programs[number / 4 % 2];
                    match number % 4 {
                        0 => {
                            pull(daemon, client, number, round);
                            count(&done.pulls);
                        }
                        1 => {
                            push(daemon, client, number, round);
                            count(&done.pushes);
                        }
                        _ => {
                            attack(daemon, number, round);
                            count(&done.attacks);
                        }
                    }
                    round += 1;
                }
            });
        }
    });
    soon("all sessions end", || idle().then_some(()));
    soon("all descriptors are closed", || (descriptors(pid) <= descriptors_before).then_some(()));
    let memory = resident_kib(pid);
    eprintln!(
        "{} s with {} clients: {} pulls and {} pushes complete, {} attacks; descriptors {} before, \
         {} after; the listener's memory {memory_before} KiB before, {memory} KiB after",
        seconds(),
        clients(),
        done.pulls.into_inner(),
        done.pushes.into_inner(),
        done.attacks.into_inner(),
        descriptors_before,
        descriptors(pid),
    );
    // Room for the doors of as many connections as were open at once.
    assert!(memory < memory_before + 16 * 1024, "{memory_before} KiB became {memory} KiB");
    // Names in it are whatever the attackers sent.
    let log = fs::read(daemon.path("log")).unwrap();
    let log = String::from_utf8_lossy(&log);
    let crashed = log.lines().find(|line| line.contains("panicked") || line.contains("by signal"));
    assert_eq!(crashed, None);
}
