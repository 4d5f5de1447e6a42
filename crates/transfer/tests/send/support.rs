//! A fake remote shell, trees to copy, and the same command with the real program and with ours.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use driftless_testkit::compare::{CompareOptions, differences, names};
use driftless_testkit::plant::executable;
use driftless_testkit::stock::make_fifo;
use rustix::fs::{AtFlags, CWD};
use tempfile::TempDir;

/// Which program is at our place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    Stock,
    Ours,
}

/// The program that plays our role, built with the tests.
pub fn role() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    let profile = test.ancestors().nth(2).expect("tests are two folders deep");
    let role = profile.join("examples/role");
    assert!(role.exists(), "{} is missing: cargo test builds it", role.display());
    role
}

/// A folder with a fake remote shell and trees.
pub struct Place {
    folder: TempDir,
}

impl Place {
    pub fn new() -> Self {
        let place = Self { folder: tempfile::tempdir().expect("a folder for temporary files") };
        let shell = place.path("sh");
        executable(&shell, "#!/bin/sh\nshift\nexec sh -c \"$*\"\n");
        place
    }

    /// A place with the usual tree in `src`, and another in `other`.
    pub fn with_trees() -> Self {
        let place = Self::new();
        make_trees(&place.path(""));
        for name in ["src", "other"] {
            age(&place.path(name));
        }
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs the real client that pulls `sources` into `to`.
    pub fn pull(&self, server: Program, options: &[&str], sources: &[&str], to: &str) -> Output {
        let mut command = Command::new("rsync");
        if server == Program::Ours {
            command.arg(format!("--rsync-path={}", role().display()));
        }
        command.args(["-e", "./sh"]).args(options);
        command.args(sources.iter().map(|source| format!("h:{source}")));
        self.run(command.arg(format!("{to}/")))
    }

    /// Pushes `sources` to the real server, into `to`.
    pub fn push(&self, client: Program, options: &[&str], sources: &[&str], to: &str) -> Output {
        let mut command = match client {
            Program::Stock => Command::new("rsync"),
            Program::Ours => Command::new(role()),
        };
        command.args(["-e", "./sh"]).args(options).args(sources);
        self.run(command.arg(format!("h:{to}/")))
    }

    /// Runs a command here, with a limit that only a hang reaches.
    pub fn run(&self, command: &Command) -> Output {
        let mut limited = Command::new("timeout");
        limited.arg("60").arg(command.get_program()).args(command.get_args());
        limited.current_dir(self.folder.path()).env("LC_ALL", "C").stdin(Stdio::null());
        limited.output().expect("this test needs the programs rsync and timeout")
    }

    /// Pulls with both programs, after `prepare` has made what is in each destination, and compares
    /// trees, exit codes and texts.
    #[track_caller]
    pub fn same_pull_into(&self, options: &[&str], sources: &[&str], prepare: impl Fn(&Path)) {
        self.same(options, sources, prepare, |program, to| {
            self.pull(program, options, sources, to)
        });
    }

    #[track_caller]
    pub fn same_pull(&self, options: &[&str], sources: &[&str]) {
        self.same_pull_into(options, sources, |_| {});
    }

    /// Likewise with pushes.
    #[track_caller]
    pub fn same_push_into(&self, options: &[&str], sources: &[&str], prepare: impl Fn(&Path)) {
        self.same(options, sources, prepare, |program, to| {
            self.push(program, options, sources, to)
        });
    }

    #[track_caller]
    pub fn same_push(&self, options: &[&str], sources: &[&str]) {
        self.same_push_into(options, sources, |_| {});
    }

    #[track_caller]
    fn same(
        &self,
        options: &[&str],
        sources: &[&str],
        prepare: impl Fn(&Path),
        run: impl Fn(Program, &str) -> Output,
    ) {
        let what = format!("{options:?} {sources:?}");
        let mut outputs = Vec::new();
        for (program, to) in [(Program::Stock, "stock"), (Program::Ours, "ours")] {
            let folder = self.path(to);
            if folder.exists() {
                fs::remove_dir_all(&folder).unwrap();
            }
            fs::create_dir(&folder).unwrap();
            prepare(&folder);
            age(&folder);
            outputs.push(run(program, to));
        }
        let [stock, ours] = outputs.try_into().expect("there are two");
        let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(
            ours.status.code(),
            stock.status.code(),
            "{what}\nstock: {}\nours: {}",
            said(&stock),
            said(&ours)
        );
        assert_eq!(errors(&ours), errors(&stock), "{what}");
        let letters = options.iter().filter(|word| !word.starts_with("--"));
        let times = letters.clone().any(|word| word.contains(['a', 't']));
        let links = letters.clone().any(|word| word.contains('H'));
        let compare = CompareOptions { hard_links: links, times, ..CompareOptions::default() };
        let mut found = differences(&self.path("stock"), &self.path("ours"), &compare).unwrap();
        // The destination itself is not always part of the transfer.
        found.retain(|line| !line.starts_with(".: mtime"));
        assert!(found.is_empty(), "{what}\n{}", found.join("\n"));
    }
}

/// Error texts that do not name the program or its version.
fn errors(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let own = |line: &&str| {
        !line.is_empty()
            && !line.starts_with("rsync error")
            && !line.starts_with("rsync warning")
            && !line.starts_with("role:")
            && !line.contains("connection unexpectedly closed")
    };
    let mut lines: Vec<String> = text.lines().filter(own).map(str::to_owned).collect();
    lines.sort();
    lines
}

/// Gives everything in a tree a time of its own in the past: rsync takes times of the same second
/// for equal.
pub fn age(tree: &Path) {
    let mut names = names(tree).expect("the tree is there");
    names.sort();
    for (number, name) in (1..).zip(&names) {
        let time = rustix::fs::Timespec { tv_sec: 1_500_000_000 + number, tv_nsec: 123_456_789 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        let path = tree.join(OsStr::from_bytes(name));
        rustix::fs::utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

/// Trees with all kinds of files, links of all kinds, rules, and times that have fractions.
fn make_trees(at: &Path) {
    let src = at.join("src");
    for dir in ["a/b/c", "e", "sub.x", "sp ace"] {
        fs::create_dir_all(src.join(dir)).unwrap();
    }
    let big: Vec<u8> = (0..300_000_u32).map(|i| ((i / 7) ^ (i % 251)) as u8).collect();
    let files: [(&str, &[u8]); 9] = [
        ("f", b"hi\n"),
        ("a/g", b"hello\n"),
        ("a/b/big", &big),
        ("x.tmp", b"x"),
        ("a/y.tmp", b"y"),
        ("a/.rsync-filter", b"- g\n"),
        (".rsync-filter", b"- *.tmp\n"),
        ("sp ace/s p", b"blank"),
        ("empty", b""),
    ];
    for (name, content) in files {
        fs::write(src.join(name), content).unwrap();
    }
    for (name, target) in [
        ("l", "f"),
        ("dl", "a"),
        ("a/up", "../../etc"),
        ("dangling", "nowhere"),
        ("absolute", "/etc/passwd"),
    ] {
        symlink(target, src.join(name)).unwrap();
    }
    fs::hard_link(src.join("f"), src.join("hl")).unwrap();
    fs::hard_link(src.join("f"), src.join("a/hl2")).unwrap();
    make_fifo(&src.join("e/pipe"));
    let status = Command::new("mknod").arg(src.join("e/null")).args(["c", "1", "3"]).status();
    assert!(status.unwrap().success(), "this test needs the right to make devices");
    fs::set_permissions(src.join("a/g"), Permissions::from_mode(0o4711)).unwrap();
    lchown(src.join("a/b/big"), Some(1000), Some(1001)).unwrap();
    let other = at.join("other");
    for dir in ["a/b", "z"] {
        fs::create_dir_all(other.join(dir)).unwrap();
    }
    for (name, content) in [("f", "o1"), ("a/n", "o2"), ("a/b/big", "deep"), ("z/q", "q")] {
        fs::write(other.join(name), content).unwrap();
    }
    fs::write(at.join("list"), "f\na/b/big\ne/\nsub.x\nmissing\n/../a/./g\n").unwrap();
    fs::write(at.join("list0"), b"f\0a/b\0sp ace/s p\0").unwrap();
}
