//! From the kernel's `stat` to the vocabulary's [`Meta`].

use driftless_tree::entry::{Kind, Meta, Timestamp};
use rustix::fs::{FileType, Stat};
use std::io;

/// # Errors
/// A file type that the vocabulary does not know.
#[allow(clippy::unnecessary_cast, reason = "the widths differ between architectures")]
pub(crate) fn of_stat(stat: &Stat) -> io::Result<Meta> {
    let mode = stat.st_mode;
    let kind = Kind::of_mode(mode)
        .ok_or_else(|| io::Error::new(io::ErrorKind::Unsupported, "file of unknown type"))?;
    let rdev = match kind.is_device() {
        true => (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev)),
        false => (0, 0),
    };
    Ok(Meta {
        kind,
        mode,
        dev: stat.st_dev,
        ino: stat.st_ino,
        link_count: stat.st_nlink as u64,
        uid: stat.st_uid,
        gid: stat.st_gid,
        size: stat.st_size as u64,
        mtime: Timestamp { secs: stat.st_mtime as i64, nanos: stat.st_mtime_nsec as u32 },
        atime: Timestamp { secs: stat.st_atime as i64, nanos: stat.st_atime_nsec as u32 },
        ctime: Timestamp { secs: stat.st_ctime as i64, nanos: stat.st_ctime_nsec as u32 },
        rdev,
    })
}

/// The type that a directory says an entry has; `None` when it does not say.
pub(crate) fn kind_of(file_type: FileType) -> Option<Kind> {
    Some(match file_type {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Dir,
        FileType::Symlink => Kind::Symlink,
        FileType::CharacterDevice => Kind::CharDevice,
        FileType::BlockDevice => Kind::BlockDevice,
        FileType::Fifo => Kind::Fifo,
        FileType::Socket => Kind::Socket,
        _ => return None,
    })
}
