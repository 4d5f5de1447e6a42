//! The forms of rsync's arguments: a path here, a daemon's module, a remote shell.

use std::ffi::OsStr;
use std::path::PathBuf;

use driftless_live::config::Destination;
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
            "{text}: a remote source is not supported by driftless live yet; \
             run it on the machine that has the source"
        )),
    }
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
        Circumstances { base: "/base".into(), umask: 0o022, password: None }
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
    fn a_source_is_on_this_machine() {
        let source = |text: &str| parse_source(OsStr::new(text), &at());
        assert_eq!(source("www").unwrap(), PathBuf::from("/base/www"));
        for remote in ["rsync://h/m", "h::m", "h:p"] {
            assert!(source(remote).unwrap_err().contains("remote source is not supported"));
        }
    }
}
