//! One fanotify group and what it is asked to tell: whole file systems where that is possible, single
//! directories where it is not.
//!
//! Invariants
//! * Without `-S` nothing outside the paths of the command line is told.
//! * What this process does is not told.
//! * With marks on single directories each directory that appears is marked, then listed.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use driftless_fs::fanotify::{Mask, Queue, Scope};
use rustix::fs::{FileType, Mode, OFlags, RawDir};
use rustix::io::Errno;

use super::follow::{Asked, Counters};
use super::handles::Handles;
use super::layout::Event;
use super::list::Targets;
use super::names;
use crate::fanotify::Reader;

/// The events that both back ends know, by the same bits.
const KERNEL_BITS: u32 = names::ALL;
/// Events of a name in a directory, as against events of what has the name.
const ENTRY_BITS: u32 = names::CREATE | names::DELETE | names::MOVE;
const LIST_BUFFER_LEN: usize = 32 * 1024;

/// A path of the command line.
struct Top {
    /// Absolute, without links; directories with a slash at the end.
    path: Vec<u8>,
    /// Whether all below it is told about.
    deep: bool,
}

/// What is marked.
pub struct Marks {
    reader: Reader,
    handles: Handles,
    tops: Vec<Top>,
    targets: Targets,
    asked: Asked,
    mask: Mask,
    /// Whether everything on the file systems is told.
    everything: bool,
    /// Whether single directories are marked, so that new ones need a mark.
    single: bool,
    recursive: bool,
    no_dereference: bool,
    marked: usize,
    own_pid: i32,
    /// A directory has left its place, and none has arrived since.
    leaving: bool,
    counters: Counters,
}

impl Marks {
    /// A group without marks.
    ///
    /// # Errors
    /// `EINVAL` when the kernel is too old, `EMFILE` when the user's groups are used up.
    pub fn new(
        asked: Asked,
        targets: Targets,
        recursive: bool,
        no_dereference: bool,
        everything: bool,
    ) -> io::Result<Self> {
        let reader = Reader::new(Queue::Unlimited).or_else(|_| Reader::new(Queue::Limited))?;
        let bits = (asked.mask & KERNEL_BITS) | asked.extra();
        Ok(Self {
            reader,
            handles: Handles::default(),
            tops: Vec::new(),
            targets,
            asked,
            mask: Mask(u64::from(bits)).union(Mask::ONDIR),
            everything,
            single: false,
            recursive,
            no_dereference,
            marked: 0,
            own_pid: rustix::process::getpid().as_raw_pid(),
            leaving: false,
            counters: Counters::default(),
        })
    }

    /// The number of marks.
    pub fn len(&self) -> usize {
        self.marked
    }

    /// Whether everything on the file systems is told.
    pub fn is_everything(&self) -> bool {
        self.everything
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Marks a path of the command line.
    ///
    /// # Errors
    /// What the kernel says; `ENOSPC` at the limit of marks.
    pub fn add_argument(&mut self, argument: &[u8]) -> io::Result<()> {
        let object = open(argument, self.no_dereference)?;
        let stat = rustix::fs::fstat(&object)?;
        let is_dir = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        let mut path = absolute(argument, self.no_dereference)?;
        if is_dir && !path.ends_with(b"/") {
            path.push(b'/');
        }
        let dir_path = dir_of(&path).to_vec();
        let dir = File::open(OsStr::from_bytes(&dir_path))?;
        self.handles.add_mount(&dir)?;
        let deep = self.recursive && is_dir;
        self.tops.push(Top { path: path.clone(), deep });
        if self.everything {
            self.reader.mark(Scope::Filesystem, self.mask, &object)?;
            self.marked += 1;
            return Ok(());
        }
        if deep && self.targets.exclude.is_empty() && self.mark_filesystems(&path, &object).is_ok()
        {
            return Ok(());
        }
        if deep {
            self.single = true;
            return self.mark_below(&path, None);
        }
        // What happened to it is told by the directory it is in; unprivileged, that cannot be opened.
        let _ = self.handles.learn(&dir, &dir_path);
        self.mark_one(&object, is_dir)
    }

    /// Reads the queue once and tells what it holds. Returns the number of events.
    ///
    /// # Errors
    /// When the queue cannot be read.
    pub fn read(&mut self, mut tell: impl FnMut(&Event<'_>)) -> io::Result<usize> {
        let mut count = 0;
        let mut fresh = Vec::new();
        let Self { reader, handles, tops, everything, own_pid, counters, single, leaving, .. } =
            self;
        reader.read(|raw| {
            count += 1;
            let bits =
                (raw.mask.0 & u64::from(names::ALL | names::Q_OVERFLOW | names::ISDIR)) as u32;
            if bits & names::Q_OVERFLOW != 0 {
                counters.overflows += 1;
                tell(&Event { watched: b"", file: b"", mask: bits, cookie: 0, found: false });
                return;
            }
            if raw.pid == *own_pid {
                return;
            }
            let Some(entry) = raw.entry else { return };
            let dir = handles.path(&entry.dir, |path| is_wanted(tops, path, entry.name)).to_vec();
            let renamed = bits & names::ISDIR != 0 && bits & names::MOVE != 0;
            let is_told = !dir.is_empty() && (*everything || is_wanted(tops, &dir, entry.name));
            if is_told {
                let file: &[u8] = if entry.name == b"." { b"" } else { entry.name };
                for mask in in_order(bits) {
                    tell(&Event { watched: &dir, file, mask, cookie: 0, found: false });
                }
            }
            if renamed {
                handles.forget();
                *leaving |= is_told && bits & names::MOVED_FROM != 0;
            }
            let appeared = bits & (names::CREATE | names::MOVED_TO) != 0;
            if bits & names::ISDIR != 0 && appeared && is_told && entry.name != b"." {
                let path = [&dir[..], entry.name, b"/"].concat();
                if let Some(object) = raw.object {
                    handles.learn_object(&object, &path);
                }
                if *single {
                    // What was moved within the tree is marked anew, but holds no news.
                    let is_news = bits & names::CREATE != 0 || !std::mem::take(leaving);
                    fresh.push((path, is_news));
                }
            }
        })?;
        self.counters.events += count as u64;
        for (path, is_news) in fresh {
            self.adopt(&path, is_news, &mut tell);
        }
        Ok(count)
    }

    /// Marks a directory that has appeared, and tells what it holds.
    fn adopt(&mut self, path: &[u8], is_news: bool, tell: &mut impl FnMut(&Event<'_>)) {
        let mut entries = Vec::new();
        // Gone again, or at the limit: its parent tells of the one, nothing helps with the other.
        let _ = self.mark_below(path, Some(&mut entries));
        if !is_news || !self.asked.tells_found {
            return;
        }
        for (dir, name, kind) in entries {
            self.counters.found += 1;
            for mask in self.asked.masks_of_found(kind).into_iter().filter(|mask| *mask != 0) {
                tell(&Event { watched: &dir, file: &name, mask, cookie: 0, found: true });
            }
        }
    }

    /// Marks the file system of a directory and of each mount below it.
    fn mark_filesystems(&mut self, path: &[u8], object: &File) -> io::Result<()> {
        self.reader.mark(Scope::Filesystem, self.mask, object)?;
        self.marked += 1;
        for mount in mounts_below(path) {
            // A file system that cannot be marked has no events to lose.
            if let Ok(dir) = File::open(OsStr::from_bytes(&mount))
                && self.reader.mark(Scope::Filesystem, self.mask, &dir).is_ok()
            {
                self.marked += 1;
                self.handles.add_mount(&dir)?;
            }
        }
        Ok(())
    }

    fn mark_one(&mut self, object: &File, is_dir: bool) -> io::Result<()> {
        let mask = if is_dir {
            self.mask.union(Mask::EVENT_ON_CHILD)
        } else {
            Mask(self.mask.0 & !u64::from(names::ISDIR | ENTRY_BITS))
        };
        if mask.0 == 0 {
            // Nothing of what was asked for can happen to it.
            return Ok(());
        }
        self.reader.mark(Scope::Inode, mask, object)?;
        self.marked += 1;
        Ok(())
    }

    /// Marks a directory and all below it, each before it is listed; collects what they hold.
    fn mark_below(&mut self, top: &[u8], mut found: Option<&mut Vec<Found>>) -> io::Result<()> {
        let mut stack = vec![top.to_vec()];
        let mut buffer = Vec::with_capacity(LIST_BUFFER_LEN);
        while let Some(path) = stack.pop() {
            let is_top = path == top;
            let dir = match open(&path, !is_top) {
                Ok(dir) => dir,
                Err(error) if !is_top && is_passing(&error) => continue,
                Err(error) => return Err(error),
            };
            let _ = self.handles.learn(&dir, &path);
            self.mark_one(&dir, true)?;
            let mut entries = RawDir::new(&dir, buffer.spare_capacity_mut());
            while let Some(Ok(entry)) = entries.next() {
                let name = entry.file_name().to_bytes();
                if name == b"." || name == b".." {
                    continue;
                }
                if let Some(found) = &mut found {
                    found.push((path.as_slice().into(), name.into(), entry.file_type()));
                }
                let child = [&path[..], name].concat();
                if entry.file_type() == FileType::Directory && !self.is_excluded(&child) {
                    stack.push([&child[..], b"/"].concat());
                }
            }
        }
        Ok(())
    }

    fn is_excluded(&self, path: &[u8]) -> bool {
        self.targets.exclude.iter().any(|excluded| {
            excluded == path || absolute(excluded, false).is_ok_and(|excluded| excluded == path)
        })
    }
}

/// A directory's path, a name in it, what that is.
type Found = (Box<[u8]>, Box<[u8]>, FileType);

impl AsFd for Marks {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

/// The events of a record that the kernel has joined: a name appears, then something happens to what
/// has it, then it is gone.
fn in_order(bits: u32) -> impl Iterator<Item = u32> {
    let appeared = names::CREATE | names::MOVED_TO;
    let gone = names::DELETE | names::MOVED_FROM;
    let parts = [bits & appeared, bits & !(ENTRY_BITS | names::ISDIR), bits & gone];
    parts.into_iter().filter(|part| *part != 0).map(move |part| part | (bits & names::ISDIR))
}

/// Whether an event of `name` in `dir` belongs to what was asked for.
fn is_wanted(tops: &[Top], dir: &[u8], name: &[u8]) -> bool {
    tops.iter().any(|top| {
        if top.path.ends_with(b"/") {
            dir == top.path
                || (top.deep && dir.starts_with(&top.path))
                // A child that is a directory is told by itself as well.
                || (!top.deep && name == b"." && dir_of_dir(dir) == top.path)
        } else {
            top.path.strip_prefix(dir) == Some(name)
        }
    })
}

/// The directory that a path with or without a slash at the end is opened from: itself if it is one.
fn dir_of(path: &[u8]) -> &[u8] {
    let end = path.iter().rposition(|&b| b == b'/').map_or(0, |at| at + 1);
    &path[..end]
}

fn dir_of_dir(dir: &[u8]) -> &[u8] {
    dir_of(dir.strip_suffix(b"/").unwrap_or(dir))
}

fn is_passing(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::LOOP)
    )
}

fn open(path: &[u8], no_follow: bool) -> io::Result<File> {
    let mut flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    if no_follow {
        flags |= OFlags::NOFOLLOW;
    }
    let bare = match path {
        [_, .., b'/'] => &path[..path.len() - 1],
        _ => path,
    };
    match rustix::fs::open(OsStr::from_bytes(bare), flags, Mode::empty()) {
        // A symbolic link that is to be watched itself, or a socket.
        Err(Errno::LOOP | Errno::NXIO) => {
            let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            Ok(rustix::fs::open(OsStr::from_bytes(bare), flags, Mode::empty())?.into())
        }
        opened => Ok(opened?.into()),
    }
}

/// The absolute path, without links: except for the last name when that is not followed.
fn absolute(path: &[u8], no_follow: bool) -> io::Result<Vec<u8>> {
    let path = std::path::Path::new(OsStr::from_bytes(path));
    if no_follow && let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
        let parent = if parent.as_os_str().is_empty() { OsStr::new(".").as_ref() } else { parent };
        return Ok(parent.canonicalize()?.join(name).into_os_string().into_encoded_bytes());
    }
    Ok(path.canonicalize()?.into_os_string().into_encoded_bytes())
}

/// Where file systems are mounted below a directory.
fn mounts_below(top: &[u8]) -> Vec<Vec<u8>> {
    let table = std::fs::read("/proc/self/mountinfo").unwrap_or_default();
    let points = table.split(|&b| b == b'\n').filter_map(|line| line.split(|&b| b == b' ').nth(4));
    points
        .map(unescaped)
        .filter(|point| point.len() > top.len() && point.starts_with(top))
        .collect()
}

/// The kernel writes spaces, tabs, newlines and backslashes as octal numbers.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let digits = after.first_chunk::<3>().and_then(|d| std::str::from_utf8(d).ok());
        let number = digits.and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match (byte, number) {
            (b'\\', Some(number)) => {
                out.push(number);
                rest = &after[3..];
            }
            _ => {
                out.push(byte);
                rest = after;
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn top(path: &str, deep: bool) -> Top {
        Top { path: path.into(), deep }
    }

    #[test]
    fn only_what_was_asked_for_is_wanted() {
        let wanted =
            |top: Top, dir: &str, name: &str| is_wanted(&[top], dir.as_bytes(), name.as_bytes());
        assert!(wanted(top("/d/", true), "/d/", "f") && wanted(top("/d/", true), "/d/e/", "f"));
        assert!(!wanted(top("/d/", true), "/de/", "f") && !wanted(top("/d/", true), "/", "d"));
        assert!(wanted(top("/d/", false), "/d/", "f") && !wanted(top("/d/", false), "/d/e/", "f"));
        assert!(wanted(top("/d/", false), "/d/e/", "."));
        assert!(wanted(top("/d/f", false), "/d/", "f") && !wanted(top("/d/f", false), "/d/", "g"));
        assert!(wanted(top("/", true), "/d/", "f"));
    }

    #[test]
    fn joined_events_are_told_in_a_possible_order() {
        let told = |bits| in_order(bits).collect::<Vec<u32>>();
        let written = names::OPEN | names::CLOSE_WRITE;
        assert_eq!(
            told(names::DELETE | written | names::CREATE),
            [names::CREATE, written, names::DELETE]
        );
        let dir = names::ISDIR;
        assert_eq!(told(names::MOVED_FROM | dir), [names::MOVED_FROM | dir]);
    }

    #[test]
    fn mount_points_are_unescaped() {
        assert_eq!(unescaped(br"/a\040b\134c"), br"/a b\c");
        assert_eq!(unescaped(br"/a\"), br"/a\");
    }
}
