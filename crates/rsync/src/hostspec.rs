//! Sources and destinations as they are written: a path, or a place on another machine.
//!
//! Origin: command-line reference, "Arg forms".

/// What an argument names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A path on this machine.
    Local(Vec<u8>),
    /// A path on another machine, behind a remote shell.
    Shell(Remote),
    /// A path in a daemon's module.
    Daemon {
        /// Where, and `MODULE/PATH` or nothing.
        remote: Remote,
        /// In `rsync://HOST:PORT/`.
        port: Option<u16>,
    },
}

/// `[USER@]HOST` and a path there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remote {
    /// Before the last `@`.
    pub user: Option<Vec<u8>>,
    /// Without the brackets of an IPv6 address; empty where it is the host of the argument before.
    pub host: Vec<u8>,
    /// What is named there.
    pub path: Vec<u8>,
}

const SCHEME: &[u8] = b"rsync://";

/// Reads an argument.
pub fn parse(arg: &[u8]) -> Place {
    if let Some(rest) = after_scheme(arg) {
        return url(rest);
    }
    let Some((host, path)) = split_host(arg) else { return Place::Local(arg.to_vec()) };
    let (daemon, path) = match path.strip_prefix(b":") {
        Some(path) => (true, path),
        None => (false, path),
    };
    let (user, host) = split_user(host);
    let remote = Remote { user, host: unbracketed(host).to_vec(), path: path.to_vec() };
    if daemon { Place::Daemon { remote, port: None } } else { Place::Shell(remote) }
}

/// `HOST:PATH` where no slash comes before the colon; the host with user and brackets.
pub fn split_host(arg: &[u8]) -> Option<(&[u8], &[u8])> {
    let user_end = arg
        .iter()
        .position(|b| matches!(b, b'@' | b':' | b'/'))
        .filter(|at| arg.get(*at) == Some(&b'@'))
        .map_or(0, |at| at + 1);
    let host = arg.get(user_end..)?;
    let host_len = match host.first() {
        Some(b'[') => host.iter().position(|b| *b == b']')? + 1,
        _ => host.iter().position(|b| matches!(b, b':' | b'/'))?,
    };
    if host.get(host_len) != Some(&b':') {
        return None;
    }
    let at = user_end + host_len;
    Some((&arg[..at], &arg[at + 1..]))
}

fn after_scheme(arg: &[u8]) -> Option<&[u8]> {
    let (start, rest) = arg.split_at_checked(SCHEME.len())?;
    start.eq_ignore_ascii_case(SCHEME).then_some(rest)
}

fn url(rest: &[u8]) -> Place {
    let (authority, path) = match rest.iter().position(|b| *b == b'/') {
        Some(at) => (&rest[..at], &rest[at + 1..]),
        None => (rest, &b""[..]),
    };
    let (user, host) = split_user(authority);
    let host_end = match host.first() {
        Some(b'[') => host.iter().position(|b| *b == b']').map_or(host.len(), |at| at + 1),
        _ => host.iter().position(|b| *b == b':').unwrap_or(host.len()),
    };
    let (host, port) = host.split_at(host_end);
    let port = port.strip_prefix(b":").and_then(|text| std::str::from_utf8(text).ok());
    let port = port.and_then(|text| text.parse().ok()).filter(|port| *port > 0);
    let remote = Remote { user, host: unbracketed(host).to_vec(), path: path.to_vec() };
    Place::Daemon { remote, port }
}

fn split_user(host: &[u8]) -> (Option<Vec<u8>>, &[u8]) {
    match host.iter().rposition(|b| *b == b'@') {
        Some(at) => (Some(host[..at].to_vec()), &host[at + 1..]),
        None => (None, host),
    }
}

fn unbracketed(host: &[u8]) -> &[u8] {
    host.strip_prefix(b"[").and_then(|host| host.strip_suffix(b"]")).unwrap_or(host)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(arg: &str, expected: &str) {
        let show = |remote: &Remote| {
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let user = remote.user.as_deref().map_or_else(|| "-".to_owned(), text);
            format!("{user} {} {}", text(&remote.host), text(&remote.path))
        };
        let found = match parse(arg.as_bytes()) {
            Place::Local(path) => format!("local {}", String::from_utf8_lossy(&path)),
            Place::Shell(remote) => format!("shell {}", show(&remote)),
            Place::Daemon { remote, port } => format!("daemon {} {port:?}", show(&remote)),
        };
        assert_eq!(found, expected, "{arg}");
    }

    #[test]
    fn the_first_colon_before_a_slash_makes_a_place_remote() {
        check("a/b:c", "local a/b:c");
        check("./a:b", "local ./a:b");
        check("a", "local a");
        check("", "local ");
        check("h:x", "shell - h x");
        check("h:", "shell - h ");
        check(":x", "shell -  x");
        check("u@h:x/y:z", "shell u h x/y:z");
        check("[::1]:x", "shell - ::1 x");
        check("u@[fe80::1%eth0]:x", "shell u fe80::1%eth0 x");
        check("h::m/x", "daemon - h m/x None");
        check("::m", "daemon -  m None");
        check("h::", "daemon - h  None");
        check("rsync://u@h:8730/m/x", "daemon u h m/x Some(8730)");
        check("RSYNC://[::1]:99/m", "daemon - ::1 m Some(99)");
        check("rsync://h", "daemon - h  None");
    }

    #[test]
    fn a_user_ends_at_the_last_at_sign() {
        check("a@b@h:x", "shell a@b h x");
        check("u:v@h:x", "shell - u v@h:x");
        check("@h:x", "shell  h x");
    }
}
