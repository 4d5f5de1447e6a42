//! Random changes against a live mirror with three stock daemons.

use std::time::Duration;

use driftless_testkit::arb::Ops;
use driftless_testkit::compare::differences;
use driftless_testkit::live::LiveRun;
use driftless_testkit::scenario::Stage;

use crate::DRIFTLESS;

const CHANGES: usize = 2_000;

/// `DRIFTLESS_SEED` repeats a run.
#[test]
fn after_random_changes_and_a_flush_all_trees_are_identical() {
    let mut stage = Stage::book(DRIFTLESS, 3);
    stage.compare.hard_links = true;
    let seed = Ops::seed_from_environment();
    let mut ops = Ops::new(seed, &stage.source(), &stage.outside());
    ops.burst(100);
    let run = stage.live(&["--hard-links", "--max-delete", "none"]);
    change_and_compare(&stage, &run, ops, CHANGES);
    stage.stock_rsync_finds_nothing(&[]);
}

/// To daemons and to a directory of this machine.
#[test]
fn acls_and_extended_attributes_follow_random_changes() {
    let mut stage = Stage::book(DRIFTLESS, 1);
    stage.compare.hard_links = true;
    stage.compare.xattrs = true;
    let seed = Ops::seed_from_environment();
    let mut ops = Ops::new(seed, &stage.source(), &stage.outside()).with_attributes();
    ops.burst(100);
    let copy = stage.outside().with_file_name("copy");
    let targets = [stage.url(0), copy.display().to_string()];
    let command = stage.command_to(&targets).arg("--hard-links").arg("--max-delete").arg("none");
    let mut run = command.arg("--acls").arg("--xattrs").start();
    run.wait_live();
    change_and_compare(&stage, &run, ops, CHANGES / 4);
    let found = differences(&stage.source(), &copy, &stage.compare).unwrap();
    assert!(found.is_empty(), "{found:#?}");
    stage.stock_rsync_finds_nothing(&["-AX"]);
    let verified = run.control("verify", &["--timeout", "60s"]);
    assert!(verified.status.success(), "{verified:?}");
}

#[track_caller]
fn change_and_compare(stage: &Stage, run: &LiveRun, mut ops: Ops, count: usize) {
    while ops.len() < count {
        for _ in 0..ops.number(1..6) {
            let count = ops.number(1..60);
            ops.burst(count);
            // Lets the mirror work on part of it, so that changes also meet batches in flight.
            std::thread::sleep(Duration::from_millis(ops.number(0..30) as u64));
        }
        run.flush_everywhere();
        let found = stage.differences();
        if !found.is_empty() {
            let names: Vec<&str> = found
                .iter()
                .filter_map(|line| line.split(": ").nth(1))
                .filter(|name| *name != ".")
                .take(8)
                .collect();
            panic!("trees differ:\n{}\n{}", found.join("\n"), ops.report(&names));
        }
    }
}
