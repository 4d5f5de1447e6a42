//! From the watcher's hints to marks on every lane.
//!
//! Names that the rules exclude are dropped here, by the engine that also decides what a walk
//! lists.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Instant;

use driftless_tree::{Kind, Meta, RelPath, Timestamp};
use driftless_watch::{Hint, Sink, What};

use crate::engine::dirty::{Cause, DirtySet, Need, Writing};
use crate::engine::renames::Rename;
use crate::lane::{Lane, View};
use crate::looks::Looks;

/// Marks every lane of a mirror.
pub struct Marker {
    /// Told when the root is lost.
    pub lost: Box<dyn Fn(String) + Send + Sync>,
    /// The lanes.
    pub lanes: Vec<Arc<Lane>>,
    /// The source.
    pub view: Arc<RwLock<View>>,
    /// Number of the last cause.
    pub serial: Arc<AtomicU64>,
    /// When the mirror started.
    pub started: Instant,
    /// Set when something was changed through a name that nobody has seen, or that leads to
    /// something else by now: it may have been a further name of any file.
    pub unseen: Arc<AtomicBool>,
    /// See its module.
    pub looks: Mutex<Looks>,
}

impl Marker {
    fn looks(&self) -> MutexGuard<'_, Looks> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Mark {
    Path(RelPath, Need, Writing),
    Tree(RelPath),
    Root,
    Pass,
    Rename(Rename),
}

impl Sink for Marker {
    fn deliver(&self, hints: &mut Vec<Hint>) {
        let view = self.view.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut looks = self.looks();
        let mut marks = Marks::new(&view, &mut looks);
        for hint in hints.drain(..) {
            match hint {
                Hint::RootLost(why) => (self.lost)(why),
                hint => marks.add(hint),
            }
        }
        if marks.unseen {
            self.unseen.store(true, Ordering::Relaxed);
        }
        let marks = marks.finish();
        if !marks.is_empty() {
            let serial = self.serial.fetch_add(1, Ordering::Relaxed) + 1;
            mark(&self.lanes, &marks, Cause { now: self.started.elapsed(), serial });
        }
    }

    fn caught_up(&self) {
        if self.looks().caught_up() {
            self.unseen.store(true, Ordering::Relaxed);
        }
    }
}

fn mark(lanes: &[Arc<Lane>], marks: &[Mark], cause: Cause) {
    for lane in lanes {
        lane.change(|inner| {
            for mark in marks {
                apply(&mut inner.dirty, mark, cause);
            }
        });
    }
}

/// Marks every file that changed since `since`, whether an event told or not.
pub fn sweep(view: &View, since: Timestamp, lanes: &[Arc<Lane>], cause: Cause) {
    let mut chains = view.rules.chains();
    let mut marks = Vec::new();
    let mut dirs: Vec<Option<RelPath>> = vec![None];
    while let Some(dir) = dirs.pop() {
        let Ok(open) = view.root.open_dir(dir.as_ref()) else { continue };
        let Ok(entries) = open.entries() else { continue };
        for entry in entries {
            let Ok(path) = RelPath::child(dir.as_ref(), &entry.name) else { continue };
            let Ok(meta) = open.lstat(&entry.name) else { continue };
            let is_dir = meta.kind == Kind::Dir;
            if !chains.includes(dir.as_ref(), &path, is_dir) {
                continue;
            }
            if is_dir {
                dirs.push(Some(path));
            } else if meta.ctime >= since {
                // Content whose time was set back looks as before.
                let need = if meta.mtime < meta.ctime { Need::Content } else { Need::Unsure };
                marks.push(Mark::Path(path, need, Writing::Unknown));
            }
        }
        chains.forget();
    }
    mark(lanes, &marks, cause);
}

fn apply(dirty: &mut DirtySet, mark: &Mark, cause: Cause) {
    match mark {
        Mark::Path(path, need, writing) => dirty.mark(path.clone(), *need, *writing, cause),
        Mark::Tree(path) => dirty.mark_tree(path.clone(), Need::Content, cause),
        Mark::Root => dirty.mark_root(cause),
        Mark::Pass => dirty.mark_pass(cause),
        Mark::Rename(rename) => dirty.rename(rename.clone(), cause),
    }
}

/// The marks of one delivery.
struct Marks<'a> {
    view: &'a View,
    marks: Vec<Mark>,
    /// Changed through one of several names.
    linked: Vec<(RelPath, Meta, Need, Writing)>,
    /// See [`Marker::unseen`].
    unseen: bool,
    looks: &'a mut Looks,
}

impl<'a> Marks<'a> {
    fn new(view: &'a View, looks: &'a mut Looks) -> Self {
        Self { view, marks: Vec::new(), linked: Vec::new(), unseen: false, looks }
    }

    fn add(&mut self, hint: Hint) {
        if let Hint::Renamed { from, to, is_dir } = &hint {
            self.follow(from, to, *is_dir);
        }
        let rules = &self.view.rules;
        let mark = match hint {
            Hint::Path { path, what } => return self.add_path(path, what),
            Hint::Subtree { path: None } => Mark::Pass,
            Hint::Subtree { path: Some(path) } if rules.includes(&path, true) => Mark::Tree(path),
            Hint::Renamed { from, to, is_dir } if rules.includes(&to, is_dir) => {
                match rules.includes(&from, is_dir) {
                    true => Mark::Rename(Rename { from, to, is_dir }),
                    // Its halves are marked as a departure and an arrival.
                    false if is_dir => Mark::Tree(to),
                    false => return,
                }
            }
            Hint::RootAttributes => Mark::Root,
            Hint::Subtree { .. } | Hint::Renamed { .. } | Hint::RootLost(_) => return,
        };
        self.marks.push(mark);
    }

    fn add_path(&mut self, path: RelPath, what: What) {
        if self.view.rules.is_rule_file(&path) {
            // It decides about its neighbours.
            return self.marks.push(Mark::Pass);
        }
        let of_object = What::CREATED | What::MODIFIED | What::CLOSED_WRITE | What::ATTRIBUTES;
        let meta = match what.is_dir() || !what.intersects(of_object) {
            true => None,
            false => self.view.root.lstat(&path).ok(),
        };
        if what.intersects(What::CREATED | What::ARRIVED) {
            self.unseen |= self.looks.came(&path, what.is_dir());
        }
        let (need, writing) = meaning(what, meta.as_ref());
        if !what.is_dir() && what.intersects(of_object) {
            self.other_names(&path, what, meta);
        }
        if self.view.rules.includes(&path, what.is_dir()) {
            self.marks.push(Mark::Path(path, need, writing));
        }
    }

    /// Looks at what changed and was not there, under the name that it has by now.
    fn follow(&mut self, from: &RelPath, to: &RelPath, is_dir: bool) {
        for name in self.looks.renamed(from, to, is_dir) {
            let meta = self.view.root.lstat(&name).ok();
            if let Some(meta) = meta.filter(|meta| meta.link_count > 1) {
                self.view.links.seen(&name, &meta);
                self.linked.push((name.clone(), meta, Need::Content, Writing::Unknown));
            }
            self.looks.found(name, meta.is_some());
        }
    }

    /// What was done through one name was done to all names of the inode.
    fn other_names(&mut self, path: &RelPath, what: What, meta: Option<Meta>) {
        let siblings = self.view.links.former_siblings(path, meta.as_ref());
        if what.intersects(What::MODIFIED | What::CLOSED_WRITE | What::ATTRIBUTES) {
            let known = meta.is_some() || !siblings.is_empty();
            self.unseen |= !self.looks.note(path, known);
            // One hint for both: which object it was, nobody knows.
            self.unseen |= known && what.contains(What::GONE);
        }
        let (need, writing) = meaning(what, meta.as_ref());
        self.marks.extend(siblings.into_iter().map(|name| Mark::Path(name, need, writing)));
        if let Some(meta) = meta
            && meta.link_count > 1
        {
            self.view.links.seen(path, &meta);
            if need != Need::Arrived {
                self.linked.push((path.clone(), meta, need, writing));
            }
        }
    }

    fn finish(mut self) -> Vec<Mark> {
        let View { root, links, rules, .. } = self.view;
        let paths: Vec<_> =
            self.linked.iter().map(|(path, meta, ..)| (path.clone(), *meta)).collect();
        let names = links.all_names(root, &paths);
        for ((path, _, need, writing), names) in self.linked.into_iter().zip(names) {
            let others = names.into_iter().filter(|name| *name != path);
            self.marks.extend(
                others
                    .filter(|name| rules.includes(name, false))
                    .map(|name| Mark::Path(name, need, writing)),
            );
        }
        self.marks
    }
}

/// What a path needs, by what the kernel said and by the object that has the name now.
fn meaning(what: What, meta: Option<&Meta>) -> (Need, Writing) {
    if what.contains(What::CLOSED_WRITE) {
        return (Need::Content, Writing::Closed);
    }
    if what.contains(What::MODIFIED) && what.is_dir() {
        // Its modification time was set, and nothing else.
        return (Need::Attributes, Writing::Unknown);
    }
    if what.contains(What::MODIFIED) {
        return (Need::Content, Writing::Open);
    }
    if what.contains(What::CREATED) {
        // A regular file is created by opening it, so a close will come. A further name of a file
        // changes no content, and a symbolic link or a special file is complete at once.
        return match meta {
            Some(meta) if meta.kind == Kind::File && meta.link_count == 1 => {
                (Need::Content, Writing::Open)
            }
            Some(meta) if meta.kind == Kind::File => (Need::Arrived, Writing::Unknown),
            _ => (Need::Content, Writing::Unknown),
        };
    }
    let need = if what.contains(What::ARRIVED) {
        Need::Arrived
    } else if what.contains(What::ATTRIBUTES) {
        Need::Attributes
    } else {
        Need::Gone
    };
    (need, Writing::Unknown)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::time::Duration;

    use driftless_fs::Root;
    use driftless_transfer::source::SourceCache;

    use super::*;
    use crate::links::Links;
    use crate::rules::SourceRules;

    struct Bench {
        source: tempfile::TempDir,
        marker: Marker,
    }

    impl Bench {
        fn new() -> Self {
            let source = tempfile::tempdir().unwrap();
            let root = Root::open(source.path()).unwrap();
            let rules = SourceRules::parse(&[], &root).unwrap();
            let (links, cache) = (Arc::new(Links::default()), Arc::new(SourceCache::default()));
            let marker = Marker {
                lost: Box::new(|why| panic!("{why}")),
                lanes: Vec::new(),
                view: Arc::new(RwLock::new(View { root, rules, links, cache })),
                serial: Arc::default(),
                started: Instant::now(),
                unseen: Arc::default(),
                looks: Mutex::default(),
            };
            Self { source, marker }
        }

        /// Delivers what happened to a name; returns whether a change went unseen.
        fn tell(&self, name: &str, all: &[What]) -> bool {
            let path = || RelPath::parse(name.as_bytes()).unwrap();
            let hint = |what: &What| Hint::Path { path: path(), what: *what };
            self.marker.deliver(&mut all.iter().map(hint).collect());
            self.marker.unseen.load(Ordering::Relaxed)
        }
    }

    #[test]
    fn a_change_of_what_may_have_lost_its_name_is_unseen() {
        for come in [What::CREATED, What::ARRIVED] {
            let bench = Bench::new();
            fs::write(bench.source.path().join("n"), "the newer one").unwrap();
            assert!(!bench.tell("n", &[What::CREATED, What::ATTRIBUTES, What::GONE]));
            assert!(bench.tell("n", &[come]));
        }
        let bench = Bench::new();
        fs::write(bench.source.path().join("n"), "the newer one").unwrap();
        assert!(bench.tell("n", &[What::ATTRIBUTES | What::GONE]), "both in one");
        let bench = Bench::new();
        fs::create_dir(bench.source.path().join("d")).unwrap();
        for name in ["d!", "d/n"] {
            fs::write(bench.source.path().join(name), "the newer one").unwrap();
            assert!(!bench.tell(name, &[What::CLOSED_WRITE]));
        }
        assert!(!bench.tell("d!x", &[What::ARRIVED | What::IS_DIR]));
        assert!(bench.tell("d", &[What::ARRIVED | What::IS_DIR]));
    }

    #[test]
    fn what_is_made_changed_and_replaced_in_sight_is_seen() {
        let bench = Bench::new();
        fs::write(bench.source.path().join("n"), "one").unwrap();
        assert!(!bench.tell("n", &[What::CREATED, What::MODIFIED, What::CLOSED_WRITE]));
        bench.marker.caught_up();
        assert!(!bench.tell("n", &[What::ARRIVED, What::ATTRIBUTES]));
        bench.marker.caught_up();
        assert!(!bench.tell("n", &[What::GONE, What::CREATED, What::CLOSED_WRITE]));
    }

    #[test]
    fn a_sweep_does_not_believe_a_time_that_was_set_back() {
        let bench = Bench::new();
        for name in ["written", "set back"] {
            fs::write(bench.source.path().join(name), name).unwrap();
        }
        driftless_testkit::plant::set_mtime(&bench.source.path().join("set back"), 1, 0);
        let lanes = [Arc::new(Lane::new("target".into(), Instant::now()))];
        let view = bench.marker.view.read().unwrap().clone();
        sweep(&view, Timestamp::default(), &lanes, Cause { now: Duration::ZERO, serial: 1 });
        let taken =
            lanes[0].change(|inner| inner.dirty.take(Duration::ZERO, Duration::ZERO, true, 10));
        let mut needs: Vec<_> = taken.paths.iter().map(|(path, mark)| (path, mark.need)).collect();
        needs.sort();
        let [set_back, written] = ["set back", "written"].map(|n| RelPath::parse(n.as_bytes()));
        let [set_back, written] = [set_back.unwrap(), written.unwrap()];
        assert_eq!(needs, [(&set_back, Need::Content), (&written, Need::Unsure)]);
    }

    #[test]
    fn what_changed_and_went_is_unseen_unless_it_is_found_under_another_name() {
        let bench = Bench::new();
        assert!(!bench.tell("n", &[What::CREATED, What::CLOSED_WRITE, What::GONE]));
        bench.marker.caught_up();
        assert!(bench.tell("n", &[]));

        let bench = Bench::new();
        fs::write(bench.source.path().join("final"), "one").unwrap();
        assert!(!bench.tell("n", &[What::CREATED, What::CLOSED_WRITE]));
        let [from, to] = ["n", "final"].map(|name| RelPath::parse(name.as_bytes()).unwrap());
        bench.marker.deliver(&mut vec![Hint::Renamed { from, to, is_dir: false }]);
        assert!(!bench.tell("n", &[What::GONE]) && !bench.tell("final", &[What::ARRIVED]));
        bench.marker.caught_up();
        assert!(!bench.tell("n", &[]));
    }
}
