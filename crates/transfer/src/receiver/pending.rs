//! Requests that were made, until they are answered.

use std::collections::VecDeque;
use std::rc::Rc;

use driftless_delta::Layout;
use driftless_fs::SourceFile;
use driftless_tree::Meta;

use crate::generator::basis::BasisChoice;

/// Requests that are not answered, at most: enough to fill any connection with the smallest files.
const MAX_PENDING: usize = 4096;

/// Requests with a basis that is held open, at most.
const MAX_HELD: usize = 200;

/// A request that was made.
#[derive(Debug)]
pub(crate) struct Pending {
    pub(crate) ndx: u32,
    /// The list's number, and the place in it.
    pub(crate) list: usize,
    pub(crate) at: usize,
    /// What is at the destination now, if it is a file.
    pub(crate) before: Option<Meta>,
    /// Something of another kind is there, which gives way.
    pub(crate) displaces: bool,
    pub(crate) basis: BasisChoice,
    /// The basis, open since its sums were made: what has its name later may be something else.
    pub(crate) basis_file: Option<Rc<SourceFile>>,
    pub(crate) layout: Layout,
    /// Bytes of block sums.
    pub(crate) sum_bytes: u64,
    /// It failed verification before.
    pub(crate) redo: bool,
}

/// All requests that are not answered, in the order in which they were made.
#[derive(Debug, Default)]
pub(crate) struct Requests {
    queue: VecDeque<Pending>,
    /// How many of them hold a basis open: asked for at each entry, when there may be thousands.
    held_count: usize,
}

impl Requests {
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether no further ones should be made now.
    pub(crate) fn is_full(&self) -> bool {
        self.queue.len() >= MAX_PENDING || self.held_count >= MAX_HELD
    }

    /// The place of the first one that `is_meant`.
    pub(crate) fn position(&self, is_meant: impl FnMut(&Pending) -> bool) -> Option<usize> {
        self.queue.iter().position(is_meant)
    }

    pub(crate) fn push(&mut self, pending: Pending) {
        self.held_count += usize::from(pending.basis_file.is_some());
        self.queue.push_back(pending);
    }

    pub(crate) fn pop(&mut self) -> Option<Pending> {
        self.remove(0)
    }

    pub(crate) fn remove(&mut self, at: usize) -> Option<Pending> {
        let pending = self.queue.remove(at)?;
        self.held_count -= usize::from(pending.basis_file.is_some());
        Some(pending)
    }
}
