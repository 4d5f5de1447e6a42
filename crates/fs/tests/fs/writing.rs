//! Writing below a root.

use crate::{Place, odd_names, path};
use driftless_fs::xattr::{ACCESS_ACL, Of, Whom, XattrChange, decode_acl, encode_acl};
use driftless_fs::{Attributes, is_absent};
use driftless_tree::{Kind, Timestamp};
use proptest::prelude::*;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, symlink};

const SOME: Attributes = Attributes {
    mode: Some(0o100_640),
    uid: None,
    gid: None,
    mtime: Some(Timestamp { secs: -5, nanos: 123_456_789 }),
    atime: None,
};

#[test]
fn a_replacement_appears_complete_with_its_attributes() {
    let place = Place::new();
    for name in odd_names() {
        let name = path(name);
        for content in ["first", "second"] {
            let replacement = place.root.replace(&name).unwrap();
            replacement.file().write_all(content.as_bytes()).unwrap();
            let before = place.root.lstat(&name).map(|meta| meta.ino);
            assert!(content == "first" || before.is_ok());
            replacement.commit(&SOME, &XattrChange::NONE).unwrap();
            let meta = place.root.lstat(&name).unwrap();
            assert_eq!((meta.mode, meta.mtime), (0o100_640, SOME.mtime.unwrap()));
            assert_eq!(meta.size, content.len() as u64);
            assert!(before.is_err() || before.unwrap() != meta.ino, "another inode");
        }
    }
    assert_eq!(place.names().len(), odd_names().len(), "no temporaries");
}

#[test]
fn a_dropped_or_refused_replacement_leaves_nothing() {
    let place = Place::new();
    fs::create_dir(place.tree("d")).unwrap();
    for name in ["f", "d/f"] {
        let replacement = place.root.replace(&path(name)).unwrap();
        assert!(replacement.file().metadata().unwrap().mode() & 0o077 == 0, "private");
        drop(replacement);
    }
    place.root.replace(&path("d")).unwrap().commit(&SOME, &XattrChange::NONE).unwrap_err();
    place.root.replace_with_symlink(b"x", &path("d"), &SOME, &XattrChange::NONE).unwrap_err();
    place
        .root
        .replace_with_node(&path("d"), 0o010_600, (0, 0), &SOME, &XattrChange::NONE)
        .unwrap_err();
    assert_eq!(place.names(), [b"d"]);
    assert!(fs::read_dir(place.tree("d")).unwrap().next().is_none());
}

#[test]
fn a_replacement_lands_in_the_directory_it_was_begun_in() {
    let place = Place::new();
    fs::create_dir(place.tree("d")).unwrap();
    let replacement = place.root.replace(&path("d/secret")).unwrap();
    fs::rename(place.tree("d"), place.tree("old")).unwrap();
    symlink("../outside", place.tree("d")).unwrap();
    replacement.commit(&SOME, &XattrChange::NONE).unwrap();
    assert_eq!(fs::read(place.outside("secret")).unwrap(), b"secret");
    assert_eq!(fs::metadata(place.tree("old/secret")).unwrap().len(), 0);
}

#[test]
fn a_link_in_the_place_is_replaced_and_not_written_through() {
    let place = Place::new();
    symlink("../outside/secret", place.tree("f")).unwrap();
    place.root.replace(&path("f")).unwrap().commit(&SOME, &XattrChange::NONE).unwrap();
    assert_eq!(place.root.lstat(&path("f")).unwrap().kind, Kind::File);
    assert_eq!(fs::read(place.outside("secret")).unwrap(), b"secret");
}

#[test]
fn no_write_goes_through_a_link() {
    let place = Place::new();
    symlink("../outside", place.tree("up")).unwrap();
    fs::write(place.tree("mine"), "mine").unwrap();
    let (new, secret, mine) = (path("up/new"), path("up/secret"), path("mine"));
    let root = &place.root;
    let refused = [
        root.create_dir(&new, 0o755),
        root.remove_file(&secret),
        root.remove_dir(&secret),
        root.rename(&mine, &secret),
        root.rename(&secret, &path("stolen")),
        root.symlink(b"x", &new),
        root.hard_link(&secret, &path("stolen")),
        root.hard_link(&mine, &new),
        root.mknod(&new, 0o010_600, (0, 0)),
        root.set_attributes(Some(&secret), &SOME),
        root.replace(&secret).map(drop),
        root.replace_with_symlink(b"x", &secret, &SOME, &XattrChange::NONE),
        root.replace_with_node(&secret, 0o010_600, (0, 0), &SOME, &XattrChange::NONE),
    ];
    for (number, answer) in refused.into_iter().enumerate() {
        assert!(is_absent(&answer.unwrap_err()), "act {number}");
    }
    assert_eq!(fs::read(place.outside("secret")).unwrap(), b"secret");
    assert_eq!(fs::read_dir(place.outside("")).unwrap().count(), 1);
}

#[test]
fn attributes_of_a_link_are_its_own() {
    let place = Place::new();
    symlink("../outside/secret", place.tree("l")).unwrap();
    let before = fs::metadata(place.outside("secret")).unwrap();
    place.root.set_attributes(Some(&path("l")), &SOME).unwrap();
    assert_eq!(place.root.lstat(&path("l")).unwrap().mtime, SOME.mtime.unwrap());
    let after = fs::metadata(place.outside("secret")).unwrap();
    assert_eq!((after.mode(), after.ctime_nsec()), (before.mode(), before.ctime_nsec()));
}

#[test]
fn attributes_that_are_not_given_stay() {
    let place = Place::new();
    place.root.set_attributes(None, &SOME).unwrap();
    let root = place.root.meta().unwrap();
    assert_eq!((root.mode, root.mtime), (0o040_640, SOME.mtime.unwrap()));
    place
        .root
        .set_attributes(None, &Attributes { mode: Some(0o2755), ..Default::default() })
        .unwrap();
    let changed = place.root.meta().unwrap();
    assert_eq!((changed.mode, changed.mtime), (0o042_755, root.mtime));
    place.root.set_attributes(None, &Attributes::default()).unwrap();
    assert_eq!(place.root.meta().unwrap(), changed, "nothing given, nothing done");
}

#[test]
fn set_id_bits_survive_a_change_of_owner() {
    let place = Place::new();
    let own = place.root.meta().unwrap();
    fs::write(place.tree("f"), "x").unwrap();
    let attributes = Attributes {
        mode: Some(0o6755),
        uid: Some(own.uid),
        gid: Some(own.gid),
        ..Attributes::default()
    };
    place.root.set_attributes(Some(&path("f")), &attributes).unwrap();
    let meta = place.root.lstat(&path("f")).unwrap();
    assert_eq!((meta.mode, meta.uid, meta.gid), (0o106_755, own.uid, own.gid));
}

#[test]
fn links_nodes_and_directories_are_made_renamed_and_removed() {
    let place = Place::new();
    let root = &place.root;
    let kind = |name: &str| root.lstat(&path(name)).map(|meta| meta.kind).ok();
    root.create_dir(&path("d"), 0o755).unwrap();
    root.symlink(b"any \xff text", &path("d/l")).unwrap();
    root.hard_link(&path("d/l"), &path("l2")).unwrap();
    root.mknod(&path("fifo"), 0o010_644, (0, 0)).unwrap();
    assert_eq!((kind("d"), kind("l2")), (Some(Kind::Dir), Some(Kind::Symlink)));
    assert_eq!(kind("fifo"), Some(Kind::Fifo));
    assert_eq!(root.read_link(&path("l2")).unwrap(), b"any \xff text");
    root.rename(&path("d"), &path("e")).unwrap();
    assert_eq!((kind("d"), kind("e/l")), (None, Some(Kind::Symlink)));
    root.remove_dir(&path("e")).unwrap_err();
    root.remove_file(&path("e/l")).unwrap();
    root.remove_dir(&path("e")).unwrap();
    root.replace_with_symlink(b"new", &path("l2"), &SOME, &XattrChange::NONE).unwrap();
    assert_eq!(root.read_link(&path("l2")).unwrap(), b"new");
    assert_eq!(root.lstat(&path("l2")).unwrap().mtime, SOME.mtime.unwrap());
    root.replace_with_node(&path("l2"), 0o140_644, (0, 0), &SOME, &XattrChange::NONE).unwrap();
    let node = root.lstat(&path("l2")).unwrap();
    assert_eq!((node.kind, node.mode & 0o7777), (Kind::Socket, 0o640));
    assert_eq!(place.names(), [b"fifo".to_vec(), b"l2".to_vec()]);
}

/// Device numbers pass unchanged, also those that do not fit the old 8-bit fields.
#[test]
fn devices_keep_their_numbers() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("not run: making devices needs root");
        return;
    }
    let place = Place::new();
    for (mode, kind) in [(0o020_600, Kind::CharDevice), (0o060_600, Kind::BlockDevice)] {
        place.root.mknod(&path("dev"), mode, (300, 70_000)).unwrap();
        let meta = place.root.lstat(&path("dev")).unwrap();
        assert_eq!((meta.kind, meta.rdev), (kind, (300, 70_000)));
        place.root.remove_file(&path("dev")).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_name_can_be_written_and_is_listed(
        name in proptest::collection::vec(any::<u8>(), 1..=255)
    ) {
        prop_assume!(!name.contains(&b'/') && !name.contains(&0));
        prop_assume!(name != b"." && name != b"..");
        let place = Place::new();
        place.root.replace(&path(&name)).unwrap().commit(&SOME, &XattrChange::NONE).unwrap();
        prop_assert_eq!(place.names(), [name]);
    }
}

#[test]
fn extended_attributes_come_before_the_mode_and_behind_the_owner() {
    let place = Place::new();
    let [link, fifo, file] = ["l", "p", "f"].map(path);
    let value = |name: &[u8]| vec![(name.to_vec(), b"v".to_vec())];
    let trusted = XattrChange { set: value(b"trusted.t"), remove: vec![b"trusted.none".to_vec()] };
    place.root.replace_with_symlink(b"f", &link, &SOME, &trusted).unwrap();
    place.root.replace_with_node(&fifo, 0o010_600, (0, 0), &SOME, &trusted).unwrap();
    // The group's bits of the mode are the mask.
    let acl = [(Whom::Owner, 7), (Whom::User(7), 7), (Whom::OwningGroup, 5), (Whom::Mask, 7)];
    let acl = [&acl[..], &[(Whom::Others, 0)]].concat();
    let capability = (b"security.capability".to_vec(), capability());
    let set = [value(b"user.u"), vec![(ACCESS_ACL.to_vec(), encode_acl(&acl)), capability]];
    let xattrs = XattrChange { set: set.concat(), remove: Vec::new() };
    let owned = Attributes { uid: Some(7), ..SOME };
    place.root.replace(&file).unwrap().commit(&owned, &xattrs).unwrap();
    let dir = place.root.open_dir(None).unwrap();
    for name in [b"l", b"p"] {
        assert_eq!(dir.xattr(Of::Entry(name), b"trusted.t").unwrap().unwrap(), b"v");
    }
    let of = Of::Entry(b"f");
    assert_eq!(dir.xattr(of, b"user.u").unwrap().unwrap(), b"v");
    assert!(dir.xattr(of, b"security.capability").unwrap().is_some());
    let acl = decode_acl(&dir.xattr(of, ACCESS_ACL).unwrap().unwrap()).unwrap();
    assert!(acl.contains(&(Whom::Mask, 4)) && acl.contains(&(Whom::User(7), 7)));
    assert_eq!(place.root.lstat(&file).unwrap().mode, SOME.mode.unwrap());
    let remove = vec![b"user.u".to_vec(), ACCESS_ACL.to_vec()];
    let xattrs = XattrChange { set: value(b"user.w"), remove };
    place.root.set_attributes_with(Some(&file), &SOME, &xattrs).unwrap();
    assert!(dir.xattr(of, ACCESS_ACL).unwrap().is_none());
    assert!(dir.xattr(of, b"user.u").unwrap().is_none());
    assert_eq!(dir.xattr(of, b"user.w").unwrap().unwrap(), b"v");
}

/// `cap_net_raw` as the file system keeps it (`capabilities(7)`, `struct vfs_cap_data`).
fn capability() -> Vec<u8> {
    let words: [u32; 5] = [0x0200_0001, 1 << 13, 0, 0, 0];
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}
