//! What a run costs in all processes that it starts: time, processor time, memory.

use std::collections::BTreeMap;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// Between two looks at the memory of all processes.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(10);

/// What a run has cost.
#[derive(Clone, Copy, Debug, Default)]
pub struct Spent {
    pub wall: Duration,
    /// User and system time.
    pub cpu: Duration,
    /// Sum of the largest resident sizes of all processes, in KiB.
    pub memory: u64,
}

/// Runs `work`, which starts processes and waits for all of them.
pub fn measure(work: impl FnOnce()) -> Spent {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let sampler = scope.spawn(|| sample_until(&over));
        let end = Ends(&over);
        let before = cpu_of_children();
        let began = Instant::now();
        work();
        let wall = began.elapsed();
        let cpu = cpu_of_children() - before;
        drop(end);
        Spent { wall, cpu, memory: sampler.join().expect("it cannot fail") }
    })
}

/// Ends the sampling, also when the work has panicked.
struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn cpu_of_children() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("it is always known");
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(u64::try_from(micros).unwrap_or_default())
}

fn sample_until(over: &AtomicBool) -> u64 {
    let mut largest = BTreeMap::new();
    while !over.load(Ordering::Relaxed) {
        look_below(std::process::id(), &mut largest);
        thread::sleep(SAMPLE_INTERVAL);
    }
    largest.values().sum()
}

/// Notes the largest resident size so far of all processes below `parent`. A process between fork
/// and exec shows its parent's size until it is looked at again.
fn look_below(parent: u32, largest: &mut BTreeMap<u32, u64>) {
    let Ok(tasks) = fs::read_dir(format!("/proc/{parent}/task")) else { return };
    for task in tasks.flatten() {
        let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for child in children.split_whitespace().filter_map(|word| word.parse().ok()) {
            if let Some(size) = peak(child) {
                largest.insert(child, size);
            }
            look_below(child, largest);
        }
    }
}

fn peak(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}
