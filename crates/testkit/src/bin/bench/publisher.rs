//! One program at work on one stage: a source, three stock daemons, and the means to measure.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use driftless_testkit::compare::{self, CompareOptions};
use driftless_testkit::kernel::{self, Usage};
use driftless_testkit::netfault::Proxy;
use driftless_testkit::scenario::Stage;
use driftless_testkit::wait;

use crate::programs::Program;

/// When a change counts as lost.
pub const LOST_AFTER: Duration = Duration::from_secs(120);

const PROBE: &str = "probe";

/// A program that mirrors a stage. Killed with its children when dropped.
pub struct Publisher {
    /// The trees.
    pub stage: Stage,
    proxies: Vec<Proxy>,
    folder: tempfile::TempDir,
    driftless: PathBuf,
    program: Program,
    child: Child,
    started: Instant,
}

impl Publisher {
    /// Starts `program` on a stage with `targets` daemons; does not wait for its first pass.
    pub fn start(program: Program, driftless: &Path, stage: Stage, count_bytes: bool) -> Self {
        let proxies: Vec<Proxy> = stage
            .daemons
            .iter()
            .filter(|_| count_bytes)
            .map(|daemon| Proxy::start(daemon.port()))
            .collect();
        let urls: Vec<String> = (0..stage.daemons.len())
            .map(|index| match proxies.get(index) {
                Some(proxy) => {
                    let module = format!("web{}", index + 1);
                    stage.daemons[index].url_through(proxy.port(), &module)
                }
                None => stage.url(index),
            })
            .collect();
        let folder = tempfile::tempdir().expect("the folder for temporary files is writable");
        let mut command = program.command(
            driftless,
            &stage.source(),
            &urls,
            &stage.password_file(),
            folder.path(),
        );
        let started = Instant::now();
        let child = command
            .process_group(0)
            .spawn()
            .unwrap_or_else(|e| panic!("bench needs the program {}: {e}", program.name()));
        Self { stage, proxies, folder, driftless: driftless.to_owned(), program, child, started }
    }

    /// Waits until a change arrives everywhere: the first pass is over and events are seen.
    pub fn wait_ready(&self) {
        let mut round = 0;
        wait::until("the program mirrors", LOST_AFTER, || {
            round += 1;
            let text = "x".repeat(round);
            self.stage.write(PROBE, &text);
            wait::within(Duration::from_secs(3), || self.everywhere(PROBE, text.as_bytes()))
        });
        self.wait_idle();
    }

    /// Waits until the program has used no processor time for a while.
    pub fn wait_idle(&self) {
        let (mut last, mut since) = (-1.0, Instant::now());
        wait::within(Duration::from_secs(20), || {
            let now = self.usage().cpu_seconds;
            if now != last {
                (last, since) = (now, Instant::now());
            }
            (since.elapsed() > Duration::from_millis(600)).then_some(())
        });
    }

    /// Whether `name` has this content on each target.
    pub fn everywhere(&self, name: &str, content: &[u8]) -> Option<()> {
        (0..self.stage.daemons.len())
            .all(|index| {
                fs::read(self.stage.target(index).join(name)).is_ok_and(|bytes| bytes == content)
            })
            .then_some(())
    }

    /// Spins until `arrived`, looking every 0.1 ms; the time it took, or nothing if it takes longer
    /// than [`Program::patience`].
    pub fn time_until(&self, mut arrived: impl FnMut() -> bool) -> Option<Duration> {
        let start = Instant::now();
        while !arrived() {
            if start.elapsed() > self.program.patience() {
                return None;
            }
            std::thread::sleep(Duration::from_micros(100));
        }
        Some(start.elapsed())
    }

    /// Whether `check` holds for the folder of each target; each is asked until it says yes once.
    pub fn all_targets<'a>(
        &'a self,
        mut check: impl FnMut(&Path) -> bool + 'a,
    ) -> impl FnMut() -> bool + 'a {
        let mut done = 0;
        move || {
            while done < self.stage.daemons.len() && check(self.stage.target(done)) {
                done += 1;
            }
            done == self.stage.daemons.len()
        }
    }

    /// Bytes that passed to and from the daemons so far.
    pub fn bytes(&self) -> u64 {
        self.proxies.iter().map(|proxy| proxy.bytes_up() + proxy.bytes_down()).sum()
    }

    /// What the program's processes used so far.
    pub fn usage(&self) -> Usage {
        kernel::group_usage(self.child.id()).expect("the process table can be read")
    }

    /// Bytes that the program's living processes read from files so far.
    pub fn bytes_read(&self) -> u64 {
        kernel::bytes_read(self.child.id()).unwrap_or(0)
    }

    /// Waits for the end of the first pass, as `driftless flush` or the end of rsync tells it, and
    /// returns the time since the start and the processor time.
    pub fn first_pass(&mut self) -> (Duration, f64) {
        match self.program {
            Program::Driftless => {
                let flush = || {
                    let status = Command::new(&self.driftless)
                        .arg("flush")
                        .arg("--control")
                        .arg(self.folder.path().join("control"))
                        .args(["--timeout", "300s"])
                        .stderr(Stdio::null())
                        .status();
                    status.is_ok_and(|s| s.success()).then_some(())
                };
                wait::until("the first pass ends", LOST_AFTER, flush);
                (self.started.elapsed(), self.usage().cpu_seconds)
            }
            _ => {
                let before = kernel::finished_children_cpu();
                self.child.wait().expect("our own child");
                (self.started.elapsed(), kernel::finished_children_cpu() - before)
            }
        }
    }

    /// What differs at the end, when it still does after a while.
    pub fn lost(&self) -> Option<String> {
        let options = CompareOptions { times: false, ..CompareOptions::default() };
        let mut found = Vec::new();
        let equal = wait::within(Duration::from_secs(15), || {
            found.clear();
            for index in 0..self.stage.daemons.len() {
                match compare::differences(&self.stage.source(), self.stage.target(index), &options)
                {
                    Ok(lines) => found.extend(lines),
                    Err(error) => found.push(error.to_string()),
                }
            }
            found.is_empty().then_some(())
        });
        match equal {
            Some(()) => None,
            None => Some(format!("{} differences, first {}", found.len(), found[0])),
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.child.id().cast_signed()) {
            // Fails only when all of them have ended already.
            let _ = rustix::process::kill_process_group(pid, rustix::process::Signal::KILL);
        }
        let _ = self.child.wait();
    }
}
