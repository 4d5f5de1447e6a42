//! What a session tells its caller, on either end and in either role.
//!
//! [`Report`] only listens: nothing in a session depends on what it does, except that it may end
//! the session ([`Report::cancelled`]). All methods have empty defaults, and what is handed over is
//! borrowed, so a session that nobody listens to pays for calls that do nothing. Whatever costs
//! more, texts above all, is made only where `TransferOptions::talk` asks for it.
//!
//! A server speaks to its client through the session: texts become frames there, and its own
//! `Report` hears the same (for a log file).
//!
//! [`crate::Driver`] is the trait of mirrors, which hand out content themselves and must learn what
//! became of each entry; only `push_list` and `push_tree` know it.

use std::time::Duration;

use driftless_tree::flist::Entry;

use driftless_filter::Reason;
pub use driftless_proto::item::ItemFlags;
use driftless_proto::setup::ChecksumKind;
pub use driftless_proto::stats::DelStats;

use crate::driver::Level;
use crate::error::PushError;

/// The caller of a session.
pub trait Report {
    /// An entry differs at the destination, or is to be reported although it does not: the
    /// generator's flags, before content moves. On a sender that is when the request was read.
    fn item(&mut self, _item: &Item<'_>) {}

    /// Content of an item with [`ItemFlags::TRANSFER`] went over: on a sender all was written, on a
    /// receiver the file is in place (or was discarded).
    fn transferred(&mut self, _item: &Item<'_>, _transfer: &Transferred<'_>) {}

    /// `name` is gone from the destination (in a dry run it would be).
    fn deleted(&mut self, _name: &[u8], _is_dir: bool) {}

    /// The generator found this entry equal, or skips it: only with `info.name` of 2 or more, or
    /// `itemize` at `All`, and only on the side that decides.
    fn up_to_date(&mut self, _entry: &Entry) {}

    /// A text, without its final newline.
    fn message(&mut self, _message: &Message<'_>) {}

    /// The lists have digests of this kind, which people may read.
    fn list_digests(&mut self, _kind: ChecksumKind) {}

    /// Lists are being made or received.
    fn listing(&mut self, _progress: ListProgress) {}

    /// One entry of a listing (`--list-only`), in the order of the list.
    fn listed(&mut self, _entry: &Entry) {}

    /// The line for that entry where a client wants to see it, and this is the server.
    fn listing_line(&self, _entry: &Entry) -> Option<Vec<u8>> {
        None
    }

    /// Content moves. At most about every 100 ms while a file is under way, and once at its end.
    fn progress(&mut self, _progress: &Progress<'_>) {}

    /// What a server says last to a client that it leaves because of `error`, behind the text of the
    /// error itself; lines without the final newline.
    fn farewell(&mut self, _error: &PushError) -> Option<String> {
        None
    }

    /// `true` ends the session at the next opportunity. Polled between steps and while waiting, at
    /// least ten times a second.
    fn cancelled(&self) -> bool {
        false
    }
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quiet;

impl Report for Quiet {}

/// An entry and what the generator says about it.
#[derive(Debug, Clone, Copy)]
pub struct Item<'a> {
    /// What is listed; the mode is the one that is applied (after `--chmod`), and owner and group
    /// are those of this side.
    pub entry: &'a Entry,
    /// Bits of [`ItemFlags`].
    pub flags: u16,
    /// What it is hard-linked to, or the name of a fuzzy basis; empty where it already was linked.
    pub xname: Option<&'a [u8]>,
    /// Which way content goes, as seen from here.
    pub direction: Direction,
    /// On the sender: the path of the argument that the entry's name is relative to, as it was
    /// given, without a slash at its end; empty when there is none.
    pub source_dir: &'a [u8],
    /// The group is one that this side may give; always so on the sender.
    pub gives_group: bool,
}

/// Which way content goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the other side.
    Sent,
    /// To this side; also within one machine.
    Received,
}

/// One file's content that went over.
#[derive(Debug, Clone, Copy)]
pub struct Transferred<'a> {
    /// Bytes of the data direction that this file took (tokens and their framing).
    pub data_bytes: u64,
    /// Bytes of the other direction (block sums).
    pub sum_bytes: u64,
    /// The whole-file digest, as people read it; empty when there is none.
    pub digest: &'a [u8],
    /// The receiving side took it: `false` when its digest did not match, and it is to be sent
    /// again or is given up. A sender does not know and says `true`.
    pub accepted: bool,
}

/// A text for a person.
#[derive(Debug, Clone, Copy)]
pub struct Message<'a> {
    /// Its weight; errors go to standard error and into the exit code.
    pub level: Level,
    /// Who says it.
    pub origin: Origin,
    /// Without the final newline, in rsync's words and with its prefix (`rsync: [sender] …`) where
    /// rsync has one.
    pub text: &'a [u8],
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// This side.
    Here,
    /// The other side, through the session.
    Peer,
}

/// The role that rsync names in brackets in its messages and last line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// A client before its role is known.
    Client,
    /// A server before its role is known.
    Server,
    /// Sends content.
    Sender,
    /// Receiving side before generator and receiver part.
    ReceivingSide,
    /// Writes content.
    Receiver,
    /// Decides and requests.
    Generator,
}

/// Why a rule decides about a name, as `-vv` tells it.
pub(crate) fn told_reason(
    role: Role,
    act: &str,
    name: &[u8],
    is_dir: bool,
    reason: &Reason<'_>,
) -> Vec<u8> {
    let kind = if is_dir { "directory" } else { "file" };
    let start = format!("[{}] {act} {kind} ", role.name());
    [start.as_bytes(), name, b" because of pattern ", &reason.text()].concat()
}

impl Role {
    /// The word between the brackets.
    pub fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Sender => "sender",
            Self::ReceivingSide => "Receiver",
            Self::Receiver => "receiver",
            Self::Generator => "generator",
        }
    }
}

/// How far lists are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListProgress {
    /// The first list begins.
    Started {
        /// More lists follow as they are needed.
        incremental: bool,
        /// Made here, or received.
        direction: Direction,
    },
    /// So many entries in the first list so far; every hundred, only with `info.flist` of 2.
    Counted(u64),
    /// The first list is complete, with so many entries.
    Complete(u64),
}

/// Where content is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// The file.
    pub entry: &'a Entry,
    /// Bytes of it that are done, wherever they came from.
    pub offset: u64,
    /// Its size.
    pub len: u64,
    /// This file is done.
    pub finished: bool,
    /// All files together.
    pub overall: Overall,
}

/// Where a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Overall {
    /// Bytes of content that are done, of all files so far.
    pub done_bytes: u64,
    /// Sum of the sizes in all lists so far.
    pub total_bytes: u64,
    /// Files whose content was transferred, this one included.
    pub transferred_count: u64,
    /// Entries that are still to be looked at.
    pub remaining_count: u64,
    /// Entries in all lists so far.
    pub listed_count: u64,
    /// No more lists follow.
    pub lists_complete: bool,
}

/// How many of each type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct KindCounts {
    /// Regular files.
    pub files: u64,
    /// Directories.
    pub dirs: u64,
    /// Symbolic links.
    pub symlinks: u64,
    /// Devices.
    pub devices: u64,
    /// Fifos and sockets.
    pub specials: u64,
}

impl KindCounts {
    /// All together.
    pub fn total(&self) -> u64 {
        let Self { files, dirs, symlinks, devices, specials } = *self;
        [files, dirs, symlinks, devices, specials].iter().fold(0, |sum, n| sum.saturating_add(*n))
    }

    /// Counts one entry of this mode; other modes count nowhere.
    pub fn count(&mut self, mode: u32) {
        use driftless_tree::Kind;
        match Kind::of_mode(mode) {
            Some(Kind::File) => self.files += 1,
            Some(Kind::Dir) => self.dirs += 1,
            Some(Kind::Symlink) => self.symlinks += 1,
            Some(Kind::CharDevice | Kind::BlockDevice) => self.devices += 1,
            Some(Kind::Fifo | Kind::Socket) => self.specials += 1,
            None => {}
        }
    }
}

/// Everything that `--stats` prints; part of what a session returns. A client has the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Statistics {
    /// Entries of all lists.
    pub listed: KindCounts,
    /// Entries that did not exist at the destination. `None` before protocol 29.
    pub created: Option<KindCounts>,
    /// Names deleted at the destination. `None` before protocol 31.
    pub deleted: Option<KindCounts>,
    /// Regular files whose content was transferred.
    pub transferred_count: u64,
    /// Sum of the sizes in the lists.
    pub total_size: u64,
    /// Sum of the sizes of transferred files.
    pub transferred_size: u64,
    /// Content that travelled as such.
    pub literal_bytes: u64,
    /// Content that the receiving side had.
    pub matched_bytes: u64,
    /// Bytes that the lists took on the wire.
    pub list_bytes: u64,
    /// Time spent on making the lists.
    pub list_build: Duration,
    /// Time spent on sending them.
    pub list_transfer: Duration,
    /// Bytes this side wrote to the connection.
    pub bytes_sent: u64,
    /// Bytes this side read from it.
    pub bytes_received: u64,
    /// Blocks found (`matches` of the search).
    pub match_count: u64,
    /// Rolling sums that were in the table (`hash_hits`).
    pub hash_hits: u64,
    /// Of these, with another strong sum (`false_alarms`).
    pub false_alarms: u64,
}

impl Statistics {
    /// How much of what was sent the other side had: a line of `--debug=deltasum`.
    pub fn match_totals(&self) -> String {
        format!(
            "total: matches={}  hash_hits={}  false_alarms={} data={}",
            self.match_count, self.hash_hits, self.false_alarms, self.literal_bytes
        )
    }
}
