//! A copy or a listing within this machine: both roles in this process, joined by a pair of
//! sockets; whole files go past them (`handover`).
//!
//! The client speaks to the caller: the sender of a copy, the receiving side of a listing. The other
//! one is the server, on a thread of its own, and what it has to say travels through the session.

use std::borrow::Cow;
use std::os::unix::net::UnixStream;

use crate::connect::stream::Stream;
use crate::connect::{Connection, Direction, End, Established, can_recurse_incrementally};
use crate::error::PushError;
use crate::handover::Handover;
use crate::options::TransferOptions;
use crate::receiver::role::{Sender, receive_from};
use crate::report::{Quiet, Report};
use crate::request::{Ending, Request, SessionFailure};
use crate::sender::role::{send, send_by};

type Ended = Result<Ending, Box<SessionFailure>>;

/// Copies what `request` names to its destination; without one, or with `--list-only`, lists it.
/// `across` are the options as the server has them, which differ where `-M` says so.
///
/// # Errors
/// As for [`crate::send`] and [`crate::receive`].
pub fn copy(
    options: &TransferOptions,
    across: &TransferOptions,
    request: &Request,
    report: &mut dyn Report,
) -> Ended {
    let (near, far) = UnixStream::pair().map_err(|error| failed(error.into()))?;
    let lists = request.destination.is_none() || options.selection.list_only;
    // What is listed is read as by a client.
    let of_server = &*of_server(if lists { options } else { across });
    let way = Handover::between(options, request).filter(|_| !lists);
    let (here, there) = (way.as_ref(), Sender::Local(way.clone()));
    std::thread::scope(|scope| {
        let server = scope.spawn(move || match lists {
            true => {
                // Lists that come as they are needed would be printed in another order.
                let session = serve(far, Direction::Send, false, of_server)?;
                send(session, of_server, request, &mut Quiet)
            }
            false => {
                // Each end asks for itself, as two programs would.
                let incremental = can_recurse_incrementally(Direction::Send, options)
                    && can_recurse_incrementally(Direction::Receive, of_server);
                let session = serve(far, Direction::Receive, incremental, of_server)?;
                receive_from(session, of_server, request, &mut Quiet, &there)
            }
        });
        let direction = if lists { Direction::Receive } else { Direction::Send };
        let options = &*if lists { of_reader(options) } else { Cow::Borrowed(options) };
        let client =
            establish(near, End::Client, direction, options, report).and_then(
                |session| match lists {
                    true => {
                        let there = Sender::Local(None);
                        receive_from(session, options, request, report, &there)
                    }
                    false => send_by(session, options, request, report, here),
                },
            );
        if let Some(way) = &way {
            way.close();
        }
        let server = server.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        if lists { listed(client, server) } else { copied(client, server) }
    })
}

/// The options as a server would be told of them: with its own character set.
fn of_server(options: &TransferOptions) -> Cow<'_, TransferOptions> {
    let spec = options.metadata.iconv.as_deref().unwrap_or_default();
    let Some(comma) = spec.iter().position(|b| *b == b',') else {
        return Cow::Borrowed(options);
    };
    let own = spec.get(comma + 1..).map(<[u8]>::to_vec);
    let mut options = options.clone();
    options.metadata.iconv = own;
    Cow::Owned(options)
}

/// The options of a listing's reading end. The other end reads the list of names itself.
fn of_reader(options: &TransferOptions) -> Cow<'_, TransferOptions> {
    if options.selection.files_from.is_none() {
        return Cow::Borrowed(options);
    }
    let mut options = options.clone();
    options.selection.files_from = None;
    options.trust_sender = true;
    Cow::Owned(options)
}

fn listed(client: Ended, server: Ended) -> Ended {
    let mut ending = client?;
    // What the sender could not list counts, too.
    ending.peer_exit = server.ok().map(|sent| i32::from(sent.exit_code()));
    Ok(ending)
}

/// What the receiving side met was told through the session, but for its own end.
fn copied(client: Ended, server: Ended) -> Ended {
    match (client, server) {
        // Old protocols tell a text and no code.
        (Err(sent), Err(_)) if matches!(sent.error, PushError::PeerLeft { .. }) => Err(sent),
        (Err(sent), Err(received)) if sent.error.exit_code() == 12 => {
            Err(Box::new(SessionFailure { error: received.error, ending: sent.ending }))
        }
        (Ok(mut sent), Ok(received)) => {
            sent.peer_exit = Some(i32::from(received.exit_code()));
            Ok(sent)
        }
        (sent, _) => sent,
    }
}

fn serve(
    socket: UnixStream,
    direction: Direction,
    incremental: bool,
    options: &TransferOptions,
) -> Result<Established, Box<SessionFailure>> {
    let info = if incremental { &b".iLsfxCIvu"[..] } else { b".LsfxCIvu" };
    let end = End::Server { client_info: Some(info.to_vec()) };
    establish(socket, end, direction, options, &mut Quiet)
}

fn establish(
    socket: UnixStream,
    end: End,
    direction: Direction,
    options: &TransferOptions,
    report: &mut dyn Report,
) -> Result<Established, Box<SessionFailure>> {
    let stream = Stream::socket(socket).map_err(|error| failed(error.into()))?;
    let connection = Connection::new(stream, None, options).within_process();
    connection.negotiate(end, direction, options, report).map_err(failed)
}

fn failed(error: PushError) -> Box<SessionFailure> {
    Box::new(SessionFailure { error, ending: Ending::default() })
}
