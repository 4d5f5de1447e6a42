//! The two ways to push over a daemon connection, and what comes of it.

use std::io;
use std::time::{Duration, Instant};

use driftless_proto::filterlist;
use driftless_proto::flist::ListOptions;
use driftless_tree::RelPath;
use driftless_tree::flist::Entry;
use zeroize::Zeroizing;

use crate::connect::handshake::{self, Setup};
use crate::connect::socket;
use crate::connect::url::DaemonUrl;
use crate::driver::Driver;
use crate::error::{PushError, PushFailure};
use crate::link::Link;
use crate::options::{ChecksumKind, TransferOptions};
use crate::sender::lists::Lists;
use crate::sender::partial;
use crate::sender::session::Session;
use crate::sender::walk::Walk;
use crate::server_args::{PushKind, daemon_args};

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

/// A full pass: recursive, with incremental recursion when the daemon agrees.
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
    /// Change nothing; items are still reported.
    pub dry_run: bool,
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
    /// Called before the first list of a push with [`TreePush::checksum`].
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
    /// File bytes sent as such.
    pub literal_bytes: u64,
    /// File bytes that the receiving side had.
    pub matched_bytes: u64,
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
    let attempt = Attempt { peer, options, kind: PushKind::List(&push) };
    attempt.run(driver, |session, list_options| {
        let list = partial::arrange(entries, options.chmod.as_ref())?;
        partial::send(&list, list_options, &mut session.link.output, session.outcome);
        session.lists.push(list);
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
    let attempt = Attempt { peer, options, kind: PushKind::Tree(&push) };
    attempt.run(driver, |session, list_options| {
        if push.checksum {
            source.carry_digests(session.setup.checksum);
        }
        Walk::new(source, list_options.clone(), options.chmod.as_ref()).run(session)
    })
}

/// What a session is made from.
struct Attempt<'a> {
    peer: &'a Peer,
    options: &'a TransferOptions,
    kind: PushKind<'a>,
}

impl Attempt<'_> {
    fn run(
        &self,
        driver: &mut dyn Driver,
        body: impl FnOnce(&mut Session<'_>, &ListOptions) -> Result<(), PushError>,
    ) -> Result<Outcome, Box<PushFailure>> {
        let started = Instant::now();
        let mut outcome = Outcome::default();
        let result = self.connect(driver, &mut outcome, body);
        outcome.total_time = started.elapsed();
        match result {
            Ok(()) => {
                outcome.clean_end = true;
                Ok(outcome)
            }
            Err(error) => Err(Box::new(PushFailure { error, outcome })),
        }
    }

    fn connect(
        &self,
        driver: &mut dyn Driver,
        outcome: &mut Outcome,
        body: impl FnOnce(&mut Session<'_>, &ListOptions) -> Result<(), PushError>,
    ) -> Result<(), PushError> {
        let started = Instant::now();
        let deadline = self.options.connect_timeout.map(|limit| started + limit);
        let url = &self.peer.url;
        let socket = socket::connect(url, self.options, deadline, &|| driver.cancelled())?;
        outcome.connect_time = started.elapsed();
        let mut link = Link::new(socket, deadline, self.options.timeout, self.options.bwlimit);
        let result = self.talk(&mut link, driver, outcome, body);
        outcome.bytes_sent = link.bytes_sent;
        outcome.bytes_received = link.bytes_received;
        result
    }

    fn talk(
        &self,
        link: &mut Link,
        driver: &mut dyn Driver,
        outcome: &mut Outcome,
        body: impl FnOnce(&mut Session<'_>, &ListOptions) -> Result<(), PushError>,
    ) -> Result<(), PushError> {
        self.check_filters()?;
        let started = Instant::now();
        let (options, url) = (self.options, &self.peer.url);
        let args = daemon_args(options, self.kind, &url.module, &url.path);
        let protocol = handshake::login(link, self.peer, options, &args, driver)?;
        outcome.protocol = protocol;
        outcome.login_time = started.elapsed();
        let setup = handshake::setup(link, protocol, options, driver)?;
        link.start_frames();
        self.put_filters(link);
        let list_options = self.list_options(&setup);
        let lists = Lists::new(setup.compat.inc_recurse());
        let dry_run = self.kind.dry_run();
        let level = options.compress_level;
        let mut session = Session::new(link, driver, outcome, setup, lists, level, dry_run);
        body(&mut session, &list_options)
    }

    fn filters(&self) -> &[Vec<u8>] {
        match self.kind {
            PushKind::List(list) => list.filter_texts.as_deref().unwrap_or_default(),
            PushKind::Tree(tree) => &tree.filter_texts,
        }
    }

    fn check_filters(&self) -> Result<(), PushError> {
        let bad = |text: &&Vec<u8>| !(1..=filterlist::MAX_RULE_LEN).contains(&text.len());
        match self.filters().iter().find(bad) {
            None => Ok(()),
            Some(text) => Err(PushError::List(format!("a filter rule of {} bytes", text.len()))),
        }
    }

    fn put_filters(&self, link: &mut Link) {
        if !self.kind.sends_filters() {
            return;
        }
        let texts = self.filters();
        link.output.append(|out| {
            for text in texts {
                filterlist::put_rule(out, text);
            }
            filterlist::put_end(out);
        });
    }

    fn list_options(&self, setup: &Setup) -> ListOptions {
        let options = self.options;
        ListOptions {
            protocol: setup.protocol,
            compat: setup.compat,
            owner: options.owner,
            group: options.group,
            devices: options.devices,
            specials: options.specials,
            links: options.links,
            hard_links: options.hard_links,
            checksum_len: self.kind.checksum().then(|| setup.checksum.digest_len()),
            numeric_ids: options.numeric_ids,
            relative: matches!(self.kind, PushKind::List(_)),
            missing_args: matches!(self.kind, PushKind::List(list) if list.missing_args),
            ..ListOptions::default()
        }
    }
}
