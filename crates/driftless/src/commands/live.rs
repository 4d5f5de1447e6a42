//! `driftless live`: runs mirrors until it is told to end.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, bail};
use clap::Args;
use clap::error::ErrorKind;
use driftless_control::Server;
use driftless_live::config::{MirrorConfig, PasswordSource, PullConfig};
use driftless_transfer::connect::password::read_password_file;
use driftless_transfer::connect::shell::split_command;
use driftless_transfer::operator::Links;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::config::{self, Config};
use crate::control_socket::ControlOption;
use crate::destination::{parse_source, parse_target};
use crate::fleet::{Changes, Fleet};
use crate::logging::LogOptions;
use crate::options::flags::{FlagError, MirrorFlags};
use crate::options::{Circumstances, Draft, TargetDraft};

/// Mirror a directory to targets: first a full pass, then every change at once
///
/// DEST is rsync://[user@]host[:port]/module[/path], [user@]host::module[/path] or a directory of
/// this machine. What SRC contains goes into DEST, with or without a slash at SRC's end. Options are
/// those of rsync and take effect in the order in which they are typed; most on-off options have a
/// --no-OPTION. RSYNC_PASSWORD is used where there is no password file. SIGHUP reads FILE again and
/// changes only what differs; SIGTERM ends cleanly.
#[derive(Debug, Args)]
#[command(
    override_usage = "driftless live [OPTIONS] SRC DEST...\n       driftless live [OPTIONS] -c FILE"
)]
pub struct Live {
    /// The directory to mirror
    #[arg(value_name = "SRC", required_unless_present = "config", conflicts_with = "config")]
    source: Option<OsString>,
    /// Where to
    #[arg(value_name = "DEST", required_unless_present = "config")]
    targets: Vec<OsString>,
    /// Read mirrors from a TOML file
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    control: ControlOption,
    #[command(flatten)]
    log: LogOptions,
    #[command(flatten)]
    flags: MirrorFlags,
}

impl Live {
    /// Runs until a signal ends it.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        self.log.start();
        // Before anything starts, so that no signal finds it half started.
        let mut signals = self.signals()?;
        let run_by = circumstances()?;
        let config = self.read(&run_by)?;
        check_passwords(&config)?;
        let Config { socket, mirrors, pulls } = config;
        let socket = self.control.to_listen_at(socket)?;
        let fleet = Arc::new(Fleet::default());
        let server = Server::start(&socket, Arc::<Fleet>::clone(&fleet))?;
        start(&fleet, mirrors, pulls)?;
        tracing::info!("driftless {} answers at {}", env!("CARGO_PKG_VERSION"), socket.display());
        for signal in &mut signals {
            if signal == SIGHUP {
                self.reload(&fleet, &run_by, &socket);
            } else {
                break;
            }
        }
        tracing::info!("stopping");
        drop(server);
        fleet.stop();
        Ok(ExitCode::SUCCESS)
    }

    fn read(&self, run_by: &Circumstances) -> anyhow::Result<Config> {
        match &self.config {
            Some(file) => {
                if let Some(flag) = self.flags.first() {
                    let text = format!("{flag} describes a mirror; with -c it belongs into FILE");
                    return Err(usage(ErrorKind::ArgumentConflict, text));
                }
                Ok(config::read(file, run_by)?)
            }
            None => {
                let mirrors = vec![self.typed_mirror(run_by)?];
                Ok(Config { socket: None, mirrors, pulls: Vec::new() })
            }
        }
    }

    /// The mirror of the one-line form.
    fn typed_mirror(&self, run_by: &Circumstances) -> anyhow::Result<MirrorConfig> {
        let mut draft = Draft::new(run_by.clone());
        self.flags.apply(&mut draft).map_err(|error| match error {
            FlagError::NotYet(_) => anyhow::Error::new(error),
            FlagError::Value { .. } => usage(ErrorKind::ValueValidation, error.to_string()),
        })?;
        let source = self.source.as_ref().expect("clap requires it where there is no FILE");
        let source = parse_source(source, run_by).map_err(anyhow::Error::msg)?;
        let targets = self
            .targets
            .iter()
            .map(|text| {
                let destination = parse_target(text, run_by).map_err(anyhow::Error::msg)?;
                Ok(TargetDraft { destination, password_file: None })
            })
            .collect::<anyhow::Result<_>>()?;
        draft.finish(source, targets).map_err(anyhow::Error::msg)
    }

    /// Signals to listen to; a second one to end does so at once. Without a file to read again,
    /// SIGHUP is left to what it means for any command of a terminal.
    fn signals(&self) -> anyhow::Result<Signals> {
        let ending = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order: the first signal only sets the flag that the second finds set.
            signal_hook::flag::register_conditional_shutdown(signal, 1, Arc::clone(&ending))
                .and_then(|_| signal_hook::flag::register(signal, Arc::clone(&ending)))
                .context("cannot listen to signals")?;
        }
        let reload = self.config.as_ref().map(|_| SIGHUP);
        Signals::new([SIGTERM, SIGINT].into_iter().chain(reload))
            .context("cannot listen to signals")
    }

    /// Reads the file again; what is wrong with it leaves everything as it runs.
    fn reload(&self, fleet: &Fleet, run_by: &Circumstances, socket: &Path) {
        let read = self.read(run_by).and_then(|config| {
            check_passwords(&config)?;
            Ok(config)
        });
        match read {
            Ok(config) => {
                if config.socket.is_some_and(|changed| changed != socket) {
                    tracing::warn!("control.socket takes effect at the next start");
                }
                let mut changes = fleet.apply(config.mirrors);
                fleet.apply_pulls(config.pulls, &mut changes);
                report(&changes);
            }
            Err(error) => tracing::error!("{error:#}; mirrors keep running as before"),
        }
    }
}

/// Starts the first mirrors: all of them or none.
fn start(fleet: &Fleet, mirrors: Vec<MirrorConfig>, pulls: Vec<PullConfig>) -> anyhow::Result<()> {
    let mut changes = fleet.apply(mirrors);
    fleet.apply_pulls(pulls, &mut changes);
    if let Some((_, error)) = changes.failed.pop() {
        fleet.stop();
        return Err(error.into());
    }
    Ok(())
}

fn report(changes: &Changes) {
    let count = changes.kept.len();
    tracing::info!("read the configuration again; unchanged mirrors: {count}");
    for name in &changes.stopped {
        tracing::info!(mirror = name.as_str(), "stopped");
    }
    for name in &changes.started {
        tracing::info!(mirror = name.as_str(), "started");
    }
    for (name, error) in &changes.failed {
        let error: &dyn std::error::Error = error;
        tracing::error!(mirror = name.as_str(), error, "not started; send SIGHUP to try again");
    }
}

/// Refuses to start with a password that others can read, or with none where one was promised.
fn check_passwords(config: &Config) -> anyhow::Result<()> {
    let targets = config.mirrors.iter().flat_map(|mirror| &mirror.targets);
    let passwords = targets.map(|target| &target.password);
    for password in passwords.chain(config.pulls.iter().map(|pull| &pull.password)) {
        if let PasswordSource::File(path) = password {
            read_password_file(path, Links::Trusted)?;
        }
    }
    Ok(())
}

/// What the program was started with.
pub(super) fn circumstances() -> anyhow::Result<Circumstances> {
    let base = std::env::current_dir().context("cannot find out the working directory")?;
    let password = std::env::var_os("RSYNC_PASSWORD")
        .map(|value| std::os::unix::ffi::OsStringExt::into_vec(value).into());
    let shell = std::env::var_os("RSYNC_RSH").map(std::os::unix::ffi::OsStringExt::into_vec);
    let shell = match shell.filter(|command| !command.is_empty()) {
        Some(command) => split_command(&command).context("RSYNC_RSH is no command")?,
        // Nobody is there to answer it.
        None => [&b"ssh"[..], b"-oBatchMode=yes"].map(<[u8]>::to_vec).to_vec(),
    };
    Ok(Circumstances { base, umask: umask()?, password, shell })
}

/// Read from the kernel's report: the system call can only tell by changing it.
fn umask() -> anyhow::Result<u32> {
    let status =
        std::fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    match line.map(|value| u32::from_str_radix(value.trim(), 8)) {
        Some(Ok(umask)) => Ok(umask),
        _ => bail!("/proc/self/status tells no umask"),
    }
}

/// An error that ends with the exit code of wrong usage, in one line.
fn usage(kind: ErrorKind, text: String) -> anyhow::Error {
    clap::Error::raw(kind, text + "\n").into()
}
