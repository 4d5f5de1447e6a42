//! The highest rate of writing, while it goes on, at which a watcher loses nothing.
//!
//! A reader that has a processor to itself is faster than anybody can write, so it gets one that it
//! shares with others, and the files are written on another.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use crate::programs::Program;
use crate::table::{Figure, Outcome, Row};
use crate::watching::{Watcher, inotifywait, tree};

/// Threads that never rest on the reader's processor: it gets one part in 64, which is so little
/// that one writer can make more events than any reader follows.
const OTHERS: usize = 63;
/// So long that what the queue takes in once (16,384 events by default) is a small part of the events,
/// also at the rate of the slowest.
const TRIAL: Duration = Duration::from_secs(6);
/// Files a second that any watcher can follow.
const SLOWEST: f64 = 4_000.0;
/// Halvings of the span between a rate that was followed and one that was not.
const HALVINGS: usize = 4;
/// A writer that does not get to this part of the wanted rate is the limit itself.
const KEPT_UP: f64 = 0.97;
/// Created, modified, closed.
const EVENTS: usize = 3;
/// Files are written in bursts of this length, and the writer rests in between.
const BURST: Duration = Duration::from_millis(1);

/// One rate, tried.
struct Trial {
    /// Files a second that were written.
    rate: f64,
    kept_up: bool,
    lossless: bool,
    /// The reader's processor time for each event, in microseconds.
    cpu: f64,
}

impl Trial {
    fn outcome(&self) -> Outcome {
        let figures =
            vec![Figure::new(Row::WatchRate, self.rate), Figure::new(Row::WatchCpu, self.cpu)];
        Outcome { figures, lost: None }
    }

    /// The outcome when the writer, not the reader, was the limit: at least this rate is followed, which
    /// is nothing that others can be measured by.
    fn bounded(&self, program: Program) -> Outcome {
        if program == Program::Driftless {
            return self.outcome();
        }
        let why = format!("the writer came to its limit first, {:.0} files/s", self.rate);
        Outcome { figures: vec![Figure::new(Row::WatchCpu, self.cpu)], lost: Some(why) }
    }
}

/// The highest rate that was followed without loss.
pub fn rate(program: Program, driftless: &Path) -> Outcome {
    let try_rate = |rate| {
        let trial = trial(program, driftless, rate);
        let said = if trial.lossless { "followed" } else { "events lost" };
        eprint!("{:.0} files/s {said}; ", trial.rate);
        trial
    };
    let mut wanted = SLOWEST;
    let mut good: Option<Trial> = None;
    let mut bad = loop {
        let trial = try_rate(wanted);
        if !trial.lossless {
            break trial.rate;
        }
        if !trial.kept_up {
            eprint!("no faster writer; ");
            return trial.bounded(program);
        }
        good = Some(trial);
        wanted *= 2.0;
    };
    let Some(mut good) = good else { return Outcome::lost("events are lost at any rate") };
    for _ in 0..HALVINGS {
        let trial = try_rate((good.rate * bad).sqrt());
        if trial.lossless {
            good = trial;
        } else {
            bad = trial.rate;
        }
    }
    good.outcome()
}

fn trial(program: Program, driftless: &Path, wanted: f64) -> Trial {
    let tree = tree(&[100]);
    let mut command = inotifywait(program, driftless);
    command.args(["-e", "create,modify,close_write"]);
    let watcher = Watcher::tool(command, tree.path());
    let cpus = cpus();
    let (first, last) = (cpus[0], cpus[cpus.len() - 1]);
    sched_setaffinity(Some(watcher.pid()), &only(first)).expect("the process is ours");
    let over = AtomicBool::new(false);
    let before = watcher.processor_time();
    let (written, time) = std::thread::scope(|scope| {
        for _ in 0..OTHERS {
            scope.spawn(|| {
                sched_setaffinity(None, &only(first)).expect("the thread is ours");
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let writer = scope.spawn(|| {
            sched_setaffinity(None, &only(last)).expect("the thread is ours");
            write_at(tree.path(), wanted)
        });
        let written = writer.join().expect("the tree is ours");
        over.store(true, Ordering::Relaxed);
        written
    });
    watcher.wait_idle();
    let rate = written as f64 / time.as_secs_f64();
    let lines = watcher.lines();
    let cpu = (watcher.processor_time() - before).as_secs_f64() * 1e6 / lines as f64;
    Trial { rate, kept_up: rate >= wanted * KEPT_UP, lossless: lines == written * EVENTS, cpu }
}

/// Writes files at a rate for a while; returns their number and the time that it took.
fn write_at(tree: &Path, wanted: f64) -> (usize, Duration) {
    let mut written = 0;
    let began = Instant::now();
    loop {
        let due = began.elapsed().min(TRIAL).as_secs_f64() * wanted;
        while (written as f64) < due && began.elapsed() < TRIAL {
            let path = tree.join(format!("dir{}/file{written}", written % 100));
            let mut file = File::create(path).expect("the tree is ours");
            file.write_all(b"content").expect("the tree is ours");
            written += 1;
        }
        if began.elapsed() >= TRIAL {
            return (written, began.elapsed());
        }
        std::thread::sleep(BURST);
    }
}

/// The processors that this process may use.
fn cpus() -> Vec<usize> {
    let allowed = sched_getaffinity(None).expect("the process is ours");
    (0..CpuSet::MAX_CPU).filter(|&cpu| allowed.is_set(cpu)).collect()
}

fn only(cpu: usize) -> CpuSet {
    let mut set = CpuSet::new();
    set.set(cpu);
    set
}
