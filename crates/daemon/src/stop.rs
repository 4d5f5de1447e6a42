//! How a session's process ends when it is told to: at once, or, in the middle of a transfer, with
//! last words for the client.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
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
