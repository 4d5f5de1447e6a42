//! The mirrors that run.
//!
//! Invariants
//! * Two mirrors of one name never run at the same time: a changed one is stopped before its
//!   successor starts, as both would write to the same targets.
//! * A mirror whose configuration has not changed keeps running through a reload.

use std::sync::{Arc, Mutex, PoisonError};

use driftless_control::{Mirrors, Operated};
use driftless_live::config::{MirrorConfig, PullConfig};
use driftless_live::{Mirror, Pull, StartError};

/// The mirrors that run, in the order of the configuration.
#[derive(Default)]
pub struct Fleet {
    /// Held for copying the list only, never while a mirror starts, stops or is asked.
    running: Mutex<Vec<Arc<Mirror>>>,
    /// Likewise.
    pulls: Mutex<Vec<Arc<Pull>>>,
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
    /// Mirrors that should have begun and could not; a predecessor runs again.
    pub failed: Vec<(String, StartError)>,
}

impl Fleet {
    /// Makes the running mirrors be those of `configs`.
    pub fn apply(&self, configs: Vec<MirrorConfig>) -> Changes {
        let mut changes = Changes::default();
        let (kept, ended): (Vec<_>, Vec<_>) =
            self.running().into_iter().partition(|mirror| configs.contains(mirror.config()));
        let ended_configs: Vec<_> = ended.iter().map(|mirror| mirror.config().clone()).collect();
        // From here no command finds those that end.
        self.replace(kept.clone());
        stop_all(&ended);
        changes.stopped = ended_configs.iter().map(|config| config.name.clone()).collect();
        let mut running = Vec::with_capacity(configs.len());
        for config in configs {
            let name = config.name.clone();
            if let Some(mirror) = kept.iter().find(|mirror| *mirror.config() == config) {
                running.push(Arc::clone(mirror));
                changes.kept.push(name);
            } else {
                let before = ended_configs.iter().find(|before| before.name == name);
                running.extend(start(config, before, &mut changes).map(Arc::new));
            }
        }
        self.replace(running);
        changes
    }

    /// Makes the running pull mirrors be those of `configs`, and adds what that did to `changes`.
    pub fn apply_pulls(&self, configs: Vec<PullConfig>, changes: &mut Changes) {
        let (kept, ended): (Vec<_>, Vec<_>) =
            self.pulls().into_iter().partition(|pull| configs.contains(pull.config()));
        self.replace_pulls(kept.clone());
        stop_pulls(&ended);
        changes.stopped.extend(ended.iter().map(|pull| pull.config().name.clone()));
        let mut running = Vec::with_capacity(configs.len());
        for config in configs {
            let name = config.name.clone();
            match kept.iter().find(|pull| *pull.config() == config) {
                Some(pull) => {
                    running.push(Arc::clone(pull));
                    changes.kept.push(name);
                }
                None => match Pull::start(config) {
                    Ok(pull) => {
                        running.push(Arc::new(pull));
                        changes.started.push(name);
                    }
                    Err(error) => changes.failed.push((name, error)),
                },
            }
        }
        self.replace_pulls(running);
    }

    /// Stops all mirrors; returns when they have ended.
    pub fn stop(&self) {
        let (all, pulls) = (self.running(), self.pulls());
        self.replace(Vec::new());
        self.replace_pulls(Vec::new());
        stop_all(&all);
        stop_pulls(&pulls);
    }

    fn pulls(&self) -> Vec<Arc<Pull>> {
        self.pulls.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn replace_pulls(&self, pulls: Vec<Arc<Pull>>) {
        *self.pulls.lock().unwrap_or_else(PoisonError::into_inner) = pulls;
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
        let mirrors = Fleet::running(self).into_iter().map(|mirror| mirror as Arc<dyn Operated>);
        mirrors.chain(self.pulls().into_iter().map(|pull| pull as Arc<dyn Operated>)).collect()
    }
}

/// Starts a mirror, or the one that ran before under its name.
fn start(
    config: MirrorConfig,
    before: Option<&MirrorConfig>,
    changes: &mut Changes,
) -> Option<Mirror> {
    let name = config.name.clone();
    match Mirror::start(config) {
        Ok(mirror) => {
            changes.started.push(name);
            Some(mirror)
        }
        Err(error) => {
            changes.failed.push((name.clone(), error));
            let again = before.and_then(|before| Mirror::start(before.clone()).ok());
            changes.started.extend(again.is_some().then_some(name));
            again
        }
    }
}

/// Stops mirrors at the same time, as each may have to end a batch.
fn stop_all(mirrors: &[Arc<Mirror>]) {
    std::thread::scope(|scope| {
        for mirror in mirrors {
            scope.spawn(|| mirror.stop());
        }
    });
}

fn stop_pulls(pulls: &[Arc<Pull>]) {
    std::thread::scope(|scope| {
        for pull in pulls {
            scope.spawn(|| pull.stop());
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
        let at =
            Circumstances { base: dir.to_owned(), umask: 0o022, password: None, shell: Vec::new() };
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

    #[test]
    fn a_changed_mirror_that_cannot_start_leaves_its_predecessor_running() {
        let dir = tempfile::tempdir().unwrap();
        let before = mirror(dir.path(), "a", "x");
        let mut changed = before.clone();
        changed.source = dir.path().join("nonexistent");
        let fleet = Fleet::default();
        fleet.apply(vec![before.clone()]);
        let changes = fleet.apply(vec![changed]);
        assert_eq!(changes.failed.len(), 1);
        assert_eq!(*Fleet::running(&fleet)[0].config(), before);
        fleet.stop();
    }

    #[test]
    fn a_changed_mirror_is_replaced_although_somebody_waits_for_it() {
        let dir = tempfile::tempdir().unwrap();
        let before = mirror(dir.path(), "a", "x");
        let changed = mirror(dir.path(), "a", "y");
        let fleet = Fleet::default();
        fleet.apply(vec![before]);
        let _waits = Mirrors::running(&fleet);
        let changes = fleet.apply(vec![changed.clone()]);
        assert_eq!((changes.stopped, changes.started), (vec!["a".into()], vec!["a".into()]));
        assert_eq!(*Fleet::running(&fleet)[0].config(), changed);
        fleet.stop();
    }
}
