//! What is said when a limit of the kernel is reached: which setting, its value, a sufficient one.

use crate::limits;

/// Said after the original's two lines. `missing` directories have no watch yet, if that was counted.
pub fn watches(armed: usize, missing: Option<usize>) -> String {
    let limit =
        limits::watches(limits::present(limits::MAX_USER_WATCHES), missing.unwrap_or(armed));
    let missing = match missing {
        Some(missing) => format!("{missing} more are needed"),
        None => "more are needed".to_owned(),
    };
    format!(
        "{} is {} for all programs of this user; this one has {armed} watches and {missing}. \
         Try: sysctl -w {}={}",
        limit.sysctl, limit.present, limit.sysctl, limit.sufficient
    )
}

/// Said when events were lost.
pub fn overflow() -> String {
    let setting = limits::MAX_QUEUED_EVENTS;
    let present = limits::present(setting);
    format!(
        "Events were lost: the kernel's queue was full ({setting} is {present}). The watches have been \
         compared with the disk. To make room, before starting again: sysctl -w {setting}={}",
        present.max(1).saturating_mul(8)
    )
}

/// Said when the events of a whole file system were lost.
pub fn overflow_of_marks() -> String {
    format!(
        "Events were lost: the kernel's queue was full. {}",
        raise("fanotify/max_queued_events")
    )
}

/// Which setting to raise, below `/proc/sys/fs`, and to what.
pub fn raise(setting: &str) -> String {
    let name = format!("fs.{}", setting.replace('/', "."));
    let present = limits::present(&name);
    format!("{name} is {present}. Try: sysctl -w {name}={}", present.max(1).saturating_mul(8))
}
