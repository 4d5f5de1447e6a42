//! Kernel queues and limits at their end. A program of its own, because the settings belong
//! to the whole machine: another test's mirror must not start while they are changed.

use std::fs;

use driftless_testkit::arb::Ops;
use driftless_testkit::kernel::{Sysctl, Untouched, has_user_namespaces};
use driftless_testkit::plant;
use driftless_testkit::scenario::Stage;

const DRIFTLESS: &str = env!("CARGO_BIN_EXE_driftless");

#[test]
fn an_overflowing_event_queue_loses_nothing() {
    let mut stage = Stage::book(DRIFTLESS, 1);
    stage.compare.hard_links = true;
    plant::forest(&stage.source(), 40, 400, 100);
    let mut run = {
        // The queue keeps the length that was set when it was made.
        let _short = Sysctl::set("fs.inotify.max_queued_events", 64);
        stage.live(&["--hard-links", "--max-delete", "none", "--backend", "inotify"])
    };
    let seed = Ops::seed_from_environment();
    let mut ops = Ops::new(seed, &stage.source(), &stage.outside()).visible_edits_only();
    for round in 0..5 {
        plant::forest(&stage.at(&format!("fresh{round}")), 30, 600, 50);
        ops.burst(60);
        run.flush_everywhere();
        let found = stage.differences();
        assert!(found.is_empty(), "trees differ:\n{}\n{}", found.join("\n"), ops.report(&[]));
    }
    stage.stock_rsync_finds_nothing(&[]);
    run.wait_live();
}

#[test]
fn a_start_beyond_the_watch_limit_says_so_and_loses_nothing() {
    let stage = Stage::book(DRIFTLESS, 1);
    plant::forest(&stage.source(), 200, 400, 100);
    let run = {
        let _few = Sysctl::set("fs.inotify.max_user_watches", 50);
        stage.live(&["--backend", "inotify"])
    };
    edit_everywhere(&stage);
    stage.settles(&run);
    assert!(run.stderr().contains("fs.inotify.max_user_watches"), "{}", run.stderr());
}

#[test]
fn a_life_beyond_the_watch_limit_loses_nothing() {
    if !has_user_namespaces() {
        return;
    }
    let stage = Stage::book(DRIFTLESS, 1);
    plant::forest(&stage.source(), 200, 400, 100);
    // A user namespace has a limit of its own, so this one may stay for the whole run.
    let mut run = stage
        .command()
        .through(&[
            "unshare",
            "--user",
            "--map-root-user",
            "sh",
            "-c",
            "echo 50 > /proc/sys/user/max_inotify_watches && exec \"$@\"",
            "sh",
        ])
        .start();
    run.wait_live();
    edit_everywhere(&stage);
    stage.settles(&run);
    for number in 0..30 {
        fs::rename(stage.at(&plant::forest_file(200, number)), stage.at(&format!("moved{number}")))
            .unwrap();
    }
    fs::remove_dir_all(stage.at("s07")).unwrap();
    stage.settles(&run);
}

fn edit_everywhere(stage: &Stage) {
    for number in 0..200 {
        stage.write(&plant::forest_file(200, number), format!("edited {number}"));
    }
    for number in 0..20 {
        stage.write(&format!("new{number}/in/here"), "1");
    }
}

#[test]
fn a_limit_that_is_too_low_is_told_with_the_command_that_raises_it() {
    let stage = Stage::book(DRIFTLESS, 1);
    plant::forest(&stage.source(), 200, 400, 100);
    let file = stage.outside().join("driftless.toml");
    let source = stage.source().display().to_string();
    let target = stage.outside().join("copy").display().to_string();
    fs::create_dir_all(&target).unwrap();
    let config =
        format!("[[mirror]]\nsource = {source:?}\ntargets = [{target:?}]\nbackend = \"inotify\"\n");
    fs::write(&file, config).unwrap();
    let check = || {
        let mut command = std::process::Command::new(DRIFTLESS);
        let output = command.args(["check", "-c"]).arg(&file).output().expect("it is built");
        (output.status.code(), String::from_utf8(output.stdout).expect("it prints text"))
    };
    let (few, text) = {
        let _few = Sysctl::set("fs.inotify.max_user_watches", 50);
        check()
    };
    assert_eq!(few, Some(1), "{text}");
    assert!(text.contains("! fs.inotify.max_user_watches is 50: 222 needed"), "{text}");
    assert!(text.contains("sysctl -w fs.inotify.max_user_watches="), "{text}");
    assert!(text.contains("fs.inotify.max_user_watches = "), "{text}");
    let (short, text) = {
        let _short = Sysctl::set("fs.inotify.max_queued_events", 64);
        check()
    };
    assert_eq!(short, Some(1), "{text}");
    assert!(text.contains("! fs.inotify.max_queued_events is 64: 16384 needed"), "{text}");
    assert!(text.contains("sysctl -w fs.inotify.max_queued_events=16384\n"), "{text}");
    assert!(text.contains("60-driftless.conf: fs.inotify.max_queued_events = 16384\n"), "{text}");
    let (enough, text) = {
        let _ordinary = Untouched::settings();
        check()
    };
    assert_eq!(enough, Some(0), "{text}");
}
