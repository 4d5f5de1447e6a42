//! Whatever bytes come, from a client, a proxy or a file: nothing panics, and how they were cut does
//! not matter.

use proptest::prelude::*;

use crate::args::{option_path, sanitized};
use crate::auth::{self, Proof};
use crate::conf::load;
use crate::door::{Door, Step};
use crate::hosts;
use crate::peer::Peer;
use crate::proxy::{self, Taken};

/// Bytes that get past the first look.
fn likely(starts: &'static [&'static [u8]], alphabet: &'static [u8]) -> BoxedStrategy<Vec<u8>> {
    let byte = prop_oneof![3 => prop::sample::select(alphabet), 1 => any::<u8>()];
    let rest = prop::collection::vec(byte, 0..200);
    (prop::sample::select(starts), rest)
        .prop_map(|(start, rest)| [start, &rest[..]].concat())
        .boxed()
}

const GREETINGS: &[&[u8]] =
    &[b"", b"@RSYNCD: 31.0 md5\n", b"@RSYNCD: 29\n", b"@RSYNCD: 31.0\n#early_input=3\n", b"@RSY"];

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

proptest! {
    #[test]
    fn a_door_does_not_care_how_bytes_were_cut(
        bytes in likely(GREETINGS, b"@RSYNCD: 0123#=\n\0 modulest.")
    ) {
        let mut whole = Door::new(false);
        let mut singly = Door::new(false);
        let (step, _) = decide(&mut whole, std::iter::once(&bytes[..]));
        let (same, fed) = decide(&mut singly, bytes.chunks(1));
        prop_assert_eq!(&step, &same);
        prop_assert_eq!(&whole.caller, &singly.caller);
        if !matches!(step, Step::Close | Step::Refuse(_)) {
            // What comes behind is left as it is.
            prop_assert!(whole.input.ends_with(&bytes[fed..]));
        }
    }

    #[test]
    fn a_proxys_header_has_one_length(
        bytes in likely(
            &[b"", b"PROXY ", b"PROXY TCP4 1.2.3.4 ", b"\r\n\r\n\0\r\nQUIT\n", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c"],
            b"PROXYTC46 0123456789.:\r\n\0\x01\x11\x21",
        )
    ) {
        if let Taken::Header(header, len) = proxy::take(&bytes) {
            prop_assert!(len <= bytes.len());
            prop_assert_eq!(proxy::take(&bytes[..len]), Taken::Header(header, len));
            for end in 0..len {
                prop_assert_eq!(proxy::take(&bytes[..end]), Taken::Incomplete);
            }
        }
        // Nobody makes us wait for more than a header can be.
        let endless = [&bytes[..], &[b'x'; 16 + 65_536]].concat();
        prop_assert_ne!(proxy::take(&endless), Taken::Incomplete);
    }

    #[test]
    fn a_list_of_hosts_decides_about_everybody(
        list in likely(&[b"", b"*", b"10.0.0.0/8 ", b"fe80::/10,"], b"0123456789abcdef.:/*?[]%, \t"),
        addr in any::<std::net::IpAddr>(),
    ) {
        let mut peer = Peer::at((addr, 1).into());
        peer.name = "host.example".to_owned();
        let mut admits = |allow, deny| hosts::admits(allow, deny, &mut peer, false, &mut |_| {});
        let allowed = admits(Some(&list), None);
        let denied = !admits(None, Some(&list));
        let is_empty = crate::words::hosts(&list).is_empty();
        // What matches admits and shuts out alike; what cannot be understood admits nobody.
        prop_assert!(is_empty || !allowed || denied);
    }

    #[test]
    fn any_text_is_a_configuration_or_none(
        text in likely(&[b"", b"[m]\npath = /x\n", b"&include ", b"uid = %"], b"[]=\n#;\\ &%abcxpathuid0")
    ) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("conf");
        std::fs::write(&path, &text).unwrap();
        if let Ok(config) = load(&path, &[]) {
            config.modules().for_each(|module| drop(module.name().to_vec()));
        }
    }

    #[test]
    fn no_line_of_secrets_lets_somebody_in_by_chance(
        secrets in likely(&[b"", b"alice:", b"@team:x\n", b"#alice:x\n"], b"alice:@team#\r\n"),
        users in likely(&[b"", b"alice", b"@team:rw, ", b"*"], b"alice@team:rwdeny, *?[]"),
        user in likely(&[b"alice", b"@team", b"", b"#"], b"alice@team#:\0"),
        response in any::<Vec<u8>>(),
    ) {
        let _ = auth::rule(&users, &user, |_| vec![b"team".to_vec()]);
        let digest = driftless_proto::auth::Digest::Md5;
        let proof = Proof { digest, challenge: b"challenge", protocol: 32, response: &response };
        prop_assert!(auth::check(&secrets, &user, Some(b"team"), &proof).is_err());
    }

    #[test]
    fn no_path_of_a_client_climbs(path in likely(&[b"", b"/", b"../", b"a/../"], b"./ab")) {
        let clean = sanitized(&path, 0);
        prop_assert!(!clean.starts_with(b"/"));
        prop_assert!(clean.split(|b| *b == b'/').all(|part| part != b".."));
        let rooted = option_path(&[b"/", &path[..]].concat(), b"/srv/m", 9);
        prop_assert!(rooted.starts_with(b"/srv/m/"));
        prop_assert!(rooted.split(|b| *b == b'/').all(|part| part != b".."));
    }
}
