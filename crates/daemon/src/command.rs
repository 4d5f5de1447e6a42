//! The daemon's own command line. Daemon reference, "Command line".

use std::net::SocketAddr;
use std::path::PathBuf;

use driftless_tree::path::printable;

use crate::conf::Override;
use crate::conf::params::find;

/// Whether a command line is a daemon's.
pub fn is_daemon(words: &[Vec<u8>]) -> bool {
    words.iter().take_while(|word| *word != b"--").any(|word| word == b"--daemon")
}

/// Where the configuration is when nothing is said.
const CONFIG: &str = "/etc/rsyncd.conf";

/// What a daemon was started with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// `--config`
    pub config: PathBuf,
    /// `--dparam`, in their order.
    pub overrides: Vec<Override>,
    /// `--address`
    pub address: Option<Vec<u8>>,
    /// `--port`
    pub port: Option<u16>,
    /// `--bwlimit`, in bytes per second.
    pub bwlimit: Option<u64>,
    /// `--log-file`: it outweighs those of the configuration.
    pub log_file: Option<Vec<u8>>,
    /// `--log-file-format`: every transfer is logged so.
    pub log_format: Option<Vec<u8>>,
    /// `--sockopts`
    pub socket_options: Option<Vec<u8>>,
    /// `-4` or `-6`
    pub family: Option<Family>,
    /// The process goes to the background.
    pub detaches: bool,
    /// `--metrics-address`: where `/metrics` is told over HTTP.
    pub metrics: Option<SocketAddr>,
    /// `--control`: the socket on which the daemon tells how it is.
    pub control: Option<PathBuf>,
    /// `--server`: the client is on standard input and output.
    pub server: bool,
}

/// A version of IP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    /// `-4`
    V4,
    /// `-6`
    V6,
}

/// What a command line asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// The help.
    Help,
    /// A daemon.
    Serve(Box<Settings>),
}

/// A command line that is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadCommand(pub String);

/// The options, for the help and for reading them: names, value, what they do.
const OPTIONS: &[(&[&str], &str, &str)] = &[
    (&["--daemon"], "", "run as a daemon"),
    (&["--address"], "ADDRESS", "bind to this address"),
    (&["--bwlimit"], "RATE", "limit each client, in KiB per second"),
    (&["--config"], "FILE", "read another file than /etc/rsyncd.conf"),
    (&["--dparam", "-M"], "NAME=VALUE", "set a global parameter"),
    (&["--no-detach"], "", "stay in the foreground"),
    (&["--port"], "PORT", "listen on another port than 873"),
    (&["--log-file"], "FILE", "write the log to this file"),
    (&["--log-file-format"], "FORMAT", "log each transfer in this format"),
    (&["--sockopts"], "OPTIONS", "set options of the sockets"),
    (&["--control"], "SOCKET", "tell on this socket how the daemon is (not in rsync)"),
    (&["--metrics-address"], "IP:PORT", "tell it as HTTP /metrics there (not in rsync)"),
    (&["--verbose", "-v"], "", ""),
    (&["--ipv4", "-4"], "", "use IPv4 only"),
    (&["--ipv6", "-6"], "", "use IPv6 only"),
    (&["--help", "-h"], "", "show this help"),
    (&["--server"], "", ""),
    (&["--detach"], "", ""),
    (&["--no-verbose", "--no-v"], "", ""),
];

/// Returns the help.
pub fn help() -> String {
    let mut text = "Usage: rsync --daemon [OPTION]...\n\nOptions\n".to_owned();
    for (names, value, what) in OPTIONS.iter().filter(|(_, _, what)| !what.is_empty()) {
        let equals = if value.is_empty() { "" } else { "=" };
        let names = format!("{}{equals}{value}", names.join(", "));
        text.push_str(&format!("{names:30}{what}\n"));
    }
    text
}

/// Reads the words behind the program's name.
///
/// # Errors
/// The first that is wrong, in rsync's words.
pub fn parse(words: &[Vec<u8>]) -> Result<Command, BadCommand> {
    let mut settings = Settings {
        config: CONFIG.into(),
        overrides: Vec::new(),
        address: None,
        port: None,
        bwlimit: None,
        log_file: None,
        log_format: None,
        socket_options: None,
        family: None,
        detaches: true,
        control: None,
        metrics: None,
        server: false,
    };
    let mut config_given = false;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let shown = printable(word);
        let unknown = || BadCommand(format!("{shown}: unknown option (in daemon mode)"));
        if !word.starts_with(b"-") || word == b"-" {
            // The dot of a remote shell's command line, and whatever follows it.
            continue;
        }
        let split = match word.starts_with(b"--") {
            true => word.iter().position(|b| *b == b'='),
            false => (word.len() > 2).then_some(2),
        };
        let (name, attached) = match split {
            Some(at) => {
                let value = word[at..].strip_prefix(b"=").unwrap_or(&word[at..]);
                (&word[..at], Some(value.to_vec()))
            }
            None => (word.as_slice(), None),
        };
        let row = OPTIONS.iter().find(|(names, _, _)| names.iter().any(|n| n.as_bytes() == name));
        let (names, value_name, _) = row.ok_or_else(unknown)?;
        if value_name.is_empty() {
            if attached.is_some() {
                return Err(BadCommand(format!("{shown}: option does not take an argument")));
            }
            match names[0] {
                "--help" => return Ok(Command::Help),
                "--no-detach" => settings.detaches = false,
                "--detach" => settings.detaches = true,
                "--server" => settings.server = true,
                "--ipv4" => settings.family = Some(Family::V4),
                "--ipv6" => settings.family = Some(Family::V6),
                _ => {}
            }
            continue;
        }
        let value = match attached.or_else(|| words.next().cloned()) {
            Some(value) => value,
            None => return Err(BadCommand(format!("{shown}: missing argument"))),
        };
        let number = || std::str::from_utf8(&value).ok().and_then(|text| text.parse::<u64>().ok());
        let bad = || BadCommand(format!("{}: invalid numeric value", printable(&value)));
        match names[0] {
            "--address" => settings.address = Some(value),
            "--bwlimit" => {
                settings.bwlimit = Some(number().ok_or_else(bad)? * 1024).filter(|n| *n > 0)
            }
            "--config" => {
                use std::os::unix::ffi::OsStringExt;
                settings.config = std::ffi::OsString::from_vec(value).into();
                config_given = true;
            }
            "--control" => {
                use std::os::unix::ffi::OsStringExt;
                settings.control = Some(std::ffi::OsString::from_vec(value).into());
            }
            "--metrics-address" => {
                let text = printable(&value);
                let wrong = || BadCommand(format!("{text}: no address and port for metrics"));
                settings.metrics = Some(text.parse().map_err(|_| wrong())?);
            }
            "--dparam" => settings.overrides.push(parameter(&value)?),
            "--port" => {
                let port = number().and_then(|n| u16::try_from(n).ok()).ok_or_else(bad)?;
                settings.port = Some(port).filter(|port| *port != 0);
            }
            "--log-file" => settings.log_file = Some(value),
            "--log-file-format" => settings.log_format = Some(value),
            "--sockopts" => settings.socket_options = Some(value),
            _ => return Err(unknown()),
        }
    }
    if settings.server && !config_given && !rustix::process::geteuid().is_root() {
        settings.config = "rsyncd.conf".into();
    }
    Ok(Command::Serve(Box::new(settings)))
}

fn parameter(text: &[u8]) -> Result<Override, BadCommand> {
    let shown = printable(text);
    let Some(at) = text.iter().position(|b| *b == b'=') else {
        return Err(BadCommand(format!("--dparam value is missing an '=': {shown}")));
    };
    let (name, value) = (&text[..at], text[at + 1..].trim_ascii().to_vec());
    match find(name) {
        Some(param) => Ok(Override { key: param.key, value }),
        None => Err(BadCommand(format!("Unknown parameter \"{}\"", printable(name)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::Key;

    fn parsed(line: &str) -> Result<Command, BadCommand> {
        let words: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
        parse(&words)
    }

    #[test]
    fn options_of_the_daemon_are_read() {
        let line = "--daemon --no-detach --port=1234 --config /x -4 --bwlimit=2 -M timeout=3 \
                    --dparam=logfile=/l .";
        let Ok(Command::Serve(settings)) = parsed(line) else { panic!("it is refused") };
        assert_eq!((settings.port, settings.detaches), (Some(1234), false));
        assert_eq!((settings.family, settings.bwlimit), (Some(Family::V4), Some(2048)));
        let keys: Vec<Key> = settings.overrides.iter().map(|one| one.key).collect();
        assert_eq!(keys, [Key::Timeout, Key::LogFile]);
    }

    #[test]
    fn what_is_wrong_is_told_in_rsyncs_words() {
        for (line, text) in [
            ("--daemon --bogus", "--bogus: unknown option (in daemon mode)"),
            ("--daemon --dparam=x", "--dparam value is missing an '=': x"),
            ("--daemon --dparam=x=1", "Unknown parameter \"x\""),
            ("--daemon --port", "--port: missing argument"),
        ] {
            assert_eq!(parsed(line), Err(BadCommand(text.to_owned())), "{line}");
        }
        assert_eq!(parsed("--daemon --help"), Ok(Command::Help));
    }
}
