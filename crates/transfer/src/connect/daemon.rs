//! Ways to a daemon: its socket, a proxy, a program in place of a socket, a remote shell; and the
//! listing of its modules.

use std::ffi::OsString;
use std::net::IpAddr;
use std::os::unix::ffi::OsStringExt;
use std::process::Command;
use std::time::Instant;

use driftless_proto::auth::Digest;
use driftless_proto::greeting::{ClientLine, Greeting, ServerLine};

use crate::connect::connection::{Connection, Listener};
use crate::connect::handshake;
use crate::connect::proxy::Proxy;
use crate::connect::shell::{self, Family};
use crate::connect::socket::{self, Way};
use crate::connect::sockopts::SocketOption;
use crate::connect::stream::Stream;
use crate::driver::Driver;
use crate::error::PushError;
use crate::options::TransferOptions;
use crate::report::Report;

/// How a daemon is reached.
#[derive(Debug, Clone, Default)]
pub struct Reach {
    /// Which addresses are tried.
    pub family: Family,
    /// Local addresses; one of the remote address's kind is bound. None: any.
    pub bind_addresses: Vec<IpAddr>,
    /// `--sockopts`
    pub socket_options: Vec<SocketOption>,
    /// `RSYNC_PROXY`
    pub proxy: Option<Proxy>,
    /// `RSYNC_CONNECT_PROG`: a command in place of a socket, where `%H` is the host and `%%` a
    /// percent sign.
    pub program: Option<Vec<u8>>,
    /// `RSYNC_SHELL`: the shell that runs it; `None`: `/bin/sh`.
    pub shell: Option<Vec<u8>>,
}

impl Reach {
    /// Connects to the daemon at `host`.
    ///
    /// # Errors
    /// None of the host's addresses answers, or the proxy or the program fails.
    pub fn connect(
        &self,
        host: &str,
        port: u16,
        options: &TransferOptions,
        report: &mut dyn Report,
    ) -> Result<Connection, PushError> {
        if let Some(program) = &self.program {
            return self.start(program, host, options);
        }
        let deadline = options.connect_timeout.map(|limit| Instant::now() + limit);
        let (to_host, to_port) = match &self.proxy {
            Some(proxy) => (proxy.host.as_str(), proxy.port),
            None => (host, port),
        };
        let way = Way {
            host: to_host,
            port: to_port,
            family: self.family,
            bind_addresses: &self.bind_addresses,
            socket_options: &self.socket_options,
        };
        let socket = socket::connect(&way, deadline, &|| report.cancelled())?;
        let mut connection = Connection::new(Stream::tcp(socket), None, options);
        if let Some(proxy) = &self.proxy {
            let driver = &mut Listener(report);
            proxy.open_tunnel(&mut connection.link, host, port, driver)?;
        }
        Ok(connection)
    }

    fn start(
        &self,
        program: &[u8],
        host: &str,
        options: &TransferOptions,
    ) -> Result<Connection, PushError> {
        let failed = |source| PushError::Shell { program: program.to_vec(), source };
        // The host becomes part of a shell's command.
        let safe = |b: u8| b.is_ascii_alphanumeric() || b".-_:%".contains(&b);
        if host.is_empty() || !host.bytes().all(safe) || host.starts_with('-') {
            let what = "the host's name has characters that a shell could misunderstand";
            return Err(failed(std::io::Error::new(std::io::ErrorKind::InvalidInput, what)));
        }
        let shell = self.shell.clone().unwrap_or_else(|| b"/bin/sh".to_vec());
        let mut command = Command::new(OsString::from_vec(shell));
        command.arg("-c").arg(OsString::from_vec(expand(program, host.as_bytes())));
        let (stream, child) = shell::start_on_socket(command).map_err(failed)?;
        Ok(Connection::new(stream, Some(child), options))
    }
}

/// The command with the host in it.
fn expand(program: &[u8], host: &[u8]) -> Vec<u8> {
    let mut command = Vec::with_capacity(program.len() + host.len());
    let mut rest = program.iter().copied();
    while let Some(byte) = rest.next() {
        match (byte, rest.clone().next()) {
            (b'%', Some(b'H')) => {
                command.extend_from_slice(host);
                rest.next();
            }
            (b'%', Some(b'%')) => {
                command.push(b'%');
                rest.next();
            }
            _ => command.push(byte),
        }
    }
    command
}

impl Connection {
    /// Reads a daemon's listing of its modules: each line goes to `line`, in the daemon's format;
    /// the message of the day goes there too, since nothing tells them apart.
    ///
    /// # Errors
    /// The daemon refuses, or what is there is no daemon.
    pub fn list_modules(
        mut self,
        options: &TransferOptions,
        report: &mut dyn Report,
        mut line: impl FnMut(&[u8]),
    ) -> Result<(), PushError> {
        let driver: &mut dyn Driver = &mut Listener(report);
        let link = &mut self.link;
        let mut flight = Vec::with_capacity(64);
        let digests = Digest::PREFERENCE.to_vec();
        Greeting { protocol: options.protocol, sub: 0, digests }.put(&mut flight);
        ClientLine::Unknown(b"#list".to_vec()).put(&mut flight);
        link.output.unframed(&flight);
        handshake::greeting(link, driver)?;
        loop {
            match ServerLine::parse(handshake::line(link, driver)?) {
                ServerLine::Motd(text) => line(&text),
                ServerLine::Exit => return Ok(()),
                ServerLine::Error(text) => {
                    return Err(PushError::Daemon { text: handshake::error_text(&text) });
                }
                ServerLine::Ok | ServerLine::AuthRequired(_) => {
                    return Err(PushError::Protocol {
                        phase: link.phase,
                        what: "a module's answer to the listing's request".to_owned(),
                        exit: 5,
                    });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_put_into_the_command() {
        assert_eq!(expand(b"nc %H 873 100%% %x%", b"web"), b"nc web 873 100% %x%");
    }
}
