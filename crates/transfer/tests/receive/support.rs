//! The same command with the real program and with ours at the receiving side's place.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, lchown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use driftless_testkit::compare::{CompareOptions, differences};
use driftless_testkit::plant::{executable, noise, set_mtime, set_mtime_alone};
use driftless_testkit::stock::make_fifo;
use fastrand::Rng;
use tempfile::TempDir;

/// The program that plays our role, built with the tests.
pub fn receiver() -> PathBuf {
    let test = std::env::current_exe().expect("a running program has a path");
    let profile = test.ancestors().nth(2).expect("tests are two folders deep");
    let receiver = profile.join("examples/receiver");
    assert!(receiver.exists(), "{} is missing: cargo test builds it", receiver.display());
    receiver
}

/// How the receiving side is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// Ours is a client, and the real server sends.
    Pull,
    /// The real client sends, and ours is a server.
    Push,
    /// Ours is both ends.
    Local,
}

/// A folder with a fake remote shell, a source and room for two destinations.
pub struct Place {
    folder: TempDir,
}

impl Place {
    /// With a random tree in `src` and changed copies of it in `stock` and `ours`.
    pub fn new(seed: u64) -> Self {
        let place = Self::empty();
        let mut random = Rng::with_seed(seed);
        plant(&place.path("src"), &mut random, 40);
        age(&place.path("src"), &mut random);
        place
    }

    pub fn empty() -> Self {
        let place = Self { folder: tempfile::tempdir().expect("a folder for temporary files") };
        let shell = place.path("sh");
        executable(&shell, "#!/bin/sh\nshift\nexec sh -c \"$*\"\n");
        place
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Makes `name` a copy of the source with random changes.
    pub fn changed_copy(&self, name: &str, seed: u64) {
        self.copy("src", name);
        let mut random = Rng::with_seed(seed);
        change(&self.path(name), &mut random);
        plant(&self.path(name), &mut random, 8);
    }

    pub fn copy(&self, from: &str, to: &str) {
        let done = Command::new("cp").arg("-a").arg(self.path(from)).arg(self.path(to)).status();
        assert!(done.expect("this test needs the program cp").success());
    }

    /// Runs one of the programs with a destination of this name.
    pub fn run(&self, ours: bool, form: Form, options: &[&str], to: &str) -> Output {
        let program = receiver();
        let mut command = Command::new("timeout");
        command.arg("60");
        match (form, ours) {
            (Form::Push, true) => {
                command.arg("rsync").arg(format!("--rsync-path={}", program.display()));
            }
            (_, true) => {
                command.arg(program);
            }
            (_, false) => {
                command.arg("rsync");
            }
        }
        command.args(options);
        let to = format!("{to}/");
        match form {
            Form::Pull => command.args(["-e", "./sh"]).arg("h:src/").arg(to),
            Form::Push => command.args(["-e", "./sh"]).arg("src/").arg(format!("h:{to}")),
            Form::Local => command.arg("src/").arg(to),
        };
        command.current_dir(self.folder.path()).env("LC_ALL", "C").stdin(Stdio::null());
        command.output().expect("this test needs the programs rsync and timeout")
    }

    /// Runs both programs on equal destinations and compares what they leave and say.
    #[track_caller]
    pub fn same(&self, form: Form, options: &[&str]) {
        let stock = self.run(false, form, options, "stock");
        let ours = self.run(true, form, options, "ours");
        let shown = |output: &Output| {
            format!(
                "--- {}\n{}\n{}",
                output.status,
                String::from_utf8_lossy(&output.stdout),
                String::from_utf8_lossy(&output.stderr)
            )
        };
        let case = format!("{form:?} {}", options.join(" "));
        assert_eq!(
            ours.status.code(),
            stock.status.code(),
            "{case}\n{}\n{}",
            shown(&stock),
            shown(&ours)
        );
        let options = CompareOptions {
            hard_links: options.iter().any(|o| o.starts_with("-a") && o.contains('H')),
            times: options.iter().any(|o| o.starts_with("-a")),
            through_munged_links: false,
            ..CompareOptions::default()
        };
        let made = self.path("stock").exists();
        assert_eq!(self.path("ours").exists(), made, "{case}");
        let found = match made {
            true => differences(&self.path("stock"), &self.path("ours"), &options).unwrap(),
            false => Vec::new(),
        };
        assert_eq!(found, Vec::<String>::new(), "{case}\n{}\n{}", shown(&stock), shown(&ours));
        let (stock_lines, ours_lines) = (lines(&stock), lines(&ours));
        assert_eq!(ours_lines, stock_lines, "{case}\n{}", shown(&ours));
    }
}

/// What was said of items, in any order: some of it depends on which end is faster.
fn lines(output: &Output) -> Vec<String> {
    let text = String::from_utf8_lossy(&output.stdout);
    let counts = |line: &&str| !line.is_empty() && !line.starts_with("created directory");
    let named = |line: &str| line.replace("stock/", "ours/");
    let mut lines: Vec<String> = text.lines().filter(counts).map(named).collect();
    lines.sort();
    lines
}

/// Adds random objects.
pub fn plant(root: &Path, random: &mut Rng, count: usize) {
    const NAMES: [&str; 8] = ["a", "b", "x.txt", "y.c", ".hid", "sp ace", "z~", "q"];
    fs::create_dir_all(root).unwrap();
    let mut folders = vec![root.to_owned()];
    let mut files: Vec<PathBuf> = Vec::new();
    for serial in 0..count {
        let folder = folders[random.usize(..folders.len())].clone();
        let name = format!("{}{}", NAMES[random.usize(..NAMES.len())], random.usize(..12));
        let path = folder.join(name);
        if path.symlink_metadata().is_ok() {
            continue;
        }
        match random.usize(..20) {
            0..=4 if folders.len() < 12 => {
                fs::create_dir(&path).unwrap();
                folders.push(path);
            }
            0..=15 => {
                let len = [0, 1, 100, 700, 5000, 70_000][random.usize(..6)];
                fs::write(&path, noise(random.u64(..), len)).unwrap();
                files.push(path);
            }
            16..=17 => {
                let text = ["../a1", "x/y", "nowhere"][random.usize(..3)];
                symlink(text, &path).unwrap();
            }
            18 => make_fifo(&path),
            _ if files.is_empty() => {}
            _ => fs::hard_link(&files[serial % files.len()], &path).unwrap(),
        }
    }
}

/// Gives everything below a root random attributes.
pub fn age(root: &Path, random: &mut Rng) {
    let meta = fs::symlink_metadata(root).unwrap();
    if meta.is_dir() {
        for entry in fs::read_dir(root).unwrap() {
            age(&entry.unwrap().path(), random);
        }
    }
    let uid = [0, 0, 1, 1000][random.usize(..4)];
    let gid = [0, 0, 5, 1000][random.usize(..4)];
    lchown(root, Some(uid), Some(gid)).unwrap();
    if !meta.is_symlink() {
        // No set-id bits: the original reports what its own chown takes of them.
        let modes = if meta.is_dir() { [0o755, 0o700, 0o775] } else { [0o644, 0o600, 0o755] };
        fs::set_permissions(root, Permissions::from_mode(modes[random.usize(..3)])).unwrap();
    }
    let seconds = 1_600_000_000 + random.i64(0..6) * 1000;
    let nanoseconds = [0, 0, 500_000_000, 123_456_789][random.usize(..4)];
    match meta.is_symlink() {
        true => set_mtime_alone(root, seconds, nanoseconds),
        false => set_mtime(root, seconds, nanoseconds),
    }
}

fn change(root: &Path, random: &mut Rng) {
    let mut paths: Vec<PathBuf> =
        fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let meta = fs::symlink_metadata(&path).unwrap();
        let pick = random.usize(..100);
        if meta.is_dir() {
            if pick < 8 {
                fs::remove_dir_all(&path).unwrap();
                fs::write(&path, "was a directory").unwrap();
            } else {
                change(&path, random);
            }
            continue;
        }
        match pick {
            0..=12 => fs::remove_file(&path).unwrap(),
            13..=30 if meta.is_file() => {
                let mut content = fs::read(&path).unwrap();
                content.extend_from_slice(b"more");
                let middle = content.len() / 2;
                content[middle] ^= 1;
                // Another inode, lest other names change with it.
                fs::remove_file(&path).unwrap();
                fs::write(&path, content).unwrap();
            }
            31..=36 => {
                fs::remove_file(&path).unwrap();
                fs::create_dir(&path).unwrap();
                fs::write(path.join("in"), "i").unwrap();
            }
            37..=40 => {
                fs::remove_file(&path).unwrap();
                symlink("changed", &path).unwrap();
            }
            41..=60 => age(&path, random),
            _ => {}
        }
    }
}
