//! Somebody with access to a module swaps its directories and files for links that lead out, all the
//! time, while a daemon works there as the superuser and without chroot. Nothing outside is read,
//! made or changed.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use driftless_testkit::plant::{forest, set_mtime};
use driftless_testkit::stock::make_fifo;
use rustix::fs::{CWD, Mode, OFlags, RenameFlags, ResolveFlags, openat2, renameat_with, symlinkat};

use crate::attacker::snapshot;
use crate::pair::Daemon;

const OPEN: &str = "\
uid = root
gid = root
use chroot = no
[w]
path = @ROOT@/w
read only = no
munge symlinks = no
[munged]
path = @ROOT@/w
read only = no
";

/// What stands in every file outside.
const CANARY: &str = "canary";

/// Directories of the module that are swapped, and files.
const DIRS: &[&str] = &["t", "t/d1", "t/d2", "t/d1/.part", "bak", "part", "tmp", "alt", "alt/d1"];
const FILES: &[&str] = &["t/d1/f1", "t/d2/f2", "t/d0/f0", "alt/d1/f1", "t/d1/f1~"];

/// Operations that are to have run; more where `DRIFTLESS_RACES` says so.
fn wanted() -> usize {
    std::env::var("DRIFTLESS_RACES").ok().and_then(|text| text.parse().ok()).unwrap_or(5_000)
}

fn set_extras(path: &Path) {
    let acl = ["-m", "u:12345:rwx", path.to_str().unwrap()];
    let done = Command::new("setfacl").args(acl).status();
    assert!(done.expect("setfacl is installed").success());
    let attribute = ["-n", "user.of", "-v", "source", path.to_str().unwrap()];
    let done = Command::new("setfattr").args(attribute).status();
    assert!(done.expect("setfattr is installed").success());
}

fn plant(root: &Path) {
    // All that a link may lead to has the names of what it stands for.
    for place in ["w/t", "w/alt", "w/bak", "w/part", "w/tmp", "src", "outside"] {
        fs::create_dir_all(root.join(place)).unwrap();
    }
    forest(&root.join("src"), 4, 100, 200);
    for dir in ["d0", "d1", "d2"] {
        for place in ["src", "outside", "w/t", "w/alt"] {
            fs::create_dir_all(root.join(place).join(dir)).unwrap();
            for at in 0..6 {
                let file = root.join(place).join(dir).join(format!("f{at}"));
                let text = if place == "outside" { CANARY } else { "content" };
                fs::write(&file, format!("{text} {dir} {at}")).unwrap();
                set_mtime(&file, 1_600_000_000 + at, 0);
                if place == "outside" {
                    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
                    chown(&file, Some(777), Some(777)).unwrap();
                }
            }
        }
    }
    fs::create_dir_all(root.join("outside/d1/.part")).unwrap();
    fs::hard_link(root.join("src/d0/f0"), root.join("src/d0/again")).unwrap();
    symlink("f0", root.join("src/d0/link")).unwrap();
    make_fifo(&root.join("src/d1/fifo"));
    set_extras(&root.join("src/d1"));
    set_extras(&root.join("src/d1/f1"));
}

/// A thing in the module, and the link that is put in its place.
struct Swap {
    module: PathBuf,
    name: &'static str,
    decoy: PathBuf,
    target: PathBuf,
}

impl Swap {
    fn all(root: &Path) -> Vec<Self> {
        let decoys = root.join("decoys");
        fs::create_dir(&decoys).unwrap();
        let swap = |(number, name): (usize, &&'static str)| {
            // `t/d1/f1` is outside as `d1/f1`; whole directories lead to the top of it.
            let below = name.split_once('/').map_or("", |(_, below)| below);
            let below = below.strip_suffix('~').unwrap_or(below);
            let swap = Self {
                module: root.join("w"),
                name,
                decoy: decoys.join(number.to_string()),
                target: root.join("outside").join(below),
            };
            symlink(&swap.target, &swap.decoy).unwrap();
            swap
        };
        DIRS.iter().chain(FILES).enumerate().map(swap).collect()
    }

    /// Puts one in the place of the other. Returns whether that was possible.
    fn turn(&self) -> bool {
        // The attacker's own links must not lead the attacker out.
        let (above, leaf) = self.name.rsplit_once('/').unwrap_or((".", self.name));
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let module = rustix::fs::open(&self.module, flags, Mode::empty()).unwrap();
        let straight = ResolveFlags::NO_SYMLINKS;
        let Ok(dir) = openat2(&module, above, flags, Mode::empty(), straight) else { return false };
        if renameat_with(&dir, leaf, CWD, &self.decoy, RenameFlags::EXCHANGE).is_ok() {
            return true;
        }
        // A session has removed or replaced one of them.
        let _ = symlink(&self.target, &self.decoy);
        symlinkat(&self.target, &dir, leaf).is_ok()
    }
}

/// A link in a directory of its own, in whose place it belongs again at the end.
fn holds_canary(dir: &Path) -> bool {
    let Ok(entries) = fs::read_dir(dir) else { return false };
    entries.map(|entry| entry.unwrap().path()).any(|path| {
        if path.is_symlink() {
            return false;
        }
        if path.is_dir() {
            return holds_canary(&path);
        }
        path.is_file() && fs::read(&path).is_ok_and(|text| text.starts_with(CANARY.as_bytes()))
    })
}

/// What clients ask for. `U` is the module's URL, `B` a folder of theirs.
const RUNS: &[&[&str]] = &[
    &["-aI", "src/", "U/t/"],
    &["-aI", "--delete", "src/", "U/t/"],
    &["-aI", "--delete-before", "--force", "src/", "U/t/"],
    &["-aI", "--inplace", "src/", "U/t/"],
    &["-aI", "-b", "src/", "U/t/"],
    &["-aI", "-b", "--backup-dir=/bak", "src/", "U/t/"],
    &["-aI", "-b", "--delete", "--backup-dir=../bak", "src/", "U/t/"],
    &["-aI", "--partial-dir=.part", "src/", "U/t/"],
    &["-aI", "--partial-dir=/part", "src/", "U/t/"],
    &["-aI", "--delay-updates", "src/", "U/t/"],
    &["-aI", "--temp-dir=/tmp", "src/", "U/t/"],
    &["-aI", "--temp-dir=../tmp", "src/", "U/t/"],
    &["-a", "--delete", "--link-dest=/alt", "src/", "U/n/"],
    &["-a", "--delete", "--copy-dest=../alt", "src/", "U/n/"],
    &["-a", "--compare-dest=/alt", "src/", "U/n/"],
    &["-aIR", "src/d1/f1", "src/./d2/f2", "U/t/"],
    &["-aR", "--no-implied-dirs", "src/./d1/f1", "U/t/"],
    &["-aIK", "src/", "U/t/"],
    &["-aIHAX", "src/", "U/t/"],
    &["-aAX", "--chmod=D711,F604", "src/", "U/t/"],
    &["-a", "--chown=33:33", "src/", "U/t/"],
    &["-aI", "--mkpath", "src/d1/", "U/t/d1/new/deep/"],
    &["-aI", "--append", "src/", "U/t/"],
    &["-r", "--delete", "empty/", "U/t/d1/"],
    &["-aI", "--fuzzy", "--no-whole-file", "src/", "U/t/"],
    &["-a", "U/t/", "B/"],
    &["-aL", "U/t/", "B/"],
    &["-ak", "U/", "B/"],
    &["-aR", "U/t/d1/f1", "B/"],
    &["-aAX", "U/t/", "B/"],
    &["-ac", "U/t/d*", "B/"],
    &["-a", "--copy-unsafe-links", "U/", "B/"],
    &["-a", "--remove-source-files", "U/t/", "B/"],
    &["-a", "-f: f1", "U/t/", "B/"],
];

#[test]
fn whatever_is_swapped_under_a_session_it_stays_inside() {
    let daemon = Daemon::ours(OPEN, plant);
    let root = daemon.folder.path().to_owned();
    fs::create_dir(root.join("empty")).unwrap();
    let swaps = Swap::all(&root);
    let before = snapshot(&root.join("outside"));
    let (stop, turned) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut operations = 0;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Of the thread alone: those who are attacked should get on, too.
            rustix::process::setpriority_process(None, 10).unwrap();
            while !stop.load(Ordering::Relaxed) {
                for swap in &swaps {
                    turned.fetch_add(swap.turn().into(), Ordering::Relaxed);
                    // Without what all runs begin with, each would end at once: it comes back soon.
                    if !swap.name.contains('/') {
                        turned.fetch_add(swap.turn().into(), Ordering::Relaxed);
                    }
                }
            }
        });
        let _stops = StopAtEnd(&stop);
        let mut round = 0;
        while operations < wanted() {
            for (at, words) in RUNS.iter().enumerate() {
                let module = if (at + round) % 2 == 0 { "@URL@/w" } else { "@URL@/munged" };
                let back = format!("back{}", at % 4);
                let all: Vec<String> = words
                    .iter()
                    .map(|word| match word.strip_prefix("U/") {
                        Some(path) => format!("{module}/{path}"),
                        None if *word == "B/" => format!("{back}/"),
                        None => (*word).to_owned(),
                    })
                    .collect();
                let mut all: Vec<&str> = all.iter().map(String::as_str).collect();
                all.insert(0, "-i");
                let outcome = daemon.client(&all);
                // A line for each thing that was made, changed or removed.
                operations += outcome.out.len();
                assert!(!holds_canary(&root.join(&back)), "{words:?}");
                let after = snapshot(&root.join("outside"));
                let changed: Vec<_> = after.iter().filter(|line| !before.contains(line)).collect();
                assert!(
                    changed.is_empty() && after.len() == before.len(),
                    "{words:?} {changed:#?}"
                );
                let _ = fs::remove_dir_all(root.join(&back));
                let _ = fs::remove_dir_all(root.join("w/n"));
            }
            round += 1;
            assert!(round < 2_000, "{operations} operations only");
        }
    });
    let turned = turned.into_inner();
    eprintln!("{operations} operations under {turned} swaps");
    assert!(turned > 5_000, "{turned} swaps only");
    let log = fs::read_to_string(daemon.path("log")).unwrap();
    assert!(!log.contains("panicked") && !log.contains("ended by signal"));
}

/// Ends the attack however the test ends.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
