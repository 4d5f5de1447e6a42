//! The listener: it holds the connections that have not said what they want, and makes a process for
//! each that has.
//!
//! ```text
//! accept ─► [name] ─► Door (here, a few hundred bytes) ──module──► fork ─► session
//!             │         └─ listing, refusal: answered here
//!             └─ fork ─► lookup, one for each address
//! ```
//! One thread, one loop. Nothing of a module is touched here, nothing here waits for anybody but
//! the kernel, and a client that says nothing costs a descriptor and its door. A copy is made of
//! this process, not a new program started: the configuration is read once for many sessions.
//!
//! Invariants
//! * Each accepted connection sees the configuration as it was on disk then.
//! * A session's end, however it comes, changes nothing here.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::io::{self, Read, Write};
use std::net::{IpAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use driftless_fs::{Fork, fork};
use driftless_rsync::client::failure::system_text;
use driftless_transfer::connect::stream::Stream;
use jiff::tz::TimeZone;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use socket2::Socket;

use crate::command::Settings;
use crate::conf::{Config, Key, load};
use crate::crowd::{Limits, Member, Verdict};
use crate::door::{Door, Step};
use crate::greet::{listing, opening};
use crate::hosts;
use crate::http;
use crate::identity;
use crate::log::{Log, Weight};
use crate::names::Names;
use crate::peer::{Peer, UNKNOWN, find_name};
use crate::proxy::Header;
use crate::report::{self, Counters, Report, Running};
use crate::session::{self, Host, handshake_limit};
use crate::status::{Ear, Event, Teller, channel};
use crate::stop::Signals;
use crate::visit::Visit;
use crate::wire::Wire;

/// Connections that wait here at the same time; the oldest gives way.
const MOST_WAITING: usize = 20_000;

/// Descriptors that are kept for other things.
const SPARE: u64 = 64;

/// How long a failure to log in is remembered.
const FAILURE_AGE: Duration = Duration::from_secs(600);

/// Addresses that are remembered, at most.
const MOST_ADDRESSES: usize = 10_000;

/// Processes that answer over HTTP at the same time; others are turned away.
const MOST_ANSWERING: usize = 8;

/// Answers that are sent from here; longer ones get a process.
const SHORT: usize = 16 * 1024;

const SIGNALS: u64 = 0;
const EVENTS: u64 = 1;
const CONTROL: u64 = 2;
const METRICS: u64 = 3;
const FIRST_SOCKET: u64 = 4;
const FIRST_CLIENT: u64 = 1000;

/// A connection that has not said what it wants.
struct Waiting {
    socket: Socket,
    peer: Peer,
    door: Door,
    config: Rc<Config>,
    deadline: Instant,
}

/// A process with a session.
#[derive(Debug, Clone)]
struct Child {
    addr: Option<IpAddr>,
    shown: String,
    since: Instant,
    module: String,
    user: String,
    is_busy: bool,
}

/// How a listener ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// SIGTERM.
    Asked,
    /// SIGINT or SIGHUP.
    Interrupted,
    /// The code of a session: this process is its copy.
    Session(u8),
}

/// The daemon's loop.
pub(crate) struct Listener {
    sockets: Vec<Socket>,
    epoll: OwnedFd,
    signals: Signals,
    teller: Teller,
    ear: Ear,
    settings: Settings,
    config: Option<Rc<Config>>,
    log: Log,
    zone: TimeZone,
    waiting: HashMap<u64, Waiting>,
    deadlines: BTreeSet<(Instant, u64)>,
    /// Where reads end up at first. Not on the stack, which each session has a copy of.
    heard: Box<[u8]>,
    next_id: u64,
    most_waiting: usize,
    children: HashMap<i32, Child>,
    names: Names,
    failures: HashMap<IpAddr, (u32, Instant)>,
    control: Option<UnixListener>,
    metrics: Option<TcpListener>,
    /// Processes that answer a question over HTTP.
    answering: HashSet<i32>,
    started: Instant,
    counters: Counters,
}

impl Listener {
    pub(crate) fn new(
        sockets: Vec<Socket>,
        signals: Signals,
        settings: Settings,
        config: Option<Config>,
        log: Log,
        zone: TimeZone,
    ) -> io::Result<Self> {
        identity::prepare_lookups();
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let (teller, ear) = channel()?;
        let add = |fd: &dyn AsFd, id| {
            epoll::add(&epoll, fd.as_fd(), EventData::new_u64(id), EventFlags::IN)
        };
        add(&signals.wakes, SIGNALS)?;
        add(ear.socket(), EVENTS)?;
        let control = settings.control.as_deref().map(report::bind).transpose()?;
        if let Some(control) = &control {
            add(control, CONTROL)?;
        }
        let metrics = settings.metrics.map(TcpListener::bind).transpose()?;
        if let Some(metrics) = &metrics {
            metrics.set_nonblocking(true)?;
            add(metrics, METRICS)?;
        }
        for (at, socket) in sockets.iter().enumerate() {
            socket.set_nonblocking(true)?;
            add(socket, FIRST_SOCKET + at as u64)?;
        }
        Ok(Self {
            sockets,
            epoll,
            signals,
            teller,
            ear,
            settings,
            config: config.map(Rc::new),
            log,
            zone,
            waiting: HashMap::new(),
            deadlines: BTreeSet::new(),
            heard: vec![0; 4096].into(),
            next_id: FIRST_CLIENT,
            most_waiting: most_waiting(),
            children: HashMap::new(),
            names: Names::default(),
            failures: HashMap::new(),
            control,
            metrics,
            answering: HashSet::new(),
            started: Instant::now(),
            counters: Counters::default(),
        })
    }

    /// Serves until a signal ends it, or until this is a session's process at its end.
    pub(crate) fn run(&mut self) -> Ending {
        let mut events = Vec::with_capacity(256);
        loop {
            // Before the wait, not after it: a wake-up that comes then is still to be read, while one
            // that came since the last look may have been read with that of a child.
            if self.signals.stop.is_asked() {
                return match self.signals.terminated.load(Ordering::Relaxed) {
                    true => Ending::Asked,
                    false => Ending::Interrupted,
                };
            }
            // Whoever moves the file away finds the next line in a new one.
            self.log.release();
            let timeout = self.deadlines.first().map(|(at, _)| {
                at.saturating_duration_since(Instant::now()) + Duration::from_millis(1)
            });
            let timeout = timeout.and_then(|wait| wait.try_into().ok());
            events.clear();
            let spare = rustix::buffer::spare_capacity(&mut events);
            match epoll::wait(&self.epoll, spare, timeout.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    let why = system_text(&error.into());
                    self.log.line(Weight::Error, format!("waiting for connections failed: {why}"));
                    return Ending::Interrupted;
                }
            }
            for event in &events {
                let ending = match event.data.u64() {
                    SIGNALS => self.reap(),
                    EVENTS => self.listen_to_sessions(),
                    CONTROL => self.answer(),
                    METRICS => self.answer_over_http(),
                    id if id < FIRST_CLIENT => self.accept(id),
                    id => self.hear(id),
                };
                if let Some(ending) = ending {
                    return ending;
                }
            }
            self.expire();
        }
    }

    fn reap(&mut self) -> Option<Ending> {
        let mut buffer = [0; 256];
        while matches!(self.signals.wakes.read(&mut buffer), Ok(len) if len > 0) {}
        let mut ended = Vec::new();
        while let Ok(Some((pid, status))) = waitpid(None, WaitOptions::NOHANG) {
            ended.push((pid.as_raw_nonzero().get(), status.terminating_signal()));
        }
        // What they said last comes before their end.
        if let Some(ending) = self.listen_to_sessions() {
            return Some(ending);
        }
        for (pid, signal) in ended {
            self.answering.remove(&pid);
            let session = self.children.remove(&pid);
            if let (Some(Child { shown, module, .. }), Some(signal)) = (session, signal) {
                let ending = identity::ending(signal);
                let text = format!("session {pid} of {shown} in module {module} {ending}");
                self.log.line(Weight::Error, text);
            }
            let Some((addr, waiters)) = self.names.ended(pid) else { continue };
            let text = format!("name lookup failed for {addr}: its process ended early");
            self.log.line(Weight::Warning, text);
            if let Some(ending) = self.go_on_as(waiters, UNKNOWN) {
                return Some(ending);
            }
        }
        self.look_up()
    }

    fn listen_to_sessions(&mut self) -> Option<Ending> {
        while let Some((pid, event)) = self.ear.next() {
            match event {
                Event::Named { addr, name } => {
                    let waiters = self.names.found(addr, name.clone());
                    if let Some(ending) = self.go_on_as(waiters, &name) {
                        return Some(ending);
                    }
                }
                Event::Entered { module, user } => {
                    if let Some(child) = self.children.get_mut(&(pid as i32)) {
                        if let Some(origin) = child.addr.filter(|_| !user.is_empty()) {
                            self.failures.remove(&origin);
                        }
                        (child.module, child.user) = (module, user);
                    }
                }
                Event::Busy => {
                    if let Some(child) = self.children.get_mut(&(pid as i32)) {
                        child.is_busy = true;
                    }
                }
                Event::Rejected => {
                    self.counters.auth_failures += 1;
                    let origin = self.children.get(&(pid as i32)).and_then(|child| child.addr);
                    if let Some(origin) = origin {
                        if self.failures.len() >= MOST_ADDRESSES {
                            self.failures.clear();
                        }
                        let known = self.failures.entry(origin).or_insert((0, Instant::now()));
                        *known = (known.0.saturating_add(1), Instant::now());
                    }
                }
            }
        }
        self.look_up()
    }

    /// Tells an operator how it is.
    fn answer(&mut self) -> Option<Ending> {
        let (stream, _) = self.control.as_ref()?.accept().ok()?;
        report::answer(stream, &self.report());
        None
    }

    /// Likewise over HTTP, by a process of its own: whoever asks may be slow.
    fn answer_over_http(&mut self) -> Option<Ending> {
        let (stream, _) = self.metrics.as_ref()?.accept().ok()?;
        if self.answering.len() >= MOST_ANSWERING {
            return None;
        }
        let metrics = self.report().metrics();
        match fork() {
            Ok(Fork::Parent(pid)) => {
                self.answering.insert(pid.as_raw_nonzero().get());
                None
            }
            Ok(Fork::Child) => {
                self.leave();
                // One who leaves early is nobody's concern.
                let _ = http::answer(stream, &metrics);
                Some(Ending::Session(0))
            }
            Err(_) => None,
        }
    }

    fn report(&self) -> Report {
        let running = self.children.iter().map(|(pid, child)| Running {
            pid: *pid,
            module: child.module.clone(),
            user: child.user.clone(),
            from: child.shown.clone(),
            age: child.since.elapsed(),
        });
        let config = self.config.as_ref();
        let modules = config.map(|config| config.modules().map(|m| m.name().to_vec()).collect());
        Report {
            uptime: self.started.elapsed(),
            counters: self.counters,
            waiting_count: self.waiting.len(),
            modules: modules.unwrap_or_default(),
            running: running.collect(),
        }
    }

    /// Takes connections until none is left.
    fn accept(&mut self, id: u64) -> Option<Ending> {
        for _ in 0..64 {
            let socket = self.sockets.get((id - FIRST_SOCKET) as usize)?;
            let (socket, addr) = match socket.accept() {
                Ok(accepted) => accepted,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
                Err(error) if matches!(error.raw_os_error(), Some(23 | 24)) => {
                    // No descriptor is free: the oldest that waits gives one up.
                    if !self.drop_oldest() {
                        return None;
                    }
                    continue;
                }
                Err(_) => continue,
            };
            let Some(addr) = addr.as_socket() else { continue };
            self.counters.connections += 1;
            let _ = socket.set_keepalive(true);
            if socket.set_nonblocking(true).is_err() {
                continue;
            }
            if let Some(ending) = self.admit(socket, Peer::at(addr)) {
                return Some(ending);
            }
        }
        None
    }

    /// The configuration as it is on disk.
    fn fresh_config(&mut self) -> Option<Rc<Config>> {
        if !self.config.as_ref().is_some_and(|config| config.is_current()) {
            match load(&self.settings.config, &self.settings.overrides) {
                Ok(config) => self.config = Some(Rc::new(config)),
                Err(bad) => {
                    self.config = None;
                    bad.lines.iter().for_each(|line| self.log.line(Weight::Error, line));
                    return None;
                }
            }
        }
        let config = self.config.clone()?;
        for line in config.issues.iter().flat_map(crate::conf::Issue::log_lines) {
            self.log.line(Weight::Warning, line);
        }
        Some(config)
    }

    fn admit(&mut self, socket: Socket, peer: Peer) -> Option<Ending> {
        let config = self.fresh_config()?;
        let globals = config.globals();
        let changes_itself = [Key::DaemonChroot, Key::DaemonGid, Key::DaemonUid]
            .iter()
            .any(|key| globals.text(*key).is_some());
        let door = Door::new(globals.flag(Key::ProxyProtocol));
        let deadline = Instant::now() + handshake_limit(globals.int(Key::Timeout));
        let waiting = Waiting { socket, peer, door, config, deadline };
        if changes_itself {
            return self.hand_over(waiting);
        }
        if self.waiting.len() >= self.most_waiting {
            self.drop_oldest();
        }
        let id = self.next_id;
        self.next_id += 1;
        self.identify(id, waiting)
    }

    /// Gives the peer its name, where names are wanted, before anything is said. Nothing is heard
    /// from a connection that waits for it.
    fn identify(&mut self, id: u64, mut waiting: Waiting) -> Option<Ending> {
        if waiting.config.looks_up_names()
            && waiting.peer.lacks_name()
            && let Some(addr) = waiting.peer.addr
        {
            let Some(name) = self.names.get(addr) else {
                self.names.want(addr, id);
                self.put_back(id, waiting);
                return self.look_up();
            };
            waiting.peer.name = name.to_owned();
        }
        self.welcome(id, waiting)
    }

    /// Makes processes for the names that are wanted.
    fn look_up(&mut self) -> Option<Ending> {
        while let Some(addr) = self.names.next(|id| self.waiting.contains_key(&id)) {
            match fork() {
                Ok(Fork::Parent(pid)) => self.names.started(pid.as_raw_nonzero().get(), addr),
                Ok(Fork::Child) => {
                    self.leave();
                    let (name, lines) = find_name(addr);
                    lines.iter().for_each(|line| self.log.line(Weight::Info, line));
                    self.teller.insist(&Event::Named { addr, name });
                    return Some(Ending::Session(0));
                }
                Err(error) => {
                    let why = system_text(&error);
                    self.log.line(Weight::Error, format!("fork failed: {why}"));
                    let waiters = self.names.give_up(addr);
                    if let Some(ending) = self.go_on_as(waiters, UNKNOWN) {
                        return Some(ending);
                    }
                }
            }
        }
        None
    }

    /// Those of the connections that still wait have this name.
    fn go_on_as(&mut self, connections: Vec<u64>, name: &str) -> Option<Ending> {
        for id in connections {
            let Some(mut waiting) = self.take(id) else { continue };
            waiting.peer.name = name.to_owned();
            if let Some(ending) = self.welcome(id, waiting) {
                return Some(ending);
            }
        }
        None
    }

    /// Greets, or trusts a proxy to say whom to greet, and hears what comes.
    fn welcome(&mut self, id: u64, mut waiting: Waiting) -> Option<Ending> {
        if waiting.door.awaits_proxy() {
            let list = waiting.config.globals().text(Key::ProxyProtocolHosts).unwrap_or_default();
            if !hosts::is_listed(&list, &mut waiting.peer, &mut |_| {}) {
                let from = waiting.peer.both();
                let text = format!("proxy protocol rejected from untrusted peer {from}");
                self.log.line(Weight::Error, text);
                return None;
            }
        } else if !self.greet(&mut waiting) {
            return None;
        }
        let data = EventData::new_u64(id);
        epoll::add(&self.epoll, &waiting.socket, data, EventFlags::IN).ok()?;
        self.step(id, waiting)
    }

    fn greet(&mut self, waiting: &mut Waiting) -> bool {
        let both = match waiting.config.globals().flag(Key::ReverseLookup) {
            true => waiting.peer.both(),
            false => format!("{} ({})", crate::peer::UNDETERMINED, waiting.peer.shown),
        };
        self.log.line(Weight::Info, format!("connect from {both}"));
        let text = opening(&waiting.config);
        // A new connection has room for far more.
        (&waiting.socket).write_all(&text).is_ok()
    }

    /// Reads what a connection says.
    fn hear(&mut self, id: u64) -> Option<Ending> {
        let mut waiting = self.take(id)?;
        match (&waiting.socket).read(&mut self.heard) {
            Ok(0) => return None,
            Ok(len) => waiting.door.input.extend_from_slice(&self.heard[..len]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.put_back(id, waiting);
                return None;
            }
            Err(_) => return None,
        }
        self.step(id, waiting)
    }

    /// Does what a connection has asked for so far.
    fn step(&mut self, id: u64, mut waiting: Waiting) -> Option<Ending> {
        match waiting.door.step() {
            Step::Wait => {
                self.put_back(id, waiting);
                None
            }
            Step::Close => None,
            Step::Refuse(text) => {
                let _ = (&waiting.socket).write_all(format!("{text}\n").as_bytes());
                None
            }
            Step::Proxied(header) => {
                if let Header::From(addr) = header {
                    waiting.peer = Peer::at(addr);
                }
                let _ = epoll::delete(&self.epoll, &waiting.socket);
                self.identify(id, waiting)
            }
            Step::List => {
                self.counters.listings += 1;
                let from = waiting.peer.both();
                self.log.line(Weight::Info, format!("module-list request from {from}"));
                let rows = listing(&waiting.config, waiting.door.caller.protocol);
                if rows.len() > SHORT {
                    return self.fork(&waiting).map(|_| {
                        let code = send_all(waiting.socket, &rows);
                        Ending::Session(code)
                    });
                }
                let _ = (&waiting.socket).write_all(&rows);
                None
            }
            Step::Module(name) => self.start(waiting, &name),
        }
    }

    fn take(&mut self, id: u64) -> Option<Waiting> {
        let waiting = self.waiting.remove(&id)?;
        self.deadlines.remove(&(waiting.deadline, id));
        Some(waiting)
    }

    fn put_back(&mut self, id: u64, waiting: Waiting) {
        self.deadlines.insert((waiting.deadline, id));
        self.waiting.insert(id, waiting);
    }

    fn drop_oldest(&mut self) -> bool {
        let oldest = self.waiting.keys().min().copied();
        oldest.and_then(|id| self.take(id)).is_some()
    }

    fn expire(&mut self) {
        let now = Instant::now();
        while let Some(&(at, id)) = self.deadlines.first()
            && at <= now
        {
            self.take(id);
            self.counters.timeouts += 1;
            use driftless_rsync::output::exit;
            use driftless_transfer::report::Role;
            self.log.line(Weight::Error, "[Receiver] daemon handshake timeout -- exiting");
            self.log.line(Weight::Error, exit::line(30, Role::ReceivingSide));
        }
        if self.failures.len() > MOST_ADDRESSES / 2 {
            self.failures.retain(|_, (_, since)| since.elapsed() < FAILURE_AGE);
        }
    }

    /// Makes a process for the connection; `Some` in it.
    fn fork(&mut self, waiting: &Waiting) -> Option<()> {
        let _ = epoll::delete(&self.epoll, &waiting.socket);
        if !self.has_room(waiting) {
            return None;
        }
        match fork() {
            Ok(Fork::Parent(pid)) => {
                self.counters.sessions += 1;
                let child = Child {
                    addr: waiting.peer.origin(),
                    shown: waiting.peer.both(),
                    since: Instant::now(),
                    module: String::new(),
                    user: String::new(),
                    is_busy: false,
                };
                self.children.insert(pid.as_raw_nonzero().get(), child);
                None
            }
            Ok(Fork::Child) => {
                self.leave();
                Some(())
            }
            Err(error) => {
                let why = system_text(&error);
                self.log.line(Weight::Error, format!("fork failed: {why}"));
                let _ = (&waiting.socket).write_all(b"@ERROR: fork failed\n");
                None
            }
        }
    }

    /// Whether one more session is possible; where another one is to give way, it does.
    fn has_room(&mut self, waiting: &Waiting) -> bool {
        let globals = waiting.config.globals();
        let limit = |key| usize::try_from(globals.int(key)).unwrap_or(0);
        let limits = Limits {
            per_address: limit(Key::MaxSessionsPerAddress),
            in_all: limit(Key::MaxSessions),
        };
        let members = self.children.iter().map(|(pid, child)| Member {
            pid: *pid,
            addr: child.addr,
            since: child.since,
            is_busy: child.is_busy,
        });
        match limits.judge(waiting.peer.origin(), members) {
            Verdict::Admitted => true,
            Verdict::Instead(pid) => {
                if let Some(gone) = self.children.remove(&pid)
                    && let Some(process) = Pid::from_raw(pid)
                {
                    let _ = kill_process(process, Signal::KILL);
                    let (old, new) = (gone.shown, waiting.peer.both());
                    let text = format!("too many sessions: that of {old} gives way to {new}");
                    self.log.line(Weight::Warning, text);
                }
                true
            }
            Verdict::Refused(limit) => {
                let from = waiting.peer.both();
                self.log.line(Weight::Warning, format!("too many sessions: {from} is refused"));
                let text = format!("@ERROR: max connections ({limit}) reached -- try again later");
                let _ = (&waiting.socket).write_all(format!("{text}\n").as_bytes());
                false
            }
        }
    }

    /// In a new process: lets go of what belongs to the listener.
    fn leave(&mut self) {
        self.signals.stop.end_at_once();
        self.sockets.clear();
        self.control = None;
        self.metrics = None;
        self.waiting.clear();
        self.deadlines.clear();
    }

    fn host<'h>(&self, config: &'h Config, settings: &'h Settings, peer: &Peer) -> Host<'h> {
        let known = peer.origin().and_then(|origin| self.failures.get(&origin));
        let failures = known.filter(|(_, since)| since.elapsed() < FAILURE_AGE);
        Host {
            config,
            settings,
            zone: self.zone.clone(),
            over_shell: false,
            teller: self.teller.try_clone().unwrap_or_default(),
            failures: failures.map_or(0, |(count, _)| *count),
            stop: self.signals.stop.clone(),
        }
    }

    /// A process of its own has the whole connection.
    fn hand_over(&mut self, waiting: Waiting) -> Option<Ending> {
        self.fork(&waiting)?;
        let Waiting { socket, peer, door, config, .. } = waiting;
        let settings = self.settings.clone();
        let mut host = self.host(&config, &settings, &peer);
        let wire = Wire::new(Stream::tcp(socket), Vec::new());
        let visit = Visit { host: &mut host, wire, peer, door };
        Some(Ending::Session(visit.run(&mut self.log)))
    }

    /// A process of its own serves the module.
    fn start(&mut self, waiting: Waiting, name: &[u8]) -> Option<Ending> {
        self.fork(&waiting)?;
        let Waiting { socket, peer, door, config, deadline } = waiting;
        let settings = self.settings.clone();
        let host = self.host(&config, &settings, &peer);
        let mut wire = Wire::new(Stream::tcp(socket), door.input);
        wire.set_deadline(Some(deadline));
        let code = session::serve(&host, wire, peer, &door.caller, name, &mut self.log);
        Some(Ending::Session(code))
    }

    pub(crate) fn log(&mut self) -> &mut Log {
        &mut self.log
    }

    /// Takes the control socket's name away, at the listener's own end.
    pub(crate) fn close(&mut self) {
        if let (Some(_), Some(path)) = (self.control.take(), &self.settings.control) {
            let _ = std::fs::remove_file(path);
        }
    }
}

fn send_all(socket: Socket, rows: &[u8]) -> u8 {
    let mut wire = Wire::new(Stream::tcp(socket), Vec::new());
    wire.set_deadline(Some(Instant::now() + Duration::from_secs(60)));
    match wire.say(rows) {
        Ok(()) => 0,
        Err(_) => 10,
    }
}

/// As many as there are descriptors for, which are as many as may be had.
fn most_waiting() -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let current = match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let most = current.unwrap_or(u64::MAX).saturating_sub(SPARE).max(1);
    usize::try_from(most).unwrap_or(usize::MAX).min(MOST_WAITING)
}
