//! One file's content on its way in: from literals and blocks of a basis into a file.
//!
//! What was put together is judged by the caller with [`Incoming::digest`]; nothing here gives a
//! file its place or its attributes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::rc::Rc;

use driftless_delta::{Digest, FileSum, Layout};
use driftless_fs::copy::copy_content_while;
use driftless_fs::{NewFile, SourceFile};

use crate::handover::Handed;

/// Bytes that are collected before they are written: they stay in the processor's cache until then.
const BUFFER_LEN: usize = 128 * 1024;

/// Zeros of this length, aligned to it, become a hole.
const HOLE: usize = 4096;

/// Where content goes.
#[derive(Debug)]
pub(crate) enum Target {
    /// Under a temporary name.
    New(NewFile),
    /// Into the file itself.
    InPlace(File),
    /// Nowhere: it cannot be written, but the stream must be read on.
    Nowhere,
}

impl Target {
    fn file(&self) -> Option<&File> {
        match self {
            Self::New(new) => Some(new.file()),
            Self::InPlace(file) => Some(file),
            Self::Nowhere => None,
        }
    }
}

/// What one file's content is put together from.
pub(crate) struct Incoming {
    target: Target,
    basis: Option<Basis>,
    layout: Layout,
    sum: FileSum,
    /// Content that is not written yet; it begins at `written`.
    buffer: Vec<u8>,
    written: u64,
    sparse: bool,
    /// The first failure to write; from then on the target stays as it is.
    failure: Option<io::Error>,
    /// Some of it is missing, whatever the digest says.
    spoiled: bool,
    pub(crate) literal_bytes: u64,
    pub(crate) matched_bytes: u64,
}

/// A basis, read through a window, since blocks are small and mostly follow one another.
struct Basis {
    file: Rc<SourceFile>,
    window: Vec<u8>,
    window_start: u64,
    /// It is the target itself: blocks that stay where they are need no writing.
    is_target: bool,
}

/// Why a block cannot be taken from the basis.
#[derive(Debug)]
pub(crate) enum BlockError {
    /// The peer names a block that there is not.
    Unknown,
    /// The basis cannot be read, or is shorter than it was.
    Unreadable,
}

impl Incoming {
    /// `buffer` is room to work in, taken back by [`Incoming::finish`].
    pub(crate) fn new(target: Target, layout: Layout, sum: FileSum, buffer: Vec<u8>) -> Self {
        Self {
            target,
            basis: None,
            layout,
            sum,
            buffer,
            written: 0,
            sparse: false,
            failure: None,
            spoiled: false,
            literal_bytes: 0,
            matched_bytes: 0,
        }
    }

    /// Blocks come from this file; `is_own`: it is the one that the content is for, so that it may be
    /// the target itself.
    pub(crate) fn set_basis(&mut self, file: Rc<SourceFile>, is_own: bool) {
        let is_target = is_own && matches!(self.target, Target::InPlace(_));
        self.basis = Some(Basis { file, window: Vec::new(), window_start: 0, is_target });
    }

    /// Whether there is something that blocks can come from.
    pub(crate) fn has_basis(&self) -> bool {
        self.basis.is_some()
    }

    /// Zeros become holes.
    pub(crate) fn set_sparse(&mut self) {
        self.sparse = matches!(self.target, Target::New(_));
    }

    /// Some of the content could not be had.
    pub(crate) fn spoil(&mut self) {
        self.spoiled = true;
    }

    /// Asks for the room that the content will take, where the file system can give it.
    pub(crate) fn preallocate(&mut self, len: u64) {
        if let Some(file) = self.target.file().filter(|_| len > 0) {
            // Only an optimisation: a full disk is found out by writing, too.
            let _ = rustix::fs::fallocate(file, rustix::fs::FallocateFlags::KEEP_SIZE, 0, len);
        }
    }

    /// The target has so many bytes already, and more are added. `verify`: they count for the
    /// digest.
    pub(crate) fn append_after(&mut self, len: u64, verify: bool) {
        self.written = len;
        let mut offset = 0;
        while verify && offset < len {
            let mut piece =
                vec![0; BUFFER_LEN.min(usize::try_from(len - offset).unwrap_or(BUFFER_LEN))];
            let read = self.target.file().map_or(Ok(0), |file| file.read_at(&mut piece, offset));
            match read {
                Ok(count @ 1..) => {
                    self.sum.update(&piece[..count]);
                    offset += count as u64;
                }
                Ok(0) => break,
                Err(error) => {
                    self.failure.get_or_insert(error);
                    break;
                }
            }
        }
    }

    /// Bytes of content so far.
    pub(crate) fn len(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// The next bytes of the file.
    pub(crate) fn literal(&mut self, bytes: &[u8]) {
        self.literal_bytes += bytes.len() as u64;
        self.sum.update(bytes);
        self.put(bytes);
    }

    fn put(&mut self, bytes: &[u8]) {
        if self.buffer.is_empty() && bytes.len() >= BUFFER_LEN {
            self.write(bytes);
            return;
        }
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER_LEN {
            self.flush();
        }
    }

    /// The next bytes are this block of the basis.
    pub(crate) fn block(&mut self, block: u32) -> Result<(), BlockError> {
        let range = self.layout.range(block).ok_or(BlockError::Unknown)?;
        let len = (range.end - range.start) as usize;
        let mut basis = self.basis.take().ok_or(BlockError::Unknown)?;
        let stays = basis.is_target && range.start == self.len();
        let found = basis.read(range.start, len).map(|bytes| {
            self.matched_bytes += len as u64;
            self.sum.update(bytes);
            if stays {
                self.flush();
                self.written += len as u64;
            } else {
                self.put(bytes);
            }
        });
        self.basis = Some(basis);
        found.ok_or(BlockError::Unreadable)
    }

    /// The content of a block that was just taken.
    pub(crate) fn block_bytes(&mut self, block: u32) -> &[u8] {
        let Some(range) = self.layout.range(block) else { return &[] };
        let len = (range.end - range.start) as usize;
        self.basis.as_mut().and_then(|basis| basis.read(range.start, len)).unwrap_or_default()
    }

    fn flush(&mut self) {
        let mut buffer = std::mem::take(&mut self.buffer);
        self.write(&buffer);
        buffer.clear();
        self.buffer = buffer;
    }

    fn write(&mut self, bytes: &[u8]) {
        let start = self.written;
        self.written += bytes.len() as u64;
        let Some(file) = self.target.file().filter(|_| self.failure.is_none()) else { return };
        let result = match self.sparse {
            false => file.write_all_at(bytes, start),
            true => write_around_holes(file, bytes, start),
        };
        if let Err(error) = result {
            self.failure = Some(error);
        }
    }

    /// Takes all content at once, for as long as `go_on` says so. Whether it is complete.
    pub(crate) fn take_over(&mut self, handed: &Handed, go_on: impl Fn() -> bool) -> bool {
        match (handed, self.target.file()) {
            (Handed::Bytes(bytes), _) => self.write(bytes),
            (Handed::File(source, len), Some(target)) => {
                match copy_content_while(source, target, *len, go_on) {
                    Ok(copied) => self.written = copied,
                    Err(error) => self.failure = Some(error),
                }
            }
            (Handed::File(_, len), None) => self.written = *len,
        }
        self.literal_bytes = self.written;
        self.failure.is_some() || self.written == handed.len()
    }

    /// All content is there: writes the rest. Returns the target, the digest, what failed, and the
    /// room to work in.
    pub(crate) fn finish(mut self) -> Finished {
        self.flush();
        if let Some(file) = self.target.file().filter(|_| self.failure.is_none()) {
            let cut = self.sparse || matches!(self.target, Target::InPlace(_));
            // Devices cannot be cut, and need not be.
            if cut
                && file.metadata().is_ok_and(|meta| meta.is_file() && meta.len() != self.written)
                && let Err(error) = file.set_len(self.written)
            {
                self.failure = Some(error);
            }
        }
        Finished {
            target: self.target,
            digest: self.sum.finish(),
            failure: self.failure,
            spoiled: self.spoiled,
            room: self.buffer,
            literal_bytes: self.literal_bytes,
            matched_bytes: self.matched_bytes,
        }
    }

    /// The session ends in the middle: what was written so far goes to the disk as it is.
    pub(crate) fn break_off(mut self) -> (Target, u64) {
        self.flush();
        (self.target, self.literal_bytes)
    }
}

/// A file whose content is complete.
pub(crate) struct Finished {
    pub(crate) target: Target,
    pub(crate) digest: Digest,
    pub(crate) failure: Option<io::Error>,
    pub(crate) spoiled: bool,
    pub(crate) room: Vec<u8>,
    pub(crate) literal_bytes: u64,
    pub(crate) matched_bytes: u64,
}

impl Basis {
    fn read(&mut self, start: u64, len: usize) -> Option<&[u8]> {
        let window_end = self.window_start + self.window.len() as u64;
        if start < self.window_start || start + len as u64 > window_end || self.is_target {
            let rest = self.file.opened().size.saturating_sub(start);
            let most = usize::try_from(rest).unwrap_or(BUFFER_LEN).min(BUFFER_LEN);
            let wanted = if self.is_target { len } else { len.max(most) };
            self.window.resize(wanted, 0);
            self.window_start = start;
            let mut filled = 0;
            while filled < wanted {
                match self.file.read_at(start + filled as u64, &mut self.window[filled..]) {
                    Ok(0) | Err(_) => break,
                    Ok(count) => filled += count,
                }
            }
            self.window.truncate(filled);
        }
        let at = usize::try_from(start - self.window_start).ok()?;
        self.window.get(at..at.checked_add(len)?)
    }
}

/// Writes what is not zero. The file is empty behind `start`.
fn write_around_holes(file: &File, bytes: &[u8], start: u64) -> io::Result<()> {
    let mut run = 0..0;
    let first = HOLE - (start % HOLE as u64) as usize;
    let mut at = 0;
    while at < bytes.len() {
        let len = if at == 0 { first } else { HOLE }.min(bytes.len() - at);
        let piece = &bytes[at..at + len];
        if piece.iter().any(|&b| b != 0) {
            if run.end != at {
                write_run(file, bytes, start, &run)?;
                run = at..at;
            }
            run.end = at + len;
        }
        at += len;
    }
    write_run(file, bytes, start, &run)
}

fn write_run(
    file: &File,
    bytes: &[u8],
    start: u64,
    run: &std::ops::Range<usize>,
) -> io::Result<()> {
    if run.is_empty() {
        return Ok(());
    }
    file.write_all_at(&bytes[run.clone()], start + run.start as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use driftless_delta::Strong;

    fn incoming(file: &File, layout: Layout) -> Incoming {
        let target = Target::InPlace(file.try_clone().unwrap());
        Incoming::new(target, layout, FileSum::new(Strong::Xxh3), Vec::new())
    }

    #[test]
    fn holes_keep_their_place_and_length() {
        let file = tempfile::tempfile().unwrap();
        let mut bytes = vec![0; 50_000];
        bytes[9_000] = 1;
        bytes[30_000..40_000].fill(7);
        write_around_holes(&file, &bytes, 100).unwrap();
        file.set_len(50_100).unwrap();
        let mut back = vec![9; 50_100];
        file.read_exact_at(&mut back, 0).unwrap();
        assert!(back[..100].iter().all(|&b| b == 0));
        assert!(back[100..] == bytes[..]);
    }

    #[test]
    fn literals_of_any_length_end_up_in_order() {
        let file = tempfile::tempfile().unwrap();
        let mut incoming = incoming(&file, Layout::EMPTY);
        let mut expected = Vec::new();
        for len in [1, 300_000, 5, 262_144, 100_000, 200_000, 7] {
            let piece: Vec<u8> = (0..len).map(|at| (at % 251) as u8).collect();
            incoming.literal(&piece);
            expected.extend_from_slice(&piece);
        }
        let finished = incoming.finish();
        assert_eq!(finished.literal_bytes, expected.len() as u64);
        let mut back = vec![0; expected.len()];
        file.read_exact_at(&mut back, 0).unwrap();
        assert!(back == expected);
        assert_eq!(finished.digest, driftless_delta::file_digest(Strong::Xxh3, &expected));
    }

    #[test]
    fn a_block_without_a_basis_is_unknown() {
        let file = tempfile::tempfile().unwrap();
        let mut incoming = incoming(&file, Layout::of_basis(5000, 8, false));
        assert!(matches!(incoming.block(0), Err(BlockError::Unknown)));
    }
}
