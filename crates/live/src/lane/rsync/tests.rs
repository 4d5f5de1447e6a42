//! Passes by hand, to a real daemon.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use driftless_fs::Root;
use driftless_testkit::compare::{CompareOptions, differences};
use driftless_testkit::peer::{Module, RsyncDaemon};
use driftless_transfer::source::SourceCache;
use driftless_tree::RelPath;

use super::*;
use crate::batch::Item;
use crate::engine::dirty::{Cause, DirtySet, Need, Writing};
use crate::engine::presence::Presence;
use crate::lane::report::ItemEnd;
use crate::links::Links;
use crate::planner::{Planner, Wishes};
use crate::rules::SourceRules;

struct Bench {
    source: tempfile::TempDir,
    daemon: RsyncDaemon,
    view: View,
    lane: Lane,
    target: RsyncTarget,
}

impl Bench {
    fn new() -> Self {
        let source = tempfile::tempdir().unwrap();
        let daemon = RsyncDaemon::start(&[Module::book("m").anonymous()]);
        let root = Root::open(source.path()).unwrap();
        let view = View {
            rules: SourceRules::parse(&[], &root).unwrap(),
            root,
            links: Arc::new(Links::default()),
            cache: Arc::new(SourceCache::default()),
        };
        let lane = Lane::new("target".into(), Instant::now());
        let url = DaemonUrl::parse(&daemon.url("m")).unwrap();
        let options = TransferOptions::default();
        let target = RsyncTarget::new(url, PasswordSource::None, options, true, Duration::ZERO);
        Self { source, daemon, view, lane, target }
    }

    fn write(&self, name: &str) {
        plant(self.source.path().join(name));
    }

    fn write_at_target(&self, name: &str) {
        plant(self.at(name));
    }

    fn at(&self, name: &str) -> PathBuf {
        self.daemon.module_path("m").join(name)
    }

    /// How a pass ended, and how many sessions it took.
    fn pass(&mut self, limit: MaxDelete) -> (Result<(), LaneError>, usize) {
        let sessions = |bench: &Self| bench.daemon.log().matches("rsync to m").count();
        let before = sessions(self);
        let report = self.target.pass(&self.view, None, limit, &self.lane);
        (report.end, sessions(self) - before)
    }

    #[track_caller]
    fn identical(&self) {
        let found = differences(self.source.path(), &self.at(""), &CompareOptions::default());
        assert_eq!(found.unwrap(), Vec::<String>::new());
    }
}

fn plant(path: PathBuf) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, "x").unwrap();
}

#[test]
fn an_empty_target_is_rehearsed_by_its_root_alone() {
    let mut bench = Bench::new();
    bench.write("d/e/f");
    bench.write("g");
    assert_eq!(bench.pass(MaxDelete::Count(0)), (Ok(()), 2));
    bench.identical();
    bench.write("h");
    assert_eq!(bench.pass(MaxDelete::Count(0)), (Ok(()), 3), "the target has names now");
}

#[test]
fn a_target_that_the_rehearsal_finds_equal_gets_no_pass() {
    let mut bench = Bench::new();
    bench.write("d/e/f");
    assert_eq!(bench.pass(MaxDelete::Count(0)), (Ok(()), 2));
    assert_eq!(bench.pass(MaxDelete::Count(0)), (Ok(()), 2), "a glance and the rehearsal");
    fs::set_permissions(bench.at("d/e/f"), fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(bench.pass(MaxDelete::Count(0)), (Ok(()), 3), "attributes count");
    bench.identical();
}

#[test]
fn deletions_at_any_depth_are_guarded() {
    for doomed in ["gone", "gone/deep", "shared/gone", "shared/inner/gone"] {
        let mut bench = Bench::new();
        bench.write("shared/inner/stays");
        bench.write("stays");
        bench.write_at_target(doomed);
        let (end, _) = bench.pass(MaxDelete::Count(0));
        assert!(matches!(end, Err(LaneError::WouldDelete { limit: 0, .. })), "{doomed}: {end:?}");
        assert!(bench.at(doomed).exists() && !bench.at("stays").exists(), "{doomed}");
        assert_eq!(bench.pass(MaxDelete::Count(2)), (Ok(()), 3), "{doomed}");
        bench.identical();
    }
}

#[test]
fn a_directory_in_the_place_of_a_file_is_guarded() {
    let mut bench = Bench::new();
    bench.write("swap");
    for at in 0..3 {
        bench.write_at_target(&format!("swap/{at}"));
    }
    let (end, _) = bench.pass(MaxDelete::Count(2));
    assert!(matches!(end, Err(LaneError::WouldDelete { .. })), "{end:?}");
    assert!(bench.at("swap/0").exists());
}

#[test]
fn a_link_to_what_the_target_had_is_not_taken_for_the_new_content() {
    let mut bench = Bench::new();
    bench.target.options.hard_links = true;
    bench.write("a");
    assert_eq!(bench.pass(MaxDelete::Unlimited).0, Ok(()));
    fs::write(bench.source.path().join("a"), "y").unwrap();
    fs::hard_link(bench.source.path().join("a"), bench.source.path().join("b")).unwrap();
    let [a, b] = [b"a", b"b"].map(|name| RelPath::parse(name).unwrap());
    let mut presence = Presence::default();
    presence.insert(&a);
    let mut dirty = DirtySet::default();
    let cause = Cause { now: Duration::ZERO, serial: 1 };
    dirty.mark(a.clone(), Need::Content, Writing::Closed, cause);
    dirty.mark(b.clone(), Need::Arrived, Writing::Unknown, cause);
    let taken = dirty.take(Duration::ZERO, Duration::ZERO, true, 10);
    let wishes = Wishes {
        delete: true,
        hard_links: true,
        whole_seconds: false,
        renames: true,
        now: Duration::ZERO,
        clock: SystemTime::now(),
        settle: Duration::ZERO,
    };
    let View { root, rules, links, .. } = &bench.view;
    let batch = Planner::new(root, rules, links, &presence, wishes, &taken).plan();
    // The daemon asks for the first name, which is not there any more.
    fs::remove_file(bench.source.path().join("a")).unwrap();
    let report = bench.target.apply(&batch, &bench.view, &bench.lane);
    let at = batch.items.iter().position(|item| item.path.as_ref() == Some(&b)).unwrap();
    let same = fs::read(bench.at("b")).is_ok_and(|found| found == b"y");
    assert!(same || report.items[at] != ItemEnd::Applied, "{:?}", report.items);
}

#[test]
fn a_session_that_the_daemon_gives_up_may_have_left_something() {
    let mut bench = Bench::new();
    bench.write("d/x");
    let path = RelPath::parse(b"d/x").unwrap();
    let item = Item {
        meta: Some(bench.view.root.lstat(&path).unwrap()),
        path: Some(path),
        act: Act::Object { content: true },
        link_target: Box::default(),
        group: None,
        covers: Vec::new(),
        settled: false,
    };
    // Without the directory above it, the list is refused.
    let batch = Batch { items: vec![item], ..Batch::default() };
    let report = bench.target.apply(&batch, &bench.view, &bench.lane);
    let Err(LaneError::Broken(why)) = &report.end else { panic!("{report:?}") };
    assert!(why.contains("exit code 2"), "{why}");
    assert_eq!(report.items, [ItemEnd::Unproved]);
}
