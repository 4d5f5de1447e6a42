//! `driftless flush`

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use driftless_control::{ClientError, request};

use crate::control_socket::ControlOption;
use crate::options::parse_duration;

/// Wait until every mirror has everything that has changed so far
///
/// Exits with 0 when it is everywhere, and with 1 when it is not in time, with a line for each
/// target that is behind and why.
#[derive(Debug, Args)]
pub struct Flush {
    /// Wait for this mirror or target only
    #[arg(value_name = "MIRROR[/TARGET]")]
    mirror: Option<String>,
    /// How long to wait
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = parse_duration)]
    timeout: Duration,
    #[command(flatten)]
    control: ControlOption,
}

impl Flush {
    /// Waits.
    pub fn run(self) -> anyhow::Result<ExitCode> {
        let request = request::Wait { mirror: self.mirror, timeout: self.timeout.as_secs_f64() };
        match self.control.client()?.flush(&request) {
            Ok(()) => Ok(ExitCode::SUCCESS),
            Err(ClientError::Behind { error, lines }) => {
                eprintln!("driftless: {error}");
                for line in lines {
                    eprintln!("  {line}");
                }
                Ok(ExitCode::FAILURE)
            }
            Err(error) => Err(error.into()),
        }
    }
}
