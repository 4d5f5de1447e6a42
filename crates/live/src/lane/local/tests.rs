//! Passes and batches by hand, between two temporary directories.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use driftless_filter::Given;
use driftless_fs::Root;
use driftless_testkit::compare::{CompareOptions, differences, temporaries};
use driftless_testkit::plant::{noise, set_mtime};
use driftless_testkit::stock::make_fifo;
use driftless_transfer::source::SourceCache;
use driftless_tree::RelPath;
use rustix::process::{Gid, Uid};

use super::*;
use crate::batch::{Act, Item};
use crate::lane::report::{Failure, LaneError};
use crate::links::Links;
use crate::rules::SourceRules;

struct Bench {
    temp: tempfile::TempDir,
    view: View,
    lane: Lane,
    target: LocalTarget,
}

impl Bench {
    fn new() -> Self {
        Self::with(&[], TransferOptions { hard_links: true, ..TransferOptions::default() })
    }

    fn with(rules: &[Given], options: TransferOptions) -> Self {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("source")).unwrap();
        let root = Root::open(&temp.path().join("source")).unwrap();
        let view = View {
            rules: SourceRules::parse(rules, &root).unwrap(),
            root,
            links: Arc::new(Links::default()),
            cache: Arc::new(SourceCache::default()),
        };
        let lane = Lane::new("target".into(), Instant::now());
        let target = LocalTarget::new(temp.path().join("target"), options, true);
        Self { temp, view, lane, target }
    }

    fn source(&self, name: &str) -> PathBuf {
        self.temp.path().join("source").join(name)
    }

    fn at(&self, name: &str) -> PathBuf {
        self.temp.path().join("target").join(name)
    }

    fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let path = self.source(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }

    fn pass(&mut self) -> PassReport {
        self.target.pass(&self.view, None, MaxDelete::Unlimited, &self.lane)
    }

    #[track_caller]
    fn passes(&mut self) -> PassReport {
        let report = self.pass();
        assert_eq!(report.end, Ok(()));
        assert_eq!((&report.failed[..], &report.unmatched[..]), (&[][..], &[][..]));
        report
    }

    #[track_caller]
    fn identical(&self) {
        let options = CompareOptions { hard_links: true, ..CompareOptions::default() };
        let found = differences(&self.source(""), &self.at(""), &options).unwrap();
        assert!(found.is_empty(), "{found:#?}");
        assert!(temporaries(&self.at("")).unwrap().is_empty());
    }

    fn apply(&mut self, items: Vec<Item>) -> BatchReport {
        let batch = Batch { items, ..Batch::default() };
        self.target.apply(&batch, &self.view, &self.lane)
    }

    #[track_caller]
    fn applies(&mut self, items: Vec<Item>) -> BatchReport {
        let report = self.apply(items);
        assert_eq!(report.end, Ok(()));
        assert!(report.items.iter().all(|end| *end == ItemEnd::Applied), "{:?}", report.items);
        report
    }

    /// The item for a name as the source has it now.
    fn item(&self, name: &str, act: Act) -> Item {
        let path = path(name);
        let meta = self.view.root.lstat(&path).ok();
        let link_target = self.view.root.read_link(&path).unwrap_or_default().into();
        let (group, covers, settled) = (None, Vec::new(), false);
        Item { path: Some(path), act, meta, link_target, group, covers, settled }
    }

    fn root_item(&self) -> Item {
        let meta = Some(self.view.root.meta().unwrap());
        Item { path: None, meta, ..self.item("none", Act::Directory) }
    }

    fn object(&self, name: &str, content: bool) -> Item {
        self.item(name, Act::Object { content })
    }
}

fn path(name: &str) -> RelPath {
    RelPath::parse(name.as_bytes()).unwrap()
}

#[track_caller]
fn failure(end: &ItemEnd) -> &Failure {
    match end {
        ItemEnd::Failed(failure) => failure,
        other => panic!("{other:?}"),
    }
}

/// A tree with something of every kind.
fn plant(bench: &Bench) {
    bench.write("a.txt", "one");
    bench.write("d/deep/big", noise(1, 3_000_000));
    bench.write("d/\u{e9}\n", "odd");
    bench.write("d/empty", "");
    fs::create_dir(bench.source("bare")).unwrap();
    symlink("nowhere/at all", bench.source("d/link")).unwrap();
    make_fifo(&bench.source("fifo"));
    fs::hard_link(bench.source("a.txt"), bench.source("d/deep/a2")).unwrap();
    fs::hard_link(bench.source("d/link"), bench.source("link2")).unwrap();
    for (name, mode) in [("a.txt", 0o4751), ("bare", 0o2500), ("d/deep", 0o1777), ("fifo", 0o604)] {
        fs::set_permissions(bench.source(name), PermissionsExt::from_mode(mode)).unwrap();
    }
    std::os::unix::fs::lchown(bench.source("d/empty"), Some(12), Some(34)).unwrap();
    set_mtime(&bench.source("d/link"), 1_000_000_000, 7);
    set_mtime(&bench.source("d/deep"), -5, 123_456_789);
    set_mtime(&bench.source(""), 1_111_111_111, 1);
}

#[test]
fn a_pass_makes_the_trees_identical_and_the_next_copies_nothing() {
    let mut bench = Bench::new();
    plant(&bench);
    let report = bench.passes();
    bench.identical();
    assert_eq!((report.traffic.sent, report.traffic.files), (3_000_006, 4));
    assert_eq!(report.presence.count(), 11);
    assert_eq!(bench.passes().traffic.files, 0);
    bench.identical();
}

#[test]
fn a_pass_mends_whatever_is_different() {
    let mut bench = Bench::new();
    plant(&bench);
    bench.passes();
    fs::create_dir_all(bench.at("x/y/z")).unwrap();
    fs::write(bench.at("x/y/f"), "more").unwrap();
    fs::remove_file(bench.at("a.txt")).unwrap();
    fs::create_dir_all(bench.at("a.txt/in/the/way")).unwrap();
    fs::remove_dir(bench.at("bare")).unwrap();
    fs::write(bench.at("bare"), "a file in the way").unwrap();
    fs::remove_file(bench.at("d/link")).unwrap();
    symlink("elsewhere", bench.at("d/link")).unwrap();
    fs::set_permissions(bench.at("d/empty"), PermissionsExt::from_mode(0o777)).unwrap();
    fs::remove_file(bench.at("fifo")).unwrap();
    symlink("/", bench.at("fifo")).unwrap();
    bench.passes();
    bench.identical();
}

#[test]
fn names_that_are_one_file_no_more_are_separated() {
    let mut bench = Bench::new();
    bench.write("a", "same");
    for name in ["b", "c", "d", "e"] {
        fs::hard_link(bench.source("a"), bench.source(name)).unwrap();
    }
    bench.passes();
    bench.identical();
    for name in ["c", "e"] {
        fs::remove_file(bench.source(name)).unwrap();
        bench.write(name, "same");
    }
    fs::remove_file(bench.source("d")).unwrap();
    fs::hard_link(bench.source("c"), bench.source("d")).unwrap();
    // Equal for the quick check, so that only the links tell.
    for name in ["a", "c", "e"] {
        set_mtime(&bench.source(name), 5, 5);
    }
    set_mtime(&bench.at("a"), 5, 5);
    bench.passes();
    bench.identical();
}

#[test]
fn excluded_names_stay_and_pin_their_directories() {
    let rules = [Given::Exclude(b"*.keep".to_vec())];
    let mut bench = Bench::with(&rules, TransferOptions::default());
    bench.write("f", "1");
    bench.write("not.keep", "1");
    bench.passes();
    assert!(!bench.at("not.keep").exists());
    fs::create_dir_all(bench.at("gone/sub/empty")).unwrap();
    fs::write(bench.at("gone/sub/x.keep"), "").unwrap();
    fs::write(bench.at("gone/sub/y"), "").unwrap();
    bench.passes();
    assert!(bench.at("gone/sub/x.keep").exists());
    assert!(!bench.at("gone/sub/y").exists() && !bench.at("gone/sub/empty").exists());
    bench.applies(vec![bench.root_item(), bench.item("gone", Act::Missing)]);
    assert!(bench.at("gone/sub/x.keep").exists());
    bench.write("gone", "a file now");
    let report = bench.apply(vec![bench.root_item(), bench.object("gone", true)]);
    assert!(!failure(&report.items[1]).transient);
    fs::remove_file(bench.at("gone/sub/x.keep")).unwrap();
    bench.applies(vec![bench.root_item(), bench.object("gone", true)]);
    assert_eq!(fs::read(bench.at("gone")).unwrap(), b"a file now");
}

#[test]
fn a_rule_file_that_arrives_decides_at_once_what_may_go() {
    let rules = [Given::Filter(b": .rules".to_vec())];
    let mut bench = Bench::with(&rules, TransferOptions::default());
    bench.write("d/.rules", "- kept\n");
    fs::create_dir_all(bench.at("d")).unwrap();
    fs::write(bench.at("d/kept"), "").unwrap();
    fs::write(bench.at("d/lost"), "").unwrap();
    bench.passes();
    assert!(bench.at("d/kept").exists() && !bench.at("d/lost").exists());
}

#[test]
fn the_guard_counts_before_anything_changes() {
    let mut bench = Bench::new();
    bench.write("stays", "");
    bench.write("swap", "a file");
    fs::create_dir_all(bench.at("swap")).unwrap();
    for at in 0..3 {
        fs::write(bench.at(&format!("swap/{at}")), "").unwrap();
    }
    fs::create_dir_all(bench.at("gone/deep")).unwrap();
    let report = bench.target.pass(&bench.view, None, MaxDelete::Count(4), &bench.lane);
    assert_eq!(report.end, Err(LaneError::WouldDelete { count: 5, limit: 4 }));
    assert!(bench.at("gone/deep").exists() && !bench.at("stays").exists());
    let report = bench.target.pass(&bench.view, None, MaxDelete::Count(5), &bench.lane);
    assert_eq!(report.end, Ok(()));
    bench.identical();
}

#[test]
fn content_is_compared_where_size_and_time_do_not_tell() {
    let mut bench = Bench::new();
    bench.write("f", "old");
    bench.write("untouched", "same");
    set_mtime(&bench.source("f"), 5, 5);
    bench.passes();
    bench.write("f", "new");
    set_mtime(&bench.source("f"), 5, 5);
    bench.passes();
    assert_eq!(fs::read(bench.at("f")).unwrap(), b"old");
    let since = Some(Timestamp::default());
    let report = bench.target.pass(&bench.view, since, MaxDelete::Unlimited, &bench.lane);
    assert_eq!(fs::read(bench.at("f")).unwrap(), b"new");
    assert_eq!(report.traffic.files, 1);
    bench.identical();
}

#[test]
fn a_renamed_file_is_not_copied() {
    let mut bench = Bench::new();
    bench.write("old/f", noise(2, 100_000));
    bench.passes();
    let inode = fs::metadata(bench.at("old/f")).unwrap().ino();
    fs::rename(bench.source("old"), bench.source("new")).unwrap();
    let mut new = bench.object("new/f", false);
    new.group = Some(1);
    let mut former = bench.item("old/f", Act::FormerName);
    (former.meta, former.group) = (new.meta, Some(1));
    let mut old_dir = bench.item("old", Act::Directory);
    let new_dir = bench.item("new", Act::Directory);
    old_dir.meta = new_dir.meta;
    let items = vec![bench.root_item(), new_dir, new, old_dir, former];
    let report = bench.applies(items);
    assert_eq!((report.traffic.sent, report.traffic.files), (0, 0));
    assert_eq!(fs::metadata(bench.at("new/f")).unwrap().ino(), inode);
    bench.applies(vec![bench.root_item(), bench.item("old", Act::Missing)]);
    bench.identical();
}

#[test]
fn a_former_name_that_is_something_else_by_now_is_not_believed() {
    let mut bench = Bench::new();
    bench.write("old", "content");
    bench.passes();
    fs::write(bench.at("old"), "another one's").unwrap();
    fs::rename(bench.source("old"), bench.source("new")).unwrap();
    let mut new = bench.object("new", false);
    new.group = Some(1);
    let mut former = bench.item("old", Act::FormerName);
    (former.meta, former.group) = (new.meta, Some(1));
    bench.applies(vec![bench.root_item(), new, former]);
    assert_eq!(fs::read(bench.at("new")).unwrap(), b"content");
}

#[test]
fn a_new_link_to_an_old_file_copies_nothing() {
    let mut bench = Bench::new();
    bench.write("z", "content");
    bench.passes();
    for name in ["a", "b"] {
        fs::hard_link(bench.source("z"), bench.source(name)).unwrap();
    }
    let mut items = vec![bench.root_item()];
    for name in ["a", "b", "z"] {
        let mut item = bench.object(name, false);
        item.group = Some(1);
        items.push(item);
    }
    assert_eq!(bench.applies(items.clone()).traffic.files, 0);
    bench.identical();
    bench.write("b", "changed");
    for item in &mut items[1..] {
        item.act = Act::Object { content: true };
        item.meta = Some(bench.view.root.lstat(&path("b")).unwrap());
    }
    assert_eq!(bench.applies(items).traffic.files, 1);
    bench.identical();
}

#[test]
fn marked_content_is_copied_though_size_and_time_are_equal() {
    let mut bench = Bench::new();
    bench.write("f", "old");
    set_mtime(&bench.source("f"), 5, 5);
    bench.passes();
    bench.write("f", "new");
    set_mtime(&bench.source("f"), 5, 5);
    bench.applies(vec![bench.root_item(), bench.object("f", false)]);
    assert_eq!(fs::read(bench.at("f")).unwrap(), b"old");
    bench.applies(vec![bench.root_item(), bench.object("f", true)]);
    assert_eq!(fs::read(bench.at("f")).unwrap(), b"new");
}

#[test]
fn a_file_that_is_being_written_waits_unless_it_did_so_long_enough() {
    let mut bench = Bench::new();
    bench.write("f", "half");
    let writer = fs::OpenOptions::new().append(true).open(bench.source("f")).unwrap();
    let report = bench.pass();
    assert!(report.failed.len() == 1 && report.failed[0].1.transient, "{:?}", report.failed);
    let mut item = bench.object("f", true);
    let report = bench.apply(vec![bench.root_item(), item.clone()]);
    assert!(failure(&report.items[1]).transient);
    assert!(!bench.at("f").exists() && temporaries(&bench.at("")).unwrap().is_empty());
    item.settled = true;
    bench.applies(vec![bench.root_item(), item]);
    bench.identical();
    drop(writer);
}

#[test]
fn a_vanished_file_is_tried_again_and_a_vanished_target_name_is_no_trouble() {
    let mut bench = Bench::new();
    bench.write("f", "x");
    bench.passes();
    let item = bench.object("f", true);
    fs::remove_file(bench.source("f")).unwrap();
    let report = bench.apply(vec![bench.root_item(), item]);
    assert!(failure(&report.items[1]).transient);
    let gone = ["f", "never/was", "f/below"].map(|name| bench.item(name, Act::Missing));
    let items = [vec![bench.root_item()], gone.to_vec()].concat();
    bench.applies(items);
    bench.identical();
}

#[test]
fn told_to_stop_it_leaves_the_target_alone() {
    let mut bench = Bench::new();
    bench.write("f", "x");
    bench.lane.change(|inner| inner.stop = true);
    assert_eq!(bench.pass().end, Err(LaneError::Cancelled));
    let report = bench.apply(vec![bench.root_item(), bench.object("f", true)]);
    assert_eq!(report.end, Err(LaneError::Cancelled));
    assert_eq!(report.items[1], ItemEnd::Unproved);
    assert!(!bench.at("f").exists());
}

#[test]
fn without_deletion_nothing_goes_and_full_directories_are_not_replaced() {
    let mut bench = Bench::new();
    bench.target.delete = false;
    bench.write("f", "x");
    bench.write("g", "x");
    fs::create_dir_all(bench.at("f/full")).unwrap();
    fs::create_dir_all(bench.at("g")).unwrap();
    fs::write(bench.at("extra"), "").unwrap();
    let report = bench.pass();
    assert_eq!(report.failed.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>(), [path("f")]);
    assert!(bench.at("extra").exists() && bench.at("f/full").exists() && bench.at("g").is_file());
}

#[test]
fn trees_that_hold_each_other_are_refused() {
    for (target, relation) in [
        ("source", "is the source"),
        ("source/d", "lies inside"),
        ("source/d/new", "lies inside"),
        (".", "holds"),
    ] {
        let mut bench = Bench::new();
        bench.write("d/f", "x");
        bench.target = LocalTarget::new(bench.temp.path().join(target), Default::default(), true);
        let Err(LaneError::Failed(why)) = bench.pass().end else { panic!("{target}: accepted") };
        assert!(why.contains(relation), "{why}");
        assert!(bench.source("d/f").exists() && !bench.source("d/new").exists());
    }
}

#[test]
fn only_the_last_directory_of_the_targets_path_is_made() {
    let mut bench = Bench::new();
    bench.write("f", "x");
    bench.target = LocalTarget::new(bench.temp.path().join("no/such"), Default::default(), true);
    let Err(LaneError::Failed(why)) = bench.pass().end else { panic!("it was made") };
    assert!(why.contains("make that directory first"), "{why}");
    fs::create_dir(bench.temp.path().join("no")).unwrap();
    bench.passes();
    assert!(bench.temp.path().join("no/such/f").exists());
}

#[test]
fn a_target_that_was_moved_away_gets_nothing_until_a_pass_fills_it_anew() {
    let mut bench = Bench::new();
    bench.write("f", "x");
    bench.passes();
    fs::rename(bench.at(""), bench.temp.path().join("moved")).unwrap();
    bench.write("f", "xy");
    let items = vec![bench.root_item(), bench.object("f", true)];
    let report = bench.apply(items.clone());
    assert!(matches!(report.end, Err(LaneError::Failed(_))), "{:?}", report.end);
    assert!(!bench.at("").exists());
    fs::create_dir(bench.at("")).unwrap();
    assert!(bench.apply(items.clone()).end.is_err());
    bench.passes();
    bench.applies(items);
    bench.identical();
    assert_eq!(fs::read(bench.temp.path().join("moved/f")).unwrap(), b"x");
}

#[test]
fn what_fails_for_one_name_of_a_file_fails_for_those_that_were_linked_to_it() {
    let mut options = TransferOptions { hard_links: true, ..TransferOptions::default() };
    options.metadata.xattrs = 1;
    let mut bench = Bench::with(&[], options);
    bench.write("b", "x");
    bench.passes();
    fs::hard_link(bench.source("b"), bench.source("a")).unwrap();
    fs::set_permissions(bench.source("a"), fs::Permissions::from_mode(0o640)).unwrap();
    let act = Act::Object { content: false };
    let [a, b] = ["a", "b"].map(|name| Item { group: Some(1), ..bench.item(name, act) });
    fs::remove_file(bench.source("b")).unwrap();
    let report = bench.apply(vec![bench.root_item(), a, b]);
    assert_eq!(report.end, Ok(()));
    assert_eq!(report.items[0], ItemEnd::Applied);
    for end in &report.items[1..] {
        assert!(matches!(end, ItemEnd::Failed(Failure { transient: true, .. })), "{end:?}");
    }
}

/// Runs on a thread that is somebody without privileges.
fn as_user(act: impl FnOnce() + Send) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| {
            let (uid, gid) = (Uid::from_raw(USER), Gid::from_raw(USER));
            rustix::thread::set_thread_groups(&[]).unwrap();
            rustix::thread::set_thread_res_gid(gid, gid, gid).unwrap();
            rustix::thread::set_thread_res_uid(uid, uid, uid).unwrap();
            act();
        });
        thread.join().unwrap();
    });
}

const USER: u32 = 4321;

#[test]
fn a_user_gives_attributes_to_files_that_he_may_not_write_to() {
    let mut options = TransferOptions::default();
    (options.metadata.acls, options.metadata.xattrs) = (true, 1);
    let mut bench = Bench::with(&[], options);
    bench.write("d/file", "x");
    let set = |bench: &Bench, value: &str| {
        for name in ["d/file", "d"] {
            let done = std::process::Command::new("setfattr")
                .args(["-n", "user.tag", "-v", value])
                .arg(bench.source(name))
                .status();
            assert!(done.expect("setfattr is installed").success());
        }
    };
    set(&bench, "one");
    fs::set_permissions(bench.source("d/file"), fs::Permissions::from_mode(0o444)).unwrap();
    fs::set_permissions(bench.source("d"), fs::Permissions::from_mode(0o555)).unwrap();
    for place in [bench.temp.path().to_owned(), bench.source(""), bench.source("d")] {
        std::os::unix::fs::chown(place, Some(USER), Some(USER)).unwrap();
    }
    std::os::unix::fs::chown(bench.source("d/file"), Some(USER), Some(USER)).unwrap();
    as_user(|| drop(bench.passes()));
    set(&bench, "another");
    as_user(|| drop(bench.passes()));
    let options = CompareOptions { xattrs: true, ..CompareOptions::default() };
    let found = differences(&bench.source(""), &bench.at(""), &options).unwrap();
    assert!(found.is_empty(), "{found:#?}");
}
