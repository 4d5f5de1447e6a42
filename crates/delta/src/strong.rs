//! Strong sums: the digests of blocks and of whole files that peers can agree on.
//!
//! Protocol reference, "Rolling and strong block sums" and "Whole-file checksum". How names are
//! negotiated is not known here.

use md5::Digest as _;
use std::fmt;
use std::hash::Hasher as _;
use twox_hash::{XxHash3_64, XxHash3_128, XxHash64};

/// The longest digest, in bytes (SHA-1).
pub const MAX_DIGEST_LEN: usize = 20;

/// A digest algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Strong {
    /// 128-bit XXH3.
    Xxh128,
    /// 64-bit XXH3.
    Xxh3,
    /// XXH64.
    Xxh64,
    /// MD5.
    Md5,
    /// MD4.
    Md4,
    /// SHA-1.
    Sha1,
    /// No digest: one zero byte in its place. Proves nothing, so no block is ever matched by it.
    None,
}

impl Strong {
    /// Bytes of a whole digest.
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Xxh128 | Self::Md5 | Self::Md4 => 16,
            Self::Xxh3 | Self::Xxh64 => 8,
            Self::Sha1 => 20,
            Self::None => 1,
        }
    }

    /// The strong sum of a block under the session's checksum `seed`. `seed_first` is the agreed
    /// fix of MD5's seed order (compatibility flag CHKSUM_SEED_FIX); other digests ignore it.
    pub fn block(self, seed: i32, seed_first: bool, data: &[u8]) -> Digest {
        // Sign-extended, as a peer written in C converts it.
        let wide_seed = i64::from(seed) as u64;
        let seed_bytes = seed.to_le_bytes();
        let seed_bytes: &[u8] = if seed == 0 { &[] } else { &seed_bytes };
        match self {
            Self::Xxh128 => {
                Digest::new(&XxHash3_128::oneshot_with_seed(wide_seed, data).to_le_bytes())
            }
            Self::Xxh3 => {
                Digest::new(&XxHash3_64::oneshot_with_seed(wide_seed, data).to_le_bytes())
            }
            Self::Xxh64 => Digest::new(&XxHash64::oneshot(wide_seed, data).to_le_bytes()),
            Self::Md5 if seed_first => Digest::of::<md5::Md5>(&[seed_bytes, data]),
            Self::Md5 => Digest::of::<md5::Md5>(&[data, seed_bytes]),
            Self::Md4 => Digest::of::<md4::Md4>(&[data, seed_bytes]),
            Self::Sha1 => Digest::of::<sha1::Sha1>(&[seed_bytes, data]),
            Self::None => Digest::new(&[0]),
        }
    }
}

/// A digest, stored inline.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest {
    bytes: [u8; MAX_DIGEST_LEN],
    len: u8,
}

impl Digest {
    fn new(raw: &[u8]) -> Self {
        let mut bytes = [0; MAX_DIGEST_LEN];
        bytes[..raw.len()].copy_from_slice(raw);
        Self { bytes, len: raw.len() as u8 }
    }

    fn of<D: md5::Digest>(parts: &[&[u8]]) -> Self {
        let mut hasher = D::new();
        for part in parts {
            hasher.update(part);
        }
        Self::new(&hasher.finalize())
    }

    /// Its bytes, as they are sent.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_bytes().iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The unseeded digest of a whole file, fed in pieces.
pub struct FileSum(Hasher);

enum Hasher {
    Xxh128(Box<XxHash3_128>),
    Xxh3(Box<XxHash3_64>),
    Xxh64(XxHash64),
    Md5(md5::Md5),
    Md4(md4::Md4),
    Sha1(sha1::Sha1),
    None,
}

impl FileSum {
    /// Starts at the beginning of a file.
    pub fn new(strong: Strong) -> Self {
        Self(match strong {
            Strong::Xxh128 => Hasher::Xxh128(Box::new(XxHash3_128::new())),
            Strong::Xxh3 => Hasher::Xxh3(Box::new(XxHash3_64::new())),
            Strong::Xxh64 => Hasher::Xxh64(XxHash64::with_seed(0)),
            Strong::Md5 => Hasher::Md5(md5::Md5::new()),
            Strong::Md4 => Hasher::Md4(md4::Md4::new()),
            Strong::Sha1 => Hasher::Sha1(sha1::Sha1::new()),
            Strong::None => Hasher::None,
        })
    }

    /// Takes the next bytes of the file.
    pub fn update(&mut self, data: &[u8]) {
        match &mut self.0 {
            Hasher::Xxh128(hasher) => hasher.write(data),
            Hasher::Xxh3(hasher) => hasher.write(data),
            Hasher::Xxh64(hasher) => hasher.write(data),
            Hasher::Md5(hasher) => hasher.update(data),
            Hasher::Md4(hasher) => hasher.update(data),
            Hasher::Sha1(hasher) => hasher.update(data),
            Hasher::None => {}
        }
    }

    /// The digest of all bytes taken.
    pub fn finish(self) -> Digest {
        match self.0 {
            Hasher::Xxh128(hasher) => Digest::new(&hasher.finish_128().to_le_bytes()),
            Hasher::Xxh3(hasher) => Digest::new(&hasher.finish().to_le_bytes()),
            Hasher::Xxh64(hasher) => Digest::new(&hasher.finish().to_le_bytes()),
            Hasher::Md5(hasher) => Digest::new(&hasher.finalize()),
            Hasher::Md4(hasher) => Digest::new(&hasher.finalize()),
            Hasher::Sha1(hasher) => Digest::new(&hasher.finalize()),
            Hasher::None => Digest::new(&[0]),
        }
    }
}

/// The unseeded digest of a whole file that is in memory.
pub fn file_digest(strong: Strong, data: &[u8]) -> Digest {
    strong.block(0, false, data)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Strong; 7] = [
        Strong::Xxh128,
        Strong::Xxh3,
        Strong::Xxh64,
        Strong::Md5,
        Strong::Md4,
        Strong::Sha1,
        Strong::None,
    ];

    #[test]
    fn digests_are_the_published_ones() {
        for (strong, hex) in [
            (Strong::Xxh128, "50392f89945faf7885613a73b65ab006"),
            (Strong::Md5, "900150983cd24fb0d6963f7d28e17f72"),
            (Strong::Md4, "a448017aaf21d8525fc10ae87aa6729d"),
            (Strong::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (Strong::None, "00"),
        ] {
            assert_eq!(format!("{:?}", file_digest(strong, b"abc")), hex, "{strong:?}");
        }
    }

    #[test]
    fn a_file_in_pieces_has_the_digest_of_the_whole() {
        let data: Vec<u8> = (0..5000u32).map(|at| (at * 7 % 251) as u8).collect();
        for strong in ALL {
            let mut sum = FileSum::new(strong);
            data.chunks(333).for_each(|piece| sum.update(piece));
            assert_eq!(sum.finish(), file_digest(strong, &data), "{strong:?}");
            assert_eq!(file_digest(strong, &data).as_bytes().len(), strong.digest_len());
        }
    }

    #[test]
    fn the_seed_stands_before_or_after_the_block() {
        let seeded_first = [&7i32.to_le_bytes()[..], b"abc"].concat();
        let seeded_last = [b"abc", &7i32.to_le_bytes()[..]].concat();
        for (strong, seed_first, hashed) in [
            (Strong::Md5, true, &seeded_first),
            (Strong::Md5, false, &seeded_last),
            (Strong::Md4, true, &seeded_last),
            (Strong::Sha1, false, &seeded_first),
        ] {
            let block = strong.block(7, seed_first, b"abc");
            assert_eq!(block, file_digest(strong, hashed), "{strong:?} {seed_first}");
        }
    }

    #[test]
    fn a_negative_seed_is_extended_to_64_bits_by_its_sign() {
        let block = Strong::Xxh64.block(-2, false, b"abc");
        assert_eq!(block.as_bytes(), XxHash64::oneshot(u64::MAX - 1, b"abc").to_le_bytes());
    }
}
