//! Programs of the operator around a session: `early exec`, `pre-xfer exec`, `post-xfer exec`,
//! `name converter`.
//! Daemon reference, "Hooks and name converter".
//!
//! They run as the daemon, from where it was started, also when the session works as somebody else
//! in another place by then: a copy of this process waits for the word ([`Prepared`]).

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use driftless_fs::{Fork, fork};

use crate::conf::expand::{self, Piece};
use crate::converter::Converter;

/// Set in the daemon's environment, no program is run.
const OFF: &str = "RSYNC_NO_XFER_EXEC";

/// The most of a program's words that a client gets to see.
const MAX_OUTPUT_LEN: u64 = 5 * 1024;

/// Characters that mean something to a shell.
const SPECIAL: &[u8] = b"'\"`$\\;&|<>()*?[]#!~{} ";

/// Variables of a session, in the order in which they became known.
#[derive(Debug, Clone, Default)]
pub(crate) struct Variables(Vec<(&'static str, Vec<u8>)>);

impl Variables {
    pub(crate) fn set(&mut self, name: &'static str, value: impl Into<Vec<u8>>) {
        self.0.retain(|(known, _)| *known != name);
        self.0.push((name, value.into()));
    }

    /// A variable of the session, or of the daemon's environment.
    pub(crate) fn get(&self, name: &[u8]) -> Option<Vec<u8>> {
        let own = self.0.iter().find(|(known, _)| known.as_bytes() == name);
        own.map(|(_, value)| value.clone()).or_else(|| expand::environment(name))
    }
}

/// The name of a variable that a shell would not take as a word.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Unsafe(pub(crate) String);

/// A command with its variables put in, the session's own between quotes; `None` where no program is
/// to run.
pub(crate) fn command(
    raw: Option<&[u8]>,
    variables: &Variables,
) -> Result<Option<Vec<u8>>, Unsafe> {
    let Some(raw) = raw.filter(|raw| !raw.is_empty()) else { return Ok(None) };
    if std::env::var_os(OFF).is_some() {
        return Ok(None);
    }
    let mut out = Vec::new();
    for piece in expand::pieces(raw) {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text),
            Piece::Variable(name) => match variables.get(name) {
                None => out.extend([b"%", name, b"%"].concat()),
                Some(value) => {
                    let special = |b: &u8| SPECIAL.contains(b) || *b < 0x20 || *b == 0x7f;
                    if !name.starts_with(b"RSYNC_") {
                        out.extend_from_slice(&value);
                    } else if value.iter().any(special) {
                        return Err(Unsafe(String::from_utf8_lossy(name).into_owned()));
                    } else {
                        out.extend([b"'", &value[..], b"'"].concat());
                    }
                }
            },
        }
    }
    Ok(Some(out))
}

fn shell(command: &[u8]) -> Command {
    let shell = std::env::var_os("RSYNC_SHELL").unwrap_or_else(|| "/bin/sh".into());
    let mut process = Command::new(shell);
    process.arg("-c").arg(OsStr::from_bytes(command));
    process
}

fn with(process: &mut Command, variables: &Variables, more: &[(OsString, OsString)]) {
    for (name, value) in &variables.0 {
        process.env(name, OsStr::from_bytes(value));
    }
    process.envs(more.iter().map(|(name, value)| (name, value)));
}

/// Runs a program with `input` and waits for it; returns its raw status.
pub(crate) fn run(command: &[u8], variables: &Variables, input: &[u8]) -> io::Result<i32> {
    let mut process = shell(command);
    with(&mut process, variables, &[]);
    let mut child = process.stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read it has no use for it.
        let _ = stdin.write_all(input);
    }
    Ok(child.wait()?.into_raw())
}

/// What a prepared program is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Task {
    /// Allow the transfer: its status and words come back.
    Allow,
    /// Convert names: it is talked to while the session runs.
    Convert,
}

/// A copy of this process that runs a program when it is told the request.
pub(crate) struct Prepared(UnixStream);

impl Prepared {
    pub(crate) fn new(command: &[u8], variables: &Variables, task: Task) -> io::Result<Self> {
        let (ours, theirs) = UnixStream::pair()?;
        match fork()? {
            Fork::Parent(_) => Ok(Self(ours)),
            Fork::Child => {
                drop(ours);
                let done = match task {
                    Task::Allow => serve(theirs, command, variables),
                    Task::Convert => convert(theirs, command, variables),
                };
                std::process::exit(i32::from(done.is_err()))
            }
        }
    }

    /// Says what the session is about.
    fn tell(&mut self, request: &[u8], arguments: &[Vec<u8>]) -> io::Result<()> {
        let words = std::iter::once(request).chain(arguments.iter().map(Vec::as_slice));
        let mut block = Vec::new();
        for word in words {
            block.extend_from_slice(&(word.len() as u32).to_le_bytes());
            block.extend_from_slice(word);
        }
        self.0.write_all(&(block.len() as u32).to_le_bytes())?;
        self.0.write_all(&block)
    }

    /// Runs it with the request and the arguments; returns its raw status and what it said.
    pub(crate) fn run(
        mut self,
        request: &[u8],
        arguments: &[Vec<u8>],
    ) -> io::Result<(i32, Vec<u8>)> {
        self.tell(request, arguments)?;
        let mut answer = Vec::new();
        self.0.read_to_end(&mut answer)?;
        let status = answer.first_chunk::<4>().ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok((i32::from_le_bytes(*status), answer[4..].to_vec()))
    }

    /// Starts it with the request and the arguments, as what converts names from now on.
    pub(crate) fn start(mut self, request: &[u8], arguments: &[Vec<u8>]) -> io::Result<Converter> {
        self.tell(request, arguments)?;
        Converter::new(self.0)
    }
}

/// The program with what the session told about itself; `None` when it ended before it had a
/// request.
fn told(
    stream: &mut UnixStream,
    command: &[u8],
    variables: &Variables,
) -> io::Result<Option<Command>> {
    let mut len = [0; 4];
    if stream.read_exact(&mut len).is_err() {
        return Ok(None);
    }
    let mut block = Vec::new();
    stream.take(u64::from(u32::from_le_bytes(len))).read_to_end(&mut block)?;
    let mut words = Vec::new();
    let mut rest = block.as_slice();
    while let Some((len, after)) = rest.split_first_chunk::<4>() {
        let len = (u32::from_le_bytes(*len) as usize).min(after.len());
        words.push(OsString::from_vec(after[..len].to_vec()));
        rest = &after[len..];
    }
    let named = words.into_iter().enumerate().map(|(at, word)| match at {
        0 => (OsString::from("RSYNC_REQUEST"), word),
        at => (OsString::from(format!("RSYNC_ARG{}", at - 1)), word),
    });
    let mut process = shell(command);
    with(&mut process, variables, &named.collect::<Vec<_>>());
    Ok(Some(process))
}

/// Runs the program; its status and what it said go back.
fn serve(mut stream: UnixStream, command: &[u8], variables: &Variables) -> io::Result<()> {
    let Some(mut process) = told(&mut stream, command, variables)? else { return Ok(()) };
    let mut child = process.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let mut said = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        let mut stdout = stdout;
        (&mut stdout).take(MAX_OUTPUT_LEN).read_to_end(&mut said)?;
        io::copy(&mut stdout, &mut io::sink())?;
    }
    let status = child.wait()?.into_raw();
    stream.write_all(&status.to_le_bytes())?;
    stream.write_all(&said)
}

/// Starts the program at the other end of the stream, and waits for nothing.
fn convert(mut stream: UnixStream, command: &[u8], variables: &Variables) -> io::Result<()> {
    let Some(mut process) = told(&mut stream, command, variables)? else { return Ok(()) };
    let output = OwnedFd::from(stream.try_clone()?);
    process.stdin(OwnedFd::from(stream)).stdout(output).spawn().map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_put_nothing_into_a_shell() {
        let mut variables = Variables::default();
        variables.set("RSYNC_USER_NAME", *b"ann-1.x");
        let expanded = |raw: &[u8], variables: &Variables| command(Some(raw), variables);
        assert_eq!(
            expanded(b"log %RSYNC_USER_NAME% %RSYNC_REQUEST%", &variables),
            Ok(Some(b"log 'ann-1.x' %RSYNC_REQUEST%".to_vec()))
        );
        for bad in ["a b", "$(x)", "a;b", "a\nb", "a'b", "~", "*"] {
            variables.set("RSYNC_USER_NAME", bad.as_bytes());
            let name = "RSYNC_USER_NAME".to_owned();
            assert_eq!(expanded(b"%RSYNC_USER_NAME%", &variables), Err(Unsafe(name)), "{bad}");
        }
        assert_eq!(command(Some(b""), &variables), Ok(None));
    }
}
