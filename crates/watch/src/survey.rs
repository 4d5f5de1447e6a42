//! What watching a tree needs, and what the kernel has: found out without watching.

use std::io;
use std::os::fd::AsFd;
use std::path::Path;

use driftless_tree::RelPath;

use crate::disk::{Lister, open_dir};
use crate::fanotify::{Engine, Refusal};
use crate::filesystems;
use crate::limits::{self, Kind};
use crate::options::{Backend, WatchError, WatchOptions};
use crate::root::Root;

/// From so many directories on a tree is large. A mark on a file system makes each change on it, in
/// the tree or not, dearer for whoever makes it; watches cost nobody but us, by their number.
pub(crate) const LARGE: usize = 8_192;
/// Why a tree that is not large is not watched with fanotify.
pub(crate) const SMALL: &str =
    "it has fewer than 8192 directories, and inotify costs other programs less";

/// Whether inotify suits the tree better, whatever is possible.
pub(crate) fn is_small(root: &Root, options: &WatchOptions) -> bool {
    let is_remote = || root.open().is_ok_and(|dir| filesystems::remote(dir.as_fd()).is_some());
    count(root, options, LARGE).is_ok_and(|count| count < LARGE) && !is_remote()
}

/// What watching one tree would be like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    /// The back-end that would be used.
    pub backend: Backend,
    /// Why not a better one, unless it was chosen.
    pub refused: Option<String>,
    /// Directories in the tree, without those that are skipped.
    pub directories: usize,
}

/// Finds out how the tree at `root` would be watched.
///
/// # Errors
/// As for [`crate::Watcher::start`].
pub fn survey(root: &Path, options: &WatchOptions) -> Result<Survey, WatchError> {
    let error = |source: io::Error| WatchError::Root { path: root.into(), source };
    let canonical = root.canonicalize().map_err(error)?;
    let opened = Root::new(canonical).map_err(|errno| error(errno.into()))?;
    let directories = count(&opened, options, usize::MAX).map_err(error)?;
    let dir = opened.open().map_err(|errno| error(errno.into()))?;
    let is_remote = filesystems::remote(dir.as_fd()).is_some();
    let (backend, refused) = match options.backend {
        None if directories < LARGE && !is_remote => (Backend::Inotify, Some(SMALL.to_owned())),
        Some(Backend::Fanotify) | None => match Engine::start(&opened, options) {
            Ok(_) => (Backend::Fanotify, None),
            Err(Refusal(why)) if options.backend.is_some() => {
                return Err(WatchError::Refused { path: root.into(), why });
            }
            Err(Refusal(why)) if is_remote => (Backend::Poll, Some(why)),
            Err(Refusal(why)) => (Backend::Inotify, Some(why)),
        },
        Some(chosen) => (chosen, None),
    };
    Ok(Survey { backend, refused, directories })
}

/// The directories of a tree, up to `most`; what cannot be read counts as one.
fn count(root: &Root, options: &WatchOptions, most: usize) -> io::Result<usize> {
    let mut lister = Lister::new();
    let mut open: Vec<Option<RelPath>> = vec![None];
    let mut count = 0;
    let top = root.open()?;
    while let Some(path) = open.pop().filter(|_| count < most) {
        count += 1;
        let dir = match &path {
            None => Ok(top.try_clone()?),
            Some(path) => open_dir(&top, path.as_bytes()),
        };
        let Ok(dir) = dir else { continue };
        for name in lister.subdirectories(dir.as_fd()).unwrap_or_default() {
            let below = RelPath::child(path.as_ref(), &name);
            open.extend(below.ok().filter(|below| !(options.skip)(below)).map(Some));
        }
    }
    Ok(count)
}

/// The kernel's own length of a queue. A shorter one costs looks at the whole tree, which a burst of
/// changes then makes necessary.
const ORDINARY_QUEUE: u64 = 16_384;

/// One limit of the kernel, with what is used of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelLimit {
    /// The setting, as `sysctl` names it.
    pub sysctl: &'static str,
    /// Its value.
    pub present: u64,
    /// What the programs of this user have taken, as far as that can be seen.
    pub in_use: u64,
    /// What watching the trees takes.
    pub wanted: u64,
    /// A value that leaves room.
    pub sufficient: u64,
}

impl KernelLimit {
    /// Whether there is enough left.
    pub fn is_enough(&self) -> bool {
        self.in_use.saturating_add(self.wanted) <= self.present
    }
}

/// The limits that watching these trees meets, with what they take in all.
pub fn kernel_limits(surveys: &[Survey]) -> Vec<KernelLimit> {
    let with = |backend| surveys.iter().filter(move |survey| survey.backend == backend);
    let used = limits::in_use();
    let mut all = Vec::new();
    let fanotify = with(Backend::Fanotify).count() as u64;
    let inotify = with(Backend::Inotify).count() as u64;
    let watches: usize = with(Backend::Inotify).map(|survey| survey.directories + 1).sum();
    for (kind, wanted) in [
        (Kind::FanotifyGroups, fanotify),
        (Kind::FanotifyMarks, fanotify),
        (Kind::InotifyInstances, inotify),
        (Kind::InotifyWatches, watches as u64),
    ] {
        // A limit that nothing meets is no news, unless nothing was asked about.
        if wanted > 0 || surveys.is_empty() {
            let (present, in_use) = (limits::present(kind.sysctl()), used.of(kind));
            let sufficient = limits::room(in_use.saturating_add(wanted)).max(present);
            all.push(KernelLimit { sysctl: kind.sysctl(), present, in_use, wanted, sufficient });
        }
    }
    // Each instance has a queue of its own; with the rights that it takes, fanotify's has no limit.
    if inotify > 0 || surveys.is_empty() {
        let (sysctl, wanted) = (limits::MAX_QUEUED_EVENTS, ORDINARY_QUEUE);
        let present = limits::present(sysctl);
        let sufficient = wanted.max(present);
        all.push(KernelLimit { sysctl, present, in_use: 0, wanted, sufficient });
    }
    all
}

/// Whether this process could watch the file system that `/` is on with fanotify; why not.
///
/// # Errors
/// The reason.
pub fn fanotify_possible() -> Result<(), String> {
    let root = Root::new("/".into()).map_err(|error| error.to_string())?;
    // Other file systems do not matter: nothing below is looked at.
    let options = WatchOptions { skip: Box::new(|_| true), ..WatchOptions::default() };
    Engine::start(&root, &options).map(drop).map_err(|Refusal(why)| why)
}
