//! What each kind of change is told as.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use driftless_watch::{Hint, WatchOptions, What};

use crate::support::{Watched, is_covered, rel, renamed, subtree, what};

#[test]
fn a_written_file_is_created_modified_and_closed() {
    let watched = Watched::new();
    fs::write(watched.path("f"), "x").unwrap();
    let hints = watched.hints();
    let all = What::CREATED | What::MODIFIED | What::CLOSED_WRITE;
    assert_eq!(hints, [Hint::Path { path: rel("f"), what: all }]);
    fs::set_permissions(watched.path("f"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(watched.hints(), [Hint::Path { path: rel("f"), what: What::ATTRIBUTES }]);
    fs::remove_file(watched.path("f")).unwrap();
    assert_eq!(watched.hints(), [Hint::Path { path: rel("f"), what: What::GONE }]);
}

#[test]
fn reading_makes_no_hints() {
    let watched = Watched::with(WatchOptions::default(), |root| {
        fs::create_dir(root.join("d")).unwrap();
        fs::write(root.join("d/f"), "x").unwrap();
    });
    fs::read(watched.path("d/f")).unwrap();
    fs::read_dir(watched.path("d")).unwrap().count();
    assert_eq!(watched.hints(), []);
    assert_eq!(watched.watcher.stats().events, 0);
}

#[test]
fn a_chain_of_new_directories_is_covered_to_its_end() {
    let watched = Watched::new();
    for n in 0..50 {
        let chain = watched.path(&format!("{n}/b/c/d"));
        fs::create_dir_all(&chain).unwrap();
        fs::write(chain.join("leaf"), "x").unwrap();
    }
    let hints = watched.hints();
    for n in 0..50 {
        assert!(is_covered(&hints, &rel(&format!("{n}/b/c/d/leaf"))), "{n}");
        assert!(hints.contains(&subtree(&n.to_string())), "{n}");
    }
    assert_eq!(watched.watcher.stats().watched, 201);
    fs::write(watched.path("7/b/c/d/later"), "x").unwrap();
    assert!(what(&watched.hints(), "7/b/c/d/later").contains(What::CREATED));
}

#[test]
fn a_rename_comes_before_the_two_names() {
    let watched = Watched::with(WatchOptions::default(), |root| {
        fs::write(root.join("a"), "x").unwrap();
        fs::write(root.join("b"), "y").unwrap();
    });
    fs::rename(watched.path("a"), watched.path("b")).unwrap();
    let hints = watched.hints();
    let a = Hint::Path { path: rel("a"), what: What::GONE };
    let b = Hint::Path { path: rel("b"), what: What::ARRIVED };
    assert_eq!(hints, [renamed("a", "b", false), a, b]);
}

#[test]
fn a_renamed_directory_keeps_its_watches() {
    let watched = Watched::with(WatchOptions::default(), |root| {
        fs::create_dir_all(root.join("a/b/c")).unwrap();
        fs::create_dir(root.join("z")).unwrap();
    });
    fs::rename(watched.path("a/b"), watched.path("z/y")).unwrap();
    fs::write(watched.path("z/y/c/f"), "x").unwrap();
    let hints = watched.hints();
    assert_eq!(hints[0], renamed("a/b", "z/y", true));
    assert!(what(&hints, "z/y/c/f").contains(What::CLOSED_WRITE));
    assert!(!hints.iter().any(|hint| matches!(hint, Hint::Subtree { .. })), "{hints:?}");
    assert_eq!(watched.watcher.stats().watched, 5);
}
