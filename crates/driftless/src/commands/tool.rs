//! `driftless inotifywait` and its kin: the tools of `driftless-watch`, which read their command line
//! themselves, as the originals do.

use std::ffi::{OsStr, OsString};
use std::process::ExitCode;

use clap::Args;
use driftless_watch::tools::Tool;

/// The words of a tool's command line.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub struct Words {
    /// As for the program of that name; --help lists them
    #[arg(value_name = "OPTIONS AND PATHS", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

/// Runs a tool that was asked for as a subcommand.
///
/// Its words are taken from the process: the parser for subcommands would swallow a `--` among them.
pub fn run(tool: Tool) -> ExitCode {
    let words = std::env::args_os().skip_while(|word| word != tool.name()).skip(1);
    ExitCode::from(tool.run(OsStr::new(tool.name()), words))
}

/// Runs the tool whose name the program was called by, if it was.
pub fn run_by_name() -> Option<ExitCode> {
    let mut words = std::env::args_os();
    let program = words.next()?;
    let tool = Tool::of_program(&program)?;
    Some(ExitCode::from(tool.run(&program, words)))
}
