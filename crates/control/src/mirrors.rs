//! What the control plane asks of mirrors.

use std::sync::Arc;
use std::time::Duration;

use driftless_live::status::{MirrorStatus, VerifyStatus};
use driftless_live::{Mirror, Pull};

/// The mirrors that run now. The list changes when the configuration is read again.
pub trait Mirrors: Send + Sync + 'static {
    /// Returns them in the order of the configuration.
    fn running(&self) -> Vec<Arc<dyn Operated>>;
}

/// A target, and what a verify of it found.
pub type Ended = (String, Arc<VerifyStatus>);

/// A mirror as operators see it.
pub trait Operated: Send + Sync {
    /// Unique among those that run; without `/`.
    fn name(&self) -> &str;

    /// Returns its state now.
    fn status(&self) -> MirrorStatus;

    /// Waits until `target`, or every target, has all that had changed at the call.
    ///
    /// # Errors
    /// A line for each target that is behind, with the reason.
    fn flush(&self, target: Option<&str>, timeout: Duration) -> Result<(), Vec<String>>;

    /// Stops sending to `target`, or to all.
    ///
    /// # Errors
    /// No target has that name.
    fn pause(&self, target: Option<&str>) -> Result<(), String>;

    /// Sends again; with `accept_deletes` also the deletions that a guard held up.
    ///
    /// # Errors
    /// No target has that name.
    fn resume(&self, target: Option<&str>, accept_deletes: bool) -> Result<(), String>;

    /// Starts a full pass.
    ///
    /// # Errors
    /// No target has that name.
    fn resync(&self, target: Option<&str>) -> Result<(), String>;

    /// Compares `target`, or every target, with the source by checksum; returns for each how that
    /// ended.
    ///
    /// # Errors
    /// No target has that name.
    fn verify(&self, target: Option<&str>, timeout: Duration) -> Result<Vec<Ended>, String>;
}

impl Operated for Mirror {
    fn name(&self) -> &str {
        &self.config().name
    }

    fn status(&self) -> MirrorStatus {
        Mirror::status(self)
    }

    fn flush(&self, target: Option<&str>, timeout: Duration) -> Result<(), Vec<String>> {
        Mirror::flush(self, target, timeout)
            .map_err(|behind| behind.to_string().lines().map(str::to_owned).collect())
    }

    fn pause(&self, target: Option<&str>) -> Result<(), String> {
        Mirror::pause(self, target).map_err(|error| error.to_string())
    }

    fn resume(&self, target: Option<&str>, accept_deletes: bool) -> Result<(), String> {
        Mirror::resume(self, target, accept_deletes).map_err(|error| error.to_string())
    }

    fn resync(&self, target: Option<&str>) -> Result<(), String> {
        Mirror::resync(self, target).map_err(|error| error.to_string())
    }

    fn verify(&self, target: Option<&str>, timeout: Duration) -> Result<Vec<Ended>, String> {
        Mirror::verify(self, target, timeout).map_err(|error| error.to_string())
    }
}

impl Operated for Pull {
    fn name(&self) -> &str {
        &self.config().name
    }

    fn status(&self) -> MirrorStatus {
        Pull::status(self)
    }

    fn flush(&self, target: Option<&str>, timeout: Duration) -> Result<(), Vec<String>> {
        Pull::flush(self, target, timeout)
            .map_err(|behind| behind.to_string().lines().map(str::to_owned).collect())
    }

    fn pause(&self, target: Option<&str>) -> Result<(), String> {
        Pull::pause(self, target).map_err(|error| error.to_string())
    }

    fn resume(&self, target: Option<&str>, accept_deletes: bool) -> Result<(), String> {
        Pull::resume(self, target, accept_deletes).map_err(|error| error.to_string())
    }

    fn resync(&self, target: Option<&str>) -> Result<(), String> {
        Pull::resync(self, target).map_err(|error| error.to_string())
    }

    fn verify(&self, target: Option<&str>, _timeout: Duration) -> Result<Vec<Ended>, String> {
        let why = "a remote source cannot be verified yet; compare with: rsync -anic --delete";
        let chosen = self.targets(target).map_err(|error| error.to_string())?;
        Ok(chosen.into_iter().map(|url| (url, Arc::new(VerifyStatus::impossible(why)))).collect())
    }
}
