//! Making trees for tests: files, folders, times.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};

/// Sets the access and modification times of `path` itself, also of a symbolic link.
///
/// The kernel reports that as a change of attributes.
///
/// # Panics
/// When it cannot be set.
#[track_caller]
pub fn set_mtime(path: &Path, seconds: i64, nanoseconds: i64) {
    set_times(path, (seconds, nanoseconds), (seconds, nanoseconds));
}

/// Sets the modification time alone, which the kernel reports as if the content had changed.
///
/// # Panics
/// When it cannot be set.
#[track_caller]
pub fn set_mtime_alone(path: &Path, seconds: i64, nanoseconds: i64) {
    let access = Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT };
    set(path, access, Timespec { tv_sec: seconds, tv_nsec: nanoseconds });
}

/// Sets the times of the last access and modification, each in seconds and nanoseconds.
///
/// # Panics
/// When they cannot be set.
#[track_caller]
pub fn set_times(path: &Path, access: (i64, i64), modification: (i64, i64)) {
    let time = |(tv_sec, tv_nsec)| Timespec { tv_sec, tv_nsec };
    set(path, time(access), time(modification));
}

#[track_caller]
fn set(path: &Path, last_access: Timespec, last_modification: Timespec) {
    let times = Timestamps { last_access, last_modification };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW)
        .unwrap_or_else(|e| panic!("cannot set the time of {}: {e}", path.display()));
}

/// Gives everything below `path`, and `path` itself, one time long ago: nothing then depends on the
/// second in which it was made, and a copy made within that second keeps no time of its own.
///
/// # Panics
/// When a time cannot be set.
#[track_caller]
pub fn age(path: &Path) {
    if path.symlink_metadata().is_ok_and(|found| found.is_dir()) {
        for entry in fs::read_dir(path).expect("the tree was made") {
            age(&entry.expect("the tree was made").path());
        }
    }
    set_mtime(path, 1_400_000_000, 0);
}

/// A script that can be run at once.
///
/// A process of its own writes it: while this one has a file open for writing, a child that another
/// thread starts has it too, and until that child runs its program nobody can run the file.
///
/// # Panics
/// When it cannot be written.
#[track_caller]
pub fn executable(path: impl AsRef<Path>, text: impl AsRef<[u8]>) {
    let path = path.as_ref();
    let mut writer = Command::new("sh")
        .args(["-c", "cat > \"$0\" && chmod 755 \"$0\""])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .expect("there is a shell");
    let sent = writer.stdin.take().expect("it was asked for").write_all(text.as_ref());
    let ended = writer.wait().expect("it was started");
    assert!(sent.is_ok() && ended.success(), "cannot write {}", path.display());
}

/// Bytes that no other seed gives and that do not compress.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut bytes = vec![0; len];
    random.fill(&mut bytes);
    bytes
}

/// A tree of `files` files of `len` bytes, spread evenly over `folders` folders in two levels.
///
/// # Panics
/// When it cannot be written.
#[track_caller]
pub fn forest(root: &Path, folders: usize, files: usize, len: usize) {
    let folders = folders.max(1);
    for folder in 0..folders {
        let dir = root.join(format!("s{:02}/d{folder:04}", folder % 20));
        fs::create_dir_all(&dir).expect("the tree can be made");
        for file in (folder..files).step_by(folders) {
            fs::write(dir.join(format!("f{file:06}")), noise(file as u64, len))
                .expect("the tree can be made");
        }
    }
}

/// The path of file number `file` in a [`forest`] of `folders` folders, relative to its root.
pub fn forest_file(folders: usize, file: usize) -> String {
    let folder = file % folders;
    format!("s{:02}/d{folder:04}/f{file:06}", folder % 20)
}
