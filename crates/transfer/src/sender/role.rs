//! The sending side of a session, on either end.

use std::cell::RefCell;
use std::io::Read;
use std::os::unix::ffi::OsStringExt;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use driftless_filter::{Given, ParseOptions, ReadFile, Rules};
use driftless_fs::operator::{self, Links};
use driftless_proto::flist::ListOptions;
use driftless_proto::mux::{LAST_FRAME, TEXT_LIMIT, Tag};
use driftless_proto::setup::ChecksumKind;
use driftless_proto::{files_from, filterlist};

use crate::charset;
use crate::connect::Established;
use crate::connect::handshake::Setup;
use crate::connect::shell;
use crate::error::PushError;
use crate::handover::Handover;
use crate::ids;
use crate::link::Link;
use crate::options::{FilesFrom, MissingArgs, TransferOptions};
use crate::push::Outcome;
use crate::record::put_header;
use crate::report::{KindCounts, Overall, Report, Statistics};
use crate::request::{Ending, Request, SessionFailure};
use crate::rule_texts::ReadOnce;
use crate::sender::attrs::Attrs;
use crate::sender::lists::Lists;
use crate::sender::scan::state::{State, describe};
use crate::sender::scan::walk::Walk;
use crate::sender::scan::{Disk, Filters, RuleFiles, Supply, path_of};
use crate::sender::session::{Session, Terms};

/// Longest file of names.
const MAX_NAMES_LEN: u64 = 1 << 30;

/// Longest wait for a client that is told why it is left.
const FAREWELL: Duration = Duration::from_secs(10);

/// Most rules that a peer may send.
const MAX_RULES: usize = 1 << 20;

/// Sends what `request` names: as a client, to a server that receives; as a server, to a client
/// that pulls, whose rules and names come through the session.
///
/// # Errors
/// Whatever ended the session before its closing exchange, with what was known until then.
pub fn send(
    established: Established,
    options: &TransferOptions,
    request: &Request,
    report: &mut dyn Report,
) -> Result<Ending, Box<SessionFailure>> {
    send_by(established, options, request, report, None)
}

/// As [`send`], to a receiver that may get content by a way within this process.
pub(crate) fn send_by(
    established: Established,
    options: &TransferOptions,
    request: &Request,
    report: &mut dyn Report,
    handover: Option<&Handover>,
) -> Result<Ending, Box<SessionFailure>> {
    let Established { mut link, child, setup, is_server } = established;
    driftless_fs::leave_access_times(options.read.open_noatime);
    let mut outcome = Outcome { protocol: setup.protocol, ..Outcome::default() };
    let mut told = Told::default();
    let role = Role { setup, is_server, options, request, handover };
    let mut result = role.run(&mut link, &mut outcome, report, &mut told);
    if is_server && let Err(error) = &result {
        leave(&mut link, setup, error, report);
    }
    if let Err(error) = link.write_record() {
        result = result.and(Err(error));
    }
    let mut ending = told.ending(&outcome, &link, setup.protocol);
    drop(link);
    match (result, child) {
        (Err(error), child) => result = Err(shell::blamed(error, child)),
        (Ok(()), Some(child)) => {
            let code = child.finish();
            ending.peer_exit = (code != 0).then_some(i32::from(code)).or(ending.peer_exit);
            result = Ok(());
        }
        (Ok(()), None) => result = Ok(()),
    }
    let is_late = options.limit.stop_at.is_some_and(|at| std::time::SystemTime::now() >= at);
    if is_late && matches!(result, Err(PushError::Cancelled)) {
        result = Err(PushError::TimeLimit);
    }
    match result {
        Ok(()) => Ok(ending),
        Err(error) => Err(Box::new(SessionFailure { error, ending })),
    }
}

/// What is known of a session besides its outcome.
#[derive(Default)]
struct Told {
    statistics: Statistics,
    error_xfer: bool,
    io_error: u32,
}

impl Told {
    fn ending(&self, outcome: &Outcome, link: &Link, protocol: u8) -> Ending {
        let mut statistics = self.statistics;
        statistics.literal_bytes = outcome.literal_bytes;
        statistics.matched_bytes = outcome.matched_bytes;
        statistics.match_count = outcome.match_count;
        (statistics.bytes_sent, statistics.bytes_received) = match outcome.bytes_received {
            0 => (link.bytes_sent, link.bytes_received),
            received => (outcome.bytes_sent, received),
        };
        statistics.created.get_or_insert_default();
        if protocol >= 31 {
            statistics.deleted =
                Some(outcome.del_stats.map_or_else(KindCounts::default, |stats| KindCounts {
                    files: stats.files.into(),
                    dirs: stats.dirs.into(),
                    symlinks: stats.symlinks.into(),
                    devices: stats.devices.into(),
                    specials: stats.specials.into(),
                }));
        }
        Ending {
            statistics,
            protocol,
            error_xfer: self.error_xfer || outcome.error_xfer,
            io_error: self.io_error | outcome.io_error,
            peer_exit: outcome.peer_exit,
        }
    }
}

/// Tells the client why it is left. Protocol reference, "Error exit".
fn leave(link: &mut Link, setup: Setup, error: &PushError, report: &mut dyn Report) {
    let code = error.exit_code();
    if matches!(code, 10 | 12 | 19 | 30) || matches!(error, PushError::PeerExit { .. }) {
        return;
    }
    if let PushError::Usage(_) | PushError::Rules(_) | PushError::Charset { .. } = error {
        let mut text = error.to_string().into_bytes();
        text.truncate(TEXT_LIMIT - 2);
        text.push(b'\n');
        link.output.message(Tag::Error, &text);
    }
    if let Some(text) = report.farewell(error) {
        link.output.message(Tag::Error, format!("{text}\n").as_bytes());
    }
    if setup.protocol >= 31 {
        link.output.number(Tag::ErrorExit, i32::from(code));
    }
    // What it still writes must not meet a closed connection before it has read this. Whether it
    // is still there does not matter any more.
    link.drain(link.timeout().unwrap_or(FAREWELL).min(FAREWELL), &LAST_FRAME);
}

/// One session's part that does not change.
struct Role<'a> {
    setup: Setup,
    is_server: bool,
    options: &'a TransferOptions,
    request: &'a Request,
    handover: Option<&'a Handover>,
}

impl Role<'_> {
    fn run(
        &self,
        link: &mut Link,
        outcome: &mut Outcome,
        report: &mut dyn Report,
        told: &mut Told,
    ) -> Result<(), PushError> {
        let Self { setup, is_server, options, request, handover } = *self;
        ids::assume(options, crate::report::Role::Sender)?;
        let here = std::env::current_dir().map_err(PushError::Source)?;
        let here = here.into_os_string().into_vec();
        let parse = parse_options(setup.protocol, options, &here);
        let links = &options.link;
        let digests = options.update.checksum.then_some(setup.list_checksum);
        let shared = Rc::new(RefCell::new(State {
            report,
            options,
            module: request.module.as_deref(),
            is_server,
            disk: Disk::new(
                links.copy_all || links.copy_dirlinks || links.copy_unsafe,
                options.metadata.fake_super,
            ),
            origins: Vec::new(),
            filters: Filters::new(Rules::none(&parse), files_of(options, request)),
            digests,
            first_ndx: u32::from(setup.compat.inc_recurse()),
            peer_sets_link_times: setup.compat.symlink_times(),
            statistics: Statistics::default(),
            overall: Overall::default(),
            texts: Vec::new(),
            error_xfer: false,
            io_error: 0,
        }));
        let mut supply = Supply {
            shared: Rc::clone(&shared),
            stop_at: options.limit.stop_at,
            told_progress: None,
        };
        let lists = Lists::new(setup.compat.inc_recurse());
        let terms = Terms {
            is_server,
            dry_run: options.dry_run,
            diverted: options.talk.only_write_batch && !is_server && request.record.is_some(),
            xattrs: options.metadata.xattrs > 0,
            in_place: options.write.in_place(),
            append: options.write.append,
            level: options.compress_level,
            threads: options.compress_threads,
            max_alloc: options.limit.max_alloc,
        };
        let began = Instant::now();
        let mut session = Session::new(link, &mut supply, outcome, setup, lists, terms);
        session.attrs = Attrs::new(&options.metadata);
        session.handover = handover.cloned();
        let body = |session: &mut Session<'_>| {
            session.take_frames_singly(has_unframed_names(session, options));
            let rules = match is_server {
                true => received_rules(session, options, request, &parse)?,
                false => own_rules(session, options, request, &parse)?,
            };
            shared.borrow_mut().filters = Filters::new(rules, files_of(options, request));
            if let Some(file) = &request.record
                && !is_server
            {
                put_header(file, &setup, options)?;
                session.link.record_output(Arc::clone(file));
            }
            let names = names(session, options, is_server)?;
            session.take_frames_singly(false);
            let charset = charset::to_wire(options)?;
            let list_options = list_options(&setup, options, digests);
            let mut sources = request.sources.as_slice();
            let everything = [b".".to_vec()];
            if sources.is_empty() && is_server {
                sources = &everything;
            }
            Walk::new(Rc::clone(&shared), list_options, here.clone(), charset).run(
                sources,
                names.as_deref(),
                session,
            )
        };
        let result = body(&mut session);
        session.pass_on_texts();
        let state = shared.borrow();
        told.statistics = state.statistics;
        told.statistics.list_transfer = began.elapsed().min(state.statistics.list_build);
        told.error_xfer = state.error_xfer;
        told.io_error = state.io_error;
        result
    }
}

fn parse_options(protocol: u8, options: &TransferOptions, here: &[u8]) -> ParseOptions {
    let environment = |name: &str| std::env::var_os(name).map(OsStringExt::into_vec);
    let uses_cvs = options.selection.cvs_exclude;
    let home_cvsignore = environment("HOME").filter(|_| uses_cvs).and_then(|home| {
        let path = [&home[..], b"/.cvsignore"].concat();
        operator::read(path_of(&path), MAX_NAMES_LEN).ok()
    });
    ParseOptions {
        delete_excluded: options.delete.excluded,
        from0: options.selection.from0,
        protocol,
        root: here.to_vec(),
        home_cvsignore,
        cvsignore: environment("CVSIGNORE").filter(|_| uses_cvs),
    }
}

/// Where rules may be read from.
fn files_of(options: &TransferOptions, request: &Request) -> RuleFiles {
    RuleFiles::new(request.module.as_ref(), options.link.insecure)
}

/// Files of rules that a client names for itself, and its standard input.
struct OwnFiles(RuleFiles);

impl ReadFile for OwnFiles {
    fn read(&mut self, path: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
        if path != b"-" {
            return self.0.read(path);
        }
        let mut text = Vec::new();
        std::io::stdin().lock().take(MAX_NAMES_LEN).read_to_end(&mut text)?;
        Ok(Some(text))
    }
}

/// A client's own rules; the receiving side gets its part. Protocol reference, "Filter list and
/// files-from".
fn own_rules(
    session: &mut Session<'_>,
    options: &TransferOptions,
    request: &Request,
    parse: &ParseOptions,
) -> Result<Rules, PushError> {
    let mut files = ReadOnce::new(OwnFiles(files_of(options, request)), &request.rule_texts);
    let rules = Rules::parse(&request.rules, parse, &mut files).map_err(PushError::Rules)?;
    if options.delete.when.is_some()
        || options.delete.excluded
        || options.selection.prune_empty_dirs
    {
        let texts =
            rules.wire_texts(parse.protocol, options.delete.excluded).map_err(PushError::Rules)?;
        session.link.output.append(|out| {
            for text in &texts {
                filterlist::put_rule(out, text);
            }
            filterlist::put_end(out);
        });
    }
    Ok(rules)
}

fn received_rules(
    session: &mut Session<'_>,
    options: &TransferOptions,
    request: &Request,
    parse: &ParseOptions,
) -> Result<Rules, PushError> {
    let mut given = Vec::new();
    let take =
        |input: &mut &[u8]| filterlist::take_rule(input).map(|rule| rule.map(<[u8]>::to_vec));
    while let Some(text) = session.need(take)? {
        if given.len() == MAX_RULES {
            return Err(session.broken(format!("more than {MAX_RULES} rules"), 2));
        }
        given.push(Given::Received(text));
    }
    if options.selection.cvs_exclude {
        given.push(Given::CvsExclude);
    }
    let mut files = files_of(options, request);
    Rules::parse(&given, parse, &mut files).map_err(PushError::Rules)
}

/// The names of `--files-from`, from wherever they come.
fn names(
    session: &mut Session<'_>,
    options: &TransferOptions,
    is_server: bool,
) -> Result<Option<Vec<Vec<u8>>>, PushError> {
    let from0 = options.selection.from0;
    match (&options.selection.files_from, is_server) {
        (None, _) => Ok(None),
        (Some(FilesFrom::Stdin), true) | (Some(FilesFrom::Remote(_)), false) => {
            let take = |input: &mut &[u8]| {
                files_from::take_name(input).map(|name| name.map(<[u8]>::to_vec))
            };
            let unframed = has_unframed_names(session, options);
            let next = |session: &mut Session<'_>| match unframed {
                true => session.need_unframed(take),
                false => session.need(take),
            };
            let mut charset = charset::from_wire(options)?;
            let mut names = Vec::new();
            while let Some(name) = next(session)? {
                let local = charset.as_mut().and_then(|charset| charset.convert(&name).ok());
                names.push(local.unwrap_or(name));
            }
            Ok(Some(names))
        }
        (Some(FilesFrom::Stdin), false) => {
            let mut text = Vec::new();
            std::io::stdin().lock().read_to_end(&mut text).map_err(PushError::Source)?;
            Ok(Some(lines(&text, from0)))
        }
        (Some(FilesFrom::Local(path) | FilesFrom::Remote(path)), _) => {
            let links = Links::of(options.link.insecure);
            let text = operator::read_any(path_of(path), MAX_NAMES_LEN, links);
            let text = text.map_err(|error| {
                let path = String::from_utf8_lossy(path).into_owned();
                let error = describe(&error);
                let error = error.rsplit_once(" (").map_or(error.as_str(), |(text, _)| text);
                PushError::Usage(format!("failed to open files-from file {path}: {error}"))
            })?;
            Ok(Some(lines(&text, from0)))
        }
    }
}

/// Before protocol 31 names come without frames, in the middle of a session that has them.
fn has_unframed_names(session: &Session<'_>, options: &TransferOptions) -> bool {
    let from_peer = match &options.selection.files_from {
        Some(FilesFrom::Stdin) => session.terms.is_server,
        Some(FilesFrom::Remote(_)) => !session.terms.is_server,
        Some(FilesFrom::Local(_)) | None => false,
    };
    from_peer && session.setup.protocol < 31 && session.link.framed_input
}

/// The names in a file, lines or ended by NUL. Nothing and comments do not count in either form.
pub(crate) fn lines(text: &[u8], from0: bool) -> Vec<Vec<u8>> {
    let ends = |byte: &u8| if from0 { *byte == 0 } else { matches!(byte, 0 | b'\n' | b'\r') };
    let counts = |line: &&[u8]| !line.is_empty() && !matches!(line[0], b'#' | b';');
    text.split(ends).filter(counts).map(<[u8]>::to_vec).collect()
}

fn list_options(
    setup: &Setup,
    options: &TransferOptions,
    digests: Option<ChecksumKind>,
) -> ListOptions {
    ListOptions {
        protocol: setup.protocol,
        compat: setup.compat,
        owner: options.owner,
        group: options.group,
        devices: options.devices,
        specials: options.specials,
        links: options.links,
        hard_links: options.hard_links,
        atimes: options.metadata.atimes > 0,
        checksum_len: digests.map(ChecksumKind::digest_len),
        acls: options.metadata.acls,
        xattrs: options.metadata.xattrs > 0,
        numeric_ids: options.numeric_ids,
        relative: options.selection.relative,
        missing_args: options.selection.missing_args == MissingArgs::Delete,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_in_files_are_lines_or_end_in_nul() {
        let text = b"a\n\n# no\r\n;no\nb c\n";
        assert_eq!(lines(text, false), [b"a".to_vec(), b"b c".to_vec()]);
        assert_eq!(lines(b"#a\0b\nc\0", true), [b"b\nc".to_vec()]);
    }
}
