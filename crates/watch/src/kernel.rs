//! One inotify instance: its queue and its watches.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use driftless_fs::working_directory::OwnWorkingDirectory;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::Errno;

/// What is asked of every directory. Not OPEN, ACCESS or CLOSE_NOWRITE: our own listings must make no
/// events. Not EXCL_UNLINK: it also hides writes through a descriptor whose file was made without a
/// name and linked later.
const MASK: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::DELETE_SELF)
    .union(WatchFlags::MOVE_SELF)
    .union(WatchFlags::ONLYDIR);

/// What is asked of the directory above the root: whether the root's name means something else.
const MASK_ABOVE: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::ONLYDIR);

/// A read returns whole records, up to 272 bytes each.
const READ_LEN: usize = 256 * 1024;

pub(crate) struct Kernel {
    /// None where nothing is watched.
    instance: Option<OwnedFd>,
    buffer: Vec<u8>,
}

impl Kernel {
    pub fn new() -> Result<Self, Errno> {
        let instance = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?;
        Ok(Self { instance: Some(instance), buffer: vec![0; READ_LEN] })
    }

    /// No instance: nothing can be watched, nothing is queued.
    pub fn none() -> Self {
        Self { instance: None, buffer: Vec::new() }
    }

    /// What becomes readable when there are events.
    pub fn queue(&self) -> Option<BorrowedFd<'_>> {
        self.instance.as_ref().map(AsFd::as_fd)
    }

    fn instance(&self) -> Result<BorrowedFd<'_>, Errno> {
        self.queue().ok_or(Errno::OPNOTSUPP)
    }

    /// Watches the directory that `dir` is open on. An inode that is watched already gives the
    /// descriptor that it has.
    pub fn watch(&self, dir: BorrowedFd<'_>) -> Result<i32, Errno> {
        // By its descriptor, so that no rename can slip in between opening and watching.
        inotify::add_watch(self.instance()?, format!("/proc/self/fd/{}", dir.as_raw_fd()), MASK)
    }

    /// The same for a thread with a working directory of its own, which is left in `dir`: the kernel
    /// needs half the time when it has no path to follow.
    pub fn watch_from(&self, own: &OwnWorkingDirectory, dir: BorrowedFd<'_>) -> Result<i32, Errno> {
        match own.stand_in(dir) {
            Ok(()) => inotify::add_watch(self.instance()?, c".", MASK),
            // It may be watched without the right to search it.
            Err(_) => self.watch(dir),
        }
    }

    /// Watches the directory above the root.
    pub fn watch_above(&self, dir: &Path) -> Result<i32, Errno> {
        inotify::add_watch(self.instance()?, dir, MASK_ABOVE)
    }

    /// Ends a watch; that it has ended by itself is no error.
    pub fn unwatch(&self, wd: i32) {
        if let Some(instance) = &self.instance {
            let _ = inotify::remove_watch(instance, wd);
        }
    }

    /// Appends what is queued, one read's worth at most, and says whether there was anything.
    pub fn read(&mut self, records: &mut Vec<u8>) -> Result<bool, Errno> {
        let Some(instance) = &self.instance else { return Ok(false) };
        loop {
            match rustix::io::read(instance, &mut self.buffer[..]) {
                Ok(len) => {
                    records.extend_from_slice(&self.buffer[..len]);
                    return Ok(len > 0);
                }
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
    }
}
