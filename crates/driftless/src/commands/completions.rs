//! `driftless completions`

use std::process::ExitCode;

use clap::{Args, Command, CommandFactory};
use clap_complete::Shell;

use crate::cli::Cli;
use crate::commands::rsync;
use crate::output;

/// Print a completion script for a shell
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Prints the script.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let mut script = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut visible(&Cli::command().mut_subcommand("rsync", rsync::described)),
            "driftless",
            &mut script,
        );
        output::print(&String::from_utf8(script)?)?;
        Ok(ExitCode::SUCCESS)
    }
}

/// The command without what its help does not show: generators would offer the options that are
/// only known in order to be refused.
fn visible(command: &Command) -> Command {
    let shown = Command::new(command.get_name().to_owned())
        .disable_help_flag(command.is_disable_help_flag_set())
        .disable_version_flag(command.is_disable_version_flag_set())
        .args(command.get_arguments().filter(|arg| !arg.is_hide_set()).cloned())
        .subcommands(command.get_subcommands().map(visible));
    match command.get_about() {
        Some(about) => shown.about(about.clone()),
        None => shown,
    }
}
