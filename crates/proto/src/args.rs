//! The argument list that a client hands to a daemon, and the quoting inside it.
//!
//! Protocol reference, sections "Daemon argument list", "Secluded args" and "Remote-shell command
//! line". What the arguments mean is not known here.

use crate::int::whole;
use crate::{Decode, Violation};

/// The most arguments of one list.
pub const MAX_ARGS: usize = 15_999;
/// The longest argument, in bytes: the original cuts off what goes beyond. Security rules, "Limits on
/// peer-supplied sizes".
pub const MAX_ARG_LEN: usize = 5119;

/// Characters with a meaning for a shell.
const SHELL: &[u8] = b"!#$&;|<>(){}\"'` \t\n\r\\";
/// Characters with a meaning in a file name pattern.
const WILDCARDS: &[u8] = b"*?[]";

/// Writes the list, from `--server` on, with its end.
pub fn put_args<'a>(out: &mut Vec<u8>, args: impl IntoIterator<Item = &'a [u8]>, protocol: u8) {
    for arg in args {
        out.extend_from_slice(arg);
        out.push(terminator(protocol));
    }
    out.push(terminator(protocol));
}

/// Takes a whole list, without its end.
///
/// # Errors
/// [`Decode::Incomplete`], more than [`MAX_ARGS`] or one longer than [`MAX_ARG_LEN`].
pub fn take_args<'a>(input: &mut &'a [u8], protocol: u8) -> Result<Vec<&'a [u8]>, Decode> {
    let terminator = terminator(protocol);
    whole(input, |rest| {
        let mut args = Vec::new();
        loop {
            let arg = take_arg(rest, terminator)?;
            if arg.is_empty() {
                return Ok(args);
            }
            if args.len() == MAX_ARGS {
                return Err(Violation::TooMany { what: "arguments", limit: MAX_ARGS as u64 }.into());
            }
            args.push(arg);
        }
    })
}

fn terminator(protocol: u8) -> u8 {
    if protocol >= 30 { 0 } else { b'\n' }
}

fn take_arg<'a>(input: &mut &'a [u8], terminator: u8) -> Result<&'a [u8], Decode> {
    let Some(end) = input.iter().take(MAX_ARG_LEN + 1).position(|&b| b == terminator) else {
        let (what, len, limit) = ("argument", input.len() as u64, MAX_ARG_LEN as u64);
        return Err(match input.len() > MAX_ARG_LEN {
            true => Violation::TooLong { what, len, limit }.into(),
            false => Decode::Incomplete,
        });
    };
    let (arg, rest) = input.split_at(end);
    *input = rest.get(1..).unwrap_or_default();
    Ok(arg)
}

/// Writes the block of secluded arguments: behind a pseudo program name, without quoting.
pub fn put_secluded<'a>(out: &mut Vec<u8>, args: impl IntoIterator<Item = &'a [u8]>) {
    let args = args.into_iter().map(|arg| if arg.is_empty() { b"." } else { arg });
    put_args(out, std::iter::once(&b"rsync"[..]).chain(args), 30);
}

/// Takes the block of secluded arguments, without the program name.
///
/// # Errors
/// As for [`take_args`].
pub fn take_secluded<'a>(input: &mut &'a [u8]) -> Result<Vec<&'a [u8]>, Decode> {
    let mut args = take_args(input, 30)?;
    if !args.is_empty() {
        args.remove(0);
    }
    Ok(args)
}

/// Writes an option's value so that a shell, or a daemon's one level of unquoting, restores it.
pub fn put_quoted_value(out: &mut Vec<u8>, value: &[u8]) {
    for &byte in value {
        if SHELL.contains(&byte) || WILDCARDS.contains(&byte) {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

/// Writes a path for a remote shell: its wildcards keep their meaning there.
pub fn put_quoted_path(out: &mut Vec<u8>, path: &[u8]) {
    for (at, &byte) in path.iter().enumerate() {
        let before_wildcard =
            byte == b'\\' && path.get(at + 1).is_some_and(|next| WILDCARDS.contains(next));
        if SHELL.contains(&byte) && !before_wildcard {
            out.push(b'\\');
        }
        out.push(byte);
    }
}

/// Strips one level of backslashes, as a daemon does with everything before the dot.
pub fn unquote(arg: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(arg.len());
    let mut bytes = arg.iter();
    while let Some(&byte) = bytes.next() {
        out.push(match byte {
            b'\\' => *bytes.next().unwrap_or(&byte),
            _ => byte,
        });
    }
    out
}

/// Writes `path` inside `module` as a daemon's path argument, unquoted: the daemon expands its
/// wildcards itself and splits at a blank before its own name, an old convention.
pub fn put_daemon_path(out: &mut Vec<u8>, module: &[u8], path: &[u8]) {
    let full = [module, b"/", path].concat();
    if full.starts_with(b"-") {
        out.extend_from_slice(b"./");
    }
    let split_point = [b" ", module, b"/"].concat();
    let mut rest = full.as_slice();
    while let Some((&byte, after)) = rest.split_first() {
        if rest.starts_with(&split_point) {
            out.extend_from_slice(b"[ ]");
        } else {
            out.push(byte);
        }
        rest = after;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_is_that_of_the_captured_push() {
        let wire = b"--server\0-logDtpre.iLsfxCIvu\0.\0up/\0\0rest";
        let mut input = &wire[..];
        let args = take_args(&mut input, 32).unwrap();
        assert_eq!(args, [&b"--server"[..], b"-logDtpre.iLsfxCIvu", b".", b"up/"]);
        assert_eq!(input, b"rest");
        let mut out = Vec::new();
        put_args(&mut out, args, 32);
        assert_eq!(out, wire[..wire.len() - 4]);
    }

    #[test]
    fn protocol_29_ends_arguments_with_line_feeds() {
        let mut out = Vec::new();
        put_args(&mut out, [&b"--server"[..], b"."], 29);
        assert_eq!(out, b"--server\n.\n\n");
        assert_eq!(take_args(&mut &*out, 29).unwrap(), [&b"--server"[..], b"."]);
    }

    #[test]
    fn secluded_arguments_follow_a_program_name() {
        let mut out = Vec::new();
        put_secluded(&mut out, [&b"."[..], b"", b"a b"]);
        assert_eq!(out, b"rsync\0.\0.\0a b\0\0");
        assert_eq!(take_secluded(&mut &*out).unwrap(), [&b"."[..], b".", b"a b"]);
    }

    #[test]
    fn endless_arguments_are_refused() {
        let long = vec![b'x'; MAX_ARG_LEN + 1];
        assert!(matches!(take_args(&mut &*long, 32), Err(Decode::Invalid(_))));
        let longest = [&long[1..], b"\0\0"].concat();
        assert_eq!(take_args(&mut &*longest, 32), Ok(vec![&long[1..]]));
        let many = b"x\0".repeat(MAX_ARGS + 1);
        assert!(matches!(take_args(&mut &*many, 32), Err(Decode::Invalid(_))));
    }

    #[test]
    fn a_value_survives_one_level_of_unquoting() {
        let value = b"--suffix=a b*[c]?\\$'\"\xff";
        let mut out = Vec::new();
        put_quoted_value(&mut out, value);
        assert_eq!(out, b"--suffix=a\\ b\\*\\[c\\]\\?\\\\\\$\\'\\\"\xff");
        assert_eq!(unquote(&out), value);
    }

    #[test]
    fn a_path_for_a_shell_keeps_its_wildcards() {
        let mut out = Vec::new();
        put_quoted_path(&mut out, b"a b/*.c\\*\\d");
        assert_eq!(out, b"a\\ b/*.c\\*\\\\d");
    }

    #[test]
    fn a_daemon_does_not_split_a_path_that_holds_its_name() {
        let mut out = Vec::new();
        put_daemon_path(&mut out, b"up", b"x up/y");
        assert_eq!(out, b"up/x[ ]up/y");
        out.clear();
        put_daemon_path(&mut out, b"-up", b"");
        assert_eq!(out, b"./-up/");
    }
}
