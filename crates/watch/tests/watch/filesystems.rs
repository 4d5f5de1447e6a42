//! Every file system that sources are on, several in one tree, and trees seen at several places.

use std::fs;
use std::path::Path;
use std::process::Command;

use driftless_testkit::disk::{Disk, DiskKind};
use driftless_testkit::kernel::{has_mount_namespaces, has_user_namespaces};
use driftless_watch::{Backend, Hint, WatchError, WatchOptions, Watcher, What};

use crate::limits::again;
use crate::loss::{Course, run, seed};
use crate::support::{Mounted, Watched, is_covered, rel, subtree, until_stats, what, with};

/// Nothing is lost on this file system, and nothing is told of what is beside the tree.
#[track_caller]
fn check(kind: DiskKind) {
    let Some(disk) = Disk::new(kind) else { return };
    let parent = Some(disk.path().to_path_buf());
    run(&Course { parent, ..Course::new(seed(), Backend::Fanotify) });
    let (root, beside) = (disk.path().join("root"), disk.path().join("beside"));
    fs::create_dir_all(root.join("a/b")).unwrap();
    fs::create_dir(&beside).unwrap();
    let watched = Watched::at(&root, with(Backend::Fanotify));
    fs::write(beside.join("f"), "x").unwrap();
    fs::create_dir_all(beside.join("c/d")).unwrap();
    assert_eq!(watched.precise_hints(), []);
    assert_eq!(watched.watcher.stats().events, 0);
    fs::rename(root.join("a"), beside.join("a")).unwrap();
    fs::rename(beside.join("a"), root.join("z")).unwrap();
    fs::write(root.join("z/b/f"), "x").unwrap();
    let hints = watched.hints();
    assert!(hints.contains(&subtree("z")), "{hints:?}");
    assert!(what(&hints, "z/b/f").contains(What::CLOSED_WRITE), "{hints:?}");
}

#[test]
fn nothing_is_lost_on_ext4() {
    check(DiskKind::Ext4);
}

#[test]
fn nothing_is_lost_on_xfs() {
    check(DiskKind::Xfs);
}

#[test]
fn nothing_is_lost_on_btrfs() {
    check(DiskKind::Btrfs);
}

#[test]
fn nothing_is_lost_on_tmpfs() {
    check(DiskKind::Tmpfs);
}

#[test]
fn a_tree_on_two_file_systems_has_a_mark_on_each() {
    for kind in DiskKind::ALL {
        let Some(disk) = Disk::new(kind) else { continue };
        let watched = Watched::with(with(Backend::Fanotify), |root| {
            fs::create_dir_all(root.join("on/m")).unwrap();
        });
        // Mounted while it is watched.
        fs::create_dir_all(disk.path().join("d/e")).unwrap();
        let mounted = Mounted::bind(disk.path(), &watched.path("on/m"));
        assert!(is_covered(&watched.hints(), &rel("on/m/d/e")));
        fs::write(watched.path("on/m/d/e/f"), "x").unwrap();
        fs::write(watched.path("on/g"), "x").unwrap();
        let hints = watched.hints();
        assert!(what(&hints, "on/m/d/e/f").contains(What::CREATED), "{hints:?}");
        assert!(what(&hints, "on/g").contains(What::CREATED), "{hints:?}");
        assert_eq!(watched.watcher.stats().backend, Backend::Fanotify);
        // Mounted when watching starts.
        let again = Watched::at(&watched.root, with(Backend::Fanotify));
        fs::rename(watched.path("on/m/d"), watched.path("on/m/z")).unwrap();
        fs::write(watched.path("on/m/z/e/g"), "x").unwrap();
        let hints = again.hints();
        assert!(what(&hints, "on/m/z/e/g").contains(What::CREATED), "{hints:?}");
        drop(mounted);
        assert!(is_covered(&again.hints(), &rel("on/m/z/e/g")));
        assert!(is_covered(&watched.hints(), &rel("on/m/z/e/g")));
    }
}

#[test]
fn a_directory_that_is_seen_at_two_places_is_covered_at_both() {
    let mounted = std::cell::OnceCell::new();
    let watched = Watched::with(with(Backend::Fanotify), |root| {
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(root.join("m")).unwrap();
        let _ = mounted.set(Mounted::bind(&root.join("a"), &root.join("m")));
    });
    fs::write(watched.path("m/b/f"), "x").unwrap();
    fs::rename(watched.path("a/b"), watched.path("a/c")).unwrap();
    fs::write(watched.path("a/c/g"), "x").unwrap();
    let hints = watched.hints();
    for path in ["a/c/f", "m/c/f", "a/c/g", "m/c/g", "a/b", "m/b"] {
        assert!(is_covered(&hints, &rel(path)), "{path}: {hints:?}");
    }
}

#[test]
fn a_mount_moves_with_the_directory_that_it_is_in() {
    let watched = Watched::with(with(Backend::Fanotify), |root| {
        fs::create_dir_all(root.join("on/m")).unwrap();
    });
    let mounted = Mounted::tmpfs(&watched.path("on/m"));
    watched.hints();
    fs::rename(watched.path("on"), watched.path("off")).unwrap();
    let mounted = mounted.moved_to(&watched.path("off/m"));
    fs::write(watched.path("off/m/f"), "x").unwrap();
    assert!(is_covered(&watched.hints(), &rel("off/m/f")));
    fs::write(watched.path("off/m/g"), "x").unwrap();
    let hints = watched.hints();
    assert!(what(&hints, "off/m/g").contains(What::CREATED), "{hints:?}");
    drop(mounted);
}

#[test]
fn what_is_bound_from_outside_is_watched_and_a_file_too() {
    let watched = Watched::with(with(Backend::Fanotify), |root| {
        fs::create_dir(root.join("m")).unwrap();
        fs::write(root.join("file"), "").unwrap();
    });
    fs::create_dir_all(watched.outside("src/d")).unwrap();
    fs::write(watched.outside("one"), "").unwrap();
    let dir = Mounted::bind(&watched.outside("src"), &watched.path("m"));
    let file = Mounted::bind(&watched.outside("one"), &watched.path("file"));
    watched.hints();
    fs::write(watched.outside("src/d/f"), "x").unwrap();
    fs::write(watched.outside("one"), "x").unwrap();
    let hints = watched.hints();
    assert!(what(&hints, "m/d/f").contains(What::CREATED), "{hints:?}");
    assert!(what(&hints, "file").contains(What::CLOSED_WRITE), "{hints:?}");
    drop((dir, file));
}

#[test]
fn changes_below_a_root_that_is_a_bind_mount_are_told() {
    let mounted = std::cell::OnceCell::new();
    let watched = Watched::with(with(Backend::Fanotify), |root| {
        let real = root.with_file_name("real");
        fs::create_dir_all(real.join("d")).unwrap();
        let _ = mounted.set(Mounted::bind(&real, root));
    });
    fs::write(watched.outside("real/d/f"), "x").unwrap();
    fs::write(watched.outside("beside"), "x").unwrap();
    let hints = watched.hints();
    assert!(what(&hints, "d/f").contains(What::CREATED), "{hints:?}");
    assert!(!is_covered(&hints, &rel("beside")), "{hints:?}");
    drop(watched);
}

#[test]
fn subvolumes_in_the_tree_are_watched_and_a_subvolume_as_root_is_refused() {
    let Some(disk) = Disk::new(DiskKind::Btrfs) else { return };
    let subvolume = |at: &Path| {
        let made = Command::new("btrfs").args(["-q", "subvolume", "create"]).arg(at).status();
        assert!(made.expect("this test needs btrfs-progs").success());
    };
    fs::create_dir(disk.path().join("root")).unwrap();
    subvolume(&disk.path().join("root/sub"));
    subvolume(&disk.path().join("other"));
    fs::create_dir(disk.path().join("root/sub/d")).unwrap();
    let watched = Watched::at(&disk.path().join("root"), with(Backend::Fanotify));
    fs::write(watched.path("sub/d/f"), "x").unwrap();
    let hints = watched.hints();
    assert!(what(&hints, "sub/d/f").contains(What::CREATED), "{hints:?}");
    let other = disk.path().join("other");
    let sink = std::sync::Arc::new(crate::support::Kept::default());
    let refused = Watcher::start(&other, with(Backend::Fanotify), sink).err();
    assert!(matches!(refused, Some(WatchError::Refused { .. })), "{refused:?}");
}

#[test]
fn a_mount_that_fanotify_cannot_watch_hands_over_to_inotify() {
    let watched = Watched::with(with(Backend::Fanotify), |root| {
        fs::create_dir_all(root.join("m")).unwrap();
        fs::create_dir_all(root.join("d/e")).unwrap();
    });
    assert_eq!(watched.watcher.stats().backend, Backend::Fanotify);
    let (lower, upper) = (watched.outside("lower"), watched.outside("upper"));
    let work = watched.outside("work");
    for dir in [&lower.join("l"), &upper, &work] {
        fs::create_dir_all(dir).unwrap();
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.display(),
        upper.display(),
        work.display()
    );
    let overlay = Mounted::overlay(&options, &watched.path("m"));
    until_stats(&watched.watcher, |stats| stats.backend == Backend::Inotify);
    assert!(watched.hints().contains(&Hint::Subtree { path: None }));
    let stats = watched.watcher.stats();
    assert!(stats.refused.as_ref().is_some_and(|why| why.contains("/m")), "{stats:?}");
    fs::write(watched.path("m/l/f"), "x").unwrap();
    fs::write(watched.path("d/e/f"), "x").unwrap();
    let hints = watched.hints();
    assert!(what(&hints, "m/l/f").contains(What::CREATED), "{hints:?}");
    assert!(what(&hints, "d/e/f").contains(What::CREATED), "{hints:?}");
    drop(overlay);
    watched.hints();
}

#[test]
fn in_a_chroot_that_is_no_mount_point_inotify_is_used_and_why_is_said() {
    const VARIABLE: &str = "WATCH_IN_CHROOT";
    let Some(folder) = std::env::var_os(VARIABLE) else {
        if !has_mount_namespaces() {
            return;
        }
        let name =
            "filesystems::in_a_chroot_that_is_no_mount_point_inotify_is_used_and_why_is_said";
        return again(name, VARIABLE, |program| {
            // Mounts of its own, so that none is left behind.
            let mut command = Command::new("unshare");
            command.arg("--mount").arg(program.get_program());
            command
        });
    };
    let place = Path::new(&folder);
    for dir in ["proc", "tmp", "root/d"] {
        fs::create_dir_all(place.join(dir)).unwrap();
    }
    rustix::mount::mount_bind("/proc", place.join("proc")).unwrap();
    rustix::process::chroot(place).expect("this test changes its root: run it as root");
    std::env::set_current_dir("/").unwrap();
    let sink = std::sync::Arc::new(crate::support::Kept::default());
    let root = Path::new("/root");
    let refused = Watcher::start(root, with(Backend::Fanotify), sink.clone()).err();
    let Some(WatchError::Refused { why, .. }) = refused else { panic!("{refused:?}") };
    assert!(why.contains("is not in /proc/self/mountinfo"), "{why}");
    assert!(why.contains("mount --bind DIR DIR"), "{why}");
    // A tree that is large enough.
    for number in 0..LARGE {
        fs::create_dir(format!("/root/{number}")).unwrap();
    }
    let watcher = Watcher::start(root, WatchOptions::default(), sink.clone()).unwrap();
    let stats = watcher.stats();
    assert_eq!(stats.backend, Backend::Inotify, "{stats:?}");
    assert_eq!(stats.refused, Some(why));
    fs::write("/root/d/f", "x").unwrap();
    watcher.barrier().unwrap();
    assert!(what(&sink.take(), "d/f").contains(What::CREATED));
}

/// From so many directories on a tree is watched with fanotify.
const LARGE: usize = 8_192;

#[test]
fn a_large_tree_is_watched_with_fanotify_and_a_small_one_with_inotify() {
    let start = |count: usize| {
        let watched = Watched::with(WatchOptions::default(), |root| {
            for number in 1..count {
                fs::create_dir(root.join(number.to_string())).unwrap();
            }
        });
        watched.watcher.stats()
    };
    let (small, large) = (start(LARGE - 1), start(LARGE));
    assert_eq!(small.backend, Backend::Inotify, "{small:?}");
    assert!(small.refused.is_some_and(|why| why.contains("8192")));
    assert_eq!(large.backend, Backend::Fanotify, "{large:?}");
    assert_eq!(large.refused, None);
}

#[test]
fn in_a_user_namespace_what_is_mounted_there_is_watched_as_a_whole() {
    const VARIABLE: &str = "WATCH_IN_OWN_MOUNTS";
    let Some(folder) = std::env::var_os(VARIABLE) else {
        if !has_user_namespaces() {
            return;
        }
        let name = "filesystems::in_a_user_namespace_what_is_mounted_there_is_watched_as_a_whole";
        return again(name, VARIABLE, |program| {
            let mut command = Command::new("unshare");
            command.args(["-U", "-r", "-m"]).arg(program.get_program());
            command
        });
    };
    let at = Path::new(&folder).join("own");
    fs::create_dir(&at).unwrap();
    let mounted = Mounted::tmpfs(&at);
    fs::create_dir_all(at.join("root/d")).unwrap();
    for number in 0..LARGE {
        fs::create_dir(at.join(format!("root/{number}"))).unwrap();
    }
    // Linux 6.16 can; before, it is inotify.
    let watched = Watched::at(&at.join("root"), WatchOptions::default());
    println!("{:?}", watched.watcher.stats());
    fs::write(watched.path("d/f"), "x").unwrap();
    assert!(what(&watched.hints(), "d/f").contains(What::CREATED));
    drop(watched);
    drop(mounted);
}
