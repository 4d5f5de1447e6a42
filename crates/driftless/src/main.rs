//! The `driftless` command: command line, configuration file, log and signals.
//!
//! What a mirror does is in `driftless-live`, how it is asked in `driftless-control`; here is only
//! what connects them with a person or a service manager.

mod advice;
mod cli;
mod commands;
mod config;
mod control_socket;
mod destination;
mod fleet;
mod logging;
mod options;
mod output;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    if let Some(code) = commands::tool::run_by_name().or_else(commands::rsync::run_by_name) {
        return code;
    }
    match commands::daemon::run_by_name().unwrap_or_else(|| cli::Cli::parse().run()) {
        Ok(code) => code,
        Err(error) => {
            // Usage errors are clap's: with its layout, and code 2.
            if let Some(usage) = error.downcast_ref::<clap::Error>() {
                usage.exit();
            }
            let next = advice::advice(&error).map(|step| format!("; {step}")).unwrap_or_default();
            eprintln!("driftless: {error:#}{next}");
            ExitCode::FAILURE
        }
    }
}
