//! Local time.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use jiff::tz::TimeZone;

/// The zone in which times are shown and read. The system's is found out when it is used first,
/// since that reads many files and most runs show no time.
#[derive(Debug, Clone, Default)]
pub struct Zone(Arc<OnceLock<TimeZone>>);

impl Zone {
    /// That of the system.
    pub fn system() -> Self {
        Self::default()
    }
}

impl From<TimeZone> for Zone {
    fn from(zone: TimeZone) -> Self {
        Self(Arc::new(zone.into()))
    }
}

impl Deref for Zone {
    type Target = TimeZone;

    fn deref(&self) -> &TimeZone {
        self.0.get_or_init(TimeZone::system)
    }
}
