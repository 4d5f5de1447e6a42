//! The thread that answers.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::oneshot;

use crate::api;
use crate::mirrors::Mirrors;
use crate::socket::{SocketError, SocketFile};

/// Why nothing answers.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum ServerError {
    #[error(transparent)]
    Socket(#[from] SocketError),
    #[error("cannot start the control thread")]
    Runtime(#[source] io::Error),
}

/// A control socket that answers until it is dropped.
#[derive(Debug)]
pub struct Server {
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
    _file: SocketFile,
}

impl Server {
    /// Listens at `path` and answers for `mirrors`.
    ///
    /// # Errors
    /// The socket cannot be had, or no thread.
    pub fn start(path: &Path, mirrors: Arc<dyn Mirrors>) -> Result<Self, ServerError> {
        let (file, listener) = SocketFile::listen(path)?;
        listener.set_nonblocking(true).map_err(ServerError::Runtime)?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .thread_name("control-wait")
            .build()
            .map_err(ServerError::Runtime)?;
        let listener = {
            let _inside = runtime.enter();
            tokio::net::UnixListener::from_std(listener).map_err(ServerError::Runtime)?
        };
        let (stop, stopped) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || {
                runtime.block_on(answer(listener, mirrors, stopped));
                // A flush may wait for an hour: it must not hold up the end of the process.
                runtime.shutdown_background();
            })
            .map_err(ServerError::Runtime)?;
        Ok(Self { stop: Some(stop), thread: Some(thread), _file: file })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the control thread panicked");
        }
    }
}

/// Answers until `stopped` is sent to or dropped.
async fn answer(
    listener: tokio::net::UnixListener,
    mirrors: Arc<dyn Mirrors>,
    stopped: oneshot::Receiver<()>,
) {
    tokio::select! {
        ended = axum::serve(listener, api::routes(mirrors)) => {
            if let Err(error) = ended {
                tracing::error!("the control socket answers no more: {error}");
            }
        }
        _ = stopped => {}
    }
}
