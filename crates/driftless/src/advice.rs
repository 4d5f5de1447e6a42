//! What to do about an error that ended a command.

use std::error::Error;

use driftless_live::StartError;
use driftless_transfer::connect::password::PasswordError;

use crate::config::ConfigError;

/// The next step, for the end of the line that tells of the error; `None` when its text has it.
pub fn advice(error: &anyhow::Error) -> Option<&'static str> {
    error.chain().find_map(of_cause)
}

fn of_cause(cause: &(dyn Error + 'static)) -> Option<&'static str> {
    match cause.downcast_ref::<StartError>() {
        Some(StartError::Source { .. }) => {
            return Some(
                "name a directory that is there and that you may read: SRC, or source in the \
                 configuration",
            );
        }
        Some(StartError::Rules { .. }) => {
            return Some("correct it in exclude, include, filter, exclude-from or include-from");
        }
        Some(StartError::Thread { .. }) => return Some("see ulimit -u and the unit's TasksMax"),
        None => {}
    }
    match cause.downcast_ref::<PasswordError>() {
        Some(PasswordError::Read { .. } | PasswordError::Empty { .. }) => {
            return Some("put the password alone into its first line, mode 600");
        }
        Some(PasswordError::OtherAccessible { .. } | PasswordError::Owner { .. }) | None => {}
    }
    match cause.downcast_ref::<ConfigError>() {
        Some(ConfigError::Read { .. }) => Some("check the path after -c"),
        Some(ConfigError::Line { .. }) | None => None,
    }
}
