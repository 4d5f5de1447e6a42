//! Copying as another user (`--copy-as`).

use driftless_fs::Owners;
use driftless_fs::owner::{IdStep, become_user};
use driftless_tree::path::printable;

use crate::error::PushError;
use crate::options::TransferOptions;
use crate::report::Role;

/// Gives this thread, and those that it starts, the ids of the user and group that the options name,
/// for good.
///
/// Each role has a thread of its own, so the other end of a copy within this machine keeps its ids.
///
/// # Errors
/// There is no such user or group, or the kernel forbids it: exit code 1.
pub(crate) fn assume(options: &TransferOptions, role: Role) -> Result<(), PushError> {
    let Some(text) = &options.metadata.copy_as else { return Ok(()) };
    let fatal = |text: String| PushError::Fatal { text, exit: 1 };
    let (user, group) = match text.iter().position(|b| *b == b':') {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (&text[..], None),
    };
    let owners = Owners::new();
    let bad = |what: &str, name| fatal(format!("Invalid copy-as {what}: {}", printable(name)));
    let uid = number(user).or_else(|| owners.uid(user)).ok_or_else(|| bad("user", user))?;
    let gid = match group {
        Some(name) => {
            number(name).or_else(|| owners.gid(name)).ok_or_else(|| bad("group", name))?
        }
        // A user without an entry has no group of its own.
        None => Owners::main_group(uid).ok_or_else(|| bad("user", user))?,
    };
    become_user(uid, gid).map_err(|(step, error)| {
        let step = match step {
            IdStep::Group => "setgid",
            IdStep::Groups => "setgroups",
            IdStep::User => "setuid",
        };
        let why = crate::sender::described(&error);
        fatal(format!("rsync: [{}] {step} failed: {why}", role.name()))
    })
}

fn number(text: &[u8]) -> Option<u32> {
    let digits = !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    digits.then(|| std::str::from_utf8(text).ok()?.parse().ok()).flatten()
}
