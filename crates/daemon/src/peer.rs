//! Who is at the other end of a connection.

use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

/// The longest host name.
const MAX_NAME_LEN: usize = 99;

/// What stands for a name that was not asked for.
pub(crate) const UNDETERMINED: &str = "UNDETERMINED";
/// What stands for a name that could not be found.
pub(crate) const UNKNOWN: &str = "UNKNOWN";

/// A client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Peer {
    /// `None` where no address is known.
    pub(crate) addr: Option<IpAddr>,
    /// Of the interface, for link-local addresses.
    pub(crate) scope: u32,
    pub(crate) name: String,
    /// As it is logged.
    pub(crate) shown: String,
}

impl Peer {
    pub(crate) fn at(addr: SocketAddr) -> Self {
        let scope = match addr {
            SocketAddr::V6(v6) => v6.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        let ip = addr.ip().to_canonical();
        let shown = match scope {
            0 => ip.to_string(),
            scope => format!("{ip}%{scope}"),
        };
        Self { addr: Some(ip), scope, name: UNDETERMINED.to_owned(), shown }
    }

    /// A client that a remote shell brought, by what the shell says of its address.
    pub(crate) fn of_shell(address: Option<String>) -> Self {
        let address = address.as_deref().and_then(|text| text.split_whitespace().next());
        let parsed = address.and_then(|text| text.parse::<IpAddr>().ok());
        match (parsed, address) {
            (Some(ip), Some(text)) => Self { shown: text.to_owned(), ..Self::at((ip, 0).into()) },
            _ => Self { addr: None, scope: 0, name: UNKNOWN.into(), shown: "0.0.0.0".into() },
        }
    }

    /// `NAME (ADDRESS)`
    pub(crate) fn both(&self) -> String {
        format!("{} ({})", self.name, self.shown)
    }

    pub(crate) fn lacks_name(&self) -> bool {
        self.name == UNDETERMINED
    }

    /// What failures from this address are counted under: an IPv6 network has more addresses than
    /// anybody needs.
    pub(crate) fn origin(&self) -> Option<IpAddr> {
        self.addr.map(|addr| match addr {
            IpAddr::V6(v6) => {
                let [a, b, c, d, ..] = v6.segments();
                IpAddr::from([a, b, c, d, 0, 0, 0, 0])
            }
            v4 => v4,
        })
    }
}

/// The name of an address, confirmed by looking it up in turn; with what is to be logged.
pub(crate) fn find_name(addr: IpAddr) -> (String, Vec<String>) {
    let unknown = |why: String| (UNKNOWN.to_owned(), vec![why]);
    let name = match driftless_fs::host_name(addr) {
        Ok(name) if name.len() <= MAX_NAME_LEN => name,
        Ok(_) => return unknown(format!("name lookup failed for {addr}: the name is too long")),
        Err(why) => return unknown(format!("name lookup failed for {addr}: {why}")),
    };
    match (name.as_str(), 0).to_socket_addrs() {
        Err(why) => unknown(format!("forward name lookup for {name} failed: {why}")),
        Ok(mut found) => match found.any(|one| one.ip().to_canonical() == addr) {
            true => (name, Vec::new()),
            false => {
                unknown(format!("{addr} is not a known address for \"{name}\": spoofed address?"))
            }
        },
    }
}
