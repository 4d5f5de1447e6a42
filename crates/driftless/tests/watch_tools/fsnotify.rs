//! `fsnotifywait` and `fsnotifywatch` beside the originals.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::support::{
    CHANGES, DRIFTLESS, End, Outcome, Run, TREE, act, both, original, ours, run, starting, words,
};

/// The original marks names that are gone by the time they are printed, and without `-q` prints lines
/// for debugging.
pub fn cleaned(stdout: &str) -> String {
    let lines = stdout.split_inclusive('\n').filter(|line| !line.starts_with("[fid="));
    lines.collect::<String>().replace(" (deleted)", "")
}

/// Standard error, but for the number of marks: ours has one for each file system.
fn said(outcome: &Outcome) -> String {
    let lines = outcome.stderr.split_inclusive('\n');
    let is_count = |line: &str| line.starts_with("Total of ") && line.ends_with(" watches.\n");
    lines.map(|line| if is_count(line) { "Total of … watches.\n" } else { line }).collect()
}

/// Checks that both print the same events, one change after the other.
#[track_caller]
fn same(line: &str, acts: &[&str]) {
    same_in(line, TREE, acts, End::Term);
}

/// The same with another tree or end.
#[track_caller]
pub fn same_in(line: &str, plant: &[&str], acts: &[&str], end: End) {
    let (theirs, ours) = both(line, plant, acts, end);
    let (told, wanted) = (cleaned(&ours.stdout), cleaned(&theirs.stdout));
    // What happens in one line depends on the moment of reading, as the kernel joins what was not read.
    let parts = |text: &str| match line.starts_with("fsnotifywatch") {
        // Marks are no rows: what was given and had no event has none with `-z` either.
        true => text.lines().filter(|row| !row.starts_with("0 ")).map(str::to_owned).collect(),
        false => events(text),
    };
    assert_eq!(parts(&told), parts(&wanted), "left: ours, right: the original; {line}");
    assert_eq!((ours.code, said(&ours)), (theirs.code, said(&theirs)), "{line}");
}

/// The single events of default lines.
pub fn events(text: &str) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for line in text.lines() {
        let mut fields = line.splitn(3, ' ');
        let (Some(dir), Some(names)) = (fields.next(), fields.next()) else { continue };
        let file = fields.next().unwrap_or_default();
        all.extend(names.split(',').map(|name| format!("{dir}{file} {name}")));
    }
    all
}

#[test]
fn directories_and_files() {
    let acts = [CHANGES, &["mv d/c/x d/c/y", "touch d/f"]].concat();
    for line in [
        "fsnotifywait -qm d",
        "fsnotifywait -qm -e create,delete d",
        "fsnotifywait -qm --csv -e close_write d",
        "fsnotifywait -qm --format %w|%f|%e|%c -e move d",
        "fsnotifywait -qm d/f",
        "fsnotifywait -qm l",
        "fsnotifywait -qm d/a d/c",
        "fsnotifywait -q -e attrib d",
        "fsnotifywait -qm --exclude /m$ d",
        "fsnotifywait -qm --inotify d",
        "fsnotifywait -qm -I d",
        "inotifywait -qm -I d",
        "fsnotifywait -qm --fanotify -e create d",
        "fsnotifywait -qqm -F d",
    ] {
        same(line, &acts);
    }
}

#[test]
fn trees() {
    let acts = [
        "touch d/c/x/1",
        "mkdir d/n",
        "touch d/n/2",
        "mv d/n d/N",
        "touch d/N/3",
        "rm d/N/3",
        "touch d/a/4",
        "mv d/a/4 d/b/5",
    ];
    for line in [
        "fsnotifywait -qm -r d",
        "fsnotifywait -qm --recursive -e create,delete d",
        "fsnotifywait -qmr d @d/c",
    ] {
        let (theirs, ours) = both(line, TREE, &acts, End::Term);
        let (theirs, ours) = (cleaned(&theirs.stdout), cleaned(&ours.stdout));
        let missing: Vec<String> = events(&theirs)
            .difference(&events(&ours))
            // What the original's own walk over new directories makes.
            .filter(|event| !event.contains("/n") && !event.contains("/N"))
            .cloned()
            .collect();
        assert!(missing.is_empty(), "{line}: {missing:?}\n{ours}\n{theirs}");
        assert!(ours.contains("DIR/d/N/ CREATE 3\n"), "{ours}");
        assert_eq!(ours.contains("d/c/x"), !line.contains('@'), "{ours}");
        assert!(ours.lines().all(|line| line.starts_with("DIR/d/")), "{ours}");
    }
}

#[test]
fn a_tree_is_watched_without_privilege_too() {
    let dir = tempfile::tempdir().unwrap();
    let open = |path: &Path| {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
    };
    open(dir.path());
    let program = dir.path().join("fsnotifywait");
    fs::copy(DRIFTLESS, &program).unwrap();
    let mut command = Command::new("setpriv");
    command.args(["--reuid", "65534", "--clear-groups"]).arg(&program);
    let acts = ["mkdir d/n/m", "touch d/n/m/1", "mv d/c d/b/C", "touch d/b/C/x/2"];
    let watched = dir.path().join("w");
    fs::create_dir(&watched).unwrap();
    open(&watched);
    TREE.iter().for_each(|line| act(&watched, line));
    let words: Vec<String> = words("x -mr -e create,close_write,move d").1;
    command.args(words);
    let mut running = Run::start(command, &watched);
    running.wait_for("Watches established.");
    for line in acts {
        assert!(running.wait_idle());
        act(&watched, line);
    }
    running.wait_for("d/b/C/x/ CREATE 2");
    let outcome = running.end(End::Term);
    for line in ["d/ CREATE,ISDIR n", "d/n/ CREATE,ISDIR m", "d/n/m/ CREATE 1"] {
        assert!(outcome.stdout.contains(line), "{line}\n{outcome:?}");
    }
}

/// A file system of its own. Unmounted when dropped.
struct Mounted(PathBuf);

impl Mounted {
    fn on(path: PathBuf) -> Self {
        fs::create_dir_all(&path).unwrap();
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "none"]).arg(&path);
        let done = starting(|| command.status()).unwrap();
        assert!(done.success(), "this test needs root to mount a file system");
        Self(path)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = starting(|| Command::new("umount").arg("--lazy").arg(&self.0).status());
    }
}

#[test]
fn a_file_system_mounted_in_the_tree_is_watched_with_it() {
    let dir = tempfile::tempdir().unwrap();
    TREE.iter().for_each(|line| act(dir.path(), line));
    let mounted = Mounted::on(dir.path().join("d/mnt"));
    fs::create_dir(mounted.0.join("sub")).unwrap();
    let (tool, words) = words("fsnotifywait -mrq -e create d");
    let mut command = ours(tool);
    command.args(words);
    let mut run = Run::start(command, dir.path());
    assert!(run.wait_idle());
    act(dir.path(), "touch d/mnt/sub/1");
    act(dir.path(), "touch d/a/2");
    run.wait_for("d/mnt/sub/ CREATE 1");
    run.wait_for("d/a/ CREATE 2");
    run.end(End::Term);
}

/// Lines that watch the whole file system that `mnt` is. In the normal loop the original flushes; with
/// `-S` and `-m` it does not.
pub const FILESYSTEM_LINES: &[&str] = &[
    "fsnotifywait -S -e create mnt/d",
    "fsnotifywait --filesystem -q -e create mnt/d",
    "fsnotifywatch -S -e create mnt/d",
    "fsnotifywatch -v --filesystem -e create mnt/d",
];

#[test]
fn a_whole_file_system_is_watched_on_request() {
    let dir = tempfile::tempdir().unwrap();
    let mounted = Mounted::on(dir.path().join("mnt"));
    fs::create_dir_all(mounted.0.join("d")).unwrap();
    fs::create_dir_all(mounted.0.join("e")).unwrap();
    for line in FILESYSTEM_LINES {
        let (tool, words) = words(line);
        let [theirs, ours] = [original(tool), ours(tool)].map(|mut command| {
            command.args(&words);
            let mut run = Run::start(command, dir.path());
            assert!(run.wait_idle(), "{line}");
            act(dir.path(), "touch mnt/e/1");
            let end = if run.wait_idle() { End::Term } else { End::Itself };
            let outcome = run.end(end);
            act(dir.path(), "rm mnt/e/1");
            outcome
        });
        assert_eq!(
            cleaned(&ours.stdout),
            cleaned(&theirs.stdout),
            "left: ours, right: the original; {line}"
        );
        assert_eq!((ours.code, said(&ours)), (theirs.code, said(&theirs)), "{line}");
        assert!(ours.stdout.contains("/mnt/e/"), "{ours:?}");
    }
}

#[test]
fn tables_have_a_row_for_each_object() {
    let acts = ["touch d/1", "touch d/a/2", "append d/a/2"];
    for line in ["fsnotifywatch -e close_write d", "fsnotifywatch -r -e close_write d"] {
        let (theirs, ours) = both(line, TREE, &acts, End::Term);
        let rows = |text: &str| text.lines().map(str::to_owned).collect::<BTreeSet<String>>();
        assert_eq!(rows(&cleaned(&ours.stdout)), rows(&cleaned(&theirs.stdout)), "{line}");
        assert_eq!((ours.code, said(&ours)), (theirs.code, said(&theirs)), "{line}");
    }
    let outcome = run(ours("fsnotifywatch"), &words("x -v -S -t 1 nope").1, TREE, &[], End::Itself);
    let said = "Establishing watches...\nSetting up filesystem watch on nope\n\
                Couldn't add filesystem watch nope: No such file or directory\nCheck the path: ";
    assert!(outcome.stderr.starts_with(said), "{outcome:?}");
}
