//! Names of files below a root.

use std::fmt;

/// The longest path rsync accepts in a file list, in bytes.
pub const MAX_PATH_LEN: usize = 4095;

/// A path below a transfer root: never empty or absolute, no `.` or `..` component, no NUL.
///
/// Bytes, because file names are bytes. The order is plain byte order, which keeps everything below
/// a directory adjacent in a `BTreeMap`; the order of file lists is [`crate::flist::compare`]. The
/// root itself is not a `RelPath`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RelPath(Box<[u8]>);

/// Why bytes are not a path below a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadPath {
    /// Empty, absolute, or with `//` or a trailing slash.
    #[error("a component is empty")]
    EmptyComponent,
    /// A `.` or `..` component.
    #[error("a component is '.' or '..'")]
    DotComponent,
    /// A NUL byte.
    #[error("it contains a NUL byte")]
    Nul,
    /// More than [`MAX_PATH_LEN`] bytes.
    #[error("it is longer than {MAX_PATH_LEN} bytes")]
    TooLong,
}

impl RelPath {
    /// Checks raw bytes and keeps them.
    ///
    /// # Errors
    /// The first rule that the bytes break.
    pub fn parse(raw: &[u8]) -> Result<Self, BadPath> {
        Self::check(raw)?;
        Ok(Self(raw.into()))
    }

    /// Checks raw bytes.
    ///
    /// # Errors
    /// The first rule that the bytes break.
    pub fn check(raw: &[u8]) -> Result<(), BadPath> {
        if raw.len() > MAX_PATH_LEN {
            return Err(BadPath::TooLong);
        }
        let mut start = 0;
        for (at, &byte) in raw.iter().enumerate() {
            match byte {
                b'/' => {
                    check_component(&raw[start..at])?;
                    start = at + 1;
                }
                0 => return Err(BadPath::Nul),
                _ => {}
            }
        }
        check_component(&raw[start..])
    }

    /// The bytes, components separated by `/`.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The path of `name` in the directory `parent`, where `None` is the root.
    ///
    /// # Errors
    /// As for [`RelPath::parse`].
    pub fn child(parent: Option<&RelPath>, name: &[u8]) -> Result<Self, BadPath> {
        match parent {
            None => Self::parse(name),
            Some(dir) => dir.join(name),
        }
    }

    /// This directory's child (or deeper descendant) `rest`.
    ///
    /// # Errors
    /// As for [`RelPath::parse`].
    pub fn join(&self, rest: &[u8]) -> Result<Self, BadPath> {
        let len = self.0.len() + 1 + rest.len();
        if len > MAX_PATH_LEN {
            return Err(BadPath::TooLong);
        }
        Self::check(rest)?;
        let mut raw = Vec::with_capacity(len);
        raw.extend_from_slice(&self.0);
        raw.push(b'/');
        raw.extend_from_slice(rest);
        Ok(Self(raw.into()))
    }

    /// The directory that holds it; `None` when that is the root.
    pub fn parent(&self) -> Option<RelPath> {
        let slash = self.0.iter().rposition(|&b| b == b'/')?;
        Some(Self(self.0[..slash].into()))
    }

    /// The last component.
    pub fn file_name(&self) -> &[u8] {
        match self.0.iter().rposition(|&b| b == b'/') {
            Some(slash) => &self.0[slash + 1..],
            None => &self.0,
        }
    }

    /// The directories above it, outermost first, without the root and without itself.
    pub fn ancestors(&self) -> impl Iterator<Item = RelPath> + '_ {
        self.0
            .iter()
            .enumerate()
            .filter(|&(_, &b)| b == b'/')
            .map(|(at, _)| Self(self.0[..at].into()))
    }

    /// Whether it lies strictly below the directory `dir`.
    pub fn is_below(&self, dir: &RelPath) -> bool {
        self.0.len() > dir.0.len() && self.0[dir.0.len()] == b'/' && self.0.starts_with(&dir.0)
    }

    /// What remains of it below `dir`; `None` unless [`RelPath::is_below`].
    pub fn strip(&self, dir: &RelPath) -> Option<&[u8]> {
        self.is_below(dir).then(|| &self.0[dir.0.len() + 1..])
    }

    /// The same path with its leading directory `from` replaced by `to`; `None` when it is neither
    /// `from` nor below it.
    pub fn rebase(&self, from: &RelPath, to: &RelPath) -> Option<RelPath> {
        if self == from {
            return Some(to.clone());
        }
        to.join(self.strip(from)?).ok()
    }
}

fn check_component(name: &[u8]) -> Result<(), BadPath> {
    match name {
        b"" => Err(BadPath::EmptyComponent),
        b"." | b".." => Err(BadPath::DotComponent),
        _ => Ok(()),
    }
}

/// For people: bytes that are no printable UTF-8 appear as `\#ooo`, as rsync prints them.
impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.0))
    }
}

impl fmt::Debug for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Bytes from a peer or a directory as one safe line of text: control bytes and bytes that are no
/// UTF-8 become `\#` and three octal digits.
pub fn printable(raw: &[u8]) -> String {
    use fmt::Write;
    let mut out = String::with_capacity(raw.len());
    for chunk in raw.utf8_chunks() {
        for c in chunk.valid().chars() {
            if c.is_control() {
                for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(out, "\\#{byte:03o}");
                }
            } else {
                out.push(c);
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(out, "\\#{byte:03o}");
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_paths_below_a_root_are_paths() {
        for (raw, wrong) in [
            (&b""[..], BadPath::EmptyComponent),
            (b"/a", BadPath::EmptyComponent),
            (b"a//b", BadPath::EmptyComponent),
            (b"a/", BadPath::EmptyComponent),
            (b"a/../b", BadPath::DotComponent),
            (b".", BadPath::DotComponent),
            (b"a\0b", BadPath::Nul),
            (&[b'x'; MAX_PATH_LEN + 1], BadPath::TooLong),
        ] {
            assert_eq!(RelPath::parse(raw), Err(wrong), "{raw:?}");
        }
        assert!(RelPath::parse(b"a/...b/\xff").is_ok());
    }

    #[test]
    fn a_path_knows_its_place() {
        let path = RelPath::parse(b"a/b/c").unwrap();
        let dir = RelPath::parse(b"a/b").unwrap();
        assert_eq!(path.parent(), Some(dir.clone()));
        assert_eq!(path.file_name(), b"c");
        assert_eq!(path.strip(&dir), Some(&b"c"[..]));
        assert!(!RelPath::parse(b"a/bc").unwrap().is_below(&dir));
        let names: Vec<_> = path.ancestors().map(|p| p.as_bytes().to_vec()).collect();
        assert_eq!(names, [b"a".to_vec(), b"a/b".to_vec()]);
        let moved = path.rebase(&dir, &RelPath::parse(b"z").unwrap()).unwrap();
        assert_eq!(moved.as_bytes(), b"z/c");
    }

    #[test]
    fn text_for_people_is_one_safe_line() {
        assert_eq!(printable(b"a\nb\xff\xc3\xa9\x1b"), "a\\#012b\\#377\u{e9}\\#033");
    }
}
