//! The content of one file, handed out as one version or declared spoiled.

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use driftless_delta::strong::{FileSum, Strong};
use driftless_fs::{Root, SourceFile, Writers, is_absent};
use driftless_tree::flist::Entry;
use driftless_tree::{Meta, RelPath};

use crate::driver::{Content, Refusal};
use crate::options::ChecksumKind;
use crate::source::cache::{Attendance, CHUNK_LEN, SourceCache, Version};

/// What the file was when it was listed.
#[derive(Debug, Clone, Copy)]
pub enum Expected<'a> {
    /// Exactly this version: inode, size, mtime, ctime.
    Meta(&'a Meta),
    /// This inode, that may have been appended to since.
    Grown(&'a Meta),
    /// At least size and mtime of its entry.
    Entry(&'a Entry),
    /// Whatever is there.
    Any,
}

fn is_grown(earlier: &Meta, now: &Meta) -> bool {
    (now.dev, now.ino) == (earlier.dev, earlier.ino) && now.size >= earlier.size
}

impl Expected<'_> {
    fn is(&self, found: &Meta) -> bool {
        match self {
            Self::Meta(listed) => found.same_version(listed),
            Self::Grown(listed) => is_grown(listed, found),
            Self::Entry(entry) => (found.size, found.mtime) == (entry.size, entry.mtime),
            Self::Any => true,
        }
    }
}

/// What somebody else's writing to the file means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriterPolicy {
    /// A file that is open for writing is refused, also when it is opened while it is read. Not
    /// asked of a file that nobody has written to for 10 s.
    Refuse,
    /// It is not asked: changes show in the timestamps only, and a file that only grew while it was
    /// read is handed out as it was at the start, once a second reading has proved that.
    Ignore,
}

impl SourceCache {
    /// Opens a file for sending.
    ///
    /// # Errors
    /// It vanished, is not what was listed, is being written, or cannot be opened.
    pub fn open(
        &self,
        root: &Root,
        path: &RelPath,
        expected: Expected<'_>,
        writers: WriterPolicy,
    ) -> Result<Box<dyn Content>, Refusal> {
        let file = root.open_file(path).map_err(|error| {
            if error.kind() == io::ErrorKind::InvalidInput {
                Refusal::Changed
            } else if is_absent(&error) {
                Refusal::Vanished
            } else {
                Refusal::Io(error)
            }
        })?;
        self.content(file, expected, writers)
    }

    /// Hands out a file that was opened just now; as [`SourceCache::open`].
    pub(crate) fn content(
        &self,
        file: SourceFile,
        expected: Expected<'_>,
        writers: WriterPolicy,
    ) -> Result<Box<dyn Content>, Refusal> {
        let sum = (writers == WriterPolicy::Ignore).then(|| FileSum::new(Strong::Xxh128));
        let opened = *file.opened();
        let version = Version::of(&opened);
        let now = SystemTime::now();
        let small = opened.size <= CHUNK_LEN;
        let writers = match writers {
            WriterPolicy::Refuse if version.is_quiet(now) => Writers::Unknown,
            WriterPolicy::Refuse if small => file.bar_writers(),
            WriterPolicy::Refuse => file.writers(),
            WriterPolicy::Ignore => Writers::Unknown,
        };
        if writers == Writers::Some {
            return Err(Refusal::BeingWritten);
        }
        if !expected.is(&opened) {
            return Err(Refusal::Changed);
        }
        if small {
            return Ok(Box::new(SmallFile::read(&file)?));
        }
        let cached = becomes_unmistakable(&version, now);
        Ok(Box::new(LargeFile {
            cached,
            attendance: if cached { self.attend_version(version) } else { None },
            cache: self.clone(),
            file,
            opened,
            version,
            writers,
            at: 0,
            chunk: Arc::default(),
            sum,
            summed: 0,
        }))
    }
}

/// A file that was read completely, as one version, before any of it is sent.
pub(crate) struct SmallFile(Vec<u8>);

impl SmallFile {
    /// With its content, which was read as one version.
    pub(crate) fn new(content: Vec<u8>) -> Self {
        Self(content)
    }

    fn read(file: &SourceFile) -> Result<Self, Refusal> {
        let opened = file.opened();
        let mut bytes = Vec::new();
        let complete = file.read_whole(&mut bytes)? as u64 == opened.size;
        let one_version = complete && file.meta()?.same_version(opened);
        if one_version { Ok(Self(bytes)) } else { Err(Refusal::Changed) }
    }
}

impl Content for SmallFile {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn chunk(&mut self, offset: u64) -> io::Result<&[u8]> {
        let skip = usize::try_from(offset).unwrap_or(usize::MAX);
        Ok(self.0.get(skip..).unwrap_or_default())
    }

    fn unchanged(&mut self) -> bool {
        true
    }
}

/// A file that is read as it is sent.
struct LargeFile {
    cache: SourceCache,
    file: SourceFile,
    opened: Meta,
    version: Version,
    /// Before the first byte was read.
    writers: Writers,
    /// The version is unmistakable, so it is shared.
    cached: bool,
    /// Where it stands among those who share it, when it is too long to be kept.
    attendance: Option<Attendance>,
    /// Where `chunk` begins.
    at: u64,
    chunk: Arc<Vec<u8>>,
    /// Over the bytes handed out, when a second reading may have to be compared with them.
    sum: Option<FileSum>,
    summed: u64,
}

impl LargeFile {
    /// Whether the file only grew: then its beginning, read once more, is what was handed out, and
    /// all of it was there at one moment between the two readings.
    fn only_grew(&mut self) -> bool {
        let Some(handed_out) = self.sum.take() else { return false };
        let grown = self.file.meta().is_ok_and(|now| is_grown(&self.opened, &now));
        if !grown || self.summed != self.opened.size {
            return false;
        }
        let mut again = FileSum::new(Strong::Xxh128);
        let mut at = 0;
        while at < self.opened.size {
            match read_chunk(&self.file, at, (self.opened.size - at).min(CHUNK_LEN)) {
                Ok(bytes) if !bytes.is_empty() => {
                    again.update(&bytes);
                    at += bytes.len() as u64;
                }
                _ => return false,
            }
        }
        again.finish().as_bytes() == handed_out.finish().as_bytes()
    }

    fn load(&mut self, at: u64) -> io::Result<()> {
        self.chunk = Arc::default();
        let (file, opened) = (&self.file, &self.opened);
        let read = || read_chunk(file, at, opened.size.saturating_sub(at).min(CHUNK_LEN));
        self.chunk = if self.cached {
            if let Some(attendance) = &mut self.attendance {
                attendance.move_to(at);
            }
            self.cache.chunk((self.version, at), || {
                let bytes = read()?;
                Ok((bytes, file.meta()?.same_version(opened)))
            })?
        } else {
            Arc::new(read()?)
        };
        self.at = at;
        if let Some(sum) = &mut self.sum
            && self.summed == at
        {
            sum.update(&self.chunk);
            self.summed += self.chunk.len() as u64;
        }
        Ok(())
    }
}

impl Content for LargeFile {
    fn len(&self) -> u64 {
        self.opened.size
    }

    fn chunk(&mut self, offset: u64) -> io::Result<&[u8]> {
        let at = offset - offset % CHUNK_LEN;
        if at != self.at || self.chunk.is_empty() {
            self.load(at)?;
        }
        let skip = usize::try_from(offset - at).expect("less than a chunk");
        Ok(self.chunk.get(skip..).unwrap_or_default())
    }

    fn unchanged(&mut self) -> bool {
        let same =
            self.file.meta().is_ok_and(|now| now.same_version(&self.opened)) || self.only_grew();
        // Writing may have begun without having moved a timestamp yet.
        same && (self.writers != Writers::None || self.file.writers() != Writers::Some)
    }

    fn digest(&mut self, kind: ChecksumKind) -> Option<Vec<u8>> {
        if self.cached { self.cache.digest(self.version, kind) } else { None }
    }

    fn keep_digest(&mut self, kind: ChecksumKind, digest: &[u8]) {
        if self.cached {
            self.cache.keep_digest(self.version, kind, digest);
        }
    }
}

/// Waits the moment that a version needs before it can be shared: reading a large file once saves
/// more. `false` when it will not come.
fn becomes_unmistakable(version: &Version, now: SystemTime) -> bool {
    let Some(wait) = version.until_unmistakable(now) else { return false };
    if !wait.is_zero() {
        std::thread::sleep(wait);
    }
    true
}

/// Reads up to `len` bytes; fewer only at the end of the file.
fn read_chunk(file: &SourceFile, at: u64, len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(len).expect("at most a chunk")];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.read_at(at + filled as u64, &mut bytes[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    bytes.truncate(filled);
    Ok(bytes)
}
