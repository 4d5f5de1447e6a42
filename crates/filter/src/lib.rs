//! rsync filter rules: parse, match, inherit.
//!
//! ```text
//! options ──► rules (global list) ──► chain (one per directory) ──► verdict on a name
//!               ▲ rule, merge            ▲ merge reads that directory's files
//!               └─ pattern               └─ the same rules as text for the peer: text
//! ```
//! Invariants
//! * The first rule that matches decides; without a match a name is included and at risk of deletion.
//! * A side only evaluates the rules that are meant for it.
//! * No pattern is exponential: matching costs at most pattern length times name length.
//!
//! Nothing here opens files, looks at the disk or knows of sessions: the caller reads through
//! [`ReadFile`], walks, and tests the parents of a name before the name.

mod chain;
mod cvs;
mod error;
mod merge;
mod pattern;
mod place;
mod rule;
mod rules;
mod text;

pub use chain::{Chain, Reason, Side, Verdict, decide};
pub use error::{FileName, Place, RuleError, SyntaxError, Warning};
pub use merge::ReadFile;
pub use pattern::matches_wildcard;
pub use rules::{Given, ModuleRules, ParseOptions, Rules, may_protect_below};
