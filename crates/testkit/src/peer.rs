//! Stock rsync daemons on loopback, each with a folder, a port and a process group of its own.

mod module;

pub use module::Module;

use std::io::Read;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;
use std::{fs, process};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tempfile::TempDir;

use crate::netfault::Proxy;
use crate::{PASSWORD, kernel, wait};

/// The only digest that daemons and their clients may use for passwords: `DRIFTLESS_FORCED_DIGEST`.
fn forced_digest() -> Option<String> {
    std::env::var("DRIFTLESS_FORCED_DIGEST").ok()
}

/// A running `rsync --daemon`. Killed with all its children when dropped.
#[derive(Debug)]
pub struct RsyncDaemon {
    folder: TempDir,
    port: u16,
    modules: Vec<Module>,
    child: Option<Child>,
    /// In front of it where the digest of passwords is forced: of several it takes the strongest.
    front: Option<Proxy>,
    /// The front's port, also while there is none because the daemon is down.
    front_port: u16,
}

impl RsyncDaemon {
    /// Starts a daemon that serves `modules` and waits until it greets.
    ///
    /// # Panics
    /// When rsync is missing or does not come up; the daemon's log is in the message.
    #[track_caller]
    pub fn start(modules: &[Module]) -> Self {
        Self::start_in(&std::env::temp_dir(), modules, &[])
    }

    /// Starts a daemon whose own folder is made in `parent`, with more lines for the global part
    /// of its configuration.
    ///
    /// # Panics
    /// As [`RsyncDaemon::start`].
    #[track_caller]
    pub fn start_in(parent: &Path, modules: &[Module], globals: &[&str]) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("rsyncd-")
            .tempdir_in(parent)
            .expect("the folder for temporary files is writable");
        let mut daemon =
            Self { folder, port: 0, modules: Vec::new(), child: None, front: None, front_port: 0 };
        for module in modules {
            let module = module.clone().settled_below(daemon.folder.path());
            fs::create_dir_all(module.path()).expect("the module's folder can be made");
            let secrets = daemon.folder.path().join(format!("{}.pass", module.name()));
            write_private(&secrets, &format!("{}:{PASSWORD}\n", module.user()));
            daemon.modules.push(module);
        }
        daemon.configure(globals);
        // A port found free may be taken by somebody else before the daemon has it.
        for _ in 0..20 {
            daemon.port = free_port();
            if daemon.try_launch() {
                daemon.put_front();
                return daemon;
            }
        }
        panic!("no stock rsync daemon came up:\n{}", daemon.log());
    }

    /// The address of `module`, with its user when it asks for one.
    ///
    /// # Panics
    /// When the daemon has no such module.
    #[track_caller]
    pub fn url(&self, module: &str) -> String {
        self.url_through(self.port(), module)
    }

    /// The address of `module` as seen through something that listens on `port` of this machine.
    ///
    /// # Panics
    /// When the daemon has no such module.
    #[track_caller]
    pub fn url_through(&self, port: u16, module: &str) -> String {
        let module = self.module(module);
        let user =
            if module.is_anonymous() { String::new() } else { format!("{}@", module.user()) };
        format!("rsync://{user}127.0.0.1:{port}/{}", module.name())
    }

    /// The folder that `module` serves.
    ///
    /// # Panics
    /// When the daemon has no such module.
    #[track_caller]
    pub fn module_path(&self, module: &str) -> &Path {
        self.module(module).path()
    }

    #[track_caller]
    fn module(&self, name: &str) -> &Module {
        let found = self.modules.iter().find(|m| m.name() == name);
        found.unwrap_or_else(|| panic!("the daemon has no module {name}"))
    }

    /// The port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        if self.front_port == 0 { self.port } else { self.front_port }
    }

    fn put_front(&mut self) {
        let digest = forced_digest();
        self.front = digest.map(|name| Proxy::offering(self.port, self.front_port, &name));
        self.front_port = self.front.as_ref().map_or(0, Proxy::port);
    }

    /// The process group of the daemon and its children, while it runs.
    pub fn group(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// Stops the sessions that it serves, until what is returned goes.
    ///
    /// # Panics
    /// When the daemon does not run, or serves nobody.
    #[track_caller]
    pub fn freeze_sessions(&self) -> Frozen {
        let group = self.group().expect("the daemon runs");
        let sessions = kernel::followers(group).expect("the process table can be read");
        assert!(!sessions.is_empty(), "there is no session to stop");
        let frozen = Frozen(sessions);
        frozen.signal(Signal::STOP);
        frozen
    }

    /// What the daemon has logged so far.
    pub fn log(&self) -> String {
        let read = |name| fs::read(self.folder.path().join(name)).unwrap_or_default();
        let bytes = [read("rsyncd.log"), read("stderr")].concat();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Ends the daemon and the sessions that it serves at once, as a power cut would.
    pub fn kill9(&mut self) {
        self.front = None;
        if let Some(mut child) = self.child.take() {
            kill_group(&mut child);
        }
    }

    /// Starts the daemon again on the same port after [`RsyncDaemon::kill9`].
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn restart(&mut self) {
        self.kill9();
        wait::until("the daemon comes up again", wait::GENEROUS, || {
            self.try_launch().then_some(())
        });
        self.put_front();
    }

    /// Rewrites the configuration with `change` made to `module`. The next session sees it.
    ///
    /// # Panics
    /// When the daemon has no such module.
    #[track_caller]
    pub fn reconfigure(&mut self, module: &str, change: impl FnOnce(Module) -> Module) {
        let index = self.modules.iter().position(|m| m.name() == module);
        let index = index.unwrap_or_else(|| panic!("the daemon has no module {module}"));
        self.modules[index] = change(self.modules[index].clone());
        self.configure(&[]);
    }

    fn configure(&self, globals: &[&str]) {
        let dir = self.folder.path().display();
        let mut text = format!(
            "uid = nobody\ngid = nobody\nuse chroot = no\nmax connections = 10\nstrict modes = yes\n\
             pid file = {dir}/rsyncd.pid\nlock file = {dir}/rsyncd.lock\nlog file = {dir}/rsyncd.log\n"
        );
        for line in globals {
            text.push_str(line);
            text.push('\n');
        }
        for module in &self.modules {
            text.push_str(&module.section(self.folder.path()));
        }
        let file = self.config();
        let fresh = file.with_extension("new");
        fs::write(&fresh, text).expect("the daemon's folder is writable");
        fs::rename(&fresh, &file).expect("the daemon's folder is writable");
    }

    fn config(&self) -> PathBuf {
        self.folder.path().join("rsyncd.conf")
    }

    fn try_launch(&mut self) -> bool {
        let stderr = fs::File::create(self.folder.path().join("stderr"))
            .expect("the daemon's folder is writable");
        let child = Command::new("rsync")
            .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
            .arg(format!("--port={}", self.port))
            .arg(format!("--config={}", self.config().display()))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(stderr)
            .process_group(0)
            .spawn()
            .expect("this test needs the program rsync (package rsync)");
        let child = self.child.insert(child);
        let up = wait::within(wait::GENEROUS, || {
            if greets(self.port) {
                return Some(child.try_wait().is_ok_and(|status| status.is_none()));
            }
            child.try_wait().is_ok_and(|status| status.is_some()).then_some(false)
        });
        if up != Some(true) {
            self.kill9();
        }
        up == Some(true)
    }
}

/// Stopped sessions of a daemon, which go on when this goes.
#[derive(Debug)]
pub struct Frozen(Vec<u32>);

impl Frozen {
    /// Lets the sessions go on, and waits for their end.
    ///
    /// # Panics
    /// When they do not end.
    #[track_caller]
    pub fn go_on_to_their_end(self) {
        self.signal(Signal::CONT);
        let ended = |pid: &u32| !Path::new(&format!("/proc/{pid}")).exists();
        wait::until("the sessions end", wait::GENEROUS, || self.0.iter().all(ended).then_some(()));
    }

    fn signal(&self, signal: Signal) {
        for pid in self.0.iter().filter_map(|pid| Pid::from_raw(pid.cast_signed())) {
            // Fails only when it has ended already.
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
    }
}

impl Drop for RsyncDaemon {
    fn drop(&mut self) {
        self.kill9();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(20).collect();
            eprintln!("--- last lines of the daemon on port {}", self.port);
            tail.iter().rev().for_each(|line| eprintln!("{line}"));
        }
    }
}

/// `count` daemons as the book sets them up: `web1`, `web2`, … with one module each of that name.
///
/// # Panics
/// As [`RsyncDaemon::start`].
#[track_caller]
pub fn web_nodes(count: usize) -> Vec<RsyncDaemon> {
    (1..=count).map(|n| RsyncDaemon::start(&[Module::book(&format!("web{n}"))])).collect()
}

/// Writes a file that only its owner may read, as rsync demands of passwords.
///
/// # Panics
/// When the file cannot be written.
#[track_caller]
pub fn write_private(file: &Path, text: &str) {
    fs::write(file, text).expect("the file can be written");
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).expect("the file is ours");
}

/// Kills the whole process group that `child` leads, and waits for `child`.
pub(crate) fn kill_group(child: &mut Child) {
    if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
        // Fails only when all of them have ended already.
        let _ = kill_process_group(pid, Signal::KILL);
    }
    let _ = child.wait();
}

/// A port on which nothing listens just now.
///
/// Below the range that the kernel gives to outgoing connections, so that the port is free again
/// for a restart.
pub fn free_port() -> u16 {
    const FIRST: u16 = 12_000;
    const COUNT: u16 = 20_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (process::id() as u16).wrapping_mul(97);
    for _ in 0..COUNT {
        let offset = start.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, FIRST + offset)).is_ok() {
            return FIRST + offset;
        }
    }
    panic!("no free port on 127.0.0.1");
}

fn greets(port: u16) -> bool {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let Ok(mut stream) = TcpStream::connect_timeout(&address, Duration::from_secs(5)) else {
        return false;
    };
    let mut greeting = [0; 9];
    stream.set_read_timeout(Some(Duration::from_secs(10))).is_ok()
        && stream.read_exact(&mut greeting).is_ok()
        && greeting == *b"@RSYNCD: "
}
