//! Small files that are read when they are listed, because they will certainly be asked for.
//!
//! Opening a file once, instead of looking at it for the list and opening it for its content later,
//! saves a third of the work for small files. Only the caller knows that a target has none of them.
//!
//! Invariants
//! * What is kept is one version, the one that was listed, of a file that had been left alone.
//! * Bounded memory, and a bounded time for each directory: what does not fit is read when it is
//!   asked for.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use driftless_fs::{Dir, SourceFile};
use driftless_tree::Meta;
use driftless_tree::flist::Entry;

use crate::driver::Content;
use crate::source::cache::Version;

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
    /// Before the first file was listed.
    began: SystemTime,
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

impl Default for ReadAhead {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(Held {
            began: SystemTime::now(),
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
}

impl ReadAhead {
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
        if file.opened().size > SMALL || !version.is_quiet(self.began) {
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
