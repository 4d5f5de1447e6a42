//! rsync's command line: from arguments to an [`Invocation`].
//!
//! ```text
//! arguments ─ parse (defs, effects, values) ─► Typed ─ finish ─► Invocation
//! ```
//! Nothing here opens a file or a socket, prints or exits. What the environment adds comes in as
//! values ([`Environment`]).

mod defs;
mod effects;
mod finish;
mod help;
mod invocation;
mod parse;
mod stop_at;
mod typed;
mod values;

pub use defs::{FLAGS, Flag, Group, Take};
pub use help::{help, level_help};
pub use invocation::{Environment, Invocation, Mode, interpret, interpret_refusing};
pub use parse::Refuses;
pub(crate) use parse::{by_letter, by_long_name};
pub use typed::{Batches, Buffering, LevelHelp, Output};

/// A command line that is none, in rsync's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct Usage {
    /// rsync's exit code.
    pub code: u8,
    /// Without its prefix; may have several lines.
    pub text: String,
    /// The text is printed behind `rsync: `.
    pub prefixed: bool,
    /// The whole help is printed in its place.
    pub with_help: bool,
}

impl Usage {
    /// The text as it is printed.
    pub fn line(&self) -> String {
        format!("{}{}", if self.prefixed { "rsync: " } else { "" }, self.text)
    }

    /// An option that is wrong.
    pub(crate) fn syntax(text: String) -> Self {
        Self { code: 1, text, prefixed: true, with_help: false }
    }

    /// A text that rsync prints without its prefix.
    pub(crate) fn plain(code: u8, text: String) -> Self {
        Self { code, text, prefixed: false, with_help: false }
    }

    /// Arguments that make no sense: the answer is the help.
    pub(crate) fn help() -> Self {
        Self { code: 1, text: String::new(), prefixed: false, with_help: true }
    }
}
