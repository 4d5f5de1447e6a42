//! Kernel settings that a test changes for a moment, and processes as the kernel counts them.

use std::fs::{self, File};
use std::io;
use std::path::PathBuf;

/// A kernel setting with another value until the guard is dropped.
///
/// The setting belongs to the whole machine: hold the guard only around the start of the process
/// that is to see it. Guards of all processes exclude each other by a lock on a file; otherwise one
/// could take the other's value for the original and leave it behind.
#[derive(Debug)]
pub struct Sysctl {
    file: PathBuf,
    before: String,
    _lock: File,
}

impl Sysctl {
    /// Sets `name` (as in `fs.inotify.max_queued_events`) to `value`.
    ///
    /// # Panics
    /// When the setting cannot be read or written, which needs root.
    #[track_caller]
    pub fn set(name: &str, value: u64) -> Self {
        let lock = File::create(std::env::temp_dir().join("driftless-sysctl.lock"))
            .expect("the folder for temporary files is writable");
        lock.lock().expect("a file can be locked");
        let file = PathBuf::from("/proc/sys").join(name.replace('.', "/"));
        let before =
            fs::read_to_string(&file).unwrap_or_else(|e| panic!("cannot read {name}: {e}"));
        fs::write(&file, value.to_string())
            .unwrap_or_else(|e| panic!("this test needs root to set {name}: {e}"));
        Self { file, before, _lock: lock }
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
    for (_, fields) in processes()? {
        if fields.get(2).is_some_and(|field| *field == group.to_string()) {
            sum.cpu_seconds += ticks(fields.get(11..=14).unwrap_or_default());
            let pages = fields.get(21).and_then(|field| field.parse::<u64>().ok()).unwrap_or(0);
            sum.resident_bytes += pages * rustix::param::page_size() as u64;
        }
    }
    Ok(sum)
}

/// Bytes that the living processes of process group `group` have read by system calls.
///
/// # Errors
/// When the process table cannot be read.
pub fn bytes_read(group: u32) -> io::Result<u64> {
    let mut sum = 0;
    for (path, fields) in processes()? {
        if fields.get(2).is_some_and(|field| *field == group.to_string()) {
            let text = fs::read_to_string(path.join("io")).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix("rchar: "));
            sum += line.and_then(|count| count.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(sum)
}

/// Seconds of processor time that the finished and awaited children of this process have used.
pub fn finished_children_cpu() -> f64 {
    let text = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = fields(&text).unwrap_or_default();
    ticks(fields.get(13..=14).unwrap_or_default())
}

/// The folders of all processes in the process table, with the fields of their `stat`.
fn processes() -> io::Result<Vec<(PathBuf, Vec<String>)>> {
    let mut all = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let path = entry?.path();
        let Ok(text) = fs::read_to_string(path.join("stat")) else { continue };
        if let Some(fields) = fields(&text) {
            all.push((path, fields));
        }
    }
    Ok(all)
}

/// The fields of a `stat` from the state on: the command's name before it may hold anything.
fn fields(stat: &str) -> Option<Vec<String>> {
    let (_, rest) = stat.rsplit_once(") ")?;
    Some(rest.split_whitespace().map(str::to_owned).collect())
}

fn ticks(fields: &[String]) -> f64 {
    let ticks: u64 = fields.iter().filter_map(|field| field.parse::<u64>().ok()).sum();
    ticks as f64 / rustix::param::clock_ticks_per_second() as f64
}
