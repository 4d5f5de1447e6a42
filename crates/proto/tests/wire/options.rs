//! What the arguments of a captured session say about its bytes.

use driftless_proto::flist::ListOptions;
use driftless_proto::setup::{ChecksumKind, CompatFlags, Compression};

/// The server's arguments.
#[derive(Default)]
pub struct Options {
    args: Vec<String>,
    letters: String,
}

impl Options {
    pub fn new(args: &[Vec<u8>]) -> Self {
        let args: Vec<String> =
            args.iter().map(|arg| String::from_utf8_lossy(arg).into_owned()).collect();
        let clusters = args.iter().filter_map(|arg| arg.strip_prefix('-'));
        let letters = clusters
            .filter(|cluster| !cluster.starts_with(['-', 'B', 'M', '@']))
            .map(|cluster| cluster.split('e').next().unwrap_or_default())
            .collect();
        Self { args, letters }
    }

    pub fn letter(&self, letter: char) -> bool {
        self.letters.contains(letter)
    }

    pub fn has(&self, option: &str) -> bool {
        self.args.iter().any(|arg| arg == option) || self.value(option).is_some()
    }

    fn value(&self, option: &str) -> Option<&str> {
        self.args.iter().find_map(|arg| arg.strip_prefix(option)?.strip_prefix('='))
    }

    pub fn server_sends(&self) -> bool {
        self.has("--sender")
    }

    pub fn dry_run(&self) -> bool {
        self.letter('n')
    }

    fn deletes(&self) -> bool {
        ["", "-before", "-during", "-after", "-delay", "-excluded"]
            .iter()
            .any(|when| self.has(&format!("--delete{when}")))
    }

    pub fn has_filter_list(&self) -> bool {
        self.server_sends() || self.letter('m') || self.deletes()
    }

    /// Names of files come from the client, or from the server.
    pub fn files_from(&self) -> Option<Side> {
        let client = self.value("--files-from") == Some("-");
        match (self.has("--files-from"), self.server_sends() && client) {
            (true, true) => Some(Side::Client),
            (true, false) if !self.server_sends() => Some(Side::Server),
            _ => None,
        }
    }

    pub fn checksum_choice(&self) -> Option<(ChecksumKind, ChecksumKind)> {
        let choice = self.value("--checksum-choice")?;
        let (transfer, list) = choice.split_once(',').unwrap_or((choice, choice));
        let kind = |name: &str| ChecksumKind::of(name.as_bytes()).expect("a known digest");
        Some((kind(transfer), kind(list)))
    }

    pub fn compresses(&self) -> bool {
        self.letter('z') || self.compress_choice().is_some()
    }

    pub fn compress_choice(&self) -> Option<Compression> {
        match self.value("--compress-choice") {
            Some(name) => Compression::of(name.as_bytes()),
            None if self.has("--new-compress") => Some(Compression::Zlibx),
            None if self.has("--old-compress") => Some(Compression::Zlib),
            None => None,
        }
    }

    pub fn list(&self, protocol: u8, compat: CompatFlags, checksum: ChecksumKind) -> ListOptions {
        let devices = self.letter('D');
        ListOptions {
            protocol,
            compat,
            owner: self.letter('o'),
            group: self.letter('g'),
            devices,
            specials: devices && !self.has("--no-specials") || self.has("--specials"),
            links: self.letter('l'),
            hard_links: self.letter('H'),
            atimes: self.letter('U'),
            checksum_len: self.letter('c').then(|| checksum.digest_len()),
            acls: self.letter('A'),
            xattrs: self.letter('X'),
            numeric_ids: self.has("--numeric-ids"),
            relative: self.letter('R'),
            missing_args: self.has("--delete-missing-args"),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}
