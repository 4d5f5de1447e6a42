//! The two ends of a session, in each combination of programs.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::copies::measure::{Spent, measure};

/// Which program is at which end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cast {
    /// rsync at both.
    Stock,
    /// driftless at both.
    Ours,
    /// driftless calls a stock daemon.
    OurClient,
    /// rsync calls driftless.
    OurServer,
}

impl Cast {
    pub const ALL: [Self; 4] = [Self::Stock, Self::Ours, Self::OurClient, Self::OurServer];

    pub fn name(self) -> &'static str {
        match self {
            Self::Stock => "rsync",
            Self::Ours => "driftless",
            Self::OurClient => "driftless, rsync daemon",
            Self::OurServer => "rsync, driftless server",
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
        let shell = folder.join("shell");
        fs::write(&shell, "#!/bin/sh\nshift\nexec $*\n").expect("the folder is ours");
        fs::set_permissions(&shell, fs::Permissions::from_mode(0o755)).expect("it is ours");
        Self { driftless, folder: folder.to_owned() }
    }

    /// Runs a session and tells what it cost, and how many bytes went over the wire.
    ///
    /// # Panics
    /// When it fails.
    pub fn run(&self, session: &Session<'_>) -> (Spent, Option<u64>) {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback is there");
        let port = listener.local_addr().expect("it is bound").port();
        let by_daemon = session.way != Way::Local && !session.cast.our_server();
        let mut sent = None;
        let spent = measure(|| {
            for _ in 0..session.times {
                let client = self.client(session, port).spawn().expect("the client can be started");
                let daemon = by_daemon.then(|| self.daemon(&listener));
                let output = client.wait_with_output().expect("it ends");
                if let Some(mut daemon) = daemon {
                    daemon.wait().expect("it ends");
                }
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
        let remote = |path: &Path| match session.cast.our_server() {
            true => format!("here:{}", path.display()),
            false => {
                let name = path.file_name().expect("below the module").to_string_lossy();
                format!("rsync://127.0.0.1:{port}/m/{name}")
            }
        };
        let (mut from, mut to) =
            (session.source.display().to_string(), session.target.display().to_string());
        match session.way {
            Way::Local => {}
            Way::Push => to = remote(session.target),
            Way::Pull => from = remote(session.source),
        }
        if session.way != Way::Local && session.cast.our_server() {
            command.arg("-e").arg(self.folder.join("shell"));
            command.arg(format!("--rsync-path={} rsync", self.driftless.display()));
        }
        if session.source.is_dir() {
            from.push('/');
        }
        command.arg(from).arg(to).stdin(Stdio::null()).stdout(Stdio::piped());
        command
    }

    /// Serves one session as inetd would.
    fn daemon(&self, listener: &TcpListener) -> std::process::Child {
        let (socket, _) = listener.accept().expect("the client calls");
        let output = OwnedFd::from(socket.try_clone().expect("sockets can be cloned"));
        let mut command = Command::new("rsync");
        command.arg("--daemon").arg("--config").arg(self.folder.join("rsyncd.conf"));
        command.stdin(OwnedFd::from(socket)).stdout(output).stderr(Stdio::null());
        command.spawn().expect("rsync can be started")
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
