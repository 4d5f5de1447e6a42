//! Content of large files that several sessions send at the same time: read and summed once.
//!
//! Invariants
//! * What is kept belongs to exactly one version of a file. A version whose ctime is so recent that
//!   a later change could carry the same timestamps is never kept.
//! * Of several askers for a chunk one reads it, the others wait for that read.
//!
//! Small files are not kept: the kernel's page cache serves them as well.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use driftless_tree::flist::{Entry, Origin};
use driftless_tree::{Meta, Timestamp};

use crate::options::ChecksumKind;

/// Bytes of a chunk.
pub(crate) const CHUNK_LEN: u64 = 256 * 1024;

/// Bytes kept when the caller does not say.
pub const DEFAULT_CAPACITY: usize = 64 * 1024 * 1024;

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
}

impl Default for SourceCache {
    fn default() -> Self {
        Self::with_capacity(DEFAULT_CAPACITY)
    }
}

impl SourceCache {
    /// Keeps at most `capacity` bytes of content.
    pub fn with_capacity(capacity: usize) -> Self {
        let shared = Shared { capacity, state: Mutex::default(), loaded: Condvar::new() };
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
