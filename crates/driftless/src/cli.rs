//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::commands::{completions, demo, flush, live, man, pause, resume, resync, rsync, status};

/// Keeps directory trees identical on many machines, live, and can prove it
#[derive(Debug, Parser)]
#[command(name = "driftless", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Live(Box<live::Live>),
    Status(status::Status),
    Flush(flush::Flush),
    Pause(pause::Pause),
    Resume(resume::Resume),
    Resync(resync::Resync),
    Demo(demo::Demo),
    /// Copy files as rsync does: the same options, output and exit codes
    #[command(name = "rsync")]
    Rsync(rsync::Words),
    Completions(completions::Completions),
    Man(man::Man),
}

impl Cli {
    /// Runs the command and returns the process's exit code.
    ///
    /// # Errors
    /// What the operator is to read.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        match self.command {
            Command::Live(live) => live.run(),
            Command::Status(status) => status.run(),
            Command::Flush(flush) => flush.run(),
            Command::Pause(pause) => pause.run(),
            Command::Resume(resume) => resume.run(),
            Command::Resync(resync) => resync.run(),
            Command::Demo(demo) => demo.run(),
            Command::Rsync(_) => Ok(rsync::run()),
            Command::Completions(completions) => completions.run(),
            Command::Man(man) => man.run(),
        }
    }
}

#[cfg(test)]
mod tests;
