//! Signals as descriptors to wait for.

use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use signal_hook::low_level::pipe;

/// Signals that are waited for instead of ending the program at once.
#[derive(Debug, Default)]
pub struct Signals {
    caught: Vec<(i32, UnixStream)>,
}

impl Signals {
    /// Catches these signals from now on.
    ///
    /// # Errors
    /// When descriptors or memory are used up.
    pub fn catch(signals: &[i32]) -> std::io::Result<Self> {
        let mut caught = Vec::new();
        for &signal in signals {
            let (here, there) = UnixStream::pair()?;
            here.set_nonblocking(true)?;
            pipe::register(signal, there)?;
            caught.push((signal, here));
        }
        Ok(Self { caught })
    }

    /// What becomes readable when a signal comes.
    pub fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.caught.iter().map(|(_, stream)| stream.as_fd())
    }

    /// A signal that has come since it was last asked.
    pub fn take(&mut self) -> Option<i32> {
        self.caught.iter_mut().find_map(|(signal, stream)| {
            let mut bytes = [0; 64];
            stream.read(&mut bytes).is_ok_and(|len| len > 0).then_some(*signal)
        })
    }
}
