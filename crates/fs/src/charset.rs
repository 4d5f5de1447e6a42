//! Names in another character set: conversion by the C library, which knows what rsync's `--iconv`
//! is given.

use crate::sys;
use std::ffi::CString;
use std::io;

/// A conversion from one character set to another.
#[derive(Debug)]
pub struct Charset(sys::Conversion);

/// Bytes that the character set does not have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unconvertible;

impl Charset {
    /// The conversion from `from` to `to`, names as the C library knows them; an empty one is the
    /// locale's.
    ///
    /// # Errors
    /// The C library does not know one of them.
    pub fn new(from: &[u8], to: &[u8]) -> io::Result<Self> {
        let name = |name: &[u8]| {
            CString::new(name).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))
        };
        sys::Conversion::open(&name(to)?, &name(from)?).map(Self)
    }

    /// Converts a whole name.
    ///
    /// # Errors
    /// It does not have a form in the other character set.
    pub fn convert(&mut self, name: &[u8]) -> Result<Vec<u8>, Unconvertible> {
        // Four bytes for each is what any character set needs at most.
        let mut output = vec![0; name.len() * 4 + 16];
        let len = self.0.convert(name, &mut output).ok_or(Unconvertible)?;
        output.truncate(len);
        Ok(output)
    }
}

/// The character set of the locale that the environment names.
pub fn of_locale() -> Vec<u8> {
    sys::locale_charset()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_converted_there_and_back() {
        let mut there = Charset::new(b"ISO-8859-1", b"UTF-8").unwrap();
        let mut back = Charset::new(b"UTF-8", b"ISO-8859-1").unwrap();
        assert_eq!(there.convert(b"gr\xfc\xdfe").unwrap(), "grüße".as_bytes());
        assert_eq!(back.convert("grüße".as_bytes()).unwrap(), b"gr\xfc\xdfe");
        assert_eq!(back.convert("日本".as_bytes()), Err(Unconvertible));
        assert_eq!(back.convert(b"gr\xfc"), Err(Unconvertible));
        assert_eq!(back.convert("grüße".as_bytes()).unwrap(), b"gr\xfc\xdfe", "after an error");
        assert_eq!(there.convert(b"").unwrap(), b"");
    }

    #[test]
    fn an_unknown_character_set_is_an_error() {
        assert!(Charset::new(b"UTF-8", b"no-such-set").is_err());
        assert!(Charset::new(b"UTF\0-8", b"UTF-8").is_err());
    }
}
