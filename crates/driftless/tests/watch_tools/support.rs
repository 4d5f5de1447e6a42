//! Runs a tool and its original on equal trees with equal changes.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError, RwLock};

use driftless_testkit::wait;
use rustix::process::{Pid, Signal, kill_process};
use signal_hook::consts::SIGINT;
use signal_hook::flag;

/// The program under test.
pub const DRIFTLESS: &str = env!("CARGO_BIN_EXE_driftless");

/// A tree to watch: directories with `d/f`, a file, and `l`, a link to `d`.
pub const TREE: &[&str] = &["mkdir d/a", "mkdir d/b", "mkdir d/c/x", "append d/f", "ln d l"];

/// Changes of every kind.
pub const CHANGES: &[&str] = &[
    "touch d/n",
    "mv d/n d/m",
    "append d/m",
    "chmod d/m",
    "rm d/m",
    "mkdir d/q",
    "rmdir d/q",
    "cat d/f",
    "touch d/a/z",
];

/// Held shared while a file is open for a change, alone while a process is started: the new process has
/// all open files for a moment, and the close that matters would be its own, at any time.
static STARTING: RwLock<()> = RwLock::new(());

/// Starts a process while no change is being made.
pub fn starting<T>(start: impl FnOnce() -> T) -> T {
    let _alone = STARTING.write().unwrap_or_else(PoisonError::into_inner);
    start()
}

/// What a run left behind.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The exit code, or minus the signal.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

/// How a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// By itself.
    Itself,
    /// By SIGTERM.
    Term,
    /// By SIGINT.
    Int,
}

/// Makes a change: an act, a path, for some another. Each is one event for a reader at any moment: no
/// act lists a directory while it is compared, for the kernel joins equal events that nobody has read.
#[track_caller]
pub fn act(dir: &Path, line: &str) {
    let (verb, path) = line.split_once(' ').expect("an act and a path");
    let (first, second) = match verb {
        "mv" | "ln" => path.split_once(' ').expect("two paths"),
        _ => (path, ""),
    };
    let at = |index: usize| dir.join(if index == 1 { first } else { second });
    let _shared = STARTING.read().unwrap_or_else(PoisonError::into_inner);
    let done = match verb {
        "touch" => OpenOptions::new()
            .create(true)
            .append(true)
            .open(at(1))
            .and_then(|file| file.set_modified(std::time::SystemTime::now())),
        "append" => OpenOptions::new()
            .create(true)
            .append(true)
            .open(at(1))
            .and_then(|mut file| file.write_all(b"more")),
        "mv" => fs::rename(at(1), at(2)),
        "ln" => symlink(first, at(2)),
        "rm" => fs::remove_file(at(1)),
        "rmdir" => fs::remove_dir(at(1)),
        "rmtree" => fs::remove_dir_all(at(1)),
        "mkdir" => fs::create_dir_all(at(1)),
        "chmod" => fs::set_permissions(at(1), PermissionsExt::from_mode(0o700)),
        "cat" => fs::read(at(1)).map(drop),
        other => panic!("no act is called {other}"),
    };
    done.unwrap_or_else(|error| panic!("{line}: {error}"));
}

/// A running tool. Killed when dropped.
pub struct Run {
    child: Child,
    out: PathBuf,
    err: PathBuf,
}

impl Run {
    /// Starts a tool in `dir`; what it prints goes to files beside it.
    pub fn start(mut command: Command, dir: &Path) -> Self {
        let beside = |suffix: &str| PathBuf::from(format!("{}.{suffix}", dir.display()));
        let (out, err) = (beside("out"), beside("err"));
        // What a background shell leaves ignored stays so in a new process; what is caught does not.
        flag::register_conditional_default(SIGINT, Arc::new(AtomicBool::new(true)))
            .expect("SIGINT can be caught");
        command
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(File::create(&out).unwrap())
            .stderr(File::create(&err).unwrap())
            .env("TZ", "UTC");
        let child = starting(|| command.spawn())
            .unwrap_or_else(|error| panic!("{command:?}: {error}; inotify-tools is needed"));
        Self { child, out, err }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stdout_bytes(&self) -> Vec<u8> {
        fs::read(&self.out).unwrap()
    }

    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout_bytes()).into_owned()
    }

    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.err).unwrap()).into_owned()
    }

    /// Waits until it waits: whatever had happened by then has been dealt with, for the kernel makes a
    /// sleeper runnable before the change returns. False when it has ended.
    #[track_caller]
    pub fn wait_idle(&mut self) -> bool {
        let pid = self.child.id();
        wait::until("the tool waits for events or ends", wait::GENEROUS, || {
            if self.child.try_wait().unwrap().is_some() {
                return Some(false);
            }
            let sleeps_in = fs::read_to_string(format!("/proc/{pid}/wchan")).unwrap_or_default();
            sleeps_in.contains("poll").then_some(true)
        })
    }

    /// Waits until it has printed `text`.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        wait::until(text, wait::GENEROUS, || {
            let found = self.stdout().contains(text) || self.stderr().contains(text);
            let ended = self.child.try_wait().unwrap();
            assert!(
                found || ended.is_none(),
                "ended: {ended:?}\n{}{}",
                self.stdout(),
                self.stderr()
            );
            found.then_some(())
        });
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Ends it and returns what it left behind.
    #[track_caller]
    pub fn end(mut self, end: End) -> Outcome {
        match end {
            End::Itself => {}
            End::Term => self.signal(Signal::TERM),
            End::Int => self.signal(Signal::INT),
        }
        let status =
            wait::until("the tool ends", wait::GENEROUS, || self.child.try_wait().unwrap());
        let code = status.code().unwrap_or_else(|| -status.signal().unwrap_or(0));
        Outcome { code, stdout: self.stdout(), stderr: self.stderr() }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        // Fails when it has ended already, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_file(&self.out);
        let _ = fs::remove_file(&self.err);
    }
}

/// The original program of that name.
pub fn original(tool: &str) -> Command {
    Command::new(tool)
}

/// Ours, called by that name.
pub fn ours(tool: &str) -> Command {
    let mut command = Command::new(DRIFTLESS);
    command.arg0(tool);
    command
}

/// A command line: the tool, then words with `␣` for a space in a word and `∅` for an empty one.
pub fn words(line: &str) -> (&str, Vec<String>) {
    let mut words = line.split_ascii_whitespace();
    let tool = words.next().expect("a tool is named");
    (tool, words.map(|word| word.replace('␣', " ").replace('∅', "")).collect())
}

/// One scripted run in a fresh copy of the tree.
#[track_caller]
pub fn run(
    mut command: Command,
    words: &[String],
    plant: &[&str],
    acts: &[&str],
    end: End,
) -> Outcome {
    let dir = tempfile::tempdir_in(std::env::temp_dir()).unwrap();
    plant.iter().for_each(|line| act(dir.path(), line));
    command.args(words);
    let mut run = Run::start(command, dir.path());
    for line in acts {
        if !run.wait_idle() {
            break;
        }
        act(dir.path(), line);
    }
    let running = run.wait_idle();
    let mut outcome = run.end(if running { end } else { End::Itself });
    let logged = fs::read_to_string(dir.path().join("log")).unwrap_or_default();
    outcome.stdout += &logged;
    let place = dir.path().canonicalize().unwrap().display().to_string();
    outcome.stdout = outcome.stdout.replace(&place, "DIR");
    outcome
}

/// Both programs, the original first.
#[track_caller]
pub fn both(line: &str, plant: &[&str], acts: &[&str], end: End) -> (Outcome, Outcome) {
    let (tool, words) = words(line);
    (run(original(tool), &words, plant, acts, end), run(ours(tool), &words, plant, acts, end))
}

/// Checks that both programs leave the same behind.
#[track_caller]
pub fn same(line: &str, acts: &[&str]) -> Outcome {
    same_in(line, TREE, acts, End::Term)
}

/// The same with another tree or end.
#[track_caller]
pub fn same_in(line: &str, plant: &[&str], acts: &[&str], end: End) -> Outcome {
    let (theirs, ours) = both(line, plant, acts, end);
    alike(ours, &theirs, line)
}

/// Checks that a run of ours left the same behind; of one that fails it may explain more below.
#[track_caller]
pub fn alike(mut ours: Outcome, theirs: &Outcome, line: &str) -> Outcome {
    if ours.code == 1 && ours.stderr.starts_with(&theirs.stderr) {
        ours.stderr.truncate(theirs.stderr.len());
    }
    assert_eq!(&ours, theirs, "left: ours, right: the original; {line}");
    ours
}

/// Checks that both programs refuse the command line with the same line and code; ours may explain
/// more below it.
#[track_caller]
pub fn refused(line: &str) {
    let (theirs, ours) = both(line, TREE, &[], End::Itself);
    assert_eq!((ours.code, &ours.stdout), (theirs.code, &theirs.stdout), "{line}");
    assert!(ours.stderr.starts_with(&theirs.stderr), "{line}\n{}\n{}", ours.stderr, theirs.stderr);
    assert_eq!(theirs.code, 1, "{line}");
    assert!(!theirs.stderr.is_empty(), "{line}");
}
