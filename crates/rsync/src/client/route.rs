//! From arguments to a route: what is local, what is remote, and how the remote side is reached.
//!
//! Origin of rules and texts: command-line reference, "Arg forms".

use driftless_transfer::report::Role;

use crate::hostspec::{Place, Remote, parse};

/// Where a transfer goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// From here to here; without a destination it is a listing.
    Local {
        /// At least one.
        sources: Vec<Vec<u8>>,
        /// Where to.
        destination: Option<Vec<u8>>,
    },
    /// From here to there.
    Push {
        /// At least one.
        sources: Vec<Vec<u8>>,
        /// The other side.
        far: Far,
    },
    /// From there to here; without a destination it is a listing.
    Pull {
        /// The other side, with all sources there.
        far: Far,
        /// Where to.
        destination: Option<Vec<u8>>,
    },
}

/// A place on another machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Far {
    /// Who logs in.
    pub user: Option<Vec<u8>>,
    /// Where.
    pub host: Vec<u8>,
    /// A daemon's module, else the remote shell.
    pub daemon: bool,
    /// The daemon's port, when the URL names one.
    pub port: Option<u16>,
    /// Paths there; of a daemon with the module in front, empty for the list of modules.
    pub paths: Vec<Vec<u8>>,
}

impl Far {
    /// Whether only the daemon is named: then its modules are listed.
    pub fn names_no_module(&self) -> bool {
        self.daemon && self.paths == [b""]
    }

    /// The paths without the module in front.
    pub fn paths_inside(&self) -> Vec<Vec<u8>> {
        let inside = |path: &Vec<u8>| match (self.daemon, path.iter().position(|b| *b == b'/')) {
            (false, _) => path.clone(),
            (true, None) => Vec::new(),
            (true, Some(at)) => path[at + 1..].to_vec(),
        };
        self.paths.iter().map(inside).collect()
    }
}

/// Arguments that make no sense together.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct NoRoute {
    /// Lines in rsync's words.
    pub text: String,
    /// Who says it.
    pub role: Role,
}

/// Finds the route. There must be an argument.
///
/// # Errors
/// Both sides are remote, or the sources do not belong together.
pub fn route(arguments: &[Vec<u8>]) -> Result<Route, NoRoute> {
    let (last, sources) = arguments.split_last().expect("there is an argument");
    let alone = sources.is_empty();
    let first = if alone { last } else { &sources[0] };
    match parse(first) {
        Place::Local(_) if alone => {
            Ok(Route::Local { sources: arguments.to_vec(), destination: None })
        }
        Place::Local(_) => from_here(sources, last),
        first => {
            let destination = (!alone).then_some(last);
            let sources = if alone { arguments } else { sources };
            from_there(first, sources, destination)
        }
    }
}

fn from_here(sources: &[Vec<u8>], last: &[u8]) -> Result<Route, NoRoute> {
    let complain = |text: String| NoRoute { text, role: Role::Sender };
    for source in sources {
        if source.is_empty() {
            return Err(complain("Empty source arg specified.".to_owned()));
        }
        if !matches!(parse(source), Place::Local(_)) {
            let shown = String::from_utf8_lossy(source);
            return Err(complain(format!("Unexpected remote arg: {shown}")));
        }
    }
    let sources = sources.to_vec();
    Ok(match parse(last) {
        Place::Local(path) if path.is_empty() => {
            let text = "Empty destination arg specified (use \".\" or see --old-args).";
            return Err(complain(text.to_owned()));
        }
        Place::Local(path) => Route::Local { sources, destination: Some(path) },
        Place::Shell(remote) => Route::Push { sources, far: far(remote, false, None)? },
        Place::Daemon { remote, port } => Route::Push { sources, far: far(remote, true, port)? },
    })
}

fn from_there(
    first: Place,
    sources: &[Vec<u8>],
    destination: Option<&Vec<u8>>,
) -> Result<Route, NoRoute> {
    let complain = |text: &str| NoRoute { text: text.to_owned(), role: Role::ReceivingSide };
    let destination = match destination.map(|last| parse(last)) {
        None => None,
        Some(Place::Local(path)) => Some(path),
        Some(_) => return Err(complain("The source and destination cannot both be remote.")),
    };
    let mut far = match first {
        Place::Shell(remote) => far(remote, false, None)?,
        Place::Daemon { remote, port } => far(remote, true, port)?,
        Place::Local(_) => unreachable!("the caller looked"),
    };
    for source in &sources[1..] {
        let (remote, daemon, port) = match parse(source) {
            Place::Local(path) => {
                let shown = String::from_utf8_lossy(&path).into_owned();
                return Err(complain(&format!(
                    "Unexpected local arg: {shown}\n\
                     If arg is a remote file/dir, prefix it with a colon (:)."
                )));
            }
            Place::Shell(remote) => (remote, false, None),
            Place::Daemon { remote, port } => (remote, true, port),
        };
        if !remote.host.is_empty() && remote.host != far.host {
            return Err(complain("All source args must come from the same machine."));
        }
        if daemon != far.daemon {
            return Err(complain("All source args must use the same hostspec format."));
        }
        if !remote.host.is_empty() && port != far.port {
            return Err(complain("All source args must use the same port number."));
        }
        far.paths.push(remote.path);
    }
    Ok(Route::Pull { far, destination })
}

fn far(remote: Remote, daemon: bool, port: Option<u16>) -> Result<Far, NoRoute> {
    let Remote { user, host, path } = remote;
    if host.starts_with(b"-") {
        let text = "Invalid remote host: hostnames may not start with '-'.".to_owned();
        return Err(NoRoute { text, role: Role::ReceivingSide });
    }
    Ok(Far { user, host, daemon, port, paths: vec![path] })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(arguments: &[&str]) -> Result<Route, NoRoute> {
        let words: Vec<Vec<u8>> = arguments.iter().map(|word| word.as_bytes().to_vec()).collect();
        route(&words)
    }

    #[track_caller]
    fn refused(arguments: &[&str], text: &str) {
        assert_eq!(of(arguments).unwrap_err().text, text);
    }

    #[test]
    fn arguments_that_do_not_belong_together_are_refused() {
        refused(&["a:b", "c:d"], "The source and destination cannot both be remote.");
        refused(&["s/", "h:d1", "d"], "Unexpected remote arg: h:d1");
        refused(
            &["h:a", "b", "d"],
            "Unexpected local arg: b\nIf arg is a remote file/dir, prefix it with a colon (:).",
        );
        refused(&["h:a", "x:b", "d"], "All source args must come from the same machine.");
        refused(&["h:a", "h::m", "d"], "All source args must use the same hostspec format.");
        refused(
            &["rsync://h:1/m", "rsync://h:2/m", "d"],
            "All source args must use the same port number.",
        );
        refused(&["", "d"], "Empty source arg specified.");
        refused(&["s", ""], "Empty destination arg specified (use \".\" or see --old-args).");
        refused(&["-h:x", "d"], "Invalid remote host: hostnames may not start with '-'.");
    }

    #[test]
    fn one_argument_is_a_listing() {
        assert!(matches!(of(&["s"]), Ok(Route::Local { destination: None, .. })));
        assert!(matches!(of(&["h:s"]), Ok(Route::Pull { destination: None, .. })));
    }

    #[test]
    fn a_module_is_no_part_of_the_paths_inside() {
        let Ok(Route::Pull { far, .. }) = of(&["h::m", "::m/", "::m/a/b", "d"]) else {
            panic!("a pull");
        };
        assert_eq!(far.paths_inside(), [&b""[..], b"", b"a/b"]);
        let Ok(Route::Pull { far, .. }) = of(&["h:a/b", "d"]) else { panic!("a pull") };
        assert_eq!(far.paths_inside(), [b"a/b"]);
    }

    #[test]
    fn later_sources_may_leave_out_the_host() {
        let Ok(Route::Pull { far, destination }) = of(&["u@h:a", ":b", "h:c", "d"]) else {
            panic!("a pull");
        };
        assert_eq!(far.paths, [b"a", b"b", b"c"]);
        assert_eq!(
            (far.user.as_deref(), destination.as_deref()),
            (Some(&b"u"[..]), Some(&b"d"[..]))
        );
    }
}
