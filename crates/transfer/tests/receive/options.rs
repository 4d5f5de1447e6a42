//! Sets of options, each with the real program beside ours.

use driftless_testkit::plant::set_mtime;

use crate::support::{Form, Place};

/// Compares on destinations that hold something, and on missing ones.
#[track_caller]
fn check(seed: u64, form: Form, options: &[&str]) {
    for changed in [true, false] {
        let place = Place::new(seed);
        if changed {
            place.changed_copy("stock", seed + 1);
            place.copy("stock", "ours");
        }
        place.same(form, options);
    }
}

#[track_caller]
fn check_all(form: Form, sets: &[&str]) {
    for (seed, set) in (1..).zip(sets) {
        check(seed, form, &set.split(' ').collect::<Vec<_>>());
    }
}

const USUAL: [&str; 14] = [
    "-ai",
    "-ai --delete",
    "-aiH --delete",
    "-ai --no-inc-recursive --delete",
    "-ri",
    "-rlpti --chmod=Du+rwx,F600",
    "-aic",
    "-aiI",
    "-ai --size-only",
    "-aiu",
    "-ai -@-1",
    "-aiz --delete",
    "-aiS",
    "-ani",
];

#[test]
fn pulls_end_as_those_of_the_original() {
    check_all(Form::Pull, &USUAL);
}

#[test]
fn received_pushes_end_as_those_of_the_original() {
    check_all(Form::Push, &USUAL);
}

#[test]
fn local_copies_leave_what_the_original_leaves() {
    for (seed, options) in (1..).zip([&["-aH"][..], &["-a", "--delete"], &["-rc", "--delete"]]) {
        check(seed, Form::Local, options);
    }
}

#[test]
fn more_deletions_are_told_than_the_connection_holds() {
    let place = Place::empty();
    std::fs::create_dir(place.path("src")).unwrap();
    set_mtime(&place.path("src"), 1_400_000_000, 0);
    for target in ["stock", "ours"] {
        std::fs::create_dir(place.path(target)).unwrap();
        for number in 0..4000 {
            let name = format!("{target}/{}{number}", "long".repeat(60));
            std::fs::write(place.path(&name), b"").unwrap();
        }
    }
    place.same(Form::Push, &["-a", "--delete"]);
}

#[test]
fn whole_directories_go_in_the_order_of_the_original() {
    for form in [Form::Push, Form::Pull] {
        let place = Place::empty();
        std::fs::create_dir(place.path("src")).unwrap();
        set_mtime(&place.path("src"), 1_400_000_000, 0);
        for target in ["stock", "ours"] {
            for dir in ["a", "b/c", "b/c/d", "b-", "e", "f", "g/h", "i"] {
                std::fs::create_dir_all(place.path(target).join(dir)).unwrap();
            }
            // More directories in directories than are entered ahead.
            std::fs::create_dir_all(place.path(target).join("deep/".repeat(40))).unwrap();
            for file in ["a/1", "a/2", "b/c/3", "b/c/d/4", "b/5", "b-/6", "e/7", "g/h/8", "9"] {
                std::fs::write(place.path(target).join(file), b"").unwrap();
            }
        }
        place.same(form, &["-ai", "--delete"]);
    }
}

#[test]
fn every_protocol_is_spoken() {
    for form in [Form::Pull, Form::Push] {
        check_all(
            form,
            &[
                "-ai --protocol=29",
                "-aiH --protocol=30 --delete",
                "-ai --protocol=31 --delete-delay",
                "-aiHc --protocol=29",
            ],
        );
    }
}

#[test]
fn deletions_come_when_they_are_asked_for() {
    check_all(
        Form::Pull,
        &[
            "-ai --delete-before",
            "-ai --delete-during",
            "-ai --delete-delay",
            "-ai --delete-after",
            "-ai --delete --exclude=*.c",
            "-ai --delete-excluded --exclude=*.c",
            "-ai --delete --filter=P_b* --filter=H_q*",
            "-ai --delete --max-delete=2",
            "-ai --force",
            "-ain --delete",
        ],
    );
}

#[test]
fn files_are_put_in_place_as_options_say() {
    check_all(
        Form::Pull,
        &[
            "-ai --delay-updates --delete",
            "-ai --partial-dir=.pp",
            "-ai --temp-dir=/tmp",
            "-aib --suffix=.old --backup-dir=../bak",
            "-ai --backup-dir=../bak --delete",
            "-ai --append",
            "-ai --append-verify",
            "-ai --preallocate",
            "-aiy",
        ],
    );
}

#[test]
fn rules_leave_entries_alone() {
    check_all(
        Form::Push,
        &[
            "-ai --existing",
            "-ai --max-size=500",
            "-ai --min-size=500",
            "-aim --delete",
            "-ai --safe-links",
            "-ai --usermap=1000:7 --groupmap=*:9",
            "-ai --numeric-ids",
        ],
    );
}

#[test]
fn alternate_directories_give_what_they_have() {
    for (seed, option) in (1..).zip(["--link-dest", "--copy-dest", "--compare-dest"]) {
        let place = Place::new(seed);
        place.changed_copy("alternate", seed + 7);
        let option = format!("{option}=../alternate");
        place.same(Form::Pull, &["-ai", &option]);
    }
}

#[test]
fn a_file_linked_from_an_alternate_directory_is_the_same_file() {
    let place = Place::new(3);
    place.copy("src", "alternate");
    place.same(Form::Pull, &["-a", "--link-dest=../alternate"]);
    let inode = |path: &str| {
        let mut names: Vec<_> = std::fs::read_dir(place.path(path)).unwrap().collect();
        names.sort_by_key(|entry| entry.as_ref().unwrap().file_name());
        let files = names.into_iter().map(Result::unwrap);
        let files = files.filter(|entry| entry.file_type().unwrap().is_file());
        files.map(|entry| std::os::unix::fs::DirEntryExt::ino(&entry)).collect::<Vec<_>>()
    };
    assert!(!inode("ours").is_empty());
    assert_eq!(inode("ours"), inode("alternate"));
}

/// Gives some files an ACL and attributes, short and long ones.
fn decorate(place: &Place, root: &str, seed: u8) {
    let acl = |user: u8, mask: u8| {
        let entry = |tag: u8, perms: u8, id: [u8; 4]| [&[tag, 0, perms, 0], &id[..]].concat();
        let none = [0xff; 4];
        [
            vec![2, 0, 0, 0],
            entry(0x01, 6, none),
            entry(0x02, user, [1, 0, 0, 0]),
            entry(0x04, 4, none),
            entry(0x10, mask, none),
            entry(0x20, 0, none),
        ]
        .concat()
    };
    for (number, name) in (seed..).zip(["a", "b", "c", "d"]) {
        let path = place.path(root).join(name);
        std::fs::write(&path, name).unwrap();
        let set = |name: &str, value: &[u8]| {
            rustix::fs::setxattr(&path, name, value, rustix::fs::XattrFlags::empty()).unwrap();
        };
        set("user.short", &[number; 3]);
        if number % 2 == 0 {
            set("user.long", &[number; 200]);
            set("system.posix_acl_access", &acl(number % 8, 7));
        }
        set_mtime(&path, 1_600_000_000, 0);
    }
    set_mtime(&place.path(root), 1_600_000_000, 0);
}

/// All attributes of a file, sorted.
fn attributes(path: &std::path::Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut room = [0; 1024];
    let len = rustix::fs::listxattr(path, &mut room).unwrap();
    let names = room[..len].split(|&b| b == 0).filter(|name| !name.is_empty());
    let value = |name: &[u8]| {
        let mut room = [0; 1024];
        let len = rustix::fs::getxattr(path, name, &mut room).unwrap();
        (name.to_vec(), room[..len].to_vec())
    };
    let mut all: Vec<_> = names.map(value).collect();
    all.sort();
    all
}

#[test]
fn acls_and_extended_attributes_come_with_their_files() {
    for (changed, form) in [(true, Form::Pull), (false, Form::Pull), (true, Form::Push)] {
        let place = Place::empty();
        std::fs::create_dir(place.path("src")).unwrap();
        decorate(&place, "src", 2);
        if changed {
            std::fs::create_dir(place.path("stock")).unwrap();
            decorate(&place, "stock", 3);
            place.copy("stock", "ours");
        }
        place.same(form, &["-aAX"]);
        for name in ["a", "b", "c", "d"] {
            let wanted = attributes(&place.path("src").join(name));
            assert_eq!(attributes(&place.path("ours").join(name)), wanted, "{name} {changed}");
        }
    }
}
