//! What a session reports, as lines of the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use driftless_rsync::output::exit;
use driftless_rsync::output::format::{Context, Format, Subject, shown_name};
use driftless_rsync::output::itemize::is_significant;
use driftless_rsync::output::listing::Columns;
use driftless_transfer::options::{ChecksumKind, TransferOptions};
use driftless_transfer::report::{Item, ItemFlags, Message, Origin, Report, Role, Transferred};
use driftless_transfer::{Level, PushError};
use driftless_tree::flist::Entry;
use jiff::tz::TimeZone;

use crate::log::{Log, Weight};

/// Names for a format that the transfer does not know.
pub(crate) struct Names<'a> {
    pub(crate) host: &'a str,
    pub(crate) address: &'a str,
    pub(crate) module: &'a [u8],
    pub(crate) path: &'a [u8],
    pub(crate) user: &'a [u8],
}

/// Writes what happens into a log.
pub(crate) struct Journal<'a> {
    pub(crate) log: &'a mut Log,
    /// `None`: transfers are not logged.
    format: Option<Format>,
    /// How what needs no content is named where the client is to hear names; a sender names nothing.
    names: Option<Format>,
    sends: bool,
    options: &'a TransferOptions,
    list_digests: Option<ChecksumKind>,
    zone: TimeZone,
    /// Ends the session.
    asked_to_stop: Arc<AtomicBool>,
    /// On a receiving side: where below the module.
    destination: Vec<u8>,
}

impl<'a> Journal<'a> {
    pub(crate) fn new(
        log: &'a mut Log,
        format: Option<Format>,
        sends: bool,
        options: &'a TransferOptions,
        zone: TimeZone,
        asked_to_stop: Arc<AtomicBool>,
    ) -> Self {
        Self {
            log,
            format,
            names: (!sends && options.talk.info.name > 0).then(|| Format::parse(b"%n%L")),
            sends,
            options,
            list_digests: None,
            zone,
            asked_to_stop,
            destination: Vec::new(),
        }
    }

    /// What is received goes into this directory of the module.
    pub(crate) fn put_in(&mut self, destination: &[u8]) {
        let clean = destination.strip_suffix(b"/").unwrap_or(destination);
        self.destination = if clean == b"." { Vec::new() } else { clean.to_vec() };
    }

    /// The item with where it is in the module.
    fn placed<'i>(&'i self, item: &Item<'i>) -> Item<'i> {
        match self.sends {
            true => *item,
            false => Item { source_dir: &self.destination, ..*item },
        }
    }

    fn line(&mut self, subject: &Subject<'_>) {
        let Some(format) = &self.format else { return };
        let placed;
        let subject = match subject {
            Subject::Item(item, transfer) => {
                placed = self.placed(item);
                &Subject::Item(&placed, *transfer)
            }
            deleted => deleted,
        };
        let line = format.render(subject, &self.context());
        self.log.line(Weight::Info, line);
    }

    fn context(&self) -> Context<'_> {
        Context {
            times: self.options.times,
            group: self.options.group,
            owner: self.options.owner,
            sends: self.sends,
            digest_len: self.list_digests.map_or(32, |kind| kind.digest_len() * 2),
            // Of what a dry run would transfer nothing is logged.
            shows_zeros: false,
            list_digests: self.list_digests,
            zone: &self.zone,
            now: jiff::Timestamp::now(),
            pid: std::process::id(),
        }
    }

    fn has(&self, letters: &[u8]) -> bool {
        self.format.as_ref().is_some_and(|format| format.has(letters))
    }
}

impl Report for Journal<'_> {
    fn item(&mut self, item: &Item<'_>) {
        if item.flags & ItemFlags::TRANSFER != 0 || !is_significant(item.flags) {
            return;
        }
        if self.has(b"i") {
            if !self.options.dry_run {
                self.line(&Subject::Item(item, None));
            }
        } else if let Some(names) = &self.names {
            let line = names.render(&Subject::Item(item, None), &self.context());
            self.log.line(Weight::Info, line);
        }
    }

    fn transferred(&mut self, item: &Item<'_>, transfer: &Transferred<'_>) {
        if !self.options.dry_run && transfer.accepted {
            self.line(&Subject::Item(item, Some(transfer)));
        }
    }

    fn deleted(&mut self, name: &[u8], is_dir: bool) {
        if self.format.is_none() || self.options.dry_run {
            return;
        }
        if self.has(b"oi") {
            let dir = self.destination.clone();
            self.line(&Subject::Deleted { name, dir: &dir, is_dir });
        } else {
            let shown = shown_name(name, is_dir);
            self.log.line(Weight::Info, [b"deleting ", &shown[..]].concat());
        }
    }

    fn message(&mut self, message: &Message<'_>) {
        if message.origin == Origin::Peer {
            return;
        }
        let weight = match message.level {
            Level::Motd | Level::Info => Weight::Info,
            Level::Warning => Weight::Warning,
            Level::Error | Level::ErrorXfer => Weight::Error,
        };
        self.log.line(weight, message.text);
    }

    fn list_digests(&mut self, kind: ChecksumKind) {
        self.list_digests = Some(kind);
    }

    fn listing_line(&self, entry: &Entry) -> Option<Vec<u8>> {
        let columns = Columns {
            // No client tells what it wants.
            human: 1,
            atimes: self.options.metadata.atimes > 0,
            links: self.options.links,
            zone: &self.zone,
        };
        Some(columns.line(entry))
    }

    fn cancelled(&self) -> bool {
        self.asked_to_stop.load(Ordering::Relaxed)
    }

    fn farewell(&mut self, error: &PushError) -> Option<String> {
        let role = if self.sends { Role::Sender } else { Role::ReceivingSide };
        Some(exit::line(error.exit_code(), role))
    }
}

/// A format with the names put in that only a daemon knows.
pub(crate) fn format(text: &[u8], names: &Names<'_>) -> Format {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'%' {
            out.push(byte);
            rest = after;
            continue;
        }
        let width_len =
            after.iter().take_while(|b| b.is_ascii_digit() || matches!(b, b'\'' | b'-')).count();
        let value: Option<&[u8]> = match after.get(width_len) {
            Some(b'a') => Some(names.address.as_bytes()),
            Some(b'h') => Some(names.host.as_bytes()),
            Some(b'm') => Some(names.module),
            Some(b'P') => Some(names.path),
            Some(b'u') => Some(names.user),
            _ => None,
        };
        let Some(value) = value else {
            let end = (width_len + 1).min(after.len());
            out.push(b'%');
            out.extend_from_slice(&after[..end]);
            rest = &after[end..];
            continue;
        };
        let spec = String::from_utf8_lossy(&after[..width_len]).replace('\'', "");
        let width: usize = spec.trim_start_matches('-').parse().unwrap_or(0);
        let pad = vec![b' '; width.min(1024).saturating_sub(value.len())];
        let shown: Vec<u8> =
            value.iter().flat_map(|b| if *b == b'%' { vec![b'%'; 2] } else { vec![*b] }).collect();
        match spec.starts_with('-') {
            true => out.extend([shown, pad].concat()),
            false => out.extend([pad, shown].concat()),
        }
        rest = &after[width_len + 1..];
    }
    Format::parse(&out)
}
