//! `driftless rsync`: the program of that name, which reads its command line itself.

use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use clap::{Arg, ArgAction, Args, Command};
use driftless_rsync::flags::{FLAGS, Flag, Take};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// The words of the command line.
#[derive(Debug, Args)]
#[command(disable_help_flag = true, disable_version_flag = true)]
pub struct Words {
    /// As for rsync; --help lists them
    #[arg(value_name = "OPTIONS AND PATHS", trailing_var_arg = true, allow_hyphen_values = true)]
    words: Vec<OsString>,
}

/// Runs the program as a subcommand.
///
/// Its words are taken from the process: the parser for subcommands would swallow a `--` among them.
pub fn run() -> ExitCode {
    start(std::env::args_os().skip_while(|word| word != "rsync").skip(1))
}

/// Runs the program if it was called by its name, or if its name is the first word: the parser for
/// subcommands takes as long to make as a tenth of a session.
pub fn run_by_name() -> Option<ExitCode> {
    let mut words = std::env::args_os();
    let program = words.next()?;
    let is_called = Path::new(&program).file_name()? == "rsync" || words.next()? == "rsync";
    is_called.then(|| start(words))
}

fn start(words: impl Iterator<Item = OsString>) -> ExitCode {
    let words: Vec<OsString> = words.collect();
    let bytes: Vec<Vec<u8>> = words.iter().map(|word| word.as_bytes().to_vec()).collect();
    if driftless_daemon::command::is_daemon(&bytes) {
        return ExitCode::from(driftless_daemon::program::run(&bytes));
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        // Without the handler the signal ends the process at once, as it does before this line.
        let _ = signal_hook::flag::register(signal, Arc::clone(&stop));
    }
    ExitCode::from(driftless_rsync::program::run(words, stop))
}

/// The options as generators of manual pages and completions read them.
pub fn described(command: Command) -> Command {
    let shown = FLAGS.iter().filter(|flag| !flag.help.is_empty());
    let paths =
        Arg::new("paths").value_name("SRC... DEST").num_args(1..).help("What, and where to");
    Command::new(command.get_name().to_owned())
        .about(command.get_about().cloned().unwrap_or_default())
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args(shown.map(described_flag))
        .arg(paths)
}

fn described_flag(flag: &'static Flag) -> Arg {
    let mut arg = Arg::new(flag.shown()).help(flag.help).help_heading(flag.group.title());
    if !flag.long.is_empty() {
        arg = arg.long(flag.long).visible_aliases(flag.aliases);
    }
    if let Some(letter) = flag.short {
        arg = arg.short(char::from(letter));
    }
    match flag.take {
        Take::Switch(_) => arg.action(ArgAction::Count),
        Take::Text(_) | Take::Number(_) => arg.value_name(flag.value).action(ArgAction::Append),
    }
}
