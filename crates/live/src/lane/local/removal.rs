//! Deleting at the target. Names that the rules protect stay, and so do the directories that hold
//! them.

use driftless_fs::is_absent;
use driftless_tree::{Kind, RelPath};

use super::writer::{Doing, Trouble, Writer};
use crate::lane::report::Failure;

/// A directory that is being emptied. A stack of them, not recursion: trees may be deep.
struct Doomed {
    dir: RelPath,
    subdirs: Vec<RelPath>,
    /// Something in it stays.
    pinned: bool,
}

impl Writer<'_> {
    /// Removes a name with all below it, as far as the rules allow.
    pub(super) fn remove(&mut self, path: &RelPath) -> Result<(), Trouble> {
        let Some(present) = self.present(path)? else { return Ok(()) };
        let is_dir = present.kind == Kind::Dir;
        if self.protection.protects(path.parent().as_ref(), path, is_dir, false) {
            return Ok(());
        }
        match is_dir {
            true => self.clear(path).map(drop),
            false => self.unlink(path),
        }
    }

    /// Removes the directory where something else must be.
    pub(super) fn make_way(&mut self, path: &RelPath) -> Result<(), Trouble> {
        if !self.delete {
            return self
                .target
                .remove_dir(path)
                .doing("a directory is in its place, and nothing is to be deleted");
        }
        match self.clear(path)? {
            true => Ok(()),
            false => Err(Trouble::Name(Failure::lasting(
                "a directory is in its place, with names that the rules protect",
            ))),
        }
    }

    fn unlink(&self, path: &RelPath) -> Result<(), Trouble> {
        match self.target.remove_file(path) {
            Err(error) if is_absent(&error) => Ok(()),
            answer => answer.doing("cannot remove it"),
        }
    }

    /// Removes a directory; whether it is gone. The first failure is told once the rest is done.
    fn clear(&mut self, top: &RelPath) -> Result<bool, Trouble> {
        let mut failure = None;
        let mut stack: Vec<Doomed> = self.doom(top.clone(), &mut failure)?.into_iter().collect();
        let mut gone = true;
        while let Some(doomed) = stack.last_mut() {
            self.go_on()?;
            if let Some(subdir) = doomed.subdirs.pop() {
                match self.doom(subdir, &mut failure)? {
                    Some(next) => stack.push(next),
                    None => doomed.pinned = true,
                }
                continue;
            }
            let Some(Doomed { dir, pinned, .. }) = stack.pop() else { break };
            gone = !pinned && self.remove_empty(&dir, &mut failure);
            if !gone && let Some(above) = stack.last_mut() {
                above.pinned = true;
            }
        }
        match failure {
            Some(failure) => Err(Trouble::Name(failure)),
            None => Ok(gone),
        }
    }

    /// Removes what is no directory from `dir`. `None` when it cannot be listed.
    fn doom(
        &mut self,
        dir: RelPath,
        failure: &mut Option<Failure>,
    ) -> Result<Option<Doomed>, Trouble> {
        match self.doomed_names(&dir) {
            Ok(names) => {
                let mut doomed = Doomed { dir, subdirs: Vec::new(), pinned: false };
                for (path, is_dir) in names {
                    self.go_on()?;
                    // Asked before anything is removed here: the rule file may be in this directory.
                    match is_dir {
                        None => doomed.pinned = true,
                        Some(true) => doomed.subdirs.push(path),
                        Some(false) => match self.unlink(&path) {
                            Ok(()) => {}
                            Err(trouble) => {
                                note(failure, &path, trouble)?;
                                doomed.pinned = true;
                            }
                        },
                    }
                }
                Ok(Some(doomed))
            }
            Err(trouble) => {
                note(failure, &dir, trouble)?;
                Ok(None)
            }
        }
    }

    /// The names in a directory: whether each is one, `None` for those that stay.
    fn doomed_names(&mut self, dir: &RelPath) -> Result<Vec<(RelPath, Option<bool>)>, Trouble> {
        if let Some(present) = self.present(dir)? {
            self.open_up(dir, &present).doing("cannot make the directory writable")?;
        }
        let open = self.target.open_dir(Some(dir)).doing("cannot list it")?;
        let mut names = Vec::new();
        for entry in open.entries().doing("cannot list it")? {
            let path = dir.join(&entry.name).map_err(|error| {
                Trouble::Name(Failure::lasting(format!("holds a name that cannot be: {error}")))
            })?;
            let kind = match entry.kind {
                Some(kind) => kind,
                None => open.lstat(&entry.name).doing("cannot look into it")?.kind,
            };
            let is_dir = kind == Kind::Dir;
            let stays = self.protection.protects(Some(dir), &path, is_dir, true);
            names.push((path, (!stays).then_some(is_dir)));
        }
        self.protection.forget();
        Ok(names)
    }

    fn remove_empty(&self, dir: &RelPath, failure: &mut Option<Failure>) -> bool {
        match self.target.remove_dir(dir) {
            Ok(()) => true,
            Err(error) if is_absent(&error) => true,
            Err(error) => {
                let why = format!("cannot remove {dir}: {error}");
                failure.get_or_insert(Failure::lasting(why));
                false
            }
        }
    }
}

/// Keeps the first failure, with the name that it is about.
fn note(first: &mut Option<Failure>, path: &RelPath, trouble: Trouble) -> Result<(), Trouble> {
    match trouble {
        Trouble::Cancelled => Err(trouble),
        Trouble::Name(Failure { why, transient }) => {
            first.get_or_insert(Failure { why: format!("{path}: {why}"), transient });
            Ok(())
        }
    }
}
