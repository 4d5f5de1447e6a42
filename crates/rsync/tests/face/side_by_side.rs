//! The same command with the real program and with ours, on the same trees: exit code, output and
//! what is left on the disk.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use driftless_testkit::arb::Ops;
use driftless_testkit::compare::{CompareOptions, differences};
use driftless_testkit::output::{log_lines, normal};
use driftless_testkit::plant::{executable, set_mtime};
use driftless_testkit::stock::make_fifo;

/// Which program plays what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cast {
    /// The client, against a real server behind a shell.
    Client,
    /// The server, behind a real client's shell.
    Server,
}

/// Our program, which cargo builds beside the tests.
pub fn ours() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().and_then(Path::parent).unwrap().join("examples/rsync");
    assert!(program.exists(), "cargo test builds {}", program.display());
    program
}

/// What a run leaves.
#[derive(Debug, PartialEq, Eq)]
struct Trace {
    code: Option<i32>,
    out: String,
    err: String,
}

/// Two copies of the same trees.
pub struct Bench {
    dir: tempfile::TempDir,
}

impl Bench {
    pub fn new(plant: impl Fn(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for copy in ["theirs", "ours"] {
            let copy = dir.path().join(copy);
            fs::create_dir(&copy).unwrap();
            plant(&copy);
            settle(&copy);
        }
        let shell = dir.path().join("shell");
        executable(&shell, "#!/bin/sh\nshift\nexec \"$@\"\n");
        Self { dir }
    }

    /// The folder that one of the programs works in.
    pub fn copy(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn run(&self, copy: &str, program: &Path, words: &[String]) -> Trace {
        let output = Command::new(program)
            .args(words.iter().map(|word| word.replace("@COPY", copy)))
            .current_dir(self.dir.path().join(copy))
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("RSYNC_RSH", self.dir.path().join("shell"))
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .output()
            .expect("the program starts");
        let text = |bytes: &[u8]| {
            let here = self.dir.path().join(copy);
            let text = String::from_utf8_lossy(bytes).replace(here.to_str().unwrap(), "HERE");
            let text = text.replace(ours().to_str().unwrap(), "rsync");
            normal(&text.replace(self.dir.path().to_str().unwrap(), "THERE"))
        };
        Trace { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// The sorted lines that the client says with `words`, theirs and ours.
    pub fn lines(&self, words: &[String]) -> [Vec<String>; 2] {
        [("theirs", PathBuf::from("rsync")), ("ours", ours())].map(|(copy, program)| {
            let said = self.run(copy, &program, words);
            let lines = said.out.lines().chain(said.err.lines());
            let mut lines: Vec<String> = lines.map(|line| line.replace(copy, "COPY")).collect();
            lines.sort_unstable();
            lines
        })
    }

    /// Runs `words` in both copies and returns what differs.
    pub fn compare(&self, cast: Cast, words: &[String]) -> Vec<String> {
        let stock = PathBuf::from("rsync");
        let theirs = self.run("theirs", &stock, words);
        let ours = match cast {
            Cast::Client => self.run("ours", &ours(), words),
            Cast::Server => {
                let mut path = OsString::from("--rsync-path=");
                path.push(ours());
                let mut more = words.to_vec();
                more.insert(0, path.into_string().unwrap());
                self.run("ours", &stock, &more)
            }
        };
        // A server's texts and its items overtake each other, depending on what was written when.
        let (mut ours, mut theirs) = (ours, theirs);
        if cast == Cast::Server {
            for trace in [&mut ours, &mut theirs] {
                let mut lines: Vec<&str> = trace.out.lines().collect();
                lines.sort_unstable();
                trace.out = lines.join("\n");
            }
        }
        let mut found = Vec::new();
        if ours != theirs {
            found.push(format!("theirs {theirs:#?}\nours {ours:#?}").replace("\\n", "\n    "));
        }
        // The destination's own time is that of the run where its content is not the source's.
        let logs =
            ["theirs", "ours"].map(|copy| log_lines(&self.dir.path().join(copy).join("log")));
        if logs[0] != logs[1] {
            found.push(format!("log: theirs {}\nlog: ours {}", logs[0], logs[1]));
        }
        let loses_times = [
            "-O",
            "-J",
            "-aib",
            "--backup",
            "--no-times",
            "-aiR",
            "--max-delete",
            "--remove-s",
            "--temp-dir",
        ];
        let keeps_times = words.iter().any(|word| word.starts_with("-a"))
            && words.iter().any(|word| word.ends_with("s/"))
            && !words.iter().any(|word| loses_times.iter().any(|start| word.starts_with(start)));
        let options = CompareOptions {
            hard_links: words.iter().any(|word| word.contains('H') && !word.starts_with("--")),
            times: keeps_times,
            now_from: Some(LONG_AGO),
            ..CompareOptions::default()
        };
        for tree in ["s", "d"] {
            let of = |copy: &str| self.dir.path().join(copy).join(tree);
            if of("theirs").exists() || of("ours").exists() {
                found.extend(differences(&of("theirs"), &of("ours"), &options).unwrap());
            }
        }
        found
    }
}

/// Nothing that a tree is made of is younger, and nothing that a run touches is older.
pub const LONG_AGO: i64 = 1_500_000_000;

/// Gives everything that is new a time of its own, so that nothing depends on when the tests run:
/// the original leaves alone what it creates in the second that it is to have.
pub fn settle(root: &Path) {
    let status = Command::new("find")
        .args([
            ".",
            "-newermt",
            "2020-01-01",
            "-exec",
            "touch",
            "-h",
            "-d",
            "@1200000000",
            "{}",
            "+",
        ])
        .current_dir(root)
        .status()
        .expect("find is installed");
    assert!(status.success());
}

/// A source with everything that lists distinguish, and a destination that has some of it.
pub fn plant(root: &Path) {
    let (s, d) = (root.join("s"), root.join("d"));
    for dir in ["s/new", "s/attr", "s/same", "s/deep/er", "d/attr", "d/same", "d/extra/in"] {
        fs::create_dir_all(root.join(dir)).unwrap();
    }
    let write = |path: &str, text: &str| fs::write(root.join(path), text).unwrap();
    write("s/fresh", "new");
    write("s/changed", "longer");
    write("d/changed", "a");
    write("s/perm", "p");
    write("d/perm", "p");
    fs::set_permissions(d.join("perm"), fs::Permissions::from_mode(0o600)).unwrap();
    write("s/equal", "same");
    write("d/equal", "same");
    write("s/new/inner", "inner");
    write("s/deep/er/one.o", "object");
    write("s/deep/er/two.c", &"text\n".repeat(3000));
    write("d/gone", "extra");
    write("d/extra/in/file", "e");
    write("s/time", "t");
    write("d/time", "t");
    write("s/caf\u{e9} \u{1}", "odd name");
    symlink("target", s.join("lnew")).unwrap();
    symlink("target", s.join("lchanged")).unwrap();
    symlink("other", d.join("lchanged")).unwrap();
    write("s/h1", "hard");
    fs::hard_link(s.join("h1"), s.join("h2")).unwrap();
    make_fifo(&s.join("fifo"));
    let names = [
        "s/fresh",
        "s/changed",
        "s/perm",
        "d/perm",
        "s/equal",
        "d/equal",
        "s/new/inner",
        "s/deep/er/one.o",
        "s/deep/er/two.c",
        "s/h1",
        "s/attr",
        "s/same",
        "d/same",
        "s/new",
        "s/deep/er",
        "s/deep",
        "s",
    ];
    for name in names {
        set_mtime(&root.join(name), 1_000_000_000, 0);
    }
    set_mtime(&s.join("time"), 1_000_000_005, 0);
    set_mtime(&d.join("time"), 1_000_000_009, 0);
    set_mtime(&d.join("changed"), 999_999_999, 0);
}

fn words(options: &str, arguments: &[&str]) -> Vec<String> {
    options.split_whitespace().chain(arguments.iter().copied()).map(str::to_owned).collect()
}

/// The receiver of 3.5.0 crashes of it when it ends; ours does what was asked for.
const DEADLY: &str = "-ai --delay-updates --partial-dir=.";

/// Runs all sets and fails with everything that differs.
#[track_caller]
fn check(cast: Cast, arguments: &[&str], sets: &[&str]) {
    let mut wrong = Vec::new();
    let receives_here = arguments.last().is_some_and(|to| !to.starts_with("h:"));
    for set in sets {
        let words = words(set, arguments);
        let bench = Bench::new(plant);
        if *set == DEADLY && receives_here {
            let stock = Path::new("rsync");
            assert_eq!(bench.run("theirs", stock, &words).code, Some(12), "it is repaired: {set}");
            if cast == Cast::Client {
                assert_eq!(bench.run("ours", &ours(), &words).code, Some(0), "{set}");
            }
            continue;
        }
        let found = bench.compare(cast, &words);
        if !found.is_empty() {
            wrong.push(format!("rsync {}\n{}", words.join(" "), found.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{} of {}\n{}", wrong.len(), sets.len(), wrong.join("\n\n"));
}

/// Sets of options whose meaning is the same in either direction.
pub const SETS: &[&str] = &[
    "-a",
    "-av",
    "-avv",
    "-ai",
    "-aii",
    "-avvi",
    "-aH",
    "-aHi",
    "-r",
    "-rv",
    "-ri",
    "-rlpi",
    "-rt",
    "",
    "-v",
    "-d",
    "-dv",
    "-di",
    "-an",
    "-anv",
    "-ani",
    "-ain",
    "-a --delete",
    "-av --delete",
    "-ai --delete",
    "-ai --delete-after",
    "-ai --delete-before",
    "-ai --delete-delay",
    "-ain --delete",
    "-ai --delete --max-delete=1",
    "-ai --delete --exclude=*.o",
    "-ai --delete-excluded --exclude=extra",
    "-ai --exclude=deep",
    "-aiC",
    "-aiF",
    "-aic",
    "-aiI",
    "-aiu",
    "-ai --size-only",
    "-ai --existing",
    "-ai --ignore-existing",
    "-ai --max-size=100",
    "-ai --min-size=4",
    "-aiW",
    "-ai --no-W -B 700",
    "-aiz",
    "-ai --zc=zlib",
    "-ai --zc=lz4",
    "-ai --cc=md5",
    "-ai --inplace",
    "-ai --append",
    "-aib",
    "-aib --suffix=.old",
    "-ai --backup-dir=old",
    "-ai --chmod=F600,D700",
    "-ai --no-perms",
    "-ai --no-times",
    "-ai --no-links",
    "-ai --no-D",
    "-ai -O",
    "-ai -J",
    "-ai -m",
    "-aiR",
    "-aL",
    "-aiS",
    "-ai --no-i-r",
    "-av --no-i-r",
    "-ai --numeric-ids",
    "-ai --out-format=%o_%n_%l_%B",
    "-a --out-format=%n%L",
    "-a --out-format=%i_%f_%M",
    "-a --info=name",
    "-a --info=name2",
    "-a --info=del --delete",
    "-a --info=none",
    "-a --info=stats1",
    "-a --info=flist2 --no-i-r",
    "-a --stats",
    "-ah --stats",
    "-a --no-h --stats",
    "-ai --remove-source-files",
    "-aq",
    "-aqv",
    "-ai --protocol=30",
    "-ai --protocol=31",
    "-ai --timeout=20",
    "-ai --bwlimit=10m",
    "-ai8",
    "-ai --partial",
    "-ai --partial-dir=part",
    "-ai --delay-updates",
    "-ai --delay-updates --partial-dir=.",
    "-ai --fsync",
    "-aE --no-p",
    "-ai --force",
    "-ai --modify-window=10",
    "-aA",
    "-aX",
    "-ai -s",
    "-ai --checksum-seed=7",
    "--old-dirs -i",
    "-ai --copy-unsafe-links",
    "-ai --safe-links",
    "-aik",
    "-aiK",
    "-rltogi --devices --specials",
    "-aiU",
    "-ai --open-noatime",
    "-ai --super",
    "-ai --preallocate",
    "-ai --del",
    "-ai --delete --ignore-errors",
    "-ai --chown=:daemon",
    "-ai --groupmap=*:daemon",
    "-ai --temp-dir=attr",
    "-ai --compare-dest=same",
    "-ai --copy-dest=same",
    "-ai --link-dest=same",
    "-aiz --zl=9",
    "-aiz --skip-compress=gz/xz",
    "-ai --include=deep/er --exclude=*.o",
    "-ai0 --exclude-from=s/new/inner",
    "-ai --include-from=s/new/inner",
    "-ai --trust-sender",
    "-a --progress",
    "-a --info=progress2",
    "-ai --stop-after=5",
    "-ai --stop-at=2099-01-01",
    "-ai --outbuf=L",
    "-ai4",
    "-ai6",
    "-ai --munge-links",
    "-ai --drop-D",
    "-ai -M--numeric-ids",
    "-ai --old-args",
    "-ai --no-blocking-io",
    "-ai --blocking-io",
    "-ai --copy-devices",
    "-ai --write-devices",
    "-a --log-file=log",
    "-av --log-file=log",
    "-ai --stats --log-file=log",
    "-ai --log-file=log --log-file-format=%o_%n",
    "-a -n --log-file=log",
    "-ai --insecure-links",
    "-aiR --no-implied-dirs",
    "-ai --debug=none",
    "-ai --fake-super",
    "-ai -M--fake-super",
    "-ai --max-alloc=2g",
    "-aiz --compress-threads=3",
    "-ai --copy-as=root",
    "-ai --confine-root=/",
];

/// A quarter of the sets for each way of copying, another one each time; all of them with
/// `DRIFTLESS_FULL` in the environment, which takes minutes.
fn share(quarter: usize) -> Vec<&'static str> {
    match std::env::var_os("DRIFTLESS_FULL") {
        Some(_) => SETS.to_vec(),
        None => SETS.iter().copied().skip(quarter % 4).step_by(4).collect(),
    }
}

#[test]
fn a_push_is_that_of_the_original() {
    check(Cast::Client, &["s/", "h:d"], &share(0));
}

#[test]
fn a_pull_is_that_of_the_original() {
    check(Cast::Client, &["h:s/", "d"], &share(1));
}

#[test]
fn a_copy_within_one_machine_is_that_of_the_original() {
    check(Cast::Client, &["s/", "d"], &share(2));
}

#[test]
fn a_push_is_received_as_by_the_original() {
    check(Cast::Server, &["s/", "h:d"], &share(3));
}

#[test]
fn a_pull_is_served_as_by_the_original() {
    check(Cast::Server, &["h:s/", "d"], &share(4));
}

/// Command lines with arguments of all forms; `@` stands before what is on the other machine.
pub const FORMS: &[&str] = &[
    "-ai s @d",
    "-ai s/fresh s/new @d",
    "-ai s/fresh @d/renamed",
    "-ai s/new/ s/deep/ @d",
    "-aiR s/deep/er/one.o s/./new @d",
    "-ai s/nosuch s/fresh @d",
    "-ai s/ @elsewhere/",
    "-ai s/fresh s/time @elsewhere",
    "-ai --mkpath s/fresh @d/a/b/",
    "-i s s/fresh @d",
    "-ai --ignore-missing-args s/nosuch s/fresh @d",
    "-ai s/fresh @d/no/such",
    "-ai --delete-missing-args s/gone s/fresh @d",
    "-ai s/fresh s/time @d/changed",
    "-di s @d",
    "-ai s/ @d/changed",
    "-ai s/new @d/changed",
    "-a s/fresh @d/",
    "-ai s/fresh s/fresh @d",
    "-aiv s/. @d",
    "-ai --backup-dir=changed s/ @d",
    "-ai --usermap=a s/ @d",
    "-aiy s/ @d",
    "-ai --exclude-from=nosuch s/ @d",
    "-ai -f zz s/ @d",
    "-a -n --stats s/ @new",
    "-aiR --no-implied-dirs s/deep/er @d",
    "-ai --temp-dir=nosuch s/ @d",
    "-ai --link-dest=nosuch s/ @d",
    "-ai --compare-dest=../s s/ @d",
    "-ai --link-dest=../s s/ @new",
    "-ai --copy-dest=../s s/ @new",
    "-ai --delete s/nosuch/ @d",
    "-r s/deep/",
    "-aii --link-dest=../s s/ @new",
    "-aix s/ @d",
    "-ai --fuzzy --delete-delay s/ @d",
    "-ai --remove-sent-files s/ @d",
    "-aiv --existing --delete s/ @d",
    "-aHi --link-dest=../d s/ @new",
    "-aii --files-from=s/new/inner s/ @d",
    "-ai --files-from=- s/ @d",
    "-aiR --no-implied-dirs --delete-missing-args --protocol=29 s/./deep/nosuch @d",
    "-aiI --size-only s/ @d",
    "-aiXA s/ @d",
];

#[test]
fn arguments_of_all_forms_mean_what_they_mean_to_the_original() {
    let mut wrong = Vec::new();
    for (at, form) in FORMS.iter().enumerate() {
        let ways = ["push", "pull", "local"];
        let full = std::env::var_os("DRIFTLESS_FULL").is_some();
        for way in ways.iter().enumerate().filter(|(way, _)| full || at % 3 == *way) {
            let words: Vec<String> = form
                .split(' ')
                .map(|word| match (*way.1, word.strip_prefix('@')) {
                    ("push", Some(path)) => format!("h:{path}"),
                    (_, Some(path)) => path.to_owned(),
                    ("pull", None) if word.starts_with("s/") || word == "s" => format!("h:{word}"),
                    _ => word.to_owned(),
                })
                .collect();
            let found = Bench::new(plant).compare(Cast::Client, &words);
            if !found.is_empty() {
                wrong.push(format!("rsync {}\n{}", words.join(" "), found.join("\n")));
            }
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n\n"));
}

/// Command lines that end before a session, or list only.
pub const SMALL: &[&str] = &[
    "a:b c:d",
    "s/ h:d1 d",
    "h:a h:b d:e",
    "h:a b d",
    "h:a x:b d",
    "h:a h::m d",
    "rsync://h:1/m rsync://h:2/m d",
    "-a -- -h:x d",
    "rsync://127.0.0.1:1/m d",
    "s/ 127.0.0.1::m",
    "127.0.0.1::",
    "--files-from=nosuch s d",
    "--files-from=h:x s d",
    "--files-from=h2:x h:s d",
    "nosuch d",
    "--password-file=/x s d",
    "--contimeout=3 s d",
    "--contimeout=3 s h:d",
    "-e 'x s/ h:d",
    "h::/x d",
    "s",
    "s/",
    "-r s/",
    "-a s/",
    "-av s/",
    "-ah s/deep/er/",
    "-a --no-h s/",
    "-aq s/",
    "-d s",
    "h:s",
    "-n s/",
    "--list-only s/ d",
    "-a --stats s/",
    "-rH s/deep",
    "-aR s/deep/er",
    "--info=foo s d",
    "-a --out-format= s/ d",
    "-r h:s/",
    "-av h:s/",
    "-a --list-only s/ h:d",
    "-r --list-only h:s/ d",
    "-a --delete-missing-args --list-only s/nosuch s/fresh",
    "-aU s/fresh",
    "-a --exclude=deep s/",
    "-rv s/",
    "--include-from=/dev/null -a --exclude=* s/ d",
    "-aC s/ d --exclude=.* -n -v",
];

#[test]
fn what_ends_before_a_session_ends_as_in_the_original() {
    let mut wrong = Vec::new();
    for line in SMALL {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        let found = Bench::new(plant).compare(Cast::Client, &words);
        if !found.is_empty() {
            wrong.push(format!("rsync {}\n{}", words.join(" "), found.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{}\n{}", wrong.len(), wrong.join("\n\n"));
}

#[test]
fn random_trees_are_pushed_as_by_the_original() {
    let seed = Ops::seed_from_environment();
    for round in 0..4 {
        let bench = Bench::new(|root| {
            for dir in ["s", "d", "outside"] {
                fs::create_dir(root.join(dir)).unwrap();
            }
            for (tree, salt) in [("s", 0), ("d", 1_u64)] {
                let seed = seed.wrapping_add(round * 2 + salt);
                Ops::new(seed, &root.join(tree), &root.join("outside")).burst(60);
            }
        });
        let found = bench.compare(Cast::Client, &words("-aHi --delete --force", &["s/", "h:d"]));
        assert!(found.is_empty(), "{}", found.join("\n"));
    }
}
