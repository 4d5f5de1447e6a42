//! What `GET /api/status` and failed commands answer, as JSON.
//!
//! Separate from the engine's types so that neither freezes the other; names and meanings here are
//! read by scripts and only ever grow.

use std::time::{SystemTime, UNIX_EPOCH};

use driftless_live::status::{MirrorStatus, PassStatus, TargetStatus, VerifyStatus, WatchStatus};
use serde::{Deserialize, Serialize};

/// All mirrors of a process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Of the answering driftless.
    pub version: String,
    /// In the order of the configuration.
    pub mirrors: Vec<Mirror>,
}

/// One mirror.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Mirror {
    /// Its name in commands.
    pub name: String,
    /// The directory that is mirrored.
    pub source: String,
    /// `starting`, `running` or `source-lost`.
    pub state: String,
    /// Why it does not run.
    pub error: Option<String>,
    /// The watcher.
    pub watch: Watch,
    /// When the next scheduled pass runs: seconds since 1970, UTC.
    pub next_pass: Option<f64>,
    /// When the next scheduled verify runs, likewise.
    pub next_verify: Option<f64>,
    /// In the order of the configuration.
    pub targets: Vec<Target>,
}

/// The watcher of a mirror.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Watch {
    /// `fanotify`, `inotify` or `poll`.
    pub backend: String,
    /// Directories watched; with `fanotify`, which watches all, those with changes lately.
    pub directories: usize,
    /// Directories that cannot be watched and are compared from time to time.
    pub polled: usize,
    /// Events so far.
    pub events: u64,
    /// How often the kernel's queue overflowed; each led to a comparison of everything.
    pub overflows: u64,
    /// What the operator should change.
    pub warning: Option<String>,
}

/// One target.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Target {
    /// URL or path.
    pub url: String,
    /// `connecting`, `full-pass`, `verifying`, `live`, `catching-up`, `backing-off` or `paused`.
    pub state: String,
    /// Age of the oldest change that the target has not acknowledged; 0 when there is none.
    pub lag_seconds: f64,
    /// Paths that may differ.
    pub dirty_paths: u64,
    /// To the target, since the start.
    pub bytes_sent: u64,
    /// From the target, since the start.
    pub bytes_received: u64,
    /// Batches acknowledged.
    pub batches: u64,
    /// Full passes finished.
    pub passes: u64,
    /// Files whose content was sent.
    pub files_sent: u64,
    /// What went wrong last, while it matters.
    pub last_error: Option<String>,
    /// Seconds until the next attempt.
    pub next_retry: Option<f64>,
    /// What the target is known to refuse.
    pub refusals: Vec<String>,
    /// How the last full pass ended.
    pub last_pass: Option<Pass>,
    /// What the last verify found.
    pub last_verify: Option<Verify>,
}

/// A full pass that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pass {
    /// When it began: seconds since 1970, UTC.
    pub began: f64,
    /// How long it took.
    pub seconds: f64,
    /// Files whose content was sent.
    pub files_sent: u64,
    /// Bytes sent.
    pub bytes_sent: u64,
    /// Why the target is not identical, if it is not.
    pub error: Option<String>,
}

/// The answer to `POST /api/verify`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verified {
    /// All that were asked for.
    pub targets: Vec<VerifiedTarget>,
}

/// What a verify of one target found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VerifiedTarget {
    /// The mirror's name.
    pub mirror: String,
    /// URL or path.
    pub url: String,
    /// How it ended.
    #[serde(flatten)]
    pub verify: Verify,
}

/// A verify that has ended. Nothing differs and there is no error: both trees are proved identical.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Verify {
    /// When it began: seconds since 1970, UTC.
    pub began: f64,
    /// How long it took.
    pub seconds: f64,
    /// Names of the source that were compared.
    pub compared: u64,
    /// Names that differ.
    pub differing: u64,
    /// Those names, in a status only the first 100 of them.
    pub differences: Vec<Difference>,
    /// Why not everything was compared.
    pub error: Option<String>,
}

/// A name at which a target differs from its source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Difference {
    /// Below the root, which is `.`. Control bytes and bytes that are no UTF-8 are written as `\#`
    /// and three octal digits.
    pub path: String,
    /// `missing`, `extra`, `content`, `hard-link`, `mode`, `owner`, `group` and `time`.
    pub aspects: Vec<String>,
}

/// The answer to a command that failed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Failure {
    /// Why, in one line.
    pub error: String,
    /// After a flush that came too late: a line for each target that is behind.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub behind: Vec<String>,
}

impl From<MirrorStatus> for Mirror {
    fn from(status: MirrorStatus) -> Self {
        Self {
            name: status.name,
            source: status.source,
            state: status.state.as_str().to_owned(),
            error: status.error,
            watch: status.watch.into(),
            next_pass: status.next_pass.map(since_1970),
            next_verify: status.next_verify.map(since_1970),
            targets: status.targets.into_iter().map(Target::from).collect(),
        }
    }
}

impl From<WatchStatus> for Watch {
    fn from(watch: WatchStatus) -> Self {
        Self {
            backend: watch.backend.as_str().to_owned(),
            directories: watch.directories,
            polled: watch.polled,
            events: watch.events,
            overflows: watch.overflows,
            warning: watch.warning,
        }
    }
}

impl From<TargetStatus> for Target {
    fn from(target: TargetStatus) -> Self {
        Self {
            url: target.url,
            state: target.state.as_str().to_owned(),
            lag_seconds: target.lag.as_secs_f64(),
            dirty_paths: target.dirty_paths,
            bytes_sent: target.bytes_sent,
            bytes_received: target.bytes_received,
            batches: target.batches,
            passes: target.passes,
            files_sent: target.files_sent,
            last_error: target.last_error,
            next_retry: target.next_retry.map(|wait| wait.as_secs_f64()),
            refusals: target.refusals,
            last_pass: target.last_pass.map(Pass::from),
            last_verify: target.last_verify.map(|verify| Verify::new(&verify, STATUS_NAMES)),
        }
    }
}

/// Differing names in a status.
const STATUS_NAMES: usize = 100;

impl Verify {
    /// With the first `most` of the differing names.
    pub fn new(verify: &VerifyStatus, most: usize) -> Self {
        let differences = verify.differences.iter().take(most).map(|found| Difference {
            path: found.name(),
            aspects: found.aspects.iter().map(|aspect| aspect.as_str().to_owned()).collect(),
        });
        Self {
            began: since_1970(verify.began),
            seconds: verify.took.as_secs_f64(),
            compared: verify.compared,
            differing: verify.differing,
            differences: differences.collect(),
            error: verify.error.clone(),
        }
    }
}

impl From<PassStatus> for Pass {
    fn from(pass: PassStatus) -> Self {
        Self {
            began: since_1970(pass.began),
            seconds: pass.took.as_secs_f64(),
            files_sent: pass.files,
            bytes_sent: pass.bytes,
            error: pass.error,
        }
    }
}

fn since_1970(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use driftless_live::status::{Aspect, Difference, LaneState, MirrorState};
    use driftless_watch::Backend;
    use serde_json::json;

    use super::*;

    fn target() -> TargetStatus {
        TargetStatus {
            url: "rsync://web1user@127.0.0.1:8731/web1".to_owned(),
            state: LaneState::BackingOff,
            lag: Duration::from_millis(1500),
            dirty_paths: 3,
            bytes_sent: 4096,
            bytes_received: 512,
            batches: 7,
            passes: 1,
            files_sent: 5,
            last_error: Some("connection refused".to_owned()),
            next_retry: Some(Duration::from_millis(2500)),
            refusals: vec!["delete".to_owned()],
            last_pass: Some(PassStatus {
                began: UNIX_EPOCH + Duration::from_millis(1_500),
                took: Duration::from_millis(250),
                files: 3,
                bytes: 77,
                error: None,
            }),
            last_verify: Some(Arc::new(VerifyStatus {
                began: UNIX_EPOCH + Duration::from_secs(2),
                took: Duration::from_millis(500),
                compared: 9,
                differing: 1,
                differences: vec![Difference {
                    path: None,
                    aspects: vec![Aspect::Mode, Aspect::Time],
                }],
                error: None,
            })),
        }
    }

    #[test]
    fn the_json_of_a_status_is_the_one_that_scripts_read() {
        let status = MirrorStatus {
            name: "wwwroot".to_owned(),
            source: "/web/wwwroot".to_owned(),
            state: MirrorState::Running,
            error: None,
            watch: WatchStatus {
                backend: Backend::Inotify,
                directories: 300,
                polled: 0,
                events: 12,
                overflows: 0,
                warning: None,
            },
            next_pass: Some(UNIX_EPOCH + Duration::from_secs(60)),
            next_verify: None,
            targets: vec![target()],
        };
        let report = Status { version: "0.1.0".to_owned(), mirrors: vec![status.into()] };
        let expected = json!({
            "version": "0.1.0",
            "mirrors": [{
                "name": "wwwroot",
                "source": "/web/wwwroot",
                "state": "running",
                "error": null,
                "watch": {
                    "backend": "inotify",
                    "directories": 300, "polled": 0, "events": 12, "overflows": 0, "warning": null
                },
                "next_pass": 60.0,
                "next_verify": null,
                "targets": [{
                    "url": "rsync://web1user@127.0.0.1:8731/web1",
                    "state": "backing-off",
                    "lag_seconds": 1.5,
                    "dirty_paths": 3,
                    "bytes_sent": 4096,
                    "bytes_received": 512,
                    "batches": 7,
                    "passes": 1,
                    "files_sent": 5,
                    "last_error": "connection refused",
                    "next_retry": 2.5,
                    "refusals": ["delete"],
                    "last_pass": {
                        "began": 1.5, "seconds": 0.25, "files_sent": 3, "bytes_sent": 77, "error": null
                    },
                    "last_verify": {
                        "began": 2.0, "seconds": 0.5, "compared": 9, "differing": 1,
                        "differences": [{ "path": ".", "aspects": ["mode", "time"] }],
                        "error": null
                    },
                }],
            }],
        });
        assert_eq!(serde_json::to_value(&report).unwrap(), expected);
    }

    #[test]
    fn a_target_without_trouble_says_null_for_error_and_retry() {
        let calm = TargetStatus { last_error: None, next_retry: None, ..target() };
        let value = serde_json::to_value(Target::from(calm)).unwrap();
        assert!(value["last_error"].is_null() && value["next_retry"].is_null());
        assert!(value.as_object().unwrap().contains_key("last_error"));
        assert!(value.as_object().unwrap().contains_key("next_retry"));
    }
}
