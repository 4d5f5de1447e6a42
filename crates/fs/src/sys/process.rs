//! Copies of this process, and names of addresses.

use std::ffi::CStr;
use std::io;
use std::net::{IpAddr, SocketAddr};

use rustix::process::Pid;
use socket2::SockAddr;

/// Which process this is after [`fork`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fork {
    /// The one that called; with the new one.
    Parent(Pid),
    /// The new one.
    Child,
}

/// Makes a copy of this process, which must have one thread: locks that another one holds would
/// never be released in the copy.
///
/// # Errors
/// There are more threads, or the kernel makes no process.
pub fn fork() -> io::Result<Fork> {
    // The count of links is that of entries, with the two that every directory has.
    let threads = rustix::fs::stat("/proc/self/task")?.st_nlink.saturating_sub(2);
    if threads != 1 {
        return Err(io::Error::other("a process with several threads cannot be copied"));
    }
    // SAFETY: the process has no other thread that could hold a lock or be in the middle of an
    // allocation, so the copy is as whole as this process is.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        0 => Ok(Fork::Child),
        pid => Ok(Fork::Parent(Pid::from_raw(pid).expect("a process has a number above 0"))),
    }
}

/// The name of an address, as the system's resolver finds it.
///
/// # Errors
/// There is none, or it cannot be found out; the text is the resolver's.
pub fn host_name(addr: IpAddr) -> Result<String, String> {
    let addr = SockAddr::from(SocketAddr::new(addr, 0));
    let mut name = [0u8; 1025];
    // SAFETY: the address is one of the given length; the buffer takes what is written with its NUL,
    // and no service is asked for.
    let code = unsafe {
        libc::getnameinfo(
            addr.as_ptr().cast(),
            addr.len(),
            name.as_mut_ptr().cast(),
            name.len() as libc::socklen_t,
            std::ptr::null_mut(),
            0,
            libc::NI_NAMEREQD,
        )
    };
    if code != 0 {
        // SAFETY: the library returns a NUL-terminated text that is never freed.
        let text = unsafe { CStr::from_ptr(libc::gai_strerror(code)) };
        return Err(text.to_string_lossy().into_owned());
    }
    let name = CStr::from_bytes_until_nul(&name).unwrap_or_default();
    Ok(name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn a_process_with_threads_is_not_copied() {
        // The test's own thread and the one that waits for it.
        let (tell, told) = std::sync::mpsc::channel::<()>();
        let other = std::thread::spawn(move || told.recv());
        assert!(fork().is_err());
        drop(tell);
        let _ = other.join();
    }

    #[test]
    fn this_machine_has_a_name() {
        assert!(host_name(Ipv4Addr::LOCALHOST.into()).is_ok_and(|name| !name.is_empty()));
        assert!(host_name(Ipv4Addr::new(192, 0, 2, 1).into()).is_err());
    }
}
