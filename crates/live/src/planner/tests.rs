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
    let path = RelPath::parse(marked.as_bytes()).unwrap();
    let mut presence = Presence::default();
    presence.insert(&RelPath::parse(b"f").unwrap());
    let mut dirty = DirtySet::default();
    let now = HOUR;
    let cause = Cause { now: now - told_ago, serial: 1 };
    dirty.mark(path, need, Writing::Unknown, cause);
    let taken = dirty.take(now, Duration::ZERO, true, 10);
    let wishes = Wishes {
        delete: true,
        hard_links: true,
        renames: true,
        whole_seconds: false,
        now,
        clock: SystemTime::now(),
        settle: Duration::ZERO,
    };
    let links = Links::default();
    Planner::new(&root, &rules, &links, &presence, wishes, &taken).plan()
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
