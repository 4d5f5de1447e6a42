//! Which file systems are mounted inside the tree.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Seek};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

/// The kernel's table of mounts, which can be waited on.
pub(super) struct MountTable(File);

/// One line of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mount {
    pub id: u64,
    pub at: PathBuf,
}

impl MountTable {
    pub fn open() -> io::Result<Self> {
        File::open("/proc/self/mountinfo").map(Self)
    }

    /// Reads it.
    pub fn read(&mut self) -> io::Result<Vec<Mount>> {
        let mut text = Vec::new();
        self.0.rewind()?;
        self.0.read_to_end(&mut text)?;
        Ok(text.split(|&b| b == b'\n').filter_map(parse).collect())
    }
}

/// What is mounted below `root`, not at it; of those at one place, the uppermost.
pub(super) fn below(all: &[Mount], root: &Path) -> Vec<Mount> {
    let mut found: Vec<Mount> = Vec::new();
    for mount in all.iter().filter(|mount| mount.at != root && mount.at.starts_with(root)) {
        found.retain(|lower| lower.at != mount.at);
        found.push(mount.clone());
    }
    found
}

impl AsFd for MountTable {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// `ID PARENT MAJOR:MINOR ROOT POINT …`, where some bytes of names are written in octal.
fn parse(line: &[u8]) -> Option<Mount> {
    let mut fields = line.split(|&b| b == b' ');
    let id = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
    let at = OsString::from_vec(unescape(fields.nth(3)?)).into();
    Some(Mount { id, at })
}

fn unescape(mut text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    while let Some((&first, rest)) = text.split_first() {
        text = match (first, rest) {
            (b'\\', [a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', rest @ ..]) => {
                out.push((a - b'0') << 6 | (b - b'0') << 3 | (c - b'0'));
                rest
            }
            _ => {
                out.push(first);
                rest
            }
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gives_its_number_and_its_place() {
        let line = br"36 35 98:0 /mnt1 /mnt/a\040b\134 rw,noatime master:1 - ext3 /dev/root rw";
        let mount = Mount { id: 36, at: r"/mnt/a b\".into() };
        assert_eq!(parse(line), Some(mount));
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"1 2 3"), None);
    }

    #[test]
    fn the_table_of_this_machine_is_read() {
        let mut table = MountTable::open().unwrap();
        let all = table.read().unwrap();
        let found = below(&all, Path::new("/"));
        assert!(found.iter().any(|mount| mount.at == Path::new("/proc")), "{found:?}");
        assert_eq!(below(&all, Path::new("/proc/self")), []);
    }
}
