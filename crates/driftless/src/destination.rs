//! The forms of rsync's arguments: a path here, a daemon's module, a remote shell.

use std::ffi::OsStr;
use std::path::PathBuf;

use driftless_live::config::{Destination, RemoteSource};
use driftless_transfer::connect::url::DaemonUrl;

use crate::options::Circumstances;

/// Returns what a target's text means.
///
/// # Errors
/// It means nothing, or something that mirrors do not have yet.
pub fn parse_target(text: &OsStr, at: &Circumstances) -> Result<Destination, String> {
    match form(text) {
        Form::Empty => Err("a target is empty".to_owned()),
        Form::Local => Ok(Destination::Local(at.absolute(text))),
        Form::Daemon(url) => {
            DaemonUrl::parse(url).map(Destination::Daemon).map_err(|error| error.to_string())
        }
        Form::Shell(text) => Err(format!(
            "{text}: targets through a remote shell are not supported by driftless live yet; \
             use rsync://host/module or host::module"
        )),
    }
}

/// Returns the directory that a source's text means.
///
/// # Errors
/// It is not on this machine.
pub fn parse_source(text: &OsStr, at: &Circumstances) -> Result<PathBuf, String> {
    match form(text) {
        Form::Empty => Err("the source is empty".to_owned()),
        Form::Local => Ok(at.absolute(text)),
        Form::Daemon(text) | Form::Shell(text) => Err(format!(
            "{text}: a remote source needs live = false and a schedule, in a file for -c; to mirror \
             changes as they happen, run driftless on the machine that has the source"
        )),
    }
}

/// Returns what a source on another machine means; `None`: it is on this one.
pub fn parse_remote(text: &OsStr, at: &Circumstances) -> Option<Result<RemoteSource, String>> {
    match form(text) {
        Form::Empty | Form::Local => None,
        Form::Daemon(url) => {
            let url = DaemonUrl::parse(url).map(RemoteSource::Daemon);
            Some(url.map_err(|error| error.to_string()))
        }
        Form::Shell(text) => Some(shell_source(text, at)),
    }
}

/// `[USER@]HOST:PATH`
fn shell_source(text: &str, at: &Circumstances) -> Result<RemoteSource, String> {
    let bad = || format!("{text}: write [user@]host:path");
    let end = text.rfind(']').filter(|end| !text[..*end].contains('/')).unwrap_or(0);
    let colon = end + text[end..].find(':').ok_or_else(bad)?;
    let (login, path) = (&text[..colon], &text[colon + 1..]);
    let (user, host) = match login.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, login),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    // Neither may be taken for an option of the shell.
    if host.is_empty() || host.starts_with('-') || user.is_some_and(|user| user.starts_with('-')) {
        return Err(bad());
    }
    Ok(RemoteSource::Shell {
        user: user.map(|user| user.as_bytes().to_vec()),
        host: host.as_bytes().to_vec(),
        path: path.as_bytes().to_vec(),
        command: at.shell.clone(),
    })
}

enum Form<'a> {
    Empty,
    Local,
    Daemon(&'a str),
    Shell(&'a str),
}

/// A colon before the first slash makes a text remote, two make it a daemon's.
fn form(text: &OsStr) -> Form<'_> {
    if text.is_empty() {
        return Form::Empty;
    }
    // Hosts and modules are text; what is not can only be a path.
    let Some(text) = text.to_str() else { return Form::Local };
    if text.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("rsync://")) {
        return Form::Daemon(text);
    }
    let head = text.split('/').next().unwrap_or(text);
    // The colons of an IPv6 address stand in brackets.
    let after_address = head.rsplit_once(']').map_or(head, |(_, rest)| rest);
    match after_address.find(':') {
        None => Form::Local,
        Some(colon) if after_address[colon..].starts_with("::") => Form::Daemon(text),
        Some(_) => Form::Shell(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at() -> Circumstances {
        Circumstances {
            base: "/base".into(),
            umask: 0o022,
            password: None,
            shell: vec![b"ssh".to_vec()],
        }
    }

    #[track_caller]
    fn target(text: &str) -> String {
        match parse_target(OsStr::new(text), &at()) {
            Ok(Destination::Local(path)) => format!("local {}", path.display()),
            Ok(Destination::Daemon(url)) => format!("daemon {url}"),
            Err(error) => format!("error {error}"),
        }
    }

    #[test]
    fn targets_take_rsyncs_forms() {
        assert_eq!(target("/srv/copy/"), "local /srv/copy/");
        assert_eq!(target("copy"), "local /base/copy");
        assert_eq!(target("./host::module"), "local /base/host::module");
        assert_eq!(target("rsync://u@h:8730/m/p"), "daemon rsync://u@h:8730/m/p");
        assert_eq!(target("RSYNC://h/m"), "daemon rsync://h/m");
        assert_eq!(target("u@h::m/p"), "daemon rsync://u@h/m/p");
        assert_eq!(target("[::1]::m"), "daemon rsync://[::1]/m");
        assert!(target("h:/p").starts_with("error h:/p: targets through a remote shell"));
        assert!(target("[::1]:/p").contains("remote shell"));
        assert_eq!(target(""), "error a target is empty");
        assert!(target("rsync://h").starts_with("error "));
    }

    #[test]
    fn a_remote_source_is_a_module_or_behind_a_shell() {
        let source = |text: &str| match parse_remote(OsStr::new(text), &at()) {
            None => "here".to_owned(),
            Some(Ok(remote)) => {
                let path = String::from_utf8(remote.path_inside()).unwrap();
                format!("{remote} asked for {path}")
            }
            Some(Err(error)) => format!("error {error}"),
        };
        assert_eq!(source("/srv"), "here");
        assert_eq!(source("./h:x"), "here");
        assert_eq!(source("rsync://u@h/m/p"), "rsync://u@h/m/p asked for p/");
        assert_eq!(source("h::m"), "rsync://h/m asked for ");
        assert_eq!(source("u@h:/p q"), "u@h:/p q asked for /p q/");
        assert_eq!(source("h:"), "h: asked for ./");
        assert_eq!(source("u@[::1]:p/"), "u@::1:p/ asked for p/");
        assert!(source("-oProxyCommand=x:p").starts_with("error "));
        assert!(source("u@-x:p").starts_with("error "));
    }

    #[test]
    fn a_source_is_on_this_machine() {
        let source = |text: &str| parse_source(OsStr::new(text), &at());
        assert_eq!(source("www").unwrap(), PathBuf::from("/base/www"));
        for remote in ["rsync://h/m", "h::m", "h:p"] {
            assert!(source(remote).unwrap_err().contains("remote source needs live = false"));
        }
    }
}
