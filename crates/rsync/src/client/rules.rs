//! Filters of the command line are read before anything is connected, so that what is wrong with
//! them is said at once.

use std::io;
use std::path::Path;

use driftless_filter::{Given, ParseOptions, ReadFile, RuleError, Rules};
use driftless_transfer::TransferOptions;

use super::failure::system_text;

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
    match Rules::parse(rules, &parse, &mut Files) {
        Ok(_) => Ok(()),
        Err(error @ RuleError::Open { .. }) => {
            let why = std::error::Error::source(&error)
                .and_then(|source| source.downcast_ref::<io::Error>())
                .map(system_text)
                .unwrap_or_default();
            Err((format!("rsync: [client] {error}: {why}"), 11))
        }
        Err(error) => Err((error.to_string(), 1)),
    }
}

pub(super) struct Files;

impl ReadFile for Files {
    fn read(&mut self, path: &[u8]) -> io::Result<Option<Vec<u8>>> {
        use std::os::unix::ffi::OsStrExt;
        if path == b"-" {
            return Ok(Some(Vec::new()));
        }
        std::fs::read(Path::new(std::ffi::OsStr::from_bytes(path))).map(Some)
    }
}
