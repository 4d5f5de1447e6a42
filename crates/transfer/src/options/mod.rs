//! What a transfer does, checked and complete.
//!
//! Everything that an option of rsync's changes about a transfer on either side has a field here,
//! and nothing else: paths, filters and the connection are given beside it. A server's options come
//! from `server_args`, so fields marked "never sent" keep their defaults there.

mod groups;
mod levels;

use std::net::IpAddr;
use std::time::Duration;

use crate::chmod::Chmod;

pub use driftless_proto::setup::{ChecksumKind, Compression};
pub use groups::{
    AddressFamily, AlternateKind, Alternates, Append, Backup, ConnectOptions, DeleteOptions,
    DeleteWhen, FilesFrom, Itemize, LimitOptions, LinkOptions, LogFormat, MetadataOptions,
    MissingArgs, OfferOptions, ReadOptions, RemoveSource, Selection, StderrMode, TalkOptions,
    UpdateOptions, WriteOptions,
};
pub use levels::{DebugLevels, InfoLevels};

/// Whether and how data is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CompressChoice {
    /// Not at all.
    #[default]
    Off,
    /// The best that both ends have.
    Negotiate,
    /// zstd.
    Zstd,
    /// LZ4 blocks.
    Lz4,
    /// Deflate over literals only.
    Zlibx,
    /// Deflate with matched blocks in the history.
    Zlib,
}

/// Options of a transfer. [`TransferOptions::plain`] is rsync without any option; the default, which
/// the mirror builds on, is rsync's `-a` without `-r` and with nanoseconds compared.
#[derive(Debug, Clone, PartialEq)]
pub struct TransferOptions {
    /// Symbolic links as such (`-l`).
    pub links: bool,
    /// Permission bits.
    pub perms: bool,
    /// Modification times.
    pub times: bool,
    /// Not on directories.
    pub omit_dir_times: bool,
    /// Not on symbolic links.
    pub omit_link_times: bool,
    /// Owners.
    pub owner: bool,
    /// Groups.
    pub group: bool,
    /// Device nodes.
    pub devices: bool,
    /// Fifos and sockets.
    pub specials: bool,
    /// Hard-link groups.
    pub hard_links: bool,
    /// `-H` was given more than once, which is told to the server.
    pub hard_links_twice: bool,
    /// Ids as numbers, never mapped by name.
    pub numeric_ids: bool,
    /// `Some(true)`: no deltas. `None` leaves it to the receiving side, which makes deltas.
    pub whole_file: Option<bool>,
    /// Compression.
    pub compress: CompressChoice,
    /// Its level; `None` is the method's default.
    pub compress_level: Option<i32>,
    /// Threads that compress long literals, where the method has some; `None`: its own choice.
    pub compress_threads: Option<u32>,
    /// `None` negotiates.
    pub checksum_choice: Option<ChecksumKind>,
    /// 29..=32: the highest protocol offered.
    pub protocol: u8,
    /// Bytes per second, on this side's writes; also told to the peer.
    pub bwlimit: Option<u64>,
    /// Longest silence of the peer; also told to it. A daemon may lower it.
    pub timeout: Option<Duration>,
    /// Longest silence of the peer where `timeout` is not set: not told to the peer, so it sends no
    /// signs of life, and a session in which both ends wait for each other ends too.
    pub silence_limit: Option<Duration>,
    /// Longest wait for the connection and the daemon's handshake.
    pub connect_timeout: Option<Duration>,
    /// Fixed seed of block sums.
    pub checksum_seed: Option<i32>,
    /// Block length of deltas; `None` follows the size.
    pub block_size: Option<u32>,
    /// Holes for runs of zeros.
    pub sparse: bool,
    /// The receiving side syncs each file.
    pub fsync: bool,
    /// Put finished files in place at the end.
    pub delay_updates: bool,
    /// Where temporary files go.
    pub temp_dir: Option<Vec<u8>>,
    /// Applied to the modes in the list.
    pub chmod: Option<Chmod>,
    /// Seconds within which times are equal; less than 0 compares nanoseconds.
    pub modify_window: i32,
    /// More arguments for the server only, before the paths.
    pub remote_options: Vec<Vec<u8>>,
    /// Local address that a mirror connects from.
    pub bind_address: Option<IpAddr>,
    /// `--trust-sender`: a pulled list is taken as it comes; never sent.
    pub trust_sender: bool,
    /// `-n`: nothing is changed.
    pub dry_run: bool,
    /// What is listed.
    pub selection: Selection,
    /// Symbolic links that are more than copied.
    pub link: LinkOptions,
    /// Attributes beyond `-a`.
    pub metadata: MetadataOptions,
    /// Which files are looked at, and which count as equal.
    pub update: UpdateOptions,
    /// What is removed.
    pub delete: DeleteOptions,
    /// How files are put in place.
    pub write: WriteOptions,
    /// How files are read.
    pub read: ReadOptions,
    /// Which algorithms are offered; never sent.
    pub offer: OfferOptions,
    /// What bounds the session.
    pub limit: LimitOptions,
    /// What is said.
    pub talk: TalkOptions,
}

impl TransferOptions {
    /// Returns what rsync does without any option.
    pub fn plain() -> Self {
        Self {
            links: false,
            perms: false,
            times: false,
            owner: false,
            group: false,
            devices: false,
            specials: false,
            modify_window: 0,
            ..Self::default()
        }
    }
}

impl TransferOptions {
    /// Whether finished files wait for the end in a directory of their own. Without one
    /// `--delay-updates` only asks for whole lists.
    pub fn delays(&self) -> bool {
        self.delay_updates && self.write.partial_dir.is_some()
    }
}

impl Default for TransferOptions {
    fn default() -> Self {
        Self {
            links: true,
            perms: true,
            times: true,
            omit_dir_times: false,
            omit_link_times: false,
            owner: true,
            group: true,
            devices: true,
            specials: true,
            hard_links: false,
            hard_links_twice: false,
            numeric_ids: false,
            whole_file: None,
            compress: CompressChoice::Off,
            compress_level: None,
            compress_threads: None,
            checksum_choice: None,
            protocol: 32,
            bwlimit: None,
            timeout: None,
            silence_limit: None,
            connect_timeout: None,
            checksum_seed: None,
            block_size: None,
            sparse: false,
            fsync: false,
            delay_updates: false,
            temp_dir: None,
            chmod: None,
            modify_window: -1,
            remote_options: Vec::new(),
            bind_address: None,
            trust_sender: false,
            dry_run: false,
            selection: Selection::default(),
            link: LinkOptions::default(),
            metadata: MetadataOptions::default(),
            update: UpdateOptions::default(),
            delete: DeleteOptions::default(),
            write: WriteOptions::default(),
            read: ReadOptions::default(),
            offer: OfferOptions::default(),
            limit: LimitOptions::default(),
            talk: TalkOptions::default(),
        }
    }
}
