//! Starting, asking and stopping a watcher.

use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use rustix::io::Errno;

use crate::engine::Engine;
use crate::fanotify::{self, Consumer, End, Refusal};
use crate::hint::{Hint, Sink};
use crate::kernel::Kernel;
use crate::limits;
use crate::options::{Backend, WatchError, WatchOptions, WatchStats};
use crate::root::Root;
use crate::shared::Shared;
use crate::survey;

/// Watches one directory tree on a thread of its own, until it is stopped, dropped or the root is lost.
///
/// While nothing happens the thread sleeps, unless directories without a watch have to be compared.
pub struct Watcher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Watcher {
    /// Watches the directory `root` and all below it.
    ///
    /// On return every directory that exists is watched or, when it cannot be, compared at intervals.
    /// Which back-end does it is chosen here, unless the options say: fanotify for a large tree, where
    /// that is possible for all of it, inotify elsewhere, comparing where others can change files
    /// unseen. What is there already makes no hints: the caller looks at the whole tree after this. Symbolic
    /// links are followed in `root` itself, never below.
    ///
    /// # Errors
    /// The root cannot be opened or is no directory, the user has no inotify instance left, the
    /// back-end that was chosen is not possible, or the kernel refuses to watch the root.
    pub fn start(
        root: &Path,
        options: WatchOptions,
        sink: Arc<dyn Sink>,
    ) -> Result<Watcher, WatchError> {
        let path = root.to_path_buf();
        let setup =
            |act, error: Errno| WatchError::Setup { path: path.clone(), act, source: error.into() };
        let root = root
            .canonicalize()
            .map_err(|source| WatchError::Root { path: path.clone(), source })
            .and_then(|canonical| {
                Root::new(canonical).map_err(|error| match error {
                    Errno::NOTDIR => WatchError::NotADirectory { path: path.clone() },
                    error => WatchError::Root { path: path.clone(), source: error.into() },
                })
            })?;
        let shared = Shared::new().map_err(|error| setup("create an event descriptor", error))?;
        let shared = Arc::new(shared);
        let consumer = Consumer { options, sink, shared: Arc::clone(&shared) };
        let engine = choose(root, consumer)?;
        let ending = Ending(Arc::clone(&shared));
        let thread = std::thread::Builder::new()
            .name("driftless-watch".into())
            .spawn(move || {
                let reason = run(engine);
                ending.0.end(reason);
            })
            .map_err(|source| WatchError::Setup { path, act: "start a thread", source })?;
        let watcher = Watcher { shared, thread: Some(thread) };
        watcher.barrier()?;
        Ok(watcher)
    }

    /// Returns when every path that changed before the call is covered by a hint that the sink has been
    /// given: the kernel's queue was read to its end, what followed from it is armed, what has no
    /// watch was compared, and after lost events the whole tree was gone through.
    ///
    /// # Errors
    /// The watcher has ended.
    pub fn barrier(&self) -> Result<(), WatchError> {
        self.shared.barrier()
    }

    /// The present state.
    pub fn stats(&self) -> WatchStats {
        self.shared.stats()
    }

    /// Stops watching; no hint is delivered after this.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.shared.stop();
        if let Some(thread) = self.thread.take() {
            // A panic of the sink has been reported by the panic hook and ended the watcher.
            let _ = thread.join();
        }
    }
}

/// What watches.
enum Watching {
    Fanotify(Box<fanotify::Engine>),
    Inotify(Box<Engine>),
}

fn choose(root: Root, consumer: Consumer) -> Result<Watching, WatchError> {
    if consumer.options.backend.is_none() && survey::is_small(&root, &consumer.options) {
        let engine = inotify(root, consumer, Some(survey::SMALL.to_owned()))?;
        return Ok(Watching::Inotify(Box::new(engine)));
    }
    match consumer.options.backend {
        Some(Backend::Inotify | Backend::Poll) => {
            inotify(root, consumer, None).map(|engine| Watching::Inotify(Box::new(engine)))
        }
        chosen => match fanotify::Engine::start(&root, &consumer.options) {
            Ok(marked) => Ok(Watching::Fanotify(Box::new(marked.into_engine(root, consumer)))),
            Err(Refusal(why)) if chosen.is_some() => {
                Err(WatchError::Refused { path: root.path, why })
            }
            Err(Refusal(why)) => {
                tracing::info!(root = %root.path.display(), "not watching with fanotify: {why}");
                let engine = inotify(root, consumer, Some(why))?;
                Ok(Watching::Inotify(Box::new(engine)))
            }
        },
    }
}

/// The engine with a watch for each directory, and `refused` as the reason for it.
fn inotify(root: Root, consumer: Consumer, refused: Option<String>) -> Result<Engine, WatchError> {
    let Consumer { options, sink, shared } = consumer;
    let path = root.path.clone();
    let setup =
        |act, error: Errno| WatchError::Setup { path: path.clone(), act, source: error.into() };
    let kernel = match options.backend {
        Some(Backend::Poll) => Kernel::none(),
        _ => Kernel::new().map_err(|error| {
            // The same error says that this process has no descriptor left.
            if error == Errno::MFILE && root.open().is_ok() {
                let present = limits::present(limits::MAX_USER_INSTANCES);
                let sufficient = present.saturating_mul(2).max(128);
                return WatchError::Instances { path: path.clone(), present, sufficient };
            }
            setup("create an inotify instance", error)
        })?,
    };
    let mut engine = Engine::new(root, kernel, options, sink, shared)
        .map_err(|error| setup("set an inotify watch", error))?;
    engine.refused = refused;
    Ok(engine)
}

/// Runs to the end, which is told.
fn run(watching: Watching) -> String {
    let engine = match watching {
        Watching::Inotify(engine) => return engine.run(),
        Watching::Fanotify(engine) => engine,
    };
    let (parts, Refusal(why)) = match engine.run() {
        End::Ended(reason) => return reason,
        End::Refused(parts, refusal) => (parts, refusal),
    };
    let (root, mut consumer) = *parts;
    tracing::warn!(root = %root.path.display(), "watching with inotify from now on: {why}");
    let sink = Arc::clone(&consumer.sink);
    consumer.options.backend = None;
    match inotify(root, consumer, Some(why)) {
        Ok(mut engine) => {
            // What happened meanwhile nobody saw.
            engine.recovery.need();
            engine.run()
        }
        Err(error) => {
            let reason = format!("neither fanotify nor inotify can watch it: {error}");
            sink.deliver(&mut vec![Hint::RootLost(reason.clone())]);
            reason
        }
    }
}

/// Tells those who wait when the thread ends by a panic.
struct Ending(Arc<Shared>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end("its thread has panicked".into());
    }
}
