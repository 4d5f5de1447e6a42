//! What the client wants: its arguments, and what the module makes of them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use driftless_fs::browse::stat_unchecked;
use driftless_proto::args::{take_args, take_secluded, unquote};
use driftless_rsync::client::failure::system_text;
use driftless_rsync::flags::{Environment, Invocation, Mode, Usage, interpret, interpret_refusing};
use driftless_transfer::options::{DebugLevels, InfoLevels, TransferOptions};
use driftless_tree::path::printable;
use jiff::Timestamp;

use super::settle::{Settled, chmod};
use crate::args;
use crate::conf::{Key, Module};
use crate::refuse::Refusals;
use crate::session::{End, Session};

/// Longest request in the log.
const MAX_REQUEST_LEN: usize = 1024;

/// Bytes in one piece, where a client does not want less (`--max-alloc`).
const USUAL_MAX_ALLOC: u64 = 1 << 30;

/// A client's wish, as far as it is allowed.
pub(super) struct Wish {
    pub(super) invocation: Invocation,
    /// Paths inside the module.
    pub(super) paths: Vec<Vec<u8>>,
}

/// What a client is told once it understands it.
pub(super) struct Objection {
    pub(super) text: String,
    pub(super) code: u8,
    /// What the client says of itself, for the setup before it hears why.
    pub(super) client_info: Option<Vec<u8>>,
    /// What that setup depends on.
    pub(super) options: TransferOptions,
    pub(super) sends: bool,
}

impl Session<'_, '_> {
    pub(super) fn request(&mut self, mut settled: Settled<'_>) -> Result<u8, End> {
        let module = settled.module;
        self.start_clock(&module);
        self.wire.say(b"@RSYNCD: OK\n")?;
        let protocol = u8::try_from(self.caller.protocol).unwrap_or(0);
        let least = driftless_transfer::connect::LEAST_PROTOCOL;
        let first = self.wire.need(|input| {
            Ok(take_args(input, protocol.max(least))?
                .into_iter()
                .map(<[u8]>::to_vec)
                .collect::<Vec<_>>())
        })?;
        if protocol < least {
            self.error("protocol version mismatch -- is your shell clean?");
            self.error("(see the rsync manpage for an explanation)");
            return Err(End::Silent(2));
        }
        let dot = first.iter().position(|word| word == b".").unwrap_or(first.len());
        let mut words: Vec<Vec<u8>> = first[..dot].iter().map(|word| unquote(word)).collect();
        let secluded = words.iter().any(|word| is_secluded(word));
        let mut rest: Vec<Vec<u8>> = first[dot..].to_vec();
        if secluded {
            rest = self.wire.need(|input| {
                Ok(take_secluded(input)?.into_iter().map(<[u8]>::to_vec).collect())
            })?;
            let dot = rest.iter().position(|word| word == b".").unwrap_or(rest.len());
            words.extend(rest.drain(..dot));
        }
        self.wire.set_deadline(None);
        let given = rest.get(1..).unwrap_or_default().to_vec();
        let sends = words.iter().any(|word| word == b"--sender");
        self.log_request(&settled, &given, sends);
        let paths = paths(&settled, &given, secluded);
        let hook = self.run_programs(&mut settled, &words, &paths)?;
        let said = client_info(&words).map(<[u8]>::to_vec);
        let wish = match hook {
            Some(text) => Err((text, 4)),
            None => self.wish(&settled, &words, paths, sends),
        };
        let wish = wish.map_err(|(text, code)| {
            let options = assumed(&words, self.host.zone.clone());
            // Behind the option that is refused nothing was read, and the client knows that.
            let client_info = said.filter(|_| !self.refuses_cluster(&settled, &words, sends));
            Objection { text, code, client_info, options, sends }
        });
        self.transfer(&settled, protocol, wish)
    }

    /// `rsync on …`, `rsync to …`
    fn log_request(&mut self, settled: &Settled<'_>, given: &[Vec<u8>], sends: bool) {
        let mut request = given.join(&b' ');
        if request.len() > MAX_REQUEST_LEN {
            request.truncate(MAX_REQUEST_LEN);
        }
        let user = match settled.entry.user.as_slice() {
            b"" => String::new(),
            user => format!("{}@", printable(user)),
        };
        let word = if sends { "on" } else { "to" };
        let (shown, both) = (printable(&request), self.peer.both());
        self.info(format!("rsync {word} {shown} from {user}{both}"));
    }

    /// Tells the module's programs what is asked for; returns what the one before the transfer says
    /// when it forbids it.
    fn run_programs(
        &mut self,
        settled: &mut Settled<'_>,
        words: &[Vec<u8>],
        paths: &[Vec<u8>],
    ) -> Result<Option<String>, End> {
        let (before, converter) = (settled.before.take(), settled.converter.take());
        if before.is_none() && converter.is_none() {
            return Ok(None);
        }
        let name = settled.module.name();
        let request: Vec<Vec<u8>> =
            paths.iter().map(|path| [name, b"/", &path[..]].concat()).collect();
        let first = [b"rsyncd".to_vec()];
        let dot = [b".".to_vec()];
        let all = first.iter().chain(words).chain(&dot).chain(paths).cloned();
        let all: Vec<Vec<u8>> = all.collect();
        let request = request.join(&b' ');
        let converter = converter.and_then(|one| one.start(&request, &all).ok());
        if let Some(converter) = converter {
            Arc::make_mut(&mut settled.terms).names = Some(Arc::new(converter));
        }
        let Some(before) = before else { return Ok(None) };
        let answer = before.run(&request, &all);
        let (status, said) = answer.unwrap_or((255 << 8, Vec::new()));
        if status == 0 {
            return Ok(None);
        }
        let said = String::from_utf8_lossy(&said).trim_end().to_owned();
        let text = format!("pre-xfer exec returned failure ({status})");
        Ok(Some(if said.is_empty() { text } else { format!("{text}:\n{said}") }))
    }

    /// Whether the word in which the client speaks of itself has an option that is refused.
    fn refuses_cluster(&self, settled: &Settled<'_>, words: &[Vec<u8>], sends: bool) -> bool {
        let refusals = refusals(&settled.module, &mut |_| {});
        let refuses = |flag: &_, on| refusals.refuses(flag, on, sends);
        let cluster = words.iter().position(|word| has_client_info(word));
        let Some(read) = cluster.and_then(|at| words.get(..=at)) else { return false };
        let environment = environment(self.host.zone.clone());
        interpret_refusing(read, &environment, &refuses).is_err()
    }

    fn wish(
        &mut self,
        settled: &Settled<'_>,
        words: &[Vec<u8>],
        paths: Vec<Vec<u8>>,
        sends: bool,
    ) -> Result<Wish, (String, u8)> {
        let module = &settled.module;
        let mut told = Vec::new();
        let refusals = refusals(module, &mut |line| told.push(line.to_owned()));
        told.iter().for_each(|line| self.info(line));
        let environment = environment(self.host.zone.clone());
        let all: Vec<Vec<u8>> =
            words.iter().cloned().chain([b".".to_vec()]).chain(paths.iter().cloned()).collect();
        // Whatever is wrong with an option, the request is not supported.
        let usage = |usage: Usage| (usage.line(), 4);
        let refuses = |flag: &_, on| refusals.refuses(flag, on, sends);
        let mut invocation = interpret_refusing(&all, &environment, &refuses).map_err(usage)?;
        match invocation.mode {
            Mode::Server { .. } => {}
            Mode::Daemon => return Err(("rsync: Attempt to hack rsync thwarted!".to_owned(), 1)),
            _ => return Err(("rsync: a daemon serves with --server alone".to_owned(), 1)),
        }
        self.apply(settled, &mut invocation.options, sends)?;
        Ok(Wish { invocation, paths })
    }

    /// A change of modes that is none is told, and the transfer goes on without.
    fn note_chmod(&mut self, module: &Module<'_>, sends: bool) {
        let key = chmod_key(sends);
        let text = module.raw(key).unwrap_or_default();
        if !text.is_empty() && chmod(text).is_none() {
            let name = key.param().name;
            self.error(format!("Invalid \"{name}\" directive: {}", printable(text)));
        }
    }

    /// What the module says about the transfer.
    fn apply(
        &mut self,
        settled: &Settled<'_>,
        options: &mut TransferOptions,
        sends: bool,
    ) -> Result<(), (String, u8)> {
        let Settled { module, place, here, .. } = settled;
        self.note_chmod(module, sends);
        if !place.is_root() {
            confine_paths(options, here);
        }
        check_paths(settled, options)?;
        options.link.munge = settled.munges;
        options.link.insecure = module.flag(Key::InsecureLinks);
        options.link.confine_root = None;
        // Only less than the usual limit.
        options.limit.max_alloc = options.limit.max_alloc.filter(|most| *most < USUAL_MAX_ALLOC);
        let limit = u64::try_from(module.int(Key::Timeout)).unwrap_or(0);
        if limit > 0 {
            let limit = Duration::from_secs(limit);
            options.timeout = Some(options.timeout.map_or(limit, |theirs| theirs.min(limit)));
        }
        if let Some(most) = self.host.settings.bwlimit {
            options.bwlimit = Some(options.bwlimit.map_or(most, |theirs| theirs.min(most)));
        }
        let metadata = &mut options.metadata;
        if module.flag(Key::FakeSuper) {
            metadata.fake_super = true;
            // The names that attributes are kept under are nobody's to transfer.
            metadata.xattrs = metadata.xattrs.min(1);
        } else if metadata.fake_super {
            metadata.fake_super = false;
            metadata.super_user = Some(true);
        }
        let charset = module.raw(Key::Charset).unwrap_or_default();
        if !charset.is_empty() {
            options.metadata.iconv = options.metadata.iconv.take().map(|_| charset.to_vec());
        }
        options.delete.ignore_errors |= module.flag(Key::IgnoreErrors);
        if let Some(answer) = module.tri(Key::OpenNoatime) {
            options.read.open_noatime = answer;
        }
        if sends && module.raw(Key::DontCompress) == Some(b"*") {
            options.compress_level = Some(0);
        }
        let temp_dir = module.raw(Key::TempDir).unwrap_or_default();
        if options.temp_dir.is_none() && !temp_dir.is_empty() {
            options.temp_dir = Some(match place.is_root() {
                true => temp_dir.to_vec(),
                false => args::option_path(temp_dir, here, 0),
            });
        }
        limit_talk(options, u8::try_from(module.int(Key::MaxVerbosity).clamp(0, 255)).unwrap_or(0));
        Ok(())
    }
}

/// The names of the module's side that an option may hold.
fn named_paths(options: &mut TransferOptions) -> Vec<&mut Vec<u8>> {
    let mut paths: Vec<&mut Vec<u8>> = Vec::new();
    paths.extend(&mut options.temp_dir);
    paths.extend(&mut options.write.partial_dir);
    paths.extend(options.write.backup.as_mut().and_then(|backup| backup.dir.as_mut()));
    if let Some(alternates) = &mut options.update.alternates {
        paths.extend(&mut alternates.dirs);
    }
    if let Some(driftless_transfer::options::FilesFrom::Local(path)) =
        &mut options.selection.files_from
    {
        paths.push(path);
    }
    paths
}

/// Directories that options may climb out of: as many as paths have components, which the module
/// bounds in any case.
const DEPTH: usize = 256;

fn confine_paths(options: &mut TransferOptions, here: &[u8]) {
    for path in named_paths(options) {
        *path = args::option_path(path, here, DEPTH);
    }
}

/// A client names nothing that the module's rules hide.
fn check_paths(settled: &Settled<'_>, options: &mut TransferOptions) -> Result<(), (String, u8)> {
    for path in named_paths(options) {
        let full = match path.as_slice() {
            [b'/', ..] => path.clone(),
            relative => [&settled.here[..], b"/", relative].concat(),
        };
        if settled.terms.hides(&full, true) || settled.terms.hides(&full, false) {
            return Err(("rsync: Your options have been rejected by the server.".to_owned(), 4));
        }
    }
    if let Some(driftless_transfer::options::FilesFrom::Local(path)) = &options.selection.files_from
        && let Err(error) = stat_unchecked(Path::new(OsStr::from_bytes(path)), true)
    {
        // Where the module lies is the operator's to know.
        let inside = path.strip_prefix(&settled.here[..]).unwrap_or(path);
        let (name, why) = (printable(inside), system_text(&error));
        let why = why.rsplit_once(" (").map_or(why.as_str(), |(text, _)| text);
        return Err((format!("rsync: failed to open files-from file {name}: {why}"), 4));
    }
    Ok(())
}

/// Caps what the client hears.
fn limit_talk(options: &mut TransferOptions, most: u8) {
    let talk = &mut options.talk;
    let mut info = InfoLevels::of_verbosity(most);
    let mut debug = DebugLevels::of_verbosity(most);
    for word in InfoLevels::WORDS {
        // Progress and figures are the client's own.
        let free = matches!(*word, "PROGRESS" | "STATS" | "FLIST");
        if let (Some(level), Some(cap)) =
            (talk.info.by_word(word.as_bytes()), info.by_word(word.as_bytes()))
            && !free
        {
            *level = (*level).min(*cap);
        }
    }
    for word in DebugLevels::WORDS {
        if let (Some(level), Some(cap)) =
            (talk.debug.by_word(word.as_bytes()), debug.by_word(word.as_bytes()))
        {
            *level = (*level).min(*cap);
        }
    }
    talk.verbosity = talk.verbosity.min(most);
}

/// The client's paths inside the module, with wildcards put in.
fn paths(settled: &Settled<'_>, given: &[Vec<u8>], secluded: bool) -> Vec<Vec<u8>> {
    let name = settled.module.name();
    let is_root = settled.place.is_root();
    let mut paths = Vec::new();
    for arg in given {
        let words = match secluded {
            true => vec![args::without_module(arg, name)],
            false => args::words(arg, name),
        };
        for word in words {
            let clean = if is_root { word } else { args::sanitized(&word, 0) };
            paths.extend(args::globbed(&clean));
        }
    }
    paths
}

/// Whether a word asks for arguments behind the first ones.
fn is_secluded(word: &[u8]) -> bool {
    match word {
        b"--secluded-args" | b"--protect-args" => true,
        [b'-', b'-', ..] => false,
        // Behind an `e` the client speaks of itself.
        [b'-', cluster @ ..] => cluster.iter().take_while(|b| **b != b'e').any(|b| *b == b's'),
        _ => false,
    }
}

/// What a client says of itself, from a command line that is not understood.
fn client_info(words: &[Vec<u8>]) -> Option<&[u8]> {
    let word = words.iter().find(|word| has_client_info(word))?;
    let at = word.iter().position(|b| *b == b'e')?;
    Some(&word[at + 1..])
}

/// Whether a word is a cluster of short options in which the client speaks of itself.
fn has_client_info(word: &[u8]) -> bool {
    word.starts_with(b"-") && !word.starts_with(b"--") && word.contains(&b'e')
}

/// What the module refuses; words of it that are no option go to `log`.
fn refusals(module: &Module<'_>, log: &mut dyn FnMut(&str)) -> Refusals {
    let has_charset = !module.raw(Key::Charset).unwrap_or_default().is_empty();
    Refusals::new(module.raw(Key::RefuseOptions).unwrap_or_default(), has_charset, log)
}

/// The options of a command line that is refused, as far as it is understood.
fn assumed(words: &[Vec<u8>], zone: jiff::tz::TimeZone) -> TransferOptions {
    let environment = environment(zone);
    if let Ok(invocation) = interpret(words, &environment) {
        return invocation.options;
    }
    let mut options = TransferOptions::plain();
    let compresses = words.iter().any(|word| match word.as_slice() {
        [b'-', b'-', ..] => false,
        [b'-', cluster @ ..] => cluster.iter().take_while(|b| **b != b'e').any(|b| *b == b'z'),
        _ => false,
    });
    if compresses {
        options.compress = driftless_transfer::options::CompressChoice::Negotiate;
    }
    options
}

/// A daemon's environment says nothing about a client's options.
fn environment(zone: jiff::tz::TimeZone) -> Environment {
    Environment {
        umask: 0o022,
        now: Timestamp::now(),
        zone: zone.into(),
        rsh: None,
        old_args: None,
        protect_args: None,
        partial_dir: None,
        iconv: None,
        max_alloc: None,
        checksum_list: None,
        compress_list: None,
    }
}

/// The parameter that changes the modes of what goes one way.
fn chmod_key(sends: bool) -> Key {
    if sends { Key::OutgoingChmod } else { Key::IncomingChmod }
}

/// The change of modes for what goes one way.
pub(super) fn module_chmod(
    settled: &Settled<'_>,
    sends: bool,
) -> Option<driftless_transfer::chmod::Chmod> {
    chmod(settled.module.raw(chmod_key(sends)).unwrap_or_default())
}
