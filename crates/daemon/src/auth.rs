//! Who may enter a module, and what proves it. Daemon reference, "Authentication".

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use driftless_filter::matches_wildcard;
use driftless_fs::operator;
use driftless_proto::auth::{Digest, verify};
use zeroize::Zeroizing;

use crate::words;

/// Longest secrets file.
const MAX_SECRETS_LEN: u64 = 4 << 20;

/// Longest line of it.
const MAX_LINE_LEN: usize = 1023;

/// What a rule of `auth users` says about the module's mode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    AsModule,
    ReadOnly,
    ReadWrite,
}

/// Why somebody does not enter; for the log alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Rejection {
    #[error("no matching rule")]
    NoRule,
    #[error("denied by rule")]
    Denied,
    #[error("no secrets file")]
    NoSecrets,
    #[error("ignoring secrets file")]
    BadSecrets,
    #[error("invalid username")]
    BadName,
    #[error("secret not found")]
    NoSecret,
    #[error("password mismatch")]
    Mismatch,
}

/// The rule that lets a user in.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) access: Access,
    /// The group it names, whose password counts too.
    pub(crate) group: Option<Vec<u8>>,
}

/// The first rule of `auth users` that is about `user`.
pub(crate) fn rule(
    users: &[u8],
    user: &[u8],
    groups_of: impl Fn(&[u8]) -> Vec<Vec<u8>>,
) -> Result<Rule, Rejection> {
    let mut groups = None;
    for token in words::names(users) {
        let (pattern, option) = match token.iter().position(|b| *b == b':') {
            Some(at) => (&token[..at], token[at + 1..].to_ascii_lowercase()),
            None => (token, Vec::new()),
        };
        let group = match pattern.strip_prefix(b"@") {
            None if matches_wildcard(pattern, user) => None,
            None => continue,
            Some(pattern) => {
                let groups = groups.get_or_insert_with(|| groups_of(user));
                let Some(group) = groups.iter().find(|group| matches_wildcard(pattern, group))
                else {
                    continue;
                };
                Some(group.clone())
            }
        };
        let access = match option.as_slice() {
            [b'd', ..] => return Err(Rejection::Denied),
            b"ro" => Access::ReadOnly,
            b"rw" => Access::ReadWrite,
            _ => Access::AsModule,
        };
        return Ok(Rule { access, group });
    }
    Err(Rejection::NoRule)
}

/// The names of the groups that a user of this system is in.
pub(crate) fn groups_of(user: &[u8]) -> Vec<Vec<u8>> {
    use nix::unistd::{Group, User, getgrouplist};
    let Some(name) = std::str::from_utf8(user).ok() else { return Vec::new() };
    let Ok(Some(account)) = User::from_name(name) else { return Vec::new() };
    let Ok(c_name) = std::ffi::CString::new(name) else { return Vec::new() };
    let ids = getgrouplist(&c_name, account.gid).unwrap_or_default();
    let named = ids.into_iter().filter_map(|id| Group::from_gid(id).ok().flatten());
    named.map(|group| group.name.into_bytes()).collect()
}

/// A client's answer to a challenge.
pub(crate) struct Proof<'a> {
    pub(crate) digest: Digest,
    pub(crate) challenge: &'a [u8],
    pub(crate) protocol: u8,
    pub(crate) response: &'a [u8],
}

impl Proof<'_> {
    fn fits(&self, password: &[u8]) -> bool {
        verify(self.digest, password, self.challenge, self.protocol, self.response)
    }
}

/// Compares a proof with the passwords of a user and a group.
pub(crate) fn check(
    secrets: &[u8],
    user: &[u8],
    group: Option<&[u8]>,
    proof: &Proof<'_>,
) -> Result<(), Rejection> {
    if user.is_empty() || matches!(user[0], b'#' | b'@') {
        return Err(Rejection::BadName);
    }
    let (mut user, mut group) = (Some(user), group);
    let mut found = false;
    for line in secrets.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let line = &line[..line.len().min(MAX_LINE_LEN)];
        let Some(colon) = line.iter().position(|b| *b == b':').filter(|_| line[0] != b'#') else {
            continue;
        };
        let (name, password) = (&line[..colon], &line[colon + 1..]);
        // Only the first line of a name counts.
        let wanted = match name.strip_prefix(b"@") {
            Some(name) if group == Some(name) => group.take(),
            None if user == Some(name) => user.take(),
            _ => None,
        };
        if wanted.is_some() {
            found = true;
            if proof.fits(password) {
                return Ok(());
            }
        }
    }
    // As long as for a name that is known.
    let known = found || proof.fits(b"");
    Err(if known && found { Rejection::Mismatch } else { Rejection::NoSecret })
}

/// Reads the secrets file. `log` gets what is wrong with its mode.
pub(crate) fn read_secrets(
    path: Option<&[u8]>,
    strict: bool,
    log: &mut dyn FnMut(&str),
) -> Result<Zeroizing<Vec<u8>>, Rejection> {
    let path = path.filter(|path| !path.is_empty()).ok_or(Rejection::NoSecrets)?;
    let opened = operator::open_to_read(Path::new(OsStr::from_bytes(path)));
    let (file, meta) = opened.map_err(|_| Rejection::NoSecrets)?;
    if strict {
        if meta.mode & 0o006 != 0 {
            log("secrets file must not be other-accessible (see strict modes option)");
            return Err(Rejection::BadSecrets);
        }
        if rustix::process::geteuid().is_root() && meta.uid != 0 {
            log("secrets file must be owned by root when running as root (see strict modes)");
            return Err(Rejection::BadSecrets);
        }
    }
    let mut text = Zeroizing::new(Vec::with_capacity(meta.size.min(MAX_SECRETS_LEN) as usize + 1));
    let read = file.take(MAX_SECRETS_LEN).read_to_end(&mut text);
    read.map_err(|_| Rejection::NoSecrets)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use driftless_proto::auth::respond;

    #[track_caller]
    fn check_rule(users: &str, user: &str, expected: Result<Access, Rejection>) {
        let groups = |user: &[u8]| match user {
            b"ann" => vec![b"staff".to_vec(), b"web team".to_vec()],
            _ => Vec::new(),
        };
        let found = rule(users.as_bytes(), user.as_bytes(), groups).map(|rule| rule.access);
        assert_eq!(found, expected, "{users} for {user}");
    }

    #[test]
    fn the_first_rule_about_a_user_decides() {
        check_rule("bob, ann", "ann", Ok(Access::AsModule));
        check_rule("ann:ro ann:rw", "ann", Ok(Access::ReadOnly));
        check_rule("a*:RW", "ann", Ok(Access::ReadWrite));
        check_rule("@staff:deny *", "ann", Err(Rejection::Denied));
        check_rule("@staff:deny *", "bob", Ok(Access::AsModule));
        check_rule("ann : rw", "ann", Ok(Access::AsModule));
        check_rule(", bob : rw", "bob", Err(Rejection::NoRule));
        check_rule(",@web team:ro", "ann", Ok(Access::ReadOnly));
        check_rule("ANN", "ann", Err(Rejection::NoRule));
        check_rule(",", "ann", Err(Rejection::NoRule));
        check_rule("ann:whatever", "ann", Ok(Access::AsModule));
    }

    #[test]
    fn only_the_first_secret_of_a_name_counts() {
        let secrets = b"#ann:no\nbob:b\r\nann: a b \nann:second\n@staff:team\n@staff:other\n";
        let try_it = |user: &str, group: Option<&str>, password: &str| {
            let response = respond(Digest::Sha512, password.as_bytes(), b"challenge", 32);
            let proof = Proof {
                digest: Digest::Sha512,
                challenge: b"challenge",
                protocol: 32,
                response: response.as_bytes(),
            };
            check(secrets, user.as_bytes(), group.map(str::as_bytes), &proof)
        };
        assert_eq!(try_it("ann", None, " a b "), Ok(()));
        assert_eq!(try_it("ann", None, "a b"), Err(Rejection::Mismatch));
        assert_eq!(try_it("ann", None, "second"), Err(Rejection::Mismatch));
        assert_eq!(try_it("bob", None, "b"), Ok(()));
        assert_eq!(try_it("ann", Some("staff"), "team"), Ok(()));
        assert_eq!(try_it("ann", Some("staff"), "other"), Err(Rejection::Mismatch));
        assert_eq!(try_it("eve", None, ""), Err(Rejection::NoSecret));
        assert_eq!(try_it("#ann", None, "no"), Err(Rejection::BadName));
        assert_eq!(try_it("@staff", None, "team"), Err(Rejection::BadName));
    }
}
