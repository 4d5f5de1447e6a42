//! Programs die, disks go away: afterwards trees are identical, or the mirror says why not.

use std::fs;
use std::time::Duration;

use driftless_testkit::arb::Ops;
use driftless_testkit::compare;
use driftless_testkit::netfault::Proxy;
use driftless_testkit::plant;
use driftless_testkit::scenario::Stage;
use driftless_testkit::wait;

use crate::DRIFTLESS;

/// How long a daemon stays dead: time to fail more than once.
const DEAD_FOR: Duration = Duration::from_secs(5);

#[test]
fn a_daemon_killed_in_the_middle_of_a_large_file_catches_up_after_its_restart() {
    const LARGE: usize = 500 << 20;
    let mut stage = Stage::book(DRIFTLESS, 3);
    let mut run = stage.live(&[]);
    stage.write("large", plant::noise(5, LARGE));
    let target = stage.target(1).to_owned();
    wait::until("the second target receives the large file", wait::GENEROUS, || {
        let growing = |name: &Vec<u8>| name.starts_with(b".large.");
        compare::names(&target).ok()?.iter().any(growing).then_some(())
    });
    stage.daemons[1].kill9();
    run.wait_target(1, "the lane knows that its target is gone", |target| {
        target["state"] == "backing-off" && !target["last_error"].is_null()
    });
    stage.write("small", "written while one target is dead");
    for index in [0, 2] {
        wait::until("the living targets get on", wait::GENEROUS, || {
            stage.target(index).join("small").exists().then_some(())
        });
    }
    std::thread::sleep(DEAD_FOR);
    stage.daemons[1].restart();
    stage.settles(&run);
}

#[test]
fn a_publisher_killed_in_a_burst_catches_up_after_its_restart() {
    let mut stage = Stage::book(DRIFTLESS, 3);
    stage.compare.hard_links = true;
    let seed = Ops::seed_from_environment();
    let mut ops = Ops::new(seed, &stage.source(), &stage.outside()).visible_edits_only();
    ops.burst(200);
    let mut run = stage.live(&["--hard-links", "--max-delete", "none"]);
    for _ in 0..3 {
        ops.burst(150);
        run.kill9_and_restart();
        ops.burst(20);
        run.wait_live();
        run.flush_everywhere();
        let found = stage.differences();
        assert!(found.is_empty(), "trees differ:\n{}\n{}", found.join("\n"), ops.report(&[]));
    }
    stage.stock_rsync_finds_nothing(&[]);
}

/// The daemon's side of a session whose client was killed goes on with what lies in its buffers, also
/// while the next publisher's first pass runs (lane reference, rule 11).
#[test]
fn what_a_killed_publishers_session_still_does_is_found() {
    let stage = Stage::book(DRIFTLESS, 1);
    plant::forest(&stage.source(), 10, 200, 500);
    let mut run = stage.live(&["--max-delete", "none"]);
    for file in 0..400 {
        stage.write(&format!("new/f{file:03}"), plant::noise(file, 100_000));
    }
    let first = stage.target(0).join("new/f000");
    wait::until("the new files begin to arrive", wait::GENEROUS, || first.exists().then_some(()));
    let frozen = stage.daemons[0].freeze_sessions();
    run.kill9();
    // The folder stays: the session could not write into one that is gone.
    for file in 0..400 {
        fs::remove_file(stage.at(&format!("new/f{file:03}"))).unwrap();
    }
    let mut run = stage.live(&["--max-delete", "none"]);
    run.wait_target(0, "the first pass is over", |target| target["passes"].as_u64() >= Some(1));
    frozen.go_on_to_their_end();
    stage.settles(&run);
}

#[test]
fn a_publisher_told_to_end_ends_cleanly_and_its_successor_goes_on() {
    let stage = Stage::book(DRIFTLESS, 1);
    plant::forest(&stage.source(), 10, 200, 500);
    let mut run = stage.live(&[]);
    stage.write("last", "word");
    assert!(run.terminate().success());
    fs::remove_dir_all(stage.at("s03")).unwrap();
    stage.write("first", "word");
    let run = stage.live(&[]);
    stage.settles(&run);
}

#[test]
fn a_connection_cut_at_any_point_loses_nothing() {
    let stage = Stage::book(DRIFTLESS, 1);
    let proxy = Proxy::start(stage.daemons[0].port());
    let url = stage.daemons[0].url_through(proxy.port(), "web1");
    let mut run = stage.command_to(&[url]).start();
    run.wait_live();
    for cut in [1, 30, 60, 120, 200, 300, 500, 2_000, 40_000] {
        proxy.cut_after(cut);
        stage.write("folder/page", plant::noise(u64::from(cut), 60_000));
        stage.write("folder/short", format!("{cut}"));
        run.wait_target(0, "the lane backs off", |target| target["state"] == "backing-off");
        proxy.heal();
        run.flush_everywhere();
        stage.targets_equal_source();
    }
    stage.stock_rsync_finds_nothing(&[]);
}

#[test]
fn a_source_that_was_renamed_away_empties_no_mirror() {
    let stage = Stage::book(DRIFTLESS, 2);
    plant::forest(&stage.source(), 20, 300, 100);
    let mut run = stage.live(&[]);
    let before = compare::names(stage.target(0)).unwrap();
    fs::rename(stage.source(), stage.outside().join("elsewhere")).unwrap();
    run.wait_status("the mirror says that its source is gone", |status| {
        status["mirrors"][0]["state"] == "source-lost" && !status["mirrors"][0]["error"].is_null()
    });
    assert!(run.flush(Duration::from_secs(3)).is_err());
    for index in 0..2 {
        assert_eq!(compare::names(stage.target(index)).unwrap(), before);
    }
}

#[test]
fn an_empty_folder_in_the_place_of_the_source_empties_no_mirror() {
    let stage = Stage::book(DRIFTLESS, 1);
    plant::forest(&stage.source(), 20, 300, 100);
    let mut run = stage.live(&[]);
    let before = compare::names(stage.target(0)).unwrap();
    fs::rename(stage.source(), stage.outside().join("elsewhere")).unwrap();
    fs::create_dir(stage.source()).unwrap();
    run.wait_status("the mirror does not take the empty folder for its source", |status| {
        status["mirrors"][0]["state"] == "source-lost"
    });
    assert_eq!(compare::names(stage.target(0)).unwrap(), before);
}

/// Slowly, so that many batches delete a part each.
#[test]
fn deleting_most_of_the_source_bit_by_bit_waits_for_a_person() {
    let stage = Stage::book(DRIFTLESS, 1);
    plant::forest(&stage.source(), 20, 300, 100);
    let mut run = stage.live(&[]);
    for entry in fs::read_dir(stage.source()).unwrap() {
        fs::remove_dir_all(entry.unwrap().path()).unwrap();
        if run.flush(Duration::from_secs(5)).is_err() {
            break;
        }
    }
    run.wait_target(0, "the target is paused by the guard", |target| target["state"] == "paused");
    assert!(compare::names(stage.target(0)).unwrap().len() > 150);
}

#[test]
fn deleting_most_of_the_source_waits_for_a_person() {
    let stage = Stage::book(DRIFTLESS, 1);
    plant::forest(&stage.source(), 20, 300, 100);
    let mut run = stage.live(&[]);
    for entry in fs::read_dir(stage.source()).unwrap() {
        fs::remove_dir_all(entry.unwrap().path()).unwrap();
    }
    run.wait_target(0, "the target is paused by the guard", |target| target["state"] == "paused");
    assert!(compare::names(stage.target(0)).unwrap().len() > 150);
    let output = run.control("resume", &["--accept-deletes"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    stage.settles(&run);
    assert_eq!(compare::names(stage.target(0)).unwrap().len(), 1);
}
