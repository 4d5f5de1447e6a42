//! A random source and a random older destination, with one of everything that a list can name.

use std::fs::{self, Permissions};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt, lchown, symlink};
use std::path::Path;
use std::process::Command;

use driftless_testkit::arb::Ops;
use driftless_testkit::plant::{noise, set_mtime, set_times};
use fastrand::Rng;

/// Nothing that a test plants is younger, and nothing that a run touches is older.
pub const LONG_AGO: i64 = 1_500_000_000;

/// Makes `s`, `d`, `alt` (older copies of parts of the source) and the lists that options name.
pub fn plant(root: &Path, seed: u64) {
    let mut random = Rng::with_seed(seed);
    let (s, d) = (root.join("s"), root.join("d"));
    for dir in [&s, &root.join("outside"), &root.join("tmp")] {
        fs::create_dir(dir).unwrap();
    }
    Ops::new(seed, &s, &root.join("outside")).burst(60);
    tame(&s);
    plant_kinds(&s);
    age(&s, &mut random);
    copy(&s, &d);
    Ops::new(seed.wrapping_add(1), &d, &root.join("outside")).burst(40);
    fs::remove_dir_all(root.join("outside")).unwrap();
    tame(&d);
    part(&d);
    plant_changes(&d);
    age(&d, &mut random);
    copy(&s, &root.join("alt"));
    part_from_links(&root.join("alt"));
    // As a server without privilege keeps it.
    let keep = ["-aHAX", "-M--fake-super", "s/", "kept"];
    run(Command::new("rsync").args(keep).current_dir(root));
    fs::write(root.join("alt/kinds/big"), noise(3, 90_000)).unwrap();
    // Followed only where it is said to be safe: it is neither root's nor ours.
    symlink("alt", root.join("foreign")).unwrap();
    lchown(root.join("foreign"), Some(1000), Some(1000)).unwrap();
    fs::write(root.join("list0"), "kinds/big\0empty/\0# no comment\0kinds/sub/linked\0").unwrap();
    fs::write(root.join("rules"), "- *.o\n+ kinds/***\nP keep*\n- /new*\n").unwrap();
    fs::write(
        root.join("list"),
        "kinds/big\nkinds/linked\nempty/\n# a comment\nnosuch\nkinds/sub\n",
    )
    .unwrap();
    age(root, &mut random);
}

/// Takes away what the original's answers to depend on its own system calls: names to which nothing
/// can be appended, and set-id bits that a change of owner clears.
fn tame(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let (path, meta) = (entry.path(), entry.metadata().unwrap());
        match entry.file_name().len() > 240 {
            true if meta.is_dir() => fs::remove_dir_all(path).unwrap(),
            true => fs::remove_file(path).unwrap(),
            false if meta.is_dir() => tame(&path),
            false if meta.is_file() && meta.mode() & 0o6000 != 0 => {
                fs::set_permissions(path, Permissions::from_mode(meta.mode() & 0o1777)).unwrap();
            }
            false => {}
        }
    }
}

/// Makes each name of the destination a file of its own: what is written to one name of several is
/// found at the others, sooner or later.
fn part(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let (path, meta) = (entry.path(), entry.metadata().unwrap());
        if meta.is_dir() {
            part(&path);
        } else if meta.is_file() && meta.nlink() > 1 {
            let own = path.with_file_name("own");
            run(Command::new("cp").arg("-a").arg("--").arg(&path).arg(&own));
            fs::rename(own, path).unwrap();
        }
    }
}

/// Takes away the links to directories: within an alternate directory the original follows them, and
/// ours does not, so that nothing outside can be taken for an older version.
fn part_from_links(dir: &Path) {
    for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
        let (path, meta) = (entry.path(), entry.metadata().unwrap());
        if meta.is_dir() {
            part_from_links(&path);
        } else if meta.is_symlink() && path.is_dir() {
            fs::remove_file(path).unwrap();
        }
    }
}

/// Whether a directory of `d` with something in it is where `s` has a file with several names.
pub fn blocks_a_group(root: &Path) -> bool {
    let blocks = |source: &Path| {
        let of_several = fs::symlink_metadata(source).is_ok_and(|m| m.is_file() && m.nlink() > 1);
        let there = root.join("d").join(source.strip_prefix(root.join("s")).unwrap());
        let is_dir = fs::symlink_metadata(&there).is_ok_and(|meta| meta.is_dir());
        of_several && is_dir && fs::read_dir(there).unwrap().next().is_some()
    };
    let mut dirs = vec![root.join("s")];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            match entry.file_type().unwrap().is_dir() {
                true => dirs.push(entry.path()),
                false if blocks(&entry.path()) => return true,
                false => {}
            }
        }
    }
    false
}

/// Whether a link of `s` leads to a directory that it is in, so that who follows it comes back.
pub fn leads_back(root: &Path) -> bool {
    let mut dirs = vec![root.join("s")];
    while let Some(dir) = dirs.pop() {
        let here = fs::canonicalize(&dir).unwrap();
        for entry in fs::read_dir(dir).unwrap().map(Result::unwrap) {
            let kind = entry.file_type().unwrap();
            match fs::canonicalize(entry.path()) {
                Ok(target) if kind.is_symlink() && here.starts_with(&target) => return true,
                Ok(_) if kind.is_dir() => dirs.push(entry.path()),
                _ => {}
            }
        }
    }
    false
}

/// Whether a directory that `s` has, and that a link of `d` in its place leads to, has more in it.
pub fn holds_more_behind_a_link(root: &Path) -> bool {
    let (s, d) = (root.join("s"), root.join("d"));
    let mut dirs = vec![d.clone()];
    while let Some(dir) = dirs.pop() {
        for path in fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()) {
            let name = path.strip_prefix(&d).unwrap();
            let is_link = path.is_symlink();
            // Of what is planted in each tree only what lies deeper can be more.
            let below = if name.ends_with("to directory") { "deeper" } else { "" };
            if is_link && has_more(&path.join(below), &s.join(name).join(below)) {
                return true;
            }
            if !is_link && path.is_dir() {
                dirs.push(path);
            }
        }
    }
    false
}

/// Whether a directory has more in it than another one, if both are directories.
fn has_more(here: &Path, there: &Path) -> bool {
    there.is_dir()
        && fs::read_dir(here).is_ok_and(|names| {
            names.map(Result::unwrap).any(|entry| {
                let other = there.join(entry.file_name());
                fs::symlink_metadata(&other).is_err()
                    || entry.file_type().unwrap().is_dir() && has_more(&entry.path(), &other)
            })
        })
}

fn plant_kinds(s: &Path) {
    let kinds = s.join("kinds");
    for dir in ["kinds/sub/deeper", "empty/in/side", "CVS", "new dir"] {
        fs::create_dir_all(s.join(dir)).unwrap();
    }
    let write = |name: &str, bytes: &[u8]| fs::write(kinds.join(name), bytes).unwrap();
    write("big", &noise(1, 400_000));
    write("text.c", &b"the same line again and again\n".repeat(4000));
    write("object.o", b"object");
    write("old~", b"backup");
    write("keep me", b"kept");
    write("sub/deeper/file", b"deep");
    write("version-1.1.dat", &noise(4, 60_000));
    write("caf\u{e9}", b"odd");
    write("turned", b"a directory at the destination");
    fs::create_dir(kinds.join("through")).unwrap();
    write("through/file", b"behind a link");
    write("linked", &noise(2, 3000));
    fs::hard_link(kinds.join("linked"), kinds.join("sub/linked")).unwrap();
    fs::hard_link(kinds.join("linked"), s.join("linked too")).unwrap();
    let mut sparse = fs::File::create(kinds.join("sparse")).unwrap();
    sparse.write_all(b"start").unwrap();
    sparse.seek(SeekFrom::Start(300_000)).unwrap();
    sparse.write_all(b"end").unwrap();
    write("setuid", b"#!/bin/sh\n");
    for (name, mode) in [("setuid", 0o4755), ("keep me", 0o600), ("sub", 0o2775)] {
        fs::set_permissions(kinds.join(name), Permissions::from_mode(mode)).unwrap();
    }
    for (text, name) in [
        ("../linked too", "up"),
        ("/etc/hostname", "absolute"),
        ("../../alt/kinds/sub", "outside"),
        ("sub", "to directory"),
        ("nothing", "dangling"),
    ] {
        symlink(text, kinds.join(name)).unwrap();
    }
    fs::write(s.join(".rsync-filter"), "- *.tmp\n").unwrap();
    fs::write(s.join("x.tmp"), "temporary").unwrap();
    run(Command::new("mknod").arg(kinds.join("null")).args(["c", "1", "3"]));
    run(Command::new("mknod").arg(kinds.join("disk")).args(["b", "7", "99"]));
    run(Command::new("mkfifo").arg(kinds.join("pipe")));
    drop(std::os::unix::net::UnixListener::bind(kinds.join("socket")).unwrap());
    let attribute = ["-n", "user.test", "-v", "some value"];
    run(Command::new("setfattr").args(attribute).arg(kinds.join("big")).arg(kinds.join("sub")));
    run(Command::new("setfacl").args(["-m", "u:7:rx,g:9:w"]).arg(kinds.join("text.c")));
    run(Command::new("setfacl").args(["-d", "-m", "u:7:rwx"]).arg(kinds.join("sub")));
}

/// What makes the destination older in ways that the random changes rarely hit.
fn plant_changes(d: &Path) {
    for dir in ["extra", "extra/in", "kinds", "kinds/sub", "kinds/sub/deeper"] {
        let path = d.join(dir);
        if !fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir()) {
            let _ = fs::remove_file(&path);
            fs::create_dir(path).unwrap();
        }
    }
    let kinds = d.join("kinds");
    for name in ["version-1.1.dat", "caf\u{e9}", "turned", "through"] {
        let path = kinds.join(name);
        let _ = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
    }
    fs::write(kinds.join("version-1.0.dat"), &noise(4, 60_000)[..50_000]).unwrap();
    fs::create_dir(kinds.join("turned")).unwrap();
    fs::write(kinds.join("turned/inside"), "in the way").unwrap();
    symlink("../extra", kinds.join("through")).unwrap();
    let mut big = noise(1, 400_000);
    big[200_000] ^= 1;
    big.splice(1000..1000, *b"inserted");
    big.truncate(350_000);
    let _ = fs::remove_file(kinds.join("big")).or_else(|_| fs::remove_dir_all(kinds.join("big")));
    fs::write(kinds.join("big"), big).unwrap();
    fs::write(d.join("extra/in/file"), "e").unwrap();
    fs::write(d.join("extra/keep"), "e").unwrap();
    fs::write(d.join("gone"), "only here").unwrap();
    // It is read, so it must not be what the random changes made of it.
    let rules = d.join(".rsync-filter");
    let _ = fs::remove_file(&rules).or_else(|_| fs::remove_dir_all(&rules));
    fs::write(rules, "- *.old\n").unwrap();
    for name in ["text.c", "setuid", "object.o"] {
        let path = kinds.join(name);
        // The random changes may have made something else of it, a pipe even.
        if let Ok(meta) = fs::metadata(&path)
            && meta.is_file()
        {
            let file = fs::OpenOptions::new().append(true).open(&path).unwrap();
            file.set_len(meta.len() / 2).unwrap();
        }
    }
}

/// Gives what was made just now a random time of long ago, the deepest first.
fn age(root: &Path, random: &mut Rng) {
    let meta = fs::symlink_metadata(root).unwrap();
    if meta.is_dir() {
        let mut below: Vec<_> = fs::read_dir(root).unwrap().map(|e| e.unwrap().path()).collect();
        below.sort();
        below.iter().for_each(|path| age(path, random));
    }
    if meta.mtime() >= LONG_AGO {
        let seconds = 1_200_000_000 + random.i64(0..5) * 1000;
        set_mtime(root, seconds, [0, 0, 500_000_000, 123_456_789][random.usize(..4)]);
    }
}

/// Copies the tree `from` to the new name `to`, with all attributes.
pub fn copy(from: &Path, to: &Path) {
    run(Command::new("cp").arg("-a").arg(from).arg(to));
    level_access_times(to);
}

/// Copying reads; and a time of the last access that is older than the last change moves when the
/// file is read.
fn level_access_times(path: &Path) {
    let meta = fs::symlink_metadata(path).unwrap();
    if meta.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            level_access_times(&entry.unwrap().path());
        }
    }
    if !meta.is_symlink() {
        set_times(path, (meta.mtime() + 7, 0), (meta.mtime(), meta.mtime_nsec()));
    }
}

fn run(command: &mut Command) {
    let done = command.status().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    assert!(done.success(), "{command:?}: {done}");
}
