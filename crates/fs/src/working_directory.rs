//! A working directory that belongs to one thread alone.

use std::io;
use std::marker::PhantomData;
use std::os::fd::AsFd;

use crate::sys;

/// The calling thread has a working directory of its own, for as long as it lives.
///
/// What the thread opens by a relative path no longer depends on the rest of the process, and it may
/// stand in any directory without anybody noticing: meant for threads that live briefly.
#[derive(Debug)]
pub struct OwnWorkingDirectory {
    /// Of this thread, so it stays there.
    _here: PhantomData<*const ()>,
}

impl OwnWorkingDirectory {
    /// Separates this thread from the others.
    ///
    /// # Errors
    /// `EPERM` where a sandbox forbids it.
    pub fn new() -> io::Result<Self> {
        sys::unshare_working_directory()?;
        Ok(Self { _here: PhantomData })
    }

    /// Makes `dir` this thread's working directory.
    ///
    /// # Errors
    /// `EACCES` without the right to search it.
    pub fn stand_in(&self, dir: impl AsFd) -> io::Result<()> {
        Ok(rustix::process::fchdir(dir)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_thread_itself_moves() {
        let before = std::env::current_dir().unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().canonicalize().unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let own = OwnWorkingDirectory::new().unwrap();
                own.stand_in(std::fs::File::open(&path).unwrap()).unwrap();
                assert_eq!(std::env::current_dir().unwrap(), path);
            });
        });
        assert_eq!(std::env::current_dir().unwrap(), before);
    }
}
