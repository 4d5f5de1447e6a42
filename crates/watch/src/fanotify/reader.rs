//! One fanotify group and its queue, read event by event.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use driftless_fs::fanotify::{Group, Mask, Queue, Scope};
use rustix::io::Errno;

use super::record::{Event, take_event};

/// A read returns whole events only; one with two names takes about 900 bytes at most.
const READ_LEN: usize = 256 * 1024;

/// Reads the events of a group. It gives them as they come and knows no paths: what a handle means
/// now, [`Handle::open_dir`](driftless_fs::handle::Handle::open_dir) tells.
///
/// ```no_run
/// use driftless_fs::fanotify::{Mask, Queue, Scope};
/// use driftless_watch::fanotify::Reader;
///
/// let mut reader = Reader::new(Queue::Unlimited)?;
/// let dir = std::fs::File::open("/srv")?;
/// reader.mark(Scope::Filesystem, Mask::CREATE.union(Mask::ONDIR), &dir)?;
/// // When `reader` is readable:
/// while reader.read(|event| println!("{event:?}"))? {}
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct Reader {
    group: Group,
    buffer: Vec<u8>,
}

impl Reader {
    /// A group whose events carry directory, name and object. With a kernel that cannot tell the
    /// object (before 5.17) events come without, and [`Mask::RENAME`] cannot be asked for.
    ///
    /// # Errors
    /// As for [`Group::new`].
    pub fn new(queue: Queue) -> io::Result<Self> {
        let group =
            Group::new(queue, true).or_else(|error| match Errno::from_io_error(&error) {
                Some(Errno::INVAL) => Group::new(queue, false),
                _ => Err(error),
            })?;
        Ok(Self::of(group))
    }

    pub(crate) fn of(group: Group) -> Self {
        Self { group, buffer: vec![0; READ_LEN] }
    }

    /// Asks for events; see [`Group::mark`].
    ///
    /// # Errors
    /// See there.
    pub fn mark(&self, scope: Scope, mask: Mask, object: impl AsFd) -> io::Result<()> {
        self.group.mark(scope, mask, object)
    }

    /// Asks for some events no more; see [`Group::unmark`].
    ///
    /// # Errors
    /// See there.
    pub fn unmark(&self, scope: Scope, mask: Mask, object: impl AsFd) -> io::Result<()> {
        self.group.unmark(scope, mask, object)
    }

    /// Takes what one read gives, in the order of the queue; false when the queue was empty. It never
    /// waits: poll the descriptor.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn read(&mut self, mut take: impl FnMut(Event<'_>)) -> io::Result<bool> {
        let len = loop {
            match rustix::io::read(&self.group, &mut self.buffer[..]) {
                Ok(len) => break len,
                Err(Errno::AGAIN) => return Ok(false),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        };
        let mut input = &self.buffer[..len];
        while let Some(event) = take_event(&mut input) {
            take(event);
        }
        Ok(len > 0)
    }

    /// Bytes that wait to be read.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn backlog_len(&self) -> io::Result<u64> {
        Ok(rustix::io::ioctl_fionread(&self.group)?)
    }
}

impl AsFd for Reader {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.group.as_fd()
    }
}
