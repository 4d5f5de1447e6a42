//! Two daemons on one configuration: ours and the real one.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use driftless_testkit::compare::{CompareOptions, differences};
use driftless_testkit::peer::{free_port, write_private};
use driftless_testkit::plant::age;
use driftless_testkit::wait;
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

/// A configuration with one module, `w`, that anybody may write to.
pub const OPEN: &str = "\
uid = root
gid = root
use chroot = no
[w]
path = @ROOT@/w
read only = no
";

/// A daemon with a folder, in which its modules lie.
pub struct Daemon {
    pub folder: TempDir,
    pub port: u16,
    pub child: Child,
    /// For messages.
    name: &'static str,
    /// Where it listens.
    host: &'static str,
}

/// How a daemon is started.
#[derive(Clone)]
pub struct Launch {
    /// For messages.
    pub name: &'static str,
    pub program: PathBuf,
    /// Its `--address`; `None` leaves it to the configuration.
    pub address: Option<&'static str>,
    /// The port that the configuration names; `None`: it gets a free one as `--port`.
    pub port: Option<u16>,
    /// What it finds as `/dev`.
    pub dev: Option<PathBuf>,
}

impl Launch {
    pub fn ours() -> Self {
        Self { name: "ours", program: program(), address: Some("127.0.0.1"), port: None, dev: None }
    }

    pub fn stock() -> Self {
        Self { name: "the real one", program: "rsync".into(), ..Self::ours() }
    }

    fn command(&self, port: u16) -> Command {
        let mut command = match &self.dev {
            None => Command::new(&self.program),
            Some(dev) => {
                let mut command = Command::new("unshare");
                command.args(["--mount", "sh", "-c"]).arg(
                    "touch \"$0/null\" && mount --bind /dev/null \"$0/null\" && \
                     mount --rbind \"$0\" /dev && exec \"$@\"",
                );
                command.args([dev, &self.program]);
                command
            }
        };
        command.args(["--daemon", "--no-detach"]);
        command.args(self.address.map(|address| format!("--address={address}")));
        if self.port.is_none() {
            command.arg(format!("--port={port}"));
        }
        command
    }
}

/// The daemon under test.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let profile = test.parent().and_then(Path::parent).unwrap();
    profile.join("examples/rsyncd")
}

impl Daemon {
    /// Starts ours on a configuration; `@ROOT@` in it is the daemon's folder.
    pub fn ours(conf: &str, plant: impl Fn(&Path)) -> Self {
        Self::launch(Launch::ours(), conf, plant)
    }

    /// Starts a daemon on a configuration.
    pub fn launch(launch: Launch, conf: &str, plant: impl Fn(&Path)) -> Self {
        let folder = tempfile::Builder::new().prefix("dmn-").tempdir().unwrap();
        let root = folder.path().to_str().unwrap();
        // Other users enter modules in here.
        open_up(folder.path());
        plant(folder.path());
        let text = format!("log file = {root}/log\nlock file = {root}/lock\n{conf}");
        fs::write(folder.path().join("conf"), text.replace("@ROOT@", root)).unwrap();
        for _ in 0..20 {
            let port = launch.port.unwrap_or_else(free_port);
            let mut child = launch
                .command(port)
                .arg(format!("--config={root}/conf"))
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .process_group(0)
                .spawn()
                .unwrap_or_else(|error| panic!("{} cannot be started: {error}", launch.name));
            let up = wait::within(wait::GENEROUS, || {
                if listens(launch.address, port) {
                    return Some(child.try_wait().unwrap().is_none());
                }
                child.try_wait().unwrap().map(|_| false)
            });
            if up == Some(true) {
                let host = launch.address.unwrap_or("127.0.0.1");
                return Self { folder, port, child, name: launch.name, host };
            }
            // Somebody else took the port meanwhile; the next try is no part of that story.
            let _ = fs::remove_file(folder.path().join("log"));
        }
        panic!("{} does not come up", launch.name);
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes another configuration.
    pub fn configure(&self, conf: &str) {
        let root = self.folder.path().to_str().unwrap();
        let text = format!("log file = {root}/log\nlock file = {root}/lock\n{conf}");
        fs::write(self.path("new"), text.replace("@ROOT@", root)).unwrap();
        fs::rename(self.path("new"), self.path("conf")).unwrap();
    }

    pub fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(wait::GENEROUS)).unwrap();
        stream
    }

    /// What is said to these bytes, until the connection is closed.
    pub fn answer(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        stream.write_all(bytes).unwrap();
        let mut text = Vec::new();
        let _ = stream.read_to_end(&mut text);
        String::from_utf8_lossy(&text).into_owned()
    }

    /// Runs the real client; `@URL@`, `@ROOT@` and `@OUT@` in its words are this daemon's.
    pub fn client(&self, words: &[&str]) -> Outcome {
        let put_in = |word: &str| {
            word.replace("@URL@", &format!("rsync://127.0.0.1:{}", self.port))
                .replace("@PORT@", &self.port.to_string())
                .replace("@HOST@", self.host)
                .replace("@ROOT@", self.folder.path().to_str().unwrap())
        };
        let output = Command::new("timeout")
            .args(["60", "rsync"])
            .args(words.iter().map(|word| put_in(word)))
            .current_dir(self.folder.path())
            .env("LC_ALL", "C")
            .env_remove("RSYNC_PASSWORD")
            .stdin(Stdio::null())
            .output()
            .expect("rsync is installed");
        let clean = |text: &[u8]| {
            let text = String::from_utf8_lossy(text);
            let mut lines: Vec<String> =
                text.lines().filter_map(|line| self.normal(line)).collect();
            lines.sort();
            lines
        };
        let is_last =
            |line: &String| line.starts_with("rsync error") || line.starts_with("rsync warning");
        let (last, err) = clean(&output.stderr).into_iter().partition(is_last);
        let code = output.status.code().unwrap_or(-1);
        let was_reset = breaks(&String::from_utf8_lossy(&output.stderr));
        Outcome { code, out: clean(&output.stdout), err, last, was_reset }
    }

    /// Lines of the log without time and process.
    pub fn log(&self) -> Vec<String> {
        let text = fs::read(self.path("log")).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines = text.lines().filter_map(|line| line.splitn(4, ' ').nth(3));
        lines.filter_map(|line| self.normal(line)).collect()
    }

    /// A line as it is compared.
    fn normal(&self, line: &str) -> Option<String> {
        let line = line
            .replace(self.folder.path().to_str().unwrap(), "ROOT")
            .replace(&self.port.to_string(), "PORT")
            .replace(self.host, "127.0.0.1");
        normal(&line)
    }

    /// Waits until no session runs any more, so that all it says is in the log. What a session of the
    /// real one leaves behind belongs to the daemon's process group all the same.
    pub fn rests(&self) {
        let group = self.child.id().to_string();
        let is_in_group = |stat: String| {
            let mut words = stat.rsplit_once(')')?.1.split_whitespace();
            let has_ended = words.next()? == "Z";
            Some(words.nth(1)? == group && !has_ended)
        };
        soon("the sessions end", || {
            let all = fs::read_dir("/proc").unwrap().flatten();
            let stats = all.filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok());
            (stats.filter_map(is_in_group).filter(|found| *found).count() == 1).then_some(())
        });
    }

    /// Waits until the log has such a line.
    #[track_caller]
    pub fn logs(&self, part: &str) {
        wait::until(&format!("\"{part}\" in the log"), wait::GENEROUS, || {
            self.log().iter().any(|line| line.contains(part)).then_some(())
        });
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
            let _ = kill_process_group(pid, Signal::KILL);
        }
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail = log.len().saturating_sub(15);
            eprintln!("--- the last lines of {}", self.name);
            log[tail..].iter().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// What a client printed, and its exit code.
#[derive(Debug)]
pub struct Outcome {
    pub code: i32,
    pub out: Vec<String>,
    pub err: Vec<String>,
    /// The lines that name the exit code, in both programs' words.
    pub last: Vec<String>,
    /// The connection broke under it, at whatever moment.
    pub was_reset: bool,
}

impl PartialEq for Outcome {
    fn eq(&self, other: &Self) -> bool {
        let all = |one: &Self| (one.code, one.out.clone(), one.err.clone(), one.last.clone());
        all(self) == all(other)
    }
}

/// Whether it tells that a connection broke.
fn breaks(text: &str) -> bool {
    text.contains("Connection reset by peer") || text.contains("Broken pipe")
}

/// A line without what differs from run to run (bytes on the wire, rates) and from program to
/// program (places in a source, versions). `None` for the moment at which a connection breaks, and
/// for what a daemon says of its start.
fn normal(line: &str) -> Option<String> {
    if breaks(line) || line.starts_with("rsyncd version") {
        return None;
    }
    if line.starts_with("rsync error: ") || line.starts_with("rsync warning: ") {
        let (text, place) = line.split_once(" at ").unwrap_or((line, ""));
        let role = place.split_once('[').and_then(|(_, role)| role.split_once('='));
        return Some(format!("{text} [{}]", role.map_or("", |(role, _)| role)));
    }
    if line.starts_with("sent ") && line.contains(" bytes  received ") {
        let total = line.split_once("  total size ").map_or("", |(_, total)| total);
        return Some(format!("sent and received, total size {total}"));
    }
    if line.starts_with("total: matches=") {
        // How often the search looked twice is the search's own.
        let matches = line.split("  hash_hits=").next().unwrap_or_default();
        let data = line.rsplit(' ').next().unwrap_or_default();
        return Some(format!("{matches} {data}"));
    }
    if line.starts_with("total size is ") {
        return line.split_once("  speedup").map(|(total, _)| total.to_owned());
    }
    // Progress is written over itself; how fast it went is its own.
    let line = line.rsplit('\r').next().unwrap_or_default();
    match line.split_once("% ") {
        Some((done, rest)) if rest.contains("B/s") => {
            let count = rest.split_once('(').map_or("", |(_, count)| count);
            Some(format!("{done}% ({count}"))
        }
        _ => Some(line.to_owned()),
    }
}

/// Whether somebody listens there, or on any address; told without a connection, which a daemon would
/// log.
fn listens(address: Option<&str>, port: u16) -> bool {
    let address = address.map(|text| text.parse::<std::net::Ipv4Addr>().unwrap().octets());
    let address = address.map(|octets| format!("{:08X}", u32::from_ne_bytes(octets)));
    let here = format!("{}:{port:04X}", address.unwrap_or_default());
    let table = fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next().is_some_and(|word| word.ends_with(&here)) && words.nth(1) == Some("0A")
    })
}

fn open_up(dir: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(dir, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Both daemons.
pub struct Pair {
    pub ours: Daemon,
    pub stock: Daemon,
}

impl Pair {
    /// Starts both where rsync daemons listen if nothing is said, each on an address of its own.
    pub fn start_at(addresses: [&'static str; 2], conf: &str, plant: impl Fn(&Path)) -> Self {
        let at = |launch: Launch, address| {
            let launch = Launch { address: Some(address), port: Some(873), ..launch };
            Daemon::launch(launch, conf, &plant)
        };
        let [ours, stock] = addresses;
        Self { ours: at(Launch::ours(), ours), stock: at(Launch::stock(), stock) }
    }

    /// Starts both. `plant` makes what lies in a daemon's folder.
    pub fn start(conf: &str, plant: impl Fn(&Path)) -> Self {
        Self {
            ours: Daemon::launch(Launch::ours(), conf, &plant),
            stock: Daemon::launch(Launch::stock(), conf, &plant),
        }
    }

    /// Runs a client with each: output, exit code, lines of the log and all that is in the folders
    /// must be equal.
    #[track_caller]
    pub fn same(&self, words: &[&str]) -> Outcome {
        self.compare(words, &[""]).unwrap_or_else(|difference| panic!("{difference}"))
    }

    /// As [`Pair::same`], where the real one's log tells something of its own.
    #[track_caller]
    pub fn same_but_log(&self, words: &[&str]) -> Outcome {
        let found = self.outcome(words);
        let outcome = found.unwrap_or_else(|difference| panic!("{difference}"));
        self.same_trees(words);
        outcome
    }

    /// As [`Pair::same`] for exit code and folders alone.
    #[track_caller]
    pub fn same_code(&self, words: &[&str]) -> Outcome {
        let (ours, stock) = self.clients(words);
        assert_eq!(ours.code, stock.code, "rsync {}: {ours:?} {stock:?}", words.join(" "));
        self.same_trees(words);
        ours
    }

    /// What differs when a client of each runs: output, exit code, lines of the log, and what is in
    /// these folders.
    pub fn compare(&self, words: &[&str], folders: &[&str]) -> Result<Outcome, String> {
        let before = [self.ours.log().len(), self.stock.log().len()];
        let outcome = self.outcome(words)?;
        self.ours.rests();
        self.stock.rests();
        let trees = self.trees(folders);
        let logged = |daemon: &Daemon, before: usize| {
            let mut lines = daemon.log().split_off(before);
            lines.sort();
            lines
        };
        let (mut ours, mut stock) = (logged(&self.ours, before[0]), logged(&self.stock, before[1]));
        if ours != stock {
            // Now and then the real one does not log a directory that it made (seen with 3.5.0).
            let is_dir = |line: &str| line.ends_with('/') && !line.contains(' ');
            ours.retain(|line| !is_dir(line) || stock.contains(line));
            stock.retain(|line| !is_dir(line) || ours.contains(line));
        }
        let shown = words.join(" ");
        if ours != stock {
            return Err(format!("log of rsync {shown}\n ours: {ours:?}\nstock: {stock:?}"));
        }
        match trees.as_slice() {
            [] => Ok(outcome),
            found => Err(format!("trees of rsync {shown}: {found:#?}")),
        }
    }

    /// As [`Pair::compare`] without the logs.
    pub fn compare_said(&self, words: &[&str], folders: &[&str]) -> Result<Outcome, String> {
        let outcome = self.outcome(words)?;
        match self.trees(folders).as_slice() {
            [] => Ok(outcome),
            found => Err(format!("trees of rsync {}: {found:#?}", words.join(" "))),
        }
    }

    /// What both clients printed, and their exit code.
    fn outcome(&self, words: &[&str]) -> Result<Outcome, String> {
        let (mut ours, mut stock) = self.clients(words);
        if stock.was_reset && ours.code != stock.code {
            // It closes a connection in which something is unread: what the client does then depends
            // on the moment. Ours lets it read why first.
            for one in [&mut ours, &mut stock] {
                one.last = Vec::new();
                one.code = i32::from(one.code != 0);
            }
        }
        match ours == stock {
            true => Ok(ours),
            false => Err(format!("rsync {}\n ours: {ours:?}\nstock: {stock:?}", words.join(" "))),
        }
    }

    /// A client of each, at the same time.
    fn clients(&self, words: &[&str]) -> (Outcome, Outcome) {
        std::thread::scope(|scope| {
            let stock = scope.spawn(|| self.stock.client(words));
            (self.ours.client(words), stock.join().expect("the client ends"))
        })
    }

    #[track_caller]
    fn same_trees(&self, words: &[&str]) {
        let found = self.trees(&[""]);
        assert!(found.is_empty(), "rsync {}: {found:#?}", words.join(" "));
    }

    /// What differs in these folders.
    fn trees(&self, folders: &[&str]) -> Vec<String> {
        let options = CompareOptions {
            times: false,
            through_munged_links: false,
            excluded: ["log", "lock", "conf", "pid", "secrets", "own", "hooks"]
                .map(|name| name.into())
                .to_vec(),
            ..CompareOptions::default()
        };
        let compared = |folder: &&str| {
            let (ours, stock) = (self.ours.path(folder), self.stock.path(folder));
            match ours.exists() || stock.exists() {
                true => differences(&ours, &stock, &options).unwrap(),
                false => Vec::new(),
            }
        };
        folders.iter().flat_map(compared).collect()
    }

    /// The same bytes get the same answer.
    #[track_caller]
    pub fn same_answer(&self, bytes: &[u8]) -> String {
        let clean = |daemon: &Daemon| {
            let text = daemon.answer(bytes);
            let lines: Vec<String> = text
                .lines()
                .map(|line| match line.starts_with("@RSYNCD: AUTHREQD ") {
                    true => format!("@RSYNCD: AUTHREQD of {}", line.len()),
                    false => line.to_owned(),
                })
                .collect();
            lines.join("\n")
        };
        let (ours, stock) = (clean(&self.ours), clean(&self.stock));
        assert_eq!(ours, stock, "answer to {}", bytes.escape_ascii());
        ours
    }

    /// Changes the configuration of both.
    pub fn configure(&self, conf: &str) {
        self.ours.configure(conf);
        self.stock.configure(conf);
    }
}

/// A small tree and what a client needs.
pub fn plant(root: &Path) {
    for module in ["m", "w"] {
        fs::create_dir_all(root.join(module).join("sub/deep")).unwrap();
        fs::write(root.join(module).join("a.txt"), "hello\n").unwrap();
        fs::write(root.join(module).join("a.key"), "key\n").unwrap();
        fs::write(root.join(module).join("sub/b.txt"), "bb\n").unwrap();
        fs::write(root.join(module).join("sub/deep/c.log"), "c\n").unwrap();
        std::os::unix::fs::symlink("a.txt", root.join(module).join("link")).unwrap();
    }
    fs::create_dir_all(root.join("src/d")).unwrap();
    fs::write(root.join("src/one"), "1\n").unwrap();
    fs::write(root.join("src/d/two"), "22\n").unwrap();
    fs::write(root.join("src/x.key"), "k\n").unwrap();
    std::os::unix::fs::symlink("one", root.join("src/l")).unwrap();
    ["m", "w", "src"].iter().for_each(|tree| age(&root.join(tree)));
    write_private(&root.join("secrets"), "alice:secret\nbob:builder\n@root:team\nroot:toor\n");
    write_private(&root.join("pw"), "secret\n");
    write_private(&root.join("pw-bob"), "builder\n");
    write_private(&root.join("pw-bad"), "wrong\n");
}

/// A short wait for a condition at another process.
pub fn soon<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    wait::until(what, Duration::from_secs(60), probe)
}
