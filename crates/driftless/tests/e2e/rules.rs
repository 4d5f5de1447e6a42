//! The rules for partial sessions with a stock daemon (lane reference, Rules), each broken by a
//! simpler lane with the damage that its test looks for.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::time::Duration;

use driftless_testkit::netfault::Proxy;
use driftless_testkit::plant;
use driftless_testkit::scenario::Stage;
use driftless_testkit::wait;

use crate::DRIFTLESS;

#[test]
fn rule_01_a_session_that_ends_well_does_not_make_a_path_clean() {
    let stage = Stage::with_module(DRIFTLESS, |module| module.set("refuse options", "delete*"));
    stage.write("d/gone", "1");
    stage.write("d/stays", "1");
    let mut run = stage.live(&[]);
    fs::remove_file(stage.at("d/gone")).unwrap();
    stage.write("d/stays", "two");
    wait::until("the other change arrives", wait::GENEROUS, || {
        (fs::read(stage.target(0).join("d/stays")).unwrap() == b"two").then_some(())
    });
    run.wait_target(0, "the refused deletion is pending and explained", |target| {
        target["dirty_paths"].as_u64() > Some(0) && !target["last_error"].is_null()
    });
    assert!(stage.target(0).join("d/gone").exists());
    assert!(run.flush(Duration::from_secs(2)).is_err());
}

#[test]
fn rule_01_what_only_a_text_tells_is_heard() {
    // The session ends with 0, and the folder is still there.
    let stage = Stage::with_module(DRIFTLESS, |module| module.set("exclude", "*.key"));
    stage.write("d/page", "1");
    let mut run = stage.live(&[]);
    fs::write(stage.target(0).join("d/s.key"), "the target's own").unwrap();
    fs::remove_dir_all(stage.at("d")).unwrap();
    run.wait_target(0, "the folder is pending and explained", |target| {
        target["dirty_paths"] == 1 && !target["last_error"].is_null()
    });
    assert!(stage.target(0).join("d").exists());
    assert!(run.flush(Duration::from_secs(2)).is_err());
}

#[test]
fn rule_02_a_file_that_was_sent_but_not_put_in_place_stays_dirty() {
    let stage = Stage::book(DRIFTLESS, 1);
    stage.write("page", "one");
    let mut run = stage.live(&[]);
    let immutable = Immutable::make(&stage.target(0).join("page"));
    stage.write("page", "number two");
    run.wait_target(0, "the path is dirty and the reason is told", |target| {
        target["dirty_paths"].as_u64() > Some(0)
            && target["last_error"].as_str().is_some_and(|text| text.contains("page"))
    });
    drop(immutable);
    stage.settles(&run);
}

#[test]
fn rule_03_paths_are_acknowledged_one_by_one_and_nothing_is_removed_at_the_source() {
    let stage = Stage::book(DRIFTLESS, 1);
    stage.write("d/stuck", "one");
    let mut run = stage.live(&[]);
    let immutable = Immutable::make(&stage.target(0).join("d/stuck"));
    stage.write("d/stuck", "number two");
    for number in 0..50 {
        stage.write(&format!("e/page{number}"), format!("{number}"));
    }
    let page = |number: usize| stage.target(0).join(format!("e/page{number}"));
    run.wait_target(0, "only the stuck file (and its folder) is dirty", |target| {
        matches!(target["dirty_paths"].as_u64(), Some(1..=2))
            && !target["last_error"].is_null()
            && (0..50).all(|number| page(number).exists())
    });
    for number in 0..50 {
        assert!(stage.at(&format!("e/page{number}")).exists());
    }
    drop(immutable);
    stage.settles(&run);
    assert_eq!(fs::read(stage.at("d/stuck")).unwrap(), b"number two");
}

#[test]
fn rule_04_the_folder_of_a_changed_entry_keeps_its_time() {
    let stage = Stage::book(DRIFTLESS, 1);
    for name in ["top", "d/file", "d/gone", "d/e/file"] {
        stage.write(name, "1");
    }
    let run = stage.live(&[]);
    // In place: the source's folder does not change, the target's does.
    stage.write("d/file", "in place");
    stage.settles(&run);
    stage.write("top", "in place");
    stage.settles(&run);
    fs::remove_file(stage.at("d/gone")).unwrap();
    plant::set_mtime(&stage.at("d"), 1_000_000_000, 7);
    stage.settles(&run);
    stage.write("top", "directly below the root");
    plant::set_mtime(&stage.source(), 1_100_000_000, 9);
    stage.settles(&run);
    stage.write("d/e/new", "1");
    plant::set_mtime(&stage.at("d/e"), 1_200_000_000, 11);
    stage.settles(&run);
}

#[test]
fn rule_05_changes_behind_an_equal_size_and_time_arrive() {
    let stage = Stage::book(DRIFTLESS, 1);
    let put = |name: &str, content: &str| {
        stage.write(name, content);
        plant::set_mtime(&stage.at(name), 1_500_000_000, 5);
    };
    for (name, content) in
        [("d/a", "aaaa"), ("d/b", "bbbb"), ("d/over", "1111"), ("e/edit", "old!")]
    {
        put(name, content);
    }
    let run = stage.live(&[]);
    fs::rename(stage.at("d/a"), stage.at("d/t")).unwrap();
    fs::rename(stage.at("d/b"), stage.at("d/a")).unwrap();
    fs::rename(stage.at("d/t"), stage.at("d/b")).unwrap();
    stage.settles(&run);
    assert_eq!(fs::read(stage.target(0).join("d/a")).unwrap(), b"bbbb");

    put("d/twin", "2222");
    fs::rename(stage.at("d/twin"), stage.at("d/over")).unwrap();
    stage.settles(&run);
    assert_eq!(fs::read(stage.target(0).join("d/over")).unwrap(), b"2222");

    put("e/edit", "new!");
    stage.settles(&run);
    assert_eq!(fs::read(stage.target(0).join("e/edit")).unwrap(), b"new!");

    fs::rename(stage.at("e"), stage.at("f")).unwrap();
    put("f/edit", "3rd.");
    stage.settles(&run);
    assert_eq!(fs::read(stage.target(0).join("f/edit")).unwrap(), b"3rd.");
}

#[test]
fn rule_05_a_file_marked_for_its_attributes_is_not_written_again() {
    let stage = Stage::book(DRIFTLESS, 1);
    stage.write("page", plant::noise(1, 300_000));
    let run = stage.live(&[]);
    run.flush_everywhere();
    let before = fs::metadata(stage.target(0).join("page")).unwrap().ino();
    plant::set_mtime(&stage.at("page"), 1_000_000_000, 3);
    stage.settles(&run);
    assert_eq!(fs::metadata(stage.target(0).join("page")).unwrap().ino(), before);
}

#[test]
fn rule_06_a_second_version_within_the_same_second_arrives() {
    let stage = Stage::book(DRIFTLESS, 1);
    stage.write("page", "0000");
    let run = stage.live(&[]);
    for version in 1..=10 {
        stage.write("page", format!("{version:04}"));
        plant::set_mtime(&stage.at("page"), 1_600_000_000, version);
        run.flush_everywhere();
        let mirrored = fs::read_to_string(stage.target(0).join("page")).unwrap();
        assert_eq!(mirrored, format!("{version:04}"));
    }
    stage.settles(&run);
}

#[test]
fn rule_06_versions_that_the_publisher_did_not_see_are_told_apart_by_nanoseconds() {
    let stage = Stage::book(DRIFTLESS, 1);
    stage.write("page", "0000");
    plant::set_mtime(&stage.at("page"), 1_600_000_000, 1);
    stage.live(&[]).kill9();
    stage.write("page", "0001");
    plant::set_mtime(&stage.at("page"), 1_600_000_000, 2);
    let run = stage.live(&[]);
    stage.settles(&run);
}

#[test]
fn rule_07_a_folder_that_becomes_something_else_is_not_entered() {
    let stage = Stage::book(DRIFTLESS, 1);
    for name in ["k/1", "k/deep/2", "m/1", "n/1", "v/deep/er/1", "other/1"] {
        stage.write(name, "1");
    }
    let mut run = stage.live(&[]);
    // Below the folders is dirty too when they change their kind.
    for name in ["k/1", "k/deep/2", "k/new", "m/new", "n/new", "v/deep/er/1", "v/deep/er/new"] {
        stage.write(name, "dirty");
    }
    fs::remove_dir_all(stage.at("k")).unwrap();
    symlink("other", stage.at("k")).unwrap();
    fs::remove_dir_all(stage.at("m")).unwrap();
    stage.write("m", "a file now");
    fs::remove_dir_all(stage.at("n")).unwrap();
    fs::remove_dir_all(stage.at("v")).unwrap();
    stage.settles(&run);
    assert!(fs::symlink_metadata(stage.target(0).join("k")).unwrap().is_symlink());
    assert_eq!(fs::read(stage.target(0).join("other/1")).unwrap(), b"1");
    let target = run.wait_target(0, "the target is live", |target| target["state"] == "live");
    assert!(target["last_error"].is_null(), "{target:#}");
    assert_eq!(target["passes"], 1, "a session broke: {target:#}");
    assert!(!run.stderr().contains("WARN"), "{}", run.stderr());
}

#[test]
fn rule_08_a_link_at_the_target_in_the_place_of_a_folder_is_not_followed() {
    let stage = Stage::book(DRIFTLESS, 1);
    for name in ["d/1", "k/1", "k/2"] {
        stage.write(name, "1");
    }
    let run = stage.live(&[]);
    fs::remove_dir_all(stage.target(0).join("k")).unwrap();
    symlink("d", stage.target(0).join("k")).unwrap();
    fs::remove_file(stage.at("k/1")).unwrap();
    stage.write("k/new", "for k only");
    run.flush_everywhere();
    assert!(stage.target(0).join("d/1").exists(), "deleted through the link");
    assert!(!stage.target(0).join("d/new").exists(), "written through the link");
    assert!(fs::symlink_metadata(stage.target(0).join("k")).unwrap().is_dir());
    assert_eq!(fs::read(stage.target(0).join("k/new")).unwrap(), b"for k only");
}

#[test]
fn rule_09_excluded_names_below_a_deleted_folder_survive() {
    let stage = Stage::book(DRIFTLESS, 1);
    stage.write("k/page", "1");
    stage.write("k/sub/page", "1");
    let run = stage.live(&["--exclude", "*.key"]);
    fs::write(stage.target(0).join("k/sub/s.key"), "the target's own").unwrap();
    fs::remove_dir_all(stage.at("k")).unwrap();
    run.flush_everywhere();
    assert_eq!(fs::read(stage.target(0).join("k/sub/s.key")).unwrap(), b"the target's own");
    assert!(!stage.target(0).join("k/page").exists());
    assert!(!stage.target(0).join("k/sub/page").exists());
}

#[test]
fn rule_10_a_renamed_file_is_neither_sent_again_nor_lost() {
    for (old, new) in [("m", "a"), ("m", "z"), ("m", "d/a"), ("d/m", "a")] {
        let stage = Stage::book(DRIFTLESS, 1);
        stage.write(old, plant::noise(9, 1_000_000));
        stage.write("d/other", "1");
        let proxy = Proxy::start(stage.daemons[0].port());
        let url = stage.daemons[0].url_through(proxy.port(), "web1");
        let mut run = stage.command_to(&[url]).start();
        run.wait_live();
        run.flush_everywhere();
        let before = proxy.bytes_up();
        fs::rename(stage.at(old), stage.at(new)).unwrap();
        stage.settles(&run);
        let sent = proxy.bytes_up() - before;
        assert!(sent < 20_000, "{old} to {new}: {sent} bytes");
        let target = run.wait_target(0, "the target is live", |target| target["state"] == "live");
        assert!(target["last_error"].is_null(), "{target:#}");
    }
}

#[test]
fn rule_10_a_file_renamed_and_edited_at_once_arrives() {
    for (old, new) in [("m", "a"), ("m", "z")] {
        let stage = Stage::book(DRIFTLESS, 1);
        let mut content = plant::noise(9, 1_000_000);
        stage.write(old, &content);
        let mut run = stage.live(&[]);
        fs::rename(stage.at(old), stage.at(new)).unwrap();
        content[500_000] ^= 1;
        stage.write(new, &content);
        stage.settles(&run);
        let target = run.wait_target(0, "the target is live", |target| target["state"] == "live");
        assert!(target["last_error"].is_null(), "{target:#}");
    }
}

#[test]
fn rule_11_a_slow_old_session_does_not_undo_a_newer_version() {
    let stage = Stage::book(DRIFTLESS, 1);
    let proxy = Proxy::start(stage.daemons[0].port());
    let url = stage.daemons[0].url_through(proxy.port(), "web1");
    let mut run = stage.command_to(&[url]).start();
    run.wait_live();
    proxy.limit_rate(8 << 20);
    stage.write("page", plant::noise(1, 12 << 20));
    let before = proxy.bytes_up();
    wait::until("the old version is on its way", wait::GENEROUS, || {
        (proxy.bytes_up() > before + (1 << 20)).then_some(())
    });
    stage.write("page.new", "the new version");
    fs::rename(stage.at("page.new"), stage.at("page")).unwrap();
    let page = stage.target(0).join("page");
    wait::until("the new version arrives", wait::GENEROUS, || {
        (fs::read(&page).ok()? == b"the new version").then_some(())
    });
    proxy.limit_rate(0);
    run.flush_everywhere();
    assert_eq!(fs::read(&page).unwrap(), b"the new version");
    stage.settles(&run);
    assert_eq!(proxy.most_at_once(), 1, "sessions beside each other");
}

#[test]
fn rule_12_a_partial_session_touches_only_what_it_lists_and_writes_no_file_in_place() {
    let stage = Stage::book(DRIFTLESS, 1);
    stage.write("d/page", "one");
    stage.write("d/other", "one");
    stage.write("d/sub/page", "one");
    let run = stage.live(&[]);
    run.flush_everywhere();
    for name in ["foreign", "d/foreign", "d/sub/foreign"] {
        fs::write(stage.target(0).join(name), "put here by somebody").unwrap();
    }
    let inode = |name: &str| fs::metadata(stage.target(0).join(name)).unwrap().ino();
    let (page, other) = (inode("d/page"), inode("d/other"));
    let held = fs::File::open(stage.target(0).join("d/page")).unwrap();
    stage.write("d/page", "two");
    fs::rename(stage.at("d/sub/page"), stage.at("d/sub/moved")).unwrap();
    run.flush_everywhere();
    for name in ["foreign", "d/foreign", "d/sub/foreign"] {
        assert!(stage.target(0).join(name).exists(), "{name} was deleted by a partial session");
    }
    assert_ne!(inode("d/page"), page, "written in place");
    assert_eq!(inode("d/other"), other);
    assert_eq!(std::io::read_to_string(held).unwrap(), "one");
    assert_eq!(fs::read(stage.target(0).join("d/page")).unwrap(), b"two");
}

/// A file or folder that nobody can change or remove while this exists.
pub struct Immutable(PathBuf);

impl Immutable {
    /// Makes `path` immutable.
    #[track_caller]
    pub fn make(path: &Path) -> Self {
        chattr("+i", path);
        Self(path.to_owned())
    }
}

impl Drop for Immutable {
    fn drop(&mut self) {
        chattr("-i", &self.0);
    }
}

#[track_caller]
fn chattr(flag: &str, path: &Path) {
    let status = std::process::Command::new("chattr").arg(flag).arg(path).status();
    let status = status.expect("this test needs chattr (package e2fsprogs)");
    assert!(status.success(), "this test needs root and a file system with the immutable flag");
}
