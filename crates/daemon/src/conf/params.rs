//! The table of parameters: names, types, defaults.
//!
//! Names compare without case and white space. Parsing, listings of what is unknown and the lint are
//! made from this table. Daemon reference, "Global parameters" and "Module parameters".

/// One parameter.
#[derive(Debug)]
pub struct Param {
    /// Which one.
    pub key: Key,
    /// As it is documented.
    pub name: &'static str,
    /// Another name.
    pub alias: Option<&'static str>,
    /// Counts for the whole daemon, only before the first module.
    pub global: bool,
    /// What its value is.
    pub kind: Kind,
    /// Its value when nothing is said.
    pub default: Fallback,
}

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text as it is.
    Text,
    /// Text without slashes at its end.
    Path,
    /// Yes or no.
    Bool,
    /// Yes, no or unset.
    Tri,
    /// A number.
    Int,
    /// A facility of the system log.
    Facility,
}

/// A value when nothing is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// No text.
    None,
    /// This text.
    Text(&'static str),
    /// This answer.
    Bool(bool),
    /// Neither yes nor no.
    Unset,
    /// This number.
    Int(i64),
}

macro_rules! params {
    ($($key:ident $name:literal $(| $alias:literal)? $scope:ident $kind:ident $default:expr;)+) => {
        /// The parameters, in the order of their names within each scope.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[allow(missing_docs, reason = "each is documented under its name")]
        pub enum Key { $($key),+ }

        /// All parameters.
        pub static PARAMS: &[Param] = &[
            $(Param {
                key: Key::$key,
                name: $name,
                alias: params!(@alias $($alias)?),
                global: params!(@scope $scope),
                kind: Kind::$kind,
                default: $default,
            }),+
        ];
    };
    (@alias) => { None };
    (@alias $alias:literal) => { Some($alias) };
    (@scope global) => { true };
    (@scope module) => { false };
}

use Fallback::{Bool as B, Int, None as Nothing, Text as T, Unset};

params! {
    Address "address" | "bind address" global Text Nothing;
    DaemonChroot "daemon chroot" global Text Nothing;
    DaemonGid "daemon gid" global Text Nothing;
    DaemonUid "daemon uid" global Text Nothing;
    ListenBacklog "listen backlog" global Int Int(5);
    MaxSessions "max sessions" global Int Int(2048);
    MaxSessionsPerAddress "max sessions per address" global Int Int(256);
    MotdFile "motd file" global Text Nothing;
    PidFile "pid file" global Text Nothing;
    Port "port" | "rsync port" global Int Int(0);
    ProxyProtocol "proxy protocol" global Bool B(false);
    ProxyProtocolHosts "proxy protocol hosts" global Text Nothing;
    SessionCpuSeconds "session cpu seconds" global Int Int(0);
    SessionMemoryMib "session memory mib" global Int Int(2048);
    SocketOptions "socket options" global Text Nothing;

    AuthDigest "auth digest" module Text Nothing;
    AuthUsers "auth users" module Text Nothing;
    Charset "charset" module Text Nothing;
    Comment "comment" module Text Nothing;
    DontCompress "dont compress" module Text T("");
    EarlyExec "early exec" module Text Nothing;
    Exclude "exclude" module Text Nothing;
    ExcludeFrom "exclude from" module Text Nothing;
    FakeSuper "fake super" module Bool B(false);
    Filter "filter" module Text Nothing;
    ForwardLookup "forward lookup" module Bool B(true);
    Gid "gid" module Text Nothing;
    HostsAllow "hosts allow" module Text Nothing;
    HostsDeny "hosts deny" module Text Nothing;
    IgnoreErrors "ignore errors" module Bool B(false);
    IgnoreNonreadable "ignore nonreadable" module Bool B(false);
    Include "include" module Text Nothing;
    IncludeFrom "include from" module Text Nothing;
    IncomingChmod "incoming chmod" module Text Nothing;
    InsecureLinks "insecure links" module Bool B(false);
    List "list" module Bool B(true);
    LockFile "lock file" module Text T("/var/run/rsyncd.lock");
    LogFile "log file" module Text Nothing;
    LogFormat "log format" module Text T("%o %h [%a] %m (%u) %f %l");
    MaxConnections "max connections" module Int Int(0);
    MaxFiles "max files" module Int Int(0);
    MaxVerbosity "max verbosity" module Int Int(1);
    MungeSymlinks "munge symlinks" module Tri Unset;
    Name "name" module Text Nothing;
    NameConverter "name converter" module Text Nothing;
    NumericIds "numeric ids" module Tri Unset;
    OpenNoatime "open noatime" module Tri Unset;
    OutgoingChmod "outgoing chmod" module Text Nothing;
    Path "path" module Path Nothing;
    PostXferExec "post-xfer exec" module Text Nothing;
    PreXferExec "pre-xfer exec" module Text Nothing;
    ReadOnly "read only" module Bool B(true);
    RefuseOptions "refuse options" module Text Nothing;
    ReverseLookup "reverse lookup" module Bool B(true);
    SecretsFile "secrets file" module Text Nothing;
    StrictModes "strict modes" module Bool B(true);
    SyslogFacility "syslog facility" module Facility Int(3);
    SyslogTag "syslog tag" module Text T("rsyncd");
    TempDir "temp dir" module Path Nothing;
    Timeout "timeout" module Int Int(0);
    TransferLogging "transfer logging" module Bool B(false);
    Uid "uid" module Text Nothing;
    UseChroot "use chroot" module Tri Unset;
    WriteOnly "write only" module Bool B(false);
}

impl Key {
    /// Its row.
    pub fn param(self) -> &'static Param {
        &PARAMS[self as usize]
    }
}

/// A name as it is compared.
pub fn folded(name: &[u8]) -> Vec<u8> {
    name.iter().filter(|b| !b.is_ascii_whitespace()).map(u8::to_ascii_lowercase).collect()
}

/// The parameter of this name.
pub fn find(name: &[u8]) -> Option<&'static Param> {
    let name = folded(name);
    let is = |own: &str| folded(own.as_bytes()) == name;
    PARAMS.iter().find(|param| is(param.name) || param.alias.is_some_and(is))
}

/// The parameter whose name is most like an unknown one; `None` when none is like it.
pub fn nearest(name: &[u8]) -> Option<&'static Param> {
    let name = folded(name);
    let scored =
        PARAMS.iter().map(|param| (distance(&folded(param.name.as_bytes()), &name), param));
    scored.min_by_key(|(distance, _)| *distance).filter(|(far, _)| *far <= 3).map(|(_, near)| near)
}

/// Insertions, removals and replacements between two texts.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let change = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = change.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// The facilities of the system log and their numbers.
const FACILITIES: &[(&str, i64)] = &[
    ("kern", 0),
    ("user", 1),
    ("mail", 2),
    ("daemon", 3),
    ("auth", 4),
    ("security", 4),
    ("syslog", 5),
    ("lpr", 6),
    ("news", 7),
    ("uucp", 8),
    ("cron", 9),
    ("authpriv", 10),
    ("ftp", 11),
    ("local0", 16),
    ("local1", 17),
    ("local2", 18),
    ("local3", 19),
    ("local4", 20),
    ("local5", 21),
    ("local6", 22),
    ("local7", 23),
];

/// A facility by its name, or by the number that the system log uses (eight times its place).
pub fn facility(text: &[u8]) -> Option<i64> {
    let named = FACILITIES.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(text));
    named.map(|(_, number)| *number).or_else(|| Some(integer(text) / 8).filter(|n| *n > 0))
}

/// A number as C's `atoi` reads it: what is behind it does not count, nothing is 0.
pub fn integer(text: &[u8]) -> i64 {
    let text = text.trim_ascii_start();
    let (negative, digits) = match text.split_first() {
        Some((b'-', rest)) => (true, rest),
        Some((b'+', rest)) => (false, rest),
        _ => (false, text),
    };
    let digits = digits.iter().take_while(|b| b.is_ascii_digit());
    let value = digits.fold(0i64, |sum, digit| {
        sum.saturating_mul(10).saturating_add(i64::from(digit - b'0')).min(i64::from(i32::MAX))
    });
    if negative { -value } else { value }
}

/// Yes or no; `None` for anything else.
pub fn boolean(text: &[u8]) -> Option<bool> {
    match folded(text).as_slice() {
        b"yes" | b"true" | b"1" => Some(true),
        b"no" | b"false" | b"0" => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_where_their_keys_point() {
        for (at, param) in PARAMS.iter().enumerate() {
            assert_eq!(param.key as usize, at, "{}", param.name);
        }
    }

    #[test]
    fn names_have_no_case_and_no_blanks() {
        for name in ["use chroot", "USE  chroot", "usechroot", "u se chroot"] {
            assert_eq!(find(name.as_bytes()).unwrap().key, Key::UseChroot, "{name}");
        }
        assert_eq!(find(b"rsync port").unwrap().key, Key::Port);
        assert!(find(b"-use chroot").is_none());
        assert_eq!(nearest(b"hosts alow").unwrap().key, Key::HostsAllow);
        assert!(nearest(b"something else").is_none());
    }

    #[test]
    fn values_are_read_as_c_does() {
        for (text, value) in
            [("5abc", 5), ("xyz", 0), (" -7", -7), ("", 0), ("99999999999", 2147483647)]
        {
            assert_eq!(integer(text.as_bytes()), value, "{text}");
        }
        assert_eq!(boolean(b"Y es"), Some(true));
        assert_eq!(boolean(b"on"), None);
        assert_eq!(facility(b"Local3"), Some(19));
        assert_eq!(facility(b"nothing"), None);
    }
}
