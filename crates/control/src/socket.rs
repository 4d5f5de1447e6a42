//! The socket file: who may connect, and whose file it is.
//!
//! Invariants
//! * Nobody but its owner (and root) can connect at any moment: the file gets mode 0600 after it is
//!   bound and before it listens.
//! * A file that someone answers at is never taken away; one that a dead process left is.
//! * At the end only a file that is still ours is removed.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, listen};

/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// Why there is no control socket.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum SocketError {
    #[error(
        "another driftless answers at the control socket {}; \
         stop it, or give this one its own with --control", .path.display()
    )]
    InUse { path: PathBuf },
    #[error(
        "{} exists and is no socket; give another path with --control", .path.display()
    )]
    NotASocket { path: PathBuf },
    #[error(
        "the control socket's path {} is too long: the kernel takes 107 bytes; \
         give a shorter one with --control", .path.display()
    )]
    TooLong { path: PathBuf },
    #[error(
        "cannot {act} the control socket {}; give another path with --control", .path.display()
    )]
    Io { act: &'static str, path: PathBuf, source: io::Error },
}

/// A bound socket file, removed when dropped.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    id: (u64, u64),
}

impl SocketFile {
    /// Creates the socket at `path` and listens there.
    ///
    /// # Errors
    /// Somebody answers at `path`, it is something else than a socket, or the system refuses.
    pub fn listen(path: &Path) -> Result<(Self, UnixListener), SocketError> {
        let failed =
            |act| move |source: io::Error| SocketError::Io { act, path: path.to_owned(), source };
        let address = SocketAddrUnix::new(path)
            .map_err(|_| SocketError::TooLong { path: path.to_owned() })?;
        remove_stale(path)?;
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|errno| failed("create")(errno.into()))?;
        bind(&socket, &address).map_err(|errno| failed("create")(errno.into()))?;
        let meta = fs::symlink_metadata(path).map_err(failed("inspect"))?;
        let file = Self { path: path.to_owned(), id: (meta.dev(), meta.ino()) };
        fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(failed("protect"))?;
        listen(&socket, BACKLOG).map_err(|errno| failed("listen at")(errno.into()))?;
        Ok((file, UnixListener::from(socket)))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours =
            fs::symlink_metadata(&self.path).is_ok_and(|meta| (meta.dev(), meta.ino()) == self.id);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::warn!("cannot remove the control socket {}: {error}", self.path.display());
        }
    }
}

/// Removes a socket that nobody answers at.
fn remove_stale(path: &Path) -> Result<(), SocketError> {
    let failed =
        |act| move |source: io::Error| SocketError::Io { act, path: path.to_owned(), source };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed("inspect")(error)),
        Ok(meta) if !meta.file_type().is_socket() => {
            return Err(SocketError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            fs::remove_file(path).map_err(failed("replace"))
        }
        Err(error) => Err(failed("try")(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_for_its_owner_only_and_goes_with_its_process() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let (file, listener) = SocketFile::listen(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        drop((file, listener));
        assert!(!path.exists());
    }

    #[test]
    fn a_socket_that_a_dead_process_left_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        drop(UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        let (_file, _listener) = SocketFile::listen(&path).unwrap();
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_socket_that_someone_answers_at_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let (_file, _listener) = SocketFile::listen(&path).unwrap();
        let error = SocketFile::listen(&path).unwrap_err();
        assert!(matches!(error, SocketError::InUse { .. }), "{error}");
        UnixStream::connect(&path).unwrap();
    }

    #[test]
    fn a_file_that_is_no_socket_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("precious");
        fs::write(&path, "precious").unwrap();
        let error = SocketFile::listen(&path).unwrap_err();
        assert!(matches!(error, SocketError::NotASocket { .. }), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"precious");
    }

    #[test]
    fn a_socket_that_took_our_place_is_not_removed_with_ours() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control.sock");
        let (ours, _listener) = SocketFile::listen(&path).unwrap();
        fs::remove_file(&path).unwrap();
        let _theirs = UnixListener::bind(&path).unwrap();
        drop(ours);
        assert!(path.exists());
    }

    #[test]
    fn a_path_longer_than_the_kernel_takes_is_said_to_be_so() {
        let path = Path::new("/tmp").join("x".repeat(120));
        let error = SocketFile::listen(&path).unwrap_err();
        assert!(matches!(error, SocketError::TooLong { .. }), "{error}");
    }

    #[test]
    fn a_missing_directory_is_named() {
        let error = SocketFile::listen(Path::new("/nonexistent/dl.sock")).unwrap_err();
        assert!(error.to_string().contains("/nonexistent/dl.sock"), "{error}");
    }
}
