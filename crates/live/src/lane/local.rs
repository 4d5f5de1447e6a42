//! The lane to a directory of this machine.
//!
//! ```text
//! batch ──► apply ─┐                        ┌─ copy   (reflink, in the kernel, through memory)
//!                  ├─► Writer ──► object ───┼─ symbolic link, device, fifo, socket
//! source ─► pass ──┘      │                 └─ link to, or rename of, what the target has
//!                         └─────► removal (rules protect)
//! ```
//! Invariants
//! * What the target holds under a name is looked at before anything is done about it: presence and
//!   batches are never believed about the target.
//! * Anything but a directory appears complete and with its attributes, or not at all.
//! * Names that the rules exclude are never deleted, nor are the directories that hold them.
//! * A target that lies in the source, or holds it, is refused.
//!
//! Nothing here knows a protocol, marks or retries.

mod apply;
mod compare;
mod count;
mod extras;
mod likeness;
mod listing;
mod pass;
mod place;
mod removal;
mod writer;

use std::path::PathBuf;

use driftless_transfer::TransferOptions;
use driftless_tree::Timestamp;

use self::place::{Occasion, Place};
use self::writer::Writer;
use super::report::{BatchReport, Comparison, ItemEnd, PassReport, Traffic};
use super::state::Lane;
use super::verify::Chosen;
use super::work::{Target, View, Wants};
use crate::batch::Batch;
use crate::config::MaxDelete;

/// A directory of this machine.
pub struct LocalTarget {
    place: Place,
    options: TransferOptions,
    delete: bool,
}

impl LocalTarget {
    /// A target that is not opened yet. The directory must exist at the first batch or pass; it is
    /// made when only its last component is missing.
    pub fn new(path: PathBuf, options: TransferOptions, delete: bool) -> Self {
        Self { place: Place::new(path), options, delete }
    }
}

impl Target for LocalTarget {
    fn wants(&self) -> Wants {
        Wants {
            delete: self.delete,
            deletes: self.delete,
            hard_links: self.options.hard_links,
            whole_seconds: false,
        }
    }

    fn apply(&mut self, batch: &Batch, view: &View, lane: &Lane) -> BatchReport {
        match self.place.ready(&view.root, Occasion::Batch) {
            Ok(target) => {
                let writer = Writer::new(&target, view, lane, &self.options, self.delete);
                apply::apply(writer, batch)
            }
            Err(error) => BatchReport {
                items: vec![ItemEnd::Unproved; batch.items.len()],
                end: Err(error),
                unmatched: Vec::new(),
                traffic: Traffic::default(),
            },
        }
    }

    fn pass(
        &mut self,
        view: &View,
        unknown_since: Option<Timestamp>,
        limit: MaxDelete,
        lane: &Lane,
    ) -> PassReport {
        match self.place.ready(&view.root, Occasion::Pass) {
            Ok(target) => {
                let writer = Writer::new(&target, view, lane, &self.options, self.delete);
                pass::pass(writer, view, unknown_since, limit)
            }
            Err(error) => PassReport { end: Err(error), ..PassReport::new() },
        }
    }

    fn compare(&mut self, view: &View, chosen: Option<&Chosen>, lane: &Lane) -> Comparison {
        match self.place.ready(&view.root, Occasion::Look) {
            Ok(target) => {
                let writer = Writer::new(&target, view, lane, &self.options, self.delete);
                compare::compare(writer, view, chosen)
            }
            Err(error) => Comparison { end: Err(error), ..Comparison::new() },
        }
    }

    fn refusals(&self) -> Vec<String> {
        Vec::new()
    }

    fn forget_refusals(&mut self) {}
}

#[cfg(test)]
mod tests;
