//! `driftless man`

use std::process::ExitCode;

use clap::{Args, Command, CommandFactory};
use clap_mangen::Man as Page;

use crate::cli::Cli;
use crate::commands::rsync;
use crate::output;

/// Print a manual page, as for man -l
#[derive(Debug, Args)]
pub struct Man {
    /// The subcommand that the page is about [default: driftless as a whole]
    command: Option<String>,
}

impl Man {
    /// Prints the page.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        let mut page = Vec::new();
        Page::new(self.subject()?).render(&mut page)?;
        output::print(&String::from_utf8(page)?)?;
        Ok(ExitCode::SUCCESS)
    }

    fn subject(&self) -> anyhow::Result<Command> {
        let mut whole = Cli::command().mut_subcommand("rsync", rsync::described);
        whole.build();
        let Some(name) = &self.command else { return Ok(whole) };
        let found = whole.find_subcommand(name).cloned();
        let page = found.map(|command| command.display_name(format!("driftless-{name}")));
        page.ok_or_else(|| {
            let known: Vec<&str> = whole.get_subcommands().map(Command::get_name).collect();
            anyhow::anyhow!("no subcommand is named '{name}'; there is: {}", known.join(", "))
        })
    }
}
