//! What a session asks of its caller, on the session's thread.

use std::io;

use driftless_proto::item::{Item, ItemFlags};
use driftless_proto::stats::Stats;
use driftless_tree::flist::Entry;
use driftless_tree::{Kind, RelPath};

use crate::handover::Handed;
use crate::options::ChecksumKind;
use crate::push::{Outcome, Problem};

/// An entry of the session's file list, as callbacks name it.
#[derive(Debug, Clone, Copy)]
pub struct Listed<'a> {
    /// What was listed.
    pub entry: &'a Entry,
    /// In [`crate::push_list`] the place in the caller's vector; in [`crate::push_tree`] the
    /// number on the wire, unique in the session.
    pub index: usize,
    /// The number on the wire.
    pub ndx: u32,
}

impl Listed<'_> {
    /// The path below the root, `None` for the root itself.
    pub fn path(&self) -> Option<RelPath> {
        RelPath::parse(&self.entry.name).ok()
    }
}

/// The caller of a push.
pub trait Driver {
    /// Hands out the content that the receiving side asked for, or refuses: then the peer is told
    /// that the file is not coming (it keeps its old version) and the session goes on.
    ///
    /// # Errors
    /// The refusal.
    fn open(&mut self, item: &Listed<'_>) -> Result<Box<dyn Content>, Refusal>;

    /// The receiving side acknowledged this entry as finished (only with acknowledgements on).
    fn applied(&mut self, item: &Listed<'_>);

    /// A request for content was answered. Says nothing about what the peer made of it.
    fn sent(&mut self, item: &Listed<'_>, outcome: SentOutcome);

    /// The receiving side looked at this entry and found it different, or, with
    /// [`ItemChange::wants_content`], asks for its content. Says nothing about success.
    fn item(&mut self, _item: &Listed<'_>, _change: ItemChange) {}

    /// As [`Driver::item`], with the whole of what was said. `again`: its content was sent before,
    /// and did not pass verification.
    fn item_with_name(&mut self, item: &Listed<'_>, said: &Item, _again: bool) {
        self.item(item, ItemChange(said.flags));
    }

    /// So many bytes of this entry's content are done.
    fn progress(&mut self, _item: &Listed<'_>, _offset: u64) {}

    /// A request for content was answered, told with what it took; before [`Driver::sent`].
    fn answered(&mut self, _item: &Listed<'_>, _answered: &Answered<'_>) {}

    /// The value of the entry's extended attribute of this name, of which the list has the digest
    /// only. `None`: it cannot be read any more.
    fn xattr_value(&mut self, _item: &Listed<'_>, _name: &[u8]) -> Option<Vec<u8>> {
        None
    }

    /// What a server tells its client at the end.
    fn statistics(&mut self, _outcome: &Outcome, read_bytes: u64, written_bytes: u64) -> Stats {
        let (read_bytes, written_bytes) = (read_bytes as i64, written_bytes as i64);
        Stats { read_bytes, written_bytes, ..Stats::default() }
    }

    /// On a server: what is to be told the client, in order.
    fn take_texts(&mut self) -> Vec<(Level, Vec<u8>)> {
        Vec::new()
    }

    /// The source could not list this.
    fn unlisted(&mut self, _problem: &Problem) {}

    /// The receiving side deleted `name`.
    fn deleted(&mut self, name: &[u8], is_dir: bool);

    /// The peer says something; `text` without its final newline.
    fn message(&mut self, level: Level, text: &[u8]);

    /// `true` abandons the session at the next opportunity. Polled between steps and while
    /// waiting, at least ten times a second.
    fn cancelled(&self) -> bool;
}

/// The bytes of one file as it was when it was opened.
pub trait Content {
    /// How many bytes will be sent.
    fn len(&self) -> u64;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes from `offset` on, as many as are at hand; empty only at the end of the file.
    ///
    /// # Errors
    /// When the disk fails; the answer is then spoiled.
    fn chunk(&mut self, offset: u64) -> io::Result<&[u8]>;

    /// All of it for a receiver in this process, which does without [`Content::chunk`] then; `None`
    /// where there is no such way.
    ///
    /// # Errors
    /// When the disk fails.
    #[doc(hidden)]
    fn hand_over(&mut self) -> io::Result<Option<Handed>> {
        Ok(None)
    }

    /// Asked once after the last byte: whether what was handed out is one version of the file.
    fn unchanged(&mut self) -> bool;

    /// The unseeded digest of all `len` bytes, if known already.
    fn digest(&mut self, _kind: ChecksumKind) -> Option<Vec<u8>> {
        None
    }

    /// Offers the digest that the session computed over all `len` bytes of an unchanged file.
    fn keep_digest(&mut self, _kind: ChecksumKind, _digest: &[u8]) {}
}

/// What an answer took.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// The request.
    pub item: &'a Item,
    /// Bytes written for it.
    pub data_bytes: u64,
    /// Bytes of sums that were read for it.
    pub sum_bytes: u64,
    /// The digest that was sent, as people read it.
    pub digest: &'a [u8],
}

/// Why content is not handed out.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It is not there any more.
    #[error("it vanished")]
    Vanished,
    /// It is not what was listed.
    #[error("it changed after it was listed")]
    Changed,
    /// Somebody has it open for writing.
    #[error("it is being written")]
    BeingWritten,
    /// A version that changed while it was read was spoiled, and the peer asks again.
    #[error("it changed while it was read")]
    Spoiled,
    /// The caller does not want to send it now.
    #[error("it is held back")]
    HeldBack,
    /// The disk.
    #[error("it cannot be opened")]
    Io(#[from] io::Error),
}

/// What the receiving side reports about an entry. Protocol reference, "Item attributes".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ItemChange(pub u16);

impl ItemChange {
    /// Content is requested.
    pub fn wants_content(self) -> bool {
        self.has(ItemFlags::TRANSFER)
    }

    /// It did not exist.
    pub fn is_new(self) -> bool {
        self.has(ItemFlags::IS_NEW)
    }

    /// The content differs: a file's bytes or size, a symbolic link's text, a device's number.
    pub fn differs_in_content(self, kind: Option<Kind>) -> bool {
        let other_size = kind == Some(Kind::File) && self.has(ItemFlags::REPORT_SIZE);
        self.wants_content() || other_size || self.has(ItemFlags::REPORT_CHANGE)
    }

    /// It is made another name of an inode that has one.
    pub fn is_linked(self) -> bool {
        self.has(ItemFlags::LOCAL_CHANGE | ItemFlags::XNAME_FOLLOWS)
    }

    /// The permissions differ.
    pub fn differs_in_mode(self) -> bool {
        self.has(ItemFlags::REPORT_PERMS)
    }

    /// The owner differs.
    pub fn differs_in_owner(self) -> bool {
        self.has(ItemFlags::REPORT_OWNER)
    }

    /// The group differs.
    pub fn differs_in_group(self) -> bool {
        self.has(ItemFlags::REPORT_GROUP)
    }

    /// The modification time differs.
    pub fn differs_in_time(self) -> bool {
        self.has(ItemFlags::REPORT_TIME)
    }

    /// The ACL differs.
    pub fn differs_in_acl(self) -> bool {
        self.has(ItemFlags::REPORT_ACL)
    }

    /// Extended attributes differ.
    pub fn differs_in_xattrs(self) -> bool {
        self.has(ItemFlags::REPORT_XATTR)
    }

    fn has(self, flags: u16) -> bool {
        self.0 & flags == flags
    }
}

/// What became of an answer.
#[derive(Debug)]
pub enum SentOutcome {
    /// Complete and of one version.
    Sent,
    /// It changed, or the disk failed, while it was read: the checksum was spoiled on purpose, so
    /// the peer discards it; when it asks again it is refused.
    Spoiled,
    /// Nothing was sent.
    Refused(Refusal),
}

/// Weight of a peer's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// The daemon's message of the day.
    Motd,
    /// For information.
    Info,
    /// A warning.
    Warning,
    /// An error that does not make the transfer partial.
    Error,
    /// An error that makes the transfer partial (exit code 23).
    ErrorXfer,
}
