//! From a connection to a running session: greeting, module, authentication, arguments, setup.
//! Protocol reference, "Daemon text handshake" and "Setup exchange".
//!
//! Every flight leaves in one write, and nothing waits that need not: greeting and module go out at
//! once, arguments follow an answer to a challenge without waiting for its verdict, and what is
//! behind them follows a daemon of protocol 32 without waiting for its flags, which are known: all
//! such daemons grant what the arguments ask for.

use crate::driver::{Driver, Level};
use crate::error::PushError;
use crate::link::{Link, Received};
use crate::options::{CompressChoice, TransferOptions};
use driftless_proto::Decode;
use driftless_proto::auth::{self, Digest};
use driftless_proto::greeting::{ClientLine, Greeting, ServerLine, take_line};
use driftless_proto::mux::Mux;
use driftless_proto::setup::{self, ChecksumKind, CompatFlags, Compression};
use zeroize::Zeroizing;

/// Longest line that is accepted from a daemon.
const MAX_LINE: usize = 16 * 1024;

/// Lines of a message of the day that are read.
const MAX_LINES: usize = 10_000;

/// What the two ends agreed on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Setup {
    pub(crate) protocol: u8,
    pub(crate) compat: CompatFlags,
    /// Of blocks and of whole files.
    pub(crate) checksum: ChecksumKind,
    /// Of the digests in lists (`--checksum`).
    pub(crate) list_checksum: ChecksumKind,
    pub(crate) compression: Compression,
    pub(crate) seed: i32,
    /// Digests of whole files begin with the seed: protocol 29's own MD4, not one that was chosen
    /// by name.
    pub(crate) seeds_files: bool,
}

impl Setup {
    /// Whether a protocol's whole-file digest begins with the seed.
    pub(crate) fn seeds_files(protocol: u8, options: &TransferOptions) -> bool {
        protocol < 30 && options.checksum_choice.is_none()
    }

    /// Whether the seed goes before the data of a block with MD5; before protocol 30 it does, though
    /// nothing was agreed on (seen).
    pub(crate) fn seeds_blocks_first(&self) -> bool {
        self.compat.checksum_seed_fix() || self.protocol < 30
    }

    /// The kind of the digests in the lists, where there are any that tell people something.
    pub(crate) fn readable_list_digests(&self, options: &TransferOptions) -> Option<ChecksumKind> {
        (options.update.checksum && !self.seeds_files).then_some(self.list_checksum)
    }

    /// A whole-file digest as people read it; one that begins with the seed tells them nothing.
    pub(crate) fn shown(&self, digest: &[u8]) -> Vec<u8> {
        if self.seeds_files { Vec::new() } else { self.checksum.shown(digest) }
    }
}

/// The flags of any daemon that speaks protocol 32, as far as they shape what a client sends; only
/// incremental recursion remains open.
pub(crate) const ANTICIPATED: CompatFlags =
    CompatFlags(CompatFlags::VARINT_FLIST_FLAGS | CompatFlags::ID0_NAMES | CompatFlags::SAFE_FLIST);

/// The first protocol whose daemons have [`ANTICIPATED`].
pub(crate) const ANTICIPATED_FROM: u8 = 32;

/// Which module is entered, and by whom.
pub(crate) struct Login<'a> {
    pub(crate) module: &'a str,
    pub(crate) user: &'a str,
    /// Asked for only when the daemon wants a password.
    pub(crate) password: &'a dyn Fn() -> Option<Zeroizing<Vec<u8>>>,
    /// For the daemon's early program.
    pub(crate) early_input: Option<&'a [u8]>,
    /// The highest protocol offered, and the lowest accepted.
    pub(crate) protocol: u8,
    pub(crate) least_protocol: u8,
}

impl Login<'_> {
    fn refusal(&self, line: &[u8]) -> PushError {
        refusal(line, self.module, self.user)
    }
}

/// Enters the module and hands over the arguments, with what `put_behind` adds to them; both are
/// made when the protocol version is known. Returns that version.
pub(crate) fn login(
    link: &mut Link,
    who: &Login<'_>,
    args: impl FnOnce(u8) -> Vec<Vec<u8>>,
    put_behind: impl FnOnce(&mut Mux, u8),
    driver: &mut dyn Driver,
) -> Result<u8, PushError> {
    let ours = Greeting { protocol: who.protocol, sub: 0, digests: Digest::PREFERENCE.to_vec() };
    let mut flight = Vec::with_capacity(128);
    ours.put(&mut flight);
    if let Some(input) = who.early_input {
        ClientLine::EarlyInput(input.len()).put(&mut flight);
        flight.extend_from_slice(input);
    }
    flight.extend_from_slice(who.module.as_bytes());
    flight.push(b'\n');
    link.output.unframed(&flight);

    let theirs = greeting(link, driver)?;
    let protocol = ours.agree(&theirs);
    if protocol < who.least_protocol {
        let least = who.least_protocol;
        return Err(PushError::Protocol {
            phase: link.phase,
            what: format!("the daemon speaks protocol {protocol}, {least} is the least"),
            exit: 2,
        });
    }
    let mut flight = Vec::new();
    let args = args(protocol);
    driftless_proto::args::put_args(&mut flight, args.iter().map(Vec::as_slice), protocol);
    for _ in 0..MAX_LINES {
        match ServerLine::parse(line(link, driver)?) {
            ServerLine::Motd(text) => driver.message(Level::Motd, &text),
            ServerLine::Ok => {
                link.output.unframed(&flight);
                put_behind(&mut link.output, protocol);
                return Ok(protocol);
            }
            ServerLine::AuthRequired(challenge) => {
                let no_password = || PushError::NoPassword {
                    user: who.user.to_owned(),
                    module: who.module.to_owned(),
                };
                let password = (who.password)().ok_or_else(no_password)?;
                let digest = auth::choose(&theirs.digests, protocol)
                    .map_err(|violation| protocol_error(link, &violation))?;
                let proof = auth::respond(digest, &password, &challenge, protocol);
                let mut answer = Vec::with_capacity(128 + flight.len());
                auth::put_response(&mut answer, who.user.as_bytes(), &proof);
                answer.append(&mut flight);
                link.output.unframed(&answer);
                put_behind(&mut link.output, protocol);
                return verdict(link, who, protocol, driver);
            }
            ServerLine::Exit => {
                return Err(PushError::Daemon { text: b"it ended the session".to_vec() });
            }
            ServerLine::Error(text) => return Err(who.refusal(&text)),
        }
    }
    Err(too_many_lines(link))
}

fn verdict(
    link: &mut Link,
    who: &Login<'_>,
    protocol: u8,
    driver: &mut dyn Driver,
) -> Result<u8, PushError> {
    for _ in 0..MAX_LINES {
        match ServerLine::parse(line(link, driver)?) {
            ServerLine::Motd(text) => driver.message(Level::Motd, &text),
            ServerLine::Ok => return Ok(protocol),
            ServerLine::Error(text) => return Err(who.refusal(&text)),
            ServerLine::AuthRequired(_) | ServerLine::Exit => break,
        }
    }
    Err(too_many_lines(link))
}

fn too_many_lines(link: &Link) -> PushError {
    let what = "the daemon's handshake does not come to an end".to_owned();
    PushError::Protocol { phase: link.phase, what, exit: 5 }
}

pub(super) fn greeting(link: &mut Link, driver: &mut dyn Driver) -> Result<Greeting, PushError> {
    const MARK: &[u8] = b"@RSYNCD: ";
    loop {
        let seen = link.input.len().min(MARK.len());
        if link.input[..seen] != MARK[..seen] {
            // An address that is shut out may be told so at once.
            if link.input.starts_with(b"@ERROR") {
                let text = line(link, driver)?;
                return Err(PushError::Daemon { text: error_text(&text) });
            }
            if !b"@ERROR".starts_with(&link.input) {
                let got = link.input[..link.input.len().min(80)].to_vec();
                return Err(PushError::NotRsync { got });
            }
        }
        if seen == MARK.len() {
            let line = line(link, driver)?;
            return Greeting::parse(&line).map_err(|violation| protocol_error(link, &violation));
        }
        more(link, driver)?;
    }
}

/// Writes our side of the setup exchange, for a server with [`CompatFlags::varint_flist_flags`].
pub(crate) fn put_setup(options: &TransferOptions, output: &mut Mux) {
    let mut flight = Vec::with_capacity(64);
    Offer::of(options).put(&mut flight);
    output.unframed(&flight);
}

/// How a setup exchange can end.
pub(crate) enum SetupEnd {
    Agreed(Setup),
    /// The server lacks flags that were anticipated, and what was sent makes no sense to it.
    Disappointed,
}

/// Reads the setup exchange and sends our side of it, unless that was done in anticipation.
pub(crate) fn setup(
    link: &mut Link,
    protocol: u8,
    anticipated: bool,
    options: &TransferOptions,
    driver: &mut dyn Driver,
) -> Result<SetupEnd, PushError> {
    // A failure behind the verdict is still told as a line.
    while link.input.len() < 6 && b"@ERROR".starts_with(&link.input) {
        more(link, driver)?;
    }
    if link.input.starts_with(b"@ERROR") {
        let text = line(link, driver)?;
        return Err(PushError::Daemon { text: error_text(&text) });
    }
    let compat = match protocol {
        ..30 => CompatFlags::default(),
        _ => need(link, driver, CompatFlags::take)?,
    };
    if anticipated && compat.0 & ANTICIPATED.0 != ANTICIPATED.0 {
        return Ok(SetupEnd::Disappointed);
    }
    let mut setup = Setup {
        protocol,
        compat,
        checksum: options.checksum_choice.unwrap_or(ChecksumKind::fallback(protocol)),
        list_checksum: ChecksumKind::None,
        compression: chosen_compression(options.compress).unwrap_or(Compression::Zlib),
        seed: 0,
        seeds_files: Setup::seeds_files(protocol, options),
    };
    if compat.varint_flist_flags() {
        let ours = Offer::of(options);
        if !anticipated {
            put_setup(options, &mut link.output);
        }
        if let Some(checksums) = &ours.checksums {
            let theirs = need(link, driver, |input| setup::take_names(input).map(<[u8]>::to_vec))?;
            let known = setup::checksums(&theirs);
            setup.checksum = common("checksum", checksums, &known, ChecksumKind::name)?;
        }
        if let Some(compressions) = &ours.compressions {
            let theirs = need(link, driver, |input| setup::take_names(input).map(<[u8]>::to_vec))?;
            let known = setup::compressions(&theirs);
            setup.compression = common("compress", compressions, &known, Compression::name)?;
        }
    }
    setup.list_checksum = options.update.list_checksum_choice.unwrap_or(setup.checksum);
    setup.seed = need(link, driver, setup::take_seed)?;
    // The server gets ready while the first list is made here.
    link.write_some()?;
    Ok(SetupEnd::Agreed(setup))
}

/// `None`: to be negotiated.
pub(super) fn chosen_compression(choice: CompressChoice) -> Option<Compression> {
    match choice {
        CompressChoice::Off => Some(Compression::None),
        CompressChoice::Negotiate => None,
        CompressChoice::Zstd => Some(Compression::Zstd),
        CompressChoice::Lz4 => Some(Compression::Lz4),
        CompressChoice::Zlibx => Some(Compression::Zlibx),
        CompressChoice::Zlib => Some(Compression::Zlib),
    }
}

/// Writes a list of names, and something that no name is where there are none.
pub(super) fn put_offer<K: Copy>(out: &mut Vec<u8>, kinds: &[K], name: fn(K) -> &'static str) {
    match kinds {
        [] => setup::put_names(out, ["INVALID"]),
        kinds => setup::put_names(out, kinds.iter().map(|kind| name(*kind))),
    }
}

/// What both ends have and the client likes best.
pub(super) fn common<K: Copy + PartialEq>(
    what: &'static str,
    client: &[K],
    server: &[K],
    name: fn(K) -> &'static str,
) -> Result<K, PushError> {
    setup::choose(client, server, what, &[]).map_err(|_| {
        let list = |kinds: &[K]| match kinds {
            [] => "INVALID".to_owned(),
            kinds => kinds.iter().map(|kind| name(*kind)).collect::<Vec<_>>().join(" "),
        };
        let text = format!(
            "Failed to negotiate a {what} choice.\nServer list: {}\nClient list: {}",
            list(server),
            list(client)
        );
        PushError::Fatal { text, exit: 4 }
    })
}

/// The names that a client offers; `None` where there is nothing to negotiate.
struct Offer {
    checksums: Option<Vec<ChecksumKind>>,
    compressions: Option<Vec<Compression>>,
}

impl Offer {
    fn of(options: &TransferOptions) -> Self {
        const LAST: usize = ChecksumKind::ORDER.len() - 1;
        const LAST_COMPRESSION: usize = Compression::ORDER.len() - 1;
        // "none" is the server's word: a client never asks for it.
        let checksums = || {
            let all = || ChecksumKind::ORDER[..LAST].to_vec();
            options.offer.checksums.clone().unwrap_or_else(all)
        };
        let compressions = || {
            let all = || Compression::ORDER[..LAST_COMPRESSION].to_vec();
            options.offer.compressions.clone().unwrap_or_else(all)
        };
        let negotiates = options.compress == CompressChoice::Negotiate;
        Self {
            checksums: options.checksum_choice.is_none().then(checksums),
            compressions: negotiates.then(compressions),
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        if let Some(checksums) = &self.checksums {
            put_offer(out, checksums, ChecksumKind::name);
        }
        if let Some(compressions) = &self.compressions {
            put_offer(out, compressions, Compression::name);
        }
    }
}

pub(super) fn line(link: &mut Link, driver: &mut dyn Driver) -> Result<Vec<u8>, PushError> {
    need(link, driver, |input| take_line(input, MAX_LINE))
}

/// Takes one value, waiting for as many bytes as it needs.
pub(crate) fn need<T>(
    link: &mut Link,
    driver: &mut dyn Driver,
    mut take: impl FnMut(&mut &[u8]) -> Result<T, Decode>,
) -> Result<T, PushError> {
    loop {
        let mut input = link.input.as_slice();
        match take(&mut input) {
            Ok(value) => {
                let taken = link.input.len() - input.len();
                link.input.drain(..taken);
                return Ok(value);
            }
            Err(Decode::Incomplete) => more(link, driver)?,
            Err(Decode::Invalid(violation)) => return Err(protocol_error(link, &violation)),
        }
    }
}

fn more(link: &mut Link, driver: &mut dyn Driver) -> Result<(), PushError> {
    match link.receive(&|| driver.cancelled())? {
        Received::End => Err(PushError::Closed { phase: link.phase }),
        Received::Bytes => Ok(()),
    }
}

pub(super) fn protocol_error(link: &Link, violation: &driftless_proto::Violation) -> PushError {
    PushError::Protocol {
        phase: link.phase,
        what: violation.to_string(),
        exit: violation.exit_code(),
    }
}

/// What an `@ERROR` line means. Protocol reference, "Daemon text handshake".
fn refusal(line: &[u8], module: &str, user: &str) -> PushError {
    let text = error_text(line);
    if text.starts_with(b"max connections") {
        PushError::MaxConnections { text }
    } else if text.starts_with(b"auth failed") {
        PushError::AuthFailed { user: user.to_owned(), module: module.to_owned() }
    } else {
        PushError::Daemon { text }
    }
}

pub(super) fn error_text(line: &[u8]) -> Vec<u8> {
    line.strip_prefix(b"@ERROR")
        .map_or(line, |rest| rest.strip_prefix(b": ").unwrap_or(rest))
        .to_vec()
}
