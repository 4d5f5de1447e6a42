//! What a running daemon says about itself, over a Unix socket.
//!
//! One request is a word (`status` or `metrics`) and its line end; the answer is text, and the
//! connection ends.

use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::Duration;

use driftless_tree::path::printable;

/// Longest wait for a daemon, or for whoever asks one.
const PATIENCE: Duration = Duration::from_secs(2);

/// A session that runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Running {
    pub(crate) pid: i32,
    /// Empty while nobody was let in.
    pub(crate) module: String,
    pub(crate) user: String,
    pub(crate) from: String,
    pub(crate) age: Duration,
}

/// Numbers since the daemon started.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counters {
    pub(crate) connections: u64,
    pub(crate) listings: u64,
    pub(crate) sessions: u64,
    pub(crate) auth_failures: u64,
    pub(crate) timeouts: u64,
}

/// All that is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) uptime: Duration,
    pub(crate) counters: Counters,
    pub(crate) waiting_count: usize,
    pub(crate) modules: Vec<Vec<u8>>,
    pub(crate) running: Vec<Running>,
}

impl Report {
    /// For people.
    pub(crate) fn text(&self) -> String {
        let Counters { connections, listings, sessions, auth_failures, timeouts } = self.counters;
        let modules: Vec<String> = self.modules.iter().map(|name| printable(name)).collect();
        let mut text = format!(
            "up {} s: {connections} connections, {listings} listings, {sessions} sessions, \
             {auth_failures} failed logins, {timeouts} handshakes timed out\n\
             modules: {}\n{} connections have not said what they want, {} sessions run\n",
            self.uptime.as_secs(),
            modules.join(", "),
            self.waiting_count,
            self.running.len()
        );
        for Running { pid, module, user, from, age } in &self.running {
            let who = if user.is_empty() { String::new() } else { format!("{user}@") };
            let module = if module.is_empty() { "(entering)" } else { module };
            text.push_str(&format!("{pid:>8}  {module:16} {who}{from}  {} s\n", age.as_secs()));
        }
        text
    }

    /// For Prometheus and its kin, as OpenMetrics.
    pub(crate) fn metrics(&self) -> String {
        let Counters { connections, listings, sessions, auth_failures, timeouts } = self.counters;
        let mut text = String::new();
        for (name, kind, help, value) in [
            ("connections", "counter", "Connections accepted.", connections),
            ("listings", "counter", "Lists of modules sent.", listings),
            ("sessions", "counter", "Processes started for a module.", sessions),
            ("auth_failures", "counter", "Failed logins.", auth_failures),
            ("handshake_timeouts", "counter", "Connections dropped for silence.", timeouts),
            ("waiting", "gauge", "Connections without a module.", self.waiting_count as u64),
            ("running", "gauge", "Sessions that run.", self.running.len() as u64),
        ] {
            let total = if kind == "counter" { "_total" } else { "" };
            text.push_str(&format!(
                "# TYPE driftless_daemon_{name} {kind}\n# HELP driftless_daemon_{name} {help}\n\
                 driftless_daemon_{name}{total} {value}\n"
            ));
        }
        text.push_str("# EOF\n");
        text
    }
}

/// Makes the socket; one that nobody listens on any more gives way.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    if UnixStream::connect(path).is_err() && path.exists() {
        std::fs::remove_file(path)?;
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Answers whoever asks; the owner of the socket alone can.
pub(crate) fn answer(mut stream: UnixStream, report: &Report) {
    let mut word = [0; 16];
    // Only we and the superuser reach this, and a word is one write.
    let limit = Some(PATIENCE);
    if stream.set_nonblocking(false).and_then(|()| stream.set_read_timeout(limit)).is_err() {
        return;
    }
    let Ok(len) = stream.read(&mut word) else { return };
    let text = match word[..len].trim_ascii() {
        b"metrics" => report.metrics(),
        _ => report.text(),
    };
    let _ = stream.set_write_timeout(limit).and_then(|()| stream.write_all(text.as_bytes()));
}

/// Asks a running daemon.
///
/// # Errors
/// Nobody listens there.
pub fn ask(path: &Path, metrics: bool) -> io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.write_all(if metrics { b"metrics\n" } else { b"status\n" })?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}
