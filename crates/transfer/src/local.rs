//! A copy within this machine: both roles in this process, joined by a pair of sockets.
//!
//! The sender is the client and speaks to the caller; the receiving side is the server, on a thread
//! of its own, and what it has to say travels through the session.

use std::os::unix::net::UnixStream;

use crate::connect::stream::Stream;
use crate::connect::{Connection, Direction, End, can_recurse_incrementally};
use crate::error::PushError;
use crate::options::TransferOptions;
use crate::receiver::role::receive_from;
use crate::report::{Quiet, Report};
use crate::request::{Ending, Request, SessionFailure};
use crate::sender::role::send;

/// Copies what `request` names to its destination.
///
/// # Errors
/// As for [`crate::send`] and [`crate::receive`].
pub fn copy(
    options: &TransferOptions,
    request: &Request,
    report: &mut dyn Report,
) -> Result<Ending, Box<SessionFailure>> {
    let failed = |error: PushError| Box::new(SessionFailure { error, ending: Ending::default() });
    let (ours, theirs) = UnixStream::pair().map_err(|error| failed(error.into()))?;
    let ours = Stream::socket(ours).map_err(|error| failed(error.into()))?;
    let theirs = Stream::socket(theirs).map_err(|error| failed(error.into()))?;
    std::thread::scope(|scope| {
        let receiver = scope.spawn(move || serve(theirs, options, request));
        let sent = Connection::new(ours, None, options)
            .negotiate(End::Client, Direction::Send, options, report)
            .map_err(failed)
            .and_then(|established| send(established, options, request, report));
        let received = receiver.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        // What the receiving side met was told through the session, but for its own end.
        match (sent, received) {
            (Err(sent), Err(received)) if sent.error.exit_code() == 12 => {
                Err(Box::new(SessionFailure { error: received.error, ending: sent.ending }))
            }
            (Ok(mut sent), Ok(received)) => {
                sent.io_error |= received.io_error;
                Ok(sent)
            }
            (sent, _) => sent,
        }
    })
}

fn serve(
    stream: Stream,
    options: &TransferOptions,
    request: &Request,
) -> Result<Ending, Box<SessionFailure>> {
    let report = &mut Quiet;
    let mut info = Vec::with_capacity(16);
    info.push(b'.');
    // Each end asks for itself, as two programs would.
    if [Direction::Send, Direction::Receive]
        .into_iter()
        .all(|direction| can_recurse_incrementally(direction, options))
    {
        info.push(b'i');
    }
    info.extend_from_slice(b"LsfxCIvu");
    let end = End::Server { client_info: Some(info) };
    let established = Connection::new(stream, None, options)
        .negotiate(end, Direction::Receive, options, report)
        .map_err(|error| Box::new(SessionFailure { error, ending: Ending::default() }))?;
    receive_from(established, options, request, report, true)
}
