//! Content of the files that a walk listed, with few system calls for each.
//!
//! The receiving side asks in the order of the lists, so the directory of the last file stays open
//! for its neighbours. A small file that has been left alone is read with one look at it, afterwards:
//! what it was before is in its entry.

use std::time::{Duration, SystemTime};

use driftless_fs::{Dir, Root};
use driftless_tree::RelPath;
use driftless_tree::flist::Entry;

use crate::driver::{Content, Refusal};
use crate::source::ahead::ReadAhead;
use crate::source::cache::{CHUNK_LEN, SourceCache, Version};
use crate::source::content::{Expected, SmallFile, WriterPolicy};

/// How long a small file must have been left alone for nobody to be in the middle of a `write()` to
/// it. Shorter than for large files, where one call may last; a pause between two calls is no reason
/// to wait longer than a file that stays open makes anybody wait.
pub(crate) const SMALL_QUIET_AGE: Duration = Duration::from_secs(1);

/// Hands out the files of one walk.
pub struct ListedFiles {
    root: Root,
    cache: SourceCache,
    writers: WriterPolicy,
    quiet_age: Duration,
    last: Option<OpenDir>,
    ahead: Option<ReadAhead>,
}

struct OpenDir {
    path: Box<[u8]>,
    dir: Dir,
}

impl ListedFiles {
    /// For the files below `root`. A small file that has not changed for `settle` is not asked
    /// whether somebody has it open for writing.
    pub fn new(root: Root, cache: SourceCache, writers: WriterPolicy, settle: Duration) -> Self {
        let quiet_age = settle.max(SMALL_QUIET_AGE);
        Self { root, cache, writers, quiet_age, last: None, ahead: None }
    }

    /// With what `ahead` reads while the files are listed.
    #[must_use]
    pub fn with(self, ahead: Option<ReadAhead>) -> Self {
        Self { ahead, ..self }
    }

    /// Opens the file of an entry for sending.
    ///
    /// # Errors
    /// As for [`SourceCache::open`] with [`Expected::Entry`].
    pub fn open(&mut self, entry: &Entry) -> Result<Box<dyn Content>, Refusal> {
        if let Some(content) = self.quiet(entry) {
            return Ok(content);
        }
        let (dir, name) = split(&entry.name);
        let near = self.dir(dir).and_then(|dir| dir.open_file(name).ok());
        if let Some(file) = near {
            return self.cache.content(file, Expected::Entry(entry), self.writers);
        }
        let path = RelPath::parse(&entry.name).map_err(|_| Refusal::Vanished)?;
        self.cache.open(&self.root, &path, Expected::Entry(entry), self.writers)
    }

    /// The content of a small file that still is the version that was listed and has not changed for
    /// a while, or that was read when it was listed. `None` says nothing: ask otherwise.
    ///
    /// Its ctime was the same before and after the reading, so it was the same when the file was
    /// opened, and that nobody is writing follows as for files that are asked about after opening.
    pub fn quiet(&mut self, entry: &Entry) -> Option<Box<dyn Content>> {
        if let Some(content) = self.ahead.as_ref().and_then(|ahead| ahead.take(entry)) {
            return Some(content);
        }
        let listed = Version::listed(entry)?;
        if entry.size > CHUNK_LEN || !listed.is_quiet_for(self.quiet_age, SystemTime::now()) {
            return None;
        }
        let (dir, name) = split(&entry.name);
        let len = usize::try_from(entry.size).expect("at most a chunk");
        let (bytes, found) = self.dir(dir)?.read_file(name, len).ok()?;
        if Version::of(&found) != listed || bytes.len() != len {
            return None;
        }
        Some(Box::new(SmallFile::new(bytes)))
    }

    fn dir(&mut self, path: &[u8]) -> Option<&Dir> {
        if self.last.as_ref().is_none_or(|last| *last.path != *path) {
            self.last = None;
            let place = match path {
                b"" => None,
                path => Some(RelPath::parse(path).ok()?),
            };
            let dir = self.root.open_dir(place.as_ref()).ok()?;
            self.last = Some(OpenDir { path: path.into(), dir });
        }
        self.last.as_ref().map(|last| &last.dir)
    }
}

/// The directory that holds a listed file, empty for the root, and the file's own name.
fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&[], path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::entry_of;
    use std::fs;
    use std::path::Path;
    use std::time::UNIX_EPOCH;

    fn files(root: &Path, quiet_age: Duration) -> ListedFiles {
        let root = Root::open(root).unwrap();
        let cache = SourceCache::default();
        let files = ListedFiles::new(root, cache, WriterPolicy::Refuse, Duration::ZERO);
        ListedFiles { quiet_age, ..files }
    }

    fn listed(root: &Path, name: &str) -> Entry {
        let path = RelPath::parse(name.as_bytes()).unwrap();
        let meta = Root::open(root).unwrap().lstat(&path).unwrap();
        entry_of(name.as_bytes(), &meta, Vec::new(), false)
    }

    #[test]
    fn what_was_left_alone_is_read_and_what_is_another_version_is_not() {
        let temp = tempfile::tempdir().unwrap();
        let at = |name: &str| temp.path().join(name);
        fs::create_dir_all(at("d/e")).unwrap();
        let names = ["top", "d/a", "d/e/b", "d/c", "d/gone", "d/changed", "d/other", "d/fifo"];
        for name in names {
            fs::write(at(name), name).unwrap();
        }
        let entries = names.map(|name| listed(temp.path(), name));
        fs::remove_file(at("d/gone")).unwrap();
        fs::File::open(at("d/changed")).unwrap().set_modified(UNIX_EPOCH).unwrap();
        fs::remove_file(at("d/other")).unwrap();
        fs::write(at("d/other"), "d/OTHER").unwrap();
        fs::remove_file(at("d/fifo")).unwrap();
        let mode = rustix::fs::Mode::RUSR;
        let fifo = rustix::fs::FileType::Fifo;
        rustix::fs::mknodat(rustix::fs::CWD, at("d/fifo"), fifo, mode, 0).unwrap();
        let mut files = files(temp.path(), Duration::ZERO);
        for (name, entry) in names.iter().zip(&entries) {
            match files.quiet(entry) {
                Some(mut content) => assert_eq!(content.chunk(0).unwrap(), name.as_bytes()),
                None => assert!(!["top", "d/a", "d/e/b", "d/c"].contains(name), "{name}"),
            }
        }
        for entry in &entries[4..] {
            assert!(files.quiet(entry).is_none(), "{entry:?}");
        }
    }

    #[test]
    fn a_file_that_has_just_changed_is_asked_about_after_opening() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("d")).unwrap();
        fs::write(temp.path().join("d/f"), "x").unwrap();
        let entry = listed(temp.path(), "d/f");
        let mut files = files(temp.path(), Duration::from_secs(3600));
        assert!(files.quiet(&entry).is_none());
        assert_eq!(files.open(&entry).unwrap().chunk(0).unwrap(), b"x");
        let writer = fs::File::options().append(true).open(temp.path().join("d/f")).unwrap();
        assert!(matches!(files.open(&entry), Err(Refusal::BeingWritten)));
        drop(writer);
        fs::remove_file(temp.path().join("d/f")).unwrap();
        assert!(matches!(files.open(&entry), Err(Refusal::Vanished)));
    }
}
