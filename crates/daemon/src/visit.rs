//! A whole connection in a process of its own, from its first byte: behind `inetd` or a remote
//! shell, or where the daemon itself becomes somebody else.

use std::time::Instant;

use driftless_tree::path::printable;

use crate::conf::Key;
use crate::door::{Door, Step};
use crate::greet::{listing, opening};
use crate::hosts;
use crate::identity::{self, Ids};
use crate::log::{Log, Weight};
use crate::peer::{Peer, find_name};
use crate::proxy::Header;
use crate::session::{self, Host, handshake_limit};
use crate::status::Event;
use crate::wire::{Wire, WireError};

/// What a visit begins with.
pub(crate) struct Visit<'a, 'h> {
    pub(crate) host: &'a mut Host<'h>,
    pub(crate) wire: Wire,
    pub(crate) peer: Peer,
    pub(crate) door: Door,
}

impl Visit<'_, '_> {
    /// Serves the connection; returns the exit code of this process.
    pub(crate) fn run(mut self, log: &mut Log) -> u8 {
        let globals = self.host.config.globals();
        if !self.host.over_shell {
            let limit = handshake_limit(globals.int(Key::Timeout));
            self.wire.set_deadline(Some(Instant::now() + limit));
        }
        if self.door.awaits_proxy() && !self.trusts_proxy(log) {
            return 255;
        }
        if !self.door.awaits_proxy() && !self.greet(log) {
            return 255;
        }
        loop {
            match self.door.step() {
                Step::Wait => {
                    if let Err(error) = self.read_more() {
                        return gone(&error, log);
                    }
                }
                Step::Proxied(header) => {
                    if let Header::From(addr) = header {
                        self.peer = Peer::at(addr);
                    }
                    if !self.greet(log) {
                        return 255;
                    }
                }
                Step::List => {
                    let from = self.peer.both();
                    log.line(Weight::Info, format!("module-list request from {from}"));
                    let rows = listing(self.host.config, self.door.caller.protocol);
                    let _ = self.wire.say(&rows);
                    return 255;
                }
                Step::Refuse(text) => {
                    let _ = self.wire.say(format!("{text}\n").as_bytes());
                    return 255;
                }
                Step::Close => return 255,
                Step::Module(name) => {
                    self.wire.input = std::mem::take(&mut self.door.input);
                    let caller = std::mem::take(&mut self.door.caller);
                    return session::serve(self.host, self.wire, self.peer, &caller, &name, log);
                }
            }
        }
    }

    fn read_more(&mut self) -> Result<(), WireError> {
        self.wire.more()?;
        self.door.input.append(&mut self.wire.input);
        Ok(())
    }

    fn trusts_proxy(&mut self, log: &mut Log) -> bool {
        self.name_peer(log);
        let list = self.host.config.globals().text(Key::ProxyProtocolHosts).unwrap_or_default();
        let trusted = hosts::is_listed(&list, &mut self.peer, &mut |_| {});
        if !trusted {
            let from = self.peer.both();
            log.line(Weight::Error, format!("proxy protocol rejected from untrusted peer {from}"));
        }
        trusted
    }

    fn name_peer(&mut self, log: &mut Log) {
        if !self.host.config.looks_up_names() || !self.peer.lacks_name() {
            return;
        }
        let Some(addr) = self.peer.addr else { return };
        let (name, lines) = find_name(addr);
        lines.iter().for_each(|line| log.line(Weight::Info, line));
        self.host.teller.say(&Event::Named { addr, name: name.clone() });
        self.peer.name = name;
    }

    /// Becomes who the daemon is to be, logs the connection and speaks first.
    fn greet(&mut self, log: &mut Log) -> bool {
        self.name_peer(log);
        let shows_name = self.host.config.globals().flag(Key::ReverseLookup);
        if !self.become_daemon(log) {
            return false;
        }
        let both = match shows_name || self.host.over_shell {
            true => self.peer.both(),
            false => format!("{} ({})", crate::peer::UNDETERMINED, self.peer.shown),
        };
        log.line(Weight::Info, format!("connect from {both}"));
        self.wire.say(&opening(self.host.config)).is_ok()
    }

    /// `daemon chroot`, `daemon gid`, `daemon uid`
    fn become_daemon(&mut self, log: &mut Log) -> bool {
        let globals = self.host.config.globals();
        let text = |key| globals.text(key);
        if let Some(path) = text(Key::DaemonChroot) {
            let path = printable(&path);
            log.hold();
            let done = nix::unistd::chroot(path.as_str()).and_then(|()| nix::unistd::chdir("/"));
            if let Err(error) = done {
                log.line(
                    Weight::Error,
                    format!("daemon chroot(\"{path}\") failed: {}", error.desc()),
                );
                return false;
            }
        }
        let gid = text(Key::DaemonGid).unwrap_or_default();
        let uid = text(Key::DaemonUid).unwrap_or_default();
        for (text, what) in [(&gid, "gid"), (&uid, "uid")] {
            if text.is_empty() {
                continue;
            }
            let ids = match what {
                "gid" => Ids::find(b"0", text).map(|ids| Ids { uid: None, ..ids }),
                _ => Ids::find(text, b"0").map(|ids| Ids { gids: None, ..ids }),
            };
            let shown = printable(text);
            let Ok(ids) = ids else {
                log.line(Weight::Error, format!("Invalid daemon {what}: {shown}"));
                return false;
            };
            if identity::drop_to(&ids).is_err() {
                let kind = if what == "gid" { "group" } else { "user" };
                log.line(Weight::Error, format!("Unable to set {kind} to daemon {what} {shown}"));
                return false;
            }
        }
        true
    }
}

fn gone(error: &WireError, log: &mut Log) -> u8 {
    use driftless_rsync::output::exit;
    use driftless_transfer::report::Role;
    match error {
        WireError::Timeout => {
            log.line(Weight::Error, "[Receiver] daemon handshake timeout -- exiting");
            log.line(Weight::Error, exit::line(30, Role::ReceivingSide));
            30
        }
        _ => 255,
    }
}
