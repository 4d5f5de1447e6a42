//! Each parameter with and without a value, on both daemons: the real one and ours show the same,
//! and what they show differs. A parameter that is ignored shows nothing.

use std::fmt::Write as _;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use driftless_daemon::conf::params::PARAMS;
use driftless_testkit::kernel::has_mount_namespaces;
use driftless_testkit::peer::free_port;
use driftless_testkit::wait;
use rustix::process::{Pid, Signal, kill_process};

use crate::crowds;
use crate::pair::{Daemon, Launch, plant};

/// One parameter.
struct Row {
    name: &'static str,
    /// Lines before the modules.
    globals: &'static str,
    /// Lines of the module `w`.
    lines: &'static str,
    /// The line in question; where the name is a global parameter's it stands before the modules.
    line: &'static str,
    probe: Probe,
}

/// How its effect is seen.
#[derive(Clone, Copy)]
enum Probe {
    /// A client of each daemon: what it prints, what is in the trees afterwards, what is logged.
    Client(&'static str),
    /// The answer to these bytes.
    Said(&'static [u8]),
    /// Something else at a running daemon.
    Seen(fn(&Daemon) -> String),
    /// What reaches the system's log.
    Syslog,
}

use Probe::{Client, Said, Seen, Syslog};

const PULL: Probe = Client("-a @URL@/w/ out/");
const PUSH: Probe = Client("-rlt src/ @URL@/w/up/");
const MODULES: Probe = Client("@URL@/");

const fn row(name: &'static str, line: &'static str, probe: Probe) -> Row {
    Row { name, globals: "", lines: "", line, probe }
}

const fn among(lines: &'static str, row: Row) -> Row {
    Row { lines, ..row }
}

const fn below(globals: &'static str, row: Row) -> Row {
    Row { globals, ..row }
}

const LOGIN: &str = "auth users = alice\nsecrets file = @ROOT@/secrets";
const LOGGED: &str = "transfer logging = yes";
const AS_ALICE: Probe = Client("-a rsync://alice@127.0.0.1:@PORT@/w/ out/ --password-file=pw");

static ROWS: &[Row] = &[
    row("address", "address = 127.0.0.9", Seen(reached)),
    among("path = /w", row("daemon chroot", "daemon chroot = @ROOT@", Client("-r @URL@/w/ out/"))),
    below("daemon uid = 12345", row("daemon gid", "daemon gid = 54321", Seen(owner_of_pushed))),
    row("daemon uid", "daemon uid = 12345", Seen(owner_of_pushed)),
    row("listen backlog", "listen backlog = 2", Seen(queued)),
    row("motd file", "motd file = @ROOT@/rules", MODULES),
    row("pid file", "pid file = @ROOT@/pid", Seen(pid_in_file)),
    row("port", "port = @OTHER@", Seen(reached_elsewhere)),
    below(
        "proxy protocol hosts = 127.0.0.1",
        row("proxy protocol", "proxy protocol = yes", Said(b"@RSYNCD: 31.0\n#list\n")),
    ),
    below(
        "proxy protocol = yes",
        row(
            "proxy protocol hosts",
            "proxy protocol hosts = 127.0.0.1",
            Said(b"PROXY TCP4 10.1.1.1 10.0.0.1 5000 873\r\n@RSYNCD: 31.0\n#list\n"),
        ),
    ),
    row("socket options", "socket options = SO_RCVBUF=4096", Seen(room)),
    among(LOGIN, row("auth digest", "auth digest = sha256", Said(b"@RSYNCD: 31.0 md5\nw\n"))),
    row("auth users", "auth users = alice\nsecrets file = @ROOT@/secrets", PULL),
    row("charset", "charset = ISO-8859-1", Client("-rlt --iconv=UTF-8 umlauts/ @URL@/w/up/")),
    row("comment", "comment = all of it", MODULES),
    row("dont compress", "dont compress = *", Seen(compresses)),
    row("early exec", "early exec = touch @ROOT@/w/early", PULL),
    row("exclude", "exclude = *.key", PULL),
    row("exclude from", "exclude from = @ROOT@/rules", PULL),
    row("fake super", "fake super = yes", Client("-a --chown=5:60 src/ @URL@/w/up/")),
    row("filter", "filter = - *.key", PULL),
    below(
        "reverse lookup = no",
        among("hosts deny = localhost", row("forward lookup", "forward lookup = no", PULL)),
    ),
    row("gid", "gid = 54321", PUSH),
    row("hosts allow", "hosts allow = 10.0.0.1", PULL),
    row("hosts deny", "hosts deny = 127.0.0.1", PULL),
    row("ignore errors", "ignore errors = yes", Seen(deletes_behind_what_cannot_be_read)),
    among(
        "uid = nobody\ngid = nogroup",
        row("ignore nonreadable", "ignore nonreadable = yes", Client("-r @URL@/w/ out/")),
    ),
    among("exclude = *", row("include", "include = *.txt", PULL)),
    among("exclude = *", row("include from", "include from = @ROOT@/rules", PULL)),
    row("incoming chmod", "incoming chmod = D701,F604", PUSH),
    row("insecure links", "insecure links = yes", Client("-a @URL@/w/aside/a.txt out/")),
    row("list", "list = no", MODULES),
    among("max connections = 3", row("lock file", "lock file = @ROOT@/w/lock-here", PULL)),
    row("log file", "log file = @ROOT@/own", PULL),
    among(LOGGED, row("log format", "log format = %o <%f>", PULL)),
    row("max connections", "max connections = -1", PULL),
    row("max verbosity", "max verbosity = 3", Client("-avv @URL@/w/ out/")),
    row("munge symlinks", "munge symlinks = no", PUSH),
    row("name", "name = other", MODULES),
    row(
        "name converter",
        "name converter = while read a b; do case $a in uid|gid) echo ann;; *) echo 4242;; esac; done",
        Client("-a --chown=ann:ann src/ @URL@/w/up/"),
    ),
    row("numeric ids", "numeric ids = yes", Client("-a --usermap=nobody:777 @URL@/w/ out/")),
    row("open noatime", "open noatime = yes", Seen(reading_is_noted)),
    row("outgoing chmod", "outgoing chmod = D701,F604", PULL),
    row("path", "path = @ROOT@/m", PULL),
    row("post-xfer exec", "post-xfer exec = touch @ROOT@/w/post", PULL),
    row("pre-xfer exec", "pre-xfer exec = touch @ROOT@/w/pre", PULL),
    row("read only", "read only = yes", PUSH),
    row("refuse options", "refuse options = times", PUSH),
    row("reverse lookup", "reverse lookup = no", MODULES),
    among("auth users = alice", row("secrets file", "secrets file = @ROOT@/secrets", AS_ALICE)),
    among(
        "auth users = alice\nsecrets file = @ROOT@/open-secrets",
        row("strict modes", "strict modes = no", AS_ALICE),
    ),
    row("syslog facility", "syslog facility = local3", Syslog),
    row("syslog tag", "syslog tag = backup", Syslog),
    row("temp dir", "temp dir = /none", PUSH),
    row("timeout", "timeout = 7", Seen(announced_timeout)),
    row("transfer logging", "transfer logging = yes", PULL),
    row("uid", "uid = 12345", PUSH),
    row("use chroot", "use chroot = yes", Client("-a @URL@/w/none out/")),
    row("write only", "write only = yes", PULL),
];

/// Parameters that the real daemon does not have, and the tests that need them.
static OWN: [(&str, fn()); 5] = [
    ("max files", crowds::a_list_of_more_than_a_module_takes_is_refused),
    ("max sessions", crowds::sessions_at_work_keep_their_place_and_more_are_refused),
    (
        "max sessions per address",
        crowds::clients_that_stall_make_room_for_those_that_come_after_them,
    ),
    ("session cpu seconds", crowds::a_session_that_computes_for_too_long_ends),
    ("session memory mib", crowds::a_session_that_eats_memory_ends_and_no_other_one_notices),
];

impl Row {
    /// The configuration with or without the line.
    fn conf(&self, with: bool) -> String {
        let param = PARAMS.iter().find(|param| param.name == self.name).expect("it is one");
        let line = if with { self.line } else { "" };
        // A lookup is the daemon's own before it is the module's.
        let early = param.global || self.name == "reverse lookup" || matches!(self.probe, Syslog);
        let (global, line) = if early { (line, "") } else { ("", line) };
        // Modules have ids of their own, but for a daemon that has them.
        let ids = match self.name.starts_with("daemon") && !self.name.ends_with("chroot") {
            true => "",
            false => "uid = 0\ngid = 0\n",
        };
        format!(
            "{}\n{global}\n{ids}use chroot = no\n[w]\npath = @ROOT@/w\nread only = no\n{}\n{line}\n",
            self.globals, self.lines
        )
    }

    /// What a daemon shows under a configuration.
    fn observed(&self, mut launch: Launch, conf: &str) -> String {
        if matches!(self.probe, Syslog) {
            return in_system_log(launch, conf);
        }
        let other = free_port();
        if conf.contains("@OTHER@") {
            launch.port = Some(other);
        }
        if self.name == "address" {
            launch.address = None;
        }
        let daemon = Daemon::launch(launch, &conf.replace("@OTHER@", &other.to_string()), furnish);
        match self.probe {
            Client(words) => {
                let words: Vec<&str> = words.split(' ').collect();
                let mut outcome = daemon.client(&words);
                outcome.was_reset = false;
                daemon.rests();
                let mut log = daemon.log();
                log.sort();
                let own = fs::read_to_string(daemon.path("own")).unwrap_or_default();
                let own = own.lines().filter_map(|line| line.splitn(4, ' ').nth(3)).count();
                format!("{outcome:#?}\n{log:#?}\nown log: {own} lines\n{}", trees(&daemon))
            }
            Said(bytes) => {
                let mut stream = daemon.connect();
                stream.write_all(bytes).unwrap();
                // Whoever is not wanted is gone by now.
                let _ = stream.shutdown(Shutdown::Write);
                let mut text = String::new();
                // Closed with something unread in it, a connection breaks.
                let _ = stream.read_to_string(&mut text);
                text.split("AUTHREQD").next().unwrap_or_default().to_owned()
            }
            Seen(look) => look(&daemon),
            Syslog => unreachable!("looked at above"),
        }
    }
}

fn furnish(root: &Path) {
    plant(root);
    let open = |name: &str, mode| {
        fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).unwrap();
    };
    open("w", 0o777);
    open("w/a.key", 0o600);
    std::os::unix::fs::chown(root.join("w/a.txt"), Some(65534), Some(65534)).unwrap();
    std::os::unix::fs::symlink("../m", root.join("w/aside")).unwrap();
    fs::write(root.join("rules"), "*.key\n").unwrap();
    fs::write(root.join("open-secrets"), "alice:secret\n").unwrap();
    fs::write(root.join("large"), "all the same ".repeat(20_000)).unwrap();
    fs::create_dir(root.join("umlauts")).unwrap();
    fs::write(root.join("umlauts/\u{e4}"), "a\n").unwrap();
}

/// Names, kinds, modes, owners, sizes and link texts of the module and of what was pulled.
fn trees(daemon: &Daemon) -> String {
    let mut text = String::new();
    for tree in ["w", "out"] {
        list(&daemon.path(tree), daemon.folder.path(), &mut text);
    }
    text
}

fn list(path: &Path, root: &Path, text: &mut String) {
    use std::os::unix::ffi::OsStrExt;
    let Ok(meta) = path.symlink_metadata() else { return };
    let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().escape_ascii();
    let (mode, uid, gid) = (meta.mode(), meta.uid(), meta.gid());
    let size = if meta.is_dir() { 0 } else { meta.len() };
    let target = fs::read_link(path).unwrap_or_default();
    writeln!(text, "{name} {mode:o} {uid}:{gid} {size} {}", target.display()).unwrap();
    if meta.is_dir() {
        let entries = fs::read_dir(path).unwrap();
        let mut all: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
        all.sort();
        all.iter().for_each(|path| list(path, root, text));
    }
}

fn reaches(host: &str, port: u16) -> bool {
    let addr: SocketAddr = format!("{host}:{port}").parse().unwrap();
    TcpStream::connect_timeout(&addr, Duration::from_secs(10)).is_ok()
}

fn reached(daemon: &Daemon) -> String {
    let hosts = ["127.0.0.1", "127.0.0.9"];
    format!("{:?}", hosts.map(|host| reaches(host, daemon.port)))
}

/// Whether the configuration's port is the one.
fn reached_elsewhere(daemon: &Daemon) -> String {
    let conf = fs::read_to_string(daemon.path("conf")).unwrap();
    let port = conf.lines().find_map(|line| line.strip_prefix("port = "));
    format!("{:?}", port.map(|port| reaches("127.0.0.1", port.parse().unwrap())))
}

/// Stops the daemon, so that the kernel alone answers.
fn stopped<T>(daemon: &Daemon, look: impl FnOnce() -> T) -> T {
    let pid = Pid::from_raw(daemon.child.id() as i32).unwrap();
    kill_process(pid, Signal::STOP).unwrap();
    let seen = look();
    kill_process(pid, Signal::CONT).unwrap();
    seen
}

/// How many connections wait for a daemon that takes none.
fn queued(daemon: &Daemon) -> String {
    let addr: SocketAddr = format!("127.0.0.1:{}", daemon.port).parse().unwrap();
    let patience = Duration::from_millis(300);
    let queue = stopped(daemon, || {
        let open = std::iter::from_fn(|| TcpStream::connect_timeout(&addr, patience).ok());
        open.take(20).collect::<Vec<_>>()
    });
    format!("{} wait", queue.len())
}

/// How much is taken from a client that is not read.
fn room(daemon: &Daemon) -> String {
    let mut stream = daemon.connect();
    stopped(daemon, || {
        stream.set_nonblocking(true).unwrap();
        // The client's own side is the same for both.
        socket2::SockRef::from(&stream).set_send_buffer_size(4096).unwrap();
        let mut count = 0;
        loop {
            match stream.write(&[b'x'; 512]) {
                Ok(len) => count += len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => panic!("{error}"),
            }
        }
        format!("more than 40,000 bytes: {}", count > 40_000)
    })
}

fn pid_in_file(daemon: &Daemon) -> String {
    let text = fs::read_to_string(daemon.path("pid")).unwrap_or_default();
    format!("{}", text == format!("{}\n", daemon.child.id()))
}

fn owner_of_pushed(daemon: &Daemon) -> String {
    let outcome = daemon.client(&["-rlt", "src/", "@URL@/w/up/"]);
    let owner = daemon.path("w/up/one").metadata().map(|meta| (meta.uid(), meta.gid()));
    format!("{} {:?}", outcome.code, owner.ok())
}

/// Whether what is the same all over takes less room on its way.
fn compresses(daemon: &Daemon) -> String {
    fs::copy(daemon.path("large"), daemon.path("w/large")).unwrap();
    let before = daemon.client(&["-az", "--compress-choice=zlib", "@URL@/w/large", "out/"]);
    daemon.logs("total size");
    let log = fs::read_to_string(daemon.path("log")).unwrap();
    let line = log.lines().find_map(|line| line.split_once("] sent ")).expect("it is logged").1;
    let sent: u64 = line.split(' ').next().unwrap().parse().unwrap();
    format!("{} small: {}", before.code, sent < 100_000)
}

/// What becomes of other names when the client cannot list all of its own.
fn deletes_behind_what_cannot_be_read(daemon: &Daemon) -> String {
    fs::set_permissions(daemon.path("src/d"), fs::Permissions::from_mode(0o700)).unwrap();
    let status = Command::new("setpriv")
        .args(["--reuid=12345", "--regid=12345", "--clear-groups", "timeout", "60", "rsync"])
        .args(["-r", "--delete-after", "--no-links", "src/"])
        .arg(format!("rsync://127.0.0.1:{}/w/", daemon.port))
        .current_dir(daemon.folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .expect("util-linux is installed");
    format!("{:?} {}", status.code(), daemon.path("w/a.key").exists())
}

/// Whether the time of the last access moves.
fn reading_is_noted(daemon: &Daemon) -> String {
    let path = daemon.path("w/a.txt");
    let then = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    let times = fs::FileTimes::new().set_accessed(then).set_modified(then);
    fs::File::options().write(true).open(&path).unwrap().set_times(times).unwrap();
    let outcome = daemon.client(&["-a", "@URL@/w/a.txt", "out/"]);
    format!("{} {}", outcome.code, path.metadata().unwrap().accessed().unwrap() == then)
}

/// The limit that a client is told.
fn announced_timeout(daemon: &Daemon) -> String {
    let mut stream = daemon.connect();
    let args = b"@RSYNCD: 31.0\nw\n--server\0--sender\0-re.iLsfxCIvu\0.\0w/\0\0";
    stream.write_all(args).unwrap();
    // One digest that both know, and no rules.
    stream.write_all(b"\x03md5\x04\0\0\x07\0\0\0\0").unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut said = Vec::new();
    let _ = stream.read_to_end(&mut said);
    // A frame of four bytes, kind 33 above its base of 7. Protocol reference, "Multiplexing".
    let found = said.windows(8).find(|part| part[..4] == [4, 0, 0, 40]);
    format!("{:?}", found.map(|part| part[4]))
}

/// Messages of a session, where the system's log is a socket of the test.
fn in_system_log(launch: Launch, conf: &str) -> String {
    let place = tempfile::tempdir().unwrap();
    let dev = place.path().join("dev");
    fs::create_dir(&dev).unwrap();
    let log = UnixDatagram::bind(dev.join("log")).unwrap();
    log.set_read_timeout(Some(wait::GENEROUS)).unwrap();
    let conf = format!("log file =\n{conf}");
    let launch = Launch { dev: Some(dev), ..launch };
    let daemon = Daemon::launch(launch, &conf, furnish);
    assert_eq!(daemon.client(&["-a", "@URL@/w/a.txt", "out/"]).code, 0);
    let mut messages: Vec<String> = Vec::new();
    while !messages.last().is_some_and(|last| last.ends_with("the end")) {
        let mut buffer = [0; 4096];
        let len = log.recv(&mut buffer).expect("the session logs its end");
        let text = String::from_utf8_lossy(&buffer[..len]).into_owned();
        // `<PRIORITY>Mmm dd hh:mm:ss TAG[PID]: TEXT`
        let (priority, rest) = text.split_once('>').expect("a priority");
        let (tag, said) = rest[16..].split_once("]: ").expect("a process");
        let (tag, _) = tag.split_once('[').expect("a process");
        // Bytes on the wire are no subject here.
        let said = if said.starts_with("sent ") { "the end" } else { said };
        if !said.starts_with("rsyncd version") {
            messages.push(format!("{priority}> {tag}: {}", said.trim_end()));
        }
    }
    messages.join("\n")
}

/// Checks a part of the table.
fn check(part: usize, parts: usize) {
    let rows: Vec<&Row> = ROWS.iter().skip(part).step_by(parts).collect();
    let mut problems = Vec::new();
    for row in rows {
        if matches!(row.probe, Syslog) && !has_mount_namespaces() {
            eprintln!("{} needs mount namespaces", row.name);
            continue;
        }
        let seen = |with| {
            let conf = row.conf(with);
            std::thread::scope(|scope| {
                let stock = scope.spawn(|| row.observed(Launch::stock(), &conf));
                (row.observed(Launch::ours(), &conf), stock.join().expect("it is observed"))
            })
        };
        let (with, without) = (seen(true), seen(false));
        for (ours, stock) in [&with, &without] {
            if ours != stock {
                problems.push(format!("{}: ours shows {ours}\nthe real one {stock}", row.name));
            }
        }
        if with.0 == without.0 {
            problems.push(format!("{} has no effect: {}", row.name, with.0));
        }
    }
    assert!(problems.is_empty(), "{}", problems.join("\n\n"));
}

#[test]
fn each_parameter_has_its_effect_first_part() {
    check(0, 3);
}

#[test]
fn each_parameter_has_its_effect_second_part() {
    check(1, 3);
}

#[test]
fn each_parameter_has_its_effect_third_part() {
    check(2, 3);
}

#[test]
fn no_parameter_is_left_out() {
    let own = OWN.iter().map(|(name, _)| *name);
    let names: Vec<&str> = ROWS.iter().map(|row| row.name).chain(own).collect();
    let missing: Vec<&str> =
        PARAMS.iter().map(|param| param.name).filter(|name| !names.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
