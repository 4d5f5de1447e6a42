//! Kernel settings that a test changes for a moment, and processes as the kernel counts them.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::path::PathBuf;
use std::process::Command;

/// Excludes the tests of all processes from each other. The settings belong to the whole machine,
/// so this path does not follow `TMPDIR`.
const LOCK: &str = "/tmp/driftless-sysctl.lock";

/// Nobody else's [`Sysctl`] lives, in any process, while this does.
///
/// The lock file holds what a living [`Sysctl`] has changed, as `name value`. What is found there
/// was left by a test that was killed, and is put back before anything else happens.
#[derive(Debug)]
pub struct Untouched {
    record: File,
}

impl Untouched {
    /// Waits for its turn; the kernel has its own settings from now on.
    ///
    /// # Panics
    /// When the lock file cannot be used, or a killed test's setting cannot be put back.
    #[track_caller]
    pub fn settings() -> Self {
        let open = File::options().read(true).write(true).create(true).truncate(false).open(LOCK);
        // Whoever cannot change settings cannot write the file, but can wait for its turn.
        let open = open.or_else(|_| File::open(LOCK));
        let mut record = open.unwrap_or_else(|e| panic!("cannot open {LOCK}: {e}"));
        record.lock().expect("a file can be locked");
        let mut left = String::new();
        record.read_to_string(&mut left).expect("the lock file is text");
        let mut this = Self { record };
        if let Some((name, value)) = left.trim().split_once(' ') {
            put(name, value).unwrap_or_else(|e| panic!("cannot restore {name} to {value}: {e}"));
            this.note("");
        }
        this
    }

    #[track_caller]
    fn note(&mut self, text: &str) {
        let written = (self.record.rewind())
            .and_then(|()| self.record.set_len(0))
            .and_then(|()| self.record.write_all(text.as_bytes()));
        written.unwrap_or_else(|e| panic!("cannot write {LOCK}: {e}"));
    }
}

/// A kernel setting with another value until the guard is dropped.
///
/// The setting belongs to the whole machine: hold the guard only around the start of the process
/// that is to see it.
#[derive(Debug)]
pub struct Sysctl {
    name: String,
    before: String,
    lock: Untouched,
}

impl Sysctl {
    /// Sets `name` (as in `fs.inotify.max_queued_events`) to `value`.
    ///
    /// # Panics
    /// When the setting cannot be read or written, which needs root.
    #[track_caller]
    pub fn set(name: &str, value: u64) -> Self {
        let mut lock = Untouched::settings();
        let before = fs::read_to_string(file(name));
        let before = before.unwrap_or_else(|e| panic!("cannot read {name}: {e}")).trim().to_owned();
        // First the record: whoever is killed behind it has told how to undo.
        lock.note(&format!("{name} {before}"));
        put(name, &value.to_string())
            .unwrap_or_else(|e| panic!("this test needs root to set {name}: {e}"));
        Self { name: name.to_owned(), before, lock }
    }
}

impl Drop for Sysctl {
    fn drop(&mut self) {
        match put(&self.name, &self.before) {
            Ok(()) => self.lock.note(""),
            Err(error) => eprintln!("cannot restore {} to {}: {error}", self.name, self.before),
        }
    }
}

fn put(name: &str, value: &str) -> io::Result<()> {
    fs::write(file(name), value)
}

fn file(name: &str) -> PathBuf {
    PathBuf::from("/proc/sys").join(name.replace('.', "/"))
}

/// Whether user namespaces can be made here, for limits of a test's own; says so when they cannot, as
/// below `chroot`.
pub fn has_user_namespaces() -> bool {
    unshares(&["--user", "--map-root-user"])
}

/// Whether mount namespaces can be made here, for mounts that nobody else sees; says so when they
/// cannot, as in a chroot into a directory that is no mount point.
pub fn has_mount_namespaces() -> bool {
    unshares(&["--mount"])
}

fn unshares(namespaces: &[&str]) -> bool {
    let made = Command::new("unshare").args(namespaces).arg("true").output();
    let has = made.is_ok_and(|output| output.status.success());
    if !has {
        println!("SKIPPED: unshare {} is not possible here", namespaces.join(" "));
    }
    has
}

/// The processes of process group `group` but its leader.
///
/// # Errors
/// When the process table cannot be read.
pub fn followers(group: u32) -> io::Result<Vec<u32>> {
    let group_text = group.to_string();
    let member = |(path, fields): (PathBuf, Vec<String>)| {
        let pid: u32 = path.file_name()?.to_str()?.parse().ok()?;
        (pid != group && fields.get(2) == Some(&group_text)).then_some(pid)
    };
    Ok(processes()?.into_iter().filter_map(member).collect())
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
