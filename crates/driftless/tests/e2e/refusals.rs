//! What a target refuses is learned and told (lane reference, Deletions, type changes, filters).

use std::fs;
use std::time::Duration;

use driftless_testkit::scenario::Stage;
use driftless_testkit::wait;

use crate::DRIFTLESS;

#[track_caller]
fn deletions_are_refused_and_the_rest_arrives(refused: &str) {
    let stage = Stage::with_module(DRIFTLESS, |module| module.set("refuse options", refused));
    for name in ["page", "gone", "tree/a/b", "tree/c"] {
        stage.write(name, "1");
    }
    let mut run = stage.live(&[]);
    fs::remove_file(stage.at("gone")).unwrap();
    fs::remove_dir_all(stage.at("tree")).unwrap();
    stage.write("page", "number two");
    stage.write("new/page", "3");
    wait::until("what is allowed arrives", wait::GENEROUS, || {
        let arrived = fs::read(stage.target(0).join("page")).ok()? == b"number two";
        (arrived && stage.target(0).join("new/page").exists()).then_some(())
    });
    run.wait_target(0, "the deletions are pending, with the reason", |target| {
        target["dirty_paths"].as_u64() >= Some(2)
            && target["last_error"].as_str().is_some_and(|text| text.contains("delet"))
    });
    assert!(stage.target(0).join("tree/a/b").exists());
    assert!(run.flush(Duration::from_secs(2)).is_err());

    let mut stage = stage;
    stage.daemons[0].reconfigure("web1", |module| module.unset("refuse options"));
    assert!(run.control("resync", &[]).status.success());
    stage.settles(&run);
}

#[test]
fn a_target_that_refuses_delete_gets_everything_else() {
    deletions_are_refused_and_the_rest_arrives("delete");
}

#[test]
fn a_target_that_refuses_every_kind_of_delete_gets_everything_else() {
    deletions_are_refused_and_the_rest_arrives("delete*");
}

#[test]
fn a_target_that_refuses_force_loses_a_deleted_tree_all_the_same() {
    let stage = Stage::with_module(DRIFTLESS, |module| module.set("refuse options", "force"));
    for name in ["tree/a/b/c", "tree/a/d", "tree/e", "kind/inside", "page"] {
        stage.write(name, "1");
    }
    let run = stage.live(&[]);
    fs::remove_dir_all(stage.at("tree")).unwrap();
    stage.settles(&run);
    fs::remove_dir_all(stage.at("kind")).unwrap();
    stage.write("kind", "a file now");
    stage.settles(&run);
}

#[test]
fn a_target_that_refuses_acknowledgements_is_mirrored_without() {
    let stage = Stage::with_module(DRIFTLESS, |module| module.set("refuse options", "remove-*"));
    stage.write("d/page", "1");
    let run = stage.live(&[]);
    stage.write("d/page", "number two");
    stage.write("d/new", "1");
    stage.settles(&run);
    let refusals = run.targets()[0]["refusals"].to_string();
    assert!(refusals.contains("acknowledgements are refused"), "{refusals}");
    fs::remove_file(stage.at("d/new")).unwrap();
    fs::rename(stage.at("d/page"), stage.at("moved")).unwrap();
    stage.settles(&run);
}

#[test]
fn a_name_that_the_module_excludes_is_told_and_holds_up_nothing() {
    let stage = Stage::with_module(DRIFTLESS, |module| module.set("exclude", "*.key"));
    stage.write("k/page", "1");
    let mut run = stage.live(&[]);
    stage.write("k/n.key", "never accepted");
    stage.write("k/page", "number two");
    let page = stage.target(0).join("k/page");
    wait::until("the other file arrives", wait::GENEROUS, || {
        (fs::read(&page).unwrap() == b"number two").then_some(())
    });
    run.wait_error(0, "n.key");
    stage.write("later", "1");
    wait::until("later changes arrive", wait::GENEROUS, || {
        stage.target(0).join("later").exists().then_some(())
    });
    assert!(!stage.target(0).join("k/n.key").exists());
}

/// The mirror cannot know the module's rules: the folder stays pending, with the reason.
#[test]
fn what_the_module_protects_below_a_deleted_folder_stays_and_is_told() {
    let stage = Stage::with_module(DRIFTLESS, |module| module.set("exclude", "*.key"));
    stage.write("k/page", "1");
    let mut run = stage.live(&[]);
    fs::write(stage.target(0).join("k/s.key"), "the target's own").unwrap();
    fs::remove_dir_all(stage.at("k")).unwrap();
    run.wait_target(0, "the folder is dirty and the reason is told", |target| {
        target["dirty_paths"] == 1
            && target["last_error"].as_str().is_some_and(|text| text.contains("delete"))
    });
    assert!(stage.target(0).join("k/s.key").exists());
    assert!(!stage.target(0).join("k/page").exists());
    stage.write("later", "1");
    wait::until("later changes arrive", wait::GENEROUS, || {
        stage.target(0).join("later").exists().then_some(())
    });
    fs::remove_file(stage.target(0).join("k/s.key")).unwrap();
    stage.settles(&run);
}

#[test]
fn a_protected_name_in_the_way_of_a_file_is_told_and_stays() {
    let stage = Stage::book(DRIFTLESS, 1);
    stage.write("k/page", "1");
    stage.write("other", "1");
    let mut run = stage.live(&["--exclude", "*.key"]);
    fs::write(stage.target(0).join("k/s.key"), "the target's own").unwrap();
    fs::remove_dir_all(stage.at("k")).unwrap();
    stage.write("k", "a file now");
    stage.write("other", "number two");
    run.wait_target(0, "the path is dirty and the reason is told", |target| {
        target["dirty_paths"].as_u64() > Some(0)
            && target["last_error"].as_str().is_some_and(|text| text.contains('k'))
    });
    assert!(stage.target(0).join("k/s.key").exists());
    wait::until("the other file arrives", wait::GENEROUS, || {
        (fs::read(stage.target(0).join("other")).unwrap() == b"number two").then_some(())
    });
    fs::remove_file(stage.target(0).join("k/s.key")).unwrap();
    run.flush_everywhere();
    assert_eq!(fs::read(stage.target(0).join("k")).unwrap(), b"a file now");
}

#[test]
fn deleting_an_excluded_name_at_the_source_deletes_nothing_at_the_target() {
    let stage = Stage::book(DRIFTLESS, 1);
    stage.write("k/page", "1");
    stage.write("k/s.key", "the source's own");
    let run = stage.live(&["--exclude", "*.key"]);
    fs::write(stage.target(0).join("k/s.key"), "the target's own").unwrap();
    fs::remove_file(stage.at("k/s.key")).unwrap();
    stage.write("k/page", "number two");
    run.flush_everywhere();
    assert_eq!(fs::read(stage.target(0).join("k/s.key")).unwrap(), b"the target's own");
}

#[test]
fn a_mirror_without_deletions_deletes_nothing() {
    let stage = Stage::book(DRIFTLESS, 1);
    stage.write("page", "1");
    stage.write("gone", "1");
    stage.write("tree/a", "1");
    let run = stage.live(&["--no-delete"]);
    fs::remove_file(stage.at("gone")).unwrap();
    fs::remove_dir_all(stage.at("tree")).unwrap();
    stage.write("page", "number two");
    run.flush_everywhere();
    assert_eq!(fs::read(stage.target(0).join("page")).unwrap(), b"number two");
    assert!(stage.target(0).join("gone").exists());
    assert!(stage.target(0).join("tree/a").exists());
}
