//! A client's ear and mouth: what a session reports becomes lines on standard output, standard
//! error and in the log.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use driftless_transfer::options::{ChecksumKind, Itemize, StderrMode, TransferOptions};
use driftless_transfer::report::{
    Direction, Item, ItemFlags, ListProgress, Message, Progress, Report, Transferred,
};
use driftless_transfer::{Ending, Level, connect};
use driftless_tree::Kind;
use driftless_tree::flist::{self, Entry};

use super::escape::{self, Charset};
use super::format::{Context, Format, Subject, shown_name};
use super::itemize::is_significant;
use super::listing::Columns;
use super::log::Log;
use super::meter::Meter;
use super::stats::{Unreal, figures, log_summary, summary};
use crate::flags::{Buffering, Output};
use crate::zone::Zone;

/// Where lines go, and how names look there.
pub struct Streams {
    /// For information.
    pub out: Box<dyn Write>,
    /// For errors.
    pub err: Box<dyn Write>,
    /// `--log-file`
    pub log: Option<Log>,
    /// Which characters are printed.
    pub charset: Charset,
    /// Local time.
    pub zone: Zone,
}

/// Where the client sits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seat {
    /// At the source.
    Sends,
    /// At the destination.
    Receives,
    /// At both, and at the source's end of the session.
    Local,
    /// At both, and at the reading end of a listing.
    Lists,
}

/// The lines of one session.
pub struct Printer {
    streams: Streams,
    options: TransferOptions,
    human: u8,
    /// `--outbuf` wants each line at once.
    flushes: bool,
    format: Option<Format>,
    log_format: Option<Format>,
    seat: Seat,
    digest_len: usize,
    list_digests: Option<ChecksumKind>,
    started: Instant,
    stop: Arc<AtomicBool>,
    /// `building file list ... ` stands there without its end.
    list_open: bool,
    /// Its end is to be told.
    list_begun: bool,
    /// How long it is by now stands on a line without an end.
    list_counts: bool,
    /// The first list is the whole.
    whole_list: bool,
    /// A line of progress stands there without its end, with so many characters.
    progress_len: usize,
    /// Files, and bytes in them, that a dry run would transfer.
    untransferred: (u64, u64),
    said_last: bool,
    /// Lines of a listing whose lists come one by one, in another order than they are printed in.
    held: Vec<(Entry, Vec<u8>)>,
    meter: Meter,
}

impl Printer {
    /// `format` and `log_format` as the invocation has them; `stop` is set by signals.
    pub fn new(
        streams: Streams,
        options: &TransferOptions,
        output: &Output,
        seat: Seat,
        stop: Arc<AtomicBool>,
    ) -> Self {
        let reads = matches!(seat, Seat::Receives | Seat::Lists);
        let log_format = output.log_file_format.as_deref().unwrap_or(b"%i %n%L");
        let has_log = streams.log.is_some() && !log_format.is_empty();
        Self {
            streams,
            options: options.clone(),
            human: output.human,
            flushes: matches!(output.buffer, Some(Buffering::None | Buffering::Line)),
            format: output.format.as_deref().map(Format::parse),
            log_format: has_log.then(|| Format::parse(log_format)),
            seat,
            digest_len: options.checksum_choice.map_or(32, |kind| kind.digest_len() * 2),
            list_digests: None,
            started: Instant::now(),
            stop,
            list_open: false,
            list_begun: false,
            list_counts: false,
            whole_list: false,
            progress_len: 0,
            untransferred: (0, 0),
            said_last: false,
            held: Vec::new(),
            meter: Meter::new(options.talk.info.progress > 1, reads, output.human),
        }
    }

    /// Prints a line for information.
    pub fn info(&mut self, text: &[u8]) {
        if let Some(log) = &mut self.streams.log
            && !text.is_empty()
        {
            log.line(text);
        }
        self.say(text);
    }

    /// Whether there would be digests if this were no dry run: there are none with the sums of old
    /// protocols, unless another one is asked for.
    fn shows_zeros(&self) -> bool {
        match self.options.checksum_choice {
            _ if !self.options.dry_run => false,
            Some(kind) => kind != ChecksumKind::None,
            None => self.options.protocol >= 30,
        }
    }

    /// Whether the last line about an error was one that ends a run.
    pub fn has_said_last(&self) -> bool {
        self.said_last
    }

    /// Prints a line about something that went wrong.
    pub fn error(&mut self, text: &[u8]) {
        self.said_last = text.starts_with(b"rsync error: ");
        if let Some(log) = &mut self.streams.log {
            log.line(text);
        }
        // The start of a list stays open.
        if std::mem::take(&mut self.progress_len) > 0 {
            self.write(b"\n");
        }
        let _ = self.streams.out.flush();
        let mut line = Vec::with_capacity(text.len() + 2);
        // There, too, where the two are not the same (seen).
        line.extend(std::mem::take(&mut self.list_counts).then_some(b'\n'));
        escape::put(&mut line, text, self.streams.charset);
        line.push(b'\n');
        let _ = self.streams.err.write_all(&line);
        let _ = self.streams.err.flush();
    }

    /// Hands on what is printed so far, or held back.
    pub fn flush(&mut self) {
        let mut held = std::mem::take(&mut self.held);
        held.sort_by(|(a, _), (b, _)| flist::compare(a, b));
        for (_, line) in held {
            self.say(&line);
        }
        let _ = self.streams.out.flush();
    }

    /// Prints figures and summary of a session that came to its end.
    pub fn finish(&mut self, ending: &Ending) {
        self.flush();
        self.break_line();
        let mut stats = ending.statistics;
        if self.options.dry_run {
            (stats.transferred_count, stats.transferred_size) = self.untransferred;
        }
        let stats = &stats;
        let talk = &self.options.talk;
        let (level, traces) = (talk.info.stats, talk.debug.deltasum);
        if !self.reads() && traces > 0 && !self.options.selection.list_only {
            let line = stats.match_totals();
            self.info(line.as_bytes());
        }
        if level >= 2 {
            self.say(b"");
            for line in figures(stats, self.human) {
                self.info(line.as_bytes());
            }
        }
        if level >= 1 {
            self.say(b"");
            let unreal = match () {
                () if self.options.dry_run => Unreal::DryRun,
                () if self.options.talk.only_write_batch => Unreal::BatchOnly,
                () => Unreal::No,
            };
            let secs = self.started.elapsed().as_secs();
            for line in summary(stats, secs, unreal, self.human) {
                self.info(line.as_bytes());
            }
        } else if let Some(log) = &mut self.streams.log {
            log.line(log_summary(stats).as_bytes());
        }
        let _ = self.streams.out.flush();
    }

    /// Writes into the log that a session came to its end.
    pub(super) fn log_end(&mut self, ending: &Ending) {
        if let Some(log) = &mut self.streams.log {
            log.line(log_summary(&ending.statistics).as_bytes());
        }
    }

    fn reads(&self) -> bool {
        matches!(self.seat, Seat::Receives | Seat::Lists)
    }

    /// Whether standard output is of any interest.
    fn is_silent(&self) -> bool {
        self.options.talk.quiet
    }

    fn say(&mut self, text: &[u8]) {
        if self.is_silent() {
            return;
        }
        self.break_line();
        let mut line = Vec::with_capacity(text.len() + 1);
        escape::put(&mut line, text, self.streams.charset);
        line.push(b'\n');
        self.write(&line);
    }

    fn write(&mut self, bytes: &[u8]) {
        let to_err = self.options.talk.stderr == StderrMode::All;
        let stream = if to_err { &mut self.streams.err } else { &mut self.streams.out };
        // A reader that is gone stops nothing; the exit code tells how the transfer went.
        let _ = stream.write_all(bytes);
        if self.flushes {
            let _ = stream.flush();
        }
    }

    /// Ends what stands on the line without an end.
    fn break_line(&mut self) {
        if std::mem::take(&mut self.progress_len) > 0 || std::mem::take(&mut self.list_open) {
            self.list_counts = false;
            self.write(b"\n");
        }
    }

    fn context(&self) -> Context<'_> {
        Context {
            times: self.options.times,
            group: self.options.group,
            owner: self.options.owner,
            sends: !self.reads(),
            digest_len: self.digest_len,
            shows_zeros: self.shows_zeros(),
            list_digests: self.list_digests,
            zone: &self.streams.zone,
            now: jiff::Timestamp::now(),
            pid: std::process::id(),
        }
    }

    fn show(&mut self, item: &Item<'_>, transfer: Option<&Transferred<'_>>) {
        // Within one machine everything is received.
        let direction = if self.seat == Seat::Local { Direction::Received } else { item.direction };
        let shown = Item { direction, ..*item };
        let subject = Subject::Item(&shown, transfer);
        if self.is_shown(item)
            && let Some(line) = self.format.as_ref().map(|f| f.render(&subject, &self.context()))
        {
            self.say(&line);
        }
        if self.is_logged(item)
            && let Some(format) = &self.log_format
        {
            let line = format.render(&subject, &self.context());
            if let Some(log) = &mut self.streams.log {
                log.line(&line);
            }
        }
    }

    /// Whether the item is worth a line of its own, whatever the format.
    fn is_plain_change(item: &Item<'_>) -> bool {
        let has = |flag: u16| item.flags & flag != 0;
        let significant = is_significant(item.flags);
        let linked = item.xname.is_some_and(|name| !name.is_empty());
        has(ItemFlags::TRANSFER)
            || (has(ItemFlags::LOCAL_CHANGE) && significant)
            || linked
            || (significant && item.entry.kind() == Some(Kind::Dir))
    }

    fn is_shown(&self, item: &Item<'_>) -> bool {
        let talk = &self.options.talk;
        let significant = is_significant(item.flags);
        match talk.itemize {
            Itemize::All => true,
            Itemize::Changed => significant || Self::is_plain_change(item) || talk.info.name > 1,
            // The generator says the rest in words, where it is asked for.
            Itemize::Off => Self::is_plain_change(item),
        }
    }

    fn is_logged(&self, item: &Item<'_>) -> bool {
        let transfers = item.flags & ItemFlags::TRANSFER != 0;
        let itemized = self.options.talk.itemize != Itemize::Off && is_significant(item.flags);
        (Self::is_plain_change(item) || itemized) && !(transfers && self.options.dry_run)
    }

    /// Whether lines tell what the content of a file was on its way.
    pub fn shows_content(&self) -> bool {
        [&self.format, &self.log_format]
            .into_iter()
            .any(|format| format.as_ref().is_some_and(Format::waits_for_content))
    }

    fn waits(&self, item: &Item<'_>) -> bool {
        self.shows_content() && item.flags & ItemFlags::TRANSFER != 0 && !self.options.dry_run
    }

    fn show_progress(&mut self, line: &str, ends: bool) {
        let pad = self.progress_len.saturating_sub(line.len());
        let mut bytes = line.as_bytes().to_vec();
        bytes.resize(bytes.len() + pad, b' ');
        self.progress_len = line.len();
        if ends {
            bytes.push(b'\n');
            self.progress_len = 0;
        }
        self.write(&bytes);
        let _ = self.streams.out.flush();
    }
}

impl Report for Printer {
    fn item(&mut self, item: &Item<'_>) {
        if self.options.dry_run && item.flags & ItemFlags::TRANSFER != 0 {
            self.untransferred.0 += 1;
            self.untransferred.1 = self.untransferred.1.saturating_add(item.entry.size);
        }
        match self.waits(item) {
            false => self.show(item, None),
            true if self.options.talk.info.progress == 1 && self.options.talk.info.name > 0 => {
                self.say(&item.entry.name);
            }
            true => {}
        }
        self.meter.next_file();
    }

    fn transferred(&mut self, item: &Item<'_>, transfer: &Transferred<'_>) {
        if self.waits(item) {
            if !transfer.digest.is_empty() && self.list_digests.is_none() {
                self.digest_len = transfer.digest.len() * 2;
            }
            self.show(item, Some(transfer));
        }
    }

    fn deleted(&mut self, name: &[u8], is_dir: bool) {
        let subject = Subject::Deleted { name, dir: b"", is_dir };
        let words = [b"deleting ", &shown_name(name, is_dir)[..]].concat();
        let line = |format: &Option<Format>, context: &Context<'_>| match format {
            Some(format) if format.has(b"io") => format.render(&subject, context),
            _ => words.clone(),
        };
        let log_line = line(&self.log_format, &self.context());
        if let Some(log) = &mut self.streams.log {
            log.line(&log_line);
        }
        if self.format.is_some() || self.options.talk.info.del > 0 {
            let line = line(&self.format, &self.context());
            self.say(&line);
        }
    }

    fn up_to_date(&mut self, entry: &Entry) {
        if self.options.talk.itemize == Itemize::Off
            && self.options.talk.info.name > 1
            && entry.kind() != Some(Kind::Dir)
        {
            self.info(&[&entry.name[..], b" is uptodate"].concat());
        }
    }

    fn message(&mut self, message: &Message<'_>) {
        match message.level {
            Level::Info | Level::Motd => self.info(message.text),
            Level::Warning | Level::Error | Level::ErrorXfer => self.error(message.text),
        }
    }

    fn list_digests(&mut self, kind: ChecksumKind) {
        self.list_digests = Some(kind);
        self.digest_len = kind.digest_len() * 2;
    }

    fn listing(&mut self, progress: ListProgress) {
        let level = self.options.talk.info.flist;
        let progress = match progress {
            // What is listed here is told of as if it were sent, by lists if those could be.
            ListProgress::Started { .. } if self.seat == Seat::Lists => ListProgress::Started {
                incremental: self.options.protocol >= 30
                    && connect::can_recurse_incrementally(
                        connect::Direction::Receive,
                        &self.options,
                    ),
                direction: Direction::Sent,
            },
            _ => progress,
        };
        if let ListProgress::Started { incremental, .. } = progress {
            self.whole_list = !incremental;
        }
        let (recursive, listed) = (self.options.selection.recursive, self.options.selection.dirs());
        if let ListProgress::Started { direction, .. } = progress
            && let Some(log) = &mut self.streams.log
        {
            let act = if direction == Direction::Sent { "building" } else { "receiving" };
            log.line(format!("{act} file list").as_bytes());
        }
        if level == 0
            || self.is_silent()
            || !(recursive || listed || self.options.selection.files_from.is_some())
        {
            return;
        }
        match progress {
            ListProgress::Started { incremental: true, direction } => {
                let act = if direction == Direction::Sent { "sending" } else { "receiving" };
                self.say(format!("{act} incremental file list").as_bytes());
            }
            ListProgress::Started { incremental: false, direction } => {
                let act = if direction == Direction::Sent { "building" } else { "receiving" };
                self.write(format!("{act} file list ... ").as_bytes());
                (self.list_open, self.list_begun, self.list_counts) = (true, true, true);
                if level > 1 && direction == Direction::Sent {
                    self.break_line();
                    self.list_counts = true;
                    self.write(b" 0 files...\r");
                }
            }
            ListProgress::Counted(_) | ListProgress::Complete(_) if !self.whole_list => {}
            ListProgress::Counted(count) if level > 1 && count % 100 == 0 => {
                // Where an error was told meanwhile, that has ended its line.
                if self.list_counts {
                    self.break_line();
                }
                (self.list_open, self.list_counts) = (false, true);
                self.write(format!(" {count} files...\r").as_bytes());
            }
            ListProgress::Counted(_) => {}
            ListProgress::Complete(count) if level > 1 => {
                (self.list_open, self.list_counts) = (false, false);
                let files = if count == 1 { "file" } else { "files" };
                self.write(format!("{count} {files} to consider\n").as_bytes());
            }
            ListProgress::Complete(_) => {
                if std::mem::take(&mut self.list_begun) {
                    (self.list_open, self.list_counts) = (false, false);
                    self.write(b"done\n");
                }
            }
        }
    }

    fn listed(&mut self, entry: &Entry) {
        let columns = Columns {
            human: self.human,
            atimes: self.options.metadata.atimes > 0,
            links: self.options.links,
            zone: &self.streams.zone,
        };
        let line = columns.line(entry);
        if self.seat == Seat::Receives && self.options.selection.recursive && !self.whole_list {
            let place = Entry { name: entry.name.clone(), mode: entry.mode, ..Entry::default() };
            return self.held.push((place, line));
        }
        self.say(&line);
    }

    fn progress(&mut self, progress: &Progress<'_>) {
        let level = self.options.talk.info.progress;
        if level == 0 || self.is_silent() || self.options.dry_run {
            return;
        }
        for (line, ends) in self.meter.lines(progress) {
            self.show_progress(&line, ends);
        }
    }

    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
