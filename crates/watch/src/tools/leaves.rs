//! Directories that have nothing below them, told by their link count alone.
//!
//! On file systems that count `..` entries a directory with two links has no sub-directories, so that a
//! walk need not open it. Whatever does not keep that count is not trusted.

use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, FileType, fstat, fstatfs, statat};
use rustix::io::Errno;

/// `f_type` of file systems that count the links of directories. statfs(2), the list of types.
const COUNTING: [u64; 3] = [
    0xef53,      // ext2, ext3, ext4
    0x0102_1994, // tmpfs
    0x5846_5342, // xfs
];

/// What is known of the devices that were met.
#[derive(Debug, Default)]
pub struct Leaves {
    /// Device numbers and whether their link counts are kept.
    devices: Vec<(u64, bool)>,
}

impl Leaves {
    /// Whether link counts on the file system of `dir` can be trusted, with its device number.
    pub fn trusts(&mut self, dir: BorrowedFd<'_>) -> Result<(u64, bool), Errno> {
        let device = fstat(dir)?.st_dev;
        if let Some(known) = self.devices.iter().find(|(known, _)| *known == device) {
            return Ok(*known);
        }
        #[allow(clippy::unnecessary_cast, reason = "the type differs between architectures")]
        let kind = fstatfs(dir)?.f_type as u64;
        self.devices.push((device, COUNTING.contains(&kind)));
        Ok((device, COUNTING.contains(&kind)))
    }
}

/// Whether `name` in `dir` is a directory without sub-directories on that device.
pub fn is_leaf(dir: impl AsFd, name: &std::ffi::CStr, device: u64) -> bool {
    statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).is_ok_and(|stat| {
        stat.st_dev == device
            && stat.st_nlink == 2
            && FileType::from_raw_mode(stat.st_mode) == FileType::Directory
    })
}
