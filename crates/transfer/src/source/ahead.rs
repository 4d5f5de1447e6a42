//! Small files that are read when they are listed, because they will certainly be asked for.
//!
//! Opening a file once, instead of looking at it for the list and opening it for its content later,
//! saves a third of the work for small files. Only the caller knows that a target has none of them.
//!
//! Invariants
//! * What is kept is one version, the one that was listed, of a file that had been left alone or that
//!   nobody could write to meanwhile.
//! * Bounded memory, and a bounded time for each directory: what does not fit is read when it is
//!   asked for.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use driftless_fs::{Dir, SourceFile, Writers};
use driftless_tree::Meta;
use driftless_tree::flist::Entry;

use crate::driver::Content;
use crate::source::cache::Version;
use crate::source::listed::SMALL_QUIET_AGE;

/// Bytes kept.
const CAPACITY: usize = 4 * 1024 * 1024;

/// Longest file that is kept.
const SMALL: u64 = 32 * 1024;

/// What keeping a file costs beside its content.
const OVERHEAD: usize = 100;

/// Content lies together in blocks of so many bytes.
const BLOCK_LEN: usize = 64 * 1024;

/// Longest time that the listing of one directory is drawn out.
const TIME_LIMIT: Duration = Duration::from_millis(50);

/// Files between two looks at the clock.
const CLOCK_INTERVAL: u32 = 16;

/// Requests come in the order of the lists, with gaps; a longer gap is not looked behind.
const LONGEST_GAP: usize = 64;

/// Shared by who lists and who hands out.
#[derive(Clone)]
pub struct ReadAhead(Rc<RefCell<Held>>);

struct Held {
    /// A file that has not changed for so long is not asked about writers.
    quiet_age: Duration,
    /// In the order in which they were listed.
    files: VecDeque<File>,
    /// Their content.
    blocks: VecDeque<Vec<u8>>,
    /// Number of the first block.
    first_block: u64,
    used: usize,
    directory_since: Instant,
    looked: u32,
    late: bool,
    /// The memory of the last content taken, when it is not in use.
    spare: Rc<Cell<Vec<u8>>>,
}

struct File {
    version: Version,
    block: u64,
    range: Range<usize>,
}

impl ReadAhead {
    /// Nothing yet. A file that has not changed for `settle` is not asked whether somebody has it
    /// open for writing.
    pub fn new(settle: Duration) -> Self {
        Self(Rc::new(RefCell::new(Held {
            quiet_age: settle.max(SMALL_QUIET_AGE),
            files: VecDeque::new(),
            blocks: VecDeque::new(),
            first_block: 0,
            used: 0,
            directory_since: Instant::now(),
            looked: 0,
            late: false,
            spare: Rc::default(),
        })))
    }

    /// The next directory is listed.
    pub fn start_directory(&self) {
        let mut held = self.0.borrow_mut();
        held.directory_since = Instant::now();
        held.late = false;
    }

    /// What the entry `name` of `dir`, probably a regular file, is; as [`Dir::lstat`].
    ///
    /// # Errors
    /// As for [`Dir::lstat`].
    pub fn look(&self, dir: &Dir, name: &[u8]) -> io::Result<Meta> {
        let mut held = self.0.borrow_mut();
        if held.is_full() {
            return dir.lstat(name);
        }
        match dir.open_file(name) {
            Ok(file) => {
                held.read(&file);
                Ok(*file.opened())
            }
            // Whatever cannot be opened can be listed, or else says why not.
            Err(_) => dir.lstat(name),
        }
    }

    /// The content of this entry's file, if it was read.
    pub fn take(&self, entry: &Entry) -> Option<Box<dyn Content>> {
        let wanted = Version::listed(entry)?;
        let mut held = self.0.borrow_mut();
        let skipped = held.files.iter().take(LONGEST_GAP).position(|f| f.version == wanted)?;
        for _ in 0..skipped {
            held.pop();
        }
        let file = held.pop()?;
        let block = held.blocks.get(usize::try_from(file.block - held.first_block).ok()?)?;
        let mut bytes = held.spare.take();
        bytes.clear();
        bytes.extend_from_slice(&block[file.range]);
        let content = Taken { bytes, home: Rc::clone(&held.spare) };
        held.drop_blocks();
        Some(Box::new(content))
    }
}

impl Held {
    fn is_full(&mut self) -> bool {
        self.looked = self.looked.wrapping_add(1);
        if self.looked.is_multiple_of(CLOCK_INTERVAL) {
            self.late = self.directory_since.elapsed() > TIME_LIMIT;
        }
        self.late || self.used >= CAPACITY
    }

    fn read(&mut self, file: &SourceFile) {
        let version = Version::of(file.opened());
        if file.opened().size > SMALL {
            return;
        }
        let quiet = version.is_quiet_for(self.quiet_age, SystemTime::now());
        if !quiet && file.bar_writers() != Writers::None {
            return;
        }
        let len = usize::try_from(file.opened().size).expect("a small number");
        if self.blocks.back().is_none_or(|block| block.capacity() - block.len() < len) {
            self.blocks.push_back(Vec::with_capacity(BLOCK_LEN));
        }
        let number = self.first_block + self.blocks.len() as u64 - 1;
        let block = self.blocks.back_mut().expect("pushed if there was none");
        let start = block.len();
        let complete = file.read_whole(block).is_ok_and(|read| read == len);
        if complete && file.meta().is_ok_and(|now| now.same_version(file.opened())) {
            self.files.push_back(File { version, block: number, range: start..start + len });
            self.used += len + OVERHEAD;
        } else {
            block.truncate(start);
        }
    }

    fn pop(&mut self) -> Option<File> {
        let file = self.files.pop_front()?;
        self.used -= file.range.len() + OVERHEAD;
        Some(file)
    }

    /// Drops the blocks before the first file's; one that is not full stays for the next.
    fn drop_blocks(&mut self) {
        let last = self.first_block + self.blocks.len().saturating_sub(1) as u64;
        let needed = self.files.front().map_or(last, |file| file.block);
        while self.first_block < needed {
            self.blocks.pop_front();
            self.first_block += 1;
        }
    }
}

/// Content that was taken. Its memory goes back.
struct Taken {
    bytes: Vec<u8>,
    home: Rc<Cell<Vec<u8>>>,
}

impl Drop for Taken {
    fn drop(&mut self) {
        self.home.set(std::mem::take(&mut self.bytes));
    }
}

impl Content for Taken {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn chunk(&mut self, offset: u64) -> io::Result<&[u8]> {
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        Ok(self.bytes.get(skip..).unwrap_or_default())
    }

    fn unchanged(&mut self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::entry_of;
    use driftless_fs::Root;
    use std::fs;
    use std::path::Path;

    /// Sees files that were just made as left alone for long.
    fn later() -> ReadAhead {
        let ahead = ReadAhead::new(Duration::ZERO);
        ahead.0.borrow_mut().quiet_age = Duration::ZERO;
        ahead
    }

    fn list(ahead: &ReadAhead, root: &Path, names: &[String]) -> Vec<Entry> {
        let dir = Root::open(root).unwrap().open_dir(None).unwrap();
        ahead.start_directory();
        let look = |name: &String| {
            let meta = ahead.look(&dir, name.as_bytes()).unwrap();
            assert_eq!(meta, dir.lstat(name.as_bytes()).unwrap());
            entry_of(name.as_bytes(), &meta, Vec::new(), false)
        };
        names.iter().map(look).collect()
    }

    fn taken(ahead: &ReadAhead, entry: &Entry) -> Option<Vec<u8>> {
        let mut content = ahead.take(entry)?;
        assert_eq!(content.len(), entry.size);
        Some(content.chunk(0).unwrap().to_vec())
    }

    #[test]
    fn what_is_taken_is_what_was_listed_whatever_is_left_out() {
        let temp = tempfile::tempdir().unwrap();
        let content = |number: usize| format!("{number}").repeat(number * 7 % 5000).into_bytes();
        let names: Vec<String> = (0..300).map(|number| format!("f{number}")).collect();
        for (number, name) in names.iter().enumerate() {
            fs::write(temp.path().join(name), content(number)).unwrap();
        }
        let ahead = later();
        let mut random = fastrand::Rng::with_seed(7);
        let mut asked = 0;
        for part in names.chunks(30) {
            let entries = list(&ahead, temp.path(), part);
            for (at, entry) in entries.iter().enumerate() {
                if random.u8(..4) > 0 {
                    let number: usize = part[at][1..].parse().unwrap();
                    assert_eq!(taken(&ahead, entry), Some(content(number)), "{number}");
                    assert_eq!(taken(&ahead, entry), None, "once");
                    asked += 1;
                }
            }
        }
        assert!(asked > 200);
        let blocks = ahead.0.borrow().blocks.len();
        assert!(blocks <= 3, "{blocks} blocks are kept for what nobody asked for");
    }

    #[test]
    fn only_small_files_that_nobody_writes_to_are_kept_and_not_too_many() {
        let temp = tempfile::tempdir().unwrap();
        let small = usize::try_from(SMALL).unwrap();
        for (name, len) in [("large", small + 1), ("small", small)] {
            fs::write(temp.path().join(name), vec![b'x'; len]).unwrap();
        }
        let names = ["large".to_owned(), "small".to_owned()];
        let ahead = later();
        let entries = list(&ahead, temp.path(), &names);
        assert_eq!(taken(&ahead, &entries[0]), None);
        assert_eq!(taken(&ahead, &entries[1]).map(|content| content.len()), Some(small));
        let hour = ReadAhead::new(Duration::from_secs(3600));
        let entries = list(&hour, temp.path(), &names);
        assert_eq!(taken(&hour, &entries[1]).map(|content| content.len()), Some(small));
        let writer = fs::File::options().append(true).open(temp.path().join("small")).unwrap();
        let entries = list(&hour, temp.path(), &names);
        assert_eq!(taken(&hour, &entries[1]), None, "somebody may be in the middle of it");
        drop(writer);
        for _ in 0..2 * CAPACITY / small {
            list(&ahead, temp.path(), &names[1..]);
        }
        assert!(ahead.0.borrow().used <= CAPACITY + small + OVERHEAD);
    }

    #[test]
    fn what_cannot_be_opened_is_listed_all_the_same() {
        let temp = tempfile::tempdir().unwrap();
        fs::create_dir(temp.path().join("dir")).unwrap();
        std::os::unix::fs::symlink("dir", temp.path().join("link")).unwrap();
        list(&later(), temp.path(), &["dir".to_owned(), "link".to_owned()]);
        let dir = Root::open(temp.path()).unwrap().open_dir(None).unwrap();
        let missing = later().look(&dir, b"none").unwrap_err();
        assert!(driftless_fs::is_absent(&missing));
    }
}
