//! The super-user's attributes kept in an extended one (`--fake-super`): owner, whole mode and device
//! numbers of what the process may not, or shall not, make as it is.
//!
//! The attribute is [`STAT`], `OCTALMODE MAJOR,MINOR UID:GID`; it is there where the file itself does
//! not say the same (observed with rsync 3.5.0). Devices, fifos, sockets and symbolic links are
//! regular files; that of a link holds its text. The file itself keeps the permissions that its owner
//! needs to go on working with it, and no set-id bits.
//!
//! Directories that are opened below a root [with stored attributes](crate::Root::with_stored) look at
//! it and set it; the functions here are theirs.

use crate::attributes::{self, Attributes};
use crate::meta;
use crate::source::open_unasked;
use crate::xattr::{self, Of};
use driftless_tree::{Kind, Meta};
use rustix::fs::{Mode, OFlags, openat};
use rustix::io::Errno;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::FileExt;

/// The extended attribute.
pub const STAT: &[u8] = b"user.rsync.%stat";

/// Type bits of a mode.
const TYPE: u32 = 0o170_000;

/// The longest text of a symbolic link.
const MAX_LINK_LEN: usize = 4095;

/// What [`STAT`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stored {
    /// With the type.
    mode: u32,
    rdev: (u32, u32),
    uid: u32,
    gid: u32,
}

impl Stored {
    fn of(meta: &Meta) -> Self {
        Self { mode: meta.mode, rdev: meta.rdev, uid: meta.uid, gid: meta.gid }
    }

    /// Reads it as `sscanf` would: blanks may be before numbers, anything behind the last one.
    fn parse(value: &[u8]) -> Option<Self> {
        let mut rest = value;
        let mode = u32::try_from(take_number(&mut rest, 8)?).ok()?;
        let major = take_number(&mut rest, 10)?;
        rest = rest.strip_prefix(b",")?;
        let minor = take_number(&mut rest, 10)?;
        let uid = take_number(&mut rest, 10)?;
        rest = rest.strip_prefix(b":")?;
        let gid = take_number(&mut rest, 10)?;
        Some(Self { mode, rdev: (major as u32, minor as u32), uid: uid as u32, gid: gid as u32 })
    }

    fn value(&self) -> String {
        let Self { mode, rdev: (major, minor), uid, gid } = self;
        format!("{mode:o} {major},{minor} {uid}:{gid}")
    }

    /// The permissions of the file itself.
    fn visible(&self, is_dir: bool) -> u32 {
        self.mode & 0o777 | if is_dir { 0o700 } else { 0o600 }
    }
}

/// Takes a number that may be negative, with blanks in front.
fn take_number(rest: &mut &[u8], radix: i64) -> Option<i64> {
    *rest = rest.trim_ascii_start();
    let negative = rest.strip_prefix(b"-").inspect(|digits| *rest = digits).is_some();
    let digit = |b: u8| char::from(b).to_digit(radix as u32).map(i64::from);
    let mut number = digit(*rest.first()?)?;
    *rest = &rest[1..];
    while let Some(next) = rest.first().copied().and_then(digit) {
        number = number.checked_mul(radix)?.checked_add(next)?;
        *rest = &rest[1..];
    }
    Some(if negative { -number } else { number })
}

/// What an object is said to be that is in fact `real`.
///
/// # Errors
/// The attribute cannot be read or says nothing that there can be.
pub(crate) fn dressed(dir: BorrowedFd<'_>, of: Of<'_>, real: Meta) -> io::Result<Meta> {
    // Nothing else can have such an attribute.
    if !matches!(real.kind, Kind::File | Kind::Dir) {
        return Ok(real);
    }
    let value = match xattr::value(dir, of, STAT) {
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => None,
        value => value?,
    };
    let Some(value) = value else { return Ok(real) };
    let stored = Stored::parse(&value).filter(|stored| {
        let kind = Kind::of_mode(stored.mode);
        // A directory is one, whatever is said of it, and nothing else is.
        kind.is_some_and(|kind| (kind == Kind::Dir) == (real.kind == Kind::Dir))
    });
    let Stored { mode, rdev, uid, gid } = stored.ok_or_else(corrupt)?;
    let kind = Kind::of_mode(mode).unwrap_or(real.kind);
    let has_size = matches!(kind, Kind::File | Kind::Symlink | Kind::Dir);
    let size = if has_size { real.size } else { 0 };
    let rdev = if kind.is_device() { rdev } else { (0, 0) };
    Ok(Meta { kind, mode, uid, gid, size, rdev, ..real })
}

fn corrupt() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "its attribute user.rsync.%stat is corrupt")
}

/// Sets attributes of what a handle stands for: those of the super-user in the attribute, all others
/// on the object itself.
pub(crate) fn apply(attributes: &Attributes, object: BorrowedFd<'_>) -> io::Result<()> {
    let real = meta::of_stat(&rustix::fs::fstat(object)?)?;
    let Attributes { mode, uid, gid, .. } = *attributes;
    if !matches!(real.kind, Kind::File | Kind::Dir) {
        // It can have no such attribute, and so no other owner.
        let own = Attributes { uid: None, gid: None, ..*attributes };
        own.apply(object)?;
        return if uid.is_some() || gid.is_some() { Err(Errno::PERM.into()) } else { Ok(()) };
    }
    if mode.is_some() || uid.is_some() || gid.is_some() {
        let mut stored = Stored::of(&dressed(object, Of::Dir, real).unwrap_or(real));
        stored.mode = mode.map_or(stored.mode, |mode| stored.mode & TYPE | mode & 0o7777);
        stored.uid = uid.unwrap_or(stored.uid);
        stored.gid = gid.unwrap_or(stored.gid);
        store(&stored, object, &real)?;
    }
    let times = Attributes { mode: None, uid: None, gid: None, ..*attributes };
    times.apply(object)
}

fn store(stored: &Stored, object: BorrowedFd<'_>, real: &Meta) -> io::Result<()> {
    let visible = stored.visible(real.kind == Kind::Dir);
    // First of all: it makes the file writable.
    if real.mode & 0o7777 != visible {
        attributes::set_mode(object, visible)?;
    }
    let itself = Stored { mode: real.mode & TYPE | visible, rdev: (0, 0), ..Stored::of(real) };
    match *stored == itself {
        true => xattr::remove(object, Of::Dir, STAT),
        false => xattr::set(object, Of::Dir, STAT, stored.value().as_bytes()),
    }
}

/// As [`apply`], for the entry `name` of a directory.
pub(crate) fn apply_at(
    attributes: &Attributes,
    dir: BorrowedFd<'_>,
    name: &[u8],
) -> io::Result<()> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let object = openat(dir, name, flags, Mode::empty())?;
    apply(attributes, object.as_fd())
}

/// Makes what is no regular file in its disguise: `content` is the text of a symbolic link.
pub(crate) fn make(file: &File, mode: u32, rdev: (u32, u32), content: &[u8]) -> io::Result<()> {
    file.write_all_at(content, 0)?;
    let real = meta::of_stat(&rustix::fs::fstat(file)?)?;
    store(&Stored { mode, rdev, ..Stored::of(&real) }, file.as_fd(), &real)
}

/// The text of a stored symbolic link.
///
/// # Errors
/// There is no file, or one that is too long to be a link.
pub(crate) fn read_link(dir: BorrowedFd<'_>, name: &[u8]) -> io::Result<Vec<u8>> {
    let file = File::from(open_unasked(|flags| openat(dir, name, flags, Mode::empty()))?);
    let mut text = vec![0; MAX_LINK_LEN + 1];
    let mut len = 0;
    while len < text.len() {
        match file.read_at(&mut text[len..], len as u64)? {
            0 => break,
            count => len += count,
        }
    }
    if len > MAX_LINK_LEN {
        return Err(Errno::NAMETOOLONG.into());
    }
    text.truncate(len);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_attribute_says_is_read_as_written_and_with_blanks() {
        let device = Stored { mode: 0o60_644, rdev: (300, 70_000), uid: 5, gid: 6 };
        assert_eq!(device.value(), "60644 300,70000 5:6");
        for text in ["60644 300,70000 5:6", "  60644   300,70000 5:6 more"] {
            assert_eq!(Stored::parse(text.as_bytes()), Some(device), "{text}");
        }
        let nobody = Stored { mode: 0o100_640, rdev: (0, 0), uid: u32::MAX, gid: u32::MAX - 1 };
        assert_eq!(Stored::parse(b"100640 0,0 -1:-2"), Some(nobody));
        for text in ["", "garbage", "100644 0,0 5", "100644 0 0 5:5", "9 0,0 5:5", "-1 0,0 5:5"] {
            assert_eq!(Stored::parse(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Stored::parse(b"777777777777777777777777 0,0 5:5"), None);
    }
}
