//! The crate against the real kernel.

mod reading;
mod roots;
mod writing;

use driftless_fs::Root;
use driftless_tree::RelPath;
use std::path::PathBuf;
use tempfile::TempDir;

/// A root `tree` and, beside it, a directory `outside` with a file `secret`.
struct Place {
    temp: TempDir,
    root: Root,
}

impl Place {
    fn new() -> Self {
        let temp = tempfile::tempdir().unwrap();
        std::fs::create_dir(temp.path().join("tree")).unwrap();
        std::fs::create_dir(temp.path().join("outside")).unwrap();
        std::fs::write(temp.path().join("outside/secret"), "secret").unwrap();
        let root = Root::open(&temp.path().join("tree")).unwrap();
        Self { temp, root }
    }

    /// A path below the root, as the rest of the system sees it.
    fn tree(&self, name: &str) -> PathBuf {
        self.temp.path().join("tree").join(name)
    }

    fn outside(&self, name: &str) -> PathBuf {
        self.temp.path().join("outside").join(name)
    }

    fn names(&self) -> Vec<Vec<u8>> {
        let mut names: Vec<_> = self
            .root
            .open_dir(None)
            .unwrap()
            .entries()
            .unwrap()
            .into_iter()
            .map(|e| e.name)
            .collect();
        names.sort();
        names
    }
}

fn path(raw: impl AsRef<[u8]>) -> RelPath {
    RelPath::parse(raw.as_ref()).unwrap()
}

/// Names that careless code breaks on.
fn odd_names() -> [Vec<u8>; 6] {
    [
        b"line\nbreak".to_vec(),
        b"\xff\xfe not text".to_vec(),
        b" -rf ".to_vec(),
        b"...".to_vec(),
        vec![b'n'; 255],
        "é".repeat(127).into_bytes(),
    ]
}
