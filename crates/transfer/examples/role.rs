//! The sending side as a program of its own, for tests against the real rsync: a server that a
//! client pulls from (`--server --sender`), or a client that pushes over a remote shell.

use std::io::Write;
use std::os::unix::ffi::OsStringExt;
use std::process::ExitCode;

use driftless_rsync::flags::{self, Environment, Invocation, Mode};
use driftless_rsync::hostspec::{self, Place};
use driftless_transfer::connect::shell::{Family, RemoteShell, split_command};
use driftless_transfer::connect::{Connection, Direction, End};
use driftless_transfer::driver::Level;
use driftless_transfer::remote_args::{ServerArgs, ServerSide};
use driftless_transfer::report::{Item, Message, Origin};
use driftless_transfer::{Ending, PushError, Report, Request, SessionFailure, send};

/// Says what a user would read.
struct Printer {
    is_server: bool,
    items: bool,
}

impl Report for Printer {
    fn message(&mut self, message: &Message<'_>) {
        if self.is_server && message.origin == Origin::Here {
            return;
        }
        let text = shown(message.text);
        match message.level {
            Level::Info | Level::Motd => println!("{text}"),
            Level::Warning | Level::Error | Level::ErrorXfer => eprintln!("{text}"),
        }
    }

    fn item(&mut self, item: &Item<'_>) {
        if self.items {
            println!("{:04x} {}", item.flags, String::from_utf8_lossy(&item.entry.name));
        }
    }

    fn deleted(&mut self, name: &[u8], _is_dir: bool) {
        if self.items {
            println!("deleted {}", String::from_utf8_lossy(name));
        }
    }
}

/// Escapes bytes as rsync does.
fn shown(text: &[u8]) -> String {
    let byte = |&byte: &u8| match byte {
        b'\t' | b'\n' | b' '..=b'~' => char::from(byte).to_string(),
        _ => format!("\\#{byte:03o}"),
    };
    text.iter().map(byte).collect()
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
    let invocation_is_client = invocation.mode == Mode::Client;
    let result = match invocation.mode {
        Mode::Server { sender: true } => serve(words, invocation),
        Mode::Client => push(&invocation),
        _ => {
            eprintln!("only the sending side is here");
            return ExitCode::from(4);
        }
    };
    let _ = std::io::stdout().flush();
    match result {
        Ok(ending) => ExitCode::from(ending.exit_code()),
        Err(failure) => {
            if invocation_is_client {
                eprintln!("role: {failure}");
            }
            ExitCode::from(failure.error.exit_code())
        }
    }
}

use std::ffi::OsString;

fn failed(error: PushError) -> Box<SessionFailure> {
    Box::new(SessionFailure { error, ending: Ending::default() })
}

fn serve(
    mut words: Vec<Vec<u8>>,
    mut invocation: Invocation,
) -> Result<Ending, Box<SessionFailure>> {
    let report = &mut Printer { is_server: true, items: false };
    let mut connection = Connection::stdio(&invocation.options).map_err(failed)?;
    if invocation.wants_secluded {
        words.extend(connection.take_secluded_args(report).map_err(failed)?);
        invocation = flags::interpret(&words, &environment())
            .map_err(|usage| failed(PushError::Usage(format!("{usage:?}"))))?;
        connection.apply(&invocation.options);
    }
    let options = &invocation.options;
    let end = End::Server { client_info: invocation.connect.rsh.clone() };
    let established =
        connection.negotiate(end, Direction::Send, options, report).map_err(failed)?;
    let sources = invocation.arguments.get(1..).unwrap_or_default().to_vec();
    let request = Request { sources, ..Request::default() };
    send(established, options, &request, report)
}

fn push(invocation: &Invocation) -> Result<Ending, Box<SessionFailure>> {
    let report = &mut Printer { is_server: false, items: invocation.options.talk.verbosity > 0 };
    let options = &invocation.options;
    let (destination, sources) =
        invocation.arguments.split_last().expect("a source and a destination");
    let Place::Shell(remote) = hostspec::parse(destination) else {
        panic!("the destination is HOST:PATH");
    };
    let args = ServerArgs::new(options, &invocation.connect, ServerSide::Receives);
    let paths = [remote.path];
    let shell = RemoteShell {
        command: split_command(invocation.connect.rsh.as_deref().unwrap_or(b"ssh"))
            .expect("a command"),
        user: remote.user,
        host: remote.host,
        family: Family::Any,
        program: invocation.connect.rsync_path.clone().unwrap_or_else(|| b"rsync".to_vec()),
        args: args.for_shell(&paths),
        daemon_port: None,
        blocking_io: None,
    };
    let mut connection = Connection::shell(&shell, options).map_err(failed)?;
    if let Some(words) = args.secluded(&paths) {
        connection.put_secluded_args(&words);
    }
    let established =
        connection.negotiate(End::Client, Direction::Send, options, report).map_err(failed)?;
    let record = invocation.batch.write.as_ref().or(invocation.batch.only_write.as_ref());
    let record = record.map(|name| std::fs::File::create(OsString::from_vec(name.clone())));
    let record = record.transpose().map_err(|error| failed(error.into()))?;
    let request = Request {
        sources: sources.to_vec(),
        destination: Some(paths[0].clone()),
        rules: invocation.rules.clone(),
        record: record.map(std::sync::Arc::new),
        ..Request::default()
    };
    send(established, options, &request, report)
}
