//! Reading where the caller wants symbolic links followed, and devices read like files.
//!
//! Everything else in this crate follows nothing below a root; what is here says so in its name.
//! Where the process is confined ([`ground`]), links are followed as far as they stay inside.

use crate::dir::{Dir, one_component};
use crate::ground::{self, Last};
use crate::root::Root;
use crate::source::SourceFile;
use crate::xattr::Of;
use crate::{meta, resolve};
use driftless_tree::{Meta, RelPath};
use rustix::fs::{AtFlags, Mode, OFlags, openat};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

impl Root {
    /// Opens a directory for listing over any symbolic link; `None` is the root itself.
    pub fn open_dir_following(&self, path: Option<&RelPath>) -> io::Result<Dir> {
        let path = path.map_or(&b"."[..], RelPath::as_bytes);
        let opened = Dir::open(|flags| open_following(self.as_fd(), path, flags));
        opened.map(|dir| dir.with_stored(self.stores()))
    }
}

impl Root {
    /// Opens a directory for looking at entries by name, which needs no permission to list it;
    /// `None` is the root itself. With `follow` over any symbolic link.
    pub fn open_dir_unlisted(&self, path: Option<&RelPath>, follow: bool) -> io::Result<Dir> {
        let opened = Dir::open(|flags| {
            let flags = (flags - OFlags::RDONLY) | OFlags::PATH;
            match path {
                None => openat(self, ".", flags, Mode::empty()),
                Some(path) if follow => open_following(self.as_fd(), path.as_bytes(), flags),
                Some(path) => resolve::open(self.as_fd(), path, flags),
            }
        });
        opened.map(|dir| dir.with_stored(self.stores()))
    }
}

impl Dir {
    /// The attributes of what the entry `name` leads to.
    pub fn stat_following(&self, name: &[u8]) -> io::Result<Meta> {
        let name = one_component(name)?;
        let real = match ground::current() {
            None => meta::of_stat(&rustix::fs::statat(self, name, AtFlags::empty())?)?,
            Some(ground) => {
                let found = ground.open_from(self.as_fd(), name, Last::HANDLE)?;
                meta::of_stat(&rustix::fs::fstat(found)?)?
            }
        };
        self.dressed(Of::Target(name), real)
    }

    /// Opens the regular file that the entry `name` leads to.
    ///
    /// # Errors
    /// As for [`Root::open_file`], but for symbolic links.
    pub fn open_file_following(&self, name: &[u8]) -> io::Result<SourceFile> {
        let name = one_component(name)?;
        SourceFile::open(|flags| open_following(self.as_fd(), name, flags))
    }

    /// Whether this process may read the entry `name`, or list it.
    pub fn is_readable(&self, name: &[u8]) -> bool {
        let access = rustix::fs::Access::READ_OK;
        one_component(name)
            .is_ok_and(|name| rustix::fs::accessat(self, name, access, AtFlags::EACCESS).is_ok())
    }

    /// Opens the device `name` for reading, and says how many bytes it has; with `follow`, also the
    /// one that a link of that name leads to.
    pub fn open_device(&self, name: &[u8], follow: bool) -> io::Result<(File, u64)> {
        let name = one_component(name)?;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = File::from(match follow {
            true => open_following(self.as_fd(), name, flags)?,
            false => openat(self, name, flags | OFlags::NOFOLLOW, Mode::empty())?,
        });
        let len = file.seek(SeekFrom::End(0)).unwrap_or(0);
        Ok((file, len))
    }

    /// Removes the entry `name`, which is no directory.
    pub fn remove_file(&self, name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(self, one_component(name)?, AtFlags::empty())?)
    }
}

/// Opens what a path below a directory leads to, as the flags say; where the process is confined,
/// over links that stay there.
fn open_following(dir: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> Result<OwnedFd, Errno> {
    let flags = flags - OFlags::NOFOLLOW;
    match ground::current() {
        None => openat(dir, path, flags, Mode::empty()),
        Some(ground) => ground.open_from(dir, path, Last { flags, mode: 0, follow: true }),
    }
}

pub(crate) fn open_unchecked(path: &Path) -> io::Result<File> {
    let Some(ground) = ground::current() else { return File::open(path) };
    // A fifo in its place must not hold us up.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK;
    let last = Last { flags, mode: 0, follow: true };
    Ok(File::from(ground.open(path.as_os_str().as_bytes(), last)?))
}

/// The attributes of what is at an operator's path, or of what it leads to.
pub fn stat_unchecked(path: &Path, follow: bool) -> io::Result<Meta> {
    if let Some(ground) = ground::current() {
        let found = ground.open(path.as_os_str().as_bytes(), Last { follow, ..Last::HANDLE })?;
        return meta::of_stat(&rustix::fs::fstat(found)?);
    }
    let flags = if follow { AtFlags::empty() } else { AtFlags::SYMLINK_NOFOLLOW };
    meta::of_stat(&rustix::fs::statat(rustix::fs::CWD, path, flags)?)
}

/// The text of the symbolic link at an operator's path.
pub fn read_link_unchecked(path: &Path) -> io::Result<Vec<u8>> {
    let text = match ground::current() {
        None => rustix::fs::readlink(path, Vec::new())?,
        Some(ground) => {
            let path = path.as_os_str().as_bytes();
            let link = ground.open(path, Last { follow: false, ..Last::HANDLE })?;
            rustix::fs::readlinkat(link, "", Vec::new())?
        }
    };
    Ok(text.into_bytes())
}
