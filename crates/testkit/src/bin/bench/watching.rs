//! Watching alone: `inotifywait -m -r` beside the same command of driftless.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use driftless_testkit::{kernel, wait};
use rustix::process::{Pid, Signal, kill_process};

use crate::programs::Program;
use crate::table::{Figure, Outcome, Row};

/// Directories: 10 with 100 each with 100 each.
const WIDTHS: [usize; 3] = [10, 100, 100];
/// Seconds of doing nothing.
const IDLE: u64 = 5;
/// Backlogs that are printed, and the files of each: four events a file, within the default queue.
const ROUNDS: usize = 20;
const FILES: usize = 3_900;

/// A watcher at work on a tree in memory. Killed when dropped.
struct Watcher {
    child: Child,
    tree: tempfile::TempDir,
    out: PathBuf,
    start_time: Duration,
}

impl Watcher {
    /// Starts it on a tree and waits until its watches are established.
    fn start(mut command: Command, tree: tempfile::TempDir) -> Self {
        let out = tree.path().with_extension("out");
        let began = Instant::now();
        let mut child = command
            .args(["-m", "-r"])
            .arg(tree.path())
            .stdin(Stdio::null())
            .stdout(File::create(&out).expect("the folder for temporary files is writable"))
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut said = String::new();
        let mut progress = BufReader::new(child.stderr.take().expect("it was asked for"));
        while !said.ends_with("Watches established.\n") {
            let len = progress.read_line(&mut said).expect("a pipe can be read");
            assert!(len > 0, "{command:?} ended: {said}");
        }
        Self { child, tree, out, start_time: began.elapsed() }
    }

    fn usage(&self) -> kernel::Usage {
        kernel::group_usage(self.child.id()).expect("the process table is readable")
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, signal).expect("it has not been waited for");
    }

    /// Waits until its output ends with `line`; false when that takes too long.
    fn wait_for(&self, line: &str) -> bool {
        let end = Instant::now() + wait::GENEROUS;
        let mut out = File::open(&self.out).expect("it was made at the start");
        let mut tail = vec![0; line.len()];
        while Instant::now() < end {
            let there = out.seek(SeekFrom::End(-(line.len() as i64))).is_ok()
                && out.read_exact(&mut tail).is_ok()
                && tail == line.as_bytes();
            if there {
                return true;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        false
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.out);
    }
}

fn tree(widths: &[usize]) -> tempfile::TempDir {
    let tree = tempfile::tempdir().expect("the folder for temporary files is writable");
    plant(tree.path(), widths);
    tree
}

fn plant(at: &Path, widths: &[usize]) {
    let Some((width, below)) = widths.split_first() else { return };
    for number in 0..*width {
        let dir = at.join(format!("dir{number}"));
        fs::create_dir(&dir).expect("the tree is ours");
        plant(&dir, below);
    }
}

fn command(program: Program, driftless: &Path) -> Command {
    program.watch_command(driftless).expect("only programs that watch are measured here")
}

/// 100,000 directories: time until all are watched, memory then, processor time while idle.
pub fn start(program: Program, driftless: &Path) -> Outcome {
    let watcher = Watcher::start(command(program, driftless), tree(&WIDTHS));
    let before = watcher.usage();
    std::thread::sleep(Duration::from_secs(IDLE));
    let after = watcher.usage();
    let idle = (after.cpu_seconds - before.cpu_seconds) / IDLE as f64 * 100.0;
    Outcome {
        figures: vec![
            Figure::seconds(Row::WatchStart, watcher.start_time),
            Figure::megabytes(Row::WatchMemory, before.resident_bytes),
            Figure::new(Row::WatchIdle, idle),
        ],
        lost: None,
    }
}

/// Full queues: time from the first read to the last line, for each event.
pub fn drain(program: Program, driftless: &Path) -> Outcome {
    let watcher = Watcher::start(command(program, driftless), tree(&[100]));
    let mut time = Duration::ZERO;
    for round in 0..ROUNDS {
        watcher.signal(Signal::STOP);
        let path = |file: usize| format!("dir{}/file{round}.{file}", file % 100);
        for file in 0..FILES {
            let mut file = File::create(watcher.tree.path().join(path(file))).expect("it is ours");
            file.write_all(b"content").expect("it is ours");
        }
        let last = path(FILES - 1);
        let (dir, name) = last.split_once('/').expect("a directory and a name");
        let place = watcher.tree.path().display();
        let line = match program {
            // Its kernel queue joins what happens to a name.
            Program::Fanotify => format!(" {name}\n"),
            _ => format!("{place}/{dir}/ CLOSE_WRITE,CLOSE {name}\n"),
        };
        let began = Instant::now();
        watcher.signal(Signal::CONT);
        if !watcher.wait_for(&line) {
            return Outcome::lost("events were not printed");
        }
        time += began.elapsed();
    }
    let events = ROUNDS * FILES * 4;
    let printed = fs::read(&watcher.out).expect("it is ours");
    let lines = printed.iter().filter(|&&byte| byte == b'\n').count();
    let all_there = match program {
        Program::Fanotify => lines >= ROUNDS * FILES,
        _ => lines == events,
    };
    let lost = (!all_there).then(|| format!("{lines} lines for {events} events"));
    let per_event = time.as_secs_f64() * 1e6 / events as f64;
    Outcome { figures: vec![Figure::new(Row::WatchDrain, per_event)], lost }
}
