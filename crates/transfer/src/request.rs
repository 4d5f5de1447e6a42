//! What a session is asked to do besides its options, and how it ended.

use std::fs::File;
use std::sync::Arc;

use driftless_filter::Given;

use crate::error::PushError;
use crate::module::ModuleTerms;
use crate::report::Statistics;
use crate::rule_texts::RuleTexts;

/// What is copied where. Which fields count depends on the role: a client has all, a server those
/// that its arguments hold, and it gets `rules` and the list of files through the session.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Source arguments as given, without host or module; on a sender. A client that pulls
    /// compares what is listed with them; none: it does not.
    pub sources: Vec<Vec<u8>>,
    /// The destination as given, on a receiving side. `None` lists only.
    pub destination: Option<Vec<u8>>,
    /// Filters of the command line, in their order there, those that options bring included
    /// (`P *~` of backups, `-p` of a partial directory, `-C`). A client that pulls sends them.
    pub rules: Vec<Given>,
    /// Files of rules that were read for this request.
    pub rule_texts: RuleTexts,
    /// What the module of a daemon lays down that this session is in.
    pub module: Option<Arc<ModuleTerms>>,
    /// The caller shows what each file's content was on its way: its digest, its bytes. Of a copy within
    /// this machine.
    pub shows_content: bool,
    /// Gets a record of what the sender sends, for [`crate::replay`]; of a client only. The options
    /// must be those of [`crate::record::prepare`].
    pub record: Option<Arc<File>>,
}

/// How a session ended that got to its closing exchange.
#[derive(Debug, Clone, Copy, Default)]
pub struct Ending {
    /// For `--stats` and the summary.
    pub statistics: Statistics,
    /// The protocol spoken.
    pub protocol: u8,
    /// Some file or attribute was not transferred: an error text of that weight was said here or
    /// by the peer (exit code 23).
    pub error_xfer: bool,
    /// io_error bits of the lists and of this side: 1 general, 2 vanished, 4 `--max-delete`.
    pub io_error: u32,
    /// The code that the peer, or a process of the connection, ended with.
    pub peer_exit: Option<i32>,
}

impl Ending {
    /// rsync's exit code.
    pub fn exit_code(&self) -> u8 {
        let own = if self.error_xfer || self.io_error & 1 != 0 {
            23
        } else if self.io_error & 2 != 0 {
            24
        } else if self.io_error & 4 != 0 {
            25
        } else {
            0
        };
        // What went wrong there is what is told of, also where it weighs less (seen).
        match self.peer_exit {
            None | Some(0) => own,
            Some(code) => u8::try_from(code).unwrap_or(12),
        }
    }
}

/// A session that did not get that far: why, and what is known nevertheless.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct SessionFailure {
    /// What ended it. Its exit code is rsync's.
    pub error: PushError,
    /// Until then.
    pub ending: Ending,
}
