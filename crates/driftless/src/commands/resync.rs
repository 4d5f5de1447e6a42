//! `driftless resync`

use std::process::ExitCode;

use clap::Args;
use driftless_control::request::Choice;

use crate::control_socket::ControlOption;

/// Compare everything again, as at the start, and repair what differs
///
/// Files of equal size and time count as equal, but for those that the last verify found different:
/// these are sent again.
#[derive(Debug, Args)]
pub struct Resync {
    /// Resync this mirror or target only
    #[arg(value_name = "MIRROR[/TARGET]")]
    mirror: Option<String>,
    #[command(flatten)]
    control: ControlOption,
}

impl Resync {
    /// Passes it on.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        self.control.client()?.resync(&Choice { mirror: self.mirror })?;
        Ok(ExitCode::SUCCESS)
    }
}
