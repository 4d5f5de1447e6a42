//! Full passes.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use driftless_fs::Root;
use driftless_transfer::source::{DiskTree, Expected, SourceCache, WriterPolicy};
use driftless_transfer::{
    Content, Driver, Level, Listed, Outcome, Refusal, SentOutcome, TransferOptions, TreePush,
    push_tree,
};

use crate::daemon::{Daemon, options};

/// Serves from a directory and remembers what it was told.
pub struct Recorder {
    root: Root,
    cache: SourceCache,
    pub applied: Vec<String>,
    pub sent: Vec<(String, String)>,
    pub deleted: Vec<(String, bool)>,
    pub texts: Vec<(Level, String)>,
    pub unlisted: Vec<String>,
}

impl Recorder {
    pub fn new(source: &Path) -> Self {
        Self {
            root: Root::open(source).unwrap(),
            cache: SourceCache::default(),
            applied: Vec::new(),
            sent: Vec::new(),
            deleted: Vec::new(),
            texts: Vec::new(),
            unlisted: Vec::new(),
        }
    }
}

pub fn name(item: &Listed<'_>) -> String {
    String::from_utf8_lossy(&item.entry.name).into_owned()
}

impl Driver for Recorder {
    fn open(&mut self, item: &Listed<'_>) -> Result<Box<dyn Content>, Refusal> {
        let path = item.path().expect("files have a path");
        self.cache.open(&self.root, &path, Expected::Entry(item.entry), WriterPolicy::Ignore)
    }

    fn applied(&mut self, item: &Listed<'_>) {
        self.applied.push(name(item));
    }

    fn sent(&mut self, item: &Listed<'_>, outcome: SentOutcome) {
        self.sent.push((name(item), format!("{outcome:?}")));
    }

    fn unlisted(&mut self, problem: &driftless_transfer::Problem) {
        self.unlisted.push(String::from_utf8_lossy(&problem.name).into_owned());
    }

    fn deleted(&mut self, name: &[u8], is_dir: bool) {
        self.deleted.push((String::from_utf8_lossy(name).into_owned(), is_dir));
    }

    fn message(&mut self, level: Level, text: &[u8]) {
        self.texts.push((level, String::from_utf8_lossy(text).into_owned()));
    }

    fn cancelled(&self) -> bool {
        false
    }
}

/// Pushes all of `source`; the session must succeed without a word of complaint.
#[track_caller]
pub fn push(daemon: &Daemon, source: &Path, options: &TransferOptions, push: TreePush) -> Outcome {
    let mut recorder = Recorder::new(source);
    let mut tree = DiskTree::new(Root::open(source).unwrap(), options);
    let outcome = push_tree(&daemon.peer(), options, push, &mut tree, &mut recorder);
    let outcome = outcome.unwrap_or_else(|failure| {
        panic!("{failure}: {:?} {:?}\n{}", failure.error, recorder.texts, daemon.log())
    });
    assert!(outcome.clean_end);
    assert_eq!(recorder.texts, []);
    assert_eq!(outcome.exit_code(), 0);
    outcome
}

fn deleting() -> TreePush {
    TreePush { delete: true, ..TreePush::default() }
}

/// A tree with every kind of file.
pub fn plant(dir: &Path) {
    let deep = dir.join("a/b/c");
    fs::create_dir_all(&deep).unwrap();
    fs::create_dir(dir.join("empty")).unwrap();
    fs::create_dir(dir.join("a.x")).unwrap();
    fs::write(dir.join("small"), "hello").unwrap();
    fs::write(dir.join("nothing"), "").unwrap();
    let big: Vec<u8> = (0..700_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    fs::write(deep.join("big"), &big).unwrap();
    fs::write(dir.join("a/new\nline \u{e4}*[x]"), "odd").unwrap();
    for at in 0..40 {
        fs::write(dir.join(format!("a/b/f{at}")), format!("{at}").repeat(at)).unwrap();
    }
    symlink("../small", dir.join("a/link")).unwrap();
    symlink("nowhere", dir.join("dangling")).unwrap();
    fs::hard_link(dir.join("small"), dir.join("a/b/small too")).unwrap();
    fs::hard_link(dir.join("small"), deep.join("small three")).unwrap();
    fs::hard_link(dir.join("a/link"), dir.join("a/link too")).unwrap();
    let status = Command::new("mkfifo").arg(dir.join("fifo")).status().unwrap();
    assert!(status.success());
    let status = Command::new("mknod").arg(dir.join("null")).args(["c", "1", "3"]).status();
    assert!(status.unwrap().success());
    fs::set_permissions(dir.join("nothing"), fs::Permissions::from_mode(0o4711)).unwrap();
    let status = Command::new("chown").arg("1234:60000").arg(dir.join("small")).status();
    assert!(status.unwrap().success());
    let status = Command::new("chown").arg("bin:daemon").arg(deep.join("big")).status();
    assert!(status.unwrap().success());
}

#[test]
fn a_full_pass_makes_the_target_the_same() {
    let daemon = Daemon::start("");
    let source = tempfile::tempdir().unwrap();
    plant(source.path());
    let outcome = push(&daemon, source.path(), &options(), deleting());
    daemon.assert_same(source.path());
    assert!(outcome.transferred_count >= 43);

    let again = push(&daemon, source.path(), &options(), deleting());
    assert_eq!((again.transferred_count, again.item_count), (0, 0));
}
