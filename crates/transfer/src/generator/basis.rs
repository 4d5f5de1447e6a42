//! What the delta of a file builds on.

use std::io;

use driftless_fs::SourceFile;
use driftless_tree::flist::Entry;

use crate::receiver::Session;
use crate::receiver::lists::{leaf_of, parent_of};

/// A file that has blocks of the new content. Protocol reference, "Item attributes".
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum BasisChoice {
    /// The file itself, if there is one.
    Destination,
    /// What an earlier transfer left in the partial directory.
    Partial,
    /// The backup that was just made of it.
    Backup,
    /// The file of the same name in this alternate directory.
    Alternate(u8),
    /// A file of this name beside it.
    Fuzzy(Box<[u8]>),
    /// A file of this name in the same directory of this alternate directory.
    AlternateFuzzy(u8, Box<[u8]>),
}

impl BasisChoice {
    /// The type as items carry it.
    pub(crate) fn wire(&self) -> Option<u8> {
        match self {
            Self::Destination => None,
            Self::Partial => Some(0x81),
            Self::Backup => Some(0x82),
            Self::Alternate(at) => Some(*at),
            Self::Fuzzy(_) => Some(0x83),
            Self::AlternateFuzzy(at, _) => Some(0x84 + at),
        }
    }

    /// What an item means; `None`: nothing that there can be, with so many alternate directories.
    pub(crate) fn of_item(wire: Option<u8>, xname: Option<&[u8]>, known: usize) -> Option<Self> {
        let is_leaf = |name: &&[u8]| {
            !matches!(*name, b"" | b"." | b"..") && !name.contains(&b'/') && !name.contains(&0)
        };
        let name = xname.filter(is_leaf).map(Into::into);
        let exists = |at: &u8| usize::from(*at) < known;
        match wire {
            None | Some(0x80) => Some(Self::Destination),
            Some(0x81) => Some(Self::Partial),
            Some(0x82) => Some(Self::Backup),
            Some(0x83) => name.map(Self::Fuzzy),
            Some(fuzzy @ 0x84..) => Some(fuzzy - 0x84)
                .filter(exists)
                .zip(name)
                .map(|(at, name)| Self::AlternateFuzzy(at, name)),
            Some(at) => Some(at).filter(exists).map(Self::Alternate),
        }
    }

    /// The name that items carry with it.
    pub(crate) fn xname(&self) -> Option<&[u8]> {
        match self {
            Self::Fuzzy(name) | Self::AlternateFuzzy(_, name) => Some(name),
            _ => None,
        }
    }
}

impl Session<'_> {
    /// Opens a basis that was chosen for the entry.
    pub(crate) fn open_basis(
        &mut self,
        entry: &Entry,
        choice: &BasisChoice,
    ) -> io::Result<SourceFile> {
        let name = self.name_of(entry);
        let (dir, leaf) = (parent_of(&name), leaf_of(&name));
        match choice {
            BasisChoice::Destination => self.folder(dir)?.open_file(leaf),
            BasisChoice::Fuzzy(other) => self.folder(dir)?.open_file(other),
            BasisChoice::Partial => self.partial_folder(dir)?.open_file(leaf),
            BasisChoice::Backup => {
                let (folder, name) = self.backup_place(&name)?;
                folder.open_file(&name)
            }
            BasisChoice::Alternate(at) => {
                self.alternate_folder(usize::from(*at), dir)?.open_file(leaf)
            }
            BasisChoice::AlternateFuzzy(at, other) => {
                self.alternate_folder(usize::from(*at), dir)?.open_file(other)
            }
        }
    }
}
