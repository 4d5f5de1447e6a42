//! The mirrors that run.
//!
//! Invariants
//! * Two mirrors of one name never run at the same time: a changed one is stopped before its
//!   successor starts, as both would write to the same targets.
//! * A mirror whose configuration has not changed keeps running through a reload.

use std::sync::{Arc, Mutex, PoisonError};

use driftless_control::{Mirrors, Operated};
use driftless_live::config::MirrorConfig;
use driftless_live::{Mirror, StartError};

/// The mirrors that run, in the order of the configuration.
#[derive(Default)]
pub struct Fleet {
    /// Held for copying the list only, never while a mirror starts, stops or is asked.
    running: Mutex<Vec<Arc<Mirror>>>,
}

/// What a reload did.
#[derive(Debug, Default)]
pub struct Changes {
    /// Names of mirrors that were left alone.
    pub kept: Vec<String>,
    /// Names of mirrors that ended, for good or for a changed successor.
    pub stopped: Vec<String>,
    /// Names of mirrors that began.
    pub started: Vec<String>,
    /// Mirrors that should have begun and could not.
    pub failed: Vec<(String, StartError)>,
}

impl Fleet {
    /// Makes the running mirrors be those of `configs`.
    pub fn apply(&self, configs: Vec<MirrorConfig>) -> Changes {
        let mut changes = Changes::default();
        let (kept, ended): (Vec<_>, Vec<_>) =
            self.running().into_iter().partition(|mirror| configs.contains(mirror.config()));
        changes.stopped = ended.iter().map(|mirror| mirror.config().name.clone()).collect();
        self.replace(kept.clone());
        stop_all(ended);
        let mut running = Vec::with_capacity(configs.len());
        for config in configs {
            let name = config.name.clone();
            if let Some(mirror) = kept.iter().find(|mirror| *mirror.config() == config) {
                running.push(Arc::clone(mirror));
                changes.kept.push(name);
                continue;
            }
            match Mirror::start(config) {
                Ok(mirror) => {
                    running.push(Arc::new(mirror));
                    changes.started.push(name);
                }
                Err(error) => changes.failed.push((name, error)),
            }
        }
        self.replace(running);
        changes
    }

    /// Stops all mirrors; returns when they have ended.
    pub fn stop(&self) {
        let all = self.running();
        self.replace(Vec::new());
        stop_all(all);
    }

    fn running(&self) -> Vec<Arc<Mirror>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace(&self, mirrors: Vec<Arc<Mirror>>) {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) = mirrors;
    }
}

impl Mirrors for Fleet {
    fn running(&self) -> Vec<Arc<dyn Operated>> {
        Fleet::running(self).into_iter().map(|mirror| mirror as Arc<dyn Operated>).collect()
    }
}

/// Stops mirrors at the same time: each may have to end a batch.
fn stop_all(mirrors: Vec<Arc<Mirror>>) {
    std::thread::scope(|scope| {
        for mirror in mirrors {
            // A command that still waits for the mirror holds it too; its end is the mirror's.
            if let Some(mirror) = Arc::into_inner(mirror) {
                scope.spawn(|| mirror.stop());
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::destination::parse_target;
    use crate::options::{Circumstances, Draft, TargetDraft};

    fn mirror(dir: &Path, name: &str, target: &str) -> MirrorConfig {
        let source = dir.join(name);
        std::fs::create_dir_all(&source).unwrap();
        let at = Circumstances { base: dir.to_owned(), umask: 0o022, password: None };
        let destination = parse_target(dir.join(target).as_os_str(), &at).unwrap();
        let target = TargetDraft { destination, password_file: None };
        Draft::new(at).finish(source, vec![target]).unwrap()
    }

    fn names(fleet: &Fleet) -> Vec<String> {
        Mirrors::running(fleet).iter().map(|mirror| mirror.name().to_owned()).collect()
    }

    #[test]
    fn a_reload_touches_only_what_differs() {
        let dir = tempfile::tempdir().unwrap();
        let [a, b, c] = ["a", "b", "c"].map(|name| mirror(dir.path(), name, &format!("{name}-1")));
        let changed = mirror(dir.path(), "b", "b-2");
        let fleet = Fleet::default();
        let changes = fleet.apply(vec![a.clone(), b]);
        assert_eq!(changes.started, ["a", "b"]);
        let kept = Arc::downgrade(&Fleet::running(&fleet)[0]);

        let changes = fleet.apply(vec![c, changed, a]);
        assert_eq!(changes.kept, ["a"]);
        assert_eq!(changes.stopped, ["b"]);
        assert_eq!(changes.started, ["c", "b"]);
        assert_eq!(names(&fleet), ["c", "b", "a"]);
        let still = Arc::downgrade(&Fleet::running(&fleet)[2]);
        assert!(kept.ptr_eq(&still), "the unchanged mirror is the one that ran before");
        fleet.stop();
        assert!(names(&fleet).is_empty());
    }

    #[test]
    fn a_mirror_that_cannot_start_leaves_the_others_running() {
        let dir = tempfile::tempdir().unwrap();
        let good = mirror(dir.path(), "good", "x");
        let bad = mirror(dir.path(), "bad", "y");
        std::fs::remove_dir(&bad.source).unwrap();
        let fleet = Fleet::default();
        let changes = fleet.apply(vec![bad, good]);
        assert_eq!(changes.failed.len(), 1);
        assert_eq!(names(&fleet), ["good"]);
        fleet.stop();
    }
}
