//! What to watch: the operands, the lines of `--fromfile`, and the exclusions among them.

use std::io::{self, Read};
use std::path::Path;
use std::{ffi::OsStr, fs, os::unix::ffi::OsStrExt};

use super::diagnostics::Diagnostics;
use super::{Refusal, reason_of};

/// Paths to watch, and paths that a walk leaves out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Targets {
    /// As they were typed.
    pub watch: Vec<Vec<u8>>,
    /// Without a slash at the end.
    pub exclude: Vec<Vec<u8>>,
}

impl Targets {
    /// Takes the lines of a file first, then the operands. A file that cannot be read is said, and
    /// the operands alone are watched.
    ///
    /// # Errors
    /// When nothing is left to watch.
    pub fn collect(file: Option<&[u8]>, operands: &[Vec<u8>]) -> Result<Self, Refusal> {
        let mut targets = Self::default();
        if let Some(name) = file
            && let Err(error) = targets.add_file(name)
        {
            Diagnostics::Stderr.say_failed("Couldn't open", name, &reason_of(&error));
        }
        operands.iter().for_each(|operand| targets.add(operand));
        if targets.watch.is_empty() {
            return Err(Refusal::line("No files specified to watch!"));
        }
        Ok(targets)
    }

    /// Takes one path: with `@` in front it is left out.
    pub fn add(&mut self, path: &[u8]) {
        match path {
            [b'@'] => {}
            [b'@', excluded @ ..] => {
                let bare = excluded.strip_suffix(b"/").unwrap_or(excluded);
                self.exclude.push(bare.to_vec());
            }
            _ => self.watch.push(path.to_vec()),
        }
    }

    /// Takes each line that is not empty.
    pub fn add_lines(&mut self, text: &[u8]) {
        text.split(|&b| b == b'\n').filter(|line| !line.is_empty()).for_each(|line| self.add(line));
    }

    /// Takes the lines of a file, or of standard input when it is called `-`.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub fn add_file(&mut self, name: &[u8]) -> io::Result<()> {
        let mut text = Vec::new();
        if name == b"-" {
            io::stdin().lock().read_to_end(&mut text)?;
        } else {
            text = fs::read(Path::new(OsStr::from_bytes(name)))?;
        }
        self.add_lines(&text);
        Ok(())
    }

    /// Whether a walk leaves out the directory, given without a slash at the end.
    pub fn excludes(&self, path: &[u8]) -> bool {
        self.exclude.iter().any(|excluded| excluded == path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_paths_and_an_at_sign_excludes() {
        let mut targets = Targets::default();
        targets.add_lines(b"a b\n\n@a b/skip/\n#c\n@\n./@d");
        assert_eq!(targets.watch, [&b"a b"[..], b"#c", b"./@d"]);
        assert!(targets.excludes(b"a b/skip") && !targets.excludes(b"./a b/skip"));
    }
}
