//! Each set of options, over each way, with each protocol, with driftless at either end and at
//! both: what is left, what is said and how it ends is as between two real ones.
//!
//! The whole runs with `DRIFTLESS_FULL` in the environment; by default, the cells of [`EQUAL`].
//! `DRIFTLESS_PART=2/8` runs the second eighth of it, `DRIFTLESS_SETS=-z` the sets with these letters.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use driftless_testkit::arb::Ops;

use crate::cells::{Count, check};
use crate::ground::{Cast, Ground, Way};
use crate::sets::SETS;
use crate::trees::plant;

const PROTOCOLS: [u32; 4] = [32, 31, 30, 29];

/// Cells that run by default, with the tree of seed 1.
const EQUAL: &[(&str, Way, u32, Cast)] = &[
    ("-ai", Way::Local, 32, Cast::Client),
    ("-av", Way::PushShell, 31, Cast::Client),
    ("-aii", Way::PullShell, 30, Cast::Client),
    ("-i --old-dirs", Way::PullDaemon, 32, Cast::Client),
    ("-aiR --no-implied-dirs", Way::Local, 30, Cast::Client),
    ("-ai --files-from=list", Way::PushShell, 29, Cast::Server),
    ("-aiu", Way::PushDaemon, 31, Cast::Client),
    ("-aiI", Way::PullDaemon, 30, Cast::Client),
    ("-ai -@-1", Way::Local, 32, Cast::Client),
    ("-aix", Way::PullShell, 30, Cast::Both),
    ("-aim --include=*/ --include=*.c --exclude=*", Way::PushDaemon, 29, Cast::Client),
    ("-ai --exclude-from=rules", Way::PullDaemon, 32, Cast::Client),
    ("-anv", Way::PushShell, 29, Cast::Client),
    ("-an --stats", Way::PullShell, 32, Cast::Client),
    ("-aiy --no-W --stats", Way::PushDaemon, 31, Cast::Client),
    ("-ai --no-W -B 2000", Way::Local, 32, Cast::Client),
    ("-ai --no-W --stats", Way::PushShell, 31, Cast::Server),
    ("-ai --cc=md4", Way::PullShell, 30, Cast::Server),
    ("-ai --checksum-seed=77", Way::PullDaemon, 32, Cast::Client),
    ("-ai --inplace --no-W", Way::Local, 30, Cast::Client),
    ("-ai --append-verify", Way::PushShell, 29, Cast::Both),
    ("-aiSI", Way::PushDaemon, 31, Cast::Client),
    ("-ai --preallocate", Way::PullDaemon, 30, Cast::Client),
    ("-aiz", Way::Local, 32, Cast::Client),
    ("-ai --zc=lz4", Way::PullShell, 30, Cast::Client),
    ("-aiz --skip-compress=c/txt", Way::PushDaemon, 29, Cast::Client),
    ("-ai --remove-source-files", Way::PullDaemon, 32, Cast::Client),
    ("-rpi", Way::PushShell, 29, Cast::Server),
    ("-rEi", Way::PullShell, 32, Cast::Server),
    ("-rltgi", Way::PushDaemon, 31, Cast::Client),
    ("-ai --no-specials", Way::Local, 32, Cast::Client),
    ("-ai --chmod=F640,Dg+s,Do-rx", Way::PushShell, 31, Cast::Both),
    ("-ai --numeric-ids", Way::PullShell, 30, Cast::Both),
    ("-aiJ", Way::PullDaemon, 32, Cast::Client),
    ("-aiUU", Way::Local, 30, Cast::Client),
    ("-aiX", Way::PushShell, 29, Cast::Client),
    ("-aH", Way::PushDaemon, 31, Cast::Client),
    ("-aHi --delete --no-i-r", Way::PullDaemon, 30, Cast::Client),
    ("-rti", Way::Local, 32, Cast::Client),
    ("-aKi", Way::PullShell, 30, Cast::Server),
    ("-aiv --safe-links", Way::PushDaemon, 29, Cast::Client),
    ("-ai --delete", Way::PullDaemon, 32, Cast::Client),
    ("-ai --delete-after", Way::PushShell, 29, Cast::Both),
    ("-ai --delete-excluded --exclude=extra --exclude=*.c", Way::PullShell, 32, Cast::Both),
    ("-ai --delete --max-delete=0", Way::PushDaemon, 31, Cast::Client),
    ("-aiR --delete --files-from=list -r", Way::Local, 32, Cast::Client),
    ("-ai --delete-missing-args --files-from=list --stats", Way::PushShell, 31, Cast::Client),
    ("-aib", Way::PullShell, 30, Cast::Client),
    ("-aib --inplace --no-W", Way::PullDaemon, 32, Cast::Client),
    ("-ai --compare-dest=../alt", Way::Local, 30, Cast::Client),
    ("-ai --link-dest=../alt", Way::PushShell, 29, Cast::Server),
    ("-ai --old-args", Way::PushDaemon, 31, Cast::Client),
    ("-ai --trust-sender", Way::PullDaemon, 30, Cast::Client),
    ("-ai --stop-after=50", Way::Local, 32, Cast::Client),
    ("-aiq", Way::PullShell, 30, Cast::Both),
    ("-a --progress", Way::PushDaemon, 29, Cast::Client),
    ("-a --out-format=%o_%n_%l_%i_%U_%G --delete", Way::PullDaemon, 32, Cast::Client),
    ("-ai8", Way::PushShell, 29, Cast::Client),
    ("-r --list-only", Way::PushShell, 29, Cast::Both),
    ("-r --list-only", Way::PushShell, 32, Cast::Server),
    ("-ai0 --files-from=list0", Way::PushDaemon, 30, Cast::Client),
    ("-ai0 --files-from=list0", Way::Local, 32, Cast::Client),
    ("-ac --cc=sha1 --out-format=%C_%n", Way::Local, 31, Cast::Client),
    ("-a --cc=none --out-format=%C_%n", Way::PullShell, 32, Cast::Client),
    ("-ai --append-verify --chmod=a+x", Way::PushShell, 32, Cast::Server),
    ("-aHLi", Way::Local, 30, Cast::Client),
    ("-aiHA -M--fake-super --delete", Way::Local, 32, Cast::Client),
    ("-aiX -M--fake-super", Way::PushShell, 31, Cast::Server),
    ("-rlogDi -M--fake-super", Way::PushShell, 32, Cast::Both),
    ("-ai -M--fake-super ENDS:s/,kept", Way::PushShell, 30, Cast::Server),
    ("-aiHAX --fake-super -M--super ENDS:kept/,d", Way::PushShell, 32, Cast::Client),
    ("-aiHAX --fake-super -M--super ENDS:kept/,d", Way::Local, 31, Cast::Client),
    ("-ai --stderr=all", Way::PullShell, 32, Cast::Client),
    ("-aiy --no-W --stats", Way::Local, 32, Cast::Client),
    ("-ai --remove-source-files", Way::PullShell, 29, Cast::Client),
    ("-ai --remove-source-files", Way::PullShell, 29, Cast::Server),
    ("-ai --files-from=list --no-implied-dirs", Way::Local, 29, Cast::Client),
    ("-ai --files-from=list --no-implied-dirs", Way::PushDaemon, 29, Cast::Client),
    ("-a --info=progress2", Way::PullDaemon, 32, Cast::Client),
    ("-r --list-only --delete", Way::PullShell, 29, Cast::Client),
    ("-aiy --inplace --no-W", Way::PullShell, 32, Cast::Client),
    ("-aiI --inplace --no-W --link-dest=../alt", Way::PushShell, 31, Cast::Server),
    ("-avv --delete --exclude=*.o --include=k*", Way::Local, 32, Cast::Client),
    ("-aLX --no-W --inplace --stats", Way::Local, 32, Cast::Client),
    ("-r --list-only --files-from=list", Way::Local, 32, Cast::Client),
    ("-aHi --delay-updates", Way::Local, 32, Cast::Client),
    ("-aHii --compare-dest=../alt", Way::Local, 32, Cast::Client),
    ("-aHii --copy-dest=../alt", Way::PushShell, 32, Cast::Server),
    ("-aib --inplace --no-W --link-dest=../s", Way::Local, 32, Cast::Client),
    ("-acHii --out-format=%C_%n_%i", Way::PushDaemon, 32, Cast::Client),
    ("-ai --files-from=list --exclude=kinds", Way::PullShell, 32, Cast::Client),
    ("-ai --del --delete-delay", Way::PullDaemon, 31, Cast::Client),
];

/// Whether everything is to run; says so when it is not.
pub fn runs_in_full() -> bool {
    let is_full = std::env::var_os("DRIFTLESS_FULL").is_some();
    if !is_full {
        println!("not run: this test needs DRIFTLESS_FULL in the environment (`make interop`)");
    }
    is_full
}

/// The part that is to run, counted from 0, and of how many.
fn part() -> (usize, usize) {
    let Ok(part) = std::env::var("DRIFTLESS_PART") else { return (0, 1) };
    let numbers =
        part.split_once('/').and_then(|(at, of)| Some((at.parse().ok()?, of.parse().ok()?)));
    match numbers {
        Some((at @ 1.., of)) if at <= of => (at - 1, of),
        _ => panic!("DRIFTLESS_PART is {part}, not such as 2/8"),
    }
}

/// Runs `count` jobs on the machine's cores and fails with everything that was wrong.
#[track_caller]
pub fn on_all_cores(count: usize, seed: u64, job: impl Fn(usize) -> Count + Sync) {
    let (first, step) = part();
    let (next, all) = (AtomicUsize::new(0), Mutex::new(Count::default()));
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let at = first + step * next.fetch_add(1, Ordering::Relaxed);
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

/// A tree for copies to be made of.
fn planted(ground: &Ground, seed: u64) -> PathBuf {
    let master = ground.path("master");
    std::fs::create_dir(&master).unwrap();
    plant(&master, seed);
    master
}

/// The words of a command line with this protocol.
fn words_of(set: &str, protocol: u32) -> Vec<String> {
    let mut words: Vec<String> = set.split_whitespace().map(str::to_owned).collect();
    if protocol != 32 {
        words.push(format!("--protocol={protocol}"));
    }
    words
}

#[test]
fn a_cell_of_each_kind_is_equal() {
    let ground = Ground::new();
    let master = planted(&ground, 1);
    on_all_cores(EQUAL.len(), 1, |at| {
        let (set, way, protocol, cast) = EQUAL[at];
        check(&ground, &master, &at.to_string(), way, &[cast], &words_of(set, protocol))
    });
}

/// Runs with `DRIFTLESS_FULL` in the environment alone.
#[test]
fn every_option_over_every_way_with_every_protocol() {
    if !runs_in_full() {
        return;
    }
    let seed = Ops::seed_from_environment();
    let ground = Ground::new();
    let master = planted(&ground, seed);
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
        check(&ground, &master, &at.to_string(), *way, casts, &words_of(set, *protocol))
    });
}
