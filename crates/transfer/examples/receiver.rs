//! The receiving side as a program of its own, for tests against the real rsync: a client that
//! pulls over a remote shell, or a server that a client pushes to (`--server`).

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use driftless_rsync::flags::{self, Environment, Invocation, Mode};
use driftless_rsync::hostspec::{self, Place};
use driftless_transfer::connect::shell::{Family, RemoteShell, split_command};
use driftless_transfer::connect::{Connection, Direction, End};
use driftless_transfer::driver::Level;
use driftless_transfer::options::Itemize;
use driftless_transfer::remote_args::{ServerArgs, ServerSide};
use driftless_transfer::report::{Item, Message, Origin};
use driftless_transfer::{Ending, PushError, Report, Request, SessionFailure, copy, receive};

/// Says what a user would read, in rsync's form.
struct Printer {
    is_server: bool,
    items: bool,
    times: bool,
}

impl Report for Printer {
    fn message(&mut self, message: &Message<'_>) {
        if self.is_server && message.origin == Origin::Here {
            return;
        }
        let text = String::from_utf8_lossy(message.text);
        match message.level {
            Level::Info | Level::Motd => println!("{text}"),
            Level::Warning | Level::Error | Level::ErrorXfer => eprintln!("{text}"),
        }
    }

    fn item(&mut self, item: &Item<'_>) {
        if self.items {
            println!("{}", shown(item, self.times));
        }
    }

    fn deleted(&mut self, name: &[u8], is_dir: bool) {
        if self.items {
            let slash = if is_dir { "/" } else { "" };
            println!("*deleting   {}{slash}", String::from_utf8_lossy(name));
        }
    }

    fn listed(&mut self, entry: &driftless_tree::flist::Entry) {
        println!("{:o} {} {}", entry.mode, entry.size, String::from_utf8_lossy(&entry.name));
    }
}

/// The line of `-i`.
fn shown(item: &Item<'_>, times: bool) -> String {
    let flags = item.flags;
    let has = |bit: u16| flags & bit != 0;
    let kind = match item.entry.mode & 0o170_000 {
        0o100_000 => 'f',
        0o040_000 => 'd',
        0o120_000 => 'L',
        0o020_000 | 0o060_000 => 'D',
        _ => 'S',
    };
    let first = match () {
        () if has(0x8000) => '>',
        () if has(0x4000) && item.xname.is_some() => 'h',
        () if has(0x4000) => 'c',
        () => '.',
    };
    let rest = if has(0x2000) {
        "+++++++++".to_owned()
    } else {
        let one = |bit, letter| if has(bit) { letter } else { '.' };
        let time = match has(0x8) {
            true if !times && has(0x8000) => 'T',
            true => 't',
            false => '.',
        };
        let size = if kind == 'f' { one(0x4, 's') } else { '.' };
        let text: String = [
            one(0x2, 'c'),
            size,
            time,
            one(0x10, 'p'),
            one(0x20, 'o'),
            one(0x40, 'g'),
            one(0x1, 'u'),
            one(0x80, 'a'),
            one(0x100, 'x'),
        ]
        .iter()
        .collect();
        match first != '>' && text.chars().all(|c| c == '.') {
            true => " ".repeat(9),
            false => text,
        }
    };
    let name = String::from_utf8_lossy(&item.entry.name);
    let slash = if kind == 'd' { "/" } else { "" };
    let tail = match item.xname {
        Some(to) if first == 'h' && !to.is_empty() => {
            format!(" => {}", String::from_utf8_lossy(to))
        }
        _ if kind == 'L' => format!(" -> {}", String::from_utf8_lossy(&item.entry.link_target)),
        _ => String::new(),
    };
    format!("{first}{kind}{rest} {name}{slash}{tail}")
}

fn environment() -> Environment {
    Environment {
        umask: 0o022,
        now: jiff::Timestamp::now(),
        zone: jiff::tz::TimeZone::UTC.into(),
        rsh: None,
        old_args: None,
        protect_args: None,
        partial_dir: None,
        iconv: None,
        checksum_list: None,
        compress_list: None,
        max_alloc: None,
    }
}

fn main() -> ExitCode {
    let words: Vec<Vec<u8>> = std::env::args_os().skip(1).map(OsString::into_vec).collect();
    let invocation = match flags::interpret(&words, &environment()) {
        Ok(invocation) => invocation,
        Err(usage) => {
            eprintln!("{usage:?}");
            return ExitCode::from(1);
        }
    };
    let result = match invocation.mode {
        Mode::Server { sender: false } => serve(invocation),
        Mode::Client if is_local(&invocation) => local(&invocation),
        Mode::Client => pull(&invocation),
        _ => {
            eprintln!("only the receiving side is here");
            return ExitCode::from(4);
        }
    };
    let _ = std::io::stdout().flush();
    match result {
        Ok(ending) => ExitCode::from(ending.exit_code()),
        Err(failure) => {
            eprintln!("receiver: {failure}");
            ExitCode::from(failure.error.exit_code())
        }
    }
}

fn failed(error: PushError) -> Box<SessionFailure> {
    Box::new(SessionFailure { error, ending: Ending::default() })
}

fn serve(invocation: Invocation) -> Result<Ending, Box<SessionFailure>> {
    let report = &mut Printer { is_server: true, items: false, times: true };
    let options = &invocation.options;
    let connection = Connection::stdio(options).map_err(failed)?;
    let end = End::Server { client_info: invocation.connect.rsh.clone() };
    let established =
        connection.negotiate(end, Direction::Receive, options, report).map_err(failed)?;
    let destination = invocation.arguments.get(1).cloned();
    let rules = invocation.rules.clone();
    let request = Request { destination, rules, ..Request::default() };
    receive(established, options, &request, report)
}

fn is_local(invocation: &Invocation) -> bool {
    invocation.arguments.iter().all(|path| matches!(hostspec::parse(path), Place::Local(_)))
}

fn local(invocation: &Invocation) -> Result<Ending, Box<SessionFailure>> {
    let options = &invocation.options;
    let items = options.talk.verbosity > 0 || options.talk.itemize != Itemize::Off;
    let report = &mut Printer { is_server: false, items, times: options.times };
    let (destination, sources) =
        invocation.arguments.split_last().expect("a source and a destination");
    let request = Request {
        sources: sources.to_vec(),
        destination: Some(destination.clone()),
        rules: invocation.rules.clone(),
        ..Request::default()
    };
    copy(options, options, &request, report)
}

fn pull(invocation: &Invocation) -> Result<Ending, Box<SessionFailure>> {
    let options = &invocation.options;
    let items = options.talk.verbosity > 0 || options.talk.itemize != Itemize::Off;
    let report = &mut Printer { is_server: false, items, times: options.times };
    let lists = options.selection.list_only;
    let (destination, sources) = match invocation.arguments.split_last() {
        Some((destination, sources)) if !sources.is_empty() && !lists => {
            (Some(destination.clone()), sources.to_vec())
        }
        _ => (None, invocation.arguments.clone()),
    };
    let mut host = None;
    let mut paths = Vec::new();
    for source in &sources {
        let Place::Shell(remote) = hostspec::parse(source) else {
            return Err(failed(PushError::Usage("only host:path works here".to_owned())));
        };
        host = Some((remote.user, remote.host));
        paths.push(remote.path);
    }
    let (user, host) = host.expect("there is a source");
    let args = ServerArgs::new(options, &invocation.connect, ServerSide::Sends);
    let shell = invocation.connect.rsh.clone().unwrap_or_else(|| b"ssh".to_vec());
    let shell = RemoteShell {
        command: split_command(&shell).expect("a command"),
        user,
        host,
        family: Family::Any,
        program: invocation.connect.rsync_path.clone().unwrap_or_else(|| b"rsync".to_vec()),
        args: args.for_shell(&paths),
        daemon_port: None,
        blocking_io: None,
    };
    let connection = Connection::shell(&shell, options).map_err(failed)?;
    let established =
        connection.negotiate(End::Client, Direction::Receive, options, report).map_err(failed)?;
    let rules = invocation.rules.clone();
    let request = Request { sources: paths, destination, rules, ..Request::default() };
    receive(established, options, &request, report)
}
