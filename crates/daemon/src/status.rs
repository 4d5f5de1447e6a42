//! What the processes of sessions tell the listener.

use std::io;
use std::net::IpAddr;
use std::os::unix::net::UnixDatagram;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// How long room is waited for, in seconds.
const PATIENCE: i64 = 10;

/// Something that happened in a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    /// An address has this name.
    Named { addr: IpAddr, name: String },
    /// Somebody was let into a module.
    Entered { module: String, user: String },
    /// A client has said what it wants, and it is done.
    Busy,
    /// Somebody did not prove who they are.
    Rejected,
}

/// Says it. Without a listener nobody hears.
#[derive(Debug, Default)]
pub(crate) struct Teller(Option<UnixDatagram>);

/// Where it is heard.
#[derive(Debug)]
pub(crate) struct Ear(UnixDatagram);

/// Both ends.
pub(crate) fn channel() -> io::Result<(Teller, Ear)> {
    let (ours, theirs) = UnixDatagram::pair()?;
    ours.set_nonblocking(true)?;
    theirs.set_nonblocking(true)?;
    Ok((Teller(Some(theirs)), Ear(ours)))
}

impl Teller {
    /// A full queue loses an event, and no session waits for it.
    pub(crate) fn say(&self, event: &Event) {
        let _ = self.send(std::process::id(), event);
    }

    /// Waits for room in the queue, up to [`PATIENCE`]: something depends on this event.
    pub(crate) fn insist(&self, event: &Event) {
        self.insist_as(std::process::id(), event);
    }

    /// As [`Teller::insist`], for another process.
    pub(crate) fn insist_as(&self, pid: u32, event: &Event) {
        let Some(socket) = &self.0 else { return };
        let limit = Timespec { tv_sec: PATIENCE, tv_nsec: 0 };
        while self.send(pid, event).is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            let room = poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&limit));
            if !matches!(room, Ok(1..)) {
                return;
            }
        }
    }

    fn send(&self, pid: u32, event: &Event) -> io::Result<()> {
        let Some(socket) = &self.0 else { return Ok(()) };
        let words = match event {
            Event::Named { addr, name } => format!("named\0{addr}\0{name}"),
            Event::Entered { module, user } => format!("entered\0{module}\0{user}"),
            Event::Busy => "busy".to_owned(),
            Event::Rejected => "rejected".to_owned(),
        };
        socket.send(format!("{pid}\0{words}").as_bytes()).map(drop)
    }

    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(Self(self.0.as_ref().map(UnixDatagram::try_clone).transpose()?))
    }
}

impl Ear {
    /// The next event, with the number of its process.
    pub(crate) fn next(&self) -> Option<(u32, Event)> {
        let mut buffer = [0; 4096];
        loop {
            let len = self.0.recv(&mut buffer).ok()?;
            let text = String::from_utf8_lossy(&buffer[..len]);
            let words: Vec<&str> = text.split('\0').collect();
            let event = match words[1..] {
                ["named", addr, name] => {
                    let Ok(addr) = addr.parse() else { continue };
                    Event::Named { addr, name: name.to_owned() }
                }
                ["entered", module, user] => {
                    Event::Entered { module: module.to_owned(), user: user.to_owned() }
                }
                ["busy"] => Event::Busy,
                ["rejected"] => Event::Rejected,
                _ => continue,
            };
            let Ok(pid) = words[0].parse() else { continue };
            return Some((pid, event));
        }
    }

    pub(crate) fn socket(&self) -> &UnixDatagram {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_heard_as_they_were_said() {
        let (teller, ear) = channel().unwrap();
        let events = [
            Event::Named { addr: "::1".parse().unwrap(), name: "localhost".to_owned() },
            Event::Entered { module: "m".to_owned(), user: String::new() },
            Event::Busy,
            Event::Rejected,
        ];
        events.iter().for_each(|event| teller.say(event));
        for event in events {
            assert_eq!(ear.next(), Some((std::process::id(), event)));
        }
        assert_eq!(ear.next(), None);
    }

    #[test]
    fn an_event_that_is_insisted_on_survives_a_full_queue() {
        let (teller, ear) = channel().unwrap();
        while teller.send(1, &Event::Rejected).is_ok() {}
        let name = Event::Named { addr: "::1".parse().unwrap(), name: "localhost".to_owned() };
        std::thread::scope(|scope| {
            let insisting = scope.spawn(|| teller.insist(&name));
            let mut last = None;
            while !insisting.is_finished() {
                last = ear.next().or(last);
            }
            last = std::iter::from_fn(|| ear.next()).last().or(last);
            assert_eq!(last, Some((std::process::id(), name.clone())));
        });
    }
}
