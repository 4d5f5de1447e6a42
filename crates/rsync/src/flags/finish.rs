//! What was typed means this: implications, conflicts, the environment.
//!
//! Origin: command-line reference, "Conflicts and implications" and "Environment".

use std::time::{Duration, SystemTime};

use driftless_filter::Given;
use driftless_proto::setup;
use driftless_transfer::options::{
    Append, Backup, ChecksumKind, CompressChoice, DeleteWhen, FilesFrom, InfoLevels, Itemize,
    LogFormat, RemoveSource,
};
use driftless_tree::path::printable;

use super::invocation::Environment;
use super::typed::{Batches, Recurse, Typed};
use super::values::integer;
use super::{Usage, stop_at};
use crate::output::format::Format;

/// The directory of `--delay-updates` where no other is named.
const DELAYED: &[u8] = b".~tmp~";

/// Most bytes of a batch file's name.
const MAX_BATCH_NAME: usize = 256;

/// What was typed, on its way to its meaning.
pub(super) struct Finish<'a> {
    pub(super) typed: Typed,
    pub(super) environment: &'a Environment,
    /// This is the other end.
    pub(super) server: bool,
    /// Words that are no options.
    pub(super) argument_count: usize,
}

impl Finish<'_> {
    pub(super) fn all(&mut self) -> Result<(), Usage> {
        self.protocol()?;
        self.arguments()?;
        self.batches()?;
        self.recursion();
        self.compression()?;
        self.checksums()?;
        self.deletion()?;
        self.backup()?;
        self.writing()?;
        self.metadata()?;
        self.offer();
        self.limits()?;
        self.talk();
        self.rules();
        Ok(())
    }

    fn protocol(&self) -> Result<(), Usage> {
        match self.typed.options.protocol {
            ..29 => Err(Usage::plain(
                2,
                "protocol version mismatch -- is your shell clean?\n\
                 (see the rsync manpage for an explanation)"
                    .to_owned(),
            )),
            29..=32 => Ok(()),
            33.. => {
                let side = if self.server { "Server" } else { "Client" };
                Err(Usage::plain(2, format!("--protocol must be no more than 32 on the {side}.")))
            }
        }
    }

    /// How arguments travel.
    fn arguments(&mut self) -> Result<(), Usage> {
        let typed = &mut self.typed;
        let number = |text: &Option<Vec<u8>>| {
            text.as_deref().and_then(|text| integer(text, text).ok()).unwrap_or(0)
        };
        let old_by_env = u8::try_from(number(&self.environment.old_args).clamp(0, 2)).unwrap_or(0);
        let secluded_by_env = old_by_env == 0 && number(&self.environment.protect_args) != 0;
        if typed.secluded_args == Some(true) && typed.old_args.is_some_and(|old| old > 0) {
            return Err(Usage::syntax("--secluded-args conflicts with --old-args.".to_owned()));
        }
        let secluded = match typed.secluded_args {
            None if self.server || typed.old_args.is_some_and(|old| old > 0) => false,
            said => said.unwrap_or(secluded_by_env),
        };
        typed.connect.secluded_args = secluded;
        typed.connect.old_args = if secluded { 0 } else { typed.old_args.unwrap_or(old_by_env) };
        if typed.connect.rsh.is_none() && !self.server {
            typed.connect.rsh.clone_from(&self.environment.rsh);
        }
        Ok(())
    }

    fn batches(&mut self) -> Result<(), Usage> {
        let typed = &mut self.typed;
        let Batches { write, only_write, read } = &typed.batch;
        if [write, only_write, read].into_iter().flatten().any(|name| name.len() > MAX_BATCH_NAME) {
            let text = format!("the batch-file name must be {MAX_BATCH_NAME} characters or less.");
            return Err(Usage::syntax(text));
        }
        let Some(_) = read else {
            typed.options.talk.only_write_batch = only_write.is_some();
            return Ok(());
        };
        let complain =
            |what: &str| Err(Usage::syntax(format!("--read-batch cannot be used with {what}")));
        if write.is_some() || only_write.is_some() {
            let text = "--write-batch and --read-batch can not be used together";
            return Err(Usage::syntax(text.to_owned()));
        }
        if typed.files_from.is_some() {
            return complain("--files-from");
        }
        if typed.options.delete.remove_source != RemoveSource::Nothing {
            return complain("--remove-source-files");
        }
        Ok(())
    }

    fn recursion(&mut self) {
        let typed = &mut self.typed;
        if typed.old_dirs {
            typed.recurse = Recurse::Yes;
            typed.rules.push(Given::Filter(b"- /*/*".to_vec()));
        }
        let selection = &mut typed.options.selection;
        selection.recursive = match typed.recurse {
            Recurse::No => false,
            Recurse::Archive => typed.files_from.is_none(),
            Recurse::Yes => true,
        };
        selection.relative = typed.relative.unwrap_or(typed.files_from.is_some());
        if self.server {
            // The client says of itself whether it can take lists in parts.
            let info = typed.connect.rsh.as_deref().unwrap_or_default();
            selection.inc_recursive = info.contains(&b'i');
        }
        // Parents are named by whole paths only.
        selection.implied_dirs |= !selection.relative;
        if !self.server && typed.batch.read.is_none() && self.argument_count == 1 {
            selection.list_only = true;
        }
    }

    fn compression(&mut self) -> Result<(), Usage> {
        let typed = &mut self.typed;
        let options = &mut typed.options;
        let by_level = options.compress_level.is_some_and(|level| level != 0);
        let choice = typed.compress_choice.as_deref();
        options.compress = match choice.filter(|name| !name.eq_ignore_ascii_case(b"auto")) {
            None if typed.compress >= 2 => CompressChoice::Zlibx,
            None if typed.compress == 1 || by_level => CompressChoice::Negotiate,
            None => CompressChoice::Off,
            Some(name) => match name.to_ascii_lowercase().as_slice() {
                b"none" => CompressChoice::Off,
                b"zstd" => CompressChoice::Zstd,
                b"lz4" => CompressChoice::Lz4,
                b"zlibx" => CompressChoice::Zlibx,
                b"zlib" => CompressChoice::Zlib,
                _ => {
                    let text = format!("unknown compress name: {}", printable(name));
                    return Err(Usage::plain(4, text));
                }
            },
        };
        if options.compress == CompressChoice::Off {
            options.compress_level = None;
        }
        Ok(())
    }

    fn checksums(&mut self) -> Result<(), Usage> {
        let Some(choice) = self.typed.checksum_choice.clone() else { return Ok(()) };
        let options = &mut self.typed.options;
        let (first, second) = match choice.iter().position(|b| *b == b',') {
            Some(at) => (&choice[..at], Some(&choice[at + 1..])),
            None => (&choice[..], None),
        };
        options.checksum_choice = checksum_name(first)?;
        let listed = match second {
            Some(name) => checksum_name(name)?,
            None => options.checksum_choice,
        };
        if options.update.checksum && listed == Some(ChecksumKind::None) {
            let text = "Invalid checksum-choice for --checksum: none (0)";
            return Err(Usage::plain(4, text.to_owned()));
        }
        options.update.list_checksum_choice = listed.filter(|_| listed != options.checksum_choice);
        Ok(())
    }

    fn deletion(&mut self) -> Result<(), Usage> {
        let typed = &mut self.typed;
        let options = &mut typed.options;
        typed.delete_when.dedup();
        let mut times = typed.delete_when.clone();
        times.sort_by_key(|when| *when as u8);
        times.dedup();
        options.delete.when = match times[..] {
            [] if typed.delete || options.delete.excluded => Some(DeleteWhen::Unspecified),
            [] => None,
            [when] => Some(when),
            _ => {
                let text = "You may not combine multiple --delete-WHEN options.";
                return Err(Usage::syntax(text.to_owned()));
            }
        };
        let selection = &options.selection;
        let dirs = selection.recursive || selection.dirs();
        if options.delete.when.is_some() && !dirs {
            let text = "--delete does not work without --recursive (-r) or --dirs (-d).";
            return Err(Usage::syntax(text.to_owned()));
        }
        options.delete.max = typed.max_delete.map(|most| u64::try_from(most).unwrap_or(0));
        Ok(())
    }

    fn backup(&mut self) -> Result<(), Usage> {
        let typed = &mut self.typed;
        let in_dir = typed.backup_dir.is_some();
        if let Some(suffix) = typed.suffix.as_deref().filter(|suffix| suffix.contains(&b'/')) {
            let text = format!("--suffix cannot contain slashes: {}", printable(suffix));
            return Err(Usage::syntax(text));
        }
        let backup = Backup {
            suffix: match &typed.suffix {
                Some(suffix) => suffix.clone(),
                None if in_dir => Vec::new(),
                None => b"~".to_vec(),
            },
            dir: typed.backup_dir.clone(),
        };
        if backup.suffix.is_empty() {
            match backup.dir.as_deref() {
                None => {
                    let text = "--suffix cannot be empty without a --backup-dir";
                    return Err(Usage::syntax(text.to_owned()));
                }
                Some(b"") => {
                    let text =
                        "--suffix cannot be empty when --backup-dir is the same as the dest dir";
                    return Err(Usage::syntax(text.to_owned()));
                }
                Some(_) => {}
            }
        }
        if typed.backup || in_dir {
            // Backups beside the files change the times of directories.
            typed.options.omit_dir_times |= !in_dir;
            typed.options.write.backup = Some(backup);
        }
        Ok(())
    }

    fn writing(&mut self) -> Result<(), Usage> {
        let options = &mut self.typed.options;
        let write = &mut options.write;
        let complain = |text: String| Err(Usage::syntax(text));
        if options.checksum_choice == Some(ChecksumKind::None) {
            options.whole_file = Some(true);
        }
        if write.append != Append::Off && options.whole_file == Some(true) {
            return complain("--append cannot be used with --whole-file".to_owned());
        }
        let in_place = write.in_place();
        if write.partial && write.partial_dir.is_none() && !in_place && !self.server {
            let by_env = self.environment.partial_dir.clone();
            write.partial_dir = by_env.filter(|dir| !dir.is_empty() && dir != b".");
        }
        let conflict = match (options.delay_updates, &write.partial_dir) {
            (true, _) => Some("--delay-updates"),
            (false, Some(_)) => Some("--partial-dir"),
            (false, None) => None,
        };
        if let Some(other) = conflict.filter(|_| in_place) {
            let name = if write.append == Append::Off { "--inplace" } else { "--append" };
            return complain(format!("{name} cannot be used with {other}"));
        }
        if write.partial_dir.as_deref().is_some_and(|dir| dir.is_empty() || dir == b".") {
            // Then files are not delayed either.
            write.partial_dir = None;
            write.partial = true;
        } else if options.delay_updates && write.partial_dir.is_none() {
            write.partial_dir = Some(DELAYED.to_vec());
        }
        // In place, whatever arrived stays anyway.
        write.partial = !in_place && (write.partial || write.partial_dir.is_some());
        Ok(())
    }

    fn metadata(&mut self) -> Result<(), Usage> {
        let typed = &mut self.typed;
        let options = &mut typed.options;
        if options.metadata.fake_super && options.metadata.xattrs > 1 {
            return Err(Usage::syntax("--fake-super conflicts with -XX".to_owned()));
        }
        if let Some(root) = &options.link.confine_root {
            if !root.starts_with(b"/") {
                return Err(Usage::syntax("--confine-root must be an absolute path".to_owned()));
            }
            if options.link.insecure {
                let text = "--insecure-links cannot be combined with --confine-root";
                return Err(Usage::syntax(text.to_owned()));
            }
        }
        let by_env = self.environment.iconv.clone().filter(|_| !self.server);
        let spec = typed.iconv.clone().or(by_env);
        options.metadata.iconv = spec.filter(|spec| spec != b"-");
        Ok(())
    }

    /// Which algorithms this end offers; a list that names none that is known offers none.
    fn offer(&mut self) {
        let Environment { checksum_list, compress_list, .. } = self.environment;
        let part = |list: &Option<Vec<u8>>| {
            let mut parts = list.as_deref()?.splitn(2, |b| *b == b'&');
            let client = parts.next().unwrap_or_default();
            let own = if self.server { parts.next().unwrap_or(client) } else { client };
            Some(own.trim_ascii().to_vec()).filter(|own| !own.is_empty())
        };
        let offer = &mut self.typed.options.offer;
        offer.checksums = part(checksum_list).map(|list| setup::checksums(&list));
        offer.compressions = part(compress_list).map(|list| setup::compressions(&list));
    }

    fn limits(&mut self) -> Result<(), Usage> {
        let typed = &mut self.typed;
        let limit = &mut typed.options.limit;
        if let (None, Some(text)) = (limit.max_alloc, &self.environment.max_alloc) {
            super::effects::max_alloc(typed, &text.clone())?;
        }
        let limit = &mut typed.options.limit;
        let now = SystemTime::from(self.environment.now);
        if let Some(minutes) = typed.stop_after {
            let whole = u64::try_from(minutes).ok().filter(|minutes| *minutes > 0);
            let Some(minutes) = whole else {
                return Err(Usage::syntax(format!("invalid --stop-after value: {minutes}")));
            };
            limit.stop_at = now.checked_add(Duration::from_secs(minutes.saturating_mul(60)));
        }
        if let Some(text) = &typed.stop_at {
            let Environment { now, zone, .. } = self.environment;
            limit.stop_at = Some(stop_at::parse(text, *now, zone)?.into());
        }
        Ok(())
    }

    fn talk(&mut self) {
        let debug = self.typed.debug_levels();
        let (mut info, given) = self.typed.info_levels();
        let typed = &mut self.typed;
        let talk = &mut typed.options.talk;
        talk.debug = debug;
        if talk.stats {
            info.stats = if talk.verbosity > 1 { 3 } else { 2 };
        }
        // A format that waits for the content comes too late.
        let waits = |format: &Vec<u8>| Format::parse(format).waits_for_content();
        let format = typed.output.format.as_ref();
        let names_by_format = format.map_or(typed.itemize > 0, |format| !waits(format));
        if typed.progress {
            (info.flist, info.progress) = (2, 1);
            if !names_by_format && !self.server {
                info.name = info.name.max(1);
            }
        }
        for (word, level) in InfoLevels::WORDS.iter().zip(given) {
            if let (Some(field), Some(level)) = (info.by_word(word.as_bytes()), level) {
                *field = level;
            }
        }
        (talk.info, talk.info_given) = (info, given);
        let format = &mut typed.output.format;
        if format.is_none() && !self.server {
            *format = match () {
                () if typed.itemize > 0 => Some(b"%i %n%L".to_vec()),
                () if info.name > 0 => Some(b"%n%L".to_vec()),
                () => None,
            };
        }
        let has = |escape: u8| format.as_deref().is_some_and(|format| has_escape(format, escape));
        let twice = typed.itemize > 1 || (self.server && has(b'I'));
        talk.itemize = match has(b'i') {
            false => Itemize::Off,
            true if twice => Itemize::All,
            true => Itemize::Changed,
        };
        talk.log_format = match () {
            () if has(b'i') => LogFormat::Items,
            () if has(b'o') => LogFormat::Operation,
            () if format.is_some() && talk.verbosity == 0 => LogFormat::Other,
            () => LogFormat::None,
        };
    }

    /// Origin: filter reference, "List order and per-directory lists".
    fn rules(&mut self) {
        let Typed { options, rules, .. } = &mut self.typed;
        let deletes = options.delete.when.is_some() && !options.delete.excluded;
        if let Some(backup) = &options.write.backup
            && backup.dir.is_none()
            && deletes
            && !self.server
        {
            rules.push(Given::Filter([b"P *", &backup.suffix[..]].concat()));
        }
        if let Some(dir) = options.write.partial_dir.as_deref().filter(|dir| !dir.starts_with(b"/"))
        {
            let rule = if options.protocol >= 30 || self.server { &b"-p "[..] } else { b"- " };
            rules.push(Given::Filter([rule, dir, b"/"].concat()));
        }
    }

    /// Returns the host that the list of files is read on, if it is remote.
    pub(super) fn files_from(&mut self) -> Option<Vec<u8>> {
        let name = self.typed.files_from.as_ref()?;
        let (host, from) = match name.as_slice() {
            b"-" => (None, FilesFrom::Stdin),
            _ if self.server => (None, FilesFrom::Local(name.clone())),
            _ => match crate::hostspec::split_host(name) {
                Some((host, path)) => (Some(host.to_vec()), FilesFrom::Remote(path.to_vec())),
                None => (None, FilesFrom::Local(name.clone())),
            },
        };
        self.typed.options.selection.files_from = Some(from);
        host
    }
}

fn checksum_name(name: &[u8]) -> Result<Option<ChecksumKind>, Usage> {
    if name.eq_ignore_ascii_case(b"auto") {
        return Ok(None);
    }
    let unknown = || Usage::plain(4, format!("unknown checksum name: {}", printable(name)));
    ChecksumKind::of(name).map(Some).ok_or_else(unknown)
}

/// Whether a format holds the escape, with or without width.
fn has_escape(format: &[u8], escape: u8) -> bool {
    let mut rest = format;
    while let Some(at) = rest.iter().position(|b| *b == b'%') {
        rest = &rest[at + 1..];
        let width = |b: &u8| matches!(b, b'\'' | b'-') || b.is_ascii_digit();
        let end = rest.iter().position(|b| !width(b)).unwrap_or(rest.len());
        match rest.get(end) {
            Some(letter) if *letter == escape => return true,
            Some(_) => rest = &rest[end + 1..],
            None => return false,
        }
    }
    false
}
