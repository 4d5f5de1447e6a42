//! Copying content between two files of this machine by the cheapest means that works.

use crate::source::SourceFile;
use rustix::fs::{copy_file_range, ftruncate, ioctl_ficlone};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes that pass through memory at once when the kernel cannot copy.
const BUFFER_LEN: usize = 256 * 1024;

/// Bytes that the kernel copies between two questions whether to go on.
const STEP_LEN: usize = 8 * 1024 * 1024;

/// Copies the first `len` bytes of `source` to the start of the empty file `target`: sharing its
/// blocks, else copied by the kernel, else through memory. Returns how many bytes there were.
///
/// Whether the source changed meanwhile is for the caller to find out.
pub fn copy_content(source: &SourceFile, target: &File, len: u64) -> io::Result<u64> {
    copy_content_while(source, target, len, || true)
}

/// As [`copy_content`], but asks `go_on` every few megabytes and stops when it says no. Returns how
/// many bytes were copied until then.
pub fn copy_content_while(
    source: &SourceFile,
    target: &File,
    len: u64,
    go_on: impl Fn() -> bool,
) -> io::Result<u64> {
    if source.meta()?.size == len && ioctl_ficlone(target, source).is_ok() {
        // It may have grown between the two calls.
        let cloned = target.metadata()?.len();
        if cloned > len {
            ftruncate(target, len)?;
        }
        return Ok(cloned.min(len));
    }
    let copied = copy_in_kernel(source, target, len, &go_on)?;
    copy_through_memory(source, target, copied, len, &go_on)
}

/// Copies as far as the kernel does: to `len`, the end of the source, or where it refuses.
fn copy_in_kernel(
    source: &SourceFile,
    target: &File,
    len: u64,
    go_on: impl Fn() -> bool,
) -> io::Result<u64> {
    let (mut from, mut to) = (0, 0);
    while from < len && go_on() {
        let step = usize::try_from(len - from).unwrap_or(usize::MAX).min(STEP_LEN);
        match copy_file_range(source, Some(&mut from), target, Some(&mut to), step) {
            Ok(0) => break,
            Ok(_) | Err(Errno::INTR) => {}
            // Not for these two file systems, or a sandbox forbids it.
            Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {
                break;
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(from)
}

fn copy_through_memory(
    source: &SourceFile,
    target: &File,
    start: u64,
    len: u64,
    go_on: impl Fn() -> bool,
) -> io::Result<u64> {
    let mut offset = start;
    let mut buffer = Vec::new();
    while offset < len && go_on() {
        buffer.resize(BUFFER_LEN, 0);
        let wanted = buffer.len().min(usize::try_from(len - offset).unwrap_or(usize::MAX));
        let count = source.read_at(offset, &mut buffer[..wanted])?;
        if count == 0 {
            break;
        }
        target.write_all_at(&buffer[..count], offset)?;
        offset += count as u64;
    }
    Ok(offset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Root;
    use driftless_tree::RelPath;

    #[test]
    fn every_means_copies_the_same() {
        let temp = tempfile::tempdir().unwrap();
        let content: Vec<u8> = (0..700_000u32).map(|at| (at % 251) as u8).collect();
        std::fs::write(temp.path().join("source"), &content).unwrap();
        let root = Root::open(temp.path()).unwrap();
        let source = root.open_file(&RelPath::parse(b"source").unwrap()).unwrap();
        type Copy = fn(&SourceFile, &File, u64) -> io::Result<u64>;
        let through_memory: Copy =
            |source, target, len| copy_through_memory(source, target, 0, len, || true);
        let in_kernel: Copy = |source, target, len| copy_in_kernel(source, target, len, || true);
        for copy in [copy_content as Copy, in_kernel, through_memory] {
            for (len, expected) in
                [(0, 0), (300_001, 300_001), (700_000, 700_000), (1 << 40, 700_000)]
            {
                let path = temp.path().join("target");
                let target = File::create(&path).unwrap();
                assert_eq!(copy(&source, &target, len).unwrap(), expected);
                assert!(std::fs::read(&path).unwrap() == content[..expected as usize]);
            }
        }
    }
}
