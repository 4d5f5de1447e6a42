//! Digests of whole files for `--checksum`, several at once.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};

use driftless_delta::FileSum;
use driftless_fs::SourceFile;
use driftless_proto::setup::ChecksumKind;

use crate::beside::both;
use crate::driver::Content;
use crate::sender::answer::strong;

/// Bytes read at once.
const READ_LEN: usize = 256 * 1024;

/// So many bytes are worth a second thread.
const PARALLEL_LEN: u64 = 1024 * 1024;

/// The unseeded digest of a whole file; `room` is kept for its memory.
pub(crate) fn of(
    file: &SourceFile,
    kind: ChecksumKind,
    room: &mut Vec<u8>,
) -> io::Result<Box<[u8]>> {
    let len = usize::try_from(file.opened().size).unwrap_or(READ_LEN);
    room.resize(len.saturating_add(1).min(READ_LEN), 0);
    let mut sum = FileSum::new(strong(kind));
    let mut offset = 0;
    loop {
        match file.read_at(offset, room)? {
            0 => break,
            count => {
                sum.update(&room[..count]);
                offset += count as u64;
            }
        }
    }
    room.clear();
    Ok(sum.finish().as_bytes().into())
}

/// The unseeded digest of what is read for an answer.
pub(crate) fn of_content(content: &mut dyn Content, kind: ChecksumKind) -> io::Result<Box<[u8]>> {
    let mut sum = FileSum::new(strong(kind));
    let mut offset = 0;
    while offset < content.len() {
        let chunk = content.chunk(offset)?;
        if chunk.is_empty() {
            break;
        }
        sum.update(chunk);
        offset += chunk.len() as u64;
    }
    Ok(sum.finish().as_bytes().into())
}

/// The digests of files that together have `len` bytes; `None` where `open` fails, or reading.
pub(crate) fn of_all<T: Sync>(
    files: &[T],
    len: u64,
    kind: ChecksumKind,
    open: impl Fn(&T) -> io::Result<SourceFile> + Sync,
) -> Vec<Option<Box<[u8]>>> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut room = Vec::new();
        let mut done = Vec::new();
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(file) = files.get(at) else { return done };
            done.push((at, open(file).and_then(|file| of(&file, kind, &mut room)).ok()));
        }
    };
    let (first, second) = match len >= PARALLEL_LEN && files.len() > 1 {
        false => (work(), Vec::new()),
        true => both(work, work),
    };
    let mut digests = vec![None; files.len()];
    for (at, digest) in first.into_iter().chain(second) {
        digests[at] = digest;
    }
    digests
}
