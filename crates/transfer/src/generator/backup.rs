//! Old versions of files, kept beside them or in a directory of their own.

use std::io;
use std::rc::Rc;

use driftless_fs::xattr::{ACCESS_ACL, DEFAULT_ACL, Of};
use driftless_fs::{Attributes, Folder, Follow, NewFile, Root, is_absent};
use driftless_tree::{Kind, Meta, RelPath};

use crate::driver::Level;
use crate::generator::absent;
use crate::generator::nodes::is_unsafe;
use crate::receiver::Session;
use crate::receiver::lists::{leaf_of, parent_of};
use crate::report::Role;

/// The end of backups' names when nothing else is asked for.
const USUAL_SUFFIX: &[u8] = b"~";

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
        let whole = [name, &backup.suffix].concat();
        if backup.dir.is_none() {
            // With the usual suffix the name is not the peer's choice, and often hidden.
            if backup.suffix != USUAL_SUFFIX && self.hides(&self.full_path(&whole), false) {
                return Err(hidden());
            }
            return Ok((self.folder_to_change(parent_of(name))?, leaf));
        }
        let root = self.backup_root()?;
        if self.hides_below(&root, &whole, false) {
            return Err(hidden());
        }
        Ok((self.backup_folder(&root, parent_of(name))?, leaf))
    }

    /// Keeps what is at a name that is about to be replaced, or says in a dry run that it would.
    /// `true` when nothing is to be kept, or it is; otherwise it was said why not.
    pub(crate) fn back_up(&mut self, name: &Rc<[u8]>) -> bool {
        if self.options.write.backup.is_none() {
            return true;
        }
        let result = match self.is_unsafe_link(name) {
            _ if self.is_dry() => Ok(()),
            true => self.backup_place(name).map(drop),
            false => self.put_old_aside(name),
        };
        self.backed_up(name, result)
    }

    /// As [`Session::back_up`], of what gives way to a regular file.
    pub(crate) fn back_up_for_file(&mut self, name: &Rc<[u8]>) -> bool {
        self.goes_unkept(name) || self.back_up(name)
    }

    /// Whether what gives way to a file has the name of a backup and is none: that goes (seen).
    fn goes_unkept(&mut self, name: &[u8]) -> bool {
        self.is_backup_name(name)
            && self.look(name).is_ok_and(|present| present.is_some_and(|m| m.kind != Kind::File))
    }

    /// Whether a name is that of a link that may lead out, or of one that is none in the disguise of
    /// `--fake-super` (seen): `--safe-links` keeps neither, and says so.
    fn is_unsafe_link(&mut self, name: &[u8]) -> bool {
        let is_link = |meta: Meta| meta.kind == Kind::Symlink;
        if !self.options.link.safe || !self.look(name).is_ok_and(|now| now.is_some_and(is_link)) {
            return false;
        }
        let text = self.folder(parent_of(name)).and_then(|folder| folder.read_link(leaf_of(name)));
        let why = match text {
            Ok(text) if !text.is_empty() => {
                if !is_unsafe(&text, name) {
                    return false;
                }
                [b"unsafe symlink \"", name, b"\" -> \"", &text, b"\""].concat()
            }
            _ => [b"symlink with unreadable target \"", name, b"\""].concat(),
        };
        if self.options.talk.info.symsafe >= 1 {
            self.say(Level::Info, [&b"not backing up "[..], &why].concat());
        }
        true
    }

    fn put_old_aside(&mut self, name: &[u8]) -> io::Result<()> {
        let (folder, leaf) = self.backup_place(name)?;
        let own = self.folder_to_change(parent_of(name))?;
        put_aside(&own, leaf_of(name), &folder, &leaf, true)
    }

    /// Moves what is at a name to its backup, or says in a dry run that it would.
    pub(crate) fn move_to_backup(&mut self, name: &[u8]) -> bool {
        let result = match self.is_unsafe_link(name) {
            _ if self.is_dry() => Ok(()),
            true => self.remove_unkept(name),
            false => self.move_old_aside(name),
        };
        self.backed_up(name, result)
    }

    /// Removes what is not to be kept; the directory for its backup is made all the same (seen).
    fn remove_unkept(&mut self, name: &[u8]) -> io::Result<()> {
        self.backup_place(name)?;
        self.folder_to_change(parent_of(name))?.remove_file(leaf_of(name))
    }

    fn move_old_aside(&mut self, name: &[u8]) -> io::Result<()> {
        let (folder, leaf) = self.backup_place(name)?;
        let own = self.folder_to_change(parent_of(name))?;
        put_aside(&own, leaf_of(name), &folder, &leaf, false)
    }

    /// Copies a file that is written in place.
    pub(crate) fn copy_to_backup(&mut self, name: &[u8]) -> io::Result<()> {
        let (folder, leaf) = self.backup_place(name)?;
        let source = self.folder(parent_of(name))?.open_file(leaf_of(name))?;
        copy_file(&source, &folder, &leaf, &self.kept_of(source.opened()))?;
        let metadata = &self.options.metadata;
        if metadata.acls && !metadata.fake_super {
            // What it got from its directory.
            folder.remove_xattr(Of::Entry(&leaf), ACCESS_ACL)?;
        }
        if metadata.xattrs > 0 {
            let own = self.folder(parent_of(name))?.clone();
            self.copy_xattrs((&own, leaf_of(name)), (&folder, &leaf))?;
        }
        Ok(())
    }

    /// What the copy of an old version has of its attributes: those that are kept of new ones.
    fn kept_of(&self, meta: &Meta) -> Attributes {
        let options = self.options;
        // What runs as its owner is not to run as another one.
        let bits = if options.owner && options.group { 0o7777 } else { 0o1777 };
        Attributes {
            mode: Some(meta.mode & bits),
            uid: options.owner.then_some(meta.uid),
            gid: options.group.then_some(meta.gid),
            mtime: options.times.then_some(meta.mtime),
            atime: (options.metadata.atimes > 0).then_some(meta.atime),
        }
    }

    /// The directory of this path below the backups, made like its original where it is missing.
    fn backup_folder(&mut self, root: &Root, dir: &[u8]) -> io::Result<Folder> {
        let path = RelPath::parse(dir).ok();
        match root.folder(path.as_ref(), Follow::Nothing) {
            Err(error) if is_absent(&error) => {}
            answer => return answer,
        }
        let mut at = root.folder(None, Follow::Nothing)?;
        let ends = dir.iter().enumerate().filter(|&(_, &b)| b == b'/').map(|(at, _)| at);
        for end in ends.chain([dir.len()]) {
            let leaf = leaf_of(&dir[..end]);
            match at.create_dir(leaf, 0o777) {
                Ok(()) => {
                    if let Ok(Some(original)) = self.look(&dir[..end]) {
                        // Best effort: the backup counts, not who may look at it.
                        let _ = self.dress_backup_folder(&dir[..end], &original, &at);
                    }
                }
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Err(_) => {}
            }
            at = at.open_folder(leaf)?;
        }
        Ok(at)
    }

    /// Gives a directory of backups what is kept of the original's attributes, and its mode.
    fn dress_backup_folder(&mut self, name: &[u8], like: &Meta, at: &Folder) -> io::Result<()> {
        let options = self.options;
        let gives_owners = self.likeness.superuser() || options.metadata.fake_super;
        let attributes = Attributes {
            mode: Some(like.mode & 0o7777),
            uid: (options.owner && gives_owners).then_some(like.uid),
            gid: options.group.then_some(like.gid),
            mtime: self.likeness.keeps_times(Kind::Dir).then_some(like.mtime),
            ..Attributes::default()
        };
        let leaf = leaf_of(name);
        at.set_attributes(leaf, Kind::Dir, &attributes)?;
        if options.metadata.acls && !options.metadata.fake_super {
            let own = self.folder(parent_of(name))?;
            for acl in [ACCESS_ACL, DEFAULT_ACL] {
                match own.xattr(Of::Entry(leaf), acl)? {
                    Some(value) => at.set_xattr(Of::Entry(leaf), acl, &value)?,
                    // What it got from its parent.
                    None => at.remove_xattr(Of::Entry(leaf), acl)?,
                }
            }
        }
        Ok(())
    }

    /// Says that the old version of a file is kept.
    pub(crate) fn tell_backup(&mut self, name: &[u8]) {
        if self.options.talk.info.backup >= 1
            && let Some(backup) = &self.options.write.backup
        {
            let dir = backup.dir.as_deref().unwrap_or_default();
            let slash = if dir.is_empty() || dir.ends_with(b"/") { "" } else { "/" };
            let to = [dir, slash.as_bytes(), name, &backup.suffix].concat();
            self.say(Level::Info, [b"backed up ", name, b" to ", &to].concat());
        }
    }

    fn backed_up(&mut self, name: &[u8], result: io::Result<()>) -> bool {
        match result {
            Ok(()) => {
                self.tell_backup(name);
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

/// The module's rules hide the place: what may lie there is not to be touched.
fn hidden() -> io::Error {
    rustix::io::Errno::ACCESS.into()
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
            copy_file(&source, folder, backup, &all_of(source.opened()))?;
            own.remove_file(leaf)
        }
        answer => answer,
    }
}

fn all_of(meta: &Meta) -> Attributes {
    Attributes {
        mode: Some(meta.mode & 0o7777),
        uid: Some(meta.uid),
        gid: Some(meta.gid),
        mtime: Some(meta.mtime),
        atime: Some(meta.atime),
    }
}

/// Copies content under another name and gives it attributes, in one step for those who look there.
pub(crate) fn copy_file(
    source: &driftless_fs::SourceFile,
    folder: &Folder,
    name: &[u8],
    attributes: &Attributes,
) -> io::Result<()> {
    let mut copy = folder.start_file(name, 0o600)?;
    fill(source, &mut copy, attributes)?;
    copy.place(folder, name)
}

/// Copies content and gives it attributes, without the owner where that may not be given.
pub(crate) fn fill(
    source: &driftless_fs::SourceFile,
    copy: &mut NewFile,
    attributes: &Attributes,
) -> io::Result<()> {
    driftless_fs::copy::copy_content(source, copy.file(), source.opened().size)?;
    if copy.set_attributes(attributes).is_err() {
        copy.set_attributes(&Attributes { uid: None, gid: None, ..*attributes })?;
    }
    Ok(())
}
