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
use driftless_testkit::plant::set_mtime;
use driftless_testkit::wait;
use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

/// A daemon with a folder, in which its modules lie.
pub struct Daemon {
    pub folder: TempDir,
    pub port: u16,
    pub child: Child,
    /// For messages.
    name: &'static str,
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
        Self::start("ours", &program(), conf, &[], plant)
    }

    fn start(
        name: &'static str,
        program: &Path,
        conf: &str,
        more: &[&str],
        plant: impl Fn(&Path),
    ) -> Self {
        let folder = tempfile::Builder::new().prefix("dmn-").tempdir().unwrap();
        let root = folder.path().to_str().unwrap();
        // Other users enter modules in here.
        open_up(folder.path());
        plant(folder.path());
        let text = format!("log file = {root}/log\nlock file = {root}/lock\n{conf}");
        fs::write(folder.path().join("conf"), text.replace("@ROOT@", root)).unwrap();
        for _ in 0..20 {
            let port = free_port();
            let mut child = Command::new(program)
                .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
                .arg(format!("--port={port}"))
                .arg(format!("--config={root}/conf"))
                .args(more)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .process_group(0)
                .spawn()
                .unwrap_or_else(|error| panic!("{} cannot be started: {error}", program.display()));
            let up = wait::within(wait::GENEROUS, || {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Some(child.try_wait().unwrap().is_none());
                }
                child.try_wait().unwrap().map(|_| false)
            });
            if up == Some(true) {
                return Self { folder, port, child, name };
            }
        }
        panic!("{name} does not come up");
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
            let text = String::from_utf8_lossy(text)
                .replace(self.folder.path().to_str().unwrap(), "ROOT")
                .replace(&self.port.to_string(), "PORT");
            let mut lines: Vec<String> =
                text.lines().filter(|line| !varies(line)).map(str::to_owned).collect();
            lines.sort();
            lines
        };
        Outcome {
            code: output.status.code().unwrap_or(-1),
            out: clean(&output.stdout),
            err: clean(&output.stderr),
        }
    }

    /// Lines of the log without time and process.
    pub fn log(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("log")).unwrap_or_default();
        let root = self.folder.path().to_str().unwrap();
        let text = text.replace(root, "ROOT").replace(&self.port.to_string(), "PORT");
        text.lines()
            .filter_map(|line| line.splitn(4, ' ').nth(3))
            .filter(|line| !varies(line))
            .map(str::to_owned)
            .collect()
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
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    pub code: i32,
    pub out: Vec<String>,
    pub err: Vec<String>,
}

/// Figures of a run, places in a source, and the moment at which a connection breaks.
fn varies(line: &str) -> bool {
    line.starts_with("sent ")
        || line.starts_with("rsync error: ")
        || line.starts_with("rsync warning: ")
        || line.contains("bytes/sec")
        || line.contains("Connection reset by peer")
        || line.contains("Broken pipe")
        || line.starts_with("rsyncd version")
        || line.starts_with("total size is")
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
    /// Starts both. `plant` makes what lies in a daemon's folder.
    pub fn start(conf: &str, plant: impl Fn(&Path)) -> Self {
        Self {
            ours: Daemon::start("ours", &program(), conf, &[], &plant),
            stock: Daemon::start("the real one", Path::new("rsync"), conf, &[], &plant),
        }
    }

    /// Runs a client with each: output, exit code and all that is in the folders must be equal.
    #[track_caller]
    pub fn same(&self, words: &[&str]) -> Outcome {
        let (ours, stock) = self.clients(words);
        assert_eq!(ours, stock, "rsync {}\n  (left: ours, right: the real one)", words.join(" "));
        self.same_trees(words);
        ours
    }

    /// As [`Pair::same`] for exit code and folders alone.
    #[track_caller]
    pub fn same_code(&self, words: &[&str]) -> Outcome {
        let (ours, stock) = self.clients(words);
        assert_eq!(ours.code, stock.code, "rsync {}: {ours:?} {stock:?}", words.join(" "));
        self.same_trees(words);
        ours
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
        let options = CompareOptions {
            times: false,
            through_munged_links: false,
            excluded: ["log", "lock", "conf", "pid", "secrets", "own", "hooks"]
                .map(|name| name.into())
                .to_vec(),
            ..CompareOptions::default()
        };
        let (ours, stock) = (self.ours.folder.path(), self.stock.folder.path());
        let found = differences(ours, stock, &options).unwrap();
        assert!(found.is_empty(), "rsync {}: {found:#?}", words.join(" "));
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
    // What is changed later has another time for certain, in whole seconds, too.
    for dir in ["m/sub/deep", "m/sub", "m", "w/sub/deep", "w/sub", "w", "src/d", "src"] {
        set_mtime(&root.join(dir), 1_600_000_000, 0);
    }
    write_private(&root.join("secrets"), "alice:secret\nbob:builder\n@root:team\nroot:toor\n");
    write_private(&root.join("pw"), "secret\n");
    write_private(&root.join("pw-bob"), "builder\n");
    write_private(&root.join("pw-bad"), "wrong\n");
}

/// A short wait for a condition at another process.
pub fn soon<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    wait::until(what, Duration::from_secs(60), probe)
}
