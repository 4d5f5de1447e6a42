//! `--sockopts`: options of a daemon connection's socket.

use std::io;

use socket2::{SockRef, Socket};
use std::time::Duration;

/// One option and its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SocketOption {
    kind: Kind,
    value: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    KeepAlive,
    ReuseAddress,
    Broadcast,
    NoDelay,
    LowDelay,
    Throughput,
    SendBuffer,
    ReceiveBuffer,
    SendTimeout,
    ReceiveTimeout,
}

/// Why a text is no list of socket options.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSocketOption {
    /// No option of that name.
    #[error("Unknown socket option {0}")]
    Unknown(String),
    /// A flag with a value.
    #[error("syntax error -- {0} does not take a value")]
    Value(String),
    /// An option without a number.
    #[error("the socket option {0} needs a number")]
    Number(String),
}

const NAMES: [(&str, Kind); 10] = [
    ("SO_KEEPALIVE", Kind::KeepAlive),
    ("SO_REUSEADDR", Kind::ReuseAddress),
    ("SO_BROADCAST", Kind::Broadcast),
    ("TCP_NODELAY", Kind::NoDelay),
    ("IPTOS_LOWDELAY", Kind::LowDelay),
    ("IPTOS_THROUGHPUT", Kind::Throughput),
    ("SO_SNDBUF", Kind::SendBuffer),
    ("SO_RCVBUF", Kind::ReceiveBuffer),
    ("SO_SNDTIMEO", Kind::SendTimeout),
    ("SO_RCVTIMEO", Kind::ReceiveTimeout),
];

/// Parses `NAME[=VALUE]`, separated by blanks, tabs or commas.
///
/// # Errors
/// The first word that is no option.
pub fn parse(text: &str) -> Result<Vec<SocketOption>, BadSocketOption> {
    let words = text.split([' ', '\t', ',']).filter(|word| !word.is_empty());
    words.map(parse_one).collect()
}

fn parse_one(word: &str) -> Result<SocketOption, BadSocketOption> {
    let (name, value) = match word.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (word, None),
    };
    let found = NAMES.iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
    let kind = found.ok_or_else(|| BadSocketOption::Unknown(name.to_owned()))?.1;
    let is_flag = matches!(kind, Kind::LowDelay | Kind::Throughput);
    let value = match value {
        Some(_) if is_flag => return Err(BadSocketOption::Value(name.to_owned())),
        Some(value) => value.parse().map_err(|_| BadSocketOption::Number(name.to_owned()))?,
        None => 1,
    };
    Ok(SocketOption { kind, value })
}

impl SocketOption {
    /// Sets it.
    ///
    /// # Errors
    /// What the kernel says.
    pub fn apply(self, socket: &Socket) -> io::Result<()> {
        const LOW_DELAY: u32 = 0x10;
        const THROUGHPUT: u32 = 0x08;
        let on = self.value != 0;
        let len = self.value as usize;
        let time = (self.value > 0).then(|| Duration::from_secs(self.value.into()));
        let socket = SockRef::from(socket);
        match self.kind {
            Kind::KeepAlive => socket.set_keepalive(on),
            Kind::ReuseAddress => socket.set_reuse_address(on),
            Kind::Broadcast => socket.set_broadcast(on),
            Kind::NoDelay => socket.set_tcp_nodelay(on),
            Kind::LowDelay => socket.set_tos_v4(LOW_DELAY),
            Kind::Throughput => socket.set_tos_v4(THROUGHPUT),
            Kind::SendBuffer => socket.set_send_buffer_size(len),
            Kind::ReceiveBuffer => socket.set_recv_buffer_size(len),
            Kind::SendTimeout => socket.set_write_timeout(time),
            Kind::ReceiveTimeout => socket.set_read_timeout(time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_separated_by_blanks_and_commas() {
        let options = parse("SO_KEEPALIVE, TCP_NODELAY=0\tso_sndbuf=4096").unwrap();
        let expected = [(Kind::KeepAlive, 1), (Kind::NoDelay, 0), (Kind::SendBuffer, 4096)];
        assert_eq!(options, expected.map(|(kind, value)| SocketOption { kind, value }));
    }

    #[test]
    fn what_is_no_option_is_named() {
        assert_eq!(parse("SO_FOO"), Err(BadSocketOption::Unknown("SO_FOO".into())));
        assert_eq!(parse("IPTOS_LOWDELAY=1"), Err(BadSocketOption::Value("IPTOS_LOWDELAY".into())));
        assert_eq!(parse("SO_SNDBUF=x"), Err(BadSocketOption::Number("SO_SNDBUF".into())));
    }
}
