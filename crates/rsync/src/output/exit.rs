//! Exit codes and the last line of a run that failed.

use driftless_transfer::report::Role;

use crate::COMPATIBLE;

/// What rsync calls a code.
pub fn meaning(code: u8) -> &'static str {
    match code {
        0 => "success",
        1 => "syntax or usage error",
        2 => "protocol incompatibility",
        3 => "errors selecting input/output files, dirs",
        4 => "requested action not supported",
        5 => "error starting client-server protocol",
        10 => "error in socket IO",
        11 => "error in file IO",
        12 => "error in rsync protocol data stream",
        13 => "errors with program diagnostics",
        14 => "error in IPC code",
        15 => "sibling process crashed",
        16 => "sibling process terminated abnormally",
        19 => "received SIGUSR1",
        20 => "received SIGINT, SIGTERM, or SIGHUP",
        21 => "waitpid() failed",
        22 => "error allocating core memory buffers",
        23 => "some files/attrs were not transferred (see previous errors)",
        24 => "some files vanished before they could be transferred",
        25 => "the --max-delete limit stopped deletions",
        30 => "timeout in data send/receive",
        35 => "timeout waiting for daemon connection",
        124 => "remote shell failed",
        125 => "remote shell killed",
        126 => "remote command could not be run",
        127 => "remote command not found",
        _ => "unexplained error",
    }
}

/// The last line, without line feed. Scripts look at `(code N)` and at the role; what rsync has
/// between them, a place in its source, is only given the same shape.
pub fn line(code: u8, role: Role) -> String {
    let weight = if code == 24 { "warning" } else { "error" };
    let (text, role) = (meaning(code), role.name());
    format!("rsync {weight}: {text} (code {code}) at driftless(0) [{role}={COMPATIBLE}]")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_names_code_and_role() {
        assert_eq!(
            line(24, Role::Sender),
            "rsync warning: some files vanished before they could be transferred (code 24) \
             at driftless(0) [sender=3.5.0]"
        );
    }
}
