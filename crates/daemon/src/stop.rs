//! How a session's process ends when it is told to: at once, or, in the middle of a transfer, with
//! last words for the client.

use std::io;
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
use signal_hook::{flag, low_level};

/// The wish to end, of this process.
#[derive(Debug, Clone, Default)]
pub(crate) struct Stop {
    at_once: Arc<AtomicBool>,
    asked: Arc<AtomicBool>,
}

impl Stop {
    /// From now on SIGTERM, SIGINT and SIGHUP are a question that somebody looks at.
    pub(crate) fn listen() -> Self {
        let stop = Self::default();
        for signal in [SIGTERM, SIGINT, SIGHUP] {
            // Without a handler a signal ends the process as well.
            let _ = flag::register(signal, Arc::clone(&stop.asked));
            let _ = flag::register_conditional_default(signal, Arc::clone(&stop.at_once));
        }
        stop
    }

    /// From now on they end this process at once, and so does one that has come already.
    pub(crate) fn end_at_once(&self) {
        self.at_once.store(true, Ordering::Relaxed);
        if self.is_asked() {
            let _ = low_level::emulate_default_handler(SIGTERM);
        }
    }

    /// From now on they are a question again.
    pub(crate) fn wait_to_be_asked(&self) -> Arc<AtomicBool> {
        self.at_once.store(false, Ordering::Relaxed);
        Arc::clone(&self.asked)
    }

    /// Whether one of them has come.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Relaxed)
    }
}

/// The signals of a listener.
#[derive(Debug)]
pub(crate) struct Signals {
    /// Readable when one has come, SIGCHLD among them.
    pub(crate) wakes: UnixStream,
    pub(crate) stop: Stop,
    /// SIGTERM has come.
    pub(crate) terminated: Arc<AtomicBool>,
}

impl Signals {
    /// Catches them from now on, before anybody can find this process by its pid file or its port.
    ///
    /// # Errors
    /// The system's, where it has no descriptors left.
    pub(crate) fn catch() -> io::Result<Self> {
        let (wakes, wake) = UnixStream::pair()?;
        wakes.set_nonblocking(true)?;
        wake.set_nonblocking(true)?;
        let terminated = Arc::default();
        // First: whoever sees the wish to end finds out which signal it was.
        flag::register(SIGTERM, Arc::clone(&terminated))?;
        let stop = Stop::listen();
        // Sessions keep it: a signal of theirs wakes the listener, which finds nothing to do.
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGCHLD] {
            low_level::pipe::register(signal, wake.try_clone()?)?;
        }
        Ok(Self { wakes, stop, terminated })
    }
}
