//! The receiving side of a session, on either end.

use std::io::Read;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::sync::Arc;

use driftless_filter::{Given, ParseOptions, ReadFile, Rules};
use driftless_fs::operator::{self, Links};
use driftless_proto::mux::Tag;
use driftless_proto::{Decode, files_from, filterlist};

use crate::charset::{from_wire, to_wire};
use crate::connect::Established;
use crate::connect::handshake::Setup;
use crate::error::PushError;
use crate::handover::Handover;
use crate::ids;
use crate::link::Link;
use crate::options::{FilesFrom, TransferOptions};
use crate::receiver::requested::Requested;
use crate::receiver::session::{Receive, Session, is_late};
use crate::receiver::wire::Wire;
use crate::record::put_header;
use crate::report::Report;
use crate::request::{Ending, Request, SessionFailure};
use crate::rule_texts::ReadOnce;

/// Longest file of rules or names.
const MAX_FILE_LEN: u64 = 1 << 30;

/// Most rules that a peer may send.
const MAX_RULES: usize = 1 << 20;

/// Receives into the destination that `request` names: as a client, from a server that sends; as a
/// server, from a client that pushes, whose rules come through the session.
///
/// # Errors
/// Whatever ended the session before its closing exchange, with what was known until then.
pub fn receive(
    established: Established,
    options: &TransferOptions,
    request: &Request,
    report: &mut dyn Report,
) -> Result<Ending, Box<SessionFailure>> {
    receive_from(established, options, request, report, &Sender::Distant)
}

/// Who sends.
#[derive(Debug)]
pub(crate) enum Sender {
    /// A program at the other end of a connection.
    Distant,
    /// This process, which may hand content over directly.
    Local(Option<Handover>),
    /// A batch file, which says what it says, whatever is requested.
    Recorded,
}

/// As [`receive`], from any sender.
pub(crate) fn receive_from(
    established: Established,
    options: &TransferOptions,
    request: &Request,
    report: &mut dyn Report,
    sender: &Sender,
) -> Result<Ending, Box<SessionFailure>> {
    let Established { mut link, child, setup, is_server } = established;
    let place = Place { options, request, is_server, sender };
    let (result, mut ending) = run(&mut link, setup, &place, report);
    drop(link);
    if let Some(child) = child {
        let code = child.finish();
        if code != 0 {
            ending.peer_exit = Some(i32::from(code));
        }
    }
    match result {
        Ok(()) => Ok(ending),
        Err(error) => Err(Box::new(SessionFailure { error, ending })),
    }
}

/// What a receiving side is to do.
struct Place<'a> {
    options: &'a TransferOptions,
    request: &'a Request,
    is_server: bool,
    sender: &'a Sender,
}

fn run(
    link: &mut Link,
    setup: Setup,
    place: &Place<'_>,
    report: &mut dyn Report,
) -> (Result<(), PushError>, Ending) {
    let Place { options, request, is_server, sender } = *place;
    let mut wire = Wire::new(link, setup.protocol);
    let role = crate::report::Role::ReceivingSide;
    if let Err(error) = check_supported(options).and_then(|()| ids::assume(options, role)) {
        leave(wire.link, setup, is_server, &error, report);
        let ending = Ending { protocol: setup.protocol, ..Ending::default() };
        return (Err(error), ending);
    }
    let rules = match is_server {
        true => received_rules(&mut wire, setup, options, request, report)
            .map(|rules| {
                let none = || Rules::none(&parse_options(setup, options, request));
                rules_here(setup, place).or(rules).unwrap_or_else(none)
            })
            .map(|rules| (Arc::new(rules), Requested::anything())),
        false => own_rules(&mut wire, setup, options, request),
    };
    let rules = rules.and_then(|rules| record(&mut wire, setup, place).map(|()| rules));
    let (rules, requested) = match rules {
        Ok(rules) => rules,
        Err(error) => {
            leave(wire.link, setup, is_server, &error, report);
            let ending = Ending { protocol: setup.protocol, ..Ending::default() };
            return (Err(error), ending);
        }
    };
    let receive = Receive {
        destination: request.destination.as_deref(),
        rules: Some(rules),
        requested,
        server: is_server,
        // A record is for trees that are elsewhere.
        local: matches!(sender, Sender::Local(_)) && request.record.is_none(),
        handover: match sender {
            Sender::Local(handover) => handover.clone(),
            Sender::Distant | Sender::Recorded => None,
        },
        recorded: matches!(sender, Sender::Recorded),
        module: request.module.clone(),
    };
    let charsets = from_wire(options).and_then(|here| Ok((here, to_wire(options)?)));
    let (charset, outward) = match charsets {
        Ok(both) => both,
        Err(error) => {
            leave(wire.link, setup, is_server, &error, report);
            let ending = Ending { protocol: setup.protocol, ..Ending::default() };
            return (Err(error), ending);
        }
    };
    let mut session = Session::new(wire, setup, options, receive, charset, report);
    session.to_wire = outward;
    let result = session.run();
    let (wire, ending, report) = session.into_ending();
    if let Err(error) = &result {
        leave(wire.link, setup, is_server, error, report);
    }
    let late = is_late(options.limit.stop_at);
    match result {
        Err(PushError::Cancelled) if late => (Err(PushError::TimeLimit), ending),
        result => (result, ending),
    }
}

/// Begins the record of a client's session.
fn record(wire: &mut Wire<'_>, setup: Setup, place: &Place<'_>) -> Result<(), PushError> {
    if let Some(file) = &place.request.record
        && !place.is_server
    {
        put_header(file, &setup, place.options)?;
        wire.link.expect_record(Arc::clone(file));
    }
    Ok(())
}

/// Refuses by name what this side cannot do.
fn check_supported(options: &TransferOptions) -> Result<(), PushError> {
    match options.metadata.crtimes {
        false => Ok(()),
        true => {
            let text = "This rsync does not support --crtimes (-N) when receiving".to_owned();
            Err(PushError::Fatal { text, exit: 4 })
        }
    }
}

/// Tells the peer why it is left. Protocol reference, "Error exit".
fn leave(
    link: &mut Link,
    setup: Setup,
    is_server: bool,
    error: &PushError,
    report: &mut dyn Report,
) {
    let code = error.exit_code();
    if matches!(code, 10 | 12 | 19 | 30) || matches!(error, PushError::PeerExit { .. }) {
        return;
    }
    if is_server {
        let own = Some(error.to_string()).filter(|_| !matches!(error, PushError::Cancelled));
        for text in own.into_iter().chain(report.farewell(error)) {
            link.output.message(Tag::Error, format!("{text}\n").as_bytes());
        }
    }
    if setup.protocol >= 31 {
        link.output.number(Tag::ErrorExit, i32::from(code));
    } else if !is_server {
        return;
    }
    // Whether it is still there does not matter any more.
    let _ = link.exchange();
}

/// Files of rules that an operator names.
struct OperatorFiles {
    links: Links,
}

impl OperatorFiles {
    fn new(options: &TransferOptions) -> Self {
        Self { links: Links::of(options.link.insecure) }
    }
}

impl ReadFile for OperatorFiles {
    fn read(&mut self, path: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
        match path {
            b"-" => {
                let mut text = Vec::new();
                std::io::stdin().lock().read_to_end(&mut text)?;
                Ok(Some(text))
            }
            _ => {
                let path = Path::new(std::ffi::OsStr::from_bytes(path));
                match operator::read_any(path, MAX_FILE_LEN, self.links) {
                    Ok(text) => Ok(Some(text)),
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
                    Err(error) => Err(error),
                }
            }
        }
    }
}

/// Files that a peer names are not read.
struct NoFiles;

impl ReadFile for NoFiles {
    fn read(&mut self, _: &[u8]) -> std::io::Result<Option<Vec<u8>>> {
        Ok(None)
    }
}

fn parse_options(setup: Setup, options: &TransferOptions, request: &Request) -> ParseOptions {
    let uses_cvs = options.selection.cvs_exclude;
    let environment = |name: &str| std::env::var_os(name).map(OsStringExt::into_vec);
    let home_cvsignore = environment("HOME").filter(|_| uses_cvs).and_then(|home| {
        let path = [&home[..], b"/.cvsignore"].concat();
        let path = Path::new(std::ffi::OsStr::from_bytes(&path));
        operator::read(path, MAX_FILE_LEN).ok()
    });
    let here = std::env::current_dir().unwrap_or_default().into_os_string().into_vec();
    let root = match request.destination.as_deref() {
        Some(absolute) if absolute.starts_with(b"/") => absolute.to_vec(),
        Some(relative) => [&here[..], b"/", relative].concat(),
        None => here,
    };
    ParseOptions {
        delete_excluded: options.delete.excluded,
        from0: options.selection.from0,
        protocol: setup.protocol,
        root,
        home_cvsignore,
        cvsignore: environment("CVSIGNORE").filter(|_| uses_cvs),
    }
}

/// A client's own rules; the sender gets its part, and the names of `--files-from`. Protocol
/// reference, "Filter list and files-from".
fn own_rules(
    wire: &mut Wire<'_>,
    setup: Setup,
    options: &TransferOptions,
    request: &Request,
) -> Result<(Arc<Rules>, Requested), PushError> {
    let parse = parse_options(setup, options, request);
    let rules = Rules::parse(&request.rules, &parse, &mut OperatorFiles::new(options))
        .map_err(PushError::Rules)?
        .keeping_cvs();
    let texts = rules.wire_texts_for_sender(setup.protocol).map_err(PushError::Rules)?;
    let names = own_names(options)?;
    wire.link.output.append(|out| {
        for text in texts.iter().filter(|text| !text.is_empty()) {
            filterlist::put_rule(out, text);
        }
        filterlist::put_end(out);
    });
    if let Some(names) = &names {
        let mut out = Vec::new();
        for name in names {
            files_from::put_name(&mut out, name);
        }
        files_from::put_end(&mut out);
        match setup.protocol {
            ..31 => wire.link.output.unframed(&out),
            _ => wire.link.output.data(&out),
        }
    }
    let rules = Arc::new(rules);
    let requested = match (&options.selection.files_from, options.trust_sender) {
        (Some(FilesFrom::Remote(_)), _) | (_, true) => Requested::anything(),
        _ => {
            let relative = options.selection.relative;
            let listed = names.as_deref();
            Requested::new(&request.sources, listed, relative, &request.rules, &rules)
        }
    };
    Ok((rules, requested))
}

/// The names of a list on this side.
fn own_names(options: &TransferOptions) -> Result<Option<Vec<Vec<u8>>>, PushError> {
    let text = match &options.selection.files_from {
        None | Some(FilesFrom::Remote(_)) => return Ok(None),
        Some(FilesFrom::Stdin) => OperatorFiles::new(options).read(b"-"),
        Some(FilesFrom::Local(path)) => OperatorFiles::new(options).read(path),
    };
    let text = text.map_err(PushError::Source)?;
    let text = text.ok_or_else(|| PushError::Usage("failed to open files-from file".to_owned()))?;
    // The list goes over as it is: what would be a comment on this side is a name there (seen).
    let ends = |byte: &u8| match options.selection.from0 {
        true => *byte == 0,
        false => matches!(byte, 0 | b'\n' | b'\r'),
    };
    Ok(Some(text.split(ends).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect()))
}

/// The rules of the command line, which within this machine hold as they were given there, sent or
/// not: a directory in the way of something else is emptied under them, and they are told of by where
/// they came from. `None` where the sender is elsewhere.
fn rules_here(setup: Setup, place: &Place<'_>) -> Option<Rules> {
    let Place { options, request, sender, .. } = *place;
    if !matches!(sender, Sender::Local(_)) {
        return None;
    }
    let parse = parse_options(setup, options, request);
    let mut files = ReadOnce::new(OperatorFiles::new(options), &request.rule_texts);
    Rules::parse(&request.rules, &parse, &mut files).ok()
}

/// What a client sends of its rules: only where names are deleted or directories pruned.
fn received_rules(
    wire: &mut Wire<'_>,
    setup: Setup,
    options: &TransferOptions,
    request: &Request,
    report: &mut dyn Report,
) -> Result<Option<Rules>, PushError> {
    let parse = parse_options(setup, options, request);
    let delete = &options.delete;
    let mut given = Vec::new();
    if !(delete.when.is_some() || delete.excluded || options.selection.prune_empty_dirs) {
        return Ok(None);
    }
    loop {
        let take =
            |input: &mut &[u8]| filterlist::take_rule(input).map(|rule| rule.map(<[u8]>::to_vec));
        match need(wire, report, take)? {
            None => break,
            Some(_) if given.len() == MAX_RULES => {
                return Err(wire.broken(format!("more than {MAX_RULES} rules"), 2));
            }
            Some(text) => given.push(Given::Received(text)),
        }
    }
    Rules::parse(&given, &parse, &mut NoFiles).map(Some).map_err(PushError::Rules)
}

/// Takes one value, waiting for as many bytes as it needs.
fn need<T>(
    wire: &mut Wire<'_>,
    report: &mut dyn Report,
    take: impl Fn(&mut &[u8]) -> Result<T, Decode>,
) -> Result<T, PushError> {
    wire.sort()?;
    loop {
        if let Some(value) = wire.try_take(&take)? {
            return Ok(value);
        }
        let report = &*report;
        if !wire.wait(&|| report.cancelled())? {
            return Err(PushError::Closed { phase: "before the file list" });
        }
    }
}
