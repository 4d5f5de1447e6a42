//! The daemon as a program: how it starts, and with which code it ends.

use std::ffi::OsStr;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use driftless_fs::{Fork, fork};
use driftless_rsync::client::failure::system_text;
use driftless_rsync::output::exit;
use driftless_rsync::zone;
use driftless_transfer::connect::sockopts;
use driftless_transfer::connect::stream::Stream;
use driftless_transfer::report::Role;
use driftless_tree::path::printable;
use jiff::tz::TimeZone;
use listenfd::ListenFd;
use rustix::fs::{Mode, OFlags};
use socket2::{Domain, Protocol, SockRef, Socket, Type};

use crate::command::{Command, Family, Settings, help, parse};
use crate::conf::{BadConfig, Config, Key, load};
use crate::door::Door;
use crate::listener::{Ending, Listener};
use crate::log::{Choice, Log, Weight};
use crate::peer::Peer;
use crate::session::Host;
use crate::slots::PidFile;
use crate::status::Teller;
use crate::stop::{Signals, Stop};
use crate::visit::Visit;
use crate::wire::Wire;

/// Where rsync daemons listen.
const PORT: u16 = 873;

/// Runs a daemon; `words` come without the program's name. Returns the exit code.
pub fn run(words: &[Vec<u8>]) -> u8 {
    let settings = match parse(words) {
        Ok(Command::Serve(settings)) => *settings,
        Ok(Command::Help) => {
            print!("{}\n{}", driftless_rsync::output::version::text(), help());
            return 0;
        }
        Err(bad) => {
            eprintln!("rsync: {bad}");
            eprintln!("(Type \"rsync --daemon --help\" for assistance with daemon mode.)");
            eprintln!("{}", exit::line(1, Role::Client));
            return 1;
        }
    };
    let zone = zone::of_system();
    if settings.server {
        return over_shell(&settings, zone);
    }
    if is_socket(&io::stdin()) {
        return behind_inetd(&settings, zone);
    }
    listen(settings, zone)
}

/// The log that the configuration's global part names.
fn global_log(config: Option<&Config>, settings: &Settings, zone: &TimeZone) -> Log {
    let globals = config.map(Config::globals);
    let text = |key| globals.and_then(|globals| globals.text(key));
    let choice = Choice {
        file: settings.log_file.clone().or_else(|| text(Key::LogFile)),
        tag: text(Key::SyslogTag).unwrap_or_else(|| b"rsyncd".to_vec()),
        facility: globals.map_or(3, |globals| globals.int(Key::SyslogFacility)),
    };
    Log::open(choice, zone.clone())
}

fn bad_config(bad: &BadConfig, settings: &Settings, log: &mut Log) -> u8 {
    bad.lines.iter().for_each(|line| log.line(Weight::Error, line));
    eprintln!("Failed to parse config file: {}", settings.config.display());
    1
}

fn listen(mut settings: Settings, zone: TimeZone) -> u8 {
    let handed = handed_over();
    // Whoever hands sockets over waits for this process.
    settings.detaches &= handed.is_empty();
    let (config, whole) = match load(&settings.config, &settings.overrides) {
        Ok(config) => (config.clone(), Some(config)),
        Err(mut bad) => match bad.listener.take() {
            Some(config) => (*config, None),
            None => {
                let mut log = global_log(None, &settings, &zone);
                return bad_config(&bad, &settings, &mut log);
            }
        },
    };
    if settings.detaches {
        match fork() {
            Ok(Fork::Parent(_)) => return 0,
            Ok(Fork::Child) => {}
            Err(error) => {
                eprintln!("rsync: fork failed: {}", system_text(&error));
                return 10;
            }
        }
    }
    let mut log = global_log(Some(&config), &settings, &zone);
    let signals = match Signals::catch() {
        Ok(signals) => signals,
        Err(error) => return no_listener(&error),
    };
    let globals = config.listener();
    let pid_file = match globals.text(Key::PidFile) {
        None => None,
        Some(path) => match PidFile::create(Path::new(OsStr::from_bytes(&path))) {
            Ok(file) => Some(file),
            Err((verb, error)) => {
                let why = system_text(&error);
                let why = why.rsplit_once(" (").map_or(why.as_str(), |(text, _)| text);
                let text = format!("failed to {verb} pid file {}: {why}", printable(&path));
                eprintln!("{text}");
                eprintln!("{}", exit::line(11, Role::ReceivingSide));
                log.line(Weight::Error, &text);
                log.line(Weight::Error, exit::line(11, Role::ReceivingSide));
                return 11;
            }
        },
    };
    if settings.detaches {
        let _ = rustix::process::setsid();
        quiet_standard_streams();
    }
    let code = listen_on(&settings, &config, whole, handed, signals, log, zone);
    // The copies of this process have files of their own to care for.
    if let (Some(file), Served::Listener(_)) = (pid_file, &code) {
        file.remove();
    }
    match code {
        Served::Listener(code) | Served::Session(code) => code,
    }
}

fn no_listener(error: &io::Error) -> u8 {
    eprintln!("rsync: {}", system_text(error));
    10
}

enum Served {
    Listener(u8),
    Session(u8),
}

fn listen_on(
    settings: &Settings,
    config: &Config,
    whole: Option<Config>,
    handed: Vec<Socket>,
    signals: Signals,
    mut log: Log,
    zone: TimeZone,
) -> Served {
    let globals = config.listener();
    let configured = u16::try_from(globals.int(Key::Port)).ok().filter(|port| *port != 0);
    let of_socket = |socket: &Socket| Some(socket.local_addr().ok()?.as_socket()?.port());
    let handed_port = handed.first().and_then(of_socket);
    let port = handed_port.or(settings.port).or(configured).unwrap_or(PORT);
    log.line(
        Weight::Info,
        format!(
            "rsyncd version {} starting, listening on port {port}",
            driftless_rsync::COMPATIBLE
        ),
    );
    if globals.flag(Key::ProxyProtocol) && globals.text(Key::ProxyProtocolHosts).is_none() {
        log.line(
            Weight::Warning,
            "\"proxy protocol = true\" but \"proxy protocol hosts\" is unset: all connections will \
             be rejected as untrusted proxy peers.  Set \"proxy protocol hosts\" to your trusted \
             proxy's address.",
        );
    }
    let sockets = match handed.is_empty() {
        true => bind(settings, config, port, &mut log),
        false => handed,
    };
    if sockets.is_empty() {
        log.line(Weight::Error, format!("unable to bind any inbound sockets on port {port}"));
        log.line(Weight::Error, exit::line(10, Role::ReceivingSide));
        return Served::Listener(10);
    }
    let mut listener = match Listener::new(sockets, signals, settings.clone(), whole, log, zone) {
        Ok(listener) => listener,
        Err(error) => return Served::Listener(no_listener(&error)),
    };
    match listener.run() {
        Ending::Session(code) => Served::Session(code),
        Ending::Asked => {
            listener.close();
            let line = "sent 0 bytes  received 0 bytes  total size 0";
            listener.log().line(Weight::Info, line);
            Served::Listener(0)
        }
        Ending::Interrupted => {
            listener.close();
            listener.log().line(Weight::Error, exit::line(20, Role::ReceivingSide));
            Served::Listener(20)
        }
    }
}

/// Listening sockets of a service manager (`LISTEN_FDS`).
fn handed_over() -> Vec<Socket> {
    let mut given = ListenFd::from_env();
    let sockets = (0..given.len()).filter_map(|at| given.take_tcp_listener(at).ok().flatten());
    sockets.map(Socket::from).collect()
}

/// Binds to all addresses that are meant; those that work count.
fn bind(settings: &Settings, config: &Config, port: u16, log: &mut Log) -> Vec<Socket> {
    let globals = config.listener();
    let name = settings.address.clone().or_else(|| globals.text(Key::Address));
    let addresses: Vec<SocketAddr> = match name {
        None => vec![(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()],
        Some(name) => match (printable(&name).as_str(), port).to_socket_addrs() {
            Ok(found) => found.collect(),
            Err(error) => {
                let name = printable(&name);
                log.line(Weight::Error, format!("rsync: getaddrinfo: {name} {port}: {error}"));
                return Vec::new();
            }
        },
    };
    let wanted = |addr: &SocketAddr| match settings.family {
        None => true,
        Some(Family::V4) => addr.is_ipv4(),
        Some(Family::V6) => addr.is_ipv6(),
    };
    let options = settings.socket_options.clone().or_else(|| globals.text(Key::SocketOptions));
    let backlog = i32::try_from(globals.int(Key::ListenBacklog)).unwrap_or(5);
    let mut sockets = Vec::new();
    for addr in addresses.into_iter().filter(wanted) {
        match bind_one(addr, options.as_deref(), backlog, log) {
            Ok(socket) => sockets.push(socket),
            Err(error) => {
                let family = if addr.is_ipv4() { 2 } else { 10 };
                let why = error.to_string();
                let why = why.split(" (os error").next().unwrap_or_default();
                let text = format!("bind() failed: {why} (address-family {family})");
                log.line(Weight::Error, text);
            }
        }
    }
    sockets
}

fn bind_one(
    addr: SocketAddr,
    options: Option<&[u8]>,
    backlog: i32,
    log: &mut Log,
) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    for word in options.unwrap_or_default().split(|b| b" \t,".contains(b)) {
        let word = String::from_utf8_lossy(word);
        match sockopts::parse(&word) {
            Ok(found) => found.iter().for_each(|option| {
                let _ = option.apply(&socket);
            }),
            Err(_) => {
                let name = word.split('=').next().unwrap_or_default();
                log.line(Weight::Error, format!("Unknown socket option {name}"));
            }
        }
    }
    socket.bind(&addr.into())?;
    socket.listen(backlog)?;
    Ok(socket)
}

fn is_socket(fd: &impl AsFd) -> bool {
    rustix::fs::fstat(fd).is_ok_and(|stat| {
        rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Socket
    })
}

/// A service manager hands over one connection as standard input.
fn behind_inetd(settings: &Settings, zone: TimeZone) -> u8 {
    let Ok(socket) = io::stdin().as_fd().try_clone_to_owned() else { return 10 };
    quiet_standard_streams();
    let addr = SockRef::from(&socket).peer_addr().ok().and_then(|addr| addr.as_socket());
    let peer = addr.map_or_else(|| Peer::of_shell(None), Peer::at);
    let Ok(stream) = Stream::socket(socket) else { return 10 };
    one(settings, zone, stream, peer, false)
}

/// A remote shell brought the client.
fn over_shell(settings: &Settings, zone: TimeZone) -> u8 {
    let names = ["REMOTE_HOST", "SSH_CONNECTION", "SSH_CLIENT", "SSH2_CLIENT"];
    let address = names.iter().find_map(|name| std::env::var(name).ok());
    let Ok(stream) = Stream::stdio() else { return 10 };
    one(settings, zone, stream, Peer::of_shell(address), true)
}

fn one(settings: &Settings, zone: TimeZone, stream: Stream, peer: Peer, over_shell: bool) -> u8 {
    let config = match load(&settings.config, &settings.overrides) {
        Ok(config) => config,
        Err(bad) => {
            let mut log = global_log(bad.listener.as_deref(), settings, &zone);
            return bad_config(&bad, settings, &mut log);
        }
    };
    let mut log = global_log(Some(&config), settings, &zone);
    for line in config.issues.iter().flat_map(crate::conf::Issue::log_lines) {
        log.line(Weight::Warning, line);
    }
    let door = Door::new(config.globals().flag(Key::ProxyProtocol) && !over_shell);
    let teller = Teller::default();
    let stop = Stop::listen();
    stop.end_at_once();
    let mut host = Host { config: &config, settings, zone, over_shell, teller, failures: 0, stop };
    let wire = Wire::new(stream, Vec::new());
    Visit { host: &mut host, wire, peer, door }.run(&mut log)
}

fn quiet_standard_streams() {
    let Ok(null) = rustix::fs::open("/dev/null", OFlags::RDWR, Mode::empty()) else { return };
    let null: OwnedFd = null;
    let _ = rustix::stdio::dup2_stdin(&null);
    let _ = rustix::stdio::dup2_stdout(&null);
    let _ = rustix::stdio::dup2_stderr(&null);
}
