//! `driftless pause`

use std::process::ExitCode;

use clap::Args;
use driftless_control::request::Choice;

use crate::control_socket::ControlOption;

/// Stop sending to a mirror's targets, or to one; changes keep being collected
#[derive(Debug, Args)]
pub struct Pause {
    /// Pause this mirror or target only
    #[arg(value_name = "MIRROR[/TARGET]")]
    mirror: Option<String>,
    #[command(flatten)]
    control: ControlOption,
}

impl Pause {
    /// Passes it on.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        self.control.client()?.pause(&Choice { mirror: self.mirror })?;
        Ok(ExitCode::SUCCESS)
    }
}
