//! Audits by checksum: what differs is named, nothing is changed, and what moves is no difference.

use std::ffi::OsStr;
use std::fs::{self, OpenOptions, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use driftless_testkit::live::LiveRun;
use driftless_testkit::scenario::Stage;
use driftless_testkit::{compare, plant, stock, wait};
use serde_json::{Value, json};

use crate::DRIFTLESS;
use crate::rules::Immutable;

/// The only target of `driftless verify --json`, and the command's exit code.
fn verify(run: &LiveRun) -> (i32, Value) {
    let output = run.control("verify", &["--json", "--timeout", "60s"]);
    let said: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code().unwrap(), said["targets"][0].clone())
}

/// The differing names with what differs, in the order of the names.
fn differences(target: &Value) -> Vec<(String, String)> {
    let found = target["differences"].as_array().unwrap();
    let words = |found: &Value| {
        let words = found["aspects"].as_array().unwrap().iter().map(|word| word.as_str().unwrap());
        words.collect::<Vec<_>>().join(" ")
    };
    let named =
        found.iter().map(|found| (found["path"].as_str().unwrap().to_owned(), words(found)));
    named.collect()
}

#[track_caller]
fn finds(run: &LiveRun, expected: &[(&str, &str)]) {
    let (code, target) = verify(run);
    let expected: Vec<(String, String)> =
        expected.iter().map(|(path, words)| ((*path).into(), (*words).into())).collect();
    assert_eq!((code, differences(&target)), (1, expected), "{target:#}");
    assert!(target["error"].is_null(), "{target:#}");
}

#[track_caller]
fn proves(run: &LiveRun) {
    let (code, target) = verify(run);
    assert_eq!(
        (code, &target["error"], &target["differing"]),
        (0, &Value::Null, &json!(0)),
        "{target:#}"
    );
    assert!(target["compared"].as_u64() > Some(0));
}

/// All that can be seen of a tree but the times of reading.
fn snapshot(root: &Path) -> Vec<String> {
    let mut names = compare::names(root).unwrap();
    names.push(Vec::new());
    names.sort();
    let look = |name: &Vec<u8>| {
        let meta = fs::symlink_metadata(root.join(OsStr::from_bytes(name))).unwrap();
        format!(
            "{name:?} {} {:o} {} {} {} {}.{}",
            meta.ino(),
            meta.mode(),
            meta.size(),
            meta.uid(),
            meta.nlink(),
            meta.ctime(),
            meta.ctime_nsec()
        )
    };
    names.iter().map(look).collect()
}

/// Overwrites bytes in place and puts the time back: a quick check sees nothing.
fn damage(path: &Path) {
    let before = fs::metadata(path).unwrap();
    OpenOptions::new().write(true).open(path).unwrap().write_all_at(b"X", 1).unwrap();
    plant::set_mtime(path, before.mtime(), before.mtime_nsec());
}

/// Writes a file without a trace in its directory's time.
fn write_aside(dir: &Path, name: &str) {
    let before = fs::metadata(dir).unwrap();
    fs::write(dir.join(name), "of the target's own").unwrap();
    plant::set_mtime(dir, before.mtime(), before.mtime_nsec());
}

/// Everything that a tree can hold.
fn plant_all(stage: &Stage) {
    for name in
        ["d/page", "d/moded", "d/owned", "d/timed", "d/gone", "one", "two", "kept/tree/file"]
    {
        stage.write(name, format!("this is {name}"));
    }
    for name in ["d/shared", "d/tagged"] {
        stage.write(name, name);
        run("setfacl", &["-m", "u:7:rwx"], &stage.at(name));
        run(
            "setfattr",
            &["-n", "user.tag", "-v", "of some length, that of a sentence"],
            &stage.at(name),
        );
    }
    for (name, number) in [("link", 1), ("d/link", 2)] {
        symlink(format!("target-{number}"), stage.at(name)).unwrap();
    }
    fs::hard_link(stage.at("one"), stage.at("d/one")).unwrap();
    stock::make_fifo(&stage.at("d/pipe"));
    fs::write(stage.source().join(OsStr::from_bytes(b"odd \xff\n")), "odd").unwrap();
    stage.write("empty", "");
    stage.write("x.swp", "not mirrored");
}

#[track_caller]
fn run(program: &str, words: &[&str], path: &Path) {
    let done = Command::new(program).args(words).arg(path).status().expect("it is installed");
    assert!(done.success(), "{program}");
}

/// Damages of each kind at the target, and what a verify has to say of them.
fn damage_all(target: &Path) -> Vec<(&'static str, &'static str)> {
    damage(&target.join("d/page"));
    run("setfacl", &["-m", "u:7:r"], &target.join("d/shared"));
    run("setfacl", &["-m", "m:rwx"], &target.join("d/shared"));
    run("setfattr", &["-x", "user.tag"], &target.join("d/tagged"));
    fs::set_permissions(target.join("d/moded"), Permissions::from_mode(0o601)).unwrap();
    chown(target.join("d/owned"), Some(12), Some(34)).unwrap();
    plant::set_mtime(&target.join("d/timed"), 1_000_000_000, 5);
    fs::remove_file(target.join("d/gone")).unwrap();
    let link = fs::symlink_metadata(target.join("d/link")).unwrap();
    fs::remove_file(target.join("d/link")).unwrap();
    symlink("elsewhere", target.join("d/link")).unwrap();
    plant::set_mtime(&target.join("d/link"), link.mtime(), link.mtime_nsec());
    fs::remove_file(target.join("d/pipe")).unwrap();
    fs::create_dir(target.join("more")).unwrap();
    fs::write(target.join("more/file"), "extra").unwrap();
    let one = fs::metadata(target.join("d/one")).unwrap();
    fs::remove_file(target.join("d/one")).unwrap();
    fs::copy(target.join("one"), target.join("d/one")).unwrap();
    plant::set_mtime(&target.join("d/one"), one.mtime(), one.mtime_nsec());
    damage(&target.join(OsStr::from_bytes(b"odd \xff\n")));
    for dir in [target, &target.join("d")] {
        plant::set_mtime(dir, 1_100_000_000, 0);
    }
    vec![
        (".", "time"),
        ("d", "time"),
        ("d/gone", "missing"),
        ("d/link", "content"),
        ("d/moded", "mode"),
        ("d/one", "hard-link"),
        ("d/owned", "owner group"),
        ("d/page", "content"),
        ("d/pipe", "missing"),
        ("d/shared", "acl"),
        ("d/tagged", "xattr"),
        ("d/timed", "time"),
        ("more", "extra"),
        ("more/file", "extra"),
        ("odd \\#377\\#012", "content"),
    ]
}

#[test]
fn an_identical_target_is_proved_and_each_kind_of_damage_is_found_and_left_as_it_is() {
    let stage = Stage::book(DRIFTLESS, 1);
    plant_all(&stage);
    let run = stage.live(&["--hard-links", "--acls", "--xattrs", "--exclude", "*.swp"]);
    run.flush_everywhere();
    let target = stage.target(0);
    write_aside(target, "y.swp");
    let before = snapshot(target);
    proves(&run);
    assert_eq!(snapshot(target), before);

    let expected = damage_all(target);
    let before = snapshot(target);
    finds(&run, &expected);
    assert_eq!(snapshot(target), before, "a verify changes nothing");
    assert!(stage.differences().len() > 5, "and repairs nothing");
    let status = &run.targets()[0];
    assert_eq!(status["last_verify"]["differing"], expected.len());
    let table = run.control("status", &[]);
    let table = String::from_utf8(table.stdout).unwrap();
    assert!(table.contains("differences in the last verify: 15, first ."), "{table}");
    assert!(run.stderr().contains("differs: d/page: content"), "{}", run.stderr());

    // A pass looks at size and time; what a verify has found it sends whole.
    assert!(run.control("resync", &[]).status.success());
    run.flush_everywhere();
    proves(&run);
    assert_eq!(fs::read(target.join("d/page")).unwrap(), b"this is d/page");
    assert!(target.join("y.swp").exists());
}

#[test]
fn a_directory_of_this_machine_is_verified_in_the_same_way() {
    let mut stage = Stage::with(DRIFTLESS, Vec::new());
    stage.compare.hard_links = true;
    plant_all(&stage);
    let target = stage.outside().join("copy");
    let mut run = driftless_testkit::live::LiveCommand::new(
        DRIFTLESS.as_ref(),
        &stage.source(),
        &[target.display().to_string()],
    )
    .arg("--hard-links")
    .arg("--acls")
    .arg("--xattrs")
    .arg("--exclude=*.swp")
    .start();
    run.wait_live();
    run.flush_everywhere();
    let before = snapshot(&target);
    proves(&run);
    assert_eq!(snapshot(&target), before);
    let expected = damage_all(&target);
    let before = snapshot(&target);
    finds(&run, &expected);
    assert_eq!(snapshot(&target), before);
    assert!(run.control("resync", &[]).status.success());
    run.flush_everywhere();
    proves(&run);
    fs::rename(&target, stage.outside().join("away")).unwrap();
    let (code, found) = verify(&run);
    assert_eq!(code, 2, "{found:#}");
    assert!(found["error"].as_str().unwrap().contains("copy is not what it was"), "{found:#}");
    assert!(!target.exists(), "it is not made again");
}

#[test]
fn damage_behind_an_equal_size_and_time_is_found_though_a_pass_sees_nothing() {
    let stage = Stage::book(DRIFTLESS, 1);
    stage.write("d/page", plant::noise(1, 300_000));
    let mut run = stage.live(&[]);
    let mut pass = || {
        let passes = run.targets()[0]["passes"].as_u64();
        assert!(run.control("resync", &[]).status.success());
        run.wait_target(0, "another pass is done", |target| target["passes"].as_u64() > passes);
        run.flush_everywhere();
        run.targets()[0]["last_pass"]["files_sent"].as_u64() == Some(0)
    };
    // What changed a moment before a pass is sent by the next one whatever it looks like.
    wait::until("a pass believes size and time", wait::GENEROUS, || pass().then_some(()));
    damage(&stage.target(0).join("d/page"));
    if !stage.compare.nanoseconds {
        // With whole seconds a pass compares by checksum itself.
        return;
    }
    assert!(pass());
    let output = run.control("verify", &["wwwroot/web1"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    let url = stage.url(0);
    let expected = format!(
        "{url}: d/page: content\n\
         {url}: differences: 1, names compared: 2; to repair: driftless resync wwwroot\n"
    );
    assert_eq!(said, expected);
    assert!(run.control("resync", &[]).status.success());
    run.flush_everywhere();
    stage.targets_equal_source();
    proves(&run);
}

#[test]
fn without_delete_names_of_the_targets_own_are_no_difference() {
    let stage = Stage::book(DRIFTLESS, 1);
    stage.write("d/page", "1");
    let run = stage.live(&["--no-delete"]);
    run.flush_everywhere();
    write_aside(&stage.target(0).join("d"), "own");
    proves(&run);
}

#[test]
fn a_target_that_refuses_deletions_is_not_called_identical() {
    let stage = Stage::with_module(DRIFTLESS, |module| module.set("refuse options", "delete*"));
    stage.write("d/page", "1");
    let run = stage.live(&[]);
    run.flush_everywhere();
    let (code, target) = verify(&run);
    assert_eq!((code, &target["differing"]), (2, &json!(0)), "{target:#}");
    assert!(target["error"].as_str().unwrap().contains("refuses deletions"), "{target:#}");
}

#[test]
fn files_that_are_rewritten_meanwhile_are_no_difference() {
    let stage = Stage::book(DRIFTLESS, 1);
    for number in 0..200 {
        stage.write(&format!("d{}/page{number}", number % 7), plant::noise(number, 5_000));
    }
    let run = stage.live(&[]);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for round in 0.. {
                if over.load(Ordering::Relaxed) {
                    break;
                }
                let number = round % 200;
                let name = format!("d{}/page{number}", number % 7);
                match round % 3 {
                    0 => stage.write(&name, plant::noise(round, 5_000)),
                    1 => fs::rename(stage.at(&name), stage.at("moved")).unwrap(),
                    _ => fs::remove_file(stage.at(&name)).unwrap(),
                }
                if round % 3 == 1 {
                    fs::rename(stage.at("moved"), stage.at(&name)).unwrap();
                }
                if round % 3 == 2 {
                    stage.write(&name, "short");
                }
            }
        });
        for _ in 0..2 {
            let output = run.control("verify", &["--json", "--timeout", "60s"]);
            let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            let found = said["targets"][0]["differing"].clone();
            if found != 0 {
                over.store(true, Ordering::Relaxed);
            }
            assert_eq!(found, 0, "{said:#}");
        }
        over.store(true, Ordering::Relaxed);
    });
    proves(&run);
    damage(&stage.target(0).join("d1/page1"));
    finds(&run, &[("d1/page1", "content")]);
}

#[test]
fn a_change_that_nobody_has_noticed_yet_is_no_difference() {
    let stage = Stage::book(DRIFTLESS, 1);
    stage.write("d/page", "as it was");
    let run = stage.live(&["--backend", "poll", "--poll-interval", "1h"]);
    run.flush_everywhere();
    stage.write("d/page", "as it is!");
    stage.write("d/more", "new");
    proves(&run);
    stage.targets_equal_source();
}

#[test]
fn a_path_that_the_target_does_not_take_leaves_the_rest_to_be_compared() {
    let stage = Stage::book(DRIFTLESS, 1);
    stage.write("d/stuck", "one");
    stage.write("d/page", "one");
    let mut run = stage.live(&[]);
    let immutable = Immutable::make(&stage.target(0).join("d/stuck"));
    stage.write("d/stuck", "number two");
    run.wait_error(0, "d/stuck");
    damage(&stage.target(0).join("d/page"));
    let (code, target) = verify(&run);
    assert_eq!(code, 1, "{target:#}");
    assert_eq!(differences(&target), [("d/page".into(), "content".into())]);
    assert!(target["error"].as_str().unwrap().contains("d/stuck"), "{target:#}");
    drop(immutable);
    assert!(run.control("resync", &[]).status.success());
    run.flush_everywhere();
    proves(&run);
}

#[test]
fn what_cannot_be_verified_is_told_with_the_reason() {
    let mut stage = Stage::book(DRIFTLESS, 1);
    stage.write("page", "1");
    let run = stage.live(&[]);
    run.flush_everywhere();
    stage.daemons[0].kill9();
    let (code, target) = verify(&run);
    assert_eq!(code, 2, "{target:#}");
    let why = target["error"].as_str().unwrap();
    assert!(why.contains("Connection refused") && !why.contains("tried again"), "{why}");
    stage.daemons[0].restart();
    proves(&run);
    assert!(run.control("pause", &[]).status.success());
    let output = run.control("verify", &[]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("it is paused; go on with: driftless resume"), "{said}");
    let output = run.control("verify", &["nothing"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(run.control("resume", &[]).status.success());
    proves(&run);
}

#[test]
fn a_scheduled_verify_reports_and_repairs_nothing() {
    let stage = Stage::book(DRIFTLESS, 1);
    stage.write("d/page", "as published");
    let mut run = stage.command().arg("--verify").arg("* * * * *").start();
    run.wait_live();
    let next = run.status().unwrap()["mirrors"][0]["next_verify"].as_f64().unwrap();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    assert!((0.0..=60.0).contains(&(next - now.as_secs_f64())), "{next} is not within a minute");
    damage(&stage.target(0).join("d/page"));
    let status = run.wait_target(0, "the verify is over", |target| {
        target["last_verify"]["differing"] == 1 && target["state"] == "live"
    });
    assert_eq!(differences(&status["last_verify"]), [("d/page".into(), "content".into())]);
    assert_eq!(status["passes"], 1);
    assert_eq!(fs::read(stage.target(0).join("d/page")).unwrap(), b"aX published");
}
