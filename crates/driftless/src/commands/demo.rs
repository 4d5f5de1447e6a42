//! `driftless demo`

use std::process::ExitCode;

use clap::Args;

/// Show live mirrors on this machine, in a temporary folder
#[derive(Debug, Args)]
pub struct Demo {}

impl Demo {
    /// Refuses: this build has no demonstration.
    pub fn run(&self) -> anyhow::Result<ExitCode> {
        anyhow::bail!("this build has no demonstration")
    }
}
