//! The system calls that no kept crate wraps. The only `unsafe` of the project.
#![allow(unsafe_code)]

pub(crate) mod posix;
pub(crate) mod process;

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::sync::Once;

/// Takes a read lease on a file that is open for reading.
///
/// # Errors
/// `EAGAIN` when somebody has the file open for writing; others where leases are not possible.
pub(crate) fn take_read_lease(file: impl AsFd) -> io::Result<()> {
    ignore_lease_signals();
    set_lease(file, libc::F_RDLCK)
}

/// Gives a lease back.
pub(crate) fn release_lease(file: impl AsFd) -> io::Result<()> {
    set_lease(file, libc::F_UNLCK)
}

fn set_lease(file: impl AsFd, kind: libc::c_int) -> io::Result<()> {
    // SAFETY: F_SETLEASE takes an integer and touches no memory of ours; the descriptor is borrowed
    // for the whole call.
    match unsafe { libc::fcntl(file.as_fd().as_raw_fd(), libc::F_SETLEASE, kind) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Ignores SIGIO once, unless the program already handles it. The kernel sends it when somebody
/// wants to write to a file that we hold a lease on; its default action ends the process.
fn ignore_lease_signals() {
    static IGNORED: Once = Once::new();
    IGNORED.call_once(|| {
        // SAFETY: SIG_IGN installs no code of ours; the previous disposition is put back if it was
        // not the default.
        unsafe {
            let before = libc::signal(libc::SIGIO, libc::SIG_IGN);
            if before != libc::SIG_DFL && before != libc::SIG_ERR {
                libc::signal(libc::SIGIO, before);
            }
        }
    });
}

/// Gives the calling thread a working directory of its own, which is where the process's is.
///
/// # Errors
/// `EPERM` where a sandbox forbids it.
pub(crate) fn unshare_working_directory() -> io::Result<()> {
    // SAFETY: it takes an integer; with CLONE_FS alone descriptors and memory stay shared.
    match unsafe { libc::unshare(libc::CLONE_FS) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Sets the permission bits of the file that `file` refers to; it may be an `O_PATH` handle.
///
/// # Errors
/// `ENOSYS` before Linux 6.6; `EOPNOTSUPP` for symbolic links.
pub(crate) fn chmod_handle(file: impl AsFd, mode: u32) -> io::Result<()> {
    // SAFETY: the path is a static NUL-terminated empty string, so that with AT_EMPTY_PATH only the
    // descriptor counts, which is borrowed for the whole call. No memory is written.
    let result = unsafe {
        libc::syscall(
            libc::SYS_fchmodat2,
            file.as_fd().as_raw_fd(),
            c"".as_ptr(),
            mode,
            libc::AT_EMPTY_PATH,
        )
    };
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// Makes a fanotify group.
///
/// # Errors
/// `EPERM` without the rights that the flags need, `EINVAL` when the kernel does not know one of
/// them, `EMFILE` when the user's groups are used up.
pub(crate) fn fanotify_init(flags: u32) -> io::Result<OwnedFd> {
    let events = (libc::O_RDONLY | libc::O_CLOEXEC | libc::O_LARGEFILE) as u32;
    // SAFETY: it takes integers only.
    match unsafe { libc::fanotify_init(flags, events) } {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
        group => Ok(unsafe { OwnedFd::from_raw_fd(group) }),
    }
}

/// Adds, changes or removes a mark on what is at `path`.
///
/// # Errors
/// What the kernel says.
pub(crate) fn fanotify_mark(
    group: impl AsFd,
    flags: u32,
    mask: u64,
    path: &CStr,
) -> io::Result<()> {
    // SAFETY: the path is NUL-terminated and outlives the call, which writes no memory; the
    // descriptor is borrowed for the whole call.
    let result = unsafe {
        libc::fanotify_mark(group.as_fd().as_raw_fd(), flags, mask, libc::AT_FDCWD, path.as_ptr())
    };
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// The longest file handle.
pub(crate) const MAX_HANDLE_LEN: usize = libc::MAX_HANDLE_SZ as usize;

/// A file handle as the kernel takes and gives it.
#[repr(C)]
pub(crate) struct RawHandle {
    pub len: u32,
    pub kind: i32,
    pub bytes: [u8; MAX_HANDLE_LEN],
}

/// The handle of what `name` is in `dir`, without following it, and the number of the mount that it
/// is on; an empty name is `dir` itself.
///
/// # Errors
/// What the kernel says; `EOPNOTSUPP` on file systems without handles.
pub(crate) fn name_to_handle(dir: impl AsFd, name: &CStr) -> io::Result<(RawHandle, i32)> {
    let mut handle = RawHandle { len: MAX_HANDLE_LEN as u32, kind: 0, bytes: [0; MAX_HANDLE_LEN] };
    let mut mount_id: libc::c_int = 0;
    let flags = if name.is_empty() { libc::AT_EMPTY_PATH } else { 0 };
    // SAFETY: the name is NUL-terminated; `handle` has the kernel's layout and room for as many
    // bytes as its length says; both results outlive the call; the descriptor is borrowed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_name_to_handle_at,
            dir.as_fd().as_raw_fd(),
            name.as_ptr(),
            &raw mut handle,
            &raw mut mount_id,
            flags,
        )
    };
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok((handle, mount_id)),
    }
}

/// Opens what a handle means on the file system that `mount` is on, seen through that mount.
///
/// # Errors
/// `ESTALE` when it is gone, `EPERM` without the right to open by handle.
pub(crate) fn open_by_handle(
    mount: impl AsFd,
    handle: &RawHandle,
    flags: i32,
) -> io::Result<OwnedFd> {
    // SAFETY: `handle` has the kernel's layout, is only read, and its length is within its bytes,
    // which the kernel also checks; the descriptor is borrowed for the whole call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            mount.as_fd().as_raw_fd(),
            &raw const *handle,
            flags,
        )
    };
    match result {
        -1 => Err(io::Error::last_os_error()),
        // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
        opened => Ok(unsafe { OwnedFd::from_raw_fd(opened as i32) }),
    }
}

/// Sets the permission bits of the entry `name` of a directory, which is no symbolic link.
///
/// # Errors
/// `ENOSYS` before Linux 6.6; `EOPNOTSUPP` for symbolic links; `InvalidInput` for a NUL in `name`.
pub(crate) fn chmod_entry(dir: impl AsFd, name: &[u8], mode: u32) -> io::Result<()> {
    let name = CString::new(name)?;
    // SAFETY: the path is NUL-terminated and lives for the whole call, like the descriptor, which is
    // borrowed. No memory is written.
    let result = unsafe {
        libc::syscall(
            libc::SYS_fchmodat2,
            dir.as_fd().as_raw_fd(),
            name.as_ptr(),
            mode,
            libc::AT_SYMLINK_NOFOLLOW,
        )
    };
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// An open conversion between character sets.
#[derive(Debug)]
pub(crate) struct Conversion(libc::iconv_t);

// SAFETY: the descriptor belongs to this value alone, and the C library ties it to no thread.
unsafe impl Send for Conversion {}

impl Conversion {
    /// # Errors
    /// `EINVAL` when the C library does not know the pair.
    pub(crate) fn open(to: &CStr, from: &CStr) -> io::Result<Self> {
        // SAFETY: both are NUL-terminated strings that outlive the call.
        let descriptor = unsafe { libc::iconv_open(to.as_ptr(), from.as_ptr()) };
        if descriptor as isize == -1 {
            Err(io::Error::last_os_error())
        } else {
            Ok(Self(descriptor))
        }
    }

    /// Converts all of `input`; returns how many bytes of `output` that took, `None` when it is not
    /// possible or there is too little room.
    pub(crate) fn convert(&mut self, input: &[u8], output: &mut [u8]) -> Option<usize> {
        let (mut from, mut from_len) = (input.as_ptr().cast_mut().cast(), input.len());
        let (mut to, mut to_len) = (output.as_mut_ptr().cast(), output.len());
        // SAFETY: with null pointers the call only resets the descriptor, which is open. In the
        // second call the pointers and lengths describe our two slices, the input is only read; the
        // third writes what ends the output into the rest of it.
        let failed = unsafe {
            libc::iconv(
                self.0,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                std::ptr::null_mut(),
            );
            let result = libc::iconv(self.0, &mut from, &mut from_len, &mut to, &mut to_len);
            let end = libc::iconv(
                self.0,
                std::ptr::null_mut(),
                std::ptr::null_mut(),
                &mut to,
                &mut to_len,
            );
            result == usize::MAX || end == usize::MAX
        };
        (!failed && from_len == 0).then(|| output.len() - to_len)
    }
}

impl Drop for Conversion {
    fn drop(&mut self) {
        // SAFETY: it was opened and is closed only here.
        unsafe { libc::iconv_close(self.0) };
    }
}

/// The name of the character set that the environment's locale has.
pub(crate) fn locale_charset() -> Vec<u8> {
    // SAFETY: the empty string is NUL-terminated; the returned name is a NUL-terminated string that
    // lives until the locale changes, and it is copied at once. Setting the locale's character type
    // affects nothing that Rust code uses.
    unsafe {
        libc::setlocale(libc::LC_CTYPE, c"".as_ptr());
        let name = libc::nl_langinfo(libc::CODESET);
        if name.is_null() { Vec::new() } else { CStr::from_ptr(name).to_bytes().to_vec() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::os::unix::fs::OpenOptionsExt;

    #[test]
    fn wrong_handles_are_errors() {
        let (reader, writer) = io::pipe().unwrap();
        assert!(take_read_lease(&reader).is_err());
        assert!(release_lease(&writer).is_err());
        let link = rustix::fs::open(
            "/proc/self/exe",
            rustix::fs::OFlags::PATH | rustix::fs::OFlags::NOFOLLOW,
            rustix::fs::Mode::empty(),
        )
        .unwrap();
        assert!(chmod_handle(&link, 0o600).is_err());
    }

    #[test]
    fn a_lease_taken_can_be_given_back() {
        // Closes the writing handle, keeps the file.
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let reader = File::open(&path).unwrap();
        take_read_lease(&reader).unwrap();
        release_lease(&reader).unwrap();
    }

    #[test]
    fn a_writer_that_meets_the_lease_does_not_kill_the_process() {
        let path = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        let reader = File::open(&path).unwrap();
        take_read_lease(&reader).unwrap();
        // The kernel sends the signal before it answers.
        let impatient = File::options().write(true).custom_flags(libc::O_NONBLOCK).open(&path);
        assert_eq!(impatient.unwrap_err().kind(), io::ErrorKind::WouldBlock);
        release_lease(&reader).unwrap();
        File::options().write(true).open(&path).unwrap();
    }
}
