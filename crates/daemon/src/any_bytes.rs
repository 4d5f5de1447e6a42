//! Whatever bytes come, from a client, a proxy or a file: nothing panics, and how they were cut does
//! not matter. One function for each parser, which tests feed with random bytes and with the inputs
//! in `fuzz/seeds`, and fuzz targets with their own.

use std::net::{IpAddr, Ipv6Addr};
use std::path::Path;

use driftless_proto::args::{take_args, take_secluded, unquote};
use driftless_proto::auth::parse_response;

use crate::args::{option_path, sanitized, without_module, words};
use crate::auth::{self, Proof};
use crate::conf::lint::lint;
use crate::conf::params::{Kind, PARAMS, Param};
use crate::conf::text::{Line, Lines};
use crate::conf::{Key, expand, load};
use crate::door::{Door, Step};
use crate::peer::Peer;
use crate::proxy::{self, Taken};
use crate::refuse::Refusals;
use crate::{greet, hosts};

/// What parts of an input stand between, where it has some.
const BETWEEN: u8 = 0xff;

/// Feeds a door until it has decided; returns that, and how many bytes it took to.
fn decide<'b>(door: &mut Door, pieces: impl Iterator<Item = &'b [u8]>) -> (Step, usize) {
    let mut fed = 0;
    for piece in pieces {
        door.input.extend_from_slice(piece);
        fed += piece.len();
        match door.step() {
            Step::Wait => {}
            step => return (step, fed),
        }
    }
    (Step::Wait, fed)
}

/// The front of a connection: a proxy's header where the first byte is odd, greeting, module.
pub fn door(input: &[u8]) {
    let Some((first, bytes)) = input.split_first() else { return };
    let behind_proxy = first % 2 == 1;
    let mut whole = Door::new(behind_proxy);
    let mut singly = Door::new(behind_proxy);
    let (step, _) = decide(&mut whole, std::iter::once(bytes));
    let (same, fed) = decide(&mut singly, bytes.chunks(1));
    assert_eq!(step, same);
    assert_eq!(whole.caller, singly.caller);
    if !matches!(step, Step::Close | Step::Refuse(_)) {
        // What comes behind is left as it is.
        assert!(whole.input.ends_with(&bytes[fed..]));
    }
}

/// The header of a proxy.
pub fn proxy(input: &[u8]) {
    if let Taken::Header(header, len) = proxy::take(input) {
        assert!(len <= input.len());
        assert_eq!(proxy::take(&input[..len]), Taken::Header(header, len));
        for end in 0..len {
            assert_eq!(proxy::take(&input[..end]), Taken::Incomplete);
        }
    }
    // Nobody makes us wait for more than a header can be.
    let endless = [input, &[b'x'; 16 + 65_536]].concat();
    assert_ne!(proxy::take(&endless), Taken::Incomplete);
}

/// A list of hosts, behind the sixteen bytes of an address.
pub fn host_list(input: &[u8]) {
    let Some((address, list)) = input.split_first_chunk::<16>() else { return };
    let address = IpAddr::V6(Ipv6Addr::from(*address)).to_canonical();
    let mut peer = Peer::at((address, 1).into());
    peer.name = "host.example".to_owned();
    let mut admits = |allow, deny| hosts::admits(allow, deny, &mut peer, false, &mut |_| {});
    let allowed = admits(Some(list), None);
    let denied = !admits(None, Some(list));
    let is_empty = crate::words::hosts(list).is_empty();
    // What matches admits and shuts out alike; what cannot be understood admits nobody.
    assert!(is_empty || !allowed || denied);
}

/// A configuration, which is put into `file`.
///
/// # Panics
/// Also when the file cannot be written.
pub fn configuration(input: &[u8], file: &Path) {
    let leads_away = |path: &[u8]| path.iter().any(|b| b"/%".contains(b));
    let mut lines = Lines::new(input).map(|(_, line)| line);
    if lines.any(|line| matches!(line, Ok(Line::Directive { path, .. }) if leads_away(&path))) {
        // What else this machine has is no part of the input.
        return;
    }
    std::fs::write(file, input).expect("the file is ours");
    for finding in lint(file) {
        assert!(!finding.to_string().is_empty());
    }
    let Ok(config) = load(file, &[]) else { return };
    assert!(config.is_current());
    config.issues.iter().for_each(|issue| assert!(!issue.log_lines().is_empty()));
    greet::listing(&config, 32);
    for module in config.modules() {
        assert!(!module.name().is_empty());
        assert!(config.module(module.name()).is_some());
        let is_text = |param: &&Param| matches!(param.kind, Kind::Text | Kind::Path);
        for param in PARAMS.iter().filter(is_text) {
            let raw = module.raw(param.key).unwrap_or_default();
            let _ = expand::expand(raw, |name| (name.len() % 2 == 0).then(|| b"value".to_vec()));
        }
        let refused = module.raw(Key::RefuseOptions).unwrap_or_default();
        Refusals::new(refused, false, &mut |line| assert!(!line.is_empty()));
    }
}

/// Somebody logs in: secrets, list of users, and the line of the client.
pub fn login(input: &[u8]) {
    let mut parts = input.splitn(3, |b| *b == BETWEEN);
    let mut next = || parts.next().unwrap_or_default();
    let (secrets, users, line) = (next(), next(), next());
    let Some((user, response)) = parse_response(line) else { return };
    let rule = auth::rule(users, user, |_| vec![b"team".to_vec()]);
    let proof = Proof {
        digest: driftless_proto::auth::Digest::Md5,
        challenge: b"challenge",
        protocol: 32,
        response,
    };
    for group in [None, rule.ok().and_then(|rule| rule.group)] {
        // Nobody knows what to say by chance.
        assert!(auth::check(secrets, user, group.as_deref(), &proof).is_err());
    }
}

/// The arguments of a client, as they come.
pub fn arguments(input: &[u8]) {
    for args in [take_args(&mut &*input, 32), take_secluded(&mut &*input)].into_iter().flatten() {
        for arg in args {
            let plain = unquote(arg);
            for path in [&plain, arg].into_iter().flat_map(|arg| words(arg, b"m")) {
                climbs_nowhere(&path);
            }
            climbs_nowhere(&without_module(arg, b"m"));
        }
    }
    climbs_nowhere(input);
}

fn climbs_nowhere(path: &[u8]) {
    let has_no_dots = |path: &[u8]| path.split(|b| *b == b'/').all(|part| part != b"..");
    let clean = sanitized(path, 0);
    assert!(!clean.starts_with(b"/") && has_no_dots(&clean));
    let rooted = option_path(&[b"/", path].concat(), b"/srv/m", 9);
    assert!(rooted.starts_with(b"/srv/m/") && has_no_dots(&rooted));
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    /// Bytes that get past the first look.
    fn likely(starts: &'static [&'static [u8]], alphabet: &'static [u8]) -> BoxedStrategy<Vec<u8>> {
        let byte = prop_oneof![3 => prop::sample::select(alphabet), 1 => any::<u8>()];
        let rest = prop::collection::vec(byte, 0..200);
        (prop::sample::select(starts), rest)
            .prop_map(|(start, rest)| [start, &rest[..]].concat())
            .boxed()
    }

    const GREETINGS: &[&[u8]] = &[
        b"",
        b"\0@RSYNCD: 31.0 md5\n",
        b"\0@RSYNCD: 29\n",
        b"\0@RSYNCD: 31.0\n#early_input=3\n",
        b"\0@RSY",
        b"\x01PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n",
    ];

    const HEADERS: &[&[u8]] = &[
        b"",
        b"PROXY ",
        b"PROXY TCP4 1.2.3.4 ",
        b"\r\n\r\n\0\r\nQUIT\n",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c",
    ];

    proptest! {
        #[test]
        fn a_door_does_not_care_how_bytes_were_cut(
            bytes in likely(GREETINGS, b"@RSYNCD: 0123#=\n\0 modulest.")
        ) {
            door(&bytes);
        }

        #[test]
        fn a_proxys_header_has_one_length(
            bytes in likely(HEADERS, b"PROXYTC46 0123456789.:\r\n\0\x01\x11\x21")
        ) {
            proxy(&bytes);
        }

        #[test]
        fn a_list_of_hosts_decides_about_everybody(
            list in likely(&[b"", b"*", b"10.0.0.0/8 ", b"fe80::/10,"], b"0123456789abcdef.:/*?[]%, \t"),
            address in any::<IpAddr>(),
        ) {
            let address = match address {
                IpAddr::V4(v4) => v4.to_ipv6_mapped(),
                IpAddr::V6(v6) => v6,
            };
            host_list(&[&address.octets()[..], &list].concat());
        }

        #[test]
        fn any_text_is_a_configuration_or_none(
            text in likely(
                &[b"", b"[m]\npath = /x\n", b"&include ", b"uid = %", b"[m]\nrefuse options = "],
                b"[]=\n#;\\ &%abcxpathuid0"
            )
        ) {
            let folder = tempfile::tempdir().unwrap();
            configuration(&text, &folder.path().join("conf"));
        }

        #[test]
        fn no_line_of_secrets_lets_somebody_in_by_chance(
            secrets in likely(&[b"", b"alice:", b"@team:x\n", b"#alice:x\n"], b"alice:@team#\r\n"),
            users in likely(&[b"", b"alice", b"@team:rw, ", b"*"], b"alice@team:rwdeny, *?[]"),
            line in likely(&[b"alice ", b"@team ", b"", b"# "], b"alice@team#: \0"),
        ) {
            login(&[secrets, users, line].join(&BETWEEN));
        }

        #[test]
        fn no_path_of_a_client_climbs(
            path in likely(&[b"", b"/", b"../", b"a/../", b"m/../", b"rsync\0m/"], b"./abm\\ \0")
        ) {
            arguments(&path);
        }
    }

    /// A parser, under the name of its fuzz target.
    type Target = (&'static str, fn(&[u8]));

    const TARGETS: [Target; 6] = [
        ("daemon_args", arguments),
        ("daemon_conf", |input| {
            let folder = tempfile::tempdir().unwrap();
            configuration(input, &folder.path().join("conf"));
        }),
        ("daemon_door", door),
        ("daemon_hosts", host_list),
        ("daemon_login", login),
        ("daemon_proxy", proxy),
    ];

    #[test]
    fn each_parser_has_a_fuzz_target_and_stands_its_seeds() {
        let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz");
        let manifest = std::fs::read_to_string(fuzz.join("Cargo.toml")).unwrap();
        for (name, parse) in TARGETS {
            assert!(fuzz.join(format!("fuzz_targets/{name}.rs")).is_file(), "{name}");
            assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            let seeds: Vec<_> = std::fs::read_dir(fuzz.join("seeds").join(name)).unwrap().collect();
            assert!(!seeds.is_empty(), "no seeds for {name}");
            for seed in seeds {
                parse(&std::fs::read(seed.unwrap().path()).unwrap());
            }
        }
    }
}
