//! Whether a root is still the root.

use crate::{Place, path};
use driftless_fs::{FsError, Root, RootLost};
use std::os::fd::AsRawFd;
use std::os::unix::fs::symlink;
use std::process::Command;

#[test]
fn a_root_is_itself_while_its_path_leads_to_it() {
    let place = Place::new();
    place.root.check().unwrap();
    std::fs::write(place.tree("f"), "x").unwrap();
    place.root.check().unwrap();
    assert_eq!(place.root.path(), place.tree(""));
    assert_eq!(place.root.meta().unwrap().ino, place.root.identity().ino);
}

#[test]
fn an_operators_path_may_lead_through_links() {
    let place = Place::new();
    let link = place.temp.path().join("link");
    symlink("tree", &link).unwrap();
    let root = Root::open(&link).unwrap();
    root.check().unwrap();
    assert_eq!(root.identity(), place.root.identity());
    std::fs::remove_file(&link).unwrap();
    symlink("outside", &link).unwrap();
    assert!(matches!(root.check(), Err(RootLost::Replaced)));
}

#[test]
fn what_is_no_directory_is_no_root() {
    let place = Place::new();
    for wrong in ["outside/secret", "none"] {
        let refused = Root::open(&place.temp.path().join(wrong));
        assert!(matches!(refused, Err(FsError::Open { .. })), "{wrong}");
    }
}

#[test]
fn a_root_renamed_away_is_gone_and_still_the_same_directory() {
    let place = Place::new();
    std::fs::write(place.tree("f"), "x").unwrap();
    std::fs::rename(place.tree(""), place.temp.path().join("elsewhere")).unwrap();
    assert!(matches!(place.root.check(), Err(RootLost::Gone)));
    assert_eq!(place.root.lstat(&path("f")).unwrap().size, 1);
    std::fs::create_dir(place.tree("")).unwrap();
    assert!(matches!(place.root.check(), Err(RootLost::Replaced)));
}

#[test]
fn a_removed_root_is_gone() {
    let place = Place::new();
    std::fs::remove_dir(place.tree("")).unwrap();
    assert!(matches!(place.root.check(), Err(RootLost::Gone)));
    std::fs::write(place.temp.path().join("tree"), "a file now").unwrap();
    assert!(matches!(place.root.check(), Err(RootLost::Replaced)));
}

/// Some paths lead to a removed directory still: this one, or the current directory.
#[test]
fn a_removed_root_is_gone_even_if_its_path_leads_to_it() {
    let place = Place::new();
    let handle = std::fs::File::open(place.tree("")).unwrap();
    let root = Root::open(format!("/proc/self/fd/{}", handle.as_raw_fd()).as_ref()).unwrap();
    root.check().unwrap();
    std::fs::remove_dir(place.tree("")).unwrap();
    assert!(matches!(root.check(), Err(RootLost::Gone)));
}

/// Needs the right to mount; without it, says so and proves nothing.
#[test]
fn a_root_on_another_mount_than_before_is_unmounted() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: mounting needs root");
        return;
    }
    let place = Place::new();
    let run = |command: &str| {
        let script = format!("{command} '{}'", place.tree("").display());
        assert!(Command::new("sh").args(["-c", &script]).status().unwrap().success(), "{script}");
    };
    run("mount -t tmpfs none");
    assert!(matches!(place.root.check(), Err(RootLost::Unmounted)), "covered by a mount");
    let mounted = Root::open(&place.tree("")).unwrap();
    mounted.check().unwrap();
    // A plain unmount is refused, because the root keeps the file system busy.
    run("! umount 2>/dev/null");
    run("umount -l");
    assert!(matches!(mounted.check(), Err(RootLost::Unmounted)));
    place.root.check().unwrap();
}
