//! Filters of the command line are read before anything is connected, so that what is wrong with
//! them is said at once.

use std::io;
use std::path::Path;

use driftless_filter::{Given, ParseOptions, ReadFile, RuleError, Rules};
use driftless_transfer::TransferOptions;
use driftless_transfer::operator::{self, Links};

use super::failure::path_text;

/// Longest file of rules.
const MAX_LEN: u64 = 64 << 20;

/// Text and exit code for rules that are none. Standard input is left alone: it can be read once.
pub fn check(rules: &[Given], options: &TransferOptions) -> Result<(), (String, u8)> {
    let parse = ParseOptions {
        delete_excluded: options.delete.excluded,
        from0: options.selection.from0,
        protocol: options.protocol,
        root: b"/".to_vec(),
        home_cvsignore: None,
        cvsignore: None,
    };
    let links = Links::of(options.link.insecure);
    match Rules::parse(rules, &parse, &mut Files { links, waits: false }) {
        Ok(_) => Ok(()),
        Err(error @ RuleError::Open { .. }) => {
            let start = format!("rsync: [client] {error}");
            let why = std::error::Error::source(&error)
                .and_then(|source| source.downcast_ref::<io::Error>());
            Err((why.map_or(format!("{start}: "), |why| path_text(&start, why)), 11))
        }
        Err(error) => Err((error.to_string(), 1)),
    }
}

pub(super) struct Files {
    pub(super) links: Links,
    /// Pipes are read too, which is possible once.
    pub(super) waits: bool,
}

impl ReadFile for Files {
    fn read(&mut self, path: &[u8]) -> io::Result<Option<Vec<u8>>> {
        use std::os::unix::ffi::OsStrExt;
        if path == b"-" {
            return Ok(Some(Vec::new()));
        }
        let path = Path::new(std::ffi::OsStr::from_bytes(path));
        let kind = std::fs::metadata(path).map(|meta| meta.file_type());
        if !self.waits && kind.is_ok_and(|kind| !kind.is_file() && !kind.is_dir()) {
            return Ok(Some(Vec::new()));
        }
        operator::read_any(path, MAX_LEN, self.links).map(Some)
    }
}
