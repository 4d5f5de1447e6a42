//! Full passes.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use driftless_filter::{Given, ParseOptions, ReadFile, Rules};
use driftless_fs::Root;
use driftless_transfer::chmod::Chmod;
use driftless_transfer::source::{DiskTree, Expected, SourceCache, WriterPolicy};
use driftless_transfer::{
    Content, Driver, ItemChange, Level, Listed, Listing, Outcome, Problem, Refusal, SentOutcome,
    TransferOptions, TreePush, TreeSource, push_tree,
};
use driftless_tree::RelPath;
use driftless_tree::flist::Entry;

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
    pub items: Vec<String>,
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
            items: Vec::new(),
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

    fn item(&mut self, item: &Listed<'_>, _: ItemChange) {
        self.items.push(name(item));
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
    let big: Vec<u8> =
        (0..700_000u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
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

#[test]
fn a_wide_tree_with_hard_links_across_directories_keeps_moving() {
    let daemon = Daemon::start("");
    let source = tempfile::tempdir().unwrap();
    // More directories than entries may be ahead, most of them tiny, groups far apart.
    for at in 0..300 {
        let dir = source.path().join(format!("d{at}/sub"));
        fs::create_dir_all(&dir).unwrap();
        for file in 0..at % 20 {
            fs::write(dir.join(format!("f{file}")), format!("{at} {file}")).unwrap();
        }
        fs::write(dir.join("linked"), format!("{at}")).unwrap();
        let other = source.path().join(format!("d{}", (at * 7) % (at + 1)));
        fs::hard_link(dir.join("linked"), other.join(format!("to{at}"))).unwrap();
    }
    push(&daemon, source.path(), &options(), deleting());
    daemon.assert_same(source.path());
    assert_eq!(push(&daemon, source.path(), &options(), deleting()).item_count, 0);
}

/// Refuses the content of these names.
struct Refusing(Recorder, &'static [&'static str]);

impl Driver for Refusing {
    fn open(&mut self, item: &Listed<'_>) -> Result<Box<dyn Content>, Refusal> {
        if self.1.contains(&name(item).as_str()) {
            Err(Refusal::HeldBack)
        } else {
            self.0.open(item)
        }
    }

    fn applied(&mut self, item: &Listed<'_>) {
        self.0.applied(item);
    }

    fn sent(&mut self, item: &Listed<'_>, outcome: SentOutcome) {
        self.0.sent(item, outcome);
    }

    fn deleted(&mut self, name: &[u8], is_dir: bool) {
        self.0.deleted(name, is_dir);
    }

    fn message(&mut self, level: Level, text: &[u8]) {
        self.0.message(level, text);
    }

    fn cancelled(&self) -> bool {
        false
    }
}

/// Pushes a group of hard links of which some cannot be had.
#[track_caller]
fn check_refused(group: &[&str], existing: &[&str], refused: &'static [&'static str]) {
    let daemon = Daemon::start("");
    let source = tempfile::tempdir().unwrap();
    let plant = |root: &Path, path: &str, content: &str| {
        fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
        fs::write(root.join(path), content).unwrap();
    };
    plant(source.path(), "other", "new");
    plant(source.path(), group[0], "new content");
    for path in &group[1..] {
        fs::create_dir_all(source.path().join(path).parent().unwrap()).unwrap();
        fs::hard_link(source.path().join(group[0]), source.path().join(path)).unwrap();
    }
    existing.iter().for_each(|path| plant(&daemon.module(), path, "old"));
    let mut driver = Refusing(Recorder::new(source.path()), refused);
    let mut tree = DiskTree::new(Root::open(source.path()).unwrap(), &options());
    let outcome = push_tree(&daemon.peer(), &options(), deleting(), &mut tree, &mut driver);
    assert!(outcome.unwrap().clean_end);
    assert!(driver.0.sent.iter().any(|(_, outcome)| outcome.starts_with("Refused")));
    for path in group {
        let there = fs::read(daemon.module().join(path)).ok();
        let old = existing.contains(path).then(|| b"old".to_vec());
        assert!(there == old || there == Some(b"new content".to_vec()), "{path}: {there:?}");
    }
    assert_eq!(fs::read(daemon.module().join("other")).unwrap(), b"new");
    push(&daemon, source.path(), &options(), deleting());
    daemon.assert_same(source.path());
}

/// With incremental recursion the daemon waited for ever for the rest of the group.
#[test]
fn a_group_of_hard_links_that_cannot_be_had_does_not_hold_up_the_session() {
    check_refused(&["a", "b"], &["a", "b"], &["a"]);
    check_refused(&["a", "b"], &["a"], &["a", "b"]);
    check_refused(&["d/a", "e/b"], &["d/a", "e/b"], &["d/a"]);
    check_refused(&["d/a", "e/b", "f/c"], &["e/b"], &["e/b"]);
}

/// The daemon asks for the next member, and reports it, when it takes no content any more.
#[test]
fn a_member_of_a_group_that_is_asked_for_too_late_is_refused() {
    check_refused(&["d/a", "e/b", "f/c"], &[], &["d/a", "e/b", "f/c"]);
    check_refused(&["d/a", "e/b", "f/c"], &["f/c"], &["d/a", "e/b", "f/c"]);
    check_refused(&["d/a", "e/b", "f/c"], &[], &["f/c"]);
}

#[test]
fn one_list_serves_where_recursion_is_not_incremental() {
    let daemon = Daemon::start("");
    let source = tempfile::tempdir().unwrap();
    plant(source.path());
    let options = TransferOptions { delay_updates: true, ..options() };
    push(&daemon, source.path(), &options, deleting());
    daemon.assert_same(source.path());
    assert_eq!(push(&daemon, source.path(), &options, deleting()).item_count, 0);
}

#[test]
fn what_the_source_lost_is_deleted() {
    let daemon = Daemon::start("");
    let source = tempfile::tempdir().unwrap();
    plant(source.path());
    push(&daemon, source.path(), &options(), deleting());
    fs::remove_dir_all(source.path().join("a/b")).unwrap();
    fs::remove_file(source.path().join("fifo")).unwrap();
    let mut recorder = Recorder::new(source.path());
    let mut tree = DiskTree::new(Root::open(source.path()).unwrap(), &options());
    let outcome =
        push_tree(&daemon.peer(), &options(), deleting(), &mut tree, &mut recorder).unwrap();
    daemon.assert_same(source.path());
    assert_eq!(outcome.deleted_count, recorder.deleted.len() as u64);
    assert!(recorder.deleted.contains(&("a/b".to_owned(), true)));
    assert!(recorder.deleted.contains(&("fifo".to_owned(), false)));
}

#[test]
fn a_shallow_pass_looks_at_the_root_only() {
    let daemon = Daemon::start("");
    let source = tempfile::tempdir().unwrap();
    fs::create_dir(source.path().join("both")).unwrap();
    fs::write(source.path().join("both/below"), "1").unwrap();
    fs::write(source.path().join("new"), "2").unwrap();
    for dir in ["both", "gone"] {
        fs::create_dir(daemon.module().join(dir)).unwrap();
        fs::write(daemon.module().join(dir).join("inside"), "3").unwrap();
    }
    let shallow = TreePush { shallow: true, ..deleting() };
    for dry_run in [true, false] {
        let mut recorder = Recorder::new(source.path());
        let mut tree = DiskTree::new(Root::open(source.path()).unwrap(), &options());
        let push = TreePush { dry_run, ..shallow.clone() };
        let outcome =
            push_tree(&daemon.peer(), &options(), push, &mut tree, &mut recorder).unwrap();
        assert_eq!(outcome.listed_count, 3, "the root and two names");
        assert!(recorder.items.contains(&"new".to_owned()));
        let deleted = [("gone/inside".to_owned(), false), ("gone".to_owned(), true)];
        assert_eq!(recorder.deleted, deleted);
        assert_eq!(recorder.texts, []);
        assert_eq!(daemon.module().join("gone").exists(), dry_run);
        assert_eq!(daemon.module().join("new").exists(), !dry_run);
        assert!(daemon.module().join("both/inside").exists());
        assert!(!daemon.module().join("both/below").exists());
    }
}

/// A tree whose directory `d` cannot be listed.
struct Unlistable(DiskTree);

impl TreeSource for Unlistable {
    fn root(&mut self) -> std::io::Result<Entry> {
        self.0.root()
    }

    fn list(&mut self, dir: Option<&RelPath>) -> Listing {
        let mut listing = self.0.list(dir);
        if dir.is_some_and(|dir| dir.as_bytes() == b"d") {
            listing.entries.clear();
            let error = std::io::ErrorKind::PermissionDenied.into();
            listing.problems.push(Problem { name: (*b"d").into(), error });
        }
        listing
    }
}

#[test]
fn nothing_is_deleted_where_the_source_cannot_be_listed() {
    let daemon = Daemon::start("");
    let source = tempfile::tempdir().unwrap();
    fs::create_dir(source.path().join("d")).unwrap();
    fs::write(source.path().join("d/f"), "1").unwrap();
    push(&daemon, source.path(), &options(), deleting());
    let mut recorder = Recorder::new(source.path());
    let tree = DiskTree::new(Root::open(source.path()).unwrap(), &options());
    let mut tree = Unlistable(tree);
    let outcome =
        push_tree(&daemon.peer(), &options(), deleting(), &mut tree, &mut recorder).unwrap();
    assert_eq!(recorder.unlisted, ["d"]);
    assert_eq!(recorder.deleted, []);
    assert_eq!((outcome.io_error, outcome.exit_code()), (1, 23));
    assert!(daemon.module().join("d/f").exists());
}

struct NoFiles;

impl ReadFile for NoFiles {
    fn read(&mut self, _: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
        Ok(None)
    }
}

#[test]
fn hidden_names_stay_at_both_ends() {
    let daemon = Daemon::start("");
    let source = tempfile::tempdir().unwrap();
    for name in ["a", "b.tmp", "d/c", "d/x.tmp", "skip/inner"] {
        let path = source.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, name).unwrap();
    }
    fs::write(daemon.module().join("their.tmp"), "kept").unwrap();
    let given = [Given::Exclude(b"*.tmp".to_vec()), Given::Exclude(b"skip/".to_vec())];
    let parse = ParseOptions {
        delete_excluded: false,
        from0: false,
        protocol: 32,
        root: b"/".to_vec(),
        home_cvsignore: None,
        cvsignore: None,
    };
    let rules = Arc::new(Rules::parse(&given, &parse, &mut NoFiles).unwrap());
    let filter_texts = rules.wire_texts(32, false).unwrap();
    let mut tree = DiskTree::new(Root::open(source.path()).unwrap(), &options())
        .with_filter(rules, Box::new(NoFiles))
        .unwrap();
    let tree_push = TreePush { filter_texts, ..deleting() };
    let mut recorder = Recorder::new(source.path());
    push_tree(&daemon.peer(), &options(), tree_push, &mut tree, &mut recorder).unwrap();
    let mut sent: Vec<_> = recorder.sent.iter().map(|(name, _)| name.as_str()).collect();
    sent.sort_unstable();
    assert_eq!(sent, ["a", "d/c"]);
    assert!(daemon.module().join("their.tmp").exists());
    assert!(!daemon.module().join("skip").exists());
}

#[test]
fn a_checksum_audit_changes_nothing_and_names_what_differs() {
    let daemon = Daemon::start("");
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("same"), "equal").unwrap();
    fs::write(source.path().join("other"), "before").unwrap();
    push(&daemon, source.path(), &options(), deleting());
    // Equal size and time: only the content tells.
    let mtime = fs::metadata(source.path().join("other")).unwrap().modified().unwrap();
    let rotten = fs::File::create(daemon.module().join("other")).unwrap();
    std::io::Write::write_all(&mut &rotten, b"rotten").unwrap();
    rotten.set_modified(mtime).unwrap();
    let audit = TreePush { dry_run: true, checksum: true, ..deleting() };
    let mut recorder = Recorder::new(source.path());
    let mut tree = DiskTree::new(Root::open(source.path()).unwrap(), &options());
    push_tree(&daemon.peer(), &options(), audit, &mut tree, &mut recorder).unwrap();
    assert_eq!(recorder.items, ["other"]);
    assert_eq!(recorder.sent, []);
    assert_eq!(fs::read(daemon.module().join("other")).unwrap(), b"rotten");
}

#[test]
fn modes_are_changed_on_the_way() {
    let daemon = Daemon::start("");
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("f"), "1").unwrap();
    let chmod = Some(Chmod::parse("F640,D2750", 0o022).unwrap());
    push(&daemon, source.path(), &TransferOptions { chmod, ..options() }, deleting());
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!(mode(&daemon.module().join("f")), 0o640);
    assert_eq!(mode(&daemon.module()), 0o2750);
}

#[test]
fn a_renamed_directory_is_linked_from_its_old_place() {
    let daemon = Daemon::start("");
    let source = tempfile::tempdir().unwrap();
    fs::create_dir(source.path().join("old")).unwrap();
    fs::write(source.path().join("old/f"), "content").unwrap();
    push(&daemon, source.path(), &options(), deleting());
    fs::rename(source.path().join("old"), source.path().join("new [1]")).unwrap();

    let below = source.path().join("new [1]");
    let mut peer = daemon.peer();
    peer.url.path = b"new [1]".to_vec();
    let tree_push = TreePush { link_dest: vec![b"/old".to_vec()], ..TreePush::default() };
    let mut recorder = Recorder::new(&below);
    let mut tree = DiskTree::new(Root::open(&below).unwrap(), &options());
    let outcome = push_tree(&peer, &options(), tree_push, &mut tree, &mut recorder).unwrap();
    assert_eq!((outcome.transferred_count, recorder.texts), (0, vec![]));
    push(&daemon, source.path(), &options(), deleting());
    daemon.assert_same(source.path());
}

#[test]
fn a_full_pass_acknowledges_each_file() {
    let daemon = Daemon::start("");
    let source = tempfile::tempdir().unwrap();
    plant(source.path());
    let mut recorder = Recorder::new(source.path());
    let mut tree = DiskTree::new(Root::open(source.path()).unwrap(), &options());
    let tree_push = TreePush { acknowledgements: true, ..deleting() };
    let outcome =
        push_tree(&daemon.peer(), &options(), tree_push, &mut tree, &mut recorder).unwrap();
    daemon.assert_same(source.path());
    let directories = 6;
    assert_eq!(recorder.applied.len() as u64, outcome.listed_count - directories);
}
