//! The password file.

use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use driftless_fs::operator::{self, Links};
use zeroize::Zeroizing;

/// Longest password file that is read; the password is its first line.
const MAX_FILE_LEN: u64 = 64 * 1024;

/// Why a password file is not used.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// Not there, not readable.
    #[error("cannot read the password file {}", .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others could read it.
    #[error(
        "the password file {} must not be other-accessible; run: chmod 600 {}",
        .path.display(), .path.display()
    )]
    OtherAccessible {
        /// Which.
        path: PathBuf,
    },
    /// Somebody else than root could change it.
    #[error(
        "the password file {} must be owned by root when running as root; run: chown root {}",
        .path.display(), .path.display()
    )]
    Owner {
        /// Which.
        path: PathBuf,
    },
    /// Its first line is empty.
    #[error("the password file {} holds no password in its first line", .path.display())]
    Empty {
        /// Which.
        path: PathBuf,
    },
}

/// Reads the first line of a password file, under rsync's conditions: no permission for others,
/// and owned by root when we are. Links on its path are followed as `links` says.
///
/// # Errors
/// The condition that does not hold.
pub fn read_password_file(path: &Path, links: Links) -> Result<Zeroizing<Vec<u8>>, PasswordError> {
    let read_error = |source| PasswordError::Read { path: path.to_owned(), source };
    let file = operator::open_any(path, links).map_err(read_error)?;
    // Asked of the open file: the name could lead to another one a moment later.
    let meta = file.metadata().map_err(read_error)?;
    if meta.mode() & 0o007 != 0 {
        return Err(PasswordError::OtherAccessible { path: path.to_owned() });
    }
    if rustix::process::geteuid().is_root() && meta.uid() != 0 {
        return Err(PasswordError::Owner { path: path.to_owned() });
    }
    let mut content = Zeroizing::new(Vec::with_capacity(4096));
    file.take(MAX_FILE_LEN).read_to_end(&mut content).map_err(read_error)?;
    let line = content.split(|&b| b == b'\n' || b == b'\r').next().unwrap_or(&[]);
    if line.is_empty() {
        return Err(PasswordError::Empty { path: path.to_owned() });
    }
    Ok(Zeroizing::new(line.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn only_the_first_line_of_a_private_file_is_the_password() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secret");
        std::fs::write(&path, "s3cret word\r\nmore\n").unwrap();
        let mode = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(0o604);
        assert!(matches!(
            read_password_file(&path, Links::Trusted),
            Err(PasswordError::OtherAccessible { .. })
        ));
        mode(0o640);
        assert_eq!(&read_password_file(&path, Links::Trusted).unwrap()[..], b"s3cret word");
        std::fs::write(&path, "\nlate").unwrap();
        assert!(matches!(
            read_password_file(&path, Links::Trusted),
            Err(PasswordError::Empty { .. })
        ));
    }
}
