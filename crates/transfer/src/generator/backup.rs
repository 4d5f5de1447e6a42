//! Old versions of files, kept beside them or in a directory of their own.

use std::io;
use std::rc::Rc;

use driftless_fs::{Folder, Follow, Root, is_absent};
use driftless_tree::path::printable;
use driftless_tree::{Kind, Meta, RelPath};

use crate::driver::Level;
use crate::generator::absent;
use crate::receiver::Session;
use crate::receiver::lists::{leaf_of, parent_of};
use crate::report::Role;

impl Session<'_> {
    /// Whether a name is that of a backup beside its file, which gets no backup of its own.
    pub(crate) fn is_backup_name(&self, name: &[u8]) -> bool {
        self.options.write.backup.as_ref().is_some_and(|backup| {
            backup.dir.is_none()
                && name.len() > backup.suffix.len()
                && name.ends_with(&backup.suffix)
        })
    }

    /// The directory and name of the backup of a file.
    pub(crate) fn backup_place(&mut self, name: &[u8]) -> io::Result<(Folder, Vec<u8>)> {
        let Some(backup) = &self.options.write.backup else {
            return Err(absent());
        };
        let leaf = [leaf_of(name), &backup.suffix].concat();
        if backup.dir.is_none() {
            return Ok((self.folder_to_change(parent_of(name))?, leaf));
        }
        let root = self.destination.as_ref().and_then(|destination| destination.backup.clone());
        let root = root.ok_or_else(absent)?;
        Ok((open_or_make(&root, parent_of(name))?, leaf))
    }

    /// Keeps what is at a name that is about to be replaced. `true` when nothing is to be kept, or
    /// it is; otherwise it was said why not.
    pub(crate) fn back_up(&mut self, name: &Rc<[u8]>) -> bool {
        if self.options.write.backup.is_none() {
            return true;
        }
        let result = self.backup_place(name).and_then(|(folder, leaf)| {
            let own = self.folder_to_change(parent_of(name))?;
            put_aside(&own, leaf_of(name), &folder, &leaf, true)
        });
        self.backed_up(name, result)
    }

    /// Moves what is at a name to its backup.
    pub(crate) fn move_to_backup(&mut self, name: &[u8]) -> bool {
        let result = self.backup_place(name).and_then(|(folder, leaf)| {
            let own = self.folder_to_change(parent_of(name))?;
            put_aside(&own, leaf_of(name), &folder, &leaf, false)
        });
        self.backed_up(name, result)
    }

    /// Copies a file that is written in place.
    pub(crate) fn copy_to_backup(&mut self, name: &[u8]) -> io::Result<()> {
        let (folder, leaf) = self.backup_place(name)?;
        let source = self.folder(parent_of(name))?.open_file(leaf_of(name))?;
        copy_file(&source, &folder, &leaf)
    }

    fn backed_up(&mut self, name: &[u8], result: io::Result<()>) -> bool {
        match result {
            Ok(()) => {
                if self.options.talk.info.backup >= 1
                    && let Some(backup) = &self.options.write.backup
                {
                    let dir = backup.dir.as_deref().unwrap_or_default();
                    let slash = if dir.is_empty() || dir.ends_with(b"/") { "" } else { "/" };
                    let to = [dir, slash.as_bytes(), name, &backup.suffix].concat();
                    let text = format!("backed up {} to {}", printable(name), printable(&to));
                    self.say(Level::Info, &text);
                }
                true
            }
            Err(error) if is_absent(&error) && self.look(name).is_ok_and(|m| m.is_none()) => true,
            Err(error) => {
                self.failed(Role::Receiver, "backup rename", name, &error);
                false
            }
        }
    }
}

/// Puts an object under its backup's name; with `stays` it keeps its own too where it can, so that
/// there is never nothing at its place.
fn put_aside(
    own: &Folder,
    leaf: &[u8],
    folder: &Folder,
    backup: &[u8],
    stays: bool,
) -> io::Result<()> {
    let present = match folder.lstat(backup) {
        Ok(meta) => Some(meta),
        Err(error) if is_absent(&error) => None,
        Err(error) => return Err(error),
    };
    match present {
        Some(Meta { kind: Kind::Dir, .. }) => folder.remove_dir(backup)?,
        Some(_) if stays => folder.remove_file(backup)?,
        _ => {}
    }
    if stays && own.hard_link(leaf, folder, backup).is_ok() {
        return Ok(());
    }
    match own.rename(leaf, folder, backup) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            let source = own.open_file(leaf)?;
            copy_file(&source, folder, backup)?;
            own.remove_file(leaf)
        }
        answer => answer,
    }
}

/// Copies content and attributes under another name, in one step for those who look there.
pub(crate) fn copy_file(
    source: &driftless_fs::SourceFile,
    folder: &Folder,
    name: &[u8],
) -> io::Result<()> {
    let meta = *source.opened();
    let mut copy = folder.start_file(name, 0o600)?;
    driftless_fs::copy::copy_content(source, copy.file(), meta.size)?;
    let all = driftless_fs::Attributes {
        mode: Some(meta.mode & 0o7777),
        uid: Some(meta.uid),
        gid: Some(meta.gid),
        mtime: Some(meta.mtime),
        atime: None,
    };
    if copy.set_attributes(&all).is_err() {
        copy.set_attributes(&driftless_fs::Attributes { uid: None, gid: None, ..all })?;
    }
    copy.place(folder, name)
}

/// The directory of this path below a root, made with what is missing above it.
fn open_or_make(root: &Root, dir: &[u8]) -> io::Result<Folder> {
    if dir.is_empty() {
        return root.folder(None, Follow::Nothing);
    }
    let path = RelPath::parse(dir).map_err(|_| io::ErrorKind::InvalidInput)?;
    match root.folder(Some(&path), Follow::Nothing) {
        Err(error) if is_absent(&error) => {}
        answer => return answer,
    }
    let mut at = root.folder(None, Follow::Nothing)?;
    for name in dir.split(|&b| b == b'/') {
        match at.create_dir(name, 0o777) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        at = at.open_folder(name)?;
    }
    Ok(at)
}
