//! The root: its own attributes, its loss, and roots that cannot be watched.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

use driftless_watch::{Backend, Hint, WatchError, WatchOptions, Watcher};

use crate::support::{Kept, Mounted, Watched, each_backend, with};

each_backend! {
    the_roots_own_attributes_have_a_hint,
    a_deleted_root_is_lost,
    a_root_that_was_moved_away_is_lost,
    a_replaced_root_is_lost,
    a_root_below_a_directory_that_was_moved_is_lost_at_the_next_barrier,
    a_root_covered_by_a_mount_is_lost_at_the_next_barrier,
    nothing_is_delivered_after_stopping,
    a_deleted_root_that_somebody_holds_open_is_lost,
    the_roots_file_system_can_be_unmounted,
}

fn the_roots_own_attributes_have_a_hint(backend: Backend) {
    let watched = Watched::new(backend);
    fs::set_permissions(&watched.root, fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(watched.precise_hints(), [Hint::RootAttributes]);
}

#[track_caller]
fn check_lost(watched: &Watched, reason: &str) {
    watched.kept.wait_for(|hint| matches!(hint, Hint::RootLost(told) if told.contains(reason)));
    let Err(WatchError::Ended(ended)) = watched.watcher.barrier() else { panic!("it goes on") };
    assert!(ended.contains(reason), "{ended}");
    let lost = |hint: &Hint| matches!(hint, Hint::RootLost(_));
    let hints = watched.kept.take();
    assert_eq!(hints.iter().filter(|hint| lost(hint)).count(), 1, "{hints:?}");
    assert!(hints.last().is_some_and(lost), "{hints:?}");
}

fn a_deleted_root_is_lost(backend: Backend) {
    let watched = Watched::new(backend);
    fs::remove_dir(&watched.root).unwrap();
    check_lost(&watched, "deleted or moved away");
}

fn a_root_that_was_moved_away_is_lost(backend: Backend) {
    let watched = Watched::new(backend);
    fs::rename(&watched.root, watched.outside("elsewhere")).unwrap();
    check_lost(&watched, "deleted or moved away");
}

fn a_replaced_root_is_lost(backend: Backend) {
    let watched = Watched::new(backend);
    fs::create_dir(watched.outside("new")).unwrap();
    let (new, old) = (watched.outside("new"), watched.root.clone());
    rustix::fs::renameat_with(
        rustix::fs::CWD,
        new,
        rustix::fs::CWD,
        old,
        rustix::fs::RenameFlags::EXCHANGE,
    )
    .unwrap();
    check_lost(&watched, "another directory");
}

fn a_root_below_a_directory_that_was_moved_is_lost_at_the_next_barrier(backend: Backend) {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("above/root");
    fs::create_dir_all(&root).unwrap();
    let kept = Arc::new(Kept::default());
    let watcher = Watcher::start(&root, with(backend), kept.clone()).unwrap();
    fs::rename(dir.path().join("above"), dir.path().join("moved")).unwrap();
    assert!(matches!(watcher.barrier(), Err(WatchError::Ended(_))));
    kept.wait_for(|hint| matches!(hint, Hint::RootLost(_)));
}

fn a_root_covered_by_a_mount_is_lost_at_the_next_barrier(backend: Backend) {
    let watched = Watched::new(backend);
    let mounted = Mounted::tmpfs(&watched.root);
    assert!(watched.try_hints().is_err());
    check_lost(&watched, "another directory");
    drop(mounted);
}

#[test]
fn what_is_no_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let start = |name: &str| {
        let sink = Arc::new(Kept::default());
        Watcher::start(&dir.path().join(name), WatchOptions::default(), sink).err()
    };
    assert!(matches!(start("missing"), Some(WatchError::Root { .. })));
    fs::write(dir.path().join("file"), "x").unwrap();
    assert!(matches!(start("file"), Some(WatchError::NotADirectory { .. })));
}

fn nothing_is_delivered_after_stopping(backend: Backend) {
    let watched = Watched::new(backend);
    let Watched { watcher, kept, root, dir } = watched;
    watcher.stop();
    fs::write(root.join("f"), "x").unwrap();
    assert_eq!(kept.take(), []);
    drop(dir);
}

fn a_deleted_root_that_somebody_holds_open_is_lost(backend: Backend) {
    let watched = Watched::new(backend);
    let held = fs::File::open(&watched.root).unwrap();
    fs::remove_dir(&watched.root).unwrap();
    check_lost(&watched, "deleted or moved away");
    drop(held);
}

fn the_roots_file_system_can_be_unmounted(backend: Backend) {
    let mounted = std::cell::OnceCell::new();
    let watched = Watched::with(with(backend), |root| {
        let _ = mounted.set(Mounted::tmpfs(root));
    });
    drop(mounted);
    check_lost(&watched, "unmounted");
}
