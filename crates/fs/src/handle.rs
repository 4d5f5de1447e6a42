//! File handles: names of objects that stay the same wherever the object is moved.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use crate::sys;

/// The name of an object on its file system, which the kernel also gives in fanotify events.
///
/// Kept in the form that the kernel reports: the length of the opaque bytes, their kind, the bytes.
/// Two handles of one file system are equal when they mean the same object; a number that was used
/// again for another object makes another handle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Handle<'a>(&'a [u8]);

/// What is before the opaque bytes.
const HEADER_LEN: usize = 8;

impl<'a> Handle<'a> {
    /// Takes the handle at the front of `bytes`; `None` when they are no whole handle.
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (len, _) = bytes.split_first_chunk::<4>()?;
        let len = usize::try_from(u32::from_ne_bytes(*len)).ok()?;
        if len > sys::MAX_HANDLE_LEN {
            return None;
        }
        bytes.get(..HEADER_LEN + len).map(Self)
    }

    /// All of it, to be kept and [parsed](Handle::parse) again.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Opens the directory that it means, to stand on (`O_PATH`), as it is seen through the mount that
    /// `mount` is on; `mount` is any descriptor there that was not opened with `O_PATH`.
    ///
    /// # Errors
    /// `ESTALE` when the directory is gone; `EPERM` without `CAP_DAC_READ_SEARCH`; `ENOTDIR`.
    pub fn open_dir(self, mount: impl AsFd) -> io::Result<OwnedFd> {
        // With O_DIRECTORY it is also possible in user namespaces.
        let flags = libc::O_PATH | libc::O_DIRECTORY | libc::O_CLOEXEC;
        sys::open_by_handle(mount, &self.to_raw(), flags)
    }

    fn to_raw(self) -> sys::RawHandle {
        let (header, opaque) = self.0.split_at(HEADER_LEN);
        let kind = i32::from_ne_bytes([header[4], header[5], header[6], header[7]]);
        let mut bytes = [0; sys::MAX_HANDLE_LEN];
        bytes[..opaque.len()].copy_from_slice(opaque);
        sys::RawHandle { len: opaque.len() as u32, kind, bytes }
    }
}

/// A handle with memory of its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct OwnedHandle(Box<[u8]>);

impl OwnedHandle {
    /// The handle of the object that `fd` is open on.
    ///
    /// # Errors
    /// `EOPNOTSUPP` where the file system has no handles.
    pub fn of(fd: impl AsFd) -> io::Result<Self> {
        Self::at(fd, b"")
    }

    /// The handle of `name` in the directory `dir`, without following a symbolic link; with an empty
    /// name that of `dir` itself.
    ///
    /// # Errors
    /// As for [`OwnedHandle::of`]; what looking up the name gives.
    pub fn at(dir: impl AsFd, name: &[u8]) -> io::Result<Self> {
        let name = CString::new(name).map_err(|_| io::ErrorKind::InvalidInput)?;
        let raw = sys::name_to_handle(dir, &name)?;
        let opaque = raw.bytes.get(..raw.len as usize).ok_or(io::ErrorKind::InvalidData)?;
        let mut bytes = Vec::with_capacity(HEADER_LEN + opaque.len());
        bytes.extend(raw.len.to_ne_bytes());
        bytes.extend(raw.kind.to_ne_bytes());
        bytes.extend(opaque);
        Ok(Self(bytes.into()))
    }

    /// The same, borrowed.
    pub fn as_handle(&self) -> Handle<'_> {
        Handle(&self.0)
    }
}

impl From<Handle<'_>> for OwnedHandle {
    fn from(handle: Handle<'_>) -> Self {
        Self(handle.0.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::fd::AsRawFd;
    use std::path::Path;

    #[test]
    fn a_handle_follows_its_directory_and_ends_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir(path("a")).unwrap();
        let mount = File::open(dir.path()).unwrap();
        let handle = OwnedHandle::at(&mount, b"a").unwrap();
        assert_eq!(OwnedHandle::of(File::open(path("a")).unwrap()).unwrap(), handle);
        assert_eq!(Handle::parse(handle.as_handle().as_bytes()), Some(handle.as_handle()));
        fs::rename(path("a"), path("b")).unwrap();
        let opened = handle.as_handle().open_dir(&mount).unwrap();
        let link = Path::new("/proc/self/fd").join(opened.as_raw_fd().to_string());
        assert_eq!(fs::read_link(link).unwrap(), path("b").canonicalize().unwrap());
        drop(opened);
        fs::remove_dir(path("b")).unwrap();
        fs::create_dir(path("b")).unwrap();
        let gone = handle.as_handle().open_dir(&mount).unwrap_err();
        assert_eq!(gone.raw_os_error(), Some(libc::ESTALE));
        assert_ne!(OwnedHandle::at(&mount, b"b").unwrap(), handle);
    }

    #[test]
    fn what_is_no_whole_handle_is_refused() {
        let mut bytes = 8u32.to_ne_bytes().to_vec();
        bytes.extend([1, 0, 0, 0]);
        bytes.extend([7; 8]);
        assert!(Handle::parse(&bytes).is_some());
        for len in 0..bytes.len() {
            assert_eq!(Handle::parse(&bytes[..len]), None, "{len}");
        }
        bytes[..4].copy_from_slice(&4096u32.to_ne_bytes());
        bytes.resize(5000, 0);
        assert_eq!(Handle::parse(&bytes), None);
    }
}
