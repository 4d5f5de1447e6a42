//! `driftless resume`

use std::process::ExitCode;

use clap::Args;
use driftless_control::request;

use crate::control_socket::ControlOption;

/// Send again to a mirror's targets, or to one
#[derive(Debug, Args)]
pub struct Resume {
    /// Resume this mirror or target only
    #[arg(value_name = "MIRROR[/TARGET]")]
    mirror: Option<String>,
    /// Let the deletions happen that --max-delete held up
    #[arg(long)]
    accept_deletes: bool,
    #[command(flatten)]
    control: ControlOption,
}

impl Resume {
    /// Passes it on.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let request = request::Resume { mirror: self.mirror, accept_deletes: self.accept_deletes };
        self.control.client()?.resume(&request)?;
        Ok(ExitCode::SUCCESS)
    }
}
