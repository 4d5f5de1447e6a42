//! `RSYNC_PROXY`: a daemon connection through an HTTP proxy's CONNECT method.

use driftless_proto::Decode;
use driftless_proto::greeting::take_line;

use crate::connect::handshake::need;
use crate::driver::Driver;
use crate::error::PushError;
use crate::link::Link;

/// Longest line of a proxy's answer.
const MAX_LINE: usize = 8 * 1024;

/// Most lines of it.
const MAX_LINES: usize = 1000;

/// A proxy and who we are to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy {
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// `USER:PASSWORD`.
    pub credentials: Option<String>,
}

impl Proxy {
    /// Parses `[USER:PASSWORD@]HOST:PORT`; `None` when it is not of this form.
    pub fn parse(text: &str) -> Option<Self> {
        let (credentials, address) = match text.rsplit_once('@') {
            Some((credentials, address)) => (Some(credentials), address),
            None => (None, text),
        };
        if credentials.is_some_and(|credentials| !credentials.contains(':')) {
            return None;
        }
        let (host, port) = address.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let credentials = credentials.map(str::to_owned);
        (!host.is_empty()).then(|| Self { host: host.to_owned(), port, credentials })
    }

    /// Asks for a tunnel to `host` and reads the answer.
    ///
    /// # Errors
    /// The proxy refuses, or is none.
    pub(crate) fn open_tunnel(
        &self,
        link: &mut Link,
        host: &str,
        port: u16,
        driver: &mut dyn Driver,
    ) -> Result<(), PushError> {
        let mut request = format!("CONNECT {host}:{port} HTTP/1.0\r\n");
        if let Some(credentials) = &self.credentials {
            let encoded = driftless_proto::auth::base64(credentials.as_bytes());
            request.push_str(&format!("Proxy-Authorization: Basic {encoded}\r\n"));
        }
        request.push_str("\r\n");
        link.output.unframed(request.as_bytes());
        let mut line = |link: &mut Link| -> Result<Vec<u8>, PushError> {
            need(link, driver, |input| -> Result<Vec<u8>, Decode> { take_line(input, MAX_LINE) })
        };
        let status = line(link)?;
        let text = String::from_utf8_lossy(&status).into_owned();
        let mut words = text.split_ascii_whitespace();
        let is_http = words.next().is_some_and(|word| word.starts_with("HTTP/"));
        let is_success = words.next().is_some_and(|code| code.starts_with('2'));
        if !is_http || !is_success {
            return Err(PushError::Proxy { answer: status });
        }
        for _ in 0..MAX_LINES {
            if line(link)?.is_empty() {
                return Ok(());
            }
        }
        Err(PushError::Proxy { answer: status })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_has_a_port_and_perhaps_credentials() {
        let plain = Proxy::parse("cache.example:3128").unwrap();
        assert_eq!(
            (plain.host.as_str(), plain.port, plain.credentials),
            ("cache.example", 3128, None)
        );
        let named = Proxy::parse("u:p@w@h:1").unwrap();
        assert_eq!(named.credentials.as_deref(), Some("u:p@w"));
        for bad in ["host", "host:x", ":1", "user@host:1"] {
            assert_eq!(Proxy::parse(bad), None, "{bad}");
        }
    }
}
