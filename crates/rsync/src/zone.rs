//! Local time.

use std::env;
use std::fs;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use jiff::tz::TimeZone;

/// The zone in which times are shown and read. The system's is found out when it is used first,
/// since most runs show no time.
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
        self.0.get_or_init(of_system)
    }
}

/// Where `tzset` looks for the zone when the environment names none.
const LOCAL: &str = "/etc/localtime";

/// The system's zone. Unless `TZ` names one, its file is enough: to find out what it is called, all
/// zones there are would be looked through.
pub fn of_system() -> TimeZone {
    let file = if env::var_os("TZ").is_none() { fs::read(LOCAL).ok() } else { None };
    let zone = file.and_then(|bytes| TimeZone::tzif(LOCAL, &bytes).ok());
    zone.unwrap_or_else(TimeZone::system)
}
