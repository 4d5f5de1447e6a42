//! A directory held open, whose entries are looked at, made, replaced and removed by name.
//!
//! For work on many entries of one directory: its path is walked once. Names are single components,
//! and none is followed. What is renamed or swapped above the directory does not matter any more.

use crate::attributes::{self, Attributes};
use crate::dir::{Dir, one_component};
use crate::replace::temporary_name;
use crate::root::Root;
use crate::source::SourceFile;
use crate::xattr::Of;
use crate::{meta, resolve, stored};
use driftless_tree::{Kind, Meta, RelPath};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, openat};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Attempts to find a free name; one nearly always suffices.
const TRIES: usize = 100;

/// An open directory. Clones share it.
#[derive(Debug, Clone)]
pub struct Folder {
    fd: Arc<OwnedFd>,
    /// See [`Root::with_stored`].
    stored: bool,
}

/// Whether symbolic links on the way to a directory are followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Follow {
    /// None is.
    #[default]
    Nothing,
    /// Those that stay below the root.
    Inside,
}

impl Root {
    /// Opens the directory `path`, or the root itself for `None`.
    ///
    /// # Errors
    /// [`is_absent`](crate::is_absent) also when it is no directory, or a symbolic link is in the
    /// way that is not to be followed.
    pub fn folder(&self, path: Option<&RelPath>, follow: Follow) -> io::Result<Folder> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = match (path, follow) {
            (None, _) => openat(self, ".", flags, Mode::empty())?,
            (Some(path), Follow::Nothing) => resolve::open(self.as_fd(), path, flags)?,
            (Some(path), Follow::Inside) => resolve::open_inside(self.as_fd(), path, flags)?,
        };
        Ok(Folder { fd: Arc::new(opened), stored: self.stores() })
    }
}

impl Folder {
    /// The attributes of the directory itself.
    pub fn meta(&self) -> io::Result<Meta> {
        self.dressed(Of::Dir, meta::of_stat(&rustix::fs::fstat(self)?)?)
    }

    fn dressed(&self, of: Of<'_>, real: Meta) -> io::Result<Meta> {
        match self.stored {
            false => Ok(real),
            true => stored::dressed(self.as_fd(), of, real),
        }
    }

    /// The attributes of the entry `name`; of a symbolic link its own.
    pub fn lstat(&self, name: &[u8]) -> io::Result<Meta> {
        let name = one_component(name)?;
        let real = meta::of_stat(&rustix::fs::statat(self, name, AtFlags::SYMLINK_NOFOLLOW)?)?;
        self.dressed(Of::Entry(name), real)
    }

    /// The text of the symbolic link `name`; where attributes are stored, of a stored one only.
    pub fn read_link(&self, name: &[u8]) -> io::Result<Vec<u8>> {
        let name = one_component(name)?;
        if self.stored {
            return stored::read_link(self.as_fd(), name);
        }
        Ok(rustix::fs::readlinkat(self, name, Vec::new())?.into_bytes())
    }

    /// Opens the regular file `name` for reading; see [`Root::open_file`].
    pub fn open_file(&self, name: &[u8]) -> io::Result<SourceFile> {
        let name = one_component(name)?;
        let file = SourceFile::open(|flags| openat(self, name, flags, Mode::empty()))?;
        match self.stored {
            false => Ok(file),
            true => file.dressed(),
        }
    }

    /// Opens the regular file `name` for reading and writing, as it is. `leaves_times`: reading it
    /// leaves the time of its last access alone, where this process may ask for that.
    ///
    /// # Errors
    /// [`is_absent`](crate::is_absent) also for a symbolic link; `InvalidInput` for anything else
    /// than a regular file, unless `device` allows one.
    pub fn open_for_update(
        &self,
        name: &[u8],
        device: bool,
        leaves_times: bool,
    ) -> io::Result<File> {
        let name = one_component(name)?;
        let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let wanted = if leaves_times { flags | OFlags::NOATIME } else { flags };
        let file = match openat(self, name, wanted, Mode::empty()) {
            // Only owners may leave the access time alone.
            Err(Errno::PERM) if leaves_times => openat(self, name, flags, Mode::empty()),
            answer => answer,
        };
        let file = File::from(file?);
        let kind = meta::of_stat(&rustix::fs::fstat(&file)?)?.kind;
        match kind {
            Kind::File => Ok(file),
            Kind::CharDevice | Kind::BlockDevice if device => Ok(file),
            _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file")),
        }
    }

    /// Makes the file `name`, which must not exist, and opens it for reading and writing.
    pub fn create_file(&self, name: &[u8], mode: u32) -> io::Result<File> {
        let name = one_component(name)?;
        Ok(File::from(openat(self, name, NEW_FILE, permissions(mode))?))
    }

    /// Opens the directory `name` in it.
    ///
    /// # Errors
    /// [`is_absent`](crate::is_absent) also when it is no directory.
    pub fn open_folder(&self, name: &[u8]) -> io::Result<Folder> {
        let name = one_component(name)?;
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = Arc::new(openat(self, name, flags, Mode::empty())?);
        Ok(Folder { fd, stored: self.stored })
    }

    /// Opens it for listing.
    ///
    /// # Errors
    /// No permission to read it.
    pub fn list(&self) -> io::Result<Dir> {
        let opened = Dir::open(|flags| openat(self, ".", flags, Mode::empty()));
        opened.map(|dir| dir.with_stored(self.stored))
    }

    /// Makes a directory; the process's umask takes bits from `mode`.
    pub fn create_dir(&self, name: &[u8], mode: u32) -> io::Result<()> {
        Ok(rustix::fs::mkdirat(self, one_component(name)?, permissions(mode))?)
    }

    /// Removes anything but a directory.
    pub fn remove_file(&self, name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(self, one_component(name)?, AtFlags::empty())?)
    }

    /// Removes an empty directory.
    pub fn remove_dir(&self, name: &[u8]) -> io::Result<()> {
        Ok(rustix::fs::unlinkat(self, one_component(name)?, AtFlags::REMOVEDIR)?)
    }

    /// Renames, also into another directory, over a file or an empty directory of the same sort if
    /// there is one.
    pub fn rename(&self, name: &[u8], to: &Folder, to_name: &[u8]) -> io::Result<()> {
        let (name, to_name) = (one_component(name)?, one_component(to_name)?);
        Ok(rustix::fs::renameat(self, name, to, to_name)?)
    }

    /// Gives the entry `name` another name; to a symbolic link itself.
    pub fn hard_link(&self, name: &[u8], to: &Folder, to_name: &[u8]) -> io::Result<()> {
        let (name, to_name) = (one_component(name)?, one_component(to_name)?);
        Ok(rustix::fs::linkat(self, name, to, to_name, AtFlags::empty())?)
    }

    /// Makes a symbolic link that says `target`, which is not looked at.
    pub fn symlink(&self, target: &[u8], name: &[u8]) -> io::Result<()> {
        if self.stored {
            return self.make_stored(name, SYMLINK, (0, 0), target);
        }
        Ok(rustix::fs::symlinkat(target, self, one_component(name)?)?)
    }

    /// Makes a regular file that stands for something else.
    fn make_stored(
        &self,
        name: &[u8],
        mode: u32,
        rdev: (u32, u32),
        content: &[u8],
    ) -> io::Result<()> {
        let file = self.create_file(name, 0o600)?;
        stored::make(&file, mode, rdev, content).inspect_err(|_| {
            // Without the attribute it would be taken for something else.
            let _ = self.remove_file(name);
        })
    }

    /// Makes a device, fifo or socket; see [`Root::mknod`].
    pub fn mknod(&self, name: &[u8], mode: u32, (major, minor): (u32, u32)) -> io::Result<()> {
        if self.stored {
            return self.make_stored(name, mode, (major, minor), b"");
        }
        let name = one_component(name)?;
        let device = rustix::fs::makedev(major, minor);
        let kind = FileType::from_raw_mode(mode);
        Ok(rustix::fs::mknodat(self, name, kind, permissions(mode), device)?)
    }

    /// Sets attributes of the entry `name`, which is of this `kind`; of a symbolic link its own.
    pub fn set_attributes(
        &self,
        name: &[u8],
        kind: Kind,
        attributes: &Attributes,
    ) -> io::Result<()> {
        let name = one_component(name)?;
        match self.stored {
            false => attributes::apply_at(attributes, self.as_fd(), name, kind),
            true => stored::apply_at(attributes, self.as_fd(), name),
        }
    }

    /// Sets attributes of the directory itself.
    pub fn set_own_attributes(&self, attributes: &Attributes) -> io::Result<()> {
        match self.stored {
            false => attributes.apply(self.as_fd()),
            true => stored::apply(attributes, self.as_fd()),
        }
    }

    /// Calls `make` with names that look like temporaries of `place` until one is free, and returns
    /// that name.
    pub fn make_temporary<T>(
        &self,
        place: &[u8],
        make: impl Fn(&Folder, &[u8]) -> io::Result<T>,
    ) -> io::Result<(Vec<u8>, T)> {
        for _ in 0..TRIES {
            let name = temporary_name(place);
            match make(self, &name) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
                Ok(made) => return Ok((name, made)),
            }
        }
        Err(Errno::EXIST.into())
    }

    /// Starts a file that will be called `place` in some directory, under a temporary name here.
    pub fn start_file(&self, place: &[u8], mode: u32) -> io::Result<NewFile> {
        let (name, file) =
            self.make_temporary(place, |folder, name| folder.create_file(name, mode))?;
        Ok(NewFile { folder: self.clone(), name, file, settled: false })
    }
}

/// The mode of a symbolic link.
const SYMLINK: u32 = 0o120_777;

const NEW_FILE: OFlags = OFlags::RDWR
    .union(OFlags::CREATE)
    .union(OFlags::EXCL)
    .union(OFlags::NOFOLLOW)
    .union(OFlags::CLOEXEC);

impl AsFd for Folder {
    /// A handle that only names the directory (`O_PATH`).
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn permissions(mode: u32) -> Mode {
    Mode::from_raw_mode(mode & 0o7777)
}

/// A file under a temporary name. Dropped before it got a place, it leaves nothing behind.
#[derive(Debug)]
pub struct NewFile {
    folder: Folder,
    name: Vec<u8>,
    file: File,
    settled: bool,
}

impl NewFile {
    /// The file, open for reading and writing.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Its temporary name.
    pub fn name(&self) -> &[u8] {
        &self.name
    }

    /// Sets attributes of the file.
    pub fn set_attributes(&self, attributes: &Attributes) -> io::Result<()> {
        match self.folder.stored {
            false => attributes::apply_to_open(attributes, &self.file),
            true => stored::apply(attributes, self.file.as_fd()),
        }
    }

    /// Renames it to its place.
    ///
    /// # Errors
    /// The temporary is gone then, unless the error is `EXDEV`, where [`NewFile::file`] still holds
    /// the content while the value lives.
    pub fn place(&mut self, folder: &Folder, name: &[u8]) -> io::Result<()> {
        self.folder.rename(&self.name, folder, name)?;
        self.settled = true;
        Ok(())
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.settled {
            // Whoever removed it or its directory before did our work.
            let _ = self.folder.remove_file(&self.name);
        }
    }
}
