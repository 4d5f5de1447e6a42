//! What a command line asks for.

use driftless_filter::Given;
use driftless_transfer::TransferOptions;
use driftless_transfer::options::ConnectOptions;
use jiff::Timestamp;

use super::Usage;
use super::finish::Finish;
use super::parse::{Refuses, parse};
use super::typed::{Batches, LevelHelp, Output, Typed};
use crate::zone::Zone;

/// What the surroundings of the process add to the command line.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Of the process; masks modes of `--chmod` that name no class.
    pub umask: u32,
    /// Now.
    pub now: Timestamp,
    /// Local time.
    pub zone: Zone,
    /// `RSYNC_RSH`
    pub rsh: Option<Vec<u8>>,
    /// `RSYNC_OLD_ARGS`
    pub old_args: Option<Vec<u8>>,
    /// `RSYNC_PROTECT_ARGS`
    pub protect_args: Option<Vec<u8>>,
    /// `RSYNC_PARTIAL_DIR`
    pub partial_dir: Option<Vec<u8>>,
    /// `RSYNC_ICONV`
    pub iconv: Option<Vec<u8>>,
    /// `RSYNC_CHECKSUM_LIST`
    pub checksum_list: Option<Vec<u8>>,
    /// `RSYNC_COMPRESS_LIST`
    pub compress_list: Option<Vec<u8>>,
    /// `RSYNC_MAX_ALLOC`
    pub max_alloc: Option<Vec<u8>>,
}

/// What the program is to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Print the help.
    Help,
    /// Print the version, also as JSON.
    Version {
        /// `-VV`
        json: bool,
    },
    /// Print the words of `--info` or `--debug`.
    LevelHelp(LevelHelp),
    /// Copy or list.
    Client,
    /// Be the other side.
    Server {
        /// The server has the source.
        sender: bool,
    },
    /// Serve modules; the words belong to the daemon's own options.
    Daemon,
}

/// A command line that makes sense by itself. Whether its arguments do is for the client to see.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// What the program is to do; all else counts for clients and servers.
    pub mode: Mode,
    /// The transfer.
    pub options: TransferOptions,
    /// The connection. `rsh` of a server holds what the client says of itself.
    pub connect: ConnectOptions,
    /// `-e` was given, not `RSYNC_RSH` alone: it makes `HOST::MODULE` go through the shell.
    pub rsh_given: bool,
    /// What is printed.
    pub output: Output,
    /// Filters, with those that options bring.
    pub rules: Vec<Given>,
    /// What is no option: sources and destination.
    pub arguments: Vec<Vec<u8>>,
    /// `HOST` of `--files-from=HOST:FILE`; empty in `:FILE`.
    pub files_from_host: Option<Vec<u8>>,
    /// Batch files.
    pub batch: Batches,
    /// All that was typed, for the script of a batch file.
    pub words: Vec<Vec<u8>>,
    /// The transfer as the other end of a copy within this machine has it, where `-M` says something
    /// of it.
    pub across: Option<Result<TransferOptions, Usage>>,
    /// A server is to read more arguments from its standard input and then
    /// [interpret](interpret) them behind these.
    pub wants_secluded: bool,
}

/// Reads a command line, without the program's name.
///
/// # Errors
/// The first thing that is wrong, in rsync's words.
pub fn interpret(words: &[Vec<u8>], environment: &Environment) -> Result<Invocation, Usage> {
    interpret_refusing(words, environment, &|_, _| false)
}

/// As [`interpret`], for a daemon that is configured to refuse options.
///
/// # Errors
/// Likewise, and an option that is refused.
pub fn interpret_refusing(
    words: &[Vec<u8>],
    environment: &Environment,
    refuses: Refuses<'_>,
) -> Result<Invocation, Usage> {
    let mut typed = Typed::new(environment.umask);
    if words == [b"-h"] {
        typed.help = true;
    }
    let server = words.first().is_some_and(|word| word == b"--server");
    let arguments = match typed.help {
        true => Vec::new(),
        false => parse(&mut typed, words, server, refuses)?,
    };
    let mode = mode(&typed)?;
    let rsh_given = typed.connect.rsh.is_some();
    let across = (mode == Mode::Client && !typed.options.remote_options.is_empty())
        .then(|| across(typed.clone(), environment));
    let mut finish = Finish { typed, environment, server, argument_count: arguments.len() };
    let mut files_from_host = None;
    if matches!(mode, Mode::Client | Mode::Server { .. }) {
        files_from_host = finish.files_from();
        finish.all()?;
    }
    let Typed { options, connect, output, rules, batch, secluded_args, .. } = finish.typed;
    let wants_secluded = server && secluded_args == Some(true);
    Ok(Invocation {
        mode,
        options,
        connect,
        rsh_given,
        output,
        rules,
        arguments,
        files_from_host,
        batch,
        words: words.to_vec(),
        wants_secluded,
        across,
    })
}

/// What the other end of a copy within this machine makes of the options: those of `-M` are its own.
fn across(mut typed: Typed, environment: &Environment) -> Result<TransferOptions, Usage> {
    let words = std::mem::take(&mut typed.options.remote_options);
    let argument_count = parse(&mut typed, &words, false, &|_, _| false)?.len();
    // Said or not: for this end it is as if it were (seen).
    typed.options.whole_file.get_or_insert(true);
    let mut finish = Finish { typed, environment, server: false, argument_count };
    finish.files_from();
    finish.all()?;
    Ok(finish.typed.options)
}

fn mode(typed: &Typed) -> Result<Mode, Usage> {
    Ok(match () {
        () if typed.version > 0 => Mode::Version { json: typed.version > 1 && !typed.server },
        () if typed.help => Mode::Help,
        () if typed.level_help.is_some() => {
            Mode::LevelHelp(typed.level_help.expect("it is there, see above"))
        }
        () if typed.daemon_option => Mode::Daemon,
        () if typed.server => Mode::Server { sender: typed.sender },
        () if typed.sender => return Err(Usage::help()),
        () => Mode::Client,
    })
}
