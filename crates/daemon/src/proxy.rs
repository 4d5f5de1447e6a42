//! The header that a proxy puts in front of a connection: who it is for. Daemon reference, "PROXY
//! header".

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Longest line of version 1, with its end.
const MAX_LINE_LEN: usize = 107;

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    /// The connection is for this client.
    From(SocketAddr),
    /// The connection is the proxy's own, or says nothing about the client.
    Own,
}

/// What the front of the input is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// A header, with its length.
    Header(Header, usize),
    /// The start of one.
    Incomplete,
    /// No header.
    Invalid,
}

pub(crate) fn take(input: &[u8]) -> Taken {
    let seen = input.len().min(SIGNATURE.len());
    if input[..seen] == SIGNATURE[..seen] {
        return if seen == SIGNATURE.len() { binary(input) } else { Taken::Incomplete };
    }
    text(input)
}

fn binary(input: &[u8]) -> Taken {
    let Some(&[command, family, high, low]) = input.get(12..16) else { return Taken::Incomplete };
    let len = usize::from(u16::from_be_bytes([high, low]));
    if command >> 4 != 2 || command & 0xf > 1 {
        return Taken::Invalid;
    }
    let Some(body) = input.get(16..16 + len) else { return Taken::Incomplete };
    let header = match (command & 0xf, family) {
        (0, _) => Some(Header::Own),
        // What follows the addresses is of no concern.
        (1, 0x11) => body.first_chunk::<12>().map(|body| {
            let [a, b, c, d, _, _, _, _, high, low, ..] = *body;
            let port = u16::from_be_bytes([high, low]);
            Header::From((Ipv4Addr::new(a, b, c, d), port).into())
        }),
        (1, 0x21) => body.first_chunk::<36>().map(|body| {
            let mut address = [0; 16];
            address.copy_from_slice(&body[..16]);
            let port = u16::from_be_bytes([body[32], body[33]]);
            Header::From((Ipv6Addr::from(address), port).into())
        }),
        _ => Some(Header::Own),
    };
    header.map_or(Taken::Invalid, |header| Taken::Header(header, 16 + len))
}

fn text(input: &[u8]) -> Taken {
    let mark = b"PROXY ";
    let seen = input.len().min(mark.len());
    if input[..seen] != mark[..seen] {
        return Taken::Invalid;
    }
    let window = &input[..input.len().min(MAX_LINE_LEN)];
    let Some(end) = window.windows(2).position(|pair| pair == b"\r\n") else {
        return if input.len() >= MAX_LINE_LEN { Taken::Invalid } else { Taken::Incomplete };
    };
    let words: Vec<&str> = match std::str::from_utf8(&input[mark.len()..end]) {
        Ok(line) => line.split(' ').collect(),
        Err(_) => return Taken::Invalid,
    };
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port != 0);
    let header = match words.as_slice() {
        ["UNKNOWN", ..] => Some(Header::Own),
        [family @ ("TCP4" | "TCP6"), from, to, from_port, to_port] => {
            let parse = |text: &str| {
                let address = text.parse::<IpAddr>().ok()?;
                (address.is_ipv4() == (*family == "TCP4")).then_some(address)
            };
            let from = parse(from).zip(port(from_port));
            from.filter(|_| parse(to).is_some() && port(to_port).is_some())
                .map(|from| Header::From(from.into()))
        }
        _ => None,
    };
    header.map_or(Taken::Invalid, |header| Taken::Header(header, end + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(text: &str) -> Header {
        Header::From(text.parse().unwrap())
    }

    #[test]
    fn lines_name_the_client() {
        let line = b"PROXY TCP4 1.2.3.4 5.6.7.8 1000 873\r\nrest";
        assert_eq!(take(line), Taken::Header(from("1.2.3.4:1000"), line.len() - 4));
        for cut in 0..line.len() - 5 {
            assert_eq!(take(&line[..cut]), Taken::Incomplete, "{cut}");
        }
        let line = b"PROXY TCP6 2001:db8::1 ::1 9 10\r\n";
        assert_eq!(take(line), Taken::Header(from("[2001:db8::1]:9"), line.len()));
        assert_eq!(take(b"PROXY UNKNOWN x\r\n"), Taken::Header(Header::Own, 17));
        for bad in [
            &b"GET / HTTP/1.0\r\n"[..],
            b"PROXY TCP4 ::1 ::1 1 2\r\n",
            b"PROXY TCP4 1.2.3.4 5.6.7.8 0 873\r\n",
            b"PROXY TCP4 1.2.3.4\r\n",
            &[b"PROXY ".as_slice(), &[b'x'; 120]].concat(),
        ] {
            assert_eq!(take(bad), Taken::Invalid, "{}", bad.escape_ascii());
        }
    }

    #[test]
    fn binary_headers_may_carry_more() {
        let with = |command: u8, family: u8, body: &[u8]| {
            let len = (body.len() as u16).to_be_bytes();
            [&SIGNATURE[..], &[command, family], &len, body].concat()
        };
        let v4 = [1, 2, 3, 4, 5, 6, 7, 8, 3, 0xe8, 3, 0x69];
        let header = with(0x21, 0x11, &[&v4[..], b"\x04\0\x01x"].concat());
        assert_eq!(take(&header), Taken::Header(from("1.2.3.4:1000"), header.len()));
        assert_eq!(take(&header[..20]), Taken::Incomplete);
        assert_eq!(take(&with(0x21, 0x11, &v4[..11])), Taken::Invalid);
        assert!(matches!(take(&with(0x20, 0, b"")), Taken::Header(Header::Own, 16)));
        assert!(matches!(take(&with(0x21, 0x31, &[0; 216])), Taken::Header(Header::Own, _)));
        assert_eq!(take(&with(0x11, 0x11, &v4)), Taken::Invalid);
        assert_eq!(take(&with(0x22, 0x11, &v4)), Taken::Invalid);
    }
}
