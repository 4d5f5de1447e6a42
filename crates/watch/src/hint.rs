//! What the watcher tells its consumer.

use std::fmt;
use std::ops::{BitOr, BitOrAssign};

use driftless_tree::RelPath;

/// Takes the hints of one watcher.
pub trait Sink: Send + Sync + 'static {
    /// Takes what one read of the kernel queue meant, in the order of the events; what it leaves in
    /// `hints` is dropped.
    ///
    /// Called on the watcher's thread: while it blocks, the kernel queue fills. It must not call
    /// [`crate::Watcher::barrier`], which waits for this thread.
    fn deliver(&self, hints: &mut Vec<Hint>);

    /// The queue was found empty: all that had happened when something was delivered last has been
    /// delivered.
    fn caught_up(&self) {}
}

/// Where the tree may differ from what the consumer last saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hint {
    /// A name appeared or went, or its object changed: look at this path, only. Where a directory
    /// was and is no more, or is another one, all that was below it went too without hints of its own.
    ///
    /// When a name appeared or went, the times of the directory that holds it moved too; no hint of
    /// its own says so.
    Path {
        /// The path to look at.
        path: RelPath,
        /// What the kernel said about it.
        what: What,
    },
    /// Anything at or below may differ: a directory that is new or was moved in, events that were
    /// lost, a watch that was repaired. Without a path, the whole tree with the root itself.
    Subtree {
        /// The top; `None` is the root.
        path: Option<RelPath>,
    },
    /// `from` became `to`, inside the tree. Comes besides [`Hint::Path`] for both names, before them
    /// when both halves were read at once.
    ///
    /// For a directory it speaks for everything below: what was marked below `from` has to be carried
    /// over to `to`. It tells of a moment in the past; whether `to` still is what `from` was, only the
    /// disk says.
    Renamed {
        /// The former name.
        from: RelPath,
        /// The new name.
        to: RelPath,
        /// Whether it is a directory.
        is_dir: bool,
    },
    /// The root directory's own mode, owner, times or extended attributes changed.
    RootAttributes,
    /// The root is gone, replaced or unmounted, for the reason given. The last hint: the watcher has
    /// stopped, and absence below the root must not be taken for deletion.
    RootLost(String),
}

/// What the kernel said about a path: a set, since one hint may stand for several events.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
pub struct What(u8);

impl What {
    /// The name appeared: created, linked, or found in a comparison.
    pub const CREATED: What = What(1);
    /// The content changed and may go on changing.
    pub const MODIFIED: What = What(1 << 1);
    /// Somebody who had it open for writing closed it.
    pub const CLOSED_WRITE: What = What(1 << 2);
    /// Mode, owner, times, extended attributes or the number of links changed.
    pub const ATTRIBUTES: What = What(1 << 3);
    /// The name went: deleted or moved away.
    pub const GONE: What = What(1 << 4);
    /// The name appeared, or was replaced, by a rename.
    pub const ARRIVED: What = What(1 << 5);
    /// The object is a directory.
    pub const IS_DIR: What = What(1 << 6);

    /// Whether all of `other` is in the set.
    pub fn contains(self, other: What) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether any of `other` is in the set.
    pub fn intersects(self, other: What) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether the object is a directory.
    pub fn is_dir(self) -> bool {
        self.contains(What::IS_DIR)
    }
}

impl BitOr for What {
    type Output = What;

    fn bitor(self, other: What) -> What {
        What(self.0 | other.0)
    }
}

impl BitOrAssign for What {
    fn bitor_assign(&mut self, other: What) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMES: [(What, &str); 7] = [
            (What::CREATED, "CREATED"),
            (What::MODIFIED, "MODIFIED"),
            (What::CLOSED_WRITE, "CLOSED_WRITE"),
            (What::ATTRIBUTES, "ATTRIBUTES"),
            (What::GONE, "GONE"),
            (What::ARRIVED, "ARRIVED"),
            (What::IS_DIR, "IS_DIR"),
        ];
        let names: Vec<_> =
            NAMES.iter().filter(|(bit, _)| self.contains(*bit)).map(|(_, name)| *name).collect();
        f.write_str(&names.join("|"))
    }
}
