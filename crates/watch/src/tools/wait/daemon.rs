//! `--daemon`: the run goes on in the background, in a session of its own.
//!
//! The program starts itself again, with a mark in the environment; what to watch travels over the new
//! one's standard input, with absolute paths, because the new one lives in `/`.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use super::super::list::Targets;

/// Set in the environment of the background process.
const MARK: &str = "DRIFTLESS_INOTIFYWAIT_IN_BACKGROUND";

/// Whether this is the background process.
pub fn is_background() -> bool {
    std::env::var_os(MARK).is_some()
}

/// Starts the background process, which writes to `out`.
///
/// # Errors
/// Why it cannot be started.
pub fn start(targets: &Targets, out: File) -> io::Result<()> {
    let mut words = std::env::args_os();
    let name = words.next().unwrap_or_default();
    let mut child = Command::new("/proc/self/exe")
        .arg0(name)
        .args(words)
        .env(MARK, "1")
        .stdin(Stdio::piped())
        .stdout(out)
        .stderr(Stdio::null())
        .spawn()?;
    let here = std::env::current_dir()?;
    let mut list = Vec::new();
    for (prefix, paths) in [(&b""[..], &targets.watch), (b"@", &targets.exclude)] {
        for path in paths {
            list.extend_from_slice(prefix);
            if !path.starts_with(b"/") {
                list.extend_from_slice(here.as_os_str().as_bytes());
                list.push(b'/');
            }
            list.extend_from_slice(path);
            list.push(0);
        }
    }
    let mut stdin = child.stdin.take().expect("it was asked for");
    stdin.write_all(&list)
}

/// Makes this process independent of where it was started, and reads what to watch.
///
/// # Errors
/// When the list does not arrive.
pub fn enter() -> io::Result<Targets> {
    // Fails when it has a session already, which is as well.
    let _ = rustix::process::setsid();
    std::env::set_current_dir(OsStr::new("/"))?;
    let mut list = Vec::new();
    io::stdin().lock().read_to_end(&mut list)?;
    let mut targets = Targets::default();
    list.split(|&b| b == 0).filter(|path| !path.is_empty()).for_each(|path| targets.add(path));
    Ok(targets)
}
