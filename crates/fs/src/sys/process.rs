//! Copies of this process, what it may not do any more, and names of addresses.

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

/// The architecture whose system calls this program makes, as the kernel numbers them
/// (`linux/audit.h`).
const ARCH: Option<u32> = if cfg!(target_arch = "x86_64") {
    Some(0xc000_003e)
} else if cfg!(target_arch = "aarch64") {
    Some(0xc000_00b7)
} else if cfg!(target_arch = "riscv64") {
    Some(0xc000_00f3)
} else {
    None
};

/// System calls from here on are those of another interface (x32), which this program does not use.
const FOREIGN_CALLS: u32 = 0x4000_0000;

/// Keeps this thread, and all threads and processes that it makes, from becoming another program; nor
/// do they get rights that they lack (`no_new_privs`). There is no way back.
///
/// # Errors
/// The kernel has no filters of system calls, or this is none of the architectures whose calls are
/// known here.
pub fn forbid_programs() -> io::Result<()> {
    let arch = ARCH.ok_or(io::ErrorKind::Unsupported)?;
    rustix::thread::set_no_new_privs(true)?;
    let load = |at: usize| (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at as u32, 0, 0);
    // Leads past so many steps when the value is `k`, or is not.
    let equal = |k: u32, yes: u8, no: u8| (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, k, yes, no);
    let from = |k: u32, yes: u8| (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K, k, yes, 0);
    let answer = |action: u32| (libc::BPF_RET | libc::BPF_K, action, 0, 0);
    let program = [
        load(std::mem::offset_of!(libc::seccomp_data, arch)),
        equal(arch, 0, 5),
        load(std::mem::offset_of!(libc::seccomp_data, nr)),
        equal(libc::SYS_execve as u32, 3, 0),
        equal(libc::SYS_execveat as u32, 2, 0),
        from(FOREIGN_CALLS, 1),
        answer(libc::SECCOMP_RET_ALLOW),
        answer(libc::SECCOMP_RET_ERRNO | libc::EACCES as u32),
    ];
    let mut filter =
        program.map(|(code, k, jt, jf)| libc::sock_filter { code: code as u16, jt, jf, k });
    let filter = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_mut_ptr() };
    // SAFETY: the kernel reads as many steps as the length says, which outlive the call, and copies
    // them; it refuses programs that it cannot judge.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const filter)
    };
    match result {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
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
    fn a_thread_that_may_start_no_program_does_all_else() {
        let start = || std::process::Command::new("true").status();
        let limited = std::thread::spawn(move || {
            forbid_programs().unwrap();
            let refused = start().unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::PermissionDenied);
            std::fs::read("/proc/self/status").unwrap();
            // SAFETY: the other interface's number of this call, which takes nothing, if it is one.
            let foreign = unsafe { libc::syscall(i64::from(FOREIGN_CALLS) | libc::SYS_getpid) };
            let refused = io::Error::last_os_error();
            assert_eq!((foreign, refused.raw_os_error()), (-1, Some(libc::EACCES)));
        });
        limited.join().unwrap();
        // Others may.
        assert!(start().unwrap().success());
    }

    #[test]
    fn this_machine_has_a_name() {
        assert!(host_name(Ipv4Addr::LOCALHOST.into()).is_ok_and(|name| !name.is_empty()));
        assert!(host_name(Ipv4Addr::new(192, 0, 2, 1).into()).is_err());
    }
}
