//! Where the programs meet: a folder, a real sshd, a stock daemon, and how each command runs there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use driftless_testkit::output::normal;
use driftless_testkit::peer::{Module, RsyncDaemon};
use driftless_testkit::sshd::{HOST, Sshd};
use tempfile::TempDir;

use crate::cells::has_letter;

/// How the two ends reach each other, and which one of them is the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    Local,
    PushShell,
    PullShell,
    PushDaemon,
    PullDaemon,
}

impl Way {
    pub const ALL: [Self; 5] =
        [Self::Local, Self::PushShell, Self::PullShell, Self::PushDaemon, Self::PullDaemon];

    pub fn is_daemon(self) -> bool {
        matches!(self, Self::PushDaemon | Self::PullDaemon)
    }

    /// Who may play which part: a daemon is always the real one.
    pub fn casts(self) -> &'static [Cast] {
        match self {
            Self::Local | Self::PushDaemon | Self::PullDaemon => &[Cast::Client],
            Self::PushShell | Self::PullShell => &[Cast::Client, Cast::Server, Cast::Both],
        }
    }
}

/// Which end is driftless.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cast {
    Nobody,
    Client,
    Server,
    Both,
}

/// What a run says.
#[derive(Debug, PartialEq, Eq, Clone)]
pub struct Trace {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Our program, which cargo builds beside the tests.
pub fn ours() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let program = test.parent().and_then(Path::parent).unwrap().join("examples/rsync");
    assert!(program.exists(), "cargo test builds {}", program.display());
    program
}

pub struct Ground {
    folder: TempDir,
    sshd: Sshd,
    daemon: RsyncDaemon,
}

impl Ground {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let module = Module::book("m").anonymous().chroot().at(folder.path());
        Self { sshd: Sshd::start(), daemon: RsyncDaemon::start(&[module]), folder }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Runs one command in the folder `name`, from `s/` to `d`, or to and from what a
    /// word `ENDS:from,to` says.
    pub fn run(&self, way: Way, cast: Cast, name: &str, words: &[String]) -> Trace {
        let here = self.path(name);
        let mut command = Command::new("timeout");
        command.arg("40");
        match cast {
            Cast::Client | Cast::Both => command.arg(ours()),
            Cast::Nobody | Cast::Server => command.arg("rsync"),
        };
        let server = match cast {
            Cast::Server | Cast::Both => ours(),
            Cast::Nobody | Cast::Client => PathBuf::from("rsync"),
        };
        if matches!(way, Way::PushShell | Way::PullShell) {
            // One that waits for ever would keep its client's pipes open.
            command.arg(format!("--rsync-path=timeout 60 {}", server.display()));
        }
        let there = match way {
            Way::Local => String::new(),
            Way::PushShell | Way::PullShell => format!("{HOST}:{}/", here.display()),
            Way::PushDaemon | Way::PullDaemon => {
                format!("rsync://127.0.0.1:{}/m/{name}/", self.daemon.port())
            }
        };
        // With -R the names begin behind the dot, lest the folder's own be among them.
        let there = match words.iter().any(|word| has_letter(word, 'R')) && !there.is_empty() {
            true if matches!(way, Way::PullShell | Way::PullDaemon) => format!("{there}./"),
            _ => there,
        };
        let given = words.iter().find_map(|word| word.strip_prefix("ENDS:"));
        let (from, to) = given.and_then(|ends| ends.split_once(',')).unwrap_or(("s/", "d"));
        let ends = match way {
            Way::Local => [from.to_owned(), to.to_owned()],
            Way::PushShell | Way::PushDaemon => [from.to_owned(), format!("{there}{to}")],
            Way::PullShell | Way::PullDaemon => [format!("{there}{from}"), to.to_owned()],
        };
        let output = command
            .args(words.iter().filter(|word| !word.starts_with("ENDS:")))
            .args(ends)
            .current_dir(&here)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap())
            .env("RSYNC_RSH", self.sshd.client())
            .env("LC_ALL", "C")
            .env("TZ", "UTC")
            .stdin(Stdio::null())
            .output()
            .expect("this test needs the program timeout");
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).replace(here.to_str().unwrap(), "HERE");
            // Within a module everything has another root.
            let text = text.replace(&format!("/{name}/"), "HERE/");
            let text = text.replace(ours().to_str().unwrap(), "rsync");
            normal(&text.replace(self.folder.path().to_str().unwrap(), "THERE"))
        };
        Trace { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }
}
