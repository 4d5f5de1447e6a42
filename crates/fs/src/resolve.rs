//! The strict walk: from a directory handle down a path, following nothing.
//!
//! The kernel does it in one call (`openat2`); where that is missing or forbidden, a walk opens one
//! component after the other. Neither follows a symbolic link, so neither can leave the directory.

use driftless_tree::RelPath;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

/// Handles that only name a directory need no permission to read it.
const PASS: OFlags =
    OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A rename anywhere on the system may make the kernel ask for another try.
const TRIES: usize = 32;

/// Set when this kernel or its sandbox was found to have no `openat2`.
static NO_OPENAT2: AtomicBool = AtomicBool::new(false);

/// Whether the error says that nothing of the wanted type is at a path: it is missing, or something
/// on the way is a file or a symbolic link and no directory.
///
/// [`Root::open_file`](crate::Root::open_file) also gives such an error for a path that is itself a
/// symbolic link.
pub fn is_absent(error: &io::Error) -> bool {
    [Errno::NOENT, Errno::NOTDIR, Errno::LOOP]
        .iter()
        .any(|absent| error.raw_os_error() == Some(absent.raw_os_error()))
}

/// Opens `path` below `dir`. The last component is not followed either.
pub(crate) fn open(dir: BorrowedFd<'_>, path: &RelPath, flags: OFlags) -> Result<OwnedFd, Errno> {
    if !NO_OPENAT2.load(Ordering::Relaxed) {
        match by_kernel(dir, path, flags) {
            Err(Errno::NOSYS) => NO_OPENAT2.store(true, Ordering::Relaxed),
            // A sandbox's refusal looks like one of the file; the walk tells which it is. Contention
            // that outlasts the tries ends in the walk, too.
            Err(Errno::PERM | Errno::AGAIN) => {}
            answer => return answer,
        }
    }
    by_component(dir, path, flags)
}

/// As [`open`], but follows symbolic links as long as they stay below `dir`. Without `openat2` it
/// follows none.
pub(crate) fn open_inside(
    dir: BorrowedFd<'_>,
    path: &RelPath,
    flags: OFlags,
) -> Result<OwnedFd, Errno> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..TRIES {
        match openat2(dir, path.as_bytes(), flags | OFlags::CLOEXEC, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            Err(Errno::NOSYS | Errno::PERM) => return by_component(dir, path, flags),
            answer => return answer,
        }
    }
    Err(Errno::AGAIN)
}

/// The directory that holds the last component of `path`, and that component.
pub(crate) fn parent<'a>(dir: BorrowedFd<'a>, path: &RelPath) -> Result<Parent<'a>, Errno> {
    match path.parent() {
        None => Ok(Parent::Start(dir)),
        Some(parent) => open(dir, &parent, PASS).map(Parent::Below),
    }
}

/// A directory on the way: the start of the walk or one below it.
pub(crate) enum Parent<'a> {
    Start(BorrowedFd<'a>),
    Below(OwnedFd),
}

impl AsFd for Parent<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Start(dir) => *dir,
            Self::Below(dir) => dir.as_fd(),
        }
    }
}

fn by_kernel(dir: BorrowedFd<'_>, path: &RelPath, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    for _ in 0..TRIES {
        match openat2(dir, path.as_bytes(), flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN | Errno::INTR) => {}
            answer => return answer,
        }
    }
    Err(Errno::AGAIN)
}

fn by_component(dir: BorrowedFd<'_>, path: &RelPath, flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut at = Parent::Start(dir);
    for ancestor in path.ancestors() {
        at = Parent::Below(openat(&at, ancestor.file_name(), PASS, Mode::empty())?);
    }
    openat(&at, path.file_name(), flags, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    type Walk = fn(BorrowedFd<'_>, &RelPath, OFlags) -> Result<OwnedFd, Errno>;
    const WALKS: [(&str, Walk); 3] =
        [("open", open), ("by_kernel", by_kernel), ("by_component", by_component)];

    #[test]
    fn no_walk_follows_a_link_in_any_component() {
        let temp = tempfile::tempdir().unwrap();
        let outside = temp.path().join("outside");
        let inside = temp.path().join("inside");
        fs::create_dir_all(outside.join("d")).unwrap();
        fs::create_dir_all(inside.join("real/d")).unwrap();
        for file in [outside.join("d/f"), inside.join("real/d/f"), inside.join("real/f")] {
            fs::write(file, "x").unwrap();
        }
        symlink("../outside", inside.join("up")).unwrap();
        symlink(&outside, inside.join("absolute")).unwrap();
        symlink("real", inside.join("near")).unwrap();
        symlink("../outside/d/f", inside.join("real/last")).unwrap();
        symlink("/proc/self/root", inside.join("magic")).unwrap();
        let dir = fs::File::open(&inside).unwrap();
        for (name, walk) in WALKS {
            let go = |path: &str| {
                walk(dir.as_fd(), &RelPath::parse(path.as_bytes()).unwrap(), OFlags::RDONLY)
            };
            assert!(go("real/d/f").is_ok(), "{name}");
            let links = ["up/d/f", "absolute/d/f", "near/d/f", "real/last", "up", "near", "magic"];
            for path in links.into_iter().chain(["real/f/x", "real/none", "none/x"]) {
                let error = go(path).expect_err(path);
                assert!(is_absent(&error.into()), "{name} {path}: {error}");
            }
        }
    }

    #[test]
    fn a_directory_without_read_permission_is_passed() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir_all(temp.path().join("a/b")).unwrap();
        let dir = fs::File::open(temp.path()).unwrap();
        for (_, walk) in WALKS {
            let path = RelPath::parse(b"a/b").unwrap();
            let handle = walk(dir.as_fd(), &path, PASS).unwrap();
            assert_eq!(
                rustix::io::read(&handle, &mut [0; 1]),
                Err(Errno::BADF),
                "a handle that only names"
            );
        }
    }
}
