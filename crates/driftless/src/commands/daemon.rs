//! `driftless daemon`: serves the modules of an rsyncd.conf, and asks a daemon how it is.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use crate::output;

/// Where a daemon tells how it is when nothing is said.
const CONTROL: &str = "/run/driftless-daemon.sock";

/// The words of the command line.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub struct Words {
    /// As for "rsync --daemon"; --help lists them. With --status or --metrics a running daemon is
    /// asked how it is
    #[arg(value_name = "OPTIONS", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

impl Words {
    /// Serves, or asks.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        start(self.words)
    }
}

/// Serves, or asks, if the command's name is the first word. What the parser for subcommands leaves
/// behind in memory would be in the way of each session.
pub fn run_by_name() -> Option<anyhow::Result<ExitCode>> {
    let mut words = std::env::args_os().skip(1);
    (words.next()? == "daemon").then(|| start(words))
}

fn start(words: impl IntoIterator<Item = OsString>) -> anyhow::Result<ExitCode> {
    let mut words: Vec<Vec<u8>> = words.into_iter().map(OsStringExt::into_vec).collect();
    let asks = |name: &[u8]| words.iter().any(|word| word == name);
    if asks(b"--status") || asks(b"--metrics") {
        return ask(&words, asks(b"--metrics"));
    }
    let controlled = words.iter().any(|word| word.starts_with(b"--control"));
    if !controlled && rustix::process::geteuid().is_root() {
        words.push(format!("--control={CONTROL}").into_bytes());
    }
    Ok(ExitCode::from(driftless_daemon::program::run(&words)))
}

fn ask(words: &[Vec<u8>], metrics: bool) -> anyhow::Result<ExitCode> {
    let given = words.iter().enumerate().find_map(|(at, word)| match word.as_slice() {
        b"--control" => words.get(at + 1).cloned(),
        word => word.strip_prefix(b"--control=").map(<[u8]>::to_vec),
    });
    let path = given.map_or_else(|| CONTROL.into(), OsString::from_vec);
    let text = driftless_daemon::report::ask(Path::new(&path), metrics).with_context(|| {
        let path = path.to_string_lossy().into_owned();
        format!("no daemon tells on {path} how it is; it is started with --control={path}")
    })?;
    output::print(&text)?;
    Ok(ExitCode::SUCCESS)
}
