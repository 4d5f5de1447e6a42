//! `rsync` as a program: what it was started with, and its exit code.

use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use driftless_transfer::report::Role;
use jiff::Timestamp;

use crate::client::{self, Surroundings};
use crate::flags::{Environment, Mode, Usage, help, interpret, level_help};
use crate::output::escape::Charset;
use crate::output::{exit, version};
use crate::server;
use crate::zone::Zone;

/// Runs the program. `words` come without its name; `stop` is set when the process is to end.
pub fn run(words: impl IntoIterator<Item = std::ffi::OsString>, stop: Arc<AtomicBool>) -> u8 {
    let words: Vec<Vec<u8>> = words.into_iter().map(OsStringExt::into_vec).collect();
    let environment = environment();
    let invocation = match interpret(&words, &environment) {
        Ok(invocation) => invocation,
        Err(usage) => return complain(&usage),
    };
    match invocation.mode {
        Mode::Help => say(&format!("{}\n{}", version::text(), help())),
        Mode::Version { json: false } => say(&version::text()),
        Mode::Version { json: true } => say(&version::json()),
        Mode::LevelHelp(which) => say(&level_help(which)),
        Mode::Client => {
            let around = surroundings(&environment, own_name(words.len()));
            client::run(invocation, &around, stop)
        }
        Mode::Server { .. } => server::run(invocation, &words, &environment),
        Mode::Daemon => {
            let text = "Daemon option(s) used without --daemon.".to_owned();
            complain(&Usage { code: 1, text, prefixed: true, with_help: false })
        }
    }
}

/// The words that stand before those of rsync's command line, however many.
fn own_name(count: usize) -> Vec<Vec<u8>> {
    let all: Vec<Vec<u8>> = std::env::args_os().map(OsStringExt::into_vec).collect();
    all[..all.len().saturating_sub(count)].to_vec()
}

fn say(text: &str) -> u8 {
    use std::io::Write;
    // A closed pipe is the reader's wish.
    let _ = std::io::stdout().write_all(text.as_bytes());
    0
}

fn complain(usage: &Usage) -> u8 {
    if usage.with_help {
        eprint!("{}\n{}", version::text(), help());
    } else {
        eprintln!("{}", usage.line());
    }
    eprintln!("{}", exit::line(usage.code, Role::Client));
    usage.code
}

fn variable(name: &str) -> Option<Vec<u8>> {
    std::env::var_os(name).map(OsStringExt::into_vec)
}

fn environment() -> Environment {
    Environment {
        umask: umask(),
        now: Timestamp::now(),
        zone: Zone::system(),
        rsh: variable("RSYNC_RSH"),
        old_args: variable("RSYNC_OLD_ARGS"),
        protect_args: variable("RSYNC_PROTECT_ARGS"),
        partial_dir: variable("RSYNC_PARTIAL_DIR"),
        iconv: variable("RSYNC_ICONV"),
        checksum_list: variable("RSYNC_CHECKSUM_LIST"),
        compress_list: variable("RSYNC_COMPRESS_LIST"),
        max_alloc: variable("RSYNC_MAX_ALLOC"),
    }
}

/// Reads the mask without changing it: the process may have threads already.
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    line.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o022)
}

fn surroundings(environment: &Environment, program: Vec<Vec<u8>>) -> Surroundings {
    let user = variable("USER").or_else(|| variable("LOGNAME")).filter(|name| !name.is_empty());
    let text = |name: &str| variable(name).map(|v| String::from_utf8_lossy(&v).into_owned());
    Surroundings {
        program,
        password: variable("RSYNC_PASSWORD"),
        proxy: text("RSYNC_PROXY").filter(|proxy| !proxy.is_empty()),
        connect_program: variable("RSYNC_CONNECT_PROG").filter(|program| !program.is_empty()),
        shell: variable("RSYNC_SHELL").filter(|shell| !shell.is_empty()),
        user: user.map_or_else(
            || "nobody".to_owned(),
            |name| std::ffi::OsStr::from_bytes(&name).to_string_lossy().into_owned(),
        ),
        charset: if is_utf8() { Charset::Utf8 } else { Charset::Ascii },
        zone: environment.zone.clone(),
    }
}

/// Whether names are UTF-8 here, as the locale says.
fn is_utf8() -> bool {
    let set = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| variable(name).filter(|value| !value.is_empty()));
    let locale = String::from_utf8_lossy(&set.unwrap_or_default()).to_ascii_lowercase();
    locale.contains("utf-8") || locale.contains("utf8")
}
