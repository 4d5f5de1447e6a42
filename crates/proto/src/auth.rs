//! Proof that a client knows the password of a module's user.
//!
//! Protocol reference, section "Authentication". The challenge counts as the text that was sent;
//! where users and passwords come from is not known here.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::Violation;

/// A digest that rsync uses for authentication.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Digest {
    /// SHA-512.
    Sha512,
    /// SHA-256.
    Sha256,
    /// SHA-1.
    Sha1,
    /// MD5.
    Md5,
    /// MD4.
    Md4,
}

impl Digest {
    /// All of them, strongest first; both ends must offer and prefer in this order, because a
    /// server of version 3.5.0 goes by its own.
    pub const PREFERENCE: [Self; 5] =
        [Self::Sha512, Self::Sha256, Self::Sha1, Self::Md5, Self::Md4];

    /// The name in a greeting.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sha512 => "sha512",
            Self::Sha256 => "sha256",
            Self::Sha1 => "sha1",
            Self::Md5 => "md5",
            Self::Md4 => "md4",
        }
    }

    /// The digest of that name.
    pub fn of(name: &[u8]) -> Option<Self> {
        Self::PREFERENCE.into_iter().find(|d| d.name().as_bytes().eq_ignore_ascii_case(name))
    }

    fn hash(self, parts: &[&[u8]]) -> Vec<u8> {
        match self {
            Self::Sha512 => hash::<sha2::Sha512>(parts),
            Self::Sha256 => hash::<sha2::Sha256>(parts),
            Self::Sha1 => hash::<sha1::Sha1>(parts),
            Self::Md5 => hash::<md5::Md5>(parts),
            Self::Md4 => hash::<md4::Md4>(parts),
        }
    }
}

fn hash<D: md5::Digest>(parts: &[&[u8]]) -> Vec<u8> {
    let mut state = D::new();
    for part in parts {
        state.update(part);
    }
    state.finalize().to_vec()
}

/// Base64 with padding, as HTTP has it.
pub fn base64(bytes: &[u8]) -> String {
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// The digest for a session with a peer whose greeting lists `offered`.
///
/// # Errors
/// None of the peer's digests is known.
pub fn choose(offered: &[Digest], protocol: u8) -> Result<Digest, Violation> {
    match offered {
        // The list is absent in the greetings of old versions.
        [] if protocol >= 32 => Err(Violation::NothingInCommon {
            what: "authentication digest",
            offered: String::new(),
        }),
        [] if protocol >= 30 => Ok(Digest::Md5),
        [] => Ok(Digest::Md4),
        _ => Ok(Digest::PREFERENCE
            .into_iter()
            .find(|digest| offered.contains(digest))
            .expect("a list of digests holds one of all digests")),
    }
}

/// The text that proves knowledge of `password`, for the client's line "USER TEXT".
pub fn respond(digest: Digest, password: &[u8], challenge: &[u8], protocol: u8) -> String {
    // Below protocol 30, MD4 sums start with a seed, here always zero.
    let seed: &[u8] = if digest == Digest::Md4 && protocol < 30 { &[0; 4] } else { &[] };
    encode(&digest.hash(&[seed, password, challenge]))
}

/// Whether `response` proves knowledge of `password`; takes as long for a wrong one as for the
/// right one.
pub fn verify(
    digest: Digest,
    password: &[u8],
    challenge: &[u8],
    protocol: u8,
    response: &[u8],
) -> bool {
    let right = respond(digest, password, challenge, protocol);
    let differing = right.bytes().zip(response).fold(0, |bits, (a, &b)| bits | (a ^ b));
    right.len() == response.len() && differing == 0
}

/// Random or digest bytes as the text of the handshake: base64 without padding.
pub fn encode(raw: &[u8]) -> String {
    STANDARD_NO_PAD.encode(raw)
}

/// Writes the client's answer to a challenge.
pub fn put_response(out: &mut Vec<u8>, user: &[u8], response: &str) {
    out.extend_from_slice(user);
    out.push(b' ');
    out.extend_from_slice(response.as_bytes());
    out.push(b'\n');
}

/// Separates the client's answer into user and response; `None` when it has no blank.
pub fn parse_response(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let blank = line.iter().position(|&b| b == b' ')?;
    let (user, rest) = line.split_at(blank);
    Some((user, rest.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHALLENGE: &[u8] =
        b"4/GK2TbOF+Ao3PLqJCOF8O8AVlbMtkMK2u187jQZ8IztPmu6bcFUbsL+d8tGHT8W+VzRjacLg2k3weV44+5HeQ";

    #[test]
    fn the_response_is_that_of_the_captured_session() {
        let expected = "CKqnM9xJjbMjZND3lmPq5Jx92TdcAGtM+jRoeIUYyaf1AK3FPfflbWpa4Oof9fQENsv+N+mqFsaXA1LI9CsOfA";
        let response = respond(Digest::Sha512, b"s3cret", CHALLENGE, 32);
        assert_eq!(response, expected);
        assert!(verify(Digest::Sha512, b"s3cret", CHALLENGE, 32, expected.as_bytes()));
        assert!(!verify(Digest::Sha512, b"secret", CHALLENGE, 32, expected.as_bytes()));
        assert!(!verify(Digest::Sha512, b"s3cret", CHALLENGE, 32, b""));
    }

    #[test]
    fn responses_have_the_lengths_of_their_digests() {
        let lens = Digest::PREFERENCE.map(|d| respond(d, b"p", b"c", 32).len());
        assert_eq!(lens, [86, 43, 27, 22, 22]);
    }

    #[test]
    fn protocol_29_seeds_md4_with_zeros() {
        let plain = respond(Digest::Md4, b"\0\0\0\0p", b"c", 30);
        assert_eq!(respond(Digest::Md4, b"p", b"c", 29), plain);
    }

    #[test]
    fn the_own_preference_decides_and_old_greetings_have_a_fallback() {
        assert_eq!(choose(&[Digest::Md5, Digest::Sha256], 32), Ok(Digest::Sha256));
        assert_eq!(choose(&[], 31), Ok(Digest::Md5));
        assert_eq!(choose(&[], 29), Ok(Digest::Md4));
        assert!(choose(&[], 32).is_err());
    }

    #[test]
    fn an_answer_separates_at_its_first_blank() {
        let mut out = Vec::new();
        put_response(&mut out, b"alice", "CKqn");
        assert_eq!(out, b"alice CKqn\n");
        assert_eq!(parse_response(b"alice CKqn"), Some((&b"alice"[..], &b"CKqn"[..])));
        assert_eq!(parse_response(b"alice"), None);
    }
}
