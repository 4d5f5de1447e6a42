use super::*;

fn path(raw: &str) -> RelPath {
    RelPath::parse(raw.as_bytes()).unwrap()
}

fn at(ms: u64) -> Cause {
    Cause { now: Duration::from_millis(ms), serial: ms }
}

const SETTLE: Duration = Duration::from_secs(1);

fn take(set: &mut DirtySet, ms: u64) -> Vec<String> {
    let taken = set.take(Duration::from_millis(ms), SETTLE, false, 1000);
    taken.paths.iter().map(|(p, _)| p.to_string()).collect()
}

#[test]
fn a_mark_leaves_only_when_applied() {
    let mut set = DirtySet::default();
    set.mark(path("a"), Need::Content, Writing::Closed, at(1));
    assert_eq!(take(&mut set, 2), ["a"]);
    assert_eq!(set.len(), 1);
    set.give_back();
    assert_eq!(take(&mut set, 3), ["a"]);
    set.applied(&path("a"));
    set.give_back();
    assert!(set.is_empty());
}

#[test]
fn a_mark_made_in_flight_survives_the_acknowledgement() {
    let mut set = DirtySet::default();
    set.mark(path("a"), Need::Content, Writing::Closed, at(1));
    take(&mut set, 2);
    set.mark(path("a"), Need::Attributes, Writing::Unknown, at(3));
    set.applied(&path("a"));
    set.give_back();
    assert_eq!(set.first_serial(), Some(3));
    assert_eq!(take(&mut set, 4), ["a"]);
}

#[test]
fn an_open_file_waits_until_closed_or_settled() {
    let mut set = DirtySet::default();
    set.mark(path("a"), Need::Content, Writing::Open, at(0));
    let now = Duration::from_millis(10);
    assert_eq!(set.readiness(now, SETTLE, false), Readiness::At(SETTLE));
    assert_eq!(set.readiness(now, SETTLE, true), Readiness::Now);
    set.mark(path("a"), Need::Content, Writing::Open, at(900));
    assert_eq!(set.readiness(SETTLE, SETTLE, false), Readiness::Now);
    set.mark(path("a"), Need::Content, Writing::Closed, at(20));
    assert_eq!(set.readiness(now, SETTLE, false), Readiness::Now);
}

#[test]
fn a_failed_path_waits_alone_and_keeps_its_first_serial() {
    let mut set = DirtySet::default();
    set.mark(path("a"), Need::Content, Writing::Closed, at(1));
    set.mark(path("b"), Need::Content, Writing::Closed, at(2));
    take(&mut set, 3);
    set.applied(&path("b"));
    set.failed(&path("a"), |n| Duration::from_millis(100 * u64::from(n)), at(3));
    set.give_back();
    assert_eq!(take(&mut set, 50), Vec::<String>::new());
    assert_eq!(set.first_serial(), Some(1));
    set.mark(path("c"), Need::Content, Writing::Closed, at(60));
    assert_eq!(take(&mut set, 60), ["c"]);
    assert_eq!(take(&mut set, 100), ["a"]);
}

#[test]
fn a_fresh_event_lifts_the_delay_of_a_failure() {
    let mut set = DirtySet::default();
    set.mark(path("a"), Need::Content, Writing::Closed, at(1));
    take(&mut set, 2);
    set.failed(&path("a"), |_| Duration::from_secs(30), at(2));
    set.give_back();
    set.mark(path("a"), Need::Content, Writing::Closed, at(3));
    assert_eq!(take(&mut set, 3), ["a"]);
}

#[test]
fn a_rename_carries_unknown_content_to_the_new_name() {
    let mut set = DirtySet::default();
    set.mark(path("d/x"), Need::Content, Writing::Closed, at(1));
    set.mark(path("d/y"), Need::Attributes, Writing::Unknown, at(1));
    set.mark(path("d.z"), Need::Content, Writing::Closed, at(1));
    set.rename(Rename { from: path("d"), to: path("e"), is_dir: true }, at(2));
    let taken = set.take(Duration::from_secs(9), SETTLE, false, 1000);
    let needs: Vec<_> = taken.paths.iter().map(|(p, m)| (p.to_string(), m.need)).collect();
    assert!(needs.contains(&("e/x".into(), Need::Content)));
    assert!(!needs.iter().any(|(p, _)| p == "e/y" || p == "e.z"));
    assert_eq!(taken.trees[0].0, path("e"));
    assert_eq!(taken.trees[0].1.need, Need::Arrived);
    assert_eq!(taken.renames.origin(&path("e/x")), Some(path("d/x")));
}

#[test]
fn a_rename_of_something_in_flight_makes_its_content_unknown() {
    let mut set = DirtySet::default();
    set.mark(path("a"), Need::Arrived, Writing::Unknown, at(1));
    take(&mut set, 2);
    set.rename(Rename { from: path("a"), to: path("b"), is_dir: false }, at(3));
    set.give_back();
    let taken = set.take(Duration::from_secs(9), SETTLE, false, 1000);
    let b = taken.paths.iter().find(|(p, _)| *p == path("b")).unwrap();
    assert_eq!(b.1.need, Need::Content);
}

#[test]
fn too_many_marks_fold_into_a_full_pass() {
    let mut set = DirtySet::default();
    for n in 0..=MAX_MARKS as u64 {
        set.mark(path(&format!("f{n}")), Need::Content, Writing::Closed, at(n));
    }
    assert!(set.pass_due(Duration::from_secs(999)));
    assert_eq!((set.len(), set.first_serial()), (1, Some(0)));
}

#[test]
fn a_pass_covers_every_mark_made_before_it() {
    let mut set = DirtySet::default();
    set.mark(path("a"), Need::Content, Writing::Closed, at(1));
    set.mark_pass(at(2));
    set.take_pass();
    set.mark(path("b"), Need::Content, Writing::Closed, at(3));
    set.failed(&path("a"), |_| Duration::ZERO, at(4));
    set.pass_applied();
    assert_eq!(take(&mut set, 5), ["a", "b"]);
    set.applied(&path("a"));
    set.applied(&path("b"));
    assert!(set.is_empty());
}

#[test]
fn what_fails_inside_a_tree_is_as_old_as_the_tree() {
    let mut set = DirtySet::default();
    set.mark_tree(path("d"), Need::Content, at(1));
    take(&mut set, 2);
    set.failed(&path("d/x"), |_| Duration::ZERO, at(9));
    set.tree_applied(&path("d"));
    set.give_back();
    assert_eq!(set.first_serial(), Some(1));
}

#[test]
fn a_batch_knows_which_content_is_not_in_it() {
    let mut set = DirtySet::default();
    set.mark(path("open"), Need::Content, Writing::Open, at(0));
    set.mark(path("b"), Need::Arrived, Writing::Unknown, at(1));
    let taken = set.take(Duration::from_millis(2), SETTLE, false, 10);
    assert_eq!(taken.paths.len(), 1);
    assert!(taken.waits(&path("open")) && !taken.waits(&path("b")));
}

#[test]
fn a_difference_is_expected_where_marks_explain_it() {
    let mut set = DirtySet::default();
    set.mark(path("d/changed"), Need::Content, Writing::Closed, at(1));
    set.mark(path("e/moded"), Need::Attributes, Writing::Unknown, at(1));
    set.mark(path("f/gone"), Need::Gone, Writing::Unknown, at(1));
    set.mark_tree(path("g/tree"), Need::Arrived, at(1));
    let covered = |set: &DirtySet, raw: &str| set.expected().covers(Some(&path(raw)));
    for raw in ["d/changed", "d", "e/moded", "f/gone", "f/gone/below", "g/tree", "g/tree/x", "g"] {
        assert!(covered(&set, raw), "{raw}");
    }
    for raw in ["d/other", "e/moded/below", "h", "g/tree2"] {
        assert!(!covered(&set, raw), "{raw}");
    }
    assert!(!set.expected().covers(None));
    set.mark(path("top"), Need::Content, Writing::Closed, at(2));
    assert!(set.expected().covers(None));
    set.mark_pass(at(3));
    assert!(covered(&set, "h"));
    set.take_pass();
    set.repeat_pass(|_| Duration::from_secs(9), at(4));
    set.pass_applied();
    assert!(!covered(&set, "h"), "what the pass left out has marks of its own");
}

#[test]
fn a_path_in_doubt_is_as_old_as_the_pass_that_did_not_look_at_it() {
    let mut set = DirtySet::default();
    set.mark_pass(at(5));
    set.take_pass();
    set.doubt(path("a"), at(9));
    set.pass_applied();
    assert_eq!(set.first_serial(), Some(5));
    assert_eq!(take(&mut set, 10), ["a"]);
}
