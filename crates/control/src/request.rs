//! Bodies of requests, as JSON. An empty body is one with all defaults.

use serde::{Deserialize, Serialize};

/// `POST /api/flush` and `POST /api/verify`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Wait {
    /// `MIRROR` or `MIRROR/TARGET`; all when absent.
    pub mirror: Option<String>,
    /// Seconds to wait.
    pub timeout: f64,
}

impl Default for Wait {
    fn default() -> Self {
        Self { mirror: None, timeout: 3600.0 }
    }
}

/// `POST /api/pause` and `POST /api/resync`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Choice {
    /// `MIRROR` or `MIRROR/TARGET`; all when absent.
    pub mirror: Option<String>,
}

/// `POST /api/resume`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Resume {
    /// `MIRROR` or `MIRROR/TARGET`; all when absent.
    pub mirror: Option<String>,
    /// Whether deletions that the guard held up are to happen.
    pub accept_deletes: bool,
}
