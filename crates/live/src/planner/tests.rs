//! What a mark becomes, by what is on the disk.

use std::fs::{self, File};
use std::path::Path;

use super::*;
use crate::engine::dirty::{Cause, DirtySet, Writing};

const HOUR: Duration = Duration::from_secs(3600);

/// Plans a mark that says only attributes changed, told so long ago. The target has the file.
fn attributes_of(source: &Path, told_ago: Duration) -> Batch {
    plan(source, "f", Need::Attributes, told_ago)
}

/// Plans one mark, told so long ago. The target has the file `f`.
fn plan(source: &Path, marked: &str, need: Need, told_ago: Duration) -> Batch {
    let root = Root::open(source).unwrap();
    let rules = SourceRules::parse(&[], &root).unwrap();
    let path = path(marked);
    let presence = holding(&["f"]);
    let mut dirty = DirtySet::default();
    let now = HOUR;
    let cause = Cause { now: now - told_ago, serial: 1 };
    dirty.mark(path, need, Writing::Unknown, cause);
    let taken = dirty.take(now, Duration::ZERO, true, 10);
    let links = Links::default();
    Planner::new(&root, &rules, &links, &presence, wishes(now), &taken).plan()
}

fn wishes(now: Duration) -> Wishes {
    Wishes {
        delete: true,
        hard_links: true,
        renames: true,
        whole_seconds: false,
        now,
        clock: SystemTime::now(),
        settle: Duration::ZERO,
    }
}

fn path(raw: &str) -> RelPath {
    RelPath::parse(raw.as_bytes()).unwrap()
}

fn holding(names: &[&str]) -> Presence {
    let mut presence = Presence::default();
    names.iter().for_each(|name| presence.insert(&path(name)));
    presence
}

/// The names of a batch less the root, each with what is done.
fn acts(batch: &Batch) -> Vec<(String, Act)> {
    let items = batch.items.iter();
    items.filter_map(|item| Some((item.path.as_ref()?.to_string(), item.act))).collect()
}

fn source(mtime_ago: Duration) -> tempfile::TempDir {
    let source = tempfile::tempdir().unwrap();
    fs::write(source.path().join("f"), "content").unwrap();
    let file = File::options().write(true).open(source.path().join("f")).unwrap();
    file.set_modified(SystemTime::now() - mtime_ago).unwrap();
    source
}

#[test]
fn attributes_travel_without_content() {
    let source = source(HOUR);
    let batch = attributes_of(source.path(), Duration::ZERO);
    assert!(!batch.by_time);
    let item = batch.items.iter().find(|item| item.path.is_some()).unwrap();
    assert_eq!(item.act, Act::Object { content: false });
}

#[test]
fn a_new_time_does_not_travel_before_the_event_that_explains_it() {
    assert!(attributes_of(source(Duration::ZERO).path(), Duration::from_secs(1)).by_time);
    // Its old time was set after the mark was told, perhaps behind new content.
    assert!(attributes_of(source(HOUR).path(), Duration::from_secs(60)).by_time);
}

#[test]
fn a_further_name_does_not_bring_a_new_time_before_the_event_that_explains_it() {
    let linked = |written_ago, told_ago| {
        let source = source(written_ago);
        fs::hard_link(source.path().join("f"), source.path().join("g")).unwrap();
        plan(source.path(), "g", Need::Arrived, told_ago)
    };
    // Written to after the link was made, at the same size: the target would link its old content.
    assert!(linked(Duration::ZERO, Duration::from_secs(1)).by_time);
    assert!(!linked(HOUR, Duration::ZERO).by_time);
}

#[test]
fn a_further_name_is_not_listed_when_its_directory_moves_away_meanwhile() {
    let source = source(HOUR);
    fs::create_dir_all(source.path().join("d/e")).unwrap();
    fs::hard_link(source.path().join("f"), source.path().join("d/e/x")).unwrap();
    let root = Root::open(source.path()).unwrap();
    let rules = SourceRules::parse(&[], &root).unwrap();
    let presence = holding(&["f", "d", "d/e", "d/e/x"]);
    let mut dirty = DirtySet::default();
    dirty.mark(path("f"), Need::Content, Writing::Closed, Cause { now: HOUR, serial: 1 });
    let taken = dirty.take(HOUR, Duration::ZERO, true, 10);
    let links = Links::default();
    let mut planner = Planner::new(&root, &rules, &links, &presence, wishes(HOUR), &taken);
    planner.look();
    planner.hard_links();
    assert!(planner.items.contains_key(&Some(path("d/e/x"))));
    fs::rename(source.path().join("d"), source.path().join("moved")).unwrap();
    planner.parents();
    assert_eq!(acts(&planner.finish()), [("f".into(), Act::Object { content: true })]);
}

#[test]
fn a_tree_that_vanishes_between_two_looks_stays_dirty() {
    let source = tempfile::tempdir().unwrap();
    fs::create_dir_all(source.path().join("d/e/g")).unwrap();
    fs::write(source.path().join("d/e/g/x"), "x").unwrap();
    let root = Root::open(source.path()).unwrap();
    let rules = SourceRules::parse(&[], &root).unwrap();
    let presence = holding(&["d", "d/e", "d/e/g", "d/e/g/x"]);
    let mut dirty = DirtySet::default();
    dirty.mark_tree(path("d"), Need::Content, Cause { now: HOUR, serial: 1 });
    let taken = dirty.take(HOUR, Duration::ZERO, true, 10);
    let links = Links::default();
    let mut planner = Planner::new(&root, &rules, &links, &presence, wishes(HOUR), &taken);
    planner.look();
    fs::rename(source.path().join("d/e"), source.path().join("moved")).unwrap();
    planner.look();
    planner.parents();
    let batch = planner.finish();
    assert_eq!(acts(&batch), [("d".into(), Act::Directory), ("d/e".into(), Act::Missing)]);
    assert_eq!(batch.trees, []);
}

#[test]
fn what_came_and_went_unseen_in_a_marked_directory_is_deleted() {
    let source = tempfile::tempdir().unwrap();
    fs::create_dir(source.path().join("d")).unwrap();
    fs::write(source.path().join("d/here"), "x").unwrap();
    let root = Root::open(source.path()).unwrap();
    let rules = SourceRules::parse(&[], &root).unwrap();
    let presence = holding(&["top", "d", "d/here", "d/unseen"]);
    let mut dirty = DirtySet::default();
    let cause = Cause { now: HOUR, serial: 1 };
    dirty.mark(path("d"), Need::Attributes, Writing::Unknown, cause);
    let links = Links::default();
    let plan = |dirty: &mut DirtySet| {
        let taken = dirty.take(HOUR, Duration::ZERO, true, 10);
        acts(&Planner::new(&root, &rules, &links, &presence, wishes(HOUR), &taken).plan())
    };
    let only_dir = [("d".into(), Act::Directory), ("d/unseen".into(), Act::Missing)];
    assert_eq!(plan(&mut dirty), only_dir);
    dirty.mark_root(cause);
    assert_eq!(plan(&mut dirty).last(), Some(&("top".into(), Act::Missing)));
}
