//! Each set of options, over each way, with each protocol, with driftless at either end and at
//! both: what is left, what is said and how it ends is as between two real ones.
//!
//! A part is run by default; the whole with `DRIFTLESS_FULL` in the environment.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use driftless_testkit::arb::Ops;

use crate::cells::{Count, check};
use crate::ground::{Ground, Way};
use crate::sets::SETS;
use crate::trees::plant;

const PROTOCOLS: [u32; 4] = [32, 31, 30, 29];

/// Every so manieth cell is run by default.
const PART: usize = 40;

/// Runs `count` jobs on the machine's cores and fails with everything that was wrong.
#[track_caller]
pub fn on_all_cores(count: usize, seed: u64, job: impl Fn(usize) -> Count + Sync) {
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Count::default()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    if at >= count {
                        break;
                    }
                    let found = job(at);
                    let mut all = all.lock().unwrap();
                    all.cells += found.cells;
                    all.wrong.extend(found.wrong);
                }
            });
        }
    });
    let all = all.into_inner().unwrap();
    println!("{} runs, {} of them wrong", all.cells, all.wrong.len());
    let wrong = all.wrong.join("\n\n");
    assert!(all.wrong.is_empty(), "seed {seed}: {} of {}\n{wrong}", all.wrong.len(), all.cells);
}

#[test]
fn every_option_over_every_way_with_every_protocol() {
    let seed = Ops::seed_from_environment();
    let ground = Ground::new();
    let master = ground.path("master");
    std::fs::create_dir(&master).unwrap();
    plant(&master, seed);
    let only = std::env::var("DRIFTLESS_SETS").unwrap_or_default();
    let mut cells = Vec::new();
    for set in SETS.iter().filter(|set| only.is_empty() || set.contains(&only)) {
        // A daemon refuses that one.
        let refused = |way: &Way| way.is_daemon() && set.contains("--copy-devices");
        for way in Way::ALL.into_iter().filter(|way| !refused(way)) {
            for protocol in PROTOCOLS {
                for cast in way.casts() {
                    cells.push((*set, way, protocol, *cast));
                }
            }
        }
    }
    if std::env::var_os("DRIFTLESS_FULL").is_none() {
        cells = cells.into_iter().skip(seed as usize % PART).step_by(PART).collect();
    }
    // Casts of one cell share the original's run.
    let mut grouped: Vec<(&str, Way, u32, Vec<_>)> = Vec::new();
    for (set, way, protocol, cast) in cells {
        match grouped.last_mut() {
            Some((s, w, p, casts)) if (*s, *w, *p) == (set, way, protocol) => casts.push(cast),
            _ => grouped.push((set, way, protocol, vec![cast])),
        }
    }
    on_all_cores(grouped.len(), seed, |at| {
        let (set, way, protocol, casts) = &grouped[at];
        let mut words: Vec<String> = set.split_whitespace().map(str::to_owned).collect();
        if *protocol != 32 {
            words.push(format!("--protocol={protocol}"));
        }
        check(&ground, &master, &at.to_string(), *way, casts, &words)
    });
}
