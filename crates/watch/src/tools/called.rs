//! Which tool was called, under which name, with which back end.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::help::BACKENDS;
use super::refusal::Refusal;
use super::{statistics, wait};

/// One of the tools.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// `inotifywait`: prints events.
    InotifyWait,
    /// `inotifywatch`: counts events.
    InotifyWatch,
    /// `inotifywait` on fanotify.
    FsnotifyWait,
    /// `inotifywatch` on fanotify.
    FsnotifyWatch,
}

impl Tool {
    const ALL: [Self; 4] =
        [Self::InotifyWait, Self::InotifyWatch, Self::FsnotifyWait, Self::FsnotifyWatch];

    /// The tool that a program is called by: the last part of its path counts.
    pub fn of_program(path: &OsStr) -> Option<Self> {
        let base = path.as_bytes().rsplit(|&b| b == b'/').next()?;
        Self::ALL.into_iter().find(|tool| tool.name().as_bytes() == base)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::InotifyWait => "inotifywait",
            Self::InotifyWatch => "inotifywatch",
            Self::FsnotifyWait => "fsnotifywait",
            Self::FsnotifyWatch => "fsnotifywatch",
        }
    }

    /// Runs it under the name `program`, which complaints about options begin with, and returns the
    /// exit code.
    pub fn run(self, program: &OsStr, words: impl Iterator<Item = OsString>) -> u8 {
        let called = Called {
            tool: self,
            program: program.as_bytes().to_vec(),
            backend: match self {
                Self::InotifyWait | Self::InotifyWatch => Backend::Inotify,
                Self::FsnotifyWait | Self::FsnotifyWatch => Backend::Fanotify,
            },
            filesystem: false,
        };
        let words = words.map(OsString::into_vec).collect();
        match self {
            Self::InotifyWait | Self::FsnotifyWait => wait::run(called, words),
            Self::InotifyWatch | Self::FsnotifyWatch => statistics::run(called, words),
        }
    }
}

/// How events are learned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// A watch on each directory.
    Inotify,
    /// Marks with file handles.
    Fanotify,
}

/// How the tool was called.
#[derive(Debug, Clone)]
pub struct Called {
    tool: Tool,
    program: Vec<u8>,
    backend: Backend,
    filesystem: bool,
}

impl Called {
    /// The tool's own name.
    pub fn name(&self) -> &'static str {
        self.tool.name()
    }

    /// The name it was called by.
    pub fn program(&self) -> &[u8] {
        &self.program
    }

    /// How events are learned.
    pub fn backend(&self) -> Backend {
        self.backend
    }

    /// Whether the whole file system is watched.
    pub fn is_filesystem(&self) -> bool {
        self.filesystem
    }

    /// The lines of the help about back ends, for the names that have a choice by tradition.
    pub fn help_backends(&self) -> &'static str {
        match self.tool {
            Tool::InotifyWait | Tool::InotifyWatch => "",
            Tool::FsnotifyWait | Tool::FsnotifyWatch => BACKENDS,
        }
    }

    /// `-I`
    pub fn choose_inotify(&mut self) {
        self.backend = Backend::Inotify;
    }

    /// `-F`
    pub fn choose_fanotify(&mut self) {
        self.backend = Backend::Fanotify;
    }

    /// `-S`
    pub fn choose_filesystem(&mut self) {
        self.backend = Backend::Fanotify;
        self.filesystem = true;
    }

    /// Checks what was chosen.
    ///
    /// # Errors
    /// For `-S` together with a later `-I`.
    pub fn check(&self) -> Result<(), Refusal> {
        if self.filesystem && self.backend == Backend::Inotify {
            return Err(Refusal::line("-S and -I cannot both be specified."));
        }
        Ok(())
    }
}
