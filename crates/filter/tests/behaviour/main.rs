//! The crate's promises, against what rsync 3.5.0 did.

mod model;
mod properties;
mod real;
mod recorded;
mod wire;

use std::collections::HashMap;
use std::io;

use driftless_filter::{ParseOptions, ReadFile};

/// Files by name.
#[derive(Default)]
pub struct Files(pub HashMap<Vec<u8>, Vec<u8>>);

impl ReadFile for Files {
    fn read(&mut self, path: &[u8]) -> io::Result<Option<Vec<u8>>> {
        Ok(self.0.get(path).cloned())
    }
}

/// The files given as pairs of name and content.
pub fn files(pairs: &[(&str, &str)]) -> Files {
    let bytes = |text: &str| text.as_bytes().to_vec();
    Files(pairs.iter().map(|(name, text)| (bytes(name), bytes(text))).collect())
}

/// Options of a plain transfer of `/root`.
pub fn options() -> ParseOptions {
    ParseOptions {
        delete_excluded: false,
        from0: false,
        protocol: 32,
        root: b"/root".to_vec(),
        home_cvsignore: None,
        cvsignore: None,
    }
}
