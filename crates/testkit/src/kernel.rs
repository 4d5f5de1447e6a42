//! Kernel settings that a test changes for a moment, and processes as the kernel counts them.

use std::path::PathBuf;
use std::{fs, io};

/// A kernel setting with another value until the guard is dropped.
///
/// The setting belongs to the whole machine: hold the guard only around the start of the process
/// that is to see it, and not in two tests at a time.
#[derive(Debug)]
pub struct Sysctl {
    file: PathBuf,
    before: String,
}

impl Sysctl {
    /// Sets `name` (as in `fs.inotify.max_queued_events`) to `value`.
    ///
    /// # Panics
    /// When the setting cannot be read or written, which needs root.
    #[track_caller]
    pub fn set(name: &str, value: u64) -> Self {
        let file = PathBuf::from("/proc/sys").join(name.replace('.', "/"));
        let before =
            fs::read_to_string(&file).unwrap_or_else(|e| panic!("cannot read {name}: {e}"));
        fs::write(&file, value.to_string())
            .unwrap_or_else(|e| panic!("this test needs root to set {name}: {e}"));
        Self { file, before }
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        if let Err(error) = fs::write(&self.file, self.before.trim()) {
            eprintln!("cannot restore {} to {}: {error}", self.file.display(), self.before.trim());
        }
    }
}

/// Processor time and memory of a group of processes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Usage {
    /// Seconds of processor time, user and system, with the children that were waited for.
    pub cpu_seconds: f64,
    /// Resident memory in bytes, summed over the living processes.
    pub resident_bytes: u64,
}

/// What the living processes of process group `group` have used, with their finished children.
///
/// # Errors
/// When the process table cannot be read.
pub fn group_usage(group: u32) -> io::Result<Usage> {
    let mut sum = Usage::default();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let Ok(text) = fs::read_to_string(path.join("stat")) else { continue };
        // The command name may hold blanks and parentheses: fields are counted behind the last one.
        let Some((_, rest)) = text.rsplit_once(") ") else { continue };
        let fields: Vec<&str> = rest.split(' ').collect();
        let number = |index: usize| fields.get(index).and_then(|f| f.parse::<u64>().ok());
        if number(2) != Some(u64::from(group)) {
            continue;
        }
        let ticks: u64 = (11..=14).filter_map(number).sum();
        sum.cpu_seconds += ticks as f64 / rustix::param::clock_ticks_per_second() as f64;
        sum.resident_bytes += number(21).unwrap_or(0) * rustix::param::page_size() as u64;
    }
    Ok(sum)
}
