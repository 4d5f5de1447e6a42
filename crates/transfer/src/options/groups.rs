//! The parts of [`super::TransferOptions`] that a plain copy leaves at their defaults.

use std::path::PathBuf;
use std::time::SystemTime;

use super::{ChecksumKind, Compression, DebugLevels, InfoLevels};

/// What is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// `-r`
    pub recursive: bool,
    /// Incremental lists where everything else allows them (`--inc-recursive`, on by default).
    pub inc_recursive: bool,
    /// `-d`: `Some` when said either way. Without it directories are listed, and not entered, when
    /// there is no recursion and `files_from` or `list_only` asks for it: see [`Selection::dirs`].
    pub dirs_given: Option<bool>,
    /// `-R`; with `files_from` unless denied.
    pub relative: bool,
    /// With `relative`: list the parents of arguments with their attributes.
    pub implied_dirs: bool,
    /// `-x`: 1 stays on the argument's file system, 2 leaves out mount points too.
    pub one_file_system: u8,
    /// `-m`
    pub prune_empty_dirs: bool,
    /// `-C`. Its rules are among the filters; the server adds its own.
    pub cvs_exclude: bool,
    /// Where the names come from, when not from a walk of the arguments.
    pub files_from: Option<FilesFrom>,
    /// `-0`: names and rules in files end in NUL.
    pub from0: bool,
    /// `--list-only`, also implied by a single argument; see `list_only_given`.
    pub list_only: bool,
    /// `--list-only` was said.
    pub list_only_given: bool,
    /// A source that is not there.
    pub missing_args: MissingArgs,
}

impl Default for Selection {
    fn default() -> Self {
        Self {
            recursive: false,
            inc_recursive: true,
            dirs_given: None,
            relative: false,
            implied_dirs: true,
            one_file_system: 0,
            prune_empty_dirs: false,
            cvs_exclude: false,
            files_from: None,
            from0: false,
            list_only: false,
            list_only_given: false,
            missing_args: MissingArgs::Error,
        }
    }
}

impl Selection {
    /// Whether directories are listed without being walked.
    pub fn dirs(&self) -> bool {
        let implied = self.files_from.is_some() || self.list_only;
        !self.recursive && self.dirs_given.unwrap_or(implied)
    }
}

/// `--files-from`
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FilesFrom {
    /// A file on this side.
    Local(Vec<u8>),
    /// Standard input. On a server: the stream of the session.
    Stdin,
    /// A file on the other side.
    Remote(Vec<u8>),
}

/// What a source argument means that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MissingArgs {
    /// An error, exit code 23.
    #[default]
    Error,
    /// Nothing (`--ignore-missing-args`).
    Ignore,
    /// It goes at the destination too (`--delete-missing-args`).
    Delete,
}

/// Which symbolic links are followed or left out. `links` itself is in the main struct.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LinkOptions {
    /// `-L`
    pub copy_all: bool,
    /// `-k`
    pub copy_dirlinks: bool,
    /// `-K`
    pub keep_dirlinks: bool,
    /// `--copy-unsafe-links`
    pub copy_unsafe: bool,
    /// `--safe-links`
    pub safe: bool,
    /// `--munge-links`; never sent to the other side.
    pub munge: bool,
    /// `--insecure-links`: any symbolic link in the paths that the operator gave is followed.
    pub insecure: bool,
    /// `--confine-root`: the paths that the operator gave must lie in here.
    pub confine_root: Option<Vec<u8>>,
}

/// Attributes beyond `-a`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MetadataOptions {
    /// `-E`; without effect with `perms`.
    pub executability: bool,
    /// `-A`
    pub acls: bool,
    /// `-X`: 1, or 2 for rsync's own names too.
    pub xattrs: u8,
    /// `-U`: 1; 2 also reads without moving access times.
    pub atimes: u8,
    /// `-N`
    pub crtimes: bool,
    /// `--super`, `--no-super`; `None` follows the effective user.
    pub super_user: Option<bool>,
    /// `--fake-super`; never sent to the other side.
    pub fake_super: bool,
    /// `--drop-D`: the receiving side makes neither devices nor specials; never sent.
    pub drop_devices: bool,
    /// `--usermap` as written, or what `--chown` makes of it.
    pub user_map: Option<Vec<u8>>,
    /// `--groupmap`
    pub group_map: Option<Vec<u8>>,
    /// `--copy-as=USER[:GROUP]`; never sent.
    pub copy_as: Option<Vec<u8>>,
    /// `--iconv=LOCAL,REMOTE` as written; `None` converts nothing.
    pub iconv: Option<Vec<u8>>,
}

/// Which listed files are looked at, and when they count as equal.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UpdateOptions {
    /// `--existing`
    pub existing: bool,
    /// `--ignore-existing`
    pub ignore_existing: bool,
    /// `-u`
    pub update: bool,
    /// `--size-only`
    pub size_only: bool,
    /// `-I`
    pub ignore_times: bool,
    /// `-c`
    pub checksum: bool,
    /// Digest of the lists of `-c`, when it differs from that of transfers
    /// (`--checksum-choice=TRANSFER,LIST`).
    pub list_checksum_choice: Option<ChecksumKind>,
    /// Bytes.
    pub max_size: Option<u64>,
    /// Bytes.
    pub min_size: Option<u64>,
    /// `-y`: 1, or 2 for alternate directories too.
    pub fuzzy: u8,
    /// `--compare-dest` and its kin.
    pub alternates: Option<Alternates>,
}

/// Directories at the destination that files may come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternates {
    /// What is done with an equal file in one of them.
    pub kind: AlternateKind,
    /// At least one, at most 20; relative ones are relative to the destination.
    pub dirs: Vec<Vec<u8>>,
}

/// What is done with an equal file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlternateKind {
    /// Nothing is put in the destination.
    Compare,
    /// It is copied.
    Copy,
    /// It is hard-linked.
    Link,
}

impl AlternateKind {
    /// The option's long name.
    pub fn option(self) -> &'static str {
        match self {
            Self::Compare => "--compare-dest",
            Self::Copy => "--copy-dest",
            Self::Link => "--link-dest",
        }
    }
}

/// What is removed on either side.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeleteOptions {
    /// `None`: nothing is deleted.
    pub when: Option<DeleteWhen>,
    /// What filters exclude goes too. Implies a time.
    pub excluded: bool,
    /// Most deletions.
    pub max: Option<u64>,
    /// `--force`: a non-directory replaces a full directory. Implied by any time of deletion.
    pub force: bool,
    /// `--ignore-errors`
    pub ignore_errors: bool,
    /// What the sender removes.
    pub remove_source: RemoveSource,
}

/// When a receiving side deletes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeleteWhen {
    /// `--delete`: the receiving side chooses, during the transfer from protocol 30 on, else before.
    Unspecified,
    /// `--delete-before`
    Before,
    /// `--delete-during`
    During,
    /// `--delete-delay`
    Delay,
    /// `--delete-after`
    After,
}

/// What the sender removes once the receiving side has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum RemoveSource {
    /// Nothing.
    #[default]
    Nothing,
    /// What was sent (`--remove-sent-files`, old).
    Sent,
    /// What was sent or found equal (`--remove-source-files`).
    Same,
}

/// How the receiving side puts files in place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct WriteOptions {
    /// `--inplace`; `append` and `write_devices` imply it, see [`WriteOptions::in_place`].
    pub inplace: bool,
    /// Only grow files.
    pub append: Append,
    /// Keep what an interrupted transfer left.
    pub partial: bool,
    /// Where to keep it. Implies `partial`.
    pub partial_dir: Option<Vec<u8>>,
    /// `--preallocate`
    pub preallocate: bool,
    /// Keep old versions.
    pub backup: Option<Backup>,
    /// `--mkpath`
    pub mkpath: bool,
    /// `--write-devices`
    pub write_devices: bool,
}

impl WriteOptions {
    /// Whether files are written under their own names.
    pub fn in_place(&self) -> bool {
        self.inplace || self.append != Append::Off || self.write_devices
    }
}

/// Whether files only grow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Append {
    /// No.
    #[default]
    Off,
    /// `--append`: what is there is taken for good.
    Trusting,
    /// `--append-verify`: the whole-file digest covers it.
    Verifying,
}

/// Where old versions of files go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// `--backup-dir`; relative ones are relative to the destination.
    pub dir: Option<Vec<u8>>,
    /// What their names end in; may be empty with a directory only.
    pub suffix: Vec<u8>,
}

impl Default for Backup {
    fn default() -> Self {
        Self { dir: None, suffix: b"~".to_vec() }
    }
}

impl Backup {
    /// Whether the suffix is what it would be if nothing were said.
    pub fn has_default_suffix(&self) -> bool {
        self.suffix == if self.dir.is_some() { &b""[..] } else { b"~" }
    }
}

/// How the sender reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ReadOptions {
    /// `--copy-devices`: devices are read like files.
    pub copy_devices: bool,
    /// `--open-noatime`
    pub open_noatime: bool,
}

/// Names that this end offers where both agree on an algorithm, best first; `None`: all there are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OfferOptions {
    /// Of checksums.
    pub checksums: Option<Vec<ChecksumKind>>,
    /// Of compressions.
    pub compressions: Option<Vec<Compression>>,
}

/// What bounds a session, besides time-outs.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LimitOptions {
    /// Most bytes in one allocation; `None`: 1 GiB.
    pub max_alloc: Option<u64>,
    /// `--stop-after`, `--stop-at`; never sent.
    pub stop_at: Option<SystemTime>,
    /// `--skip-compress` as written; nothing depends on it.
    pub skip_compress: Option<Vec<u8>>,
}

/// What a transfer says, and to whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TalkOptions {
    /// Number of `-v`.
    pub verbosity: u8,
    /// `-q`
    pub quiet: bool,
    /// The words of `--info` with everything that changes them taken into account.
    pub info: InfoLevels,
    /// The words that were said by themselves (`--info`), as opposed to those that `-v` brings.
    pub info_given: [Option<u8>; InfoLevels::WORDS.len()],
    /// The words of `--debug`.
    pub debug: DebugLevels,
    /// Which items the generator reports.
    pub itemize: Itemize,
    /// The client's format for items holds `%o`, or is some other format where `-v` is not on: what
    /// a pushing client tells the server as `--log-format`.
    pub log_format: LogFormat,
    /// `--stats`
    pub stats: bool,
    /// Where messages of errors go.
    pub stderr: StderrMode,
    /// `--only-write-batch`: nothing changes at the destination.
    pub only_write_batch: bool,
}

impl Default for TalkOptions {
    fn default() -> Self {
        Self {
            verbosity: 0,
            quiet: false,
            info: InfoLevels::of_verbosity(0),
            info_given: [None; InfoLevels::WORDS.len()],
            debug: DebugLevels::default(),
            itemize: Itemize::Off,
            log_format: LogFormat::None,
            stats: false,
            stderr: StderrMode::Errors,
            only_write_batch: false,
        }
    }
}

/// Which items the generator reports with their flags.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Itemize {
    /// Those that the wire needs.
    #[default]
    Off,
    /// Those with a change (`-i`, or a format with `%i`).
    Changed,
    /// All (`-ii`, or `-vv`).
    All,
}

/// What the server of a push learns of the client's format for items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// There is none, or `-v` brings it.
    #[default]
    None,
    /// It holds `%i`.
    Items,
    /// It holds `%o`.
    Operation,
    /// It holds neither.
    Other,
}

/// `--stderr`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StderrMode {
    /// Errors of the server's process go to its own standard error.
    #[default]
    Errors,
    /// All messages go there (`--msgs2stderr`).
    All,
    /// All messages travel to the client (`--no-msgs2stderr`).
    Client,
}

/// How a session is reached; of no concern to the roles. The longest wait for a connection is in
/// [`super::TransferOptions`], since mirrors have it too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConnectOptions {
    /// `-e`, as written; `None`: `RSYNC_RSH`, else `ssh`.
    pub rsh: Option<Vec<u8>>,
    /// `--rsync-path`, put into the remote command as it is; `None`: `rsync`.
    pub rsync_path: Option<Vec<u8>>,
    /// `-4`, `-6`
    pub address_family: Option<AddressFamily>,
    /// `--port`; a port in the URL wins.
    pub port: Option<u16>,
    /// `--address`, as written: a name or a number.
    pub address: Option<Vec<u8>>,
    /// `--sockopts`, as written.
    pub socket_options: Option<Vec<u8>>,
    /// `--password-file`; `-` is standard input.
    pub password_file: Option<PathBuf>,
    /// `--early-input`
    pub early_input: Option<PathBuf>,
    /// `--no-motd`
    pub no_motd: bool,
    /// `-s`: arguments travel in the stream.
    pub secluded_args: bool,
    /// `--blocking-io`: our ends of the remote shell's pipes block; `None`: for `rsh` and `remsh`.
    pub blocking_io: Option<bool>,
    /// `--old-args`: 1 does not escape paths, 2 nothing.
    pub old_args: u8,
}

/// A version of IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressFamily {
    /// `-4`
    V4,
    /// `-6`
    V6,
}
