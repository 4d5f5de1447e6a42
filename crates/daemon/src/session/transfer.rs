//! The transfer itself, by the same roles that clients have.

use driftless_rsync::client::{failure, maps};
use driftless_rsync::output::{exit, stats};
use driftless_transfer::connect::{Connection, Direction, End as SessionEnd, Established};
use driftless_transfer::report::{Quiet, Role, Statistics};
use driftless_transfer::{PushError, Request, TransferOptions};
use std::sync::Arc;

use super::request::{Objection, Wish, module_chmod};
use super::settle::Settled;
use crate::conf::Key;
use crate::journal::{self, Journal, Names};
use crate::log::Weight;
use crate::session::{End, Session, handshake_limit};
use crate::status::Event;

impl Session<'_, '_> {
    pub(super) fn transfer(
        &mut self,
        settled: &Settled<'_>,
        protocol: u8,
        wish: Result<Wish, Objection>,
    ) -> Result<u8, End> {
        let (options, client_info, sends) = match &wish {
            Ok(wish) => {
                let sends =
                    wish.invocation.mode == driftless_rsync::flags::Mode::Server { sender: true };
                (wish.invocation.options.clone(), wish.invocation.connect.rsh.clone(), sends)
            }
            Err(objection) => {
                (objection.options.clone(), objection.client_info.clone(), objection.sends)
            }
        };
        let direction = if sends { Direction::Send } else { Direction::Receive };
        let stream = self.wire.take_stream().map_err(|_| End::Silent(10))?;
        let input = std::mem::take(&mut self.wire.input);
        // Until both ends have agreed, a client that stalls is left as in the handshake.
        let mut opening = options.clone();
        if !self.host.over_shell {
            let limit = handshake_limit(settled.module.int(Key::Timeout));
            opening.connect_timeout = opening.connect_timeout.or(Some(limit));
        }
        let connection = Connection::accepted(stream, protocol, input, &opening);
        let end = SessionEnd::Server { client_info };
        let role = if sends { Role::Sender } else { Role::ReceivingSide };
        let mut session = match connection.negotiate(end, direction, &options, &mut Quiet) {
            Ok(session) => session,
            Err(PushError::Timeout { .. }) => return Err(End::Silent(30)),
            Err(error) => return Ok(self.failed(&error, role)),
        };
        let known_as = self.keeper.unwrap_or_else(std::process::id);
        self.host.teller.insist_as(known_as, &Event::Busy);
        let wish = match wish {
            Ok(wish) => wish,
            Err(objection) => {
                return Ok(self.refuse(session, &objection.text, objection.code, role));
            }
        };
        if let Some(text) = forbidden(settled, &options, sends) {
            return Ok(self.refuse(session, text, 1, role));
        }
        if let Some(limit) = options.timeout.filter(|_| settled.module.int(Key::Timeout) > 0) {
            session.announce_timeout(limit);
        }
        Ok(self.run_role(settled, session, &wish, &options, sends))
    }

    fn run_role(
        &mut self,
        settled: &Settled<'_>,
        session: Established,
        wish: &Wish,
        options: &TransferOptions,
        sends: bool,
    ) -> u8 {
        let mut terms = (*settled.terms).clone();
        terms.chmod = module_chmod(settled, sends);
        let module = Some(Arc::new(terms));
        let (host, shown) = (self.peer.name.clone(), self.peer.shown.clone());
        let format = self.host.settings.log_format.clone().or_else(|| {
            let logged = settled.module.flag(Key::TransferLogging);
            logged.then(|| settled.module.raw(Key::LogFormat).unwrap_or_default().to_vec())
        });
        let format = format.filter(|format| !format.is_empty()).map(|text| {
            let names = Names {
                host: &host,
                address: &shown,
                module: settled.module.name(),
                path: &settled.path,
                user: &settled.entry.user,
            };
            journal::format(&text, &names)
        });
        let zone = self.host.zone.clone();
        let mut journal =
            Journal::new(self.log, format, sends, options, zone, self.host.stop.wait_to_be_asked());
        if !sends {
            journal.put_in(wish.paths.first().map_or(&b""[..], Vec::as_slice));
        }
        let (role, result) = if sends {
            journal.log.line(Weight::Info, "building file list");
            let request = Request { sources: wish.paths.clone(), module, ..Request::default() };
            (Role::Sender, driftless_transfer::send(session, options, &request, &mut journal))
        } else {
            let maps = maps::check(&options.metadata);
            if let Err(text) = maps {
                return self.refuse(session, &text, 1, Role::ReceivingSide);
            }
            journal.log.line(Weight::Info, "receiving file list");
            let destination = wish.paths.first().cloned().or_else(|| Some(b".".to_vec()));
            let request = Request { destination, module, ..Request::default() };
            let result = driftless_transfer::receive(session, options, &request, &mut journal);
            (Role::ReceivingSide, result)
        };
        let (code, ending, error) = match &result {
            Ok(ending) => (ending.exit_code(), *ending, None),
            Err(failure) => (failure.error.exit_code(), failure.ending, Some(&failure.error)),
        };
        if let Some(error) = error {
            let ending = &ending.statistics;
            let secs = options.timeout.map_or(0, |limit| limit.as_secs());
            let text = failure::text(error, role, ending.bytes_received, secs);
            self.error(text);
        }
        if code == 0 || sends {
            self.info(stats::log_summary(&ending.statistics));
        }
        // What was left out is the client's to tell.
        if error.is_some() {
            self.error(exit::line(code, role));
        }
        code
    }

    fn refuse(&mut self, session: Established, text: &str, code: u8, role: Role) -> u8 {
        let last = exit::line(code, role);
        self.error(text);
        if role == Role::Sender {
            self.info(stats::log_summary(&Statistics::default()));
        }
        self.error(&last);
        session.refuse(format!("{text}\n{last}\n").as_bytes(), code);
        code
    }

    fn failed(&mut self, error: &PushError, role: Role) -> u8 {
        let code = error.exit_code();
        self.error(failure::text(error, role, 0, 0));
        self.error(exit::line(code, role));
        code
    }
}

/// What the module does not allow.
fn forbidden(
    settled: &Settled<'_>,
    options: &TransferOptions,
    sends: bool,
) -> Option<&'static str> {
    use driftless_transfer::options::RemoveSource;
    match (sends, options.delete.remove_source) {
        (false, _) if settled.is_read_only => Some("ERROR: module is read only"),
        (true, _) if settled.module.flag(Key::WriteOnly) => Some("ERROR: module is write only"),
        (true, RemoveSource::Same) if settled.is_read_only => {
            Some("ERROR: --remove-source-files cannot be used with a read-only module")
        }
        (true, RemoveSource::Sent) if settled.is_read_only => {
            Some("ERROR: --remove-sent-files cannot be used with a read-only module")
        }
        _ => None,
    }
}
