//! Where events come from, once it is set up.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use rustix::io::Errno;

use super::diagnostics::Diagnostics;
use super::follow::{Counters, Follower, Teller};
use super::limits;
use super::marks::Marks;
use super::watches::Watches;

/// One of the back ends.
pub enum Source {
    /// A watch on each directory.
    Inotify(Box<Follower>),
    /// Marks.
    Fanotify {
        /// The marks.
        marks: Box<Marks>,
        /// Where lost events are told.
        diagnostics: Diagnostics,
        /// Whether they are told.
        quiet: bool,
    },
}

impl Source {
    /// Reads the queue once and tells what it holds, until the teller has `enough`. Returns the number
    /// of events.
    ///
    /// # Errors
    /// When the queue cannot be read.
    pub fn read<T: Teller>(
        &mut self,
        teller: &mut T,
        enough: impl Fn(&T) -> bool,
    ) -> Result<usize, Errno> {
        match self {
            Self::Inotify(follower) => follower.read(teller, enough),
            Self::Fanotify { marks, diagnostics, quiet } => {
                let lost = marks.counters().overflows;
                let count = marks
                    .read(|event| teller.tell_event(event))
                    .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
                if marks.counters().overflows > lost && !*quiet {
                    diagnostics.say(&limits::overflow_of_marks());
                }
                Ok(count)
            }
        }
    }

    /// When [`Self::settle`] has to be called at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Inotify(follower) => follower.deadline(),
            Self::Fanotify { .. } => None,
        }
    }

    /// Ends what waited for events that have not come. For an empty queue.
    pub fn settle(&mut self, teller: &mut impl Teller) {
        if let Self::Inotify(follower) = self {
            follower.settle_pairs(teller);
        }
    }

    /// What was counted so far.
    pub fn counters(&self) -> Counters {
        match self {
            Self::Inotify(follower) => follower.counters(),
            Self::Fanotify { marks, .. } => marks.counters(),
        }
    }

    /// The watches, where there are any.
    pub fn watches(&self) -> Option<&Watches> {
        match self {
            Self::Inotify(follower) => Some(follower.watches()),
            Self::Fanotify { .. } => None,
        }
    }

    /// The number of watches or marks.
    pub fn len(&self) -> usize {
        match self {
            Self::Inotify(follower) => follower.watches().table().len(),
            Self::Fanotify { marks, .. } => marks.len(),
        }
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Inotify(follower) => follower.as_fd(),
            Self::Fanotify { marks, .. } => marks.as_fd(),
        }
    }
}
