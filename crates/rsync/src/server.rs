//! `--server`: the other end of a session, started by a client's remote shell.

use std::io::Write;

use driftless_transfer::connect::{Connection, Direction, End};
use driftless_transfer::report::{Quiet, Role};
use driftless_transfer::{PushError, Request};

use crate::client::{failure, maps};
use crate::flags::{Environment, Invocation, Mode, interpret};
use crate::output::exit;
use crate::output::journal::Journal;

/// Serves the client on standard input and output and returns the exit code. `words` are the
/// arguments that `invocation` was made of: more of them may come through the connection.
pub fn run(mut invocation: Invocation, words: &[Vec<u8>], environment: &Environment) -> u8 {
    let role = match invocation.mode {
        Mode::Server { sender: true } => Role::Sender,
        _ => Role::ReceivingSide,
    };
    let mut journal = Journal::default();
    let result = Connection::stdio(&invocation.options).and_then(|mut connection| {
        if invocation.wants_secluded {
            let more = connection.take_secluded_args(&mut Quiet)?;
            let all: Vec<Vec<u8>> = words.iter().cloned().chain(more).collect();
            invocation =
                interpret(&all, environment).map_err(|usage| PushError::Usage(usage.text))?;
            connection.apply(&invocation.options);
        }
        journal = Journal::open(&invocation, &environment.zone, role == Role::Sender);
        serve(&invocation, connection, &mut journal)
    });
    match result {
        Ok(code) => code,
        Err(error) => {
            let text = failure::text(&error, role, 0, 0);
            complain(&text, error.exit_code(), role);
            error.exit_code()
        }
    }
}

/// Says on standard error, which a remote shell passes on, why there is no session.
pub fn complain(text: &str, code: u8, role: Role) {
    let mut lines = exit::line(code, role) + "\n";
    if !text.is_empty() {
        lines.insert_str(0, &format!("{text}\n"));
    }
    // In one piece, since the client writes to the same place. Nobody is left to hear of a failure.
    let _ = std::io::stderr().write_all(lines.as_bytes());
}

fn serve(
    invocation: &Invocation,
    connection: Connection,
    journal: &mut Journal,
) -> Result<u8, PushError> {
    let Mode::Server { sender } = invocation.mode else {
        unreachable!("the caller looked");
    };
    let options = &invocation.options;
    let end = End::Server { client_info: invocation.connect.rsh.clone() };
    let direction = if sender { Direction::Send } else { Direction::Receive };
    let session = connection.negotiate(end, direction, options, &mut Quiet)?;
    // The first argument is the dot between options and paths.
    let paths = invocation.arguments.get(1..).unwrap_or_default();
    let result = match sender {
        true => {
            let request = Request { sources: paths.to_vec(), ..Request::default() };
            driftless_transfer::send(session, options, &request, journal)
        }
        false => {
            maps::check(&options.metadata).map_err(|text| PushError::Fatal { text, exit: 1 })?;
            let destination = paths.first().cloned().or_else(|| Some(b".".to_vec()));
            let request = Request { destination, ..Request::default() };
            driftless_transfer::receive(session, options, &request, journal)
        }
    };
    match result {
        Ok(ending) => {
            journal.end(&ending);
            Ok(ending.exit_code())
        }
        // These were told through the session.
        Err(failure)
            if sender
                && matches!(
                    failure.error,
                    PushError::Usage(_) | PushError::Rules(_) | PushError::Charset { .. }
                ) =>
        {
            Ok(failure.error.exit_code())
        }
        Err(failure) => Err(failure.error),
    }
}
