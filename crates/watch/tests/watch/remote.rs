//! File systems that others can change unseen: recognised, said, compared.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use driftless_watch::survey::survey;
use driftless_watch::{Backend, WatchError, WatchOptions, Watcher, What};

use crate::support::{Kept, Watched, is_covered, rel, what, with};

/// A directory seen through a program of its own. Unmounted when dropped.
struct Fuse(PathBuf);

impl Fuse {
    /// Shows `real` at `at`; nothing where this machine has no FUSE.
    fn bind(real: &Path, at: &Path) -> Option<Self> {
        if fs::File::options().read(true).write(true).open("/dev/fuse").is_err() {
            println!("SKIPPED: /dev/fuse cannot be opened");
            return None;
        }
        let output = Command::new("bindfs").arg(real).arg(at).output();
        let output = output.expect("this test needs the package bindfs");
        assert!(output.status.success(), "bindfs needs root: {output:?}");
        Some(Self(at.into()))
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        let done = Command::new("umount").arg("--lazy").arg(&self.0).status();
        assert!(done.is_ok_and(|status| status.success()), "{}", self.0.display());
    }
}

/// A directory and the same seen through FUSE.
fn planted() -> Option<(tempfile::TempDir, PathBuf, Fuse)> {
    let dir = tempfile::tempdir().unwrap();
    let (real, seen) = (dir.path().join("real"), dir.path().join("seen"));
    fs::create_dir_all(real.join("d/e")).unwrap();
    fs::create_dir(&seen).unwrap();
    let fuse = Fuse::bind(&real, &seen)?;
    Some((dir, real, fuse))
}

fn options() -> WatchOptions {
    WatchOptions { poll_interval: std::time::Duration::from_millis(20), ..WatchOptions::default() }
}

#[test]
fn what_is_changed_behind_fuse_is_found_by_comparing() {
    let Some((_dir, real, fuse)) = planted() else { return };
    let found = survey(&fuse.0, &options()).unwrap();
    assert_eq!(found.backend, Backend::Poll, "{found:?}");
    let watched = Watched::at(&fuse.0, options());
    let stats = watched.watcher.stats();
    assert_eq!((stats.backend, stats.watched, stats.polled), (Backend::Poll, 0, 3), "{stats:?}");
    assert!(stats.refused.as_ref().is_some_and(|why| why.contains("is on FUSE")), "{stats:?}");
    // No event tells of this.
    fs::write(real.join("d/e/f"), "x").unwrap();
    assert!(what(&watched.hints(), "d/e/f").contains(What::CREATED));
    fs::create_dir_all(real.join("d/new/er")).unwrap();
    fs::remove_file(real.join("d/e/f")).unwrap();
    let hints = watched.hints();
    assert!(is_covered(&hints, &rel("d/new/er")), "{hints:?}");
    assert!(what(&hints, "d/e/f").contains(What::GONE), "{hints:?}");
    drop(watched);
}

#[test]
fn fanotify_is_refused_on_fuse() {
    let Some((_dir, _, fuse)) = planted() else { return };
    let sink = Arc::new(Kept::default());
    let refused = Watcher::start(&fuse.0, with(Backend::Fanotify), sink).err();
    let Some(WatchError::Refused { why, .. }) = refused else { panic!("{refused:?}") };
    assert!(why.contains("is on FUSE, where other machines"), "{why}");
}

#[test]
fn fuse_inside_a_local_tree_is_compared_and_the_rest_watched() {
    let Some((dir, real, fuse)) = planted() else { return };
    let root = dir.path().join("root");
    fs::create_dir_all(root.join("local")).unwrap();
    fs::create_dir(root.join("m")).unwrap();
    drop(fuse);
    let Some(fuse) = Fuse::bind(&real, &root.join("m")) else { return };
    let watched = Watched::at(&root, options());
    let stats = watched.watcher.stats();
    assert_eq!((stats.backend, stats.watched, stats.polled), (Backend::Inotify, 2, 3), "{stats:?}");
    fs::write(real.join("d/f"), "x").unwrap();
    fs::write(root.join("local/g"), "x").unwrap();
    let hints = watched.hints();
    assert!(what(&hints, "m/d/f").contains(What::CREATED), "{hints:?}");
    assert!(what(&hints, "local/g").contains(What::CLOSED_WRITE), "{hints:?}");
    drop((watched, fuse));
}
