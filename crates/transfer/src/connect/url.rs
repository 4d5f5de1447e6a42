//! Where a daemon's module is.

use std::fmt;

/// `rsync://[user@]host[:port]/module[/path]` or `[user@]host::module[/path]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaemonUrl {
    /// Who logs in, when named.
    pub user: Option<String>,
    /// Name or address; an IPv6 address without its brackets.
    pub host: String,
    /// Usually 873.
    pub port: u16,
    /// The module.
    pub module: String,
    /// The directory in the module, without slashes at its ends; may be empty.
    pub path: Vec<u8>,
}

/// The port of rsync daemons.
pub const DEFAULT_PORT: u16 = 873;

/// Why a text names no daemon module.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadUrl {
    /// Neither form.
    #[error("'{0}' is neither rsync://host/module nor host::module")]
    Form(String),
    /// Nothing where the host should be.
    #[error("'{0}' names no host")]
    NoHost(String),
    /// Nothing where the module should be.
    #[error("'{0}' names no module")]
    NoModule(String),
    /// A port that is none.
    #[error("'{0}' has a port that is no number from 1 to 65535")]
    Port(String),
    /// A control character, which could not be sent in a line.
    #[error("a control character in the user, host or module name")]
    Control,
}

impl DaemonUrl {
    /// Parses either form.
    ///
    /// # Errors
    /// What is missing or wrong.
    pub fn parse(text: &str) -> Result<Self, BadUrl> {
        let bad = || BadUrl::Form(text.to_owned());
        let (user, host, port, rest) = if let Some(rest) = strip_scheme(text) {
            let (authority, rest) = rest.split_once('/').unwrap_or((rest, ""));
            let (user, host_port) = split_user(authority);
            let (host, after) = split_host(host_port, ':').ok_or_else(bad)?;
            let port = match after.strip_prefix(':') {
                None if after.is_empty() => DEFAULT_PORT,
                None => return Err(bad()),
                Some("") => DEFAULT_PORT,
                Some(digits) => match digits.parse() {
                    Ok(port) if port != 0 => port,
                    _ => return Err(BadUrl::Port(text.to_owned())),
                },
            };
            (user, host, port, rest)
        } else {
            let (user, tail) = match text.split_once("::") {
                // A user is before the host, and the host is before the colons, unless the colons
                // belong to a bracketed address.
                _ if text.contains('[') => split_user_before(text, '['),
                Some((head, _)) if !head.contains('/') => {
                    let (user, _) = split_user(head);
                    (user, &text[user.map_or(0, |u| u.len() + 1)..])
                }
                _ => return Err(bad()),
            };
            let (host, after) = split_host(tail, ':').ok_or_else(bad)?;
            (user, host, DEFAULT_PORT, after.strip_prefix("::").ok_or_else(bad)?)
        };
        let (module, path) = rest.split_once('/').unwrap_or((rest, ""));
        if host.is_empty() {
            return Err(BadUrl::NoHost(text.to_owned()));
        }
        if module.is_empty() {
            return Err(BadUrl::NoModule(text.to_owned()));
        }
        let line_parts = [user.unwrap_or(""), host, module];
        if line_parts.iter().any(|part| part.chars().any(char::is_control)) {
            return Err(BadUrl::Control);
        }
        Ok(Self {
            user: user.filter(|u| !u.is_empty()).map(str::to_owned),
            host: host.to_owned(),
            port,
            module: module.to_owned(),
            path: path.trim_matches('/').as_bytes().to_vec(),
        })
    }

    /// `host:port` for people, brackets around an IPv6 address.
    pub fn address(&self) -> String {
        format!("{}:{}", bracketed(&self.host), self.port)
    }
}

fn strip_scheme(text: &str) -> Option<&str> {
    let head = text.get(..8)?;
    head.eq_ignore_ascii_case("rsync://").then(|| &text[8..])
}

fn split_user(authority: &str) -> (Option<&str>, &str) {
    match authority.rsplit_once('@') {
        Some((user, host)) => (Some(user), host),
        None => (None, authority),
    }
}

fn split_user_before(text: &str, end: char) -> (Option<&str>, &str) {
    let head = text.find(end).map_or(text, |at| &text[..at]);
    match head.strip_suffix('@') {
        Some(user) => (Some(user), &text[head.len()..]),
        None => (None, text),
    }
}

/// Host (brackets removed) and what follows from `end` on.
fn split_host(text: &str, end: char) -> Option<(&str, &str)> {
    if let Some(rest) = text.strip_prefix('[') {
        return rest.split_once(']');
    }
    Some(text.split_at(text.find(end).unwrap_or(text.len())))
}

fn bracketed(host: &str) -> String {
    if host.contains(':') { format!("[{host}]") } else { host.to_owned() }
}

impl fmt::Display for DaemonUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("rsync://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        f.write_str(&bracketed(&self.host))?;
        if self.port != DEFAULT_PORT {
            write!(f, ":{}", self.port)?;
        }
        write!(f, "/{}", self.module)?;
        if !self.path.is_empty() {
            write!(f, "/{}", driftless_tree::path::printable(&self.path))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, shown: &str) {
        let url = DaemonUrl::parse(text).unwrap();
        assert_eq!(url.to_string(), shown);
        assert_eq!(DaemonUrl::parse(shown).unwrap(), url);
    }

    #[test]
    fn both_forms_name_a_module() {
        check("rsync://host/mod", "rsync://host/mod");
        check("RSYNC://u@host:8873/mod/a/b/", "rsync://u@host:8873/mod/a/b");
        check("u@host::mod/a", "rsync://u@host/mod/a");
        check("host::mod", "rsync://host/mod");
        check("rsync://[::1]:9/mod", "rsync://[::1]:9/mod");
        check("u@[fe80::1%eth0]::mod", "rsync://u@[fe80::1%eth0]/mod");
        check("rsync://a@b@host/mod", "rsync://a@b@host/mod");
        check("host::mod/a::b", "rsync://host/mod/a::b");
    }

    #[test]
    fn what_is_missing_is_said() {
        for (text, wrong) in [
            ("host:path", BadUrl::Form("host:path".into())),
            ("/a/b::c", BadUrl::Form("/a/b::c".into())),
            ("rsync://host", BadUrl::NoModule("rsync://host".into())),
            ("rsync:///m", BadUrl::NoHost("rsync:///m".into())),
            ("::m", BadUrl::NoHost("::m".into())),
            ("rsync://h:0/m", BadUrl::Port("rsync://h:0/m".into())),
            ("rsync://h:x/m", BadUrl::Port("rsync://h:x/m".into())),
            ("rsync://h/m\nx", BadUrl::Control),
        ] {
            assert_eq!(DaemonUrl::parse(text), Err(wrong), "{text}");
        }
    }
}
