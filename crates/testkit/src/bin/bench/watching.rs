//! Watching alone: `inotifywait -m -r` beside the same command of driftless, and the watcher of
//! `driftless live`.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
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

/// A program that watches. Killed when dropped.
pub struct Watcher {
    child: Child,
    out: PathBuf,
    /// Kept open, or what it says later would end it.
    _said: BufReader<ChildStderr>,
    /// From its start until it said that it watches.
    start_time: Duration,
}

impl Watcher {
    /// Starts a tool on a tree.
    pub fn tool(mut command: Command, tree: &Path) -> Self {
        command.args(["-m", "-r"]).arg(tree);
        Self::start(command, tree, "Watches established.")
    }

    /// Starts a command and waits until it says `watches`; `tree` names the file for what it prints.
    fn start(mut command: Command, tree: &Path, watches: &str) -> Self {
        let out = tree.with_extension("out");
        let began = Instant::now();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(File::create(&out).expect("the folder for temporary files is writable"))
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let mut said = BufReader::new(child.stderr.take().expect("it was asked for"));
        let mut line = String::new();
        while !line.contains(watches) {
            let len = said.read_line(&mut line).expect("a pipe can be read");
            assert!(len > 0, "{command:?} ended: {line}");
        }
        Self { child, out, _said: said, start_time: began.elapsed() }
    }

    /// Its process.
    pub fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    /// The lines that it has printed.
    pub fn lines(&self) -> usize {
        let printed = fs::read(&self.out).expect("it is ours");
        printed.iter().filter(|&&byte| byte == b'\n').count()
    }

    /// Waits until it waits for events.
    pub fn wait_idle(&self) {
        let sleeps_in = format!("/proc/{}/wchan", self.child.id());
        wait::until("it waits for events", wait::GENEROUS, || {
            fs::read_to_string(&sleeps_in).is_ok_and(|name| name.contains("poll")).then_some(())
        });
    }

    /// The processor time of its first thread, which reads the events.
    pub fn processor_time(&self) -> Duration {
        let file = format!("/proc/{}/schedstat", self.child.id());
        let text = fs::read_to_string(file).expect("the kernel keeps scheduler statistics");
        let nanos = text.split_whitespace().next().and_then(|first| first.parse().ok());
        Duration::from_nanos(nanos.expect("the first number is the time"))
    }

    fn usage(&self) -> kernel::Usage {
        kernel::group_usage(self.child.id()).expect("the process table is readable")
    }

    /// Seconds of processor time that doing nothing takes.
    fn idle(&self) -> f64 {
        let before = self.usage().cpu_seconds;
        std::thread::sleep(Duration::from_secs(IDLE));
        self.usage().cpu_seconds - before
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("it has not been waited for");
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

/// A tree of directories: so many in each at each level.
pub fn tree(widths: &[usize]) -> tempfile::TempDir {
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

/// The command that prints the events of inotify.
pub fn inotifywait(program: Program, driftless: &Path) -> Command {
    match program {
        Program::Driftless => tool(driftless, "inotifywait"),
        _ => Command::new("inotifywait"),
    }
}

fn tool(driftless: &Path, name: &str) -> Command {
    let mut command = Command::new(driftless);
    command.arg(name);
    command
}

/// 100,000 directories: time until all are watched, memory then, processor time while idle.
pub fn start(program: Program, driftless: &Path) -> Outcome {
    let tree = tree(&WIDTHS);
    let mut figures = Vec::new();
    let watcher = Watcher::tool(inotifywait(program, driftless), tree.path());
    let (time, memory) = (watcher.start_time, watcher.usage().resident_bytes);
    figures.push(Figure::seconds(Row::WatchStart, time));
    figures.push(Figure::megabytes(Row::WatchMemory, memory));
    if program != Program::Driftless {
        // What the other back-end and `live` are compared with.
        for row in [Row::MarkStart, Row::LiveWatchStart, Row::LiveMarkStart] {
            figures.push(Figure::seconds(row, time));
        }
        for row in [Row::MarkMemory, Row::LiveWatchMemory, Row::LiveMarkMemory] {
            figures.push(Figure::megabytes(row, memory));
        }
        figures.push(Figure::new(Row::WatchIdle, watcher.idle()));
        return Outcome { figures, lost: None };
    }
    let mut idle = watcher.idle();
    drop(watcher);
    let watcher = Watcher::tool(tool(driftless, "fsnotifywait"), tree.path());
    figures.push(Figure::seconds(Row::MarkStart, watcher.start_time));
    figures.push(Figure::megabytes(Row::MarkMemory, watcher.usage().resident_bytes));
    idle += watcher.idle();
    figures.push(Figure::new(Row::WatchIdle, idle));
    drop(watcher);
    let (watch_time, watch_memory) = live(driftless, tree.path(), "inotify");
    let (mark_time, mark_memory) = live(driftless, tree.path(), "fanotify");
    figures.push(Figure::seconds(Row::LiveWatchStart, watch_time));
    figures.push(Figure::seconds(Row::LiveMarkStart, mark_time));
    figures.push(Figure::megabytes(Row::LiveWatchMemory, watch_memory.saturating_sub(mark_memory)));
    figures.push(Figure::megabytes(Row::LiveMarkMemory, mark_memory));
    Outcome { figures, lost: None }
}

/// `driftless live` on a tree: time until it watches, and memory once all is copied.
fn live(driftless: &Path, tree: &Path, backend: &str) -> (Duration, u64) {
    let folder = tempfile::tempdir().expect("the folder for temporary files is writable");
    let (target, control) = (folder.path().join("target"), folder.path().join("control"));
    fs::create_dir(&target).expect("the folder is ours");
    let mut command = tool(driftless, "live");
    command.arg(tree).arg(&target).args(["--backend", backend, "--control"]).arg(&control);
    let watcher = Watcher::start(command, tree, "watching the source");
    let mut flush = tool(driftless, "flush");
    flush.arg("--control").arg(&control).stdout(Stdio::null());
    assert!(flush.status().is_ok_and(|status| status.success()), "the tree was not copied");
    (watcher.start_time, watcher.usage().resident_bytes)
}

/// Full queues: time from the first read to the last line, for each event.
pub fn drain(program: Program, driftless: &Path) -> Outcome {
    let watches = inotifywait(program, driftless);
    let (per_event, lines) = match drain_queues(watches, "CLOSE_WRITE,CLOSE ") {
        Ok(drained) => drained,
        Err(outcome) => return outcome,
    };
    let mut figures = vec![Figure::new(Row::WatchDrain, per_event)];
    let events = ROUNDS * FILES * 4;
    let mut lost = (lines != events).then(|| format!("{lines} lines for {events} events"));
    if program != Program::Driftless {
        figures.push(Figure::new(Row::MarkDrain, per_event));
        return Outcome { figures, lost };
    }
    // Its kernel queue joins what happens to a name, so the names are counted.
    match drain_queues(tool(driftless, "fsnotifywait"), "") {
        Ok((per_event, lines)) => {
            figures.push(Figure::new(Row::MarkDrain, per_event));
            if lines < ROUNDS * FILES {
                lost = Some(format!("{lines} lines for {} files", ROUNDS * FILES));
            }
        }
        Err(outcome) => return outcome,
    }
    Outcome { figures, lost }
}

/// Microseconds for each event that inotify makes, and the lines that were printed; each file's last
/// line has `last` before its name.
fn drain_queues(command: Command, last: &str) -> Result<(f64, usize), Outcome> {
    let tree = tree(&[100]);
    let watcher = Watcher::tool(command, tree.path());
    let mut time = Duration::ZERO;
    for round in 0..ROUNDS {
        watcher.signal(Signal::STOP);
        let name = |file: usize| format!("file{round}.{file}");
        for file in 0..FILES {
            let dir = tree.path().join(format!("dir{}", file % 100));
            let mut file = File::create(dir.join(name(file))).expect("it is ours");
            file.write_all(b"content").expect("it is ours");
        }
        let line = format!("{last}{}\n", name(FILES - 1));
        let began = Instant::now();
        watcher.signal(Signal::CONT);
        if !watcher.wait_for(&line) {
            return Err(Outcome::lost("events were not printed"));
        }
        time += began.elapsed();
    }
    let events = ROUNDS * FILES * 4;
    Ok((time.as_secs_f64() * 1e6 / events as f64, watcher.lines()))
}
