//! Names that appear in a directory of this session before their turn comes.
//!
//! Another writer makes them here. A file system that takes two names of the list for one does the
//! same.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use driftless_proto::ndx::NdxValue;
use driftless_testkit::wait;
use driftless_transfer::TransferOptions;
use driftless_transfer::options::{AlternateKind, Alternates};

use crate::fake::{Script, options, receive_with};

/// Makes a snapshot of `d/f`, which the alternate directory `old` has. `appear` makes something at its
/// place, `d/f` in the folder that it gets, when the session has made `d`.
fn snapshot(
    folder: &Path,
    change: impl FnOnce(&mut TransferOptions),
    appear: impl FnOnce(&Path) + Send + 'static,
) {
    for dir in ["old/d", "dst"] {
        fs::create_dir_all(folder.join(dir)).unwrap();
    }
    fs::write(folder.join("old/d/f"), "old").unwrap();
    let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    fs::File::open(folder.join("old/d/f")).unwrap().set_modified(time).unwrap();
    let mut options = options();
    let dirs = vec![b"../old".to_vec()];
    options.update.alternates = Some(Alternates { kind: AlternateKind::Link, dirs });
    change(&mut options);
    let first = Script::new().dir(b".").dir(b"d").end();
    let second = Script::new().number(NdxValue::SubList(1)).file(b"d/f", 3).end();
    let place = folder.join("dst");
    let meanwhile = move || {
        wait::until("the directory is made", wait::GENEROUS, || fs::metadata(place.join("d")).ok());
        appear(&place);
    };
    // The client leaves in the middle of the session.
    assert!(receive_with(meanwhile, [first, second], &options, &folder.join("dst")).is_err());
}

fn inode(path: &Path) -> u64 {
    fs::symlink_metadata(path).unwrap().ino()
}

#[test]
fn what_appears_where_a_link_goes_is_replaced_by_the_link() {
    let folder = tempfile::tempdir().unwrap();
    snapshot(folder.path(), |_| {}, |dst| fs::write(dst.join("d/f"), "another's").unwrap());
    assert_eq!(inode(&folder.path().join("dst/d/f")), inode(&folder.path().join("old/d/f")));
    assert_eq!(fs::read_dir(folder.path().join("dst/d")).unwrap().count(), 1);
}

#[test]
fn a_symbolic_link_that_appears_is_replaced_not_followed() {
    let folder = tempfile::tempdir().unwrap();
    let appear = |dst: &Path| std::os::unix::fs::symlink("../../old", dst.join("d/f")).unwrap();
    snapshot(folder.path(), |_| {}, appear);
    assert_eq!(inode(&folder.path().join("dst/d/f")), inode(&folder.path().join("old/d/f")));
}

#[test]
fn a_directory_that_appears_gives_way_to_the_link() {
    let folder = tempfile::tempdir().unwrap();
    snapshot(folder.path(), |_| {}, |dst| fs::create_dir(dst.join("d/f")).unwrap());
    assert_eq!(inode(&folder.path().join("dst/d/f")), inode(&folder.path().join("old/d/f")));
}

#[test]
fn what_appears_is_there_for_options_that_ask() {
    let folder = tempfile::tempdir().unwrap();
    let ignore = |options: &mut TransferOptions| options.update.ignore_existing = true;
    snapshot(folder.path(), ignore, |dst| fs::write(dst.join("d/f"), "another's").unwrap());
    assert_eq!(fs::read(folder.path().join("dst/d/f")).unwrap(), b"another's");
    assert_eq!(fs::read(folder.path().join("old/d/f")).unwrap(), b"old");
}
