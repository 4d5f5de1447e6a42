//! One mirror.

use std::time::Duration;

use crate::config::MirrorConfig;
use crate::status::{LaneState, MirrorState, MirrorStatus, TargetStatus, WatchStatus};

/// A mirror that runs.
pub struct Mirror {
    config: MirrorConfig,
}

/// Why a mirror does not start.
#[derive(Debug, thiserror::Error)]
#[error("mirror {name}: the source {source_dir} is no directory")]
pub struct StartError {
    name: String,
    source_dir: String,
}

/// Which targets are behind, a line each.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct NotFlushed(String);

/// No target has that name.
#[derive(Debug, thiserror::Error)]
#[error("no target {0}")]
pub struct NoSuchTarget(String);

#[allow(missing_docs)]
impl Mirror {
    pub fn start(config: MirrorConfig) -> Result<Self, StartError> {
        if !config.source.is_dir() {
            return Err(StartError {
                name: config.name,
                source_dir: config.source.display().to_string(),
            });
        }
        Ok(Self { config })
    }

    pub fn config(&self) -> &MirrorConfig {
        &self.config
    }

    pub fn status(&self) -> MirrorStatus {
        MirrorStatus {
            name: self.config.name.clone(),
            source: self.config.source.display().to_string(),
            state: MirrorState::Starting,
            error: None,
            watch: WatchStatus::default(),
            targets: self
                .config
                .targets
                .iter()
                .map(|target| TargetStatus {
                    url: target.destination.to_string(),
                    state: LaneState::Connecting,
                    lag: Duration::ZERO,
                    dirty_paths: 0,
                    bytes_sent: 0,
                    bytes_received: 0,
                    batches: 0,
                    passes: 0,
                    files_sent: 0,
                    last_error: None,
                    next_retry: None,
                    refusals: Vec::new(),
                })
                .collect(),
        }
    }

    pub fn flush(&self, _target: Option<&str>, timeout: Duration) -> Result<(), NotFlushed> {
        std::thread::sleep(timeout);
        let lines: Vec<String> = self
            .config
            .targets
            .iter()
            .map(|target| format!("{}: connecting", target.destination))
            .collect();
        Err(NotFlushed(lines.join("\n")))
    }

    pub fn pause(&self, target: Option<&str>) -> Result<(), NoSuchTarget> {
        self.known(target)
    }

    pub fn resume(&self, target: Option<&str>, _accept_deletes: bool) -> Result<(), NoSuchTarget> {
        self.known(target)
    }

    pub fn resync(&self, target: Option<&str>) -> Result<(), NoSuchTarget> {
        self.known(target)
    }

    pub fn stop(self) {}

    fn known(&self, target: Option<&str>) -> Result<(), NoSuchTarget> {
        match target {
            Some(name)
                if !self.config.targets.iter().any(|t| t.destination.to_string() == name) =>
            {
                Err(NoSuchTarget(name.to_owned()))
            }
            _ => Ok(()),
        }
    }
}
