//! Where a local target is: opened, made, found again, or refused.
//!
//! A directory that was taken once is not silently swapped for another: below a file system that was
//! unmounted lies an empty directory, which would be filled.

use std::path::PathBuf;

use driftless_fs::{FsError, Root, RootId, is_absent};
use driftless_tree::RelPath;

use crate::lane::report::LaneError;
use crate::mirror::chain;

/// What the target is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Occasion {
    /// A part of the tree: it must be the directory that the last pass filled.
    Batch,
    /// The whole tree.
    Pass,
    /// A comparison: nothing is made.
    Look,
}

/// The path of a target and, once opened, the directory.
pub(super) struct Place {
    path: PathBuf,
    root: Option<Root>,
}

impl Place {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, root: None }
    }

    /// The target's directory, to be filled from `source`.
    ///
    /// # Errors
    /// Why nothing can be written now, and what to do.
    pub(super) fn ready(&mut self, source: &Root, occasion: Occasion) -> Result<Root, LaneError> {
        source.check().map_err(|lost| {
            let path = source.path().display();
            LaneError::Failed(format!("the source {path} is not what it was: {}", chain(&lost)))
        })?;
        let root = match &self.root {
            None if occasion == Occasion::Look => {
                Root::open(&self.path).map_err(|error| LaneError::Failed(chain(&error)))?
            }
            None => self.open(source, None)?,
            Some(known) => match known.check() {
                Ok(()) => known.clone(),
                Err(lost) => {
                    let (known, why) = (known.identity(), chain(&lost));
                    self.find_again(source, known, &why, occasion)?
                }
            },
        };
        self.refuse_loop(source, &root)?;
        self.root = Some(root.clone());
        Ok(root)
    }

    /// The same directory by another mount is as good; another one on the same file system needs a
    /// pass to be filled.
    fn find_again(
        &self,
        source: &Root,
        known: RootId,
        why: &str,
        occasion: Occasion,
    ) -> Result<Root, LaneError> {
        let found = match occasion {
            Occasion::Pass => self.open(source, Some(known.dev)).ok(),
            Occasion::Batch | Occasion::Look => Root::open(&self.path).ok(),
        };
        let good = found.filter(|root| {
            let found = root.identity();
            found.dev == known.dev && (found.ino == known.ino || occasion == Occasion::Pass)
        });
        good.ok_or_else(|| {
            let path = self.path.display();
            LaneError::Failed(format!(
                "the target {path} is not what it was: {why}; nothing is written until it is back \
                 (or fill another directory there with: driftless resync, or, on another file \
                 system, by restarting driftless)"
            ))
        })
    }

    /// Opens the directory; makes it when only its last component is missing. It is not made on
    /// another device than `device`.
    fn open(&self, source: &Root, device: Option<u64>) -> Result<Root, LaneError> {
        match Root::open(&self.path) {
            Ok(root) => return Ok(root),
            Err(FsError::Open { source: error, .. }) if is_absent(&error) => {}
            Err(error) => return Err(LaneError::Failed(chain(&error))),
        }
        let cannot = |why: &str| {
            let path = self.path.display();
            Err(LaneError::Failed(format!("cannot make the target {path}: {why}")))
        };
        let (Some(above), Some(name)) = (self.path.parent(), self.path.file_name()) else {
            return cannot("it has no name");
        };
        let Ok(name) = RelPath::parse(name.as_encoded_bytes()) else {
            return cannot("it has no name");
        };
        let above = if above.as_os_str().is_empty() { ".".as_ref() } else { above };
        let parent = match Root::open(above) {
            Ok(parent) => parent,
            Err(error) => {
                return cannot(&format!("{}; make that directory first", chain(&error)));
            }
        };
        // What is made there would lie in the source. (That it holds the source is no reason: the
        // two are neighbours then.)
        if within(&parent, source)? {
            return Err(self.looped("lies inside", source));
        }
        if device.is_some_and(|device| device != parent.identity().dev) {
            return cannot("it was on another file system");
        }
        if let Err(error) = parent.create_dir(&name, 0o777) {
            return cannot(&error.to_string());
        }
        Root::open(&self.path).map_err(|error| LaneError::Failed(chain(&error)))
    }

    /// Copying a tree into itself never ends; filling a tree that holds the source deletes it.
    fn refuse_loop(&self, source: &Root, target: &Root) -> Result<(), LaneError> {
        let relation = match (within(target, source)?, within(source, target)?) {
            (false, false) => return Ok(()),
            (true, true) => "is",
            (true, false) => "lies inside",
            (false, true) => "holds",
        };
        Err(self.looped(relation, source))
    }

    fn looped(&self, relation: &str, source: &Root) -> LaneError {
        let (target, source) = (self.path.display(), source.path().display());
        LaneError::Failed(format!(
            "the target {target} {relation} the source {source}; name a directory elsewhere"
        ))
    }
}

fn within(inner: &Root, outer: &Root) -> Result<bool, LaneError> {
    inner.is_within(outer).map_err(|error| {
        let path = inner.path().display();
        LaneError::Failed(format!("cannot look at the directories above {path}: {error}"))
    })
}
