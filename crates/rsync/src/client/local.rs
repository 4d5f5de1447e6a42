//! A listing within one machine: the client reads what another end in the same process sends.

use std::os::unix::net::UnixStream;

use driftless_transfer::connect::stream::Stream;
use driftless_transfer::connect::{Connection, Direction, End, Established};
use driftless_transfer::report::Quiet;
use driftless_transfer::{
    Ending, PushError, Report, Request, SessionFailure, TransferOptions, receive, send,
};

/// What the client says of itself. Without `i`: lists that come as they are needed would be
/// printed in another order.
const ABILITIES: &[u8] = b".LsfxCIvu";

/// Lists the sources of `request`.
///
/// # Errors
/// What ended the client's part.
pub fn list(
    options: &TransferOptions,
    request: &Request,
    report: &mut dyn Report,
) -> Result<Ending, Box<SessionFailure>> {
    let (near, far) = UnixStream::pair().map_err(|error| failure(error.into()))?;
    std::thread::scope(|scope| {
        let sender = scope.spawn(move || {
            let end = End::Server { client_info: Some(ABILITIES.to_vec()) };
            let session = establish(far, end, Direction::Send, options, &mut Quiet)?;
            send(session, options, request, &mut Quiet)
        });
        let listed = establish(near, End::Client, Direction::Receive, options, report)
            .and_then(|session| receive(session, options, request, report));
        let sent = sender.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let mut ending = listed?;
        // What the sender could not list counts, too.
        ending.peer_exit = sent.ok().map(|sent| i32::from(sent.exit_code()));
        Ok(ending)
    })
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
) -> Result<Established, Box<SessionFailure>> {
    let stream = Stream::socket(socket).map_err(|error| failure(error.into()))?;
    let connection = Connection::new(stream, None, options);
    connection.negotiate(end, direction, options, report).map_err(failure)
}
