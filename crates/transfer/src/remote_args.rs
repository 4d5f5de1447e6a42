//! The arguments that a client gives the server of its session, from all options.
//!
//! Protocol reference, "Remote-shell command line", "Secluded args" and "Daemon argument list". The
//! order is rsync's, so that what a server was asked for can be compared word by word.

use std::time::Duration;

use driftless_proto::args::{put_quoted_path, put_quoted_value};

use crate::connect::{Direction, can_recurse_incrementally};
use crate::options::{
    Append, CompressChoice, ConnectOptions, DeleteWhen, FilesFrom, InfoLevels, Itemize, LogFormat,
    MissingArgs, RemoveSource, StderrMode, TransferOptions,
};

/// Most `-v` that are passed on.
const MAX_VERBOSITY: u8 = 9;
/// What a client says of itself behind `e.`, besides `i`.
const ABILITIES: &[u8] = b"LsfxCIvu";
/// The directory that `--delay-updates` implies.
const DELAYED: &[u8] = b".~tmp~";
/// `--max-alloc` where nothing is said.
const DEFAULT_MAX_ALLOC: u64 = 1 << 30;
/// The words of `--info` that matter to a server that receives.
const RECEIVER_INFO: &[&str] =
    &["BACKUP", "COPY", "DEL", "MISC", "MOUNT", "NAME", "NONREG", "SKIP", "STATS", "SYMSAFE"];
/// Likewise to one that sends.
const SENDER_INFO: &[&str] = &["MISC", "MOUNT", "NAME", "REMOVE", "STATS", "SYMSAFE"];

/// So many words of one level are said as `ALL` or `NONE`, where all words are said.
const MIN_SHORTENED: usize = 5;

/// What the server is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerSide {
    /// The client pushes.
    Receives,
    /// The client pulls.
    Sends,
}

/// The words from `--server` up to the dot, not quoted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerArgs {
    words: Vec<Vec<u8>>,
    /// With `-s`, words from here on travel in the stream.
    cut: usize,
    secluded: bool,
    old_args: u8,
    relative: bool,
    side: ServerSide,
}

impl ServerArgs {
    /// Makes the words.
    pub fn new(options: &TransferOptions, connect: &ConnectOptions, side: ServerSide) -> Self {
        let mut words = Words { words: vec![b"--server".to_vec()], side };
        words.flag(side == ServerSide::Sends, "--sender");
        let letters = words.letters(options, connect);
        if letters.len() > 1 {
            words.words.push(letters);
        }
        if let Some(spec) = &options.metadata.iconv {
            let remote =
                spec.iter().position(|b| *b == b',').map_or(&spec[..], |at| &spec[at + 1..]);
            words.bytes("--iconv=", remote);
        }
        let cut = words.words.len();
        words.long_options(options);
        Self {
            words: words.words,
            cut,
            secluded: connect.secluded_args,
            old_args: connect.old_args,
            relative: options.selection.relative,
            side,
        }
    }

    /// The words for the command line of a remote shell, behind the program's name.
    pub fn for_shell(&self, paths: &[Vec<u8>]) -> Vec<Vec<u8>> {
        if self.secluded {
            return self.words[..self.cut].iter().map(|word| self.quoted(word)).collect();
        }
        let options = self.words.iter().map(|word| self.quoted(word));
        let paths = self.paths(paths).into_iter().map(|path| self.shell_path(&path));
        options.chain(std::iter::once(b".".to_vec())).chain(paths).collect()
    }

    /// The words for a daemon; `paths` begin with the module's name.
    pub fn for_daemon(&self, paths: &[Vec<u8>]) -> Vec<Vec<u8>> {
        if self.secluded {
            return self.words[..self.cut].iter().map(|word| self.quoted(word)).collect();
        }
        let options = self.words.iter().map(|word| self.quoted(word));
        options.chain(std::iter::once(b".".to_vec())).chain(paths.iter().cloned()).collect()
    }

    /// The words that travel in the stream, not quoted, if any do.
    pub fn secluded(&self, paths: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
        let behind = self.words.get(self.cut..).unwrap_or_default();
        self.secluded.then(|| {
            let paths = self.paths(paths);
            behind.iter().cloned().chain(std::iter::once(b".".to_vec())).chain(paths).collect()
        })
    }

    /// An empty path is the directory where the server starts.
    fn paths(&self, paths: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let named = |path: &Vec<u8>| if path.is_empty() { b".".to_vec() } else { path.clone() };
        paths.iter().map(named).collect()
    }

    fn quoted(&self, word: &[u8]) -> Vec<u8> {
        if self.old_args > 1 {
            return word.to_vec();
        }
        let mut text = Vec::with_capacity(word.len());
        put_quoted_value(&mut text, word);
        text
    }

    fn shell_path(&self, path: &[u8]) -> Vec<u8> {
        let mut text = Vec::with_capacity(path.len());
        if path.starts_with(b"-") {
            text.extend_from_slice(b"./");
        }
        if self.old_args > 0 {
            text.extend_from_slice(path);
            return text;
        }
        // A home directory is meant only where something in it is named.
        let home = match self.relative {
            true => path.windows(3).any(|part| part == b"/./"),
            false => path.contains(&b'/'),
        };
        if self.side == ServerSide::Sends && path.starts_with(b"~") && !home {
            text.push(b'\\');
        }
        put_quoted_path(&mut text, path);
        text
    }
}

struct Words {
    words: Vec<Vec<u8>>,
    side: ServerSide,
}

impl Words {
    fn flag(&mut self, on: bool, text: &str) {
        if on {
            self.words.push(text.as_bytes().to_vec());
        }
    }

    fn bytes(&mut self, option: &str, value: &[u8]) {
        self.words.push([option.as_bytes(), value].concat());
    }

    fn pair(&mut self, option: &str, value: &[u8]) {
        self.words.push(option.as_bytes().to_vec());
        self.words.push(value.to_vec());
    }

    fn number<T: ToString>(&mut self, option: &str, value: Option<T>) {
        if let Some(value) = value {
            self.bytes(option, value.to_string().as_bytes());
        }
    }

    fn receives(&self) -> bool {
        self.side == ServerSide::Receives
    }

    fn letters(&self, options: &TransferOptions, connect: &ConnectOptions) -> Vec<u8> {
        let (talk, selection, link) = (&options.talk, &options.selection, &options.link);
        let (metadata, update) = (&options.metadata, &options.update);
        let push = self.receives();
        let times = |count: u8, most: u8| usize::from(count.min(most));
        let once = usize::from;
        let dirs_only = selection.dirs()
            && (selection.dirs_given == Some(true)
                || selection.list_only
                || (push && options.delete.when.is_some()));
        // Then the server omits them by itself.
        let backup_beside = options.write.backup.as_ref().is_some_and(|b| b.dir.is_none());
        let fuzzy = if update.alternates.is_some() { 2 } else { 1 };
        let compress = matches!(options.compress, CompressChoice::Negotiate | CompressChoice::Zlib);
        let table = [
            (once(connect.secluded_args), b's'),
            (times(talk.verbosity, MAX_VERBOSITY), b'v'),
            (once(talk.quiet && talk.stderr != StderrMode::Client), b'q'),
            (once(options.write.backup.is_some()), b'b'),
            (once(update.update), b'u'),
            (once(options.dry_run), b'n'),
            (once(options.links), b'l'),
            (once(dirs_only), b'd'),
            (once(push && link.keep_dirlinks), b'K'),
            (once(push && selection.prune_empty_dirs), b'm'),
            (once(push && options.omit_dir_times && !backup_beside), b'O'),
            (once(push && options.omit_link_times), b'J'),
            (if push { times(update.fuzzy, fuzzy) } else { 0 }, b'y'),
            (once(!push && link.copy_all), b'L'),
            (once(!push && link.copy_dirlinks), b'k'),
            (once(options.whole_file == Some(true)), b'W'),
            (once(options.hard_links) + once(options.hard_links_twice), b'H'),
            (once(options.owner), b'o'),
            (once(options.group), b'g'),
            (once(options.devices), b'D'),
            (once(options.times), b't'),
            (times(metadata.atimes, 2), b'U'),
            (once(metadata.crtimes), b'N'),
            (once(options.perms), b'p'),
            (once(push && !options.perms && metadata.executability), b'E'),
            (once(metadata.acls), b'A'),
            (times(metadata.xattrs, 2), b'X'),
            (once(selection.recursive), b'r'),
            (once(update.checksum), b'c'),
            (once(selection.cvs_exclude), b'C'),
            (once(update.ignore_times), b'I'),
            (once(selection.relative), b'R'),
            (times(selection.one_file_system, 2), b'x'),
            (once(options.sparse), b'S'),
            (once(compress), b'z'),
        ];
        let mut word = vec![b'-'];
        for (count, letter) in table {
            word.extend(std::iter::repeat_n(letter, count));
        }
        if options.protocol >= 30 {
            word.extend_from_slice(b"e.");
            let direction = if push { Direction::Send } else { Direction::Receive };
            if can_recurse_incrementally(direction, options) {
                word.push(b'i');
            }
            word.extend_from_slice(ABILITIES);
        }
        word
    }

    fn long_options(&mut self, options: &TransferOptions) {
        let selection = &options.selection;
        self.flag(selection.list_only_given, "--list-only");
        let delete_in_dirs = selection.dirs() && options.delete.when.is_some();
        self.flag(self.receives() && delete_in_dirs, "--no-r");
        self.number("--compress-level=", options.compress_level);
        self.flag(options.devices && !options.specials, "--no-specials");
        self.flag(options.specials && !options.devices, "--specials");
        self.talk(options);
        self.number("-B", options.block_size);
        self.number("--timeout=", options.timeout.map(whole_seconds));
        self.number("--bwlimit=", options.bwlimit.map(|rate| rate.div_ceil(1024)));
        if let Some(backup) = &options.write.backup {
            if let Some(dir) = &backup.dir {
                self.pair("--backup-dir", dir);
            }
            if !backup.has_default_suffix() {
                self.bytes("--suffix=", &backup.suffix);
            }
        }
        self.checksum_choice(options);
        match options.compress {
            CompressChoice::Zlibx => self.flag(true, "--new-compress"),
            CompressChoice::Zlib => self.flag(true, "--old-compress"),
            CompressChoice::Zstd => self.flag(true, "--compress-choice=zstd"),
            CompressChoice::Lz4 => self.flag(true, "--compress-choice=lz4"),
            CompressChoice::Off | CompressChoice::Negotiate => {}
        }
        match self.side {
            ServerSide::Receives => self.deletion(options),
            ServerSide::Sends => {
                if let Some(list) = &options.limit.skip_compress {
                    self.bytes("--skip-compress=", list);
                }
            }
        }
        let max_alloc = options.limit.max_alloc.filter(|most| *most != DEFAULT_MAX_ALLOC);
        self.number("--max-alloc=", max_alloc);
        match selection.missing_args {
            MissingArgs::Delete => self.flag(true, "--delete-missing-args"),
            MissingArgs::Ignore => self.flag(!self.receives(), "--ignore-missing-args"),
            MissingArgs::Error => {}
        }
        self.updating(options);
        self.info(options);
        self.writing(options);
        self.files_from(options);
        self.rest(options);
    }

    fn talk(&mut self, options: &TransferOptions) {
        let talk = &options.talk;
        if self.receives() {
            match (talk.itemize, talk.log_format) {
                (Itemize::All, _) => self.flag(true, "--log-format=%i%I"),
                (Itemize::Changed, _) | (_, LogFormat::Items) => {
                    self.flag(true, "--log-format=%i");
                }
                (Itemize::Off, LogFormat::Operation) => self.flag(true, "--log-format=%o"),
                (Itemize::Off, LogFormat::Other) => self.flag(true, "--log-format=X"),
                (Itemize::Off, LogFormat::None) => {}
            }
        }
        self.flag(talk.stderr == StderrMode::All, "--msgs2stderr");
        self.flag(talk.stderr == StderrMode::Client, "--no-msgs2stderr");
    }

    fn checksum_choice(&mut self, options: &TransferOptions) {
        let name = |kind: Option<driftless_proto::setup::ChecksumKind>| {
            kind.map_or("auto", |kind| kind.name())
        };
        let transfer = options.checksum_choice;
        match options.update.list_checksum_choice {
            Some(list) => {
                let both = format!("{},{}", name(transfer), list.name());
                self.bytes("--checksum-choice=", both.as_bytes());
            }
            None => self.number("--checksum-choice=", transfer.map(|kind| kind.name())),
        }
    }

    fn deletion(&mut self, options: &TransferOptions) {
        let delete = &options.delete;
        // A zero would be taken as "not given".
        let most =
            delete.max.map(|most| if most == 0 { "-1".to_owned() } else { most.to_string() });
        self.number("--max-delete=", most);
        self.number("--min-size=", options.update.min_size);
        self.number("--max-size=", options.update.max_size);
        match delete.when {
            Some(DeleteWhen::Before) => self.flag(true, "--delete-before"),
            Some(DeleteWhen::During) => self.flag(true, "--delete-during"),
            Some(DeleteWhen::Delay) => self.flag(true, "--delete-delay"),
            Some(DeleteWhen::After) => self.flag(true, "--delete-after"),
            Some(DeleteWhen::Unspecified) => self.flag(!delete.excluded, "--delete"),
            None => {}
        }
        self.flag(delete.excluded, "--delete-excluded");
        self.flag(delete.force, "--force");
        self.flag(options.talk.only_write_batch, "--only-write-batch=X");
        self.flag(options.metadata.super_user == Some(true), "--super");
        self.flag(options.update.size_only, "--size-only");
        self.flag(options.talk.stats, "--stats");
    }

    fn updating(&mut self, options: &TransferOptions) {
        let (update, write, push) = (&options.update, &options.write, self.receives());
        match options.modify_window {
            window if window < 0 && push => self.bytes("-@", window.to_string().as_bytes()),
            window if window > 0 && push => self.number("--modify-window=", Some(window)),
            _ => {}
        }
        self.number("--checksum-seed=", options.checksum_seed);
        if push {
            match write.partial_dir.as_deref() {
                Some(DELAYED) if options.delay_updates => {}
                Some(dir) => self.pair("--partial-dir", dir),
                None => self.flag(write.partial, "--partial"),
            }
            self.flag(options.delays(), "--delay-updates");
        }
        self.flag(options.delete.ignore_errors, "--ignore-errors");
        self.flag(options.link.copy_unsafe, "--copy-unsafe-links");
        self.flag(options.link.safe, "--safe-links");
        self.flag(options.numeric_ids, "--numeric-ids");
        if !push {
            return;
        }
        if let Some(map) = &options.metadata.user_map {
            self.bytes("--usermap=", map);
        }
        if let Some(map) = &options.metadata.group_map {
            self.bytes("--groupmap=", map);
        }
        self.flag(update.ignore_existing, "--ignore-existing");
        self.flag(update.existing, "--existing");
        if let Some(dir) = &options.temp_dir {
            self.pair("--temp-dir", dir);
        }
        self.flag(options.fsync, "--fsync");
        if let Some(alternates) = &update.alternates {
            for dir in &alternates.dirs {
                self.pair(alternates.kind.option(), dir);
            }
        }
    }

    /// The words that were given by themselves and matter to the server.
    fn info(&mut self, options: &TransferOptions) {
        let relevant = if self.receives() { RECEIVER_INFO } else { SENDER_INFO };
        let given: Vec<(&str, u8)> = InfoLevels::WORDS
            .iter()
            .zip(options.talk.info_given)
            .filter_map(|(word, level)| Some((*word, level?)))
            .filter(|(word, _)| relevant.contains(word))
            .collect();
        let mut words = Vec::new();
        let mut base = None;
        if given.len() == relevant.len() {
            let times = |level: u8| given.iter().filter(|(_, other)| *other == level).count();
            let levels = given.iter().map(|(_, level)| *level);
            base = levels.max_by_key(|level| (times(*level), *level));
            base = base.filter(|level| times(*level) >= MIN_SHORTENED);
            words.extend(base.map(|level| match level {
                0 => "NONE".to_owned(),
                level => at_level("ALL", level),
            }));
        }
        let others = given.iter().filter(|(_, level)| Some(*level) != base);
        words.extend(others.map(|(word, level)| at_level(word, *level)));
        if !words.is_empty() {
            self.bytes("--info=", words.join(",").as_bytes());
        }
    }

    fn writing(&mut self, options: &TransferOptions) {
        match options.write.append {
            Append::Off => {
                let in_place = options.write.in_place();
                self.flag(in_place, "--inplace");
                let deltas = options.sparse && options.whole_file == Some(false);
                self.flag(in_place && deltas && self.receives(), "--no-W");
            }
            Append::Trusting => self.flag(true, "--append"),
            Append::Verifying => {
                self.flag(true, "--append");
                self.flag(true, "--append");
            }
        }
    }

    fn files_from(&mut self, options: &TransferOptions) {
        let selection = &options.selection;
        let sent = match &selection.files_from {
            None => return,
            Some(FilesFrom::Remote(name)) => {
                self.pair("--files-from", name);
                self.flag(selection.from0, "--from0");
                true
            }
            Some(FilesFrom::Local(_) | FilesFrom::Stdin) => {
                self.flag(!self.receives(), "--files-from=-");
                self.flag(!self.receives(), "--from0");
                !self.receives()
            }
        };
        self.flag(sent && !selection.relative, "--no-relative");
    }

    fn rest(&mut self, options: &TransferOptions) {
        let (selection, push) = (&options.selection, self.receives());
        let no_parents = selection.relative && !selection.implied_dirs;
        self.flag(no_parents && (!push || options.protocol >= 30), "--no-implied-dirs");
        self.flag(push && options.write.write_devices, "--write-devices");
        match options.delete.remove_source {
            RemoveSource::Nothing => {}
            RemoveSource::Same => self.flag(true, "--remove-source-files"),
            RemoveSource::Sent => self.flag(true, "--remove-sent-files"),
        }
        self.flag(!push && options.read.copy_devices, "--copy-devices");
        self.flag(push && options.write.preallocate, "--preallocate");
        let implied = options.metadata.atimes > 1;
        self.flag(options.read.open_noatime && !implied, "--open-noatime");
        self.flag(push && options.write.mkpath, "--mkpath");
        self.words.extend(options.remote_options.iter().cloned());
    }
}

fn at_level(word: &str, level: u8) -> String {
    if level == 1 { word.to_owned() } else { format!("{word}{level}") }
}

fn whole_seconds(timeout: Duration) -> u64 {
    (timeout.as_secs() + u64::from(timeout.subsec_nanos() > 0)).max(1)
}
