//! What was typed, before any of it is weighed against the rest.

use driftless_filter::Given;
use driftless_transfer::TransferOptions;
use driftless_transfer::options::{ConnectOptions, DebugLevels, DeleteWhen, InfoLevels};

use super::values::LevelWord;

/// The state that options change, from left to right. [`super::finish`] makes an invocation of it.
#[derive(Debug, Clone)]
pub struct Typed {
    /// As far as one option decides alone.
    pub options: TransferOptions,
    /// Likewise.
    pub connect: ConnectOptions,
    /// Likewise.
    pub output: Output,
    /// Filters, in their order.
    pub rules: Vec<Given>,
    /// `-r`, and who asked for it.
    pub recurse: Recurse,
    /// `-R`, when said either way.
    pub relative: Option<bool>,
    /// `-b`
    pub backup: bool,
    /// `--backup-dir`
    pub backup_dir: Option<Vec<u8>>,
    /// `--suffix`
    pub suffix: Option<Vec<u8>>,
    /// Number of `-z`.
    pub compress: u8,
    /// `--compress-choice`, as written.
    pub compress_choice: Option<Vec<u8>>,
    /// `--checksum-choice`, as written.
    pub checksum_choice: Option<Vec<u8>>,
    /// `--delete`
    pub delete: bool,
    /// `--delete-before` and its kin, each once.
    pub delete_when: Vec<DeleteWhen>,
    /// `--max-delete`
    pub max_delete: Option<i32>,
    /// `--chown`'s owner came first, or a map; then the other is an error.
    pub user_map_by: Option<MapBy>,
    /// Likewise for groups.
    pub group_map_by: Option<MapBy>,
    /// `--files-from`, as written.
    pub files_from: Option<Vec<u8>>,
    /// `-i` and its count.
    pub itemize: u8,
    /// `--info` words in their order.
    pub info: Vec<LevelWord>,
    /// `--debug` words in their order.
    pub debug: Vec<LevelWord>,
    /// `--progress`
    pub progress: bool,
    /// `-F` so far.
    pub per_dir_filters: u8,
    /// `-s`, when said either way.
    pub secluded_args: Option<bool>,
    /// `--old-args`, when said either way.
    pub old_args: Option<u8>,
    /// `--alt-dest` options of two kinds were given.
    pub old_dirs: bool,
    /// `-V`, counted.
    pub version: u8,
    /// `--help`
    pub help: bool,
    /// `--info=help`, `--debug=help`
    pub level_help: Option<LevelHelp>,
    /// `--server`
    pub server: bool,
    /// `--sender`
    pub sender: bool,
    /// Long name of the daemon's option that was given without `--daemon`.
    pub daemon_option: bool,
    /// `--iconv`, as written; `-` and `--no-iconv` are `Some` of nothing.
    pub iconv: Option<Vec<u8>>,
    /// `--stop-at`, as written.
    pub stop_at: Option<Vec<u8>>,
    /// `--stop-after`, in minutes.
    pub stop_after: Option<i32>,
    /// Batch files.
    pub batch: Batches,
    /// `--cc` and `--chmod` are checked at once; the umask they need.
    pub umask: u32,
}

/// Who asked for recursion.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recurse {
    /// Nobody.
    #[default]
    No,
    /// `-a`, which `--files-from` outweighs.
    Archive,
    /// `-r`
    Yes,
}

/// Which option made a map of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MapBy {
    /// `--usermap`, `--groupmap`
    Map,
    /// `--chown`
    Chown,
}

/// Which list of words is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LevelHelp {
    /// `--info=help`
    Info,
    /// `--debug=help`
    Debug,
}

/// Names of batch files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batches {
    /// `--write-batch`
    pub write: Option<Vec<u8>>,
    /// `--only-write-batch`
    pub only_write: Option<Vec<u8>>,
    /// `--read-batch`
    pub read: Option<Vec<u8>>,
}

/// What the client prints, and where; no other part of a transfer knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Output {
    /// How numbers look: 0 digits only, 1 with commas, 2 and 3 with units of 1000 and 1024.
    pub human: u8,
    /// `--out-format`, or what `-i` and `-v` stand for; `None` names nothing.
    pub format: Option<Vec<u8>>,
    /// `--log-file`
    pub log_file: Option<Vec<u8>>,
    /// `--log-file-format`
    pub log_file_format: Option<Vec<u8>>,
    /// `-8`
    pub eight_bit: bool,
    /// `--outbuf`
    pub buffer: Option<Buffering>,
}

/// `--outbuf`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buffering {
    /// Each write at once.
    None,
    /// Line by line.
    Line,
    /// In blocks.
    Block,
}

impl Default for Output {
    fn default() -> Self {
        Self {
            human: 1,
            format: None,
            log_file: None,
            log_file_format: None,
            eight_bit: false,
            buffer: None,
        }
    }
}

impl Typed {
    /// Nothing typed yet.
    pub fn new(umask: u32) -> Self {
        Self {
            options: TransferOptions::plain(),
            connect: ConnectOptions::default(),
            output: Output::default(),
            rules: Vec::new(),
            recurse: Recurse::No,
            relative: None,
            backup: false,
            backup_dir: None,
            suffix: None,
            compress: 0,
            compress_choice: None,
            checksum_choice: None,
            delete: false,
            delete_when: Vec::new(),
            max_delete: None,
            user_map_by: None,
            group_map_by: None,
            files_from: None,
            itemize: 0,
            info: Vec::new(),
            debug: Vec::new(),
            progress: false,
            per_dir_filters: 0,
            secluded_args: None,
            old_args: None,
            old_dirs: false,
            version: 0,
            help: false,
            level_help: None,
            server: false,
            sender: false,
            daemon_option: false,
            iconv: None,
            stop_at: None,
            stop_after: None,
            batch: Batches::default(),
            umask,
        }
    }

    /// `--delete-before` and its kin. During the transfer and at its end are one option: the later
    /// one counts (seen).
    pub fn delete_when(&mut self, when: DeleteWhen) {
        let is_during = |when: &DeleteWhen| matches!(when, DeleteWhen::During | DeleteWhen::Delay);
        if is_during(&when) {
            self.delete_when.retain(|other| !is_during(other));
        }
        self.delete_when.push(when);
    }

    /// Levels of `--info`: what `verbosity` brings, changed by the words that were given.
    pub fn info_levels(&self) -> (InfoLevels, [Option<u8>; InfoLevels::WORDS.len()]) {
        let mut given = [None; InfoLevels::WORDS.len()];
        for word in &self.info {
            match word {
                LevelWord::One(at, level) => given[*at] = Some(*level),
                LevelWord::All(level) => given = [Some(*level); InfoLevels::WORDS.len()],
                LevelWord::Help => {}
            }
        }
        (InfoLevels::of_verbosity(self.options.talk.verbosity), given)
    }

    /// Levels of `--debug`, likewise.
    pub fn debug_levels(&self) -> DebugLevels {
        let mut levels = DebugLevels::of_verbosity(self.options.talk.verbosity);
        for word in &self.debug {
            match word {
                LevelWord::One(at, level) => {
                    let name = DebugLevels::WORDS[*at].as_bytes();
                    *levels.by_word(name).expect("a word of its own list") = *level;
                }
                LevelWord::All(level) => {
                    for name in DebugLevels::WORDS {
                        *levels.by_word(name.as_bytes()).expect("a word of its own list") = *level;
                    }
                }
                LevelWord::Help => {}
            }
        }
        levels
    }
}
