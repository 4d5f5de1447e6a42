//! The way to a daemon's module: socket or shell, password, list of modules.

use std::net::{IpAddr, ToSocketAddrs};

use driftless_proto::args::put_daemon_path;
use driftless_transfer::PushError;
use driftless_transfer::connect::daemon::Reach;
use driftless_transfer::connect::password::{PasswordError, read_password_file};
use driftless_transfer::connect::proxy::Proxy;
use driftless_transfer::connect::{Connection, Module, sockopts};
use driftless_transfer::operator::{self, Links};
use driftless_transfer::remote_args::ServerArgs;
use driftless_transfer::report::Role;
use zeroize::Zeroizing;

use super::route::Far;
use super::{Client, Ended, Failed, failure, prompt};
use crate::output::printer::Printer;

/// A daemon's usual port.
const DAEMON_PORT: u16 = 873;
/// Most bytes for a daemon's early program.
const MAX_EARLY_INPUT: usize = 5 * 1024;

impl Client<'_> {
    /// Over a socket, or through the remote shell where `-e` was given.
    fn daemon(&self, far: &Far, role: Role, printer: &mut Printer) -> Result<Connection, Failed> {
        let connect = &self.invocation.connect;
        let options = &self.invocation.options;
        let port = far.port.or(connect.port).unwrap_or(DAEMON_PORT);
        let failed = |error: PushError| self.failed(&error, role, 0);
        if self.invocation.rsh_given {
            let args = [&b"--server"[..], b"--daemon", b"."].map(<[u8]>::to_vec).to_vec();
            let shell = self.remote_shell(far, args, Some(port), role)?;
            self.trace(&shell, printer);
            return Connection::shell(&shell, options).map_err(failed);
        }
        let sockets = match &connect.socket_options {
            None => Vec::new(),
            Some(text) => sockopts::parse(&String::from_utf8_lossy(text))
                .map_err(|bad| Failed::usage(bad.to_string(), role))?,
        };
        let proxy = match &self.around.proxy {
            None => None,
            Some(text) => Some(Proxy::parse(text).ok_or_else(|| {
                Failed::new("invalid proxy specification: should be HOST:PORT", 10, role)
            })?),
        };
        let reach = Reach {
            family: self.family(),
            bind_addresses: self.bind_addresses(role)?,
            socket_options: sockets,
            proxy,
            program: self.around.connect_program.clone(),
            shell: self.around.shell.clone(),
        };
        let host = String::from_utf8_lossy(&far.host).into_owned();
        if options.talk.debug.connect > 0 {
            printer.info(format!("opening tcp connection to {host} port {port}").as_bytes());
        }
        reach.connect(&host, port, options, printer).map_err(failed)
    }

    /// What the name of `--address` stands for.
    fn bind_addresses(&self, role: Role) -> Result<Vec<IpAddr>, Failed> {
        let Some(name) = &self.invocation.connect.address else { return Ok(Vec::new()) };
        let name = String::from_utf8_lossy(name);
        let found = (&*name, 0).to_socket_addrs().map_err(|error| {
            let why = error.to_string();
            let why = why.strip_prefix("failed to lookup address information: ").unwrap_or(&why);
            Failed::new(format!("rsync: getaddrinfo {name}: {why}"), 10, role)
        })?;
        Ok(found.map(|address| address.ip()).collect())
    }

    pub(super) fn enter(
        &self,
        far: &Far,
        args: &ServerArgs,
        role: Role,
        printer: &mut Printer,
    ) -> Result<Connection, Failed> {
        let options = &self.invocation.options;
        let first = far.paths.first().map_or(&b""[..], Vec::as_slice);
        let module = first.split(|b| *b == b'/').next().unwrap_or_default();
        if module.is_empty() {
            let text = "ERROR: The remote path must start with a module name not a /";
            return Err(Failed::new(text, 5, role));
        }
        let module = String::from_utf8_lossy(module).into_owned();
        let paths: Vec<Vec<u8>> = far.paths.iter().map(|path| daemon_path(path)).collect();
        let words = args.for_daemon(&paths);
        let mut connection = self.daemon(far, role, printer)?;
        let early = self.early_input(role)?;
        let from_file = self.password_file(role)?;
        let password = || {
            let by_env = self.around.password.clone().map(Zeroizing::new);
            from_file.clone().or(by_env).or_else(prompt::password)
        };
        let user = match &far.user {
            Some(user) => String::from_utf8_lossy(user).into_owned(),
            None => self.around.user.clone(),
        };
        let entrance = Module {
            name: &module,
            user: &user,
            password: &password,
            early_input: early.as_deref(),
            args: &words,
        };
        let failed = |error: PushError| self.failed(&error, role, 0);
        self.trace_words("sending daemon args: ", &words, printer);
        connection.enter_module(&entrance, options, printer).map_err(failed)?;
        if let Some(words) = args.secluded(&paths) {
            self.trace_words("protected args: ", &words, printer);
            connection.put_secluded_args(&words);
        }
        Ok(connection)
    }

    fn password_file(&self, role: Role) -> Result<Option<Zeroizing<Vec<u8>>>, Failed> {
        let Some(name) = &self.invocation.connect.password_file else { return Ok(None) };
        let links = Links::of(self.invocation.options.link.insecure);
        match read_password_file(name, links) {
            Ok(password) => Ok(Some(password)),
            Err(PasswordError::Read { path, source }) => {
                let (role_name, name) = (role.name(), path.display());
                let start = format!("rsync: [{role_name}] could not open password file {name}");
                Err(Failed::usage(failure::path_text(&start, &source), role))
            }
            Err(PasswordError::OtherAccessible { .. }) => {
                Err(Failed::usage("ERROR: password file must not be other-accessible", role))
            }
            Err(PasswordError::Owner { .. }) => {
                let text = "ERROR: password file must be owned by root when running as root";
                Err(Failed::usage(text, role))
            }
            Err(PasswordError::Empty { path }) => {
                let text = format!("ERROR: failed to read a password from {}", path.display());
                Err(Failed::usage(text, role))
            }
        }
    }

    fn early_input(&self, role: Role) -> Result<Option<Vec<u8>>, Failed> {
        let Some(name) = &self.invocation.connect.early_input else { return Ok(None) };
        let links = Links::of(self.invocation.options.link.insecure);
        match operator::read_any(name, MAX_EARLY_INPUT as u64, links) {
            Ok(text) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                let text = format!("{} is > {MAX_EARLY_INPUT} bytes.", name.display());
                Err(Failed::usage(text, role))
            }
            Err(error) => {
                let start = format!("failed to open {}", name.display());
                Err(Failed::usage(failure::path_text(&start, &error), role))
            }
        }
    }

    pub(super) fn list_modules(&self, far: &Far, printer: &mut Printer) -> Ended {
        let role = Role::ReceivingSide;
        let connection = self.daemon(far, role, printer)?;
        let silent = self.invocation.connect.no_motd;
        let mut lines = Vec::new();
        let listed = connection
            .list_modules(&self.invocation.options, printer, |line| lines.push(line.to_vec()));
        if !silent {
            for line in &lines {
                printer.info(line);
            }
        }
        match listed {
            Ok(()) => {
                printer.flush();
                Ok((None, role))
            }
            Err(error) => Err(self.failed(&error, role, 0)),
        }
    }
}

/// `MODULE/PATH` as a daemon takes it.
fn daemon_path(path: &[u8]) -> Vec<u8> {
    let (module, rest) = match path.iter().position(|b| *b == b'/') {
        Some(at) => (&path[..at], &path[at + 1..]),
        None => return path.to_vec(),
    };
    let mut out = Vec::with_capacity(path.len());
    put_daemon_path(&mut out, module, rest);
    out
}
