//! The two ends of a session, in each combination of programs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::copies::measure::{Spent, measure};
use crate::served::Served;

/// Which program is at which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cast {
    /// rsync at both.
    Stock,
    /// driftless at both.
    Ours,
    /// driftless calls a stock daemon.
    OurClient,
    /// rsync calls a driftless daemon.
    OurServer,
}

impl Cast {
    pub const ALL: [Self; 4] = [Self::Stock, Self::Ours, Self::OurClient, Self::OurServer];

    pub fn name(self) -> &'static str {
        match self {
            Self::Stock => "rsync",
            Self::Ours => "driftless",
            Self::OurClient => "driftless, rsync daemon",
            Self::OurServer => "rsync, driftless daemon",
        }
    }

    /// The name on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stock => "stock",
            Self::Ours => "ours",
            Self::OurClient => "our-client",
            Self::OurServer => "our-server",
        }
    }

    fn our_client(self) -> bool {
        matches!(self, Self::Ours | Self::OurClient)
    }

    fn our_server(self) -> bool {
        matches!(self, Self::Ours | Self::OurServer)
    }
}

/// Where the other end is, and which way content goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Way {
    /// No other end.
    Local,
    Push,
    Pull,
}

impl Way {
    pub fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Push => "push",
            Self::Pull => "pull",
        }
    }
}

/// One command line.
pub struct Session<'a> {
    pub cast: Cast,
    pub way: Way,
    pub options: &'a [&'a str],
    pub source: &'a Path,
    pub target: &'a Path,
    /// How many times one after the other.
    pub times: usize,
}

/// The programs, and a folder for their files.
pub struct Ends {
    driftless: PathBuf,
    folder: PathBuf,
}

impl Ends {
    /// `root` is what the daemon serves.
    pub fn new(driftless: &Path, folder: &Path, root: &Path) -> Self {
        let driftless = driftless.canonicalize().expect("it was looked for");
        let text = format!(
            "use chroot = no\nuid = 0\ngid = 0\nread only = no\nlog file = /dev/null\n\
             [m]\npath = {}\n",
            root.display()
        );
        fs::write(folder.join("rsyncd.conf"), text).expect("the folder is ours");
        Self { driftless, folder: folder.to_owned() }
    }

    /// Runs a session and tells what it cost, and how many bytes went over the wire.
    ///
    /// # Panics
    /// When it fails.
    pub fn run(&self, session: &Session<'_>) -> (Spent, Option<u64>) {
        let conf = self.folder.join("rsyncd.conf");
        let daemon = (session.way != Way::Local).then(|| match session.cast.our_server() {
            true => Served::ours(&self.driftless, &conf, &self.folder),
            false => Served::stock(&conf),
        });
        let cpu = || daemon.as_ref().map_or(Duration::ZERO, Served::cpu);
        let port = daemon.as_ref().map_or(0, |daemon| daemon.port);
        let mut sent = None;
        let before = cpu();
        let mut spent = measure(|| {
            for _ in 0..session.times {
                let client = self.client(session, port).spawn().expect("the client can be started");
                let output = client.wait_with_output().expect("it ends");
                let text = String::from_utf8_lossy(&output.stdout);
                assert!(
                    output.status.success(),
                    "{:?}: {}\n{text}",
                    session.options,
                    output.status
                );
                sent = wire_bytes(&text);
            }
        });
        if let Some(daemon) = &daemon {
            daemon.rest();
        }
        spent.cpu += cpu() - before;
        (spent, sent.filter(|_| session.way != Way::Local))
    }

    fn client(&self, session: &Session<'_>, port: u16) -> Command {
        let mut command = match session.cast.our_client() {
            true => {
                let mut command = Command::new(&self.driftless);
                command.arg("rsync");
                command
            }
            false => Command::new("rsync"),
        };
        command.args(session.options).arg("--stats");
        let remote = |path: &Path| {
            let name = path.file_name().expect("below the module").to_string_lossy();
            format!("rsync://127.0.0.1:{port}/m/{name}")
        };
        let (mut from, mut to) =
            (session.source.display().to_string(), session.target.display().to_string());
        match session.way {
            Way::Local => {}
            Way::Push => to = remote(session.target),
            Way::Pull => from = remote(session.source),
        }
        if session.source.is_dir() {
            from.push('/');
        }
        command.arg(from).arg(to).stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }
}

/// The sum of both directions, out of what `--stats` prints.
fn wire_bytes(text: &str) -> Option<u64> {
    let figure = |title: &str| -> Option<u64> {
        let line = text.lines().find_map(|line| line.strip_prefix(title))?;
        line.trim().replace(',', "").parse().ok()
    };
    Some(figure("Total bytes sent:")? + figure("Total bytes received:")?)
}
