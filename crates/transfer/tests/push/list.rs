//! Partial sessions: the recipes of small pushes.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use driftless_fs::Root;
use driftless_transfer::options::ChecksumKind;
use driftless_transfer::source::{Expected, SourceCache, WriterPolicy, entry_of};
use driftless_transfer::{
    Content, Driver, Level, ListPush, Listed, Outcome, PushFailure, Refusal, SentOutcome,
    TransferOptions, push_list,
};
use driftless_tree::flist::{DirFlags, Entry, HardLink};
use driftless_tree::{Meta, RelPath};

use crate::daemon::{Daemon, options};
use crate::tree::{name, plant};

/// What happens to a file while it is read.
type Act = Box<dyn FnOnce(&Path)>;

/// A source directory with the session's side of things.
struct Lane {
    source: tempfile::TempDir,
    root: Root,
    cache: SourceCache,
    /// Names that are refused.
    held_back: HashSet<String>,
    /// Runs once, when the content of this name is read.
    meddle: RefCell<Option<(String, Act)>>,
    metas: Vec<Option<Meta>>,
    applied: Vec<String>,
    sent: Vec<String>,
    deleted: Vec<String>,
    texts: Vec<(Level, String)>,
    cancelled: Cell<bool>,
}

impl Lane {
    fn new() -> Self {
        let source = tempfile::tempdir().unwrap();
        let root = Root::open(source.path()).unwrap();
        Self {
            source,
            root,
            cache: SourceCache::default(),
            held_back: HashSet::new(),
            meddle: RefCell::new(None),
            metas: Vec::new(),
            applied: Vec::new(),
            sent: Vec::new(),
            deleted: Vec::new(),
            texts: Vec::new(),
            cancelled: Cell::new(false),
        }
    }

    fn path(&self) -> &Path {
        self.source.path()
    }

    fn write(&self, name: &str, content: &str) {
        let path = self.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    /// The entry as the disk has it, or a missing argument.
    fn entry(&self, name: &str) -> (Entry, Option<Meta>) {
        if name == "." {
            let meta = self.root.meta().unwrap();
            let mut entry = entry_of(b".", &meta, Vec::new(), false);
            entry.dir = DirFlags { top: true, no_content: true };
            return (entry, Some(meta));
        }
        let path = RelPath::parse(name.as_bytes()).unwrap();
        let Ok(meta) = self.root.lstat(&path) else {
            return (Entry { name: name.as_bytes().into(), ..Entry::default() }, None);
        };
        let target = self.root.read_link(&path).unwrap_or_default();
        let mut entry = entry_of(name.as_bytes(), &meta, target, false);
        entry.dir = DirFlags { top: true, no_content: true };
        (entry, Some(meta))
    }

    /// Names with their parents and the root.
    fn list(&mut self, names: &[&str]) -> ListPush {
        let mut all = vec![".".to_owned()];
        for name in names.iter().filter(|name| **name != ".") {
            let path = RelPath::parse(name.as_bytes()).unwrap();
            let parents = path.ancestors().map(|dir| dir.to_string());
            let with_parents = parents.chain([(*name).to_owned()]);
            all.extend(with_parents);
        }
        let mut seen = HashSet::new();
        all.retain(|name| seen.insert(name.clone()));
        let (entries, metas) = all.iter().map(|name| self.entry(name)).unzip();
        self.metas = metas;
        ListPush {
            entries,
            force: true,
            acknowledgements: true,
            missing_args: true,
            ..ListPush::default()
        }
    }

    fn try_push(&mut self, daemon: &Daemon, push: ListPush) -> Result<Outcome, Box<PushFailure>> {
        self.applied.clear();
        self.sent.clear();
        self.deleted.clear();
        self.texts.clear();
        push_list(&daemon.peer(), &options(), push, self)
    }

    #[track_caller]
    fn push(&mut self, daemon: &Daemon, push: ListPush) -> Outcome {
        let outcome = self.try_push(daemon, push);
        let outcome = outcome.unwrap_or_else(|failure| {
            panic!("{failure} {:?} {:?}\n{}", failure.error, self.texts, daemon.log())
        });
        assert!(outcome.clean_end);
        outcome
    }

    #[track_caller]
    fn push_names(&mut self, daemon: &Daemon, names: &[&str]) -> Outcome {
        let list = self.list(names);
        let outcome = self.push(daemon, list);
        assert_eq!(self.texts, []);
        outcome
    }
}

struct Meddled {
    content: Box<dyn Content>,
    act: Option<Act>,
    path: std::path::PathBuf,
}

impl Content for Meddled {
    fn len(&self) -> u64 {
        self.content.len()
    }
    fn chunk(&mut self, offset: u64) -> std::io::Result<&[u8]> {
        if let Some(act) = self.act.take() {
            act(&self.path);
        }
        self.content.chunk(offset)
    }
    fn unchanged(&mut self) -> bool {
        self.content.unchanged()
    }
}

impl Driver for Lane {
    fn open(&mut self, item: &Listed<'_>) -> Result<Box<dyn Content>, Refusal> {
        let name = name(item);
        if self.held_back.contains(&name) {
            return Err(Refusal::HeldBack);
        }
        let meta = self.metas[item.index].expect("only files are asked for");
        let path = item.path().unwrap();
        let expected = Expected::Meta(&meta);
        let content = self.cache.open(&self.root, &path, expected, WriterPolicy::Refuse)?;
        let mut meddle = self.meddle.borrow_mut();
        if meddle.as_ref().is_some_and(|(wanted, _)| *wanted == name) {
            let (_, act) = meddle.take().unwrap();
            let path = self.path().join(&name);
            return Ok(Box::new(Meddled { content, act: Some(act), path }));
        }
        Ok(content)
    }
    fn applied(&mut self, item: &Listed<'_>) {
        self.applied.push(name(item));
    }
    fn sent(&mut self, item: &Listed<'_>, outcome: SentOutcome) {
        self.sent.push(format!("{} {outcome:?}", name(item)));
    }
    fn deleted(&mut self, name: &[u8], is_dir: bool) {
        let slash = if is_dir { "/" } else { "" };
        self.deleted.push(format!("{}{slash}", String::from_utf8_lossy(name)));
    }
    fn message(&mut self, level: Level, text: &[u8]) {
        self.texts.push((level, String::from_utf8_lossy(text).into_owned()));
    }
    fn cancelled(&self) -> bool {
        self.cancelled.get()
    }
}

fn sorted(names: &[String]) -> Vec<&str> {
    let mut names: Vec<_> = names.iter().map(String::as_str).collect();
    names.sort_unstable();
    names
}

#[test]
fn listed_paths_arrive_with_their_parents() {
    let daemon = Daemon::start("");
    let mut lane = Lane::new();
    lane.write("d/e/new", "content");
    lane.write("top", "x");
    lane.push_names(&daemon, &["d/e/new", "top"]);
    daemon.assert_same(lane.path());
    assert_eq!(sorted(&lane.applied), ["d/e/new", "top"]);

    lane.write("d/e/new", "other content");
    fs::set_permissions(lane.path().join("top"), fs::Permissions::from_mode(0o600)).unwrap();
    let outcome = lane.push_names(&daemon, &["d/e/new", "top"]);
    daemon.assert_same(lane.path());
    assert_eq!(outcome.transferred_count, 1);
}

#[test]
fn an_empty_list_is_a_probe() {
    let daemon = Daemon::start("");
    let mut lane = Lane::new();
    let outcome = lane.push(&daemon, ListPush::default());
    assert_eq!(outcome.listed_count, 0);
}

#[test]
fn every_kind_of_file_arrives_in_one_list() {
    let daemon = Daemon::start("");
    let mut lane = Lane::new();
    plant(lane.path());
    let names: Vec<String> = find(lane.path());
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let mut list = lane.list(&names);
    let inode = |at: usize, metas: &[Option<Meta>]| metas[at].map(|meta| (meta.dev, meta.ino));
    for at in 0..list.entries.len() {
        let key = inode(at, &lane.metas);
        if lane.metas[at].is_none_or(|meta| {
            meta.link_count < 2
                || list.entries[at].mode & 0o040_000 != 0 && meta.kind == driftless_tree::Kind::Dir
        }) {
            continue;
        }
        let first = (0..at).find(|&before| inode(before, &lane.metas) == key);
        list.entries[at].hard_link = Some(match first {
            Some(first) => HardLink::Follows { ndx: first as u32 },
            None => HardLink::First,
        });
    }
    lane.push(&daemon, list);
    daemon.assert_same(lane.path());
}

fn find(root: &Path) -> Vec<String> {
    let output = std::process::Command::new("find")
        .arg(root)
        .args(["-mindepth", "1", "-printf", "%P\\0"])
        .output();
    let text = String::from_utf8(output.unwrap().stdout).unwrap();
    text.split('\0').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

#[test]
fn a_missing_name_is_deleted_with_all_below_it() {
    let daemon = Daemon::start("");
    let mut lane = Lane::new();
    lane.write("d/sub/f", "1");
    lane.write("d/g", "2");
    lane.push_names(&daemon, &["d/sub", "d/sub/f", "d/g"]);
    fs::remove_dir_all(lane.path().join("d/sub")).unwrap();
    lane.push_names(&daemon, &["d/sub"]);
    assert_eq!(lane.deleted, ["d/sub/f", "d/sub/"]);
    daemon.assert_same(lane.path());
}

#[test]
fn types_change_in_one_session() {
    let daemon = Daemon::start("");
    let mut lane = Lane::new();
    lane.write("k/inner", "1");
    lane.write("file", "2");
    lane.push_names(&daemon, &["k/inner", "file"]);
    fs::remove_dir_all(lane.path().join("k")).unwrap();
    lane.write("k", "now a file");
    fs::remove_file(lane.path().join("file")).unwrap();
    std::os::unix::fs::symlink("k", lane.path().join("file")).unwrap();
    lane.push_names(&daemon, &["k", "file"]);
    daemon.assert_same(lane.path());
}

#[test]
fn what_is_held_back_leaves_the_old_version() {
    let daemon = Daemon::start("");
    let mut lane = Lane::new();
    lane.write("a", "old");
    lane.write("b", "old");
    lane.push_names(&daemon, &["a", "b"]);
    lane.write("a", "newer");
    lane.write("b", "newer");
    lane.held_back.insert("a".to_owned());
    let outcome = lane.push_names(&daemon, &["a", "b"]);
    assert_eq!(lane.applied, ["b"]);
    assert_eq!(lane.sent, ["a Refused(HeldBack)", "b Sent"]);
    assert_eq!(outcome.refused_count, 1);
    assert_eq!(outcome.exit_code(), 0);
    assert_eq!(fs::read(daemon.module().join("a")).unwrap(), b"old");
    assert_eq!(fs::read(daemon.module().join("b")).unwrap(), b"newer");
}

#[test]
fn a_file_that_changes_while_it_is_read_is_never_seen_torn() {
    let daemon = Daemon::start("");
    let mut lane = Lane::new();
    lane.write("a", &"old ".repeat(200_000));
    lane.write("b", "b");
    lane.push_names(&daemon, &["a", "b"]);
    let before = fs::metadata(daemon.module().join("a")).unwrap().ino();
    lane.write("a", &"new ".repeat(200_001));
    lane.write("b", "bb");
    let act = |path: &Path| {
        let mut file = fs::OpenOptions::new().append(true).open(path).unwrap();
        file.write_all(b"and more").unwrap();
    };
    *lane.meddle.borrow_mut() = Some(("a".to_owned(), Box::new(act)));
    lane.push_names(&daemon, &["a", "b"]);
    assert_eq!(lane.sent, ["a Spoiled", "b Sent", "a Refused(Spoiled)"]);
    assert_eq!(lane.applied, ["b"]);
    assert_eq!(fs::metadata(daemon.module().join("a")).unwrap().ino(), before);

    lane.push_names(&daemon, &["a"]);
    daemon.assert_same(lane.path());
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_spoiled() {
    let daemon = Daemon::start("");
    let mut lane = Lane::new();
    lane.write("a", &"0123456789".repeat(100_000));
    let act =
        |path: &Path| fs::File::options().write(true).open(path).unwrap().set_len(10).unwrap();
    *lane.meddle.borrow_mut() = Some(("a".to_owned(), Box::new(act)));
    lane.push_names(&daemon, &["a"]);
    assert_eq!(lane.sent, ["a Spoiled", "a Refused(Spoiled)"]);
    assert!(!daemon.module().join("a").exists());
}

#[test]
fn a_file_open_for_writing_is_refused() {
    let daemon = Daemon::start("");
    let mut lane = Lane::new();
    lane.write("a", "half");
    let writer = fs::OpenOptions::new().append(true).open(lane.path().join("a")).unwrap();
    lane.push_names(&daemon, &["a"]);
    assert_eq!(lane.sent, ["a Refused(BeingWritten)"]);
    drop(writer);
    lane.push_names(&daemon, &["a"]);
    daemon.assert_same(lane.path());
}

#[test]
fn a_file_that_vanished_or_changed_after_listing_is_refused() {
    let daemon = Daemon::start("");
    let mut lane = Lane::new();
    lane.write("gone", "1");
    lane.write("changed", "1");
    let list = lane.list(&["gone", "changed"]);
    fs::remove_file(lane.path().join("gone")).unwrap();
    lane.write("changed", "22");
    let outcome = lane.push(&daemon, list);
    assert_eq!(lane.sent, ["changed Refused(Changed)", "gone Refused(Vanished)"]);
    assert_eq!(outcome.exit_code(), 24);
}

#[test]
fn attributes_and_content_go_in_one_session_by_a_wrong_size() {
    let daemon = Daemon::start("");
    let mut lane = Lane::new();
    lane.write("data", "aaaa");
    lane.write("attr", "bbbb");
    lane.push_names(&daemon, &["data", "attr"]);
    // Equal size: only the wrong size in the list makes the target look at the content.
    lane.write("data", "cccc");
    fs::set_permissions(lane.path().join("attr"), fs::Permissions::from_mode(0o640)).unwrap();
    let kept = fs::metadata(daemon.module().join("attr")).unwrap().ino();
    let mut list = lane.list(&["data", "attr"]);
    list.size_only = true;
    for entry in &mut list.entries {
        if &*entry.name == b"data" {
            entry.size += 1;
        }
    }
    lane.push(&daemon, list);
    assert_eq!(lane.sent, ["data Sent"]);
    assert_eq!(fs::metadata(daemon.module().join("attr")).unwrap().ino(), kept);
    daemon.assert_same(lane.path());
}

#[test]
fn a_renamed_file_costs_no_content() {
    for (old, new) in [("d/old", "e/zz"), ("d/old", "a")] {
        let daemon = Daemon::start("");
        let mut lane = Lane::new();
        lane.write(old, &"content".repeat(1000));
        lane.push_names(&daemon, &[old]);
        fs::create_dir_all(lane.path().join("e")).unwrap();
        fs::rename(lane.path().join(old), lane.path().join(new)).unwrap();

        let mut list = lane.list(&["d", "e", new]);
        let at = list.entries.iter().position(|entry| &*entry.name == new.as_bytes()).unwrap();
        list.entries[at].hard_link = Some(HardLink::First);
        let link = Some(HardLink::Follows { ndx: at as u32 });
        let name = old.as_bytes().into();
        list.entries.push(Entry { name, hard_link: link, ..list.entries[at].clone() });
        lane.metas.push(lane.metas[at]);
        let outcome = lane.push(&daemon, list);
        assert_eq!(outcome.transferred_count, 0);
        assert_eq!(sorted(&lane.applied), {
            let mut both = [old, new];
            both.sort_unstable();
            both
        });
        lane.push_names(&daemon, &[old]);
        assert_eq!(lane.deleted, [old]);
        daemon.assert_same(lane.path());
    }
}

#[test]
fn rules_protect_what_is_below_a_vanished_directory() {
    let daemon = Daemon::start("");
    let mut lane = Lane::new();
    lane.write("k/f", "1");
    lane.write("other", "1");
    lane.push_names(&daemon, &["k/f", "other"]);
    fs::write(daemon.module().join("k/s.key"), "secret").unwrap();
    fs::write(daemon.module().join("unlisted"), "stays").unwrap();
    fs::remove_dir_all(lane.path().join("k")).unwrap();
    let mut list = lane.list(&["k"]);
    list.filter_texts = Some(vec![b"- *.key".to_vec()]);
    let outcome = lane.push(&daemon, list);
    assert!(lane.texts.iter().all(|(level, _)| *level == Level::Info), "{:?}", lane.texts);
    assert_eq!(outcome.exit_code(), 0);
    assert_eq!(lane.deleted, ["k/f"]);
    assert!(daemon.module().join("k/s.key").exists());
    assert!(daemon.module().join("unlisted").exists(), "a list without content deletes nothing");
}

#[test]
fn without_checksums_a_changed_file_is_still_not_published() {
    let daemon = Daemon::start("");
    let mut lane = Lane::new();
    lane.write("a", &"new ".repeat(200_001));
    let act = |path: &Path| fs::write(path, "other").unwrap();
    *lane.meddle.borrow_mut() = Some(("a".to_owned(), Box::new(act)));
    let options = TransferOptions {
        checksum_choice: Some(ChecksumKind::None),
        whole_file: Some(true),
        ..options()
    };
    let list = lane.list(&["a"]);
    let outcome = push_list(&daemon.peer(), &options, list, &mut lane).unwrap();
    assert_eq!(lane.sent, ["a Spoiled", "a Refused(Spoiled)"]);
    assert!(!daemon.module().join("a").exists(), "{outcome:?}");
}

#[test]
fn the_callers_index_survives_sorting() {
    let daemon = Daemon::start("");
    let mut lane = Lane::new();
    let names = ["z", "b/x", "a", "b.c", "b/a"];
    for name in names {
        lane.write(name, name);
    }
    lane.push_names(&daemon, &names);
    daemon.assert_same(lane.path());
}
