//! What the control plane asks of mirrors.

use std::sync::Arc;
use std::time::Duration;

use driftless_live::status::MirrorStatus;
use driftless_live::{Mirror, Pull};

/// The mirrors that run now. The list changes when the configuration is read again.
pub trait Mirrors: Send + Sync + 'static {
    /// Returns them in the order of the configuration.
    fn running(&self) -> Vec<Arc<dyn Operated>>;
}

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
}
