//! Writing below a root. Nothing here is followed either, and nothing existing is written to:
//! content is put in place by [`Root::replace`].

use crate::attributes::Attributes;
use crate::replace::{self, Replacement};
use crate::resolve;
use crate::root::Root;
use crate::xattr::XattrChange;
use driftless_tree::RelPath;
use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use std::io;
use std::os::fd::AsFd;

impl Root {
    /// Makes a directory; the process's umask takes bits from `mode`.
    pub fn create_dir(&self, path: &RelPath, mode: u32) -> io::Result<()> {
        let parent = resolve::parent(self.as_fd(), path)?;
        Ok(rustix::fs::mkdirat(&parent, path.file_name(), permissions(mode))?)
    }

    /// Removes anything but a directory.
    pub fn remove_file(&self, path: &RelPath) -> io::Result<()> {
        let parent = resolve::parent(self.as_fd(), path)?;
        Ok(rustix::fs::unlinkat(&parent, path.file_name(), AtFlags::empty())?)
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, path: &RelPath) -> io::Result<()> {
        let parent = resolve::parent(self.as_fd(), path)?;
        Ok(rustix::fs::unlinkat(&parent, path.file_name(), AtFlags::REMOVEDIR)?)
    }

    /// Renames, over a file or an empty directory of the same sort if there is one.
    pub fn rename(&self, from: &RelPath, to: &RelPath) -> io::Result<()> {
        let old = resolve::parent(self.as_fd(), from)?;
        let new = resolve::parent(self.as_fd(), to)?;
        Ok(rustix::fs::renameat(&old, from.file_name(), &new, to.file_name())?)
    }

    /// Makes a symbolic link that says `target`, which is not looked at.
    pub fn symlink(&self, target: &[u8], path: &RelPath) -> io::Result<()> {
        let parent = resolve::parent(self.as_fd(), path)?;
        Ok(rustix::fs::symlinkat(target, &parent, path.file_name())?)
    }

    /// Makes `to` another name of `from`; of a symbolic link, of the link itself.
    pub fn hard_link(&self, from: &RelPath, to: &RelPath) -> io::Result<()> {
        let old = resolve::parent(self.as_fd(), from)?;
        let new = resolve::parent(self.as_fd(), to)?;
        let flags = AtFlags::empty();
        Ok(rustix::fs::linkat(&old, from.file_name(), &new, to.file_name(), flags)?)
    }

    /// Makes a device, fifo or socket: the type is in `mode`, whose permission bits the process's
    /// umask cuts; `rdev` is a device's major and minor number.
    pub fn mknod(&self, path: &RelPath, mode: u32, rdev: (u32, u32)) -> io::Result<()> {
        let parent = resolve::parent(self.as_fd(), path)?;
        Ok(make_node(&parent, path.file_name(), mode, rdev)?)
    }

    /// Sets attributes of `path`, or of the root itself for `None`. Of a symbolic link its own.
    pub fn set_attributes(
        &self,
        path: Option<&RelPath>,
        attributes: &Attributes,
    ) -> io::Result<()> {
        self.set_attributes_with(path, attributes, &XattrChange::NONE)
    }

    /// As [`Root::set_attributes`], with extended attributes.
    pub fn set_attributes_with(
        &self,
        path: Option<&RelPath>,
        attributes: &Attributes,
        xattrs: &XattrChange,
    ) -> io::Result<()> {
        match path {
            None => attributes.apply_with(self.as_fd(), xattrs),
            Some(path) => {
                let handle = resolve::open(self.as_fd(), path, OFlags::PATH)?;
                attributes.apply_with(handle.as_fd(), xattrs)
            }
        }
    }

    /// Starts to replace or create the file `path`.
    pub fn replace(&self, path: &RelPath) -> io::Result<Replacement> {
        Replacement::new(self, path)
    }

    /// Puts a symbolic link in the place of `path` (anything but a directory) in one step.
    pub fn replace_with_symlink(
        &self,
        target: &[u8],
        path: &RelPath,
        attributes: &Attributes,
        xattrs: &XattrChange,
    ) -> io::Result<()> {
        replace::with_node(self, path, attributes, xattrs, |parent, name| {
            rustix::fs::symlinkat(target, parent, name)
        })
    }

    /// Makes `to` (missing, or anything but a directory) another name of `from` in one step.
    pub fn replace_with_link(&self, from: &RelPath, to: &RelPath) -> io::Result<()> {
        let old = resolve::parent(self.as_fd(), from)?;
        replace::with_link(self, to, |parent, name| {
            rustix::fs::linkat(&old, from.file_name(), parent, name, AtFlags::empty())
        })
    }

    /// Puts a device, fifo or socket in the place of `path` (anything but a directory) in one step;
    /// `mode` and `rdev` as for [`Root::mknod`].
    pub fn replace_with_node(
        &self,
        path: &RelPath,
        mode: u32,
        rdev: (u32, u32),
        attributes: &Attributes,
        xattrs: &XattrChange,
    ) -> io::Result<()> {
        replace::with_node(self, path, attributes, xattrs, |parent, name| {
            make_node(parent, name, mode, rdev)
        })
    }
}

fn make_node(
    parent: impl AsFd,
    name: &[u8],
    mode: u32,
    (major, minor): (u32, u32),
) -> rustix::io::Result<()> {
    let device = rustix::fs::makedev(major, minor);
    rustix::fs::mknodat(parent, name, FileType::from_raw_mode(mode), permissions(mode), device)
}

fn permissions(mode: u32) -> Mode {
    Mode::from_raw_mode(mode & 0o7777)
}
