//! `kill -9` of either end in the middle: nothing is torn, and the next run completes.
//!
//! A dozen runs by default, as many as `DRIFTLESS_KILLS` says otherwise. The point is random: the
//! victim dies when the kernel has counted so many bytes read and written by it.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use driftless_testkit::arb::Ops;
use driftless_testkit::compare::{CompareOptions, differences, names, temporaries};
use driftless_testkit::plant::{executable, noise, set_mtime};
use driftless_testkit::wait;
use fastrand::Rng;

use crate::ground::{Cast, ours};
use crate::trees::copy;

/// What is run, from which of these a run picks.
const SETS: &[&str] = &[
    "-a",
    "-a --no-W",
    "-a --partial",
    "-a --partial-dir=part",
    "-a --inplace",
    "-a --delay-updates",
    "-a --delay-updates --partial-dir=part",
    "-a --delete",
    "-a --delete-delay --partial",
    "-a --delete-after --delay-updates",
    "-aH --delete-before --no-W",
    "-az --partial --delete",
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Push,
    Pull,
    Local,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Client,
    Server,
}

/// One run that is cut short.
#[derive(Debug)]
struct Case {
    set: &'static str,
    form: Form,
    cast: Cast,
    victim: Victim,
    /// Bytes after which the victim dies, in millionths of what it moves in an undisturbed run.
    point: u64,
}

impl Case {
    fn random(random: &mut Rng) -> Self {
        let set = SETS[random.usize(..SETS.len())];
        let form = [Form::Push, Form::Pull, Form::Local][random.usize(..3)];
        let (cast, victim) = match form {
            Form::Local => (Cast::Client, Victim::Client),
            _ => (
                [Cast::Client, Cast::Server, Cast::Both][random.usize(..3)],
                [Victim::Client, Victim::Server][random.usize(..2)],
            ),
        };
        Self { set, form, cast, victim, point: random.u64(0..1_000_000) }
    }

    /// Whether the one that dies is the one that writes.
    fn kills_receiver(&self) -> bool {
        self.form == Form::Local || (self.form == Form::Pull) == (self.victim == Victim::Client)
    }

    /// Whether the receiving side is ours. The original's processes can miss each other's end, and
    /// then leave a temporary behind (seen twice in 200 runs).
    fn ours_receives(&self) -> bool {
        match self.form {
            Form::Local => true,
            Form::Push => matches!(self.cast, Cast::Server | Cast::Both),
            Form::Pull => matches!(self.cast, Cast::Client | Cast::Both),
        }
    }

    fn has(&self, option: &str) -> bool {
        self.set.split(' ').any(|word| word.starts_with(option))
    }
}

struct Place {
    folder: tempfile::TempDir,
    /// Content of the source and of the older destination, by name.
    versions: [Vec<(Vec<u8>, Vec<u8>)>; 2],
}

impl Place {
    fn new(seed: u64) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for (tree, salt) in [("s", 0), ("old", 1)] {
            plant(&folder.path().join(tree), seed, salt);
        }
        let shell = folder.path().join("shell");
        executable(&shell, "#!/bin/sh\nshift\necho $$ > pid.new\nmv pid.new pid\nexec \"$@\"\n");
        let versions = ["s", "old"].map(|tree| contents(&folder.path().join(tree)));
        Self { folder, versions }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn start(&self, case: &Case) -> Child {
        let _ = fs::remove_file(self.path("pid"));
        let mut command = match case.cast {
            Cast::Client | Cast::Both => Command::new(ours()),
            Cast::Server | Cast::Nobody => Command::new("rsync"),
        };
        if matches!(case.cast, Cast::Server | Cast::Both) {
            command.arg(format!("--rsync-path={}", ours().display()));
        }
        command.args(case.set.split(' '));
        match case.form {
            Form::Push => command.args(["s/", "h:d"]),
            Form::Pull => command.args(["h:s/", "d"]),
            Form::Local => command.args(["s/", "d"]),
        };
        command
            .current_dir(self.folder.path())
            .env("RSYNC_RSH", self.path("shell"))
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(fs::File::create(self.path("stderr")).unwrap())
            .process_group(0)
            .spawn()
            .unwrap()
    }

    /// Runs to the end, or until the victim has moved `limit` bytes. Returns what it moved and
    /// whether it was killed.
    fn run(&self, case: &Case, limit: Option<u64>) -> (u64, bool) {
        let mut client = self.start(case);
        let group = client.id();
        let mut victim = (case.victim == Victim::Client).then_some(group);
        let (mut moved, mut killed) = (0, false);
        let ended = loop {
            if victim.is_none() {
                let told = fs::read_to_string(self.path("pid")).ok();
                victim = told.and_then(|text| text.trim().parse().ok());
            }
            if let Some(pid) = victim {
                moved = bytes_moved(pid).unwrap_or(0).max(moved);
                if !killed && limit.is_some_and(|limit| moved >= limit) {
                    kill(pid);
                    killed = true;
                }
            }
            if let Some(status) = client.try_wait().unwrap() {
                break status;
            }
        };
        wait::until("all processes of a run end", wait::GENEROUS, || {
            (!group_lives(group)).then_some(())
        });
        assert!(killed || ended.success(), "{case:?} {ended}\n{}", self.said());
        (moved, killed)
    }

    fn said(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.path("stderr")).unwrap_or_default()).into_owned()
    }

    fn fresh_destination(&self) {
        let _ = fs::remove_dir_all(self.path("d"));
        copy(&self.path("old"), &self.path("d"));
    }

    /// Names whose content is neither the old nor the new one.
    fn torn(&self) -> Vec<Vec<u8>> {
        let [new, old] = &self.versions;
        let whole = |found: &(Vec<u8>, Vec<u8>)| {
            let is_own = |name: &[u8]| new.iter().chain(old).any(|(known, _)| known == name);
            !is_own(&found.0) || new.contains(found) || old.contains(found)
        };
        let found = contents(&self.path("d"));
        found.into_iter().filter(|found| !whole(found)).map(|(name, _)| name).collect()
    }

    /// A folder of files in waiting that was to be removed next. The original leaves it as well, until
    /// something in its place is updated.
    fn is_emptied(&self, shown: &str) -> bool {
        (shown.ends_with("/.~tmp~") || shown.ends_with("/part"))
            && fs::read_dir(self.path("d").join(shown)).is_ok_and(|mut rest| rest.next().is_none())
    }

    fn check(&self, case: &Case) -> Vec<String> {
        let mut wrong = Vec::new();
        if !case.has("--inplace") {
            for name in self.torn() {
                let path = self.path("d").join(String::from_utf8_lossy(&name).into_owned());
                // Half a file that is kept says so by its time.
                let kept =
                    case.has("--partial") && fs::symlink_metadata(&path).unwrap().mtime() == 0;
                if !kept {
                    wrong.push(format!("torn: {}", name.escape_ascii()));
                }
            }
        }
        let left = temporaries(&self.path("d")).unwrap();
        if !case.kills_receiver() && case.ours_receives() && !left.is_empty() {
            wrong.push(format!("left behind: {left:?}"));
        }
        self.run(case, None);
        // What a killed receiver was writing has a name that nobody knows any more: it goes as
        // everything that the source does not have.
        let options = CompareOptions::default();
        let own: Vec<Vec<u8>> = names(&self.path("s")).unwrap();
        let extra = names(&self.path("d")).unwrap().into_iter().filter(|name| !own.contains(name));
        for name in extra {
            let shown = name.escape_ascii().to_string();
            let was_there = self.path("old").join(&shown).exists();
            if case.kills_receiver() && self.is_emptied(&shown) {
                continue;
            }
            if case.has("--delete") || !was_there && !left.contains(&shown) {
                wrong.push(format!("left at the end: {shown}"));
            }
        }
        let found = differences(&self.path("s"), &self.path("d"), &options).unwrap();
        wrong.extend(found.into_iter().filter(|line| !line.contains(": only in ")));
        for name in own {
            let path = self.path("d").join(String::from_utf8_lossy(&name).into_owned());
            if fs::symlink_metadata(path).is_err() {
                wrong.push(format!("missing: {}", name.escape_ascii()));
            }
        }
        wrong
    }
}

/// Small and large files; the older version has others, shorter ones and more names.
fn plant(root: &Path, seed: u64, version: u64) {
    let mut random = Rng::with_seed(seed);
    for folder in 0..12 {
        let dir = root.join(format!("d{folder}"));
        fs::create_dir_all(&dir).unwrap();
        for file in 0..15 {
            let (len, salt) = (random.usize(..6000), random.u64(..));
            let changes = random.u8(..3) > 0;
            let is_new = random.u8(..4) == 0;
            if version == 1 && is_new {
                continue;
            }
            let salt = if changes { salt + version } else { salt };
            fs::write(dir.join(format!("f{file}")), noise(salt, len)).unwrap();
            let time = 1_200_000_000 + if changes { version as i64 } else { 0 };
            set_mtime(&dir.join(format!("f{file}")), time, 0);
        }
        let mut large = noise(random.u64(..), 700_000);
        if version == 1 {
            large[300_000] ^= 1;
            large.truncate(600_000);
            fs::write(dir.join("extra"), "only here").unwrap();
        }
        fs::write(dir.join("large"), large).unwrap();
        set_mtime(&dir.join("large"), 1_200_000_000 + version as i64, 0);
        set_mtime(&dir, 1_200_000_000 + version as i64, 0);
    }
    set_mtime(root, 1_200_000_000 + version as i64, 0);
}

fn contents(root: &Path) -> Vec<(Vec<u8>, Vec<u8>)> {
    let all = names(root).unwrap().into_iter();
    let read = |name: Vec<u8>| {
        let path = root.join(String::from_utf8_lossy(&name).into_owned());
        path.is_file().then(|| fs::read(path).unwrap()).map(|content| (name, content))
    };
    all.filter_map(read).collect()
}

/// Bytes that a process has read and written; `None` when it is gone.
fn bytes_moved(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/io")).ok()?;
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name))
            .and_then(|n| n.trim().parse::<u64>().ok())
    };
    Some(field("rchar:")? + field("wchar:")?)
}

fn kill(pid: u32) {
    // It may just have ended.
    let _ = Command::new("kill").args(["-9", &pid.to_string()]).stderr(Stdio::null()).status();
}

fn group_lives(group: u32) -> bool {
    let found = Command::new("pgrep").args(["-g", &group.to_string()]).output();
    !found.expect("this test needs the program pgrep").stdout.is_empty()
}

#[test]
fn a_killed_end_tears_nothing_and_the_next_run_completes() {
    let seed = Ops::seed_from_environment();
    let count = std::env::var("DRIFTLESS_KILLS").map_or(12, |text| text.parse().unwrap());
    let place = Place::new(seed);
    let mut random = Rng::with_seed(seed);
    let (mut wrong, mut kills, mut left) = (Vec::new(), 0, 0);
    for number in 0..count {
        let case = Case::random(&mut random);
        place.fresh_destination();
        let (whole, _) = place.run(&case, None);
        place.fresh_destination();
        let (_, killed) = place.run(&case, Some(whole * case.point / 1_000_000));
        kills += usize::from(killed);
        left += usize::from(!temporaries(&place.path("d")).unwrap().is_empty());
        let found = place.check(&case);
        if !found.is_empty() {
            wrong.push(format!("run {number} {case:?}\n{}", found.join("\n")));
        }
    }
    println!("{count} runs, {kills} kills, {left} left a temporary of a receiver that was killed");
    assert!(wrong.is_empty(), "seed {seed}: {}\n{}", wrong.len(), wrong.join("\n\n"));
    assert!(kills * 2 > count, "most runs are cut short: {kills} of {count}");
}
