//! The content of a file as it is read for one answer.
//!
//! Whatever is there is sent: a change in the middle is in the digest too, and a file that became
//! shorter breaks it.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use driftless_fs::SourceFile;

use crate::driver::Content;
use crate::handover::Handed;

/// Bytes read at once: they stay in the processor's cache until they are sent.
const CHUNK_LEN: usize = 128 * 1024;

/// Longest content that is handed over in memory.
const IN_MEMORY_LEN: u64 = 256 * 1024;

thread_local! {
    /// The buffer of the last content, for the next one.
    static SPARE: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// An open file or device.
pub(crate) enum Opened {
    File(Arc<SourceFile>),
    Device(File),
}

impl Opened {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::File(file) => file.read_at(offset, buffer),
            Self::Device(file) => file.read_at(buffer, offset),
        }
    }
}

/// Content read as it is asked for.
pub(crate) struct Reading {
    file: Opened,
    len: u64,
    buffer: Vec<u8>,
    /// Where the buffer's content begins, and how much there is.
    at: u64,
    filled: usize,
}

impl Reading {
    pub(crate) fn new(file: Opened, len: u64) -> Self {
        let buffer = SPARE.with(RefCell::take);
        Self { file, len, buffer, at: 0, filled: 0 }
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        SPARE.set(std::mem::take(&mut self.buffer));
    }
}

impl Content for Reading {
    fn len(&self) -> u64 {
        self.len
    }

    fn chunk(&mut self, offset: u64) -> io::Result<&[u8]> {
        let within = offset.checked_sub(self.at).and_then(|skip| usize::try_from(skip).ok());
        if let Some(skip) = within.filter(|&skip| skip < self.filled) {
            return Ok(&self.buffer[skip..self.filled]);
        }
        let left = usize::try_from(self.len.saturating_sub(offset)).unwrap_or(usize::MAX);
        let wanted = left.min(CHUNK_LEN);
        if self.buffer.len() < wanted {
            self.buffer.resize(wanted, 0);
        }
        self.at = offset;
        self.filled = 0;
        while self.filled < wanted {
            let from = offset + self.filled as u64;
            match self.file.read_at(from, &mut self.buffer[self.filled..wanted])? {
                0 => break,
                len => self.filled += len,
            }
        }
        Ok(&self.buffer[..self.filled])
    }

    fn hand_over(&mut self) -> io::Result<Option<Handed>> {
        let Opened::File(file) = &self.file else { return Ok(None) };
        if self.len > IN_MEMORY_LEN {
            return Ok(Some(Handed::File(Arc::clone(file), self.len)));
        }
        let mut bytes = Vec::new();
        file.read_whole(&mut bytes)?;
        Ok(Some(Handed::Bytes(bytes)))
    }

    fn unchanged(&mut self) -> bool {
        true
    }
}
