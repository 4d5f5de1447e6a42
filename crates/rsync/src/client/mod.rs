//! The program that a person starts: finds the other side, runs the session, says how it went.

mod batch;
mod daemon;
pub mod failure;
pub mod maps;
mod prompt;
pub mod route;
mod rules;

use std::borrow::Cow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use driftless_transfer::connect::shell::{Family, RemoteShell, split_command};
use driftless_transfer::connect::{Connection, Direction, End};
use driftless_transfer::options::{AddressFamily, FilesFrom};
use driftless_transfer::remote_args::{ServerArgs, ServerSide};
use driftless_transfer::report::Role;
use driftless_transfer::{Ending, PushError, Request};
use driftless_tree::path::printable;

use self::batch::Recorder;
use self::route::{Far, Route, route};
use crate::flags::Invocation;
use crate::output::escape::Charset;
use crate::output::log::Log;
use crate::output::printer::{Printer, Seat, Streams};
use crate::output::{exit, version};
use crate::zone::Zone;
use driftless_transfer::operator::{self, Links};

/// What the environment says about connections.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// How this program is started, without the words of the command line.
    pub program: Vec<Vec<u8>>,
    /// `RSYNC_PASSWORD`
    pub password: Option<Vec<u8>>,
    /// `RSYNC_PROXY`
    pub proxy: Option<String>,
    /// `RSYNC_CONNECT_PROG`
    pub connect_program: Option<Vec<u8>>,
    /// `RSYNC_SHELL`
    pub shell: Option<Vec<u8>>,
    /// `USER`, else `LOGNAME`, else `nobody`.
    pub user: String,
    /// Names are UTF-8 on this terminal.
    pub charset: Charset,
    /// Local time.
    pub zone: Zone,
}

/// A run that ended early: what is printed, and the code.
#[derive(Debug)]
struct Failed {
    text: String,
    code: u8,
    role: Role,
    /// The other side failed, and says so itself.
    role_is_far: bool,
    /// With its last line on our standard error, which it has, too.
    said: bool,
    /// It left; nothing more is said where it said its last line before.
    left: bool,
}

impl Failed {
    fn usage(text: impl Into<String>, role: Role) -> Self {
        Self::new(text, 1, role)
    }

    fn new(text: impl Into<String>, code: u8, role: Role) -> Self {
        Self { text: text.into(), code, role, role_is_far: false, said: false, left: false }
    }
}

/// Runs a client and returns its exit code. `stop` is set when the process is to end.
pub fn run(invocation: Invocation, around: &Surroundings, stop: Arc<AtomicBool>) -> u8 {
    let mut log_complaint = None;
    let log = invocation.output.log_file.as_deref().and_then(|name| {
        let links = Links::of(invocation.options.link.insecure);
        let opened = Log::open(&path(name), links, around.zone.clone());
        opened.map_err(|error| log_complaint = Some((name.to_vec(), error))).ok()
    });
    let charset = if invocation.output.eight_bit { Charset::EightBit } else { around.charset };
    let streams = Streams {
        out: Box::new(std::io::BufWriter::new(std::io::stdout())),
        err: Box::new(std::io::stderr()),
        log,
        charset,
        zone: around.zone.clone(),
    };
    let plays = invocation.batch.read.is_some();
    let route = match invocation.arguments.is_empty() || plays {
        true => None,
        false => Some(route(&invocation.arguments)),
    };
    let seat = match &route {
        None if plays => Seat::Receives,
        Some(Ok(Route::Pull { .. })) => Seat::Receives,
        Some(Ok(Route::Local { destination, .. })) => {
            let lists = destination.is_none() || invocation.options.selection.list_only;
            if lists { Seat::Lists } else { Seat::Local }
        }
        _ => Seat::Sends,
    };
    let mut printer = Printer::new(streams, &invocation.options, &invocation.output, seat, stop);
    if let Some((name, error)) = log_complaint {
        let start = format!("rsync: [client] failed to open log-file {}", printable(&name));
        let text = failure::path_text(&start, &error);
        text.lines().for_each(|line| printer.error(line.as_bytes()));
        printer.info(b"Ignoring \"log file\" setting.");
    }
    let client = Client { invocation: &invocation, around };
    let result = match route {
        None if plays && !invocation.arguments.is_empty() => client.play(&mut printer),
        None => Err(Failed::usage(help_text(), Role::Client)),
        Some(Err(no_route)) => Err(Failed::usage(no_route.text, no_route.role)),
        Some(Ok(route)) => client.run(route, &mut printer),
    };
    let (code, role) = match result {
        Ok((ending, role)) => {
            if let Some(ending) = &ending {
                printer.finish(ending);
            }
            (ending.map_or(0, |ending| ending.exit_code()), role)
        }
        Err(failed) => {
            printer.flush();
            if failed.left && printer.has_said_last() {
                return failed.code;
            }
            if !failed.text.is_empty() {
                for line in failed.text.lines() {
                    printer.error(line.as_bytes());
                }
            }
            if failed.said || (failed.role_is_far && printer.has_said_last()) {
                return failed.code;
            }
            (failed.code, failed.role)
        }
    };
    if code != 0 {
        printer.error(exit::line(code, role).as_bytes());
    }
    code
}

fn help_text() -> String {
    format!("{}\n{}", version::text(), crate::flags::help())
}

struct Client<'a> {
    invocation: &'a Invocation,
    around: &'a Surroundings,
}

/// How a session ended, and whose name stands in the last line. `None`: there was none, as for a
/// list of modules.
type Ended = Result<(Option<Ending>, Role), Failed>;

impl Client<'_> {
    fn run(&self, route: Route, printer: &mut Printer) -> Ended {
        let files_from = self.invocation.options.selection.files_from.is_some();
        if files_from && self.invocation.arguments.len() != 2 {
            return Err(Failed::usage(help_text(), Role::Client));
        }
        self.check(&route)?;
        rules::check(&self.invocation.rules, &self.invocation.options)
            .map_err(|(text, code)| Failed::new(text, code, Role::Client))?;
        let record = self.record(&route)?;
        match route {
            Route::Local { sources, destination } => {
                self.local(sources, destination, record, printer)
            }
            Route::Push { far, .. } | Route::Pull { far, .. } if far.names_no_module() => {
                self.list_modules(&far, printer)
            }
            Route::Push { sources, far } => self.push(sources, &far, record, printer),
            Route::Pull { far, destination } => self.pull(destination, &far, record, printer),
        }
    }

    /// Options that only some routes have.
    fn check(&self, route: &Route) -> Result<(), Failed> {
        let (far, role) = match route {
            Route::Local { .. } => (None, Role::Sender),
            Route::Push { far, .. } => (Some(far), Role::Sender),
            Route::Pull { far, .. } => (Some(far), Role::ReceivingSide),
        };
        if let Some(host) = &self.invocation.files_from_host {
            let Some(far) = far else {
                let text = "--files-from cannot be remote when the transfer is local";
                return Err(Failed::usage(text, role));
            };
            let host = host.rsplit(|b| *b == b'@').next().unwrap_or_default();
            if !host.is_empty() && host != far.host {
                let text = "--files-from hostname is not the same as the transfer hostname";
                return Err(Failed::usage(text, role));
            }
        }
        if let Some(FilesFrom::Local(name)) = &self.invocation.options.selection.files_from
            && let Err(error) =
                operator::check_any(&path(name), Links::of(self.invocation.options.link.insecure))
        {
            let start = format!("rsync: failed to open files-from file {}", printable(name));
            let text = failure::path_text(&start, &error);
            let text = text.rsplit_once(" (").map_or(text.as_str(), |(text, _)| text).to_owned();
            return Err(Failed::usage(text, Role::Client));
        }
        if !matches!(route, Route::Push { .. }) {
            maps::check(&self.invocation.options.metadata)
                .map_err(|text| Failed::usage(text, Role::ReceivingSide))?;
        }
        let daemon = far.is_some_and(|far| far.daemon);
        if self.invocation.connect.password_file.is_some() && !daemon {
            let text =
                "The --password-file option may only be used when accessing an rsync daemon.";
            return Err(Failed::usage(text, role));
        }
        let by_socket = daemon && !self.invocation.rsh_given;
        if self.invocation.options.connect_timeout.is_some() && !by_socket {
            let text =
                "The --contimeout option may only be used when connecting to an rsync daemon.";
            return Err(Failed::usage(text, role));
        }
        Ok(())
    }

    fn push(
        &self,
        sources: Vec<Vec<u8>>,
        far: &Far,
        record: Option<Recorder>,
        printer: &mut Printer,
    ) -> Ended {
        let role = Role::Sender;
        let options = &self.invocation.options;
        let args = ServerArgs::new(options, &self.invocation.connect, ServerSide::Receives);
        let (options, record) = self.recording(record);
        let failed = |error: PushError| self.failed(&error, role, 0);
        let connection = self.reach(far, &args, role, printer)?;
        let session = connection
            .negotiate(End::Client, Direction::Send, &options, printer)
            .map_err(failed)?;
        let rules = self.invocation.rules.clone();
        let request = Request { sources, rules, record, ..Request::default() };
        match driftless_transfer::send(session, &options, &request, printer) {
            Ok(ending) => Ok((Some(ending), role)),
            Err(failure) => {
                let received = failure.ending.statistics.bytes_received;
                Err(self.failed(&failure.error, role, received))
            }
        }
    }

    fn pull(
        &self,
        destination: Option<Vec<u8>>,
        far: &Far,
        record: Option<Recorder>,
        printer: &mut Printer,
    ) -> Ended {
        let role = Role::ReceivingSide;
        let options = &self.invocation.options;
        let args = ServerArgs::new(options, &self.invocation.connect, ServerSide::Sends);
        let (options, record) = self.recording(record);
        let failed = |error: PushError| self.failed(&error, role, 0);
        let connection = self.reach(far, &args, role, printer)?;
        let session = connection
            .negotiate(End::Client, Direction::Receive, &options, printer)
            .map_err(failed)?;
        let rules = self.invocation.rules.clone();
        // What the remote shell makes of paths that are not quoted is unknown.
        let sources = match self.invocation.connect.old_args {
            0 => far.paths_inside(),
            1.. => Vec::new(),
        };
        let request = Request { sources, destination, rules, record, ..Request::default() };
        match driftless_transfer::receive(session, &options, &request, printer) {
            // Where nothing was listed it did not come to a generator.
            Ok(ending) if ending.statistics.listed.total() == 0 => Ok((Some(ending), role)),
            Ok(ending) => Ok((Some(ending), Role::Generator)),
            Err(failure) => {
                let received = failure.ending.statistics.bytes_received;
                Err(self.failed(&failure.error, role, received))
            }
        }
    }

    fn local(
        &self,
        sources: Vec<Vec<u8>>,
        destination: Option<Vec<u8>>,
        record: Option<Recorder>,
        printer: &mut Printer,
    ) -> Ended {
        let (options, record) = self.recording(record);
        let rules = self.invocation.rules.clone();
        let role = Role::Sender;
        let mut across = match &self.invocation.across {
            None => Cow::Borrowed(&*options),
            Some(Ok(across)) => Cow::Borrowed(across),
            Some(Err(usage)) => {
                let far = [usage.line(), exit::line(usage.code, Role::ReceivingSide)];
                far.iter().for_each(|line| printer.error(line.as_bytes()));
                // All that the other end hears.
                let closed = PushError::Closed { phase: "before it began" };
                return Err(Failed { said: false, ..self.failed(&closed, role, 0) });
            }
        };
        if record.is_some() {
            driftless_transfer::record::prepare(across.to_mut());
        }
        let shows_content = printer.shows_content();
        let request =
            Request { sources, destination, rules, record, shows_content, ..Request::default() };
        match driftless_transfer::copy(&options, &across, &request, printer) {
            Ok(ending) => Ok((Some(ending), role)),
            Err(failure) => {
                let received = failure.ending.statistics.bytes_received;
                // The other side is this process and prints no line of its own.
                let failed = self.failed(&failure.error, role, received);
                let text = if failed.left { String::new() } else { failed.text };
                Err(Failed { text, said: false, left: false, ..failed })
            }
        }
    }

    /// Connects and hands over the arguments.
    fn reach(
        &self,
        far: &Far,
        args: &ServerArgs,
        role: Role,
        printer: &mut Printer,
    ) -> Result<Connection, Failed> {
        if far.daemon {
            self.enter(far, args, role, printer)
        } else {
            self.shell(far, args, role, printer)
        }
    }

    fn shell(
        &self,
        far: &Far,
        args: &ServerArgs,
        role: Role,
        printer: &mut Printer,
    ) -> Result<Connection, Failed> {
        let options = &self.invocation.options;
        let shell = self.remote_shell(far, args.for_shell(&far.paths), None, role)?;
        self.trace(&shell, printer);
        let failed = |error: PushError| self.failed(&error, role, 0);
        let mut connection = Connection::shell(&shell, options).map_err(failed)?;
        if let Some(words) = args.secluded(&far.paths) {
            self.trace_words("protected args: ", &words, printer);
            connection.put_secluded_args(&words);
        }
        Ok(connection)
    }

    fn remote_shell(
        &self,
        far: &Far,
        args: Vec<Vec<u8>>,
        daemon_port: Option<u16>,
        role: Role,
    ) -> Result<RemoteShell, Failed> {
        let connect = &self.invocation.connect;
        let command = connect.rsh.as_deref().unwrap_or(b"ssh");
        let command = split_command(command).map_err(|bad| Failed::usage(bad.to_string(), role))?;
        Ok(RemoteShell {
            command,
            user: far.user.clone(),
            host: far.host.clone(),
            family: self.family(),
            program: connect.rsync_path.clone().unwrap_or_else(|| b"rsync".to_vec()),
            args,
            daemon_port,
            blocking_io: connect.blocking_io,
        })
    }

    fn trace(&self, shell: &RemoteShell, printer: &mut Printer) {
        self.trace_words("opening connection using: ", &shell.argv(), printer);
    }

    pub(super) fn trace_words(&self, what: &str, words: &[Vec<u8>], printer: &mut Printer) {
        if self.invocation.options.talk.debug.cmd > 0 {
            let words: Vec<Vec<u8>> = words.iter().map(|word| shown_word(word)).collect();
            let line = [what.as_bytes(), &words.join(&b' ')].concat();
            let count = format!("  ({} args)", words.len());
            printer.info(&[&line[..], count.as_bytes()].concat());
        }
    }

    fn family(&self) -> Family {
        match self.invocation.connect.address_family {
            None => Family::Any,
            Some(AddressFamily::V4) => Family::V4,
            Some(AddressFamily::V6) => Family::V6,
        }
    }

    fn failed(&self, error: &PushError, role: Role, received: u64) -> Failed {
        let secs = self.invocation.options.timeout.map_or(0, |timeout| timeout.as_secs());
        let text = failure::text(error, role, received, secs);
        let code = error.exit_code();
        let said = matches!(error, PushError::PeerExit { .. });
        let role_is_far = said || matches!(error, PushError::Refused { .. } | PushError::ReadOnly);
        let far = if role == Role::Sender { Role::ReceivingSide } else { Role::Sender };
        let role = if role_is_far { far } else { role };
        let left = matches!(error, PushError::PeerLeft { .. });
        Failed { role_is_far, said, left, ..Failed::new(text, code, role) }
    }
}

/// A word of a command as it is shown: between quotes where a shell could misunderstand it.
fn shown_word(word: &[u8]) -> Vec<u8> {
    let plain = |b: &u8| b.is_ascii_alphanumeric() || b"-_./=,@+".contains(b);
    if word.iter().all(plain) { word.to_vec() } else { [b"\"", word, b"\""].concat() }
}

fn path(name: &[u8]) -> std::path::PathBuf {
    use std::os::unix::ffi::OsStrExt;
    Path::new(std::ffi::OsStr::from_bytes(name)).to_owned()
}
