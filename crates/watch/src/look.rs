//! Opening and arming a directory by its name: one, or many by two threads.
//!
//! Nothing here knows the tree of nodes; what was found is a fact to be put into it at once.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use driftless_fs::working_directory::OwnWorkingDirectory;
use rustix::io::Errno;

use crate::disk::{self, Identity};
use crate::filesystems;
use crate::kernel::Kernel;
use crate::options::Backend;

/// What is at a name: a directory that was opened and armed, or why there is none.
pub(crate) type Look = Result<Opened, Errno>;

/// A directory that was opened.
pub(crate) struct Opened {
    pub identity: Identity,
    pub dir: OwnedFd,
    pub armed: Armed,
}

/// What came of watching a directory.
pub(crate) enum Armed {
    /// Nothing is to be watched.
    Chosen,
    /// It is on a file system of this name, which others can change.
    Remote(&'static str),
    /// What the kernel said.
    Tried(Result<i32, Errno>),
}

/// How to look.
#[derive(Clone, Copy)]
pub(crate) struct Looker<'a> {
    pub kernel: &'a Kernel,
    pub backend: Option<Backend>,
}

const THREADS: usize = 2;

impl Looker<'_> {
    /// Opens what is at `name` in `dir`, and arms it.
    pub fn look(self, dir: BorrowedFd<'_>, name: &[u8]) -> Look {
        self.open(dir, name, |dir| self.kernel.watch(dir))
    }

    /// The same for many names, in their order.
    pub fn look_at_all(self, dir: BorrowedFd<'_>, names: &[Box<[u8]>]) -> Vec<Look> {
        let part = |names: &[Box<[u8]>]| -> Vec<Look> {
            let own = OwnWorkingDirectory::new().ok();
            let watch = |dir: BorrowedFd<'_>| match &own {
                Some(own) => self.kernel.watch_from(own, dir),
                None => self.kernel.watch(dir),
            };
            names.iter().map(|name| self.open(dir, name, watch)).collect()
        };
        std::thread::scope(|scope| {
            let parts = names.chunks(names.len().div_ceil(THREADS).max(1));
            let threads: Vec<_> = parts.map(|names| scope.spawn(move || part(names))).collect();
            let looks = threads.into_iter().map(|thread| match thread.join() {
                Ok(looks) => looks,
                Err(panic) => std::panic::resume_unwind(panic),
            });
            looks.flatten().collect()
        })
    }

    /// Watches a directory that is open.
    pub fn arm(self, dir: BorrowedFd<'_>) -> Armed {
        self.try_to_arm(dir, |dir| self.kernel.watch(dir))
    }

    fn open(
        self,
        dir: BorrowedFd<'_>,
        name: &[u8],
        watch: impl Fn(BorrowedFd<'_>) -> Result<i32, Errno>,
    ) -> Look {
        let dir = disk::open_dir(dir, name)?;
        let identity = Identity::of(&dir)?;
        let armed = self.try_to_arm(dir.as_fd(), watch);
        Ok(Opened { identity, dir, armed })
    }

    fn try_to_arm(
        self,
        dir: BorrowedFd<'_>,
        watch: impl Fn(BorrowedFd<'_>) -> Result<i32, Errno>,
    ) -> Armed {
        match self.backend {
            Some(Backend::Poll) => return Armed::Chosen,
            Some(Backend::Fanotify | Backend::Inotify) => {}
            None => {
                if let Some(name) = filesystems::remote(dir) {
                    return Armed::Remote(name);
                }
            }
        }
        Armed::Tried(watch(dir))
    }
}
