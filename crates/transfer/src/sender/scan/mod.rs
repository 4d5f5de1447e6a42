//! The lists of rsync's own sending side: several arguments, links, rules, attributes.
//!
//! ```text
//! args (what arguments mean) ─► walk (lists) ─► session
//!                                 │  filters, disk              supply (content) ◄─┘
//!                                 └──────── state ────────────────┘
//! ```

mod args;
mod content;
mod disk;
mod filters;
mod roots;
pub(crate) mod state;
mod supply;
pub(crate) mod walk;

pub(crate) use disk::{Disk, path_of};
pub(crate) use filters::{Filters, RuleFiles};
pub(crate) use supply::Supply;
