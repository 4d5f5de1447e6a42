//! The two ways to push over a daemon connection, and what comes of it.

use std::io;
use std::rc::Rc;
use std::time::Duration;

use driftless_proto::stats::DelStats;
use driftless_tree::RelPath;
use driftless_tree::flist::Entry;
use zeroize::Zeroizing;

use crate::attempt::Attempt;
use crate::connect::url::DaemonUrl;
use crate::driver::Driver;
use crate::error::PushFailure;
use crate::options::{ChecksumKind, TransferOptions};
use crate::sender::partial;
use crate::sender::walk::Walk;
use crate::server_args::{NANOSECONDS_FROM, PushKind};

/// A daemon and who we are to it.
#[derive(Clone)]
pub struct Peer {
    /// Where.
    pub url: DaemonUrl,
    /// The user when the URL names none.
    pub default_user: String,
    /// Answered only when the daemon asks.
    pub password: Option<Zeroizing<Vec<u8>>>,
}

/// A partial session: an explicit list, not recursive, with relative names, where an entry of mode
/// 0 deletes (stock-lane base session).
///
/// Parents of listed paths should be listed before the session; directories are listed with
/// `dir.no_content` so that nothing in them is looked at.
#[derive(Debug, Clone, Default)]
pub struct ListPush {
    /// In any order. Hard-link groups: [`driftless_tree::flist::HardLink::First`], and `Follows`
    /// with the *place in this vector* of the group's first entry, which must come earlier.
    pub entries: Vec<Entry>,
    /// Equal size is equal content (`--size-only`).
    pub size_only: bool,
    /// Nothing is equal (`-I`).
    pub ignore_times: bool,
    /// A missing argument or a non-directory replaces a full directory (`--force`).
    pub force: bool,
    /// Ask for [`Driver::applied`].
    pub acknowledgements: bool,
    /// The list holds missing arguments (`--delete-missing-args`).
    pub missing_args: bool,
    /// `Some`: `--delete`, which carries these rules; harmless as long as no listed directory is
    /// content-flagged.
    pub filter_texts: Option<Vec<Vec<u8>>>,
}

/// A full pass: recursive unless `shallow`, with incremental recursion when the daemon agrees.
#[derive(Debug, Clone, Default)]
pub struct TreePush {
    /// Delete what the source does not have.
    pub delete: bool,
    /// With `delete`, what rules exclude goes too.
    pub delete_excluded: bool,
    /// Delete although a source directory could not be read.
    pub ignore_errors: bool,
    /// Most deletions, when limited.
    pub max_delete: Option<u64>,
    /// A non-directory replaces a full directory.
    pub force: bool,
    /// Rules for the receiving side, sent when `delete` is on.
    pub filter_texts: Vec<Vec<u8>>,
    /// Equal size is equal content.
    pub size_only: bool,
    /// Nothing is equal.
    pub ignore_times: bool,
    /// Compare content by checksum: entries carry digests.
    pub checksum: bool,
    /// As `checksum` where the protocol (30) carries times in whole seconds, so that equal size and
    /// time prove little.
    pub checksum_for_whole_seconds: bool,
    /// Change nothing; items are still reported.
    pub dry_run: bool,
    /// Only the root and what is directly in it; directories are listed with `dir.no_content`, so
    /// that nothing in them is looked at, and `delete` reaches the root's own names only.
    pub shallow: bool,
    /// Directories at the target, from the module's root with a leading slash, where unchanged
    /// files are linked from.
    pub link_dest: Vec<Vec<u8>>,
    /// Create the missing parents of the destination.
    pub mkpath: bool,
    /// Ask for [`Driver::applied`].
    pub acknowledgements: bool,
}

/// What a directory holds.
#[derive(Debug, Default)]
pub struct Listing {
    /// Full paths below the root, in any order. A member of a hard-link group carries
    /// `HardLink::Inode` (device and inode number), which the session turns into the wire's form.
    pub entries: Vec<Entry>,
    /// What could not be listed. A directory that cannot be read completely must be reported here,
    /// or what it holds is deleted at the target.
    pub problems: Vec<Problem>,
}

/// Something that is missing from a listing.
#[derive(Debug)]
pub struct Problem {
    /// Path below the root.
    pub name: Box<[u8]>,
    /// Why. [`io::ErrorKind::NotFound`]: it vanished, which stops no deletions.
    pub error: io::Error,
}

/// Where a full pass gets its list from.
pub trait TreeSource {
    /// The root itself, named `.`.
    ///
    /// # Errors
    /// When the root is not there; the push fails.
    fn root(&mut self) -> io::Result<Entry>;

    /// From now on the entries of regular files must carry their unseeded digest of this kind.
    /// Called before the first list of a push that compares content by checksum.
    fn carry_digests(&mut self, _kind: ChecksumKind) {}

    /// The entries directly in `dir` (`None`: the root), already filtered.
    fn list(&mut self, dir: Option<&RelPath>) -> Listing;
}

/// What is known at the end of a session, also of one that failed.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// The whole closing exchange was read and the peer reported no fatal error.
    pub clean_end: bool,
    /// Bytes written to the socket.
    pub bytes_sent: u64,
    /// Bytes read from it.
    pub bytes_received: u64,
    /// The peer sent an error that makes the transfer partial.
    pub error_xfer: bool,
    /// io_error bits of the list and of refusals on this side.
    pub io_error: u32,
    /// Code in the peer's error exit.
    pub peer_exit: Option<i32>,
    /// Entries listed.
    pub listed_count: u64,
    /// Content of this many requests was sent.
    pub transferred_count: u64,
    /// Requests refused.
    pub refused_count: u64,
    /// Entries for which the receiving side reported a change, transfers included.
    pub item_count: u64,
    /// Names that the receiving side deleted.
    pub deleted_count: u64,
    /// What the receiving side counted at its end, when it deletes.
    pub del_stats: Option<DelStats>,
    /// File bytes sent as such.
    pub literal_bytes: u64,
    /// File bytes that the receiving side had.
    pub matched_bytes: u64,
    /// Blocks that the receiving side had.
    pub match_count: u64,
    /// Sum of the sizes in the list.
    pub total_size: u64,
    /// The protocol spoken, 0 before it was known.
    pub protocol: u8,
    /// Until connected.
    pub connect_time: Duration,
    /// From there until the module was entered.
    pub login_time: Duration,
    /// The whole session.
    pub total_time: Duration,
}

impl Outcome {
    /// Whether times travelled in whole seconds.
    pub fn whole_seconds(&self) -> bool {
        (1..NANOSECONDS_FROM).contains(&self.protocol)
    }

    /// rsync's exit code for a session that ended without a [`crate::PushError`].
    pub fn exit_code(&self) -> u8 {
        if self.error_xfer || self.io_error & 1 != 0 {
            23
        } else if self.io_error & 2 != 0 {
            24
        } else if self.io_error & 4 != 0 {
            25
        } else {
            0
        }
    }
}

/// Runs a partial session.
///
/// # Errors
/// Whatever ended it before the closing exchange, with what was known until then.
pub fn push_list(
    peer: &Peer,
    options: &TransferOptions,
    mut push: ListPush,
    driver: &mut dyn Driver,
) -> Result<Outcome, Box<PushFailure>> {
    let entries = std::mem::take(&mut push.entries);
    let (list, mut attrs) = partial::arrange(entries, options)
        .map_err(|error| Box::new(PushFailure { error, outcome: Outcome::default() }))?;
    let list = Rc::new(list);
    let attempt = Attempt { peer, options, kind: PushKind::List(&push), list: Some(&list) };
    attempt.run(driver, |session, _| {
        session.lists.push(Rc::clone(&list));
        session.attrs = std::mem::take(&mut attrs);
        session.lists_complete = true;
        session.serve()
    })
}

/// Runs a full pass.
///
/// # Errors
/// As for [`push_list`].
pub fn push_tree(
    peer: &Peer,
    options: &TransferOptions,
    push: TreePush,
    source: &mut dyn TreeSource,
    driver: &mut dyn Driver,
) -> Result<Outcome, Box<PushFailure>> {
    let attempt = Attempt { peer, options, kind: PushKind::Tree(&push), list: None };
    attempt.run(driver, |session, list_options| {
        if list_options.checksum_len.is_some() {
            source.carry_digests(session.setup.checksum);
        }
        let shallow = push.shallow;
        Walk::new(source, list_options.clone(), options.chmod.as_ref(), shallow).run(session)
    })
}
