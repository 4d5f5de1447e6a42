//! The command line.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use driftless_watch::tools::Tool;

use crate::commands::{
    check, completions, daemon, demo, flush, live, man, pause, resume, resync, rsync, status, tool,
    verify,
};

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
    Verify(verify::Verify),
    Check(check::Check),
    Demo(demo::Demo),
    /// Copy files as rsync does: the same options, output and exit codes
    #[command(name = "rsync")]
    Rsync(rsync::Words),
    /// Serve directories to rsync clients, as an rsyncd.conf says
    Daemon(daemon::Words),
    /// Print events of files and directories, as inotifywait does
    #[command(name = "inotifywait")]
    InotifyWait(tool::Words),
    /// Count events of files and directories, as inotifywatch does
    #[command(name = "inotifywatch")]
    InotifyWatch(tool::Words),
    /// As inotifywait, by fanotify
    #[command(name = "fsnotifywait")]
    FsnotifyWait(tool::Words),
    /// As inotifywatch, by fanotify
    #[command(name = "fsnotifywatch")]
    FsnotifyWatch(tool::Words),
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
            Command::Verify(verify) => verify.run(),
            Command::Check(check) => check.run(),
            Command::Demo(demo) => demo.run(),
            Command::Rsync(_) => Ok(rsync::run()),
            Command::Daemon(words) => words.run(),
            Command::InotifyWait(_) => Ok(tool::run(Tool::InotifyWait)),
            Command::InotifyWatch(_) => Ok(tool::run(Tool::InotifyWatch)),
            Command::FsnotifyWait(_) => Ok(tool::run(Tool::FsnotifyWait)),
            Command::FsnotifyWatch(_) => Ok(tool::run(Tool::FsnotifyWatch)),
            Command::Completions(completions) => completions.run(),
            Command::Man(man) => man.run(),
        }
    }
}

#[cfg(test)]
mod tests;
