//! Options that are known and have no effect yet: they are refused by name.

use super::Mode;

/// Who refuses an option. The other one takes it, for it has no meaning there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refuser {
    /// Both ends.
    Anybody,
    /// The client. A server that is told of it has nothing to do: what the option says is the
    /// client's business, or bounds what the server does not spend.
    Client,
    /// The server. The client does what it says.
    Server,
}

/// Long names (`-P`, `-F` and `-D` have none and stand for others).
pub const NOT_YET: &[(&str, Refuser)] = &[
    ("compress-threads", Refuser::Client),
    ("confine-root", Refuser::Anybody),
    ("copy-as", Refuser::Anybody),
    ("log-file", Refuser::Server),
    ("max-alloc", Refuser::Client),
    ("qsort", Refuser::Client),
];

/// Whether a program in this mode refuses the option with that long name.
pub fn is_refused(long: &str, mode: Mode) -> bool {
    let is_server = matches!(mode, Mode::Server { .. });
    NOT_YET.iter().any(|(name, refuser)| {
        *name == long
            && match refuser {
                Refuser::Anybody => true,
                Refuser::Client => !is_server,
                Refuser::Server => is_server,
            }
    })
}
