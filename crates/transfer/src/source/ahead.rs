//! Small files that are read when they are listed, because they will certainly be asked for.
//!
//! Opening a file once, instead of looking at it for the list and opening it for its content later,
//! saves a third of the work for small files. Only the caller knows that a target has none of them.
//!
//! Invariants
//! * What is kept is one version, the one that was listed, of a file that had been left alone.
//! * Bounded memory, and a bounded time for each directory: what does not fit is read when it is
//!   asked for.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use driftless_fs::Dir;
use driftless_tree::flist::Entry;
use driftless_tree::{Kind, Meta};

use crate::driver::Content;
use crate::source::cache::Version;
use crate::source::content::SmallFile;

/// Bytes kept.
const CAPACITY: usize = 4 * 1024 * 1024;

/// Longest file that is kept.
const SMALL: u64 = 32 * 1024;

/// What keeping a file costs beside its content.
const OVERHEAD: usize = 100;

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
    files: VecDeque<(Version, Vec<u8>)>,
    used: usize,
    listing_since: Instant,
    looked: u32,
    late: bool,
}

impl Default for ReadAhead {
    fn default() -> Self {
        Self(Rc::new(RefCell::new(Held {
            began: SystemTime::now(),
            files: VecDeque::new(),
            used: 0,
            listing_since: Instant::now(),
            looked: 0,
            late: false,
        })))
    }
}

impl ReadAhead {
    /// The next directory is listed.
    pub fn start_directory(&self) {
        let mut held = self.0.borrow_mut();
        held.listing_since = Instant::now();
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
        match held.read(dir, name) {
            Some(meta) => Ok(meta),
            // Whatever cannot be opened can be listed, or else says why not.
            None => dir.lstat(name),
        }
    }

    /// The content of this entry's file, if it was read.
    pub fn take(&self, entry: &Entry) -> Option<Box<dyn Content>> {
        let wanted = Version::listed(entry)?;
        let mut held = self.0.borrow_mut();
        let near = held.files.iter().take(LONGEST_GAP);
        let skipped = near.enumerate().find(|(_, (version, _))| *version == wanted)?.0;
        for _ in 0..skipped {
            held.pop();
        }
        held.pop().map(|content| Box::new(SmallFile::new(content)) as Box<dyn Content>)
    }
}

impl Held {
    fn is_full(&mut self) -> bool {
        self.looked = self.looked.wrapping_add(1);
        if self.looked.is_multiple_of(CLOCK_INTERVAL) {
            self.late = self.listing_since.elapsed() > TIME_LIMIT;
        }
        self.late || self.used >= CAPACITY
    }

    fn read(&mut self, dir: &Dir, name: &[u8]) -> Option<Meta> {
        let file = dir.open_file(name).ok()?;
        let meta = *file.opened();
        debug_assert_eq!(meta.kind, Kind::File);
        let version = Version::of(&meta);
        if meta.size <= SMALL
            && version.is_quiet(self.began)
            && let Ok(content) = file.read_whole()
            && content.len() as u64 == meta.size
            && file.meta().is_ok_and(|now| now.same_version(&meta))
        {
            self.used += content.len() + OVERHEAD;
            self.files.push_back((version, content));
        }
        Some(meta)
    }

    fn pop(&mut self) -> Option<Vec<u8>> {
        let (_, content) = self.files.pop_front()?;
        self.used -= content.len() + OVERHEAD;
        Some(content)
    }
}
