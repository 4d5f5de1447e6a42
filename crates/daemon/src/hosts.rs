//! `hosts allow` and `hosts deny`. Daemon reference, "Host access".

use std::net::{IpAddr, ToSocketAddrs};

use driftless_filter::matches_wildcard;
use driftless_tree::path::printable;

use crate::peer::Peer;
use crate::words;

/// How a list is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum List {
    Allow,
    /// What cannot be understood or found out counts as a match.
    Deny,
}

/// Whether the lists admit a client. `log` gets what is wrong with them.
pub(crate) fn admits(
    allow: Option<&[u8]>,
    deny: Option<&[u8]>,
    peer: &mut Peer,
    looks_up: bool,
    log: &mut dyn FnMut(&str),
) -> bool {
    let given = |list: Option<&[u8]>| list.map(words::hosts).filter(|words| !words.is_empty());
    let (allow, deny) = (given(allow), given(deny));
    if let Some(allow) = &allow {
        if matches(allow, List::Allow, peer, looks_up, log) {
            return true;
        }
        if deny.is_none() {
            return false;
        }
    }
    !deny.is_some_and(|deny| matches(&deny, List::Deny, peer, looks_up, log))
}

/// Whether a client is one of the proxies.
pub(crate) fn is_listed(list: &[u8], peer: &mut Peer, log: &mut dyn FnMut(&str)) -> bool {
    matches(&words::hosts(list), List::Allow, peer, false, log)
}

fn matches(
    tokens: &[Vec<u8>],
    list: List,
    peer: &mut Peer,
    looks_up: bool,
    log: &mut dyn FnMut(&str),
) -> bool {
    tokens.iter().any(|token| {
        matches_host(token, list, peer, looks_up) || matches_address(token, list, peer, log)
    })
}

fn matches_host(token: &[u8], list: List, peer: &mut Peer, looks_up: bool) -> bool {
    if matches_wildcard(token, peer.name.to_ascii_lowercase().as_bytes()) {
        return true;
    }
    let is_number = token.iter().all(|b| b.is_ascii_digit() || *b == b'.');
    if !looks_up || is_number || token.iter().any(|b| b":/*?[@".contains(b)) {
        return false;
    }
    let Some(addr) = peer.addr else { return false };
    let found = std::str::from_utf8(token).ok().and_then(|name| (name, 0).to_socket_addrs().ok());
    let Some(mut found) = found else { return list == List::Deny };
    let is_theirs = found.any(|one| one.ip().to_canonical() == addr);
    if is_theirs && peer.lacks_name() {
        peer.name = String::from_utf8_lossy(token).into_owned();
    }
    is_theirs
}

fn matches_address(token: &[u8], list: List, peer: &Peer, log: &mut dyn FnMut(&str)) -> bool {
    let looks_numeric = match token.iter().position(|b| *b == b':') {
        Some(_) => true,
        None => {
            let address = token.split(|b| *b == b'/').next().unwrap_or_default();
            !address.is_empty() && address.iter().all(|b| b.is_ascii_digit() || *b == b'.')
        }
    };
    if !looks_numeric {
        return false;
    }
    match Network::parse(token) {
        Ok(network) => peer.addr.is_some_and(|addr| network.holds(addr, peer.scope)),
        Err(Malformed::Mask) => {
            log(&format!("malformed mask in {}", printable(token)));
            list == List::Deny
        }
        Err(Malformed::Address) => {
            let shown = printable(token);
            log(&format!("error matching address {shown}: Name or service not known"));
            list == List::Deny
        }
    }
}

/// Addresses that have the first bits in common.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Network {
    base: IpAddr,
    mask: u128,
    scope: Option<Vec<u8>>,
}

/// What is wrong with an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Malformed {
    Address,
    Mask,
}

impl Network {
    /// `ADDRESS`, `ADDRESS/BITS` or `ADDRESS/MASK`.
    pub(crate) fn parse(token: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(token).map_err(|_| Malformed::Address)?;
        let (address, mask) = match text.split_once('/') {
            Some((address, mask)) => (address, Some(mask)),
            None => (text, None),
        };
        let (address, scope) = match address.split_once('%') {
            Some((address, scope)) => (address, Some(scope.as_bytes().to_vec())),
            None => (address, None),
        };
        let base: IpAddr = address.parse().map_err(|_| Malformed::Address)?;
        let width = if base.is_ipv4() { 32 } else { 128 };
        let ones = |bits: u32| match bits {
            0 => 0,
            bits => (u128::MAX << (128 - bits)) >> (128 - width),
        };
        let mask = match mask {
            None => ones(width),
            Some(mask) => match mask.parse::<IpAddr>() {
                Ok(mask) if mask.is_ipv4() == base.is_ipv4() => number(mask),
                Ok(_) => return Err(Malformed::Mask),
                Err(_) => match mask.parse::<u32>() {
                    Ok(bits) if bits <= width => ones(bits),
                    _ => return Err(Malformed::Mask),
                },
            },
        };
        Ok(Self { base, mask, scope })
    }

    fn holds(&self, addr: IpAddr, scope: u32) -> bool {
        let scope_fits = self.scope.as_ref().is_none_or(|name| {
            let number = std::str::from_utf8(name).ok().and_then(|text| {
                let by_name = rustix_index(text);
                by_name.or_else(|| text.parse().ok())
            });
            number == Some(scope)
        });
        addr.is_ipv4() == self.base.is_ipv4()
            && scope_fits
            && (number(addr) ^ number(self.base)) & self.mask == 0
    }
}

/// The number of an interface.
fn rustix_index(name: &str) -> Option<u32> {
    let path = format!("/sys/class/net/{name}/ifindex");
    if name.contains('/') {
        return None;
    }
    std::fs::read_to_string(path).ok()?.trim().parse().ok()
}

fn number(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(v4) => u32::from(v4).into(),
        IpAddr::V6(v6) => u128::from(v6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(allow: &str, deny: &str, addr: &str, expected: bool) {
        let mut peer = Peer::at((addr.parse::<IpAddr>().unwrap(), 0).into());
        peer.name = "Web1.Example.COM".to_owned();
        let list = |text: &'static str| (!text.is_empty()).then_some(text.as_bytes());
        let (allow_list, deny_list) = (allow.to_owned().leak(), deny.to_owned().leak());
        let found = admits(list(allow_list), list(deny_list), &mut peer, true, &mut |_| {});
        assert_eq!(found, expected, "allow {allow}, deny {deny}, {addr}");
    }

    #[test]
    fn allow_comes_before_deny_and_silence_admits() {
        check("", "", "10.0.0.1", true);
        check("10.0.0.1", "", "10.0.0.1", true);
        check("10.0.0.1", "", "10.0.0.2", false);
        check("10.0.0.1", "*", "10.0.0.1", true);
        check("10.0.0.1", "*", "10.0.0.2", false);
        check("10.0.0.1", "10.0.0.3", "10.0.0.2", true);
        check("", "10.0.0.2", "10.0.0.2", false);
    }

    #[test]
    fn names_and_networks_match() {
        check("*.example.com", "", "10.0.0.1", true);
        check("web[1-3].example.com", "", "10.0.0.1", true);
        check("*.example.org", "", "10.0.0.1", false);
        check("10.0.0.0/8", "", "10.9.9.9", true);
        check("10.0.0.0/255.0.0.0", "", "11.9.9.9", false);
        check("0.0.0.0/0", "", "1.2.3.4", true);
        check("::/0", "", "1.2.3.4", false);
        check("2001:db8::/32", "", "2001:db8:1::5", true);
        check("10.0.0.1", "", "::ffff:10.0.0.1", true);
        check("fe80::1", "", "fe80::1", true);
    }

    #[test]
    fn what_cannot_be_understood_admits_nobody() {
        check("10.0.0.0/33", "", "10.0.0.1", false);
        check("", "10.0.0.0/33", "10.0.0.1", false);
        check("", "999.1.1.1", "10.0.0.1", false);
        check("no-such-host.invalid", "", "10.0.0.1", false);
        check("", "no-such-host.invalid", "10.0.0.1", false);
    }
}
