//! One run of a pull mirror: a session in which this machine receives.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use driftless_transfer::connect::daemon::Reach;
use driftless_transfer::connect::password::read_password_file;
use driftless_transfer::connect::shell::{Family, RemoteShell};
use driftless_transfer::connect::{Connection, Direction, End, Established, Module};
use driftless_transfer::operator::Links;
use driftless_transfer::options::{ConnectOptions, DeleteWhen};
use driftless_transfer::remote_args::{ServerArgs, ServerSide};
use driftless_transfer::report::{Item, Message, Transferred};
use driftless_transfer::{Ending, Level, PushError, Report, Request, TransferOptions, receive};
use zeroize::Zeroizing;

use crate::config::{MaxDelete, PasswordSource, PullConfig, RemoteSource};
use crate::mirror::chain;

/// Longest silence of the other side where the mirror names none: a run must end.
const SILENCE: Duration = Duration::from_secs(300);

/// Longest wait for a connection, likewise.
const CONNECT: Duration = Duration::from_secs(60);

/// How a run ended.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// Files whose content came.
    pub(super) files: u64,
    pub(super) bytes_sent: u64,
    pub(super) bytes_received: u64,
    /// Why the target is not identical, if it is not.
    pub(super) error: Option<String>,
    /// The deletion guard stopped it before anything was changed.
    pub(super) guarded: bool,
}

impl Outcome {
    pub(super) fn failed(error: String) -> Self {
        Self { error: Some(error), ..Self::default() }
    }

    fn add(&mut self, ending: &Ending) {
        self.bytes_sent += ending.statistics.bytes_sent;
        self.bytes_received += ending.statistics.bytes_received;
    }
}

/// Makes `target` what the source is. Where deletions are guarded, a dry run counts them first.
pub(super) fn run(
    config: &PullConfig,
    target: &Path,
    accept_deletes: bool,
    stop: &AtomicBool,
) -> Outcome {
    let mut outcome = Outcome::default();
    let is_guarded = config.delete && !accept_deletes && config.max_delete != MaxDelete::Unlimited;
    if is_guarded && target.exists() {
        match session(config, target, true, stop, &mut outcome) {
            Err(error) => outcome.error = Some(error),
            Ok(counted) => {
                let limit = config.max_delete.limit(counted.present());
                let deleted = counted.deleted;
                if deleted > limit {
                    outcome.guarded = true;
                    outcome.error = Some(format!(
                        "the run would delete {deleted} of {} names, more than max-delete allows \
                         ({limit}); if that is right: driftless resume --accept-deletes {}",
                        counted.present(),
                        config.name
                    ));
                }
            }
        }
    }
    if outcome.error.is_none() {
        outcome.error = match session(config, target, false, stop, &mut outcome) {
            Err(error) => Some(error),
            Ok(seen) => {
                outcome.files = seen.files;
                seen.trouble()
            }
        };
    }
    outcome
}

fn session<'a>(
    config: &PullConfig,
    target: &Path,
    dry_run: bool,
    stop: &'a AtomicBool,
    outcome: &mut Outcome,
) -> Result<Seen<'a>, String> {
    let mut options = config.options.clone();
    options.selection.recursive = true;
    options.delete.when = config.delete.then_some(DeleteWhen::During);
    options.dry_run = dry_run;
    options.timeout = options.timeout.or(Some(SILENCE));
    options.connect_timeout = options.connect_timeout.or(Some(CONNECT));
    let mut seen = Seen { stop, files: 0, deleted: 0, errors: Vec::new(), ending: None };
    let name = target.as_os_str().as_bytes();
    let destination = Some([name.strip_suffix(b"/").unwrap_or(name), b"/"].concat());
    let established = connect(config, &options, &mut seen).map_err(|error| chain(&error))?;
    let sources = vec![config.source.path_inside()];
    let request =
        Request { sources, destination, rules: config.rules.clone(), ..Request::default() };
    match receive(established, &options, &request, &mut seen) {
        Ok(ending) => {
            outcome.add(&ending);
            seen.ending = Some(ending);
            Ok(seen)
        }
        Err(failure) => {
            outcome.add(&failure.ending);
            let mut why = chain(&failure.error);
            for text in seen.errors {
                why = format!("{why}; {text}");
            }
            Err(why)
        }
    }
}

fn connect(
    config: &PullConfig,
    options: &TransferOptions,
    seen: &mut Seen<'_>,
) -> Result<Established, PushError> {
    let args = ServerArgs::new(options, &ConnectOptions::default(), ServerSide::Sends);
    let connection = match &config.source {
        RemoteSource::Daemon(url) => {
            let mut path = url.module.clone().into_bytes();
            path.push(b'/');
            path.extend_from_slice(&config.source.path_inside());
            let words = args.for_daemon(&[path]);
            let user = url.user.clone().unwrap_or_else(|| "nobody".to_owned());
            let module = Module {
                name: &url.module,
                user: &user,
                password: &|| password(&config.password),
                early_input: None,
                args: &words,
            };
            let mut connection = Reach::default().connect(&url.host, url.port, options, seen)?;
            connection.enter_module(&module, options, seen)?;
            connection
        }
        RemoteSource::Shell { user, host, command, .. } => {
            let shell = RemoteShell {
                command: command.clone(),
                user: user.clone(),
                host: host.clone(),
                family: Family::Any,
                program: b"rsync".to_vec(),
                args: args.for_shell(&[config.source.path_inside()]),
                daemon_port: None,
                blocking_io: None,
            };
            Connection::shell(&shell, options)?
        }
    };
    connection.negotiate(End::Client, Direction::Receive, options, seen)
}

fn password(source: &PasswordSource) -> Option<Zeroizing<Vec<u8>>> {
    match source {
        PasswordSource::None => None,
        PasswordSource::Value(value) => Some(value.clone()),
        PasswordSource::File(path) => match read_password_file(path, Links::Trusted) {
            Ok(password) => Some(password),
            Err(error) => {
                tracing::error!("{}", chain(&error));
                None
            }
        },
    }
}

/// What a session said.
struct Seen<'a> {
    stop: &'a AtomicBool,
    files: u64,
    deleted: u64,
    errors: Vec<String>,
    ending: Option<Ending>,
}

/// Texts of one run that are kept.
const MAX_ERRORS: usize = 3;

impl Seen<'_> {
    /// Names that the target has, as far as a dry run tells.
    fn present(&self) -> u64 {
        let statistics = self.ending.map(|ending| ending.statistics).unwrap_or_default();
        let created = statistics.created.map_or(0, |created| created.total());
        statistics.listed.total().saturating_sub(created) + self.deleted
    }

    /// Why the target is not identical, if it is not.
    fn trouble(&self) -> Option<String> {
        match self.ending.map_or(0, |ending| ending.exit_code()) {
            0 => None,
            code if self.errors.is_empty() => Some(format!("it ended with rsync's code {code}")),
            code => Some(format!("{} (rsync's code {code})", self.errors.join("; "))),
        }
    }
}

impl Report for Seen<'_> {
    fn transferred(&mut self, _: &Item<'_>, transfer: &Transferred<'_>) {
        self.files += u64::from(transfer.accepted);
    }

    fn deleted(&mut self, _: &[u8], _: bool) {
        self.deleted += 1;
    }

    fn message(&mut self, message: &Message<'_>) {
        if matches!(message.level, Level::Error | Level::ErrorXfer | Level::Warning) {
            let text = driftless_tree::path::printable(message.text);
            tracing::warn!("{text}");
            if self.errors.len() < MAX_ERRORS {
                self.errors.push(text);
            }
        }
    }

    fn cancelled(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }
}
