//! A copy within one machine: both ends in one process, joined by a socket pair.
//!
//! As in the original the client sends and the other end receives; for a listing it is the other
//! way round.

use std::os::unix::net::UnixStream;
use std::thread::JoinHandle;

use driftless_transfer::connect::stream::Stream;
use driftless_transfer::connect::{Connection, Direction, End, Established};
use driftless_transfer::report::Quiet;
use driftless_transfer::{
    Ending, PushError, Report, Request, SessionFailure, TransferOptions, receive, send,
};

/// What a client that can do everything says of itself.
const ABILITIES: &[u8] = b".iLsfxCIvu";

/// Copies, or lists where there is no destination. Each of the parts fails by itself; the code is
/// the larger one.
///
/// # Errors
/// What ended the client's part.
pub fn run(
    options: &TransferOptions,
    request: &Request,
    report: &mut dyn Report,
) -> Result<(Ending, u8), Box<SessionFailure>> {
    let mut options = options.clone();
    if options.whole_file.is_none() && !options.talk.only_write_batch {
        options.whole_file = Some(true);
    }
    let (near, far) = UnixStream::pair().map_err(|error| failure(error.into()))?;
    let lists = request.destination.is_none();
    let other = spawn(far, options.clone(), request.clone(), lists);
    let direction = if lists { Direction::Receive } else { Direction::Send };
    let session = establish(near, End::Client, direction, &options, report).map_err(failure);
    let result = match session {
        Ok(session) if lists => receive(session, &options, request, report),
        Ok(session) => send(session, &options, request, report),
        Err(failure) => Err(failure),
    };
    // Its connection is closed by now, whatever happened, so it ends.
    let code = other.join().unwrap_or(15);
    result.map(|ending| (ending, ending.exit_code().max(code)))
}

fn failure(error: PushError) -> Box<SessionFailure> {
    Box::new(SessionFailure { error, ending: Ending::default() })
}

fn establish(
    socket: UnixStream,
    end: End,
    direction: Direction,
    options: &TransferOptions,
    report: &mut dyn Report,
) -> Result<Established, PushError> {
    let connection = Connection::new(Stream::socket(socket)?, None, options);
    connection.negotiate(end, direction, options, report)
}

/// Starts the other end. It returns its exit code.
fn spawn(
    socket: UnixStream,
    options: TransferOptions,
    request: Request,
    sends: bool,
) -> JoinHandle<u8> {
    std::thread::spawn(move || {
        let client_info = Some(ABILITIES.to_vec());
        let direction = if sends { Direction::Send } else { Direction::Receive };
        let end = End::Server { client_info };
        let session = establish(socket, end, direction, &options, &mut Quiet);
        let result = session.map_err(failure).and_then(|session| match sends {
            true => send(session, &options, &request, &mut Quiet),
            false => receive(session, &options, &request, &mut Quiet),
        });
        match result {
            Ok(ending) => ending.exit_code(),
            Err(failure) => failure.error.exit_code(),
        }
    })
}
