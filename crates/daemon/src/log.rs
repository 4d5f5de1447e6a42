//! The log: a file, or the system's.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};

use driftless_fs::operator;
use driftless_rsync::output::escape::{self, Charset};
use driftless_rsync::output::listing::time;
use driftless_tree::Timestamp;
use jiff::tz::TimeZone;

/// The longest message.
const MAX_LEN: usize = 2047;

/// Where the system's log listens.
const SYSTEM: &str = "/dev/log";

/// The weight of a line in the system's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Weight {
    Info,
    Warning,
    Error,
}

impl Weight {
    fn number(self) -> i64 {
        match self {
            Self::Error => 3,
            Self::Warning => 4,
            Self::Info => 6,
        }
    }
}

/// Where lines go.
enum Target {
    File { path: PathBuf, file: Option<File> },
    System { socket: Option<UnixDatagram>, tag: Vec<u8>, facility: i64 },
}

impl Target {
    /// What was chosen; the system's log instead of a file that cannot be opened, and why.
    fn open(choice: &Choice) -> (Self, Option<String>) {
        let system = || Self::System {
            socket: connect(),
            tag: choice.tag.clone(),
            facility: choice.facility,
        };
        let Some(path) = &choice.file else { return (system(), None) };
        let path = Path::new(OsStr::from_bytes(path));
        match open_file(path) {
            Ok(file) => (Self::File { path: path.to_owned(), file: Some(file) }, None),
            Err(error) => {
                let why = driftless_rsync::client::failure::system_text(&error);
                let shown = path.display();
                let line = format!("rsync: [Receiver] failed to open log-file {shown}: {why}");
                (system(), Some(line))
            }
        }
    }
}

/// An open log.
pub(crate) struct Log {
    target: Target,
    choice: Choice,
    zone: TimeZone,
    /// Lines go there too: to the client of a remote shell.
    pub(crate) to_stderr: bool,
}

/// Which log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Choice {
    /// `log file`, when there is one.
    pub(crate) file: Option<Vec<u8>>,
    pub(crate) tag: Vec<u8>,
    pub(crate) facility: i64,
}

impl Log {
    /// Opens the log that was chosen; a file that cannot be opened is told to the system's log.
    pub(crate) fn open(choice: Choice, zone: TimeZone) -> Self {
        let (target, failed) = Target::open(&choice);
        let mut log = Self { target, choice, zone, to_stderr: false };
        if let Some(line) = failed {
            log.line(Weight::Error, line);
            log.line(Weight::Info, "Ignoring \"log file\" setting.");
        }
        log
    }

    /// Goes on as another log, unless it is the same.
    pub(crate) fn switch(&mut self, choice: Choice) {
        if choice != self.choice {
            let to_stderr = self.to_stderr;
            *self = Self::open(choice, self.zone.clone());
            self.to_stderr = to_stderr;
        }
    }

    /// Opens what was released, so that it is written from wherever this process goes.
    pub(crate) fn hold(&mut self) {
        if let Target::File { path, file } = &mut self.target
            && file.is_none()
        {
            *file = open_file(path).ok();
        }
    }

    /// Lets go of the file until the next line, so that it can be moved away.
    pub(crate) fn release(&mut self) {
        if let Target::File { file, .. } = &mut self.target {
            *file = None;
        }
    }

    /// Writes lines.
    pub(crate) fn line(&mut self, weight: Weight, text: impl AsRef<[u8]>) {
        for line in text.as_ref().split(|b| *b == b'\n').filter(|line| !line.is_empty()) {
            self.one(weight, &line[..line.len().min(MAX_LEN)]);
        }
    }

    fn one(&mut self, weight: Weight, text: &[u8]) {
        let mut shown = Vec::with_capacity(text.len() + 40);
        let now = jiff::Timestamp::now();
        match &mut self.target {
            Target::File { path, file } => {
                let secs = now.as_second();
                let stamp = time(Timestamp { secs, nanos: 0 }, &self.zone, ' ');
                shown.extend_from_slice(format!("{stamp} [{}] ", std::process::id()).as_bytes());
                escape::put(&mut shown, text, Charset::Log);
                shown.push(b'\n');
                if file.is_none() {
                    *file = open_file(path).ok();
                }
                // A log that cannot be written does not stop a daemon.
                let _ = file.as_ref().map(|mut file| file.write_all(&shown));
            }
            Target::System { socket, tag, facility } => {
                let stamp = now.to_zoned(self.zone.clone()).strftime("%b %e %H:%M:%S").to_string();
                let head = format!("<{}>{stamp} ", *facility * 8 + weight.number());
                shown.extend_from_slice(head.as_bytes());
                shown.extend_from_slice(tag);
                shown.extend_from_slice(format!("[{}]: ", std::process::id()).as_bytes());
                escape::put(&mut shown, text, Charset::Log);
                let sent = socket.as_ref().map(|socket| socket.send(&shown));
                if !matches!(sent, Some(Ok(_))) {
                    *socket = connect();
                    let _ = socket.as_ref().map(|socket| socket.send(&shown));
                }
            }
        }
        if self.to_stderr {
            let mut line = text.to_vec();
            line.push(b'\n');
            let _ = io::stderr().write_all(&line);
        }
    }
}

fn connect() -> Option<UnixDatagram> {
    let socket = UnixDatagram::unbound().ok()?;
    socket.connect(SYSTEM).ok()?;
    // A log that nobody reads does not stop a daemon either.
    socket.set_nonblocking(true).ok()?;
    Some(socket)
}

/// Others may read it, and only the owner write.
fn open_file(path: &Path) -> io::Result<File> {
    operator::open_to_append(path, 0o644)
}
