//! The kernel's limits and what to tell the operator about them.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use crate::options::LimitReached;

/// The setting that bounds the watches of a user.
pub(crate) const MAX_USER_WATCHES: &str = "fs.inotify.max_user_watches";
/// The setting that bounds the events of an instance that wait to be read.
pub(crate) const MAX_QUEUED_EVENTS: &str = "fs.inotify.max_queued_events";
/// The setting that bounds the instances of a user.
pub(crate) const MAX_USER_INSTANCES: &str = "fs.inotify.max_user_instances";

/// The setting that bounds the fanotify groups of a user.
pub(crate) const MAX_USER_GROUPS: &str = "fs.fanotify.max_user_groups";
/// The setting that bounds the fanotify marks of a user.
pub(crate) const MAX_USER_MARKS: &str = "fs.fanotify.max_user_marks";

/// What a limit is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    FanotifyGroups,
    FanotifyMarks,
    InotifyInstances,
    InotifyWatches,
}

impl Kind {
    pub fn sysctl(self) -> &'static str {
        match self {
            Self::FanotifyGroups => MAX_USER_GROUPS,
            Self::FanotifyMarks => MAX_USER_MARKS,
            Self::InotifyInstances => MAX_USER_INSTANCES,
            Self::InotifyWatches => MAX_USER_WATCHES,
        }
    }
}

/// What the programs of this user have taken.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct InUse {
    groups: u64,
    marks: u64,
    instances: u64,
    watches: u64,
}

impl InUse {
    pub fn of(&self, kind: Kind) -> u64 {
        match kind {
            Kind::FanotifyGroups => self.groups,
            Kind::FanotifyMarks => self.marks,
            Kind::InotifyInstances => self.instances,
            Kind::InotifyWatches => self.watches,
        }
    }

    /// Counts what one descriptor stands for.
    fn add(&mut self, link: &Path, info: &Path) {
        let Ok(target) = fs::read_link(link) else { return };
        let is = |name: &str| target.as_os_str() == name;
        let lines = |start: &str| {
            let text = fs::read_to_string(info).unwrap_or_default();
            text.lines().filter(|line| line.starts_with(start)).count() as u64
        };
        if is("anon_inode:inotify") {
            self.instances += 1;
            self.watches += lines("inotify wd:");
        } else if is("anon_inode:[fanotify]") {
            self.groups += 1;
            // The first line is about the group.
            self.marks += lines("fanotify ").saturating_sub(1);
        }
    }
}

/// Looks through the processes of this user; those that cannot be looked into count as nothing.
pub(crate) fn in_use() -> InUse {
    let mut used = InUse::default();
    let user = rustix::process::getuid().as_raw();
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        let path = process.path();
        if !fs::metadata(path.join("fd")).is_ok_and(|meta| meta.uid() == user) {
            continue;
        }
        for fd in fs::read_dir(path.join("fd")).into_iter().flatten().flatten() {
            used.add(&fd.path(), &path.join("fdinfo").join(fd.file_name()));
        }
    }
    used
}

/// A value for a limit of which `needed` is taken: a quarter, and the rounding up to a power of two,
/// leave room to grow.
pub(crate) fn room(needed: u64) -> u64 {
    needed.saturating_add(needed / 4).checked_next_power_of_two().unwrap_or(u64::MAX)
}

/// The present value of a setting; 0 when it cannot be read.
pub(crate) fn present(sysctl: &str) -> u64 {
    let path = format!("/proc/sys/{}", sysctl.replace('.', "/"));
    std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(0)
}

/// The limit as it stands with `unwatched` directories left without a watch.
///
/// The allowance is shared by all programs of the user. Since it is used up, what is missing is
/// `unwatched`.
pub(crate) fn watches(present: u64, unwatched: usize) -> LimitReached {
    let sufficient = room(present.saturating_add(unwatched as u64));
    LimitReached { sysctl: MAX_USER_WATCHES, present, sufficient, unwatched }
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
        assert!(present(MAX_USER_GROUPS) > 0 && present(MAX_USER_MARKS) > 0);
        assert_eq!(present("fs.inotify.no_such_setting"), 0);
    }

    #[test]
    fn what_this_process_has_taken_is_counted() {
        use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
        let dir = tempfile::tempdir().unwrap();
        let instance = inotify::init(CreateFlags::empty()).unwrap();
        inotify::add_watch(&instance, dir.path(), WatchFlags::CREATE).unwrap();
        let used = in_use();
        assert!(used.of(Kind::InotifyInstances) >= 1, "{used:?}");
        assert!(used.of(Kind::InotifyWatches) >= 1, "{used:?}");
    }
}
