//! From the watcher's hints to marks on every lane.
//!
//! Names that the rules exclude are dropped here, by the engine that also decides what a walk
//! lists.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use driftless_tree::{Kind, RelPath};
use driftless_watch::{Hint, Sink, What};

use crate::engine::dirty::{Cause, DirtySet, Need, Writing};
use crate::engine::renames::Rename;
use crate::lane::{Lane, View};

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
        let mut marks = Vec::with_capacity(hints.len());
        for hint in hints.drain(..) {
            match hint {
                Hint::RootLost(why) => (self.lost)(why),
                hint => marks.extend(self.marks(&view, hint)),
            }
        }
        if marks.is_empty() {
            return;
        }
        let serial = self.serial.fetch_add(1, Ordering::Relaxed) + 1;
        let cause = Cause { now: self.started.elapsed(), serial };
        for lane in &self.lanes {
            lane.change(|inner| {
                for mark in &marks {
                    apply(&mut inner.dirty, mark, cause);
                }
            });
        }
    }
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

impl Marker {
    fn marks(&self, view: &View, hint: Hint) -> Option<Mark> {
        Some(match hint {
            Hint::Path { path, what } => {
                if !view.rules.includes(&path, what.is_dir()) {
                    // A file with rules of its own decides about its neighbours.
                    return view.rules.is_rule_file(&path).then_some(Mark::Pass);
                }
                if view.rules.is_rule_file(&path) {
                    return Some(Mark::Pass);
                }
                let (need, writing) = meaning(view, &path, what);
                Mark::Path(path, need, writing)
            }
            Hint::Subtree { path: None } => Mark::Pass,
            Hint::Subtree { path: Some(path) } => {
                if !view.rules.includes(&path, true) {
                    return None;
                }
                Mark::Tree(path)
            }
            Hint::Renamed { from, to, is_dir } => {
                let both = view.rules.includes(&from, is_dir) && view.rules.includes(&to, is_dir);
                if !both {
                    // Its halves are marked as a departure and an arrival.
                    return (is_dir && view.rules.includes(&to, true)).then_some(Mark::Tree(to));
                }
                Mark::Rename(Rename { from, to, is_dir })
            }
            Hint::RootAttributes => Mark::Root,
            Hint::RootLost(_) => return None,
        })
    }
}

fn meaning(view: &View, path: &RelPath, what: What) -> (Need, Writing) {
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
        return match view.root.lstat(path) {
            Ok(meta) if meta.kind == Kind::File && meta.link_count == 1 => {
                (Need::Content, Writing::Open)
            }
            Ok(meta) if meta.kind == Kind::File => (Need::Arrived, Writing::Unknown),
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
