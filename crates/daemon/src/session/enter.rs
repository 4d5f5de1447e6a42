//! Whether a client may enter: address, free slots, password.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use driftless_proto::auth::{Digest, encode, parse_response};
use driftless_proto::greeting::{ServerLine, take_line};
use driftless_tree::path::printable;

use crate::auth::{self, Access, Proof, Rejection};
use crate::conf::{Key, Module};
use crate::hooks::Variables;
use crate::hosts;
use crate::peer::find_name;
use crate::session::{End, Session};
use crate::slots::{self, NoSlot};
use crate::status::Event;

/// Longest answer to a challenge.
const MAX_ANSWER_LEN: usize = 5119;

/// Failures from one place that are answered at once.
const FREE_FAILURES: u32 = 3;

/// Longest pause before a failure is answered.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// A client that may enter.
pub(super) struct Entry {
    /// Empty for anybody.
    pub(super) user: Vec<u8>,
    pub(super) access: Access,
    pub(super) variables: Variables,
    /// Kept until the process ends.
    pub(super) _slot: Option<File>,
}

impl<'h> Session<'_, 'h> {
    pub(super) fn enter(&mut self, name: &[u8]) -> Result<(Module<'h>, Entry), End> {
        let shown = printable(name);
        let Some(module) = self.host.config.module(name) else {
            let text = format!("unknown module '{shown}' tried from {}", self.peer.both());
            self.info(text);
            return Err(End::error(format_args!("Unknown module '{shown}'"), 255));
        };
        if self.peer.lacks_name()
            && module.flag(Key::ReverseLookup)
            && let Some(addr) = self.peer.addr
        {
            let (found, lines) = find_name(addr);
            lines.iter().for_each(|line| self.info(line));
            self.peer.name = found;
        }
        self.admit(&module)?;
        let mut variables = Variables::default();
        variables.set("RSYNC_MODULE_NAME", name);
        variables.set("RSYNC_HOST_NAME", self.peer.name.as_bytes());
        variables.set("RSYNC_HOST_ADDR", self.peer.shown.as_bytes());
        let slot = self.take_slot(&module, &variables)?;
        let (user, access) = self.log_in(&module, &variables)?;
        variables.set("RSYNC_USER_NAME", user.as_slice());
        Ok((module, Entry { user, access, variables, _slot: slot }))
    }

    fn admit(&mut self, module: &Module<'_>) -> Result<(), End> {
        let shown = printable(module.name());
        let mut told = Vec::new();
        let admitted = hosts::admits(
            module.raw(Key::HostsAllow),
            module.raw(Key::HostsDeny),
            self.peer,
            module.flag(Key::ForwardLookup),
            &mut |line| told.push(line.to_owned()),
        );
        told.iter().for_each(|line| self.error(line));
        let both = self.peer.both();
        if !admitted {
            self.info(format!("rsync denied on module {shown} from {both}"));
            let text = match module.flag(Key::List) {
                true => format!("access denied to {shown} from {both}"),
                false => format!("Unknown module '{shown}'"),
            };
            return Err(End::error(text, 255));
        }
        if !self.host.over_shell {
            self.info(format!("rsync allowed access on module {shown} from {both}"));
        }
        Ok(())
    }

    fn take_slot(
        &mut self,
        module: &Module<'_>,
        variables: &Variables,
    ) -> Result<Option<File>, End> {
        let limit = module.int(Key::MaxConnections);
        let path = self.value(module, Key::LockFile, variables)?;
        match slots::claim(Path::new(OsStr::from_bytes(&path)), limit) {
            Ok(slot) => Ok(slot),
            Err(NoSlot::Full) => {
                self.info(format!("max connections ({limit}) reached"));
                let text = format!("max connections ({limit}) reached -- try again later");
                Err(End::error(text, 255))
            }
            Err(NoSlot::File(error)) => {
                let why = driftless_rsync::client::failure::system_text(&error);
                self.error(format!("failed to open lock file {}: {why}", printable(&path)));
                Err(End::error("failed to open lock file", 255))
            }
        }
    }

    /// A text of the module with the session's variables put in.
    pub(super) fn value(
        &mut self,
        module: &Module<'_>,
        key: Key,
        variables: &Variables,
    ) -> Result<Vec<u8>, End> {
        let raw = module.raw(key).unwrap_or_default();
        crate::conf::expand::expand(raw, |name| variables.get(name)).map_err(|error| {
            self.error(format!("{}: {error}", key.param().name));
            End::Silent(22)
        })
    }

    fn log_in(
        &mut self,
        module: &Module<'_>,
        variables: &Variables,
    ) -> Result<(Vec<u8>, Access), End> {
        let users = self.value(module, Key::AuthUsers, variables)?;
        if users.is_empty() {
            return Ok((Vec::new(), Access::AsModule));
        }
        self.start_clock(module);
        let digest = self.digest(module)?;
        let challenge = challenge(digest);
        let mut line = Vec::new();
        ServerLine::AuthRequired(challenge.clone().into_bytes()).put(&mut line);
        self.wire.say(&line)?;
        let answer = self.wire.need(|input| take_line(input, MAX_ANSWER_LEN))?;
        let Some((user, response)) = parse_response(&answer).filter(|(user, _)| !user.is_empty())
        else {
            return Err(self.reject(module, None, "invalid challenge response"));
        };
        // Only a client without a list has the old form of MD4.
        let protocol = match self.caller.digests {
            None => u8::try_from(self.caller.protocol).unwrap_or(0),
            Some(_) => 32,
        };
        let proof = Proof { digest, challenge: challenge.as_bytes(), protocol, response };
        match self.check(module, &users, user, &proof, variables) {
            Ok(access) => Ok((user.to_vec(), access)),
            Err(rejection) => Err(self.reject(module, Some(user), &rejection.to_string())),
        }
    }

    /// The digest that both know best, if it is good enough.
    fn digest(&mut self, module: &Module<'_>) -> Result<Digest, End> {
        let digest = match &self.caller.digests {
            None if self.caller.protocol >= 30 => Digest::Md5,
            None => Digest::Md4,
            Some(theirs) => {
                let common = Digest::PREFERENCE.into_iter().find(|ours| theirs.contains(ours));
                common.ok_or_else(|| {
                    let names = Digest::PREFERENCE.map(Digest::name).join(" ");
                    let text = format!(
                        "your client does not support one of our daemon-auth checksums: {names}"
                    );
                    End::error(text, 4)
                })?
            }
        };
        let floor = module.raw(Key::AuthDigest).unwrap_or_default();
        if floor.is_empty() {
            return Ok(digest);
        }
        let rank = |one: Digest| Digest::PREFERENCE.iter().position(|known| *known == one);
        let shown = printable(floor);
        match Digest::of(floor) {
            Some(least) if rank(digest) <= rank(least) => Ok(digest),
            Some(_) => {
                let text = format!(
                    "negotiated auth digest {} is weaker than the required 'auth digest = {shown}'",
                    digest.name()
                );
                Err(self.reject(module, None, &text))
            }
            None => {
                let text = format!(
                    "the configured 'auth digest = {shown}' is not a supported digest on this build"
                );
                Err(self.reject(module, None, &text))
            }
        }
    }

    fn check(
        &mut self,
        module: &Module<'_>,
        users: &[u8],
        user: &[u8],
        proof: &Proof<'_>,
        variables: &Variables,
    ) -> Result<Access, Rejection> {
        let rule = auth::rule(users, user, auth::groups_of)?;
        let path = self.value(module, Key::SecretsFile, variables).unwrap_or_default();
        let strict = module.flag(Key::StrictModes);
        let mut told = Vec::new();
        let secrets =
            auth::read_secrets(Some(&path), strict, &mut |line| told.push(line.to_owned()));
        told.iter().for_each(|line| self.error(line));
        auth::check(&secrets?, user, rule.group.as_deref(), proof)?;
        Ok(rule.access)
    }

    /// Somebody does not enter: why is for the log alone.
    fn reject(&mut self, module: &Module<'_>, user: Option<&[u8]>, why: &str) -> End {
        let (name, both) = (printable(module.name()), self.peer.both());
        let who = user.map(|user| format!(" for {}", printable(user))).unwrap_or_default();
        self.error(format!("auth failed on module {name} from {both}{who}: {why}"));
        self.host.teller.say(&Event::Rejected);
        if self.host.failures >= FREE_FAILURES {
            let doubled = 1u32.checked_shl(self.host.failures - FREE_FAILURES).unwrap_or(u32::MAX);
            std::thread::sleep(LONGEST_PAUSE.min(Duration::from_millis(250) * doubled.min(64)));
        }
        End::error(format_args!("auth failed on module {name}"), 255)
    }
}

/// Random text, as long as the digest's.
fn challenge(digest: Digest) -> String {
    let len = match digest {
        Digest::Sha512 => 64,
        Digest::Sha256 => 32,
        Digest::Sha1 => 20,
        Digest::Md5 | Digest::Md4 => 16,
    };
    let mut raw = vec![0u8; len];
    let mut filled = 0;
    while filled < len {
        match rustix::rand::getrandom(&mut raw[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(count) => filled += count,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("the kernel gives no random bytes: {error}"),
        }
    }
    encode(&raw)
}
