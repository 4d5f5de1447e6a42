//! A peer behind a remote shell: a child process whose standard input and output are the
//! connection. Protocol reference, "Remote-shell command line".

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::connect::stream::Stream;
use crate::error::PushError;

/// Which addresses a host is reached by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Family {
    /// Whatever the resolver offers.
    #[default]
    Any,
    /// IPv4 only (`-4`).
    V4,
    /// IPv6 only (`-6`).
    V6,
}

/// A host behind a remote shell.
#[derive(Debug, Clone, Default)]
pub struct RemoteShell {
    /// The shell and its own arguments, as [`split_command`] gives them; never empty.
    pub command: Vec<Vec<u8>>,
    /// Who logs in, when named.
    pub user: Option<Vec<u8>>,
    /// The host.
    pub host: Vec<u8>,
    /// Handed to the shell where its name is `ssh`.
    pub family: Family,
    /// The program over there, as typed (`--rsync-path`).
    pub program: Vec<u8>,
    /// The program's arguments from `--server` on, quoted for the remote shell.
    pub args: Vec<Vec<u8>>,
    /// The port of the daemon that the shell is to reach, told in `RSYNC_PORT`; only where the far
    /// end is a daemon.
    pub daemon_port: Option<u16>,
    /// Whether our ends of its pipes block; `None`: where its name is `rsh` or `remsh`.
    pub blocking_io: Option<bool>,
}

/// Why a remote-shell command cannot be split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadCommand {
    /// A quote is not closed.
    #[error("Missing trailing-{0} in remote-shell command.")]
    Unterminated(char),
    /// There is no word in it.
    #[error("the remote-shell command is empty")]
    Empty,
}

/// Splits `-e COMMAND` into words: at blanks, with `'` and `"` quoting, where a doubled quote
/// within its own kind stands for itself. There is no backslash.
///
/// # Errors
/// An open quote, or no word.
pub fn split_command(text: &[u8]) -> Result<Vec<Vec<u8>>, BadCommand> {
    let mut words = Vec::new();
    let mut word: Option<Vec<u8>> = None;
    let mut quote = None;
    let mut rest = text.iter().copied().peekable();
    while let Some(byte) = rest.next() {
        match quote {
            Some(open) if byte == open => {
                if rest.peek() == Some(&open) {
                    rest.next();
                    word.get_or_insert_default().push(byte);
                } else {
                    quote = None;
                }
            }
            Some(_) => word.get_or_insert_default().push(byte),
            None if byte == b' ' => words.extend(word.take()),
            None if byte == b'\'' || byte == b'"' => {
                word.get_or_insert_default();
                quote = Some(byte);
            }
            None => word.get_or_insert_default().push(byte),
        }
    }
    if let Some(open) = quote {
        return Err(BadCommand::Unterminated(char::from(open)));
    }
    words.extend(word);
    if words.is_empty() { Err(BadCommand::Empty) } else { Ok(words) }
}

impl RemoteShell {
    /// The whole argument vector of the child, the program first.
    pub fn argv(&self) -> Vec<Vec<u8>> {
        let mut argv = self.command.clone();
        if let Some(user) = &self.user {
            argv.push(b"-l".to_vec());
            argv.push(user.clone());
        }
        match self.family {
            Family::V4 if self.is_ssh() => argv.push(b"-4".to_vec()),
            Family::V6 if self.is_ssh() => argv.push(b"-6".to_vec()),
            _ => {}
        }
        argv.push(self.host.clone());
        argv.push(self.program.clone());
        argv.extend(self.args.iter().cloned());
        argv
    }

    fn is_ssh(&self) -> bool {
        self.name() == b"ssh"
    }

    fn blocks(&self) -> bool {
        self.blocking_io.unwrap_or_else(|| matches!(self.name(), b"rsh" | b"remsh"))
    }

    fn name(&self) -> &[u8] {
        let program = self.command.first().map_or(&b""[..], Vec::as_slice);
        program.rsplit(|&b| b == b'/').next().unwrap_or_default()
    }

    /// Starts the shell.
    ///
    /// # Errors
    /// When it cannot be started; `NotFound` when there is no such program.
    pub fn start(&self) -> io::Result<(Stream, ShellChild)> {
        let mut argv = self.argv().into_iter().map(OsString::from_vec);
        let Some(program) = argv.next() else { return Err(io::ErrorKind::InvalidInput.into()) };
        let mut command = Command::new(program);
        command.args(argv).stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(port) = self.daemon_port {
            command.env("RSYNC_PORT", port.to_string());
        }
        if std::env::var_os("SSH_ASKPASS").is_none() {
            // Else ssh would open a window instead of asking on the terminal.
            command.env_remove("DISPLAY");
        }
        match self.blocks() {
            false => start(command),
            true => {
                let (reader, writer, child) = start_piped(command)?;
                Ok((Stream::blocking_pair(reader, writer), child))
            }
        }
    }
}

/// Starts a child that is the other end of a connection.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn start(command: Command) -> io::Result<(Stream, ShellChild)> {
    let (reader, writer, child) = start_piped(command)?;
    Ok((Stream::pair(reader, writer)?, child))
}

/// As [`start`], with both ends on one socket: a daemon that is started so knows by it that it is to
/// serve what called it.
///
/// # Errors
/// When it cannot be started.
pub(crate) fn start_on_socket(mut command: Command) -> io::Result<(Stream, ShellChild)> {
    let (ours, theirs) = UnixStream::pair()?;
    let (input, output) = (OwnedFd::from(theirs.try_clone()?), OwnedFd::from(theirs));
    let child = command.stdin(input).stdout(output).spawn()?;
    Ok((Stream::socket(ours)?, ShellChild(Some(child))))
}

fn start_piped(mut command: Command) -> io::Result<(ChildStdout, ChildStdin, ShellChild)> {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let reader = child.stdout.take().expect("its output is piped");
    let writer = child.stdin.take().expect("its input is piped");
    Ok((reader, writer, ShellChild(Some(child))))
}

/// The running remote shell. Dropped, it is left to end by itself: its connection is closed.
#[derive(Debug)]
pub struct ShellChild(Option<Child>);

impl ShellChild {
    /// As [`ShellChild::finish`], for no longer than `limit`; `None` when it goes on running.
    fn finish_within(mut self, limit: Duration) -> Option<u8> {
        const STEP: Duration = Duration::from_millis(10);
        let mut child = self.0.take()?;
        let end = Instant::now() + limit;
        loop {
            match child.try_wait() {
                Ok(Some(status)) => return Some(exit_code(status)),
                Ok(None) if Instant::now() < end => std::thread::sleep(STEP),
                Ok(None) | Err(_) => return None,
            }
        }
    }

    /// Waits for the end of the shell; close the connection before. Returns rsync's exit code for
    /// it, 0 when all is well.
    pub fn finish(mut self) -> u8 {
        match self.0.take().map(|mut child| child.wait()) {
            Some(Ok(status)) => exit_code(status),
            Some(Err(_)) => 21,
            None => 0,
        }
    }
}

/// What a closed connection means when the shell behind it has failed. After any other error the
/// shell is left to itself: it may be what does not answer.
pub(crate) fn blamed(error: PushError, child: Option<ShellChild>) -> PushError {
    if !matches!(error, PushError::Closed { .. }) {
        return error;
    }
    match child.and_then(|child| child.finish_within(PATIENCE)) {
        Some(code) if code != 0 => PushError::ShellEnded { code },
        _ => error,
    }
}

/// Longest wait for a shell that has closed its connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// The status of a remote shell as rsync's exit code: the shell hands through that of the remote
/// program.
fn exit_code(status: ExitStatus) -> u8 {
    const KILLED: u8 = 15;
    match (status.code(), status.signal()) {
        (Some(code), _) => u8::try_from(code).unwrap_or(12),
        (None, _) => KILLED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: &[&str]) {
        let words = split_command(text.as_bytes()).unwrap();
        let expected: Vec<Vec<u8>> = expected.iter().map(|word| word.as_bytes().to_vec()).collect();
        assert_eq!(words, expected);
    }

    #[test]
    fn a_shell_command_is_split_at_blanks_and_quotes() {
        check("ssh  -p 22", &["ssh", "-p", "22"]);
        check(r#"ssh -o 'A B' "c""d" 'e''f'"#, &["ssh", "-o", "A B", "c\"d", "e'f"]);
        check(r#"a"b c"d \x ''"#, &["ab cd", "\\x", ""]);
        assert_eq!(split_command(b"ssh 'x"), Err(BadCommand::Unterminated('\'')));
        assert_eq!(split_command(b"  "), Err(BadCommand::Empty));
    }

    #[test]
    fn only_ssh_is_told_the_address_family() {
        let shell = |program: &str| RemoteShell {
            command: vec![program.as_bytes().to_vec()],
            user: Some(b"user".to_vec()),
            host: b"host".to_vec(),
            family: Family::V4,
            program: b"rsync".to_vec(),
            args: vec![b"--server".to_vec()],
            daemon_port: None,
            blocking_io: None,
        };
        let text = |shell: RemoteShell| String::from_utf8(shell.argv().join(&b' ')).unwrap();
        assert_eq!(text(shell("/usr/bin/ssh")), "/usr/bin/ssh -l user -4 host rsync --server");
        assert_eq!(text(shell("rsh")), "rsh -l user host rsync --server");
    }
}
