//! A connection to a peer, and what both ends agree on before the transfer. Protocol reference,
//! "Session start" and "Setup exchange".
//!
//! ```text
//! stdio, shell, daemon ─► Connection ──negotiate──► Established ─► send or receive
//! ```

use std::time::{Duration, Instant};

use driftless_proto::args;
use driftless_proto::mux::Tag;
use driftless_proto::setup::{self, ChecksumKind, CompatFlags, Compression};
use zeroize::Zeroizing;

use crate::connect::handshake::{self, Login, Setup, SetupEnd, chosen_compression, need};
use crate::connect::shell::{self, RemoteShell, ShellChild};
use crate::connect::stream::Stream;
use crate::driver::{Content, Driver, Level, Listed, Refusal, SentOutcome};
use crate::error::PushError;
use crate::link::{Frames, Link};
use crate::options::{CompressChoice, DeleteWhen, RemoveSource, TransferOptions};
use crate::report::{Message, Origin, Report};

/// Which end of a session we are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum End {
    /// The program that the user started.
    Client,
    /// The other one.
    Server {
        /// The value of the client's `-e` option; `None` where it has none.
        client_info: Option<Vec<u8>>,
    },
}

/// Which way content goes, as seen from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// We send.
    Send,
    /// We receive.
    Receive,
}

/// A module of a daemon and who enters it.
pub struct Module<'a> {
    /// The module's name.
    pub name: &'a str,
    /// Who we are.
    pub user: &'a str,
    /// Asked only when the daemon wants a password; `None`: there is none.
    pub password: &'a dyn Fn() -> Option<Zeroizing<Vec<u8>>>,
    /// For the daemon's early program; at most 5120 bytes.
    pub early_input: Option<&'a [u8]>,
    /// The server's arguments from `--server` on.
    pub args: &'a [Vec<u8>],
}

/// Connected to a peer; nothing is agreed on but, with a daemon, the protocol.
pub struct Connection {
    pub(crate) link: Link,
    child: Option<ShellChild>,
    protocol: Option<u8>,
    within_process: bool,
}

impl Connection {
    /// Over any stream. `deadline` bounds all that comes before the transfer.
    pub fn new(stream: Stream, child: Option<ShellChild>, options: &TransferOptions) -> Self {
        let deadline = options.connect_timeout.map(|limit| Instant::now() + limit);
        let silence = options.timeout.or(options.silence_limit);
        let link = Link::new(stream, deadline, silence, options.bwlimit);
        Self { link, child, protocol: None, within_process: false }
    }

    /// Both ends are in this process: what an old protocol has no words for holds all the same.
    pub(crate) fn within_process(mut self) -> Self {
        self.within_process = true;
        self
    }

    /// The client of this process, which is a server.
    ///
    /// # Errors
    /// Standard input or output is closed.
    pub fn stdio(options: &TransferOptions) -> Result<Self, PushError> {
        Ok(Self::new(Stream::stdio()?, None, options))
    }

    /// A client that a daemon has let into a module: the protocol is agreed on, the arguments are
    /// read, and `input` is what was read behind them.
    pub fn accepted(
        stream: Stream,
        protocol: u8,
        input: Vec<u8>,
        options: &TransferOptions,
    ) -> Self {
        let mut connection = Self::new(stream, None, options);
        connection.link.input = input;
        connection.protocol = Some(protocol);
        connection
    }

    /// A server, or a daemon, behind a remote shell.
    ///
    /// # Errors
    /// The shell cannot be started.
    pub fn shell(shell: &RemoteShell, options: &TransferOptions) -> Result<Self, PushError> {
        let (stream, child) = shell.start().map_err(|source| PushError::Shell {
            program: shell.command.first().cloned().unwrap_or_default(),
            source,
        })?;
        Ok(Self::new(stream, Some(child), options))
    }

    /// Applies options that were not known when the connection was made, as on a server, which
    /// reads them from it.
    pub fn apply(&mut self, options: &TransferOptions) {
        self.link.set_timeout(options.timeout.or(options.silence_limit));
        self.link.set_bwlimit(options.bwlimit);
    }

    /// Sends arguments that are not on the remote command line (`-s`), before anything else, or
    /// right behind those of [`Connection::enter_module`].
    pub fn put_secluded_args(&mut self, args: &[Vec<u8>]) {
        let mut block = Vec::new();
        args::put_secluded(&mut block, args.iter().map(Vec::as_slice));
        self.link.output.unframed(&block);
    }

    /// Reads the arguments that a client keeps off the command line, without a program name.
    ///
    /// # Errors
    /// The client goes, is silent for too long, or sends too much.
    pub fn take_secluded_args(
        &mut self,
        report: &mut dyn Report,
    ) -> Result<Vec<Vec<u8>>, PushError> {
        need(&mut self.link, &mut Listener(report), |input| {
            Ok(args::take_secluded(input)?.into_iter().map(<[u8]>::to_vec).collect())
        })
    }

    /// Logs in at a daemon and hands over the arguments.
    ///
    /// # Errors
    /// The daemon refuses, or what is there is no daemon.
    pub fn enter_module(
        &mut self,
        module: &Module<'_>,
        options: &TransferOptions,
        report: &mut dyn Report,
    ) -> Result<(), PushError> {
        let login = Login {
            module: module.name,
            user: module.user,
            password: module.password,
            early_input: module.early_input,
            protocol: options.protocol,
            least_protocol: LEAST_PROTOCOL,
        };
        let driver = &mut Listener(report);
        let args = |_| module.args.to_vec();
        let protocol = handshake::login(&mut self.link, &login, args, |_, _| {}, driver)?;
        self.protocol = Some(protocol);
        Ok(())
    }

    /// Agrees with the peer on everything that the transfer depends on.
    ///
    /// # Errors
    /// They have nothing in common, or the peer goes.
    pub fn negotiate(
        self,
        end: End,
        direction: Direction,
        options: &TransferOptions,
        report: &mut dyn Report,
    ) -> Result<Established, PushError> {
        let Self { mut link, child, protocol, within_process } = self;
        let is_server = matches!(end, End::Server { .. });
        let agreed = match protocol {
            Some(protocol) => Ok(protocol),
            None => exchange_versions(&mut link, options, &mut Listener(report)),
        };
        let agreed = agreed.and_then(|protocol| {
            if !within_process {
                check_protocol(protocol, options)?;
            }
            agree(&mut link, protocol, &end, direction, options, report)
        });
        match agreed {
            Ok(setup) => {
                link.start_counting();
                Ok(Established { link, child, setup, is_server })
            }
            Err(error) => {
                // The peer judges by our version, too, which may wait still.
                let _ = link.write_some();
                drop(link);
                Err(shell::blamed(error, child))
            }
        }
    }
}

/// Refuses what the protocol has no words for, as both ends do for themselves.
fn check_protocol(protocol: u8, options: &TransferOptions) -> Result<(), PushError> {
    let metadata = &options.metadata;
    let asked = [(metadata.acls, "--acls"), (metadata.xattrs > 0, "--xattrs")];
    match asked.iter().find(|(asked, _)| *asked && protocol < 30) {
        None => Ok(()),
        Some((_, option)) => {
            let text = format!("{option} requires protocol 30 or higher (negotiated {protocol}).");
            Err(PushError::Fatal { text, exit: 2 })
        }
    }
}

fn agree(
    link: &mut Link,
    protocol: u8,
    end: &End,
    direction: Direction,
    options: &TransferOptions,
    report: &mut dyn Report,
) -> Result<Setup, PushError> {
    let driver = &mut Listener(report);
    let setup = match end {
        End::Client => match handshake::setup(link, protocol, false, options, driver)? {
            SetupEnd::Agreed(setup) => setup,
            SetupEnd::Disappointed => unreachable!("nothing was anticipated"),
        },
        End::Server { client_info } => {
            let info = client_info.as_deref();
            serve_setup(link, protocol, info, direction, options, driver)?
        }
    };
    let is_server = matches!(end, End::Server { .. });
    if !is_server && options.talk.debug.nstr > 0 {
        tell_choices(&setup, options, report);
    }
    // Before protocol 30 a client sends bare data, unless it tells what it has received.
    let client_receives = is_server == (direction == Direction::Send);
    let removes = options.delete.remove_source != RemoveSource::Nothing;
    let from_client = protocol >= 30 || client_receives && removes;
    link.start_transfer(Frames {
        output: is_server || from_client,
        input: !is_server || from_client,
    });
    Ok(setup)
}

/// Longest wait for a client that was told why it is left.
const FAREWELL: Duration = Duration::from_secs(5);

/// Says which algorithms are used, and whether they were agreed on (`--debug=NSTR`).
fn tell_choices(setup: &Setup, options: &TransferOptions, report: &mut dyn Report) {
    let agreed = |by_option: bool| {
        let names = setup.compat.varint_flist_flags() && !by_option;
        if names { " negotiated" } else { "" }
    };
    let mut say = |text: String| {
        let text = text.as_bytes();
        report.message(&Message { level: Level::Info, origin: Origin::Here, text });
    };
    let how = agreed(options.checksum_choice.is_some());
    say(format!("Client{how} checksum: {}", setup.checksum.name()));
    if setup.compression != Compression::None {
        let how = agreed(options.compress != CompressChoice::Negotiate);
        let level = options.compress_level.unwrap_or(setup.compression.default_level());
        say(format!("Client{how} compress: {} (level {level})", setup.compression.name()));
    }
}

/// The least protocol that is spoken.
pub const LEAST_PROTOCOL: u8 = 29;

/// Protocol reference, "Version". Both ends write first.
fn exchange_versions(
    link: &mut Link,
    options: &TransferOptions,
    driver: &mut dyn Driver,
) -> Result<u8, PushError> {
    let mut ours = Vec::with_capacity(4);
    setup::put_version(&mut ours, options.protocol);
    link.output.unframed(&ours);
    let theirs = need(link, driver, setup::take_version).map_err(|error| match error {
        // What is no version is what a shell says to somebody who logs in.
        PushError::Protocol { .. } => {
            let text = "protocol version mismatch -- is your shell clean?\n\
                        (see the rsync manpage for an explanation)";
            PushError::Fatal { text: text.to_owned(), exit: 2 }
        }
        error => error,
    })?;
    let protocol = options.protocol.min(theirs);
    if protocol < LEAST_PROTOCOL {
        return Err(PushError::Protocol {
            phase: link.phase,
            what: format!("the peer speaks protocol {theirs}, {LEAST_PROTOCOL} is the least"),
            exit: 2,
        });
    }
    Ok(protocol)
}

/// The server's side of the setup exchange. The client's order of names decides.
fn serve_setup(
    link: &mut Link,
    protocol: u8,
    client_info: Option<&[u8]>,
    direction: Direction,
    options: &TransferOptions,
    driver: &mut dyn Driver,
) -> Result<Setup, PushError> {
    let mut compat = CompatFlags::default();
    let mut flight = Vec::with_capacity(128);
    if protocol >= 30 {
        compat = granted(client_info.unwrap_or_default(), direction, options);
        compat.put(&mut flight);
    }
    let chosen = chosen_compression(options.compress);
    let mut setup = Setup {
        protocol,
        compat,
        checksum: options.checksum_choice.unwrap_or(ChecksumKind::fallback(protocol)),
        list_checksum: ChecksumKind::None,
        compression: chosen.unwrap_or(Compression::Zlib),
        seed: options.checksum_seed.filter(|&seed| seed != 0).unwrap_or_else(random_seed),
        seeds_files: Setup::seeds_files(protocol, options),
    };
    let offer = &options.offer;
    let checksums = offer.checksums.as_deref().unwrap_or(&ChecksumKind::ORDER);
    let compressions = offer.compressions.as_deref().unwrap_or(&Compression::ORDER);
    let checksum_choice =
        options.checksum_choice.filter(|kind| !checksums.contains(kind)).map(ChecksumKind::name);
    let compress_choice = chosen
        .filter(|_| options.compress != CompressChoice::Off)
        .filter(|kind| !compressions.contains(kind));
    for (what, refused) in
        [("checksum", checksum_choice), ("compress", compress_choice.map(Compression::name))]
    {
        if let Some(name) = refused {
            let text = format!("Your --{what}-choice value ({name}) was refused by the server.");
            return Err(PushError::Fatal { text, exit: 4 });
        }
    }
    let names = compat.varint_flist_flags();
    let asks_checksum = names && options.checksum_choice.is_none();
    let asks_compression = names && chosen.is_none();
    if asks_checksum {
        handshake::put_offer(&mut flight, checksums, ChecksumKind::name);
    }
    if asks_compression {
        handshake::put_offer(&mut flight, compressions, Compression::name);
    }
    // It depends on nothing that the client says, and is there when the client has read the names.
    setup::put_seed(&mut flight, setup.seed);
    link.output.unframed(&flight);
    let take = |input: &mut &[u8]| setup::take_names(input).map(<[u8]>::to_vec);
    if asks_checksum {
        let theirs = need(link, driver, take)?;
        let known = setup::checksums(&theirs);
        setup.checksum = handshake::common("checksum", &known, checksums, ChecksumKind::name)?;
    }
    if asks_compression {
        let theirs = need(link, driver, take)?;
        let known = setup::compressions(&theirs);
        setup.compression = handshake::common("compress", &known, compressions, Compression::name)?;
    }
    setup.list_checksum = options.update.list_checksum_choice.unwrap_or(setup.checksum);
    Ok(setup)
}

/// What a server grants a client with these capability letters. Protocol reference, "Client info"
/// and "Compat flags".
fn granted(client_info: &[u8], direction: Direction, options: &TransferOptions) -> CompatFlags {
    let has = |letter| client_info.contains(&letter);
    let mut bits = CompatFlags::SYMLINK_TIMES | CompatFlags::SYMLINK_ICONV;
    let letters = [
        (b'f', CompatFlags::SAFE_FLIST),
        (b'x', CompatFlags::AVOID_XATTR_OPTIM),
        (b'C', CompatFlags::CHECKSUM_SEED_FIX),
        (b'I', CompatFlags::INPLACE_PARTIAL_DIR),
        (b'v', CompatFlags::VARINT_FLIST_FLAGS),
        (b'u', CompatFlags::ID0_NAMES),
    ];
    bits |= letters.iter().filter(|(letter, _)| has(*letter)).fold(0, |all, (_, bit)| all | bit);
    if has(b'i') && can_recurse_incrementally(direction, options) {
        bits |= CompatFlags::INC_RECURSE;
    }
    CompatFlags(bits)
}

/// Whether this end can work with incremental lists. Protocol reference, "Incremental recursion".
pub fn can_recurse_incrementally(direction: Direction, options: &TransferOptions) -> bool {
    let selection = &options.selection;
    let whole_list = direction == Direction::Receive
        && (selection.prune_empty_dirs
            || options.delay_updates
            || matches!(options.delete.when, Some(DeleteWhen::Before | DeleteWhen::After)));
    selection.recursive && selection.inc_recursive && !whole_list
}

fn random_seed() -> i32 {
    fastrand::i32(1..)
}

/// An agreed session, ready for [`crate::send`] or a receiving side.
pub struct Established {
    pub(crate) link: Link,
    pub(crate) child: Option<ShellChild>,
    pub(crate) setup: Setup,
    pub(crate) is_server: bool,
}

impl Established {
    /// The protocol spoken.
    pub fn protocol(&self) -> u8 {
        self.setup.protocol
    }

    /// Whether lists come one by one.
    pub fn is_incremental(&self) -> bool {
        self.setup.compat.inc_recurse()
    }

    /// The names of the checksum and of the compression that were agreed on.
    pub fn choices(&self) -> (&'static str, &'static str) {
        (self.setup.checksum.name(), self.setup.compression.name())
    }

    /// Tells the client the longest silence that this end bears, as daemons do.
    pub fn announce_timeout(&mut self, limit: Duration) {
        if self.setup.protocol >= 31 {
            self.link.output.number(Tag::IoTimeout, limit.as_secs().min(86_400) as i32);
        }
    }

    /// Ends the session before any transfer: the client gets lines of text, with their ends, and what
    /// it still writes is read until it has seen them.
    pub fn refuse(mut self, text: &[u8], exit: u8) {
        let limit = driftless_proto::mux::TEXT_LIMIT - 1;
        for line in text.split_inclusive(|b| *b == b'\n').flat_map(|line| line.chunks(limit)) {
            self.link.output.message(Tag::Error, line);
        }
        if self.setup.protocol >= 31 {
            self.link.output.number(Tag::ErrorExit, i32::from(exit));
        }
        self.link.drain(FAREWELL, &driftless_proto::mux::LAST_FRAME);
    }

    /// The longest silence, with what a daemon has lowered it to.
    pub fn timeout(&self) -> Option<Duration> {
        self.link.timeout()
    }
}

/// What a handshake asks of its caller.
pub(crate) struct Listener<'a>(pub(crate) &'a mut dyn Report);

impl Driver for Listener<'_> {
    fn open(&mut self, _: &Listed<'_>) -> Result<Box<dyn Content>, Refusal> {
        Err(Refusal::HeldBack)
    }

    fn applied(&mut self, _: &Listed<'_>) {}

    fn sent(&mut self, _: &Listed<'_>, _: SentOutcome) {}

    fn deleted(&mut self, _: &[u8], _: bool) {}

    fn message(&mut self, level: Level, text: &[u8]) {
        self.0.message(&Message { level, origin: Origin::Peer, text });
    }

    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}
