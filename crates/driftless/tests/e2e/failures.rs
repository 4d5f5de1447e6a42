//! Failures of single paths and of whole targets (lane reference, Failures).

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use driftless_testkit::disk::{Disk, DiskKind};
use driftless_testkit::peer::{Module, RsyncDaemon};
use driftless_testkit::plant;
use driftless_testkit::scenario::Stage;
use driftless_testkit::wait;

use crate::DRIFTLESS;
use crate::rules::Immutable;

/// Runs a program as root without the right to read what permissions deny.
const WITHOUT_OVERRIDE: [&str; 5] = [
    "setpriv",
    "--bounding-set",
    "-dac_override,-dac_read_search",
    "--inh-caps",
    "-dac_override,-dac_read_search",
];

#[test]
fn an_unreadable_file_is_told_and_arrives_once_it_can_be_read() {
    let stage = Stage::book(DRIFTLESS, 1);
    stage.write("d/page", "1");
    let mut run = stage.command().through(&WITHOUT_OVERRIDE).start();
    run.wait_live();
    stage.write("d/secret", "1");
    stage.write("d/page", "number two");
    chmod(&stage.at("d/secret"), 0);
    stage.write("d/secret2", "number two");
    chmod(&stage.at("d/secret2"), 0);
    wait::until("the readable file arrives", wait::GENEROUS, || {
        (fs::read(stage.target(0).join("d/page")).unwrap() == b"number two").then_some(())
    });
    // The first may have been read before it was closed to us; the second gets the same check.
    stage.write("d/secret2", "number three");
    run.wait_error(0, "secret2");
    chmod(&stage.at("d/secret2"), 0o600);
    chmod(&stage.at("d/secret"), 0o600);
    stage.settles(&run);
}

#[test]
fn attributes_that_a_target_cannot_keep_are_told_with_their_file() {
    let disk = Disk::new(DiskKind::Ramfs).expect("every kernel has it");
    let module = Module::book("web1").at(&disk.path().join("web1"));
    fs::create_dir(disk.path().join("web1")).unwrap();
    let stage = Stage::with(DRIFTLESS, vec![RsyncDaemon::start(&[module])]);
    stage.write("d/page", "1");
    let targets = [stage.url(0), disk.path().join("copy").display().to_string()];
    let mut run = stage.command_to(&targets).arg("--xattrs").start();
    run.wait_live();
    stage.write("d/short", "short");
    stage.write("d/long", "long");
    let set = |name: &str, value: &str| {
        let words = ["-n", "user.tag", "-v", value];
        let done = Command::new("setfattr").args(words).arg(stage.at(name)).status();
        assert!(done.expect("setfattr is installed").success());
    };
    for name in ["d/short", "d/page"] {
        set(name, "value");
        (0..2).for_each(|target| drop(run.wait_error(target, name)));
    }
    // It travels after the daemon has acknowledged the file.
    set("d/long", &"of some length ".repeat(20));
    (0..2).for_each(|target| drop(run.wait_error(target, "d/long")));
    for name in ["d/short", "d/long", "d/page"] {
        let done = Command::new("setfattr").args(["-x", "user.tag"]).arg(stage.at(name)).status();
        assert!(done.unwrap().success());
    }
    stage.settles(&run);
}

#[test]
fn an_unreadable_folder_is_told_and_deletes_nothing() {
    let stage = Stage::book(DRIFTLESS, 1);
    stage.write("d/page", "1");
    stage.write("other", "1");
    let mut run = stage.command().through(&WITHOUT_OVERRIDE).start();
    run.wait_live();
    chmod(&stage.at("d"), 0);
    stage.write("other", "number two");
    assert!(run.control("resync", &[]).status.success());
    wait::until("the readable file arrives", wait::GENEROUS, || {
        (fs::read(stage.target(0).join("other")).unwrap() == b"number two").then_some(())
    });
    run.wait_target(0, "the reason is told", |target| !target["last_error"].is_null());
    assert!(stage.target(0).join("d/page").exists());
    chmod(&stage.at("d"), 0o755);
    stage.write("d/page", "number two");
    stage.settles(&run);
}

#[test]
fn files_and_folders_that_vanish_while_they_are_mirrored_leave_nothing_behind() {
    let stage = Stage::book(DRIFTLESS, 1);
    let mut run = stage.live(&[]);
    for round in 0..60 {
        plant::forest(&stage.at("short-lived"), 5, 60, 2_000);
        stage.write("page", format!("{round}"));
        fs::remove_dir_all(stage.at("short-lived")).unwrap();
    }
    stage.settles(&run);
    let target = run.wait_target(0, "the target is live", |target| target["state"] == "live");
    assert_eq!(target["dirty_paths"], 0);
    assert!(!stage.target(0).join("short-lived").exists());
}

#[test]
fn a_file_truncated_while_it_is_read_ends_as_it_is_at_the_source() {
    let stage = Stage::book(DRIFTLESS, 1);
    let run = stage.live(&[]);
    for round in 0..10 {
        stage.write("big", plant::noise(round, 30 << 20));
        // Until the target is at it, or already has it: both are ordinary.
        let temporary = |name: &Vec<u8>| name.starts_with(b".big.");
        wait::until("the file is on its way", wait::GENEROUS, || {
            let there =
                fs::metadata(stage.target(0).join("big")).is_ok_and(|m| m.len() == 30 << 20);
            let names = driftless_testkit::compare::names(stage.target(0)).ok()?;
            (there || names.iter().any(temporary)).then_some(())
        });
        File::options().write(true).open(stage.at("big")).unwrap().set_len(1 << 20).unwrap();
        stage.settles(&run);
    }
}

#[test]
fn an_immutable_file_on_the_target_holds_up_only_itself() {
    let stage = Stage::book(DRIFTLESS, 1);
    for name in ["d/data", "d/mode", "d/gone", "d/free"] {
        stage.write(name, "1");
    }
    let mut run = stage.live(&[]);
    let held =
        ["d/data", "d/mode", "d/gone"].map(|name| Immutable::make(&stage.target(0).join(name)));
    stage.write("d/data", "number two");
    chmod(&stage.at("d/mode"), 0o600);
    fs::remove_file(stage.at("d/gone")).unwrap();
    stage.write("d/free", "number two");
    stage.write("e/free", "1");
    wait::until("the free files arrive", wait::GENEROUS, || {
        let one = fs::read(stage.target(0).join("d/free")).unwrap() == b"number two";
        (one && stage.target(0).join("e/free").exists()).then_some(())
    });
    run.wait_target(0, "the three held paths (and their folder) are dirty", |target| {
        matches!(target["dirty_paths"].as_u64(), Some(3..=4)) && !target["last_error"].is_null()
    });
    drop(held);
    stage.settles(&run);
}

#[test]
fn an_immutable_folder_on_the_target_holds_up_only_what_is_in_it() {
    let stage = Stage::book(DRIFTLESS, 1);
    stage.write("held/page", "1");
    stage.write("free/page", "1");
    let mut run = stage.live(&[]);
    let held = Immutable::make(&stage.target(0).join("held"));
    stage.write("held/new", "1");
    stage.write("free/page", "number two");
    wait::until("the free file arrives", wait::GENEROUS, || {
        (fs::read(stage.target(0).join("free/page")).unwrap() == b"number two").then_some(())
    });
    run.wait_error(0, "held");
    drop(held);
    stage.settles(&run);
}

#[test]
fn a_module_that_may_not_write_in_a_folder_is_told_and_the_rest_arrives() {
    let stage =
        Stage::with_module(DRIFTLESS, |module| module.set("uid", "nobody").set("gid", "nogroup"));
    // The daemon's user has to reach and own its module, and could not give files to root.
    chmod(stage.target(0).parent().unwrap().parent().unwrap(), 0o755);
    own(&stage.source(), 65534);
    own(stage.target(0), 65534);
    stage.write("open/page", "1");
    own(&stage.at("open"), 65534);
    own(&stage.at("open/page"), 65534);
    let mut run = stage.live(&[]);
    let closed = stage.target(0).join("closed");
    fs::create_dir(&closed).unwrap();
    stage.write("closed/page", "1");
    stage.write("open/page", "number two");
    wait::until("the open file arrives", wait::GENEROUS, || {
        (fs::read(stage.target(0).join("open/page")).unwrap() == b"number two").then_some(())
    });
    run.wait_error(0, "closed");
    assert!(!closed.join("page").exists());
}

#[test]
fn a_full_disk_is_told_and_left_as_soon_as_there_is_room() {
    let disk = SmallDisk::mount("8m");
    let module = Module::book("web1").at(&disk.folder.path().join("wwwroot"));
    let stage = Stage::with(DRIFTLESS, vec![RsyncDaemon::start(&[module])]);
    stage.write("page", "1");
    let mut run = stage.live(&[]);
    stage.write("too-large", plant::noise(1, 20 << 20));
    run.wait_error(0, "No space left on device");
    stage.write("page", "number two");
    wait::until("what has room arrives", wait::GENEROUS, || {
        (fs::read(stage.target(0).join("page")).unwrap() == b"number two").then_some(())
    });
    assert!(!stage.target(0).join("too-large").exists());
    run.wait_target(0, "the large file is dirty", |target| {
        target["dirty_paths"].as_u64() > Some(0)
    });
    fs::remove_file(stage.at("too-large")).unwrap();
    stage.settles(&run);
}

#[test]
fn a_target_without_a_free_slot_is_tried_again_until_it_has_one() {
    let mut stage = Stage::book(DRIFTLESS, 1);
    stage.write("page", "1");
    let mut run = stage.live(&[]);
    stage.daemons[0].reconfigure("web1", |module| module.set("max connections", "-1"));
    stage.write("page", "number two");
    run.wait_error(0, "max connections");
    stage.daemons[0].reconfigure("web1", |module| module.set("max connections", "10"));
    stage.settles(&run);
}

#[test]
fn a_target_with_a_single_slot_is_mirrored() {
    let stage = Stage::with_module(DRIFTLESS, |module| module.set("max connections", "1"));
    let run = stage.live(&[]);
    for number in 0..100 {
        stage.write(&format!("page{number}"), format!("{number}"));
        if number % 10 == 0 {
            run.flush_everywhere();
        }
    }
    run.flush_everywhere();
    stage.targets_equal_source();
}

#[test]
fn a_chrooted_module_is_mirrored_with_true_links() {
    let mut stage = Stage::with_module(DRIFTLESS, Module::chroot);
    stage.compare.through_munged_links = false;
    stage.write("d/page", "1");
    let run = stage.live(&[]);
    std::os::unix::fs::symlink("/etc/nowhere", stage.at("absolute")).unwrap();
    std::os::unix::fs::symlink("../../up", stage.at("d/up")).unwrap();
    fs::rename(stage.at("d/page"), stage.at("moved")).unwrap();
    stage.settles(&run);
}

#[test]
fn hard_links_follow_their_groups() {
    let mut stage = Stage::book(DRIFTLESS, 1);
    stage.compare.hard_links = true;
    stage.write("one", plant::noise(1, 50_000));
    stage.write("alone", "1");
    let run = stage.live(&["--hard-links"]);
    fs::hard_link(stage.at("one"), stage.at("two")).unwrap();
    stage.settles(&run);
    File::options().append(true).open(stage.at("two")).unwrap().write_all(b"more").unwrap();
    stage.settles(&run);
    plant::set_mtime(&stage.at("one"), 1_000_000_000, 1);
    stage.settles(&run);
    chmod(&stage.at("two"), 0o640);
    stage.settles(&run);
    fs::rename(stage.at("two"), stage.at("three")).unwrap();
    stage.settles(&run);
    // Broken with equal content and time, as `cp -p` and `mv` do.
    fs::write(stage.at("copy"), fs::read(stage.at("one")).unwrap()).unwrap();
    chmod(&stage.at("copy"), 0o640);
    plant::set_mtime(&stage.at("copy"), 1_000_000_000, 1);
    fs::rename(stage.at("copy"), stage.at("three")).unwrap();
    stage.settles(&run);
    fs::remove_file(stage.at("three")).unwrap();
    fs::hard_link(stage.at("alone"), stage.at("three")).unwrap();
    stage.settles(&run);
}

#[test]
fn flush_gives_up_after_its_time_and_says_who_is_behind() {
    let mut stage = Stage::book(DRIFTLESS, 1);
    let run = stage.live(&[]);
    stage.daemons[0].kill9();
    stage.write("page", "1");
    let error = run.flush(Duration::from_secs(1)).unwrap_err();
    assert!(error.contains("web1"), "{error}");
}

fn chmod(path: &Path, mode: u32) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn own(path: &Path, id: u32) {
    std::os::unix::fs::lchown(path, Some(id), Some(id)).unwrap();
}

/// A file system in memory that is soon full.
struct SmallDisk {
    folder: tempfile::TempDir,
    mounted: PathBuf,
}

impl SmallDisk {
    #[track_caller]
    fn mount(size: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mounted = folder.path().to_owned();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={size}"), "driftless-test"]).arg(&mounted);
        let status = mount.status().expect("this test needs mount (package mount)");
        assert!(status.success(), "this test needs root, to mount a small disk");
        Self { folder, mounted }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: the daemon that serves it may still be ending.
        let _ = Command::new("umount").arg("--lazy").arg(&self.mounted).status();
    }
}

/// A change made through a name that is gone before the batch is built: the file's other names
/// hold it, and no event names them.
#[track_caller]
fn a_change_through_a_name_reaches_the_other(change: impl FnOnce(&Stage)) {
    let mut stage = Stage::book(DRIFTLESS, 1);
    stage.compare.hard_links = true;
    stage.write("d/stays", plant::noise(1, 5_000));
    stage.write("other", "1");
    fs::hard_link(stage.at("d/stays"), stage.at("goes")).unwrap();
    let mut run = stage.live(&["--hard-links", "--max-delete", "none"]);
    run.flush_everywhere();
    // Nothing is sent in the middle of the change.
    assert!(run.control("pause", &[]).status.success());
    run.wait_target(0, "the target is paused", |target| target["state"] == "paused");
    change(&stage);
    assert!(run.control("resume", &[]).status.success());
    stage.settles(&run);
}

#[test]
fn content_written_through_a_name_that_is_deleted_reaches_the_other_name() {
    a_change_through_a_name_reaches_the_other(|stage| {
        stage.write("goes", "written through the second name");
        fs::remove_file(stage.at("goes")).unwrap();
    });
}

#[test]
fn content_written_through_a_name_that_is_replaced_reaches_the_other_name() {
    a_change_through_a_name_reaches_the_other(|stage| {
        stage.write("goes", "written through the second name");
        fs::rename(stage.at("other"), stage.at("goes")).unwrap();
    });
}

#[test]
fn content_written_through_a_name_that_leaves_reaches_the_other_name() {
    a_change_through_a_name_reaches_the_other(|stage| {
        stage.write("goes", "written through the second name");
        fs::rename(stage.at("goes"), stage.outside().join("gone")).unwrap();
    });
}

#[test]
fn attributes_set_through_a_name_that_is_renamed_and_deleted_reach_the_other_name() {
    a_change_through_a_name_reaches_the_other(|stage| {
        own(&stage.at("goes"), 30_003);
        fs::rename(stage.at("goes"), stage.at("renamed")).unwrap();
        fs::remove_file(stage.at("renamed")).unwrap();
    });
}

#[test]
fn content_written_through_a_new_name_that_is_deleted_reaches_the_old_name() {
    a_change_through_a_name_reaches_the_other(|stage| {
        fs::hard_link(stage.at("d/stays"), stage.at("short-lived")).unwrap();
        stage.write("short-lived", "written through a name that no target ever saw");
        fs::remove_file(stage.at("short-lived")).unwrap();
    });
}
