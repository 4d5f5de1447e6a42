//! Content of large files that several sessions send at the same time: read and summed once.
//!
//! Invariants
//! * What is kept belongs to exactly one version of a file. A version whose ctime is so recent that
//!   a later change could carry the same timestamps is never kept.
//! * Of several askers for a chunk one reads it, the others wait for that read.
//! * A reader that is so far ahead of another of the same version that content would be dropped
//!   before the other comes to it waits for it, in all no longer than reading the file takes:
//!   neither a slow session nor a dead one holds up another for more than that.
//!
//! Small files are not kept: the kernel's page cache serves them as well.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use driftless_tree::flist::{Entry, Origin};
use driftless_tree::{Meta, Timestamp};

use crate::options::ChecksumKind;

/// Bytes of a chunk.
pub(crate) const CHUNK_LEN: u64 = 256 * 1024;

/// Bytes kept when the caller does not say.
pub const DEFAULT_CAPACITY: usize = 64 * 1024 * 1024;

/// Bytes per second that a disk reads, at a guess: what a reader may lose by waiting for others is
/// what they would lose by reading again.
const READ_RATE: f64 = 200e6;

/// Longest wait at one chunk.
const LONGEST_WAIT: Duration = Duration::from_millis(50);

/// Digests kept.
const MAX_DIGESTS: usize = 4096;

/// A ctime is unmistakable once it is this old: kernel timestamps advance in ticks of up to 10 ms.
const UNMISTAKABLE_AGE: Duration = Duration::from_millis(20);

/// A file that has not changed for so long is not asked whether somebody has it open for writing.
///
/// A `write()` moves the ctime before it returns and does not last so long, so none is in progress,
/// and one that begins after the opening moves the ctime visibly: comparing it before and after the
/// reading finds it. What stays unseen is a writer that pauses in the middle of its work, and
/// stores through a mapping into pages that were dirty already; both end in a close, which the
/// watcher sees, and both pass when they outlast the settle time anyway. For 100,000 small files
/// the probes are 400,000 system calls.
const QUIET_AGE: Duration = Duration::from_secs(10);

/// One version of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Version {
    dev: u64,
    ino: u64,
    size: u64,
    mtime: Timestamp,
    ctime: Timestamp,
}

impl Version {
    pub(crate) fn of(meta: &Meta) -> Self {
        let Meta { dev, ino, size, mtime, ctime, .. } = *meta;
        Self { dev, ino, size, mtime, ctime }
    }

    /// The version that an entry was made from; `None` when that is not known.
    pub(crate) fn listed(entry: &Entry) -> Option<Self> {
        let Origin { dev, ino, ctime } = entry.origin?;
        Some(Self { dev, ino, size: entry.size, mtime: entry.mtime, ctime })
    }

    /// How long until any further change shows in the timestamps; zero from then on, `None` when
    /// the clock is behind the file's.
    pub(crate) fn until_unmistakable(&self, now: SystemTime) -> Option<Duration> {
        self.age(now).map(|age| UNMISTAKABLE_AGE.saturating_sub(age))
    }

    /// Whether nobody has written to it for so long that nobody is in the middle of it.
    pub(crate) fn is_quiet(&self, now: SystemTime) -> bool {
        self.is_quiet_for(QUIET_AGE, now)
    }

    /// Whether it has not changed for `age`.
    pub(crate) fn is_quiet_for(&self, age: Duration, now: SystemTime) -> bool {
        self.age(now).is_some_and(|found| found >= age)
    }

    /// The time since the last change; `None` when the clock is behind the file's.
    fn age(&self, now: SystemTime) -> Option<Duration> {
        let now = now.duration_since(UNIX_EPOCH).ok()?;
        let Ok(secs) = u64::try_from(self.ctime.secs) else { return Some(now) };
        now.checked_sub(Duration::new(secs, self.ctime.nanos.min(999_999_999)))
    }
}

type ChunkKey = (Version, u64);

/// Shared by all sessions that send from the same source; cheap to clone.
#[derive(Debug, Clone)]
pub struct SourceCache {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    capacity: usize,
    /// Never held while the disk is read.
    state: Mutex<State>,
    /// A chunk's read has ended, well or not.
    loaded: Condvar,
    /// A reader got on, or left.
    moved: Condvar,
}

/// A reader, or somebody who is about to be one.
#[derive(Debug, Clone, Copy)]
struct Reader {
    version: Version,
    /// Where it reads.
    at: u64,
}

#[derive(Debug, Default)]
struct State {
    /// `None` while somebody reads it.
    chunks: HashMap<ChunkKey, Option<Arc<Vec<u8>>>>,
    /// Chunks that are there, oldest first.
    order: VecDeque<ChunkKey>,
    used: usize,
    digests: HashMap<(Version, ChecksumKind), Box<[u8]>>,
    digest_order: VecDeque<(Version, ChecksumKind)>,
    /// Of files that are longer than what is kept.
    readers: HashMap<u64, Reader>,
    next_reader: u64,
}

impl Default for SourceCache {
    fn default() -> Self {
        Self::with_capacity(DEFAULT_CAPACITY)
    }
}

impl SourceCache {
    /// Keeps at most `capacity` bytes of content.
    pub fn with_capacity(capacity: usize) -> Self {
        let shared = Shared {
            capacity,
            state: Mutex::default(),
            loaded: Condvar::new(),
            moved: Condvar::new(),
        };
        Self { shared: Arc::new(shared) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is complete before anything that could panic.
        self.shared.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The chunk, from memory or by `read`, which also says whether it may be kept.
    pub(crate) fn chunk(
        &self,
        key: ChunkKey,
        read: impl FnOnce() -> io::Result<(Vec<u8>, bool)>,
    ) -> io::Result<Arc<Vec<u8>>> {
        let mut state = self.state();
        loop {
            match state.chunks.get(&key) {
                Some(Some(chunk)) => return Ok(Arc::clone(chunk)),
                Some(None) => {
                    state = self.shared.loaded.wait(state).unwrap_or_else(PoisonError::into_inner);
                }
                None => break,
            }
        }
        state.chunks.insert(key, None);
        drop(state);
        let turn = Turn { cache: self, key };
        let (bytes, keep) = read()?;
        let chunk = Arc::new(bytes);
        if keep && chunk.len() <= self.shared.capacity {
            self.keep(key, &chunk);
        }
        drop(turn);
        Ok(chunk)
    }

    fn keep(&self, key: ChunkKey, chunk: &Arc<Vec<u8>>) {
        let mut guard = self.state();
        let state = &mut *guard;
        while state.used + chunk.len() > self.shared.capacity {
            let Some(oldest) = state.order.pop_front() else { break };
            if let Some(Some(dropped)) = state.chunks.remove(&oldest) {
                state.used -= dropped.len();
            }
        }
        state.used += chunk.len();
        state.order.push_back(key);
        state.chunks.insert(key, Some(Arc::clone(chunk)));
    }

    /// Whoever reads this version waits a little for the holder, who is about to read it; `None`
    /// for a file that is kept as a whole.
    pub fn attend(&self, meta: &Meta) -> Option<Attendance> {
        self.attend_version(Version::of(meta))
    }

    pub(crate) fn attend_version(&self, version: Version) -> Option<Attendance> {
        if version.size <= self.reach() {
            return None;
        }
        let mut state = self.state();
        let id = state.next_reader;
        state.next_reader += 1;
        state.readers.insert(id, Reader { version, at: 0 });
        let patience = Duration::from_secs_f64(version.size as f64 / READ_RATE);
        Some(Attendance { cache: self.clone(), id, version, patience })
    }

    /// How far a reader may be ahead of another: some content is of other files.
    fn reach(&self) -> u64 {
        self.shared.capacity as u64 / 4 * 3
    }

    pub(crate) fn digest(&self, version: Version, kind: ChecksumKind) -> Option<Vec<u8>> {
        self.state().digests.get(&(version, kind)).map(|digest| digest.to_vec())
    }

    pub(crate) fn keep_digest(&self, version: Version, kind: ChecksumKind, digest: &[u8]) {
        let mut state = self.state();
        if state.digests.insert((version, kind), digest.into()).is_none() {
            state.digest_order.push_back((version, kind));
        }
        if state.digest_order.len() > MAX_DIGESTS
            && let Some(oldest) = state.digest_order.pop_front()
        {
            state.digests.remove(&oldest);
        }
    }
}

/// The right to read a chunk. However its holder leaves, others may go on.
struct Turn<'a> {
    cache: &'a SourceCache,
    key: ChunkKey,
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.cache.state();
        if let Some(None) = state.chunks.get(&self.key) {
            state.chunks.remove(&self.key);
        }
        drop(state);
        self.cache.shared.loaded.notify_all();
    }
}

/// The place of one reader in one version of a file, until it is dropped.
#[derive(Debug)]
pub struct Attendance {
    cache: SourceCache,
    id: u64,
    version: Version,
    /// How long it still waits for others.
    patience: Duration,
}

impl Attendance {
    /// The reader is to read at `at`: waits for those too far behind. A moment at most, so that
    /// the session can look after its connection between two chunks.
    pub(crate) fn move_to(&mut self, at: u64) {
        let mut state = self.cache.state();
        if let Some(reader) = state.readers.get_mut(&self.id) {
            reader.at = at;
        }
        self.cache.shared.moved.notify_all();
        let Some(wanted) = at.checked_sub(self.cache.reach()) else { return };
        let began = Instant::now();
        let wait = self.patience.min(LONGEST_WAIT);
        let behind = |state: &mut State| {
            state.readers.values().any(|other| other.version == self.version && other.at < wanted)
        };
        let waited = self.cache.shared.moved.wait_timeout_while(state, wait, behind);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
        self.patience = self.patience.saturating_sub(began.elapsed());
    }
}

impl Drop for Attendance {
    fn drop(&mut self) {
        self.cache.state().readers.remove(&self.id);
        self.cache.shared.moved.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn version(ino: u64) -> Version {
        let time = Timestamp { secs: 1, nanos: 0 };
        Version { dev: 1, ino, size: 9, mtime: time, ctime: time }
    }

    #[test]
    fn askers_at_the_same_time_share_one_read() {
        let cache = SourceCache::with_capacity(1000);
        let reads = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let read = || {
                        reads.fetch_add(1, Ordering::SeqCst);
                        Ok((vec![7; 100], true))
                    };
                    assert_eq!(*cache.chunk((version(1), 0), read).unwrap(), vec![7; 100]);
                });
            }
        });
        assert_eq!(reads.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn the_oldest_content_makes_room() {
        let cache = SourceCache::with_capacity(250);
        for ino in 0..3 {
            cache.chunk((version(ino), 0), || Ok((vec![0; 100], true))).unwrap();
        }
        let again = |ino| {
            let mut read = false;
            let bytes = || {
                read = true;
                Ok((vec![0; 100], false))
            };
            cache.chunk((version(ino), 0), bytes).unwrap();
            read
        };
        assert!(again(0), "dropped");
        assert!(!again(2), "kept");
    }

    /// Reads a file of twenty times the capacity in chunks of a hundredth; `reads` counts the disk.
    fn read_all(cache: &SourceCache, mut place: Attendance, reads: &AtomicUsize, slow: bool) {
        place.patience = Duration::from_secs(60);
        for at in (0..200_000).step_by(100) {
            if slow && at % 1000 == 0 {
                std::thread::sleep(Duration::from_millis(1));
            }
            place.move_to(at);
            let read = || {
                reads.fetch_add(1, Ordering::SeqCst);
                Ok((vec![0; 100], true))
            };
            cache.chunk((place.version, at), read).unwrap();
        }
    }

    #[test]
    fn a_reader_that_is_ahead_waits_for_those_behind() {
        let cache = SourceCache::with_capacity(10_000);
        let version = Version { size: 200_000, ..version(1) };
        let places = [0; 3].map(|_| cache.attend_version(version).unwrap());
        let reads = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for (number, place) in places.into_iter().enumerate() {
                let (cache, reads) = (&cache, &reads);
                scope.spawn(move || read_all(cache, place, reads, number == 1));
            }
        });
        assert_eq!(reads.load(Ordering::SeqCst), 2_000, "each chunk once");
    }

    #[test]
    fn nobody_waits_for_ever_for_a_reader_that_is_stuck() {
        let cache = SourceCache::with_capacity(10_000);
        let version = Version { size: 200_000, ..version(1) };
        let _stuck = cache.attend_version(version).unwrap();
        let mut place = cache.attend_version(version).unwrap();
        let patience = place.patience;
        for at in (0..200_000).step_by(100) {
            place.move_to(at);
        }
        assert!(!patience.is_zero() && place.patience.is_zero());
    }

    #[test]
    fn files_that_are_kept_as_a_whole_need_no_waiting() {
        let cache = SourceCache::with_capacity(10_000);
        assert!(cache.attend_version(Version { size: 7_500, ..version(1) }).is_none());
    }

    #[test]
    fn a_failed_read_is_repeated_by_the_next_asker() {
        let cache = SourceCache::with_capacity(1000);
        let failed = cache.chunk((version(1), 0), || Err(io::ErrorKind::Other.into()));
        assert!(failed.is_err());
        assert!(cache.chunk((version(1), 0), || Ok((vec![1], true))).is_ok());
    }

    #[test]
    fn a_fresh_ctime_could_hide_a_later_change() {
        let mut version = version(1);
        let at = |millis| UNIX_EPOCH + Duration::from_millis(millis);
        assert_eq!(version.until_unmistakable(at(1100)), Some(Duration::ZERO));
        assert_eq!(version.until_unmistakable(at(1020)), Some(Duration::ZERO));
        assert_eq!(version.until_unmistakable(at(1015)), Some(Duration::from_millis(5)));
        assert_eq!(version.until_unmistakable(at(900)), None, "a clock behind the file's");
        version.ctime.secs = -5;
        assert_eq!(version.until_unmistakable(at(1000)), Some(Duration::ZERO));
    }

    #[test]
    fn only_a_file_left_alone_for_long_is_quiet() {
        let version = version(1);
        let at = |secs| UNIX_EPOCH + Duration::from_secs(secs);
        assert!(version.is_quiet(at(11)));
        assert!(!version.is_quiet(at(10)));
        assert!(!version.is_quiet(at(0)), "a clock behind the file's");
    }
}
