//! Replacing a file in one step: a temporary beside it, filled, then renamed over it.
//!
//! The temporary is called `.NAME.XXXXXX`, as rsync calls its own, so that rules and tools that know
//! those know ours (observed with rsync 3.5.0; a NAME that begins with a dot gets no second one).

use crate::attributes::Attributes;
use crate::resolve;
use crate::root::Root;
use crate::xattr::XattrChange;
use driftless_tree::RelPath;
use rustix::fs::{AtFlags, Mode, OFlags, openat};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// The longest name of a directory entry, in bytes.
const NAME_MAX: usize = 255;

/// Random characters at the end of a temporary's name.
const SUFFIX_LEN: usize = 6;

/// Attempts to find a free name; one nearly always suffices.
const TRIES: usize = 100;

/// New content on its way to a path. Dropped, it leaves nothing behind.
#[derive(Debug)]
pub struct Replacement {
    temporary: Temporary,
    file: File,
}

impl Replacement {
    pub(crate) fn new(root: &Root, path: &RelPath) -> io::Result<Self> {
        let flags =
            OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let private = Mode::RUSR | Mode::WUSR;
        let (temporary, file) =
            Temporary::make(root, path, |parent, name| openat(parent, name, flags, private))?;
        Ok(Self { temporary, file: file.into() })
    }

    /// The temporary, open for reading and writing, at first empty and private.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Sets `attributes`, changes extended ones, and puts the file in its place.
    ///
    /// # Errors
    /// Then nothing has changed, and the temporary is gone.
    pub fn commit(self, attributes: &Attributes, xattrs: &XattrChange) -> io::Result<()> {
        attributes.apply_with(self.file.as_fd(), xattrs)?;
        self.temporary.rename()
    }
}

/// Makes something other than a regular file under a temporary name, then renames it to `path`.
pub(crate) fn with_node(
    root: &Root,
    path: &RelPath,
    attributes: &Attributes,
    xattrs: &XattrChange,
    make: impl Fn(BorrowedFd<'_>, &[u8]) -> Result<(), Errno>,
) -> io::Result<()> {
    let (temporary, ()) = Temporary::make(root, path, make)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let handle = openat(&temporary.parent, &*temporary.name, flags, Mode::empty())?;
    attributes.apply_with(handle.as_fd(), xattrs)?;
    temporary.rename()
}

/// Makes a link under a temporary name, then renames it to `path`.
pub(crate) fn with_link(
    root: &Root,
    path: &RelPath,
    link: impl Fn(BorrowedFd<'_>, &[u8]) -> Result<(), Errno>,
) -> io::Result<()> {
    let (temporary, ()) = Temporary::make(root, path, link)?;
    temporary.put_in_place()?;
    // Where `path` was a name of the same inode already, renaming did nothing: the temporary is
    // still there and goes when it is dropped.
    Ok(())
}

/// A name that is removed unless it is renamed.
#[derive(Debug)]
struct Temporary {
    parent: Holder,
    name: Vec<u8>,
    place: Vec<u8>,
    renamed: bool,
}

impl Temporary {
    /// Calls `make` with names until one is free.
    fn make<T>(
        root: &Root,
        path: &RelPath,
        make: impl Fn(BorrowedFd<'_>, &[u8]) -> Result<T, Errno>,
    ) -> io::Result<(Self, T)> {
        let parent = match resolve::parent(root.as_fd(), path)? {
            resolve::Parent::Start(_) => Holder::Root(root.clone()),
            resolve::Parent::Below(dir) => Holder::Below(dir),
        };
        let place = path.file_name();
        for _ in 0..TRIES {
            let name = temporary_name(place);
            match make(parent.as_fd(), &name) {
                Err(Errno::EXIST) => {}
                Err(error) => return Err(error.into()),
                Ok(made) => {
                    let place = place.to_vec();
                    return Ok((Self { parent, name, place, renamed: false }, made));
                }
            }
        }
        Err(Errno::EXIST.into())
    }

    fn rename(mut self) -> io::Result<()> {
        self.put_in_place()?;
        self.renamed = true;
        Ok(())
    }

    fn put_in_place(&self) -> io::Result<()> {
        Ok(rustix::fs::renameat(&self.parent, &*self.name, &self.parent, &*self.place)?)
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if !self.renamed {
            // Whoever removed it or its directory before did our work.
            let _ = rustix::fs::unlinkat(&self.parent, &*self.name, AtFlags::empty());
        }
    }
}

/// The directory of a temporary, kept open as long as that lives.
#[derive(Debug)]
enum Holder {
    Root(Root),
    Below(OwnedFd),
}

impl AsFd for Holder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Root(root) => root.as_fd(),
            Self::Below(dir) => dir.as_fd(),
        }
    }
}

/// `.NAME.XXXXXX`, with NAME cut so that it fits.
///
/// A guess at the random part gains nothing: the name is made exclusively, or not at all.
pub fn temporary_name(place: &[u8]) -> Vec<u8> {
    const LETTERS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    let stem = place.strip_prefix(b".").unwrap_or(place);
    let stem = cut(stem, NAME_MAX - SUFFIX_LEN - 2);
    let mut name = Vec::with_capacity(stem.len() + SUFFIX_LEN + 2);
    name.push(b'.');
    name.extend_from_slice(stem);
    name.push(b'.');
    name.extend((0..SUFFIX_LEN).map(|_| LETTERS[fastrand::usize(..LETTERS.len())]));
    name
}

/// At most `len` bytes of `name`, not ending inside a UTF-8 character: some file systems take none
/// but valid names.
fn cut(name: &[u8], len: usize) -> &[u8] {
    if name.len() <= len {
        return name;
    }
    let is_inside = |end: &usize| name[*end] & 0b1100_0000 == 0b1000_0000;
    let end = (len.saturating_sub(3)..=len).rev().find(|end| !is_inside(end)).unwrap_or(len);
    &name[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(place: &[u8], stem: &[u8]) {
        let name = temporary_name(place);
        let (start, suffix) = name.split_at(name.len() - SUFFIX_LEN);
        assert_eq!(start, [b".", stem, b"."].concat());
        assert!(suffix.iter().all(u8::is_ascii_alphanumeric));
        assert!(name.len() <= NAME_MAX);
    }

    #[test]
    fn temporaries_are_named_after_their_place() {
        check(b"f", b"f");
        check(b".f", b"f");
        check(b"a\n\xff", b"a\n\xff");
        check(&[b'n'; 255], &[b'n'; 247]);
        check(&[0x80; 255], &[0x80; 247]);
        check("é".repeat(127).as_bytes(), "é".repeat(123).as_bytes());
    }
}
