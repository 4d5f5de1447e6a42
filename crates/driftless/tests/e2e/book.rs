//! The administrator's book: one publishing node, three web nodes with stock daemons.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::{ffi::OsStr, path::PathBuf};

use driftless_testkit::plant::{self, forest_file};
use driftless_testkit::scenario::Stage;
use driftless_testkit::stock;

use crate::DRIFTLESS;

const FOLDERS: usize = 300;
const FILES: usize = 5_000;

#[test]
fn after_every_kind_of_change_stock_rsync_finds_nothing_to_do() {
    let mut stage = Stage::book(DRIFTLESS, 3);
    stage.compare.hard_links = true;
    stage.compare.excluded = vec![b"draft.swp".to_vec()];
    plant::forest(&stage.source(), FOLDERS, FILES, 900);
    let run = stage.live(&["--hard-links", "--exclude", "*.swp"]);
    stage.targets_equal_source();

    edit_files(&stage);
    run.flush_everywhere();
    stage.targets_equal_source();

    move_things(&stage);
    odd_names(&stage);
    run.flush_everywhere();
    stage.targets_equal_source();

    delete_things(&stage);
    stage.write("draft.swp", "not for the mirrors");
    run.flush_everywhere();
    stage.targets_equal_source();
    stage.stock_rsync_finds_nothing(&["--exclude=*.swp"]);
    for index in 0..3 {
        assert!(!stage.target(index).join("draft.swp").exists());
    }
}

fn file(stage: &Stage, number: usize) -> PathBuf {
    stage.at(&forest_file(FOLDERS, number))
}

fn edit_files(stage: &Stage) {
    for number in 0..40 {
        fs::write(file(stage, number), format!("edited {number}")).unwrap();
    }
    for number in 40..60 {
        let mut options = OpenOptions::new();
        options.append(true).open(file(stage, number)).unwrap().write_all(b"more").unwrap();
    }
    for number in 60..80 {
        let file = OpenOptions::new().write(true).open(file(stage, number)).unwrap();
        file.set_len(number as u64).unwrap();
    }
    for number in 80..90 {
        fs::set_permissions(file(stage, number), Permissions::from_mode(0o4750)).unwrap();
    }
    for number in 90..100 {
        lchown(file(stage, number), Some(1), Some(54_321)).unwrap();
    }
    for number in 100..110 {
        plant::set_mtime(&file(stage, number), 1_000_000_000, number as i64);
    }
    let folder = file(stage, 0).parent().unwrap().to_owned();
    fs::set_permissions(&folder, Permissions::from_mode(0o2775)).unwrap();
    plant::set_mtime(&folder, 900_000_000, 1);
    fs::set_permissions(stage.source(), Permissions::from_mode(0o711)).unwrap();
}

fn move_things(stage: &Stage) {
    for number in 110..130 {
        fs::rename(file(stage, number), stage.at(&format!("renamed{number}"))).unwrap();
    }
    fs::rename(file(stage, 130), file(stage, 131)).unwrap();
    fs::rename(stage.at("s01"), stage.at("renamed-folder")).unwrap();
    let inner = file(stage, 2).parent().unwrap().to_owned();
    fs::rename(inner, stage.at("s03/moved-inner")).unwrap();
    fs::rename(stage.at("s04"), stage.outside().join("gone")).unwrap();
    fs::create_dir_all(stage.outside().join("come/in")).unwrap();
    fs::write(stage.outside().join("come/in/file"), "from outside").unwrap();
    fs::rename(stage.outside().join("come"), stage.at("come")).unwrap();
    symlink("renamed110", stage.at("to-a-file")).unwrap();
    symlink("no/such/thing", stage.at("to-nothing")).unwrap();
    symlink("s05", stage.at("to-a-folder")).unwrap();
    fs::hard_link(stage.at("renamed111"), stage.at("second-name")).unwrap();
    fs::hard_link(stage.at("renamed111"), stage.at("s05/third-name")).unwrap();
    stock::make_fifo(&stage.at("fifo"));
}

fn odd_names(stage: &Stage) {
    let longest = [b'y'; 255];
    let names: [&[u8]; 8] = [
        b"with blanks in it",
        b"line\nfeed",
        b"not\xff\xfeutf-8",
        &longest,
        b"#hash",
        b"-dash",
        b"*[glob]?\\",
        b";semicolon",
    ];
    for name in names {
        let path = stage.source().join(OsStr::from_bytes(name));
        fs::write(&path, name).unwrap();
        let folder = stage.at("odd").join(OsStr::from_bytes(name));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(OsStr::from_bytes(name)), name).unwrap();
    }
}

fn delete_things(stage: &Stage) {
    for number in 140..160 {
        let _ = fs::remove_file(file(stage, number));
    }
    fs::remove_dir_all(stage.at("s06")).unwrap();
    fs::remove_dir_all(stage.at("odd")).unwrap();
    fs::remove_file(stage.at("to-a-folder")).unwrap();
    fs::remove_file(stage.at("renamed111")).unwrap();
    fs::remove_file(stage.at("fifo")).unwrap();
}

#[test]
fn flush_and_status_speak_as_the_book_shows() {
    let stage = Stage::book(DRIFTLESS, 3);
    stage.write("index.html", "hello");
    let mut run = stage.live(&["--exclude", "*.swp"]);
    stage.write("index.html", "hello again");
    run.flush_everywhere();
    for index in 0..3 {
        let target =
            run.wait_target(index, "nothing is dirty", |target| target["dirty_paths"] == 0);
        assert_eq!(target["url"], stage.url(index));
        assert_eq!(target["state"], "live");
        assert!(target["last_error"].is_null(), "{target:#}");
        assert!(target["next_retry"].is_null(), "{target:#}");
        assert!(target["lag_seconds"].as_f64() == Some(0.0), "{target:#}");
        assert!(target["bytes_sent"].as_u64().is_some_and(|sent| sent > 0), "{target:#}");
        assert!(target["batches"].as_u64().is_some_and(|count| count > 0), "{target:#}");
    }
    assert!(run.terminate().success());
}

#[test]
fn one_paused_target_does_not_hold_up_the_others() {
    let stage = Stage::book(DRIFTLESS, 2);
    let mut run = stage.live(&[]);
    let mirror = run.status().unwrap()["mirrors"][0]["name"].as_str().unwrap().to_owned();
    let target = format!("{mirror}/{}", stage.url(1));
    let output = run.control("pause", &[&target]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    run.wait_target(1, "the second target is paused", |target| target["state"] == "paused");
    stage.write("page", "for the first");
    let page = stage.target(0).join("page");
    driftless_testkit::wait::until(
        "the first target has the page",
        driftless_testkit::wait::GENEROUS,
        || page.exists().then_some(()),
    );
    assert!(!stage.target(1).join("page").exists());
    assert!(run.control("resume", &[&target]).status.success());
    stage.settles(&run);
}
