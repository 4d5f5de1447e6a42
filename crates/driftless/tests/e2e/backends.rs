//! The same mirror, whichever way the kernel tells of changes.

use driftless_testkit::arb::Ops;
use driftless_testkit::live::LiveRun;
use driftless_testkit::scenario::Stage;

use crate::DRIFTLESS;

fn backend(run: &LiveRun) -> String {
    let status = run.status().expect("it answers");
    status["mirrors"][0]["watch"]["backend"].as_str().expect("it is told").to_owned()
}

#[track_caller]
fn after_random_changes_trees_are_identical(name: &str) {
    let mut stage = Stage::book(DRIFTLESS, 1);
    stage.compare.hard_links = true;
    let mut ops = Ops::new(Ops::seed_from_environment(), &stage.source(), &stage.outside());
    if name == "poll" {
        // What leaves no trace in times and sizes, only events tell.
        ops = ops.visible_edits_only();
    }
    ops.burst(100);
    let mut run = stage.live(&["--hard-links", "--max-delete", "none", "--backend", name]);
    run.wait_live();
    assert_eq!(backend(&run), name);
    for _ in 0..5 {
        ops.burst(100);
        run.flush_everywhere();
        let found = stage.differences();
        assert!(found.is_empty(), "trees differ:\n{}\n{}", found.join("\n"), ops.report(&[]));
    }
    stage.stock_rsync_finds_nothing(&[]);
}

#[test]
fn with_fanotify_trees_are_identical() {
    after_random_changes_trees_are_identical("fanotify");
}

#[test]
fn with_inotify_trees_are_identical() {
    after_random_changes_trees_are_identical("inotify");
}

#[test]
fn with_polling_trees_are_identical() {
    after_random_changes_trees_are_identical("poll");
}

#[test]
fn a_large_tree_is_watched_with_fanotify_and_stays_identical() {
    let stage = Stage::book(DRIFTLESS, 1);
    plant_directories(&stage);
    let run = stage.live(&[]);
    assert_eq!(backend(&run), "fanotify");
    stage.write("d17/today.html", "new");
    stage.settles(&run);
    assert_eq!(backend(&Stage::book(DRIFTLESS, 1).live(&[])), "inotify", "a small one");
}

fn plant_directories(stage: &Stage) {
    for number in 0..8_192 {
        std::fs::create_dir(stage.at(&format!("d{number}"))).unwrap();
    }
}

#[test]
fn without_the_rights_for_fanotify_it_falls_back_and_says_so_once() {
    let stage = Stage::book(DRIFTLESS, 1);
    plant_directories(&stage);
    let without = ["setpriv", "--bounding-set", "-sys_admin,-dac_read_search"];
    let mut run = stage.command().through(&without).start();
    run.wait_live();
    stage.write("news/today.html", "after the fall");
    stage.settles(&run);
    assert_eq!(backend(&run), "inotify");
    let told = run.stderr().matches("not watching with fanotify").count();
    assert_eq!(told, 1, "{}", run.stderr());
}

#[test]
fn fanotify_that_was_chosen_and_is_not_possible_is_an_error() {
    let stage = Stage::book(DRIFTLESS, 1);
    let without = ["setpriv", "--bounding-set", "-sys_admin,-dac_read_search"];
    let mut run = stage.command().through(&without).arg("--backend").arg("fanotify").start();
    let status = run.wait_status("the source is refused", |status| {
        status["mirrors"][0]["error"].as_str().is_some_and(|text| text.contains("CAP_SYS_ADMIN"))
    });
    assert_eq!(status["mirrors"][0]["state"], "source-lost", "{status}");
}
