//! The kernel's limits on inotify and what to tell the operator about them.

use crate::options::LimitReached;

/// The setting that bounds the watches of a user.
pub(crate) const MAX_USER_WATCHES: &str = "fs.inotify.max_user_watches";
/// The setting that bounds the events of an instance that wait to be read.
pub(crate) const MAX_QUEUED_EVENTS: &str = "fs.inotify.max_queued_events";
/// The setting that bounds the instances of a user.
pub(crate) const MAX_USER_INSTANCES: &str = "fs.inotify.max_user_instances";

/// The present value of a setting; 0 when it cannot be read.
pub(crate) fn present(sysctl: &str) -> u64 {
    let path = format!("/proc/sys/{}", sysctl.replace('.', "/"));
    std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// The limit as it stands with `unwatched` directories left without a watch.
///
/// The allowance is shared by all programs of the user. Since it is used up, what is missing is
/// `unwatched`; a quarter and the rounding up to a power of two leave room to grow.
pub(crate) fn watches(present: u64, unwatched: usize) -> LimitReached {
    let needed = present.saturating_add(unwatched as u64);
    let sufficient = needed.saturating_add(needed / 4).checked_next_power_of_two();
    LimitReached {
        sysctl: MAX_USER_WATCHES,
        present,
        sufficient: sufficient.unwrap_or(u64::MAX),
        unwatched,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_value_to_set_leaves_room_for_what_is_missing() {
        let limit = watches(8192, 5000);
        assert_eq!((limit.sufficient, limit.unwatched), (32768, 5000));
        assert!(watches(0, 0).sufficient >= 1);
        assert_eq!(watches(u64::MAX, 1).sufficient, u64::MAX);
    }

    #[test]
    fn the_settings_exist() {
        assert!(present(MAX_USER_WATCHES) > 0 && present(MAX_USER_INSTANCES) > 0);
        assert_eq!(present("fs.inotify.no_such_setting"), 0);
    }
}
