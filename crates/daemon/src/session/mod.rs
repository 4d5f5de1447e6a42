//! One client in one module, in a process of its own. Daemon reference, "Connection sequence".
//!
//! ```text
//! enter (hosts, slots, login) ─► settle (ids, place, hooks) ─► request (arguments) ─► transfer
//! ```
//! Invariants
//! * Ids, directory, confinement and the kernel's refusals are in force before the client hears
//!   that it may go on.
//! * Nobody learns more than the text of the reference; reasons are in the log.

mod enter;
mod request;
mod settle;
mod transfer;

use std::time::{Duration, Instant};

use driftless_rsync::output::exit;
use driftless_transfer::report::Role;
use jiff::tz::TimeZone;

use crate::conf::{Config, Key, Module};
use crate::door::Caller;
use crate::log::{Choice, Log, Weight};
use crate::peer::Peer;
use crate::status::{Event, Teller};
use crate::stop::Stop;
use crate::wire::{Wire, WireError};

/// Longest handshake, whatever is configured.
pub(crate) const HANDSHAKE_SECS: i64 = 60;

/// What a session has of its daemon.
pub(crate) struct Host<'a> {
    pub(crate) config: &'a Config,
    pub(crate) settings: &'a crate::command::Settings,
    pub(crate) zone: TimeZone,
    /// A remote shell brought the client.
    pub(crate) over_shell: bool,
    /// Says what happens to the listener.
    pub(crate) teller: Teller,
    /// How often somebody from there failed to log in lately.
    pub(crate) failures: u32,
    /// Whether this process is to end.
    pub(crate) stop: Stop,
}

/// Why a session ends before it transfers anything.
pub(crate) enum End {
    /// After this line, with this code.
    Said(String, u8),
    /// Without a word.
    Silent(u8),
}

impl End {
    fn error(text: impl std::fmt::Display, code: u8) -> Self {
        Self::Said(format!("@ERROR: {text}"), code)
    }
}

impl From<WireError> for End {
    fn from(error: WireError) -> Self {
        Self::Silent(match error {
            WireError::Timeout => 30,
            WireError::Closed | WireError::Broken(_) => 12,
            WireError::Io(_) => 10,
        })
    }
}

/// How long a phase of the handshake may take, by a `timeout` parameter.
pub(crate) fn handshake_limit(timeout: i64) -> Duration {
    let secs = if (1..=HANDSHAKE_SECS).contains(&timeout) { timeout } else { HANDSHAKE_SECS };
    Duration::from_secs(secs as u64)
}

/// Which log a module has.
pub(crate) fn log_choice(module: &Module<'_>, settings: &crate::command::Settings) -> Choice {
    let text = |key| module.raw(key).unwrap_or_default().to_vec();
    let file = settings.log_file.clone().or_else(|| Some(text(Key::LogFile)));
    Choice {
        file: file.filter(|file| !file.is_empty()),
        tag: text(Key::SyslogTag),
        facility: module.int(Key::SyslogFacility),
    }
}

/// Serves a client that asks for a module; returns the exit code of this process.
pub(crate) fn serve(
    host: &Host<'_>,
    mut wire: Wire,
    mut peer: Peer,
    caller: &Caller,
    name: &[u8],
    log: &mut Log,
) -> u8 {
    let (wire, peer) = (&mut wire, &mut peer);
    let mut session = Session { host, wire, peer, caller, log, keeper: None };
    let end = match session.run(name) {
        Ok(code) => return code,
        Err(end) => end,
    };
    match end {
        End::Said(text, code) => {
            let limit = Duration::from_secs(5);
            session.wire.set_deadline(Some(Instant::now() + limit));
            if session.wire.say(format!("{text}\n").as_bytes()).is_ok() {
                // Closing while something is unread would take the text back.
                session.wire.set_deadline(Some(Instant::now() + Duration::from_millis(400)));
                session.wire.close_softly();
            }
            code
        }
        End::Silent(code) => {
            if code == 30 {
                session.log.line(Weight::Error, "[Receiver] daemon handshake timeout -- exiting");
            }
            if code != 0 {
                let line = exit::line(code, Role::ReceivingSide);
                session.log.line(Weight::Error, line);
            }
            code
        }
    }
}

/// What the steps share.
pub(super) struct Session<'a, 'h> {
    pub(super) host: &'a Host<'h>,
    pub(super) wire: &'a mut Wire,
    pub(super) peer: &'a mut Peer,
    pub(super) caller: &'a Caller,
    pub(super) log: &'a mut Log,
    /// The process that the listener knows, where it waits for the end of this one.
    pub(super) keeper: Option<u32>,
}

impl Session<'_, '_> {
    fn run(&mut self, name: &[u8]) -> Result<u8, End> {
        let (module, entry) = self.enter(name)?;
        self.host.teller.say(&Event::Entered {
            module: String::from_utf8_lossy(module.name()).into_owned(),
            user: String::from_utf8_lossy(&entry.user).into_owned(),
        });
        self.settle(module, entry)
    }

    pub(super) fn info(&mut self, text: impl AsRef<[u8]>) {
        self.log.line(Weight::Info, text);
    }

    pub(super) fn error(&mut self, text: impl AsRef<[u8]>) {
        self.log.line(Weight::Error, text);
    }

    /// Starts the clock for a phase of the handshake.
    pub(super) fn start_clock(&mut self, module: &Module<'_>) {
        let limit = (!self.host.over_shell).then(|| handshake_limit(module.int(Key::Timeout)));
        self.wire.set_deadline(limit.map(|limit| Instant::now() + limit));
    }
}
