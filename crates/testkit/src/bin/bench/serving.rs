//! `driftless daemon` beside the stock daemon: the same configuration, the same clients, interleaved.
//!
//! Trees are in memory. Processor time and memory are those of the daemon and all its sessions.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

use driftless_testkit::compare::{CompareOptions, differences};
use driftless_testkit::peer::write_private;

use crate::served::Served;

/// Connections of the listing.
const LISTINGS: usize = 2_000;

/// Sessions one after another.
const SESSIONS: usize = 1_000;

/// Files of a tree, and folders that they are in.
const FILES: usize = 100_000;
const FOLDERS: usize = 1_000;

/// Sessions at the same time.
const IDLE: usize = 50;

/// What is measured.
struct Row {
    name: &'static str,
    title: &'static str,
    /// Of what the stock daemon takes: wall, processor time, memory.
    goals: [Option<f64>; 3],
    run: fn(&Serving<'_>) -> Cost,
}

const ROWS: [Row; 5] = [
    Row {
        name: "daemon-listing",
        title: "2,000 connections that list the modules (raw client)",
        goals: [Some(0.5), None, None],
        run: list,
    },
    Row {
        name: "daemon-session",
        title: "1,000 authenticated pushes of one file",
        goals: [Some(0.6), Some(0.5), None],
        run: push_one,
    },
    Row {
        name: "daemon-push",
        title: "100,000 small files pushed",
        goals: [Some(0.85), Some(0.7), None],
        run: push,
    },
    Row {
        name: "daemon-pull",
        title: "100,000 small files pulled",
        goals: [Some(0.85), Some(0.7), None],
        run: pull,
    },
    Row {
        name: "daemon-idle",
        title: "50 idle sessions, proportional share of memory",
        goals: [None, None, Some(0.5)],
        run: idle,
    },
];

/// Whether there is a row of this name.
pub fn is_row(name: &str) -> bool {
    ROWS.iter().any(|row| row.name == name)
}

/// What a run has cost.
#[derive(Clone, Copy, Default)]
struct Cost {
    wall: Duration,
    /// User and system time of the daemon's processes.
    cpu: Duration,
    /// Proportional set size of all processes, in KiB.
    memory: u64,
    /// Of it, what nobody shares.
    private: u64,
}

/// A daemon, and the trees that it serves.
struct Serving<'a> {
    daemon: Served,
    folder: &'a Path,
}

impl Serving<'_> {
    fn url(&self, module: &str) -> String {
        format!("rsync://alice@127.0.0.1:{}/{module}", self.daemon.port)
    }

    fn client(&self, words: &[&str]) {
        let status = Command::new("rsync")
            .args(words)
            .arg(format!("--password-file={}", self.folder.join("password").display()))
            .current_dir(self.folder)
            .stdout(Stdio::null())
            .status()
            .expect("rsync is installed");
        assert!(status.success(), "rsync {words:?}: {status}");
    }

    fn spend(&self, work: impl FnOnce()) -> Cost {
        self.daemon.rest();
        let (before, began) = (self.daemon.cpu(), Instant::now());
        work();
        let wall = began.elapsed();
        self.daemon.rest();
        Cost { wall, cpu: self.daemon.cpu() - before, ..Cost::default() }
    }

    fn same_trees(&self, a: &str, b: &str) {
        let (a, b) = (self.folder.join(a), self.folder.join(b));
        let found = differences(&a, &b, &CompareOptions::default()).expect("both can be read");
        assert!(found.is_empty(), "{} differences, {}", found.len(), found[0]);
    }

    fn empty(&self, tree: &str) {
        let path = self.folder.join(tree);
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("it is ours");
    }
}

fn list(served: &Serving<'_>) -> Cost {
    served.spend(|| {
        for _ in 0..LISTINGS {
            let mut stream = served.daemon.connect();
            stream.write_all(b"@RSYNCD: 32.0 sha512 md5\n#list\n").expect("it listens");
            let mut said = String::new();
            stream.read_to_string(&mut said).expect("it answers");
            assert!(said.contains("target         \t") && said.ends_with("@RSYNCD: EXIT\n"));
        }
    })
}

fn push_one(served: &Serving<'_>) -> Cost {
    served.empty("target");
    let cost = served.spend(|| {
        let file = served.folder.join("one");
        for number in 0..SESSIONS {
            fs::write(&file, format!("content {number:05}\n")).expect("the folder is ours");
            served.client(&["-a", "-I", "one", &served.url("target/")]);
        }
    });
    let text = fs::read_to_string(served.folder.join("target/one")).expect("it arrived");
    assert_eq!(text, format!("content {:05}\n", SESSIONS - 1));
    cost
}

fn push(served: &Serving<'_>) -> Cost {
    served.empty("target");
    let cost = served.spend(|| served.client(&["-a", "source/", &served.url("target/")]));
    served.same_trees("source", "target");
    served.empty("target");
    cost
}

fn pull(served: &Serving<'_>) -> Cost {
    served.empty("target");
    let cost = served.spend(|| served.client(&["-a", &served.url("source/"), "target/"]));
    served.same_trees("source", "target");
    served.empty("target");
    cost
}

/// Clients that are in a module and say nothing more.
fn idle(served: &Serving<'_>) -> Cost {
    served.daemon.rest();
    let open: Vec<TcpStream> = (0..IDLE)
        .map(|_| {
            let mut stream = served.daemon.connect();
            let args = b"@RSYNCD: 31.0 md5\nopen\n--server\0--sender\0-re.iLsfxCIvu\0.\0open/\0\0";
            stream.write_all(args).expect("it listens");
            let mut said = Vec::new();
            let mut buffer = [0; 256];
            // The digests that the daemon knows: the session has begun.
            while !said.windows(3).any(|part| part == b"md4") {
                let len = stream.read(&mut buffer).expect("it answers");
                assert_ne!(len, 0, "it ended: {}", said.escape_ascii());
                // The greeting names digests, too.
                said.extend_from_slice(&buffer[..len]);
                if let Some(at) = said.windows(4).position(|part| part == b"md4\n") {
                    said.drain(..at + 4);
                }
            }
            stream
        })
        .collect();
    let mut cost = Cost::default();
    for pid in served.daemon.processes() {
        let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let kib = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name));
            line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
        };
        cost.memory += kib("Pss:");
        cost.private += kib("Private_Clean:") + kib("Private_Dirty:");
    }
    drop(open);
    served.daemon.rest();
    cost
}

fn prepare(folder: &Path) {
    for number in 0..FOLDERS {
        let dir = folder.join(format!("source/group{:02}/folder{number:04}", number % 20));
        fs::create_dir_all(&dir).expect("the folder is ours");
        for file in 0..FILES / FOLDERS {
            let text = format!("file {file} of folder {number}\n").repeat(8);
            fs::write(dir.join(format!("file{file:03}")), text).expect("the folder is ours");
        }
    }
    // The original takes a new folder's time for right when it is within the same second.
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    for number in 0..FOLDERS {
        let dir = folder.join(format!("source/group{:02}/folder{number:04}", number % 20));
        for dir in dir.ancestors().take(3) {
            let handle = fs::File::open(dir).expect("it is there");
            handle.set_modified(long_ago).expect("the folder is ours");
        }
    }
    fs::create_dir(folder.join("target")).expect("the folder is ours");
    let root = folder.display();
    let mut conf = format!("log file = {root}/log\nuid = root\ngid = root\nuse chroot = no\n");
    let login = format!("auth users = alice\nsecrets file = {root}/secrets\n");
    for (name, path, lines) in [
        ("source", "source", login.as_str()),
        ("target", "target", &format!("read only = no\n{login}")),
        ("open", "source", ""),
    ] {
        writeln!(conf, "[{name}]\npath = {root}/{path}\n{lines}").expect("a string takes all");
    }
    fs::write(folder.join("conf"), conf).expect("the folder is ours");
    write_private(&folder.join("secrets"), "alice:secret\n");
    write_private(&folder.join("password"), "secret\n");
}

/// Measures the rows of these names, all if there is none, and prints a table.
pub fn run(driftless: &Path, runs: usize, names: &[String]) {
    let wanted = |row: &&Row| names.is_empty() || names.iter().any(|name| name == row.name);
    if ROWS.iter().find(wanted).is_none() {
        return;
    }
    let folder = tempfile::Builder::new().prefix("serving-").tempdir().expect("a place in memory");
    prepare(folder.path());
    let conf = folder.path().join("conf");
    let stock = Serving { daemon: Served::stock(&conf), folder: folder.path() };
    let ours = Served::ours(driftless, &conf, folder.path());
    let ours = Serving { daemon: ours, folder: folder.path() };
    println!("{:52} {:>8} {:>8} {:>8}   ratio (goal)", "", "stock", "ours", "");
    for row in ROWS.iter().filter(wanted) {
        let (mut theirs, mut mine) = (Vec::new(), Vec::new());
        for run in 1..=runs {
            eprintln!("{} {run}/{runs}", row.name);
            theirs.push((row.run)(&stock));
            mine.push((row.run)(&ours));
        }
        print_row(row, &theirs, &mine);
    }
}

fn print_row(row: &Row, theirs: &[Cost], mine: &[Cost]) {
    let kinds: [(&str, Figure, Option<f64>); 4] = [
        ("wall s", |cost| cost.wall.as_secs_f64(), row.goals[0]),
        ("cpu s", |cost| cost.cpu.as_secs_f64(), row.goals[1]),
        ("PSS MiB", |cost| cost.memory as f64 / 1024.0, row.goals[2]),
        ("private MiB", |cost| cost.private as f64 / 1024.0, None),
    ];
    for (unit, figure, goal) in kinds {
        let (stock, ours) = (median(theirs, figure), median(mine, figure));
        if stock <= 0.0 {
            continue;
        }
        let goal = goal.map_or(String::new(), |goal| format!(" ({goal})"));
        println!("{:52} {stock:8.3} {ours:8.3} {unit:11} {:.2}{goal}", row.title, ours / stock);
    }
}

/// One number of a run.
type Figure = fn(&Cost) -> f64;

fn median(costs: &[Cost], figure: Figure) -> f64 {
    let mut figures: Vec<f64> = costs.iter().map(figure).collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}
