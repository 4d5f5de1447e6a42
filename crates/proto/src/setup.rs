//! What the two ends agree on before multiplexing starts: flags, names and the seed.
//!
//! Protocol reference, section "Setup exchange". Both ends must offer names in the canonical order
//! of the constants here: a 3.5.0 server chooses by its own order, a client by the client's.

use driftless_tree::path::printable;

use crate::int::{put_int, put_varint, put_vstring, take_int, take_varint, take_vstring};
use crate::{Decode, Violation};

/// The longest list of names, in bytes.
pub const MAX_NAMES_LEN: usize = 255;

/// Compatibility flags: properties of the session that the server decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CompatFlags(pub u32);

impl CompatFlags {
    /// See [`CompatFlags::inc_recurse`].
    pub const INC_RECURSE: u32 = 0x001;
    /// The server can set the times of symbolic links.
    pub const SYMLINK_TIMES: u32 = 0x002;
    /// The server can convert the text of symbolic links.
    pub const SYMLINK_ICONV: u32 = 0x004;
    /// See [`CompatFlags::safe_flist`].
    pub const SAFE_FLIST: u32 = 0x008;
    /// See [`CompatFlags::avoid_xattr_optim`].
    pub const AVOID_XATTR_OPTIM: u32 = 0x010;
    /// See [`CompatFlags::checksum_seed_fix`].
    pub const CHECKSUM_SEED_FIX: u32 = 0x020;
    /// See [`CompatFlags::inplace_partial_dir`].
    pub const INPLACE_PARTIAL_DIR: u32 = 0x040;
    /// See [`CompatFlags::varint_flist_flags`].
    pub const VARINT_FLIST_FLAGS: u32 = 0x080;
    /// See [`CompatFlags::id0_names`].
    pub const ID0_NAMES: u32 = 0x100;

    fn has(self, bit: u32) -> bool {
        self.0 & bit != 0
    }

    /// File lists come in parts, one per directory.
    pub fn inc_recurse(self) -> bool {
        self.has(Self::INC_RECURSE)
    }

    /// The server sets the times of symbolic links.
    pub fn symlink_times(self) -> bool {
        self.has(Self::SYMLINK_TIMES)
    }

    /// The server converts the texts of symbolic links.
    pub fn symlink_iconv(self) -> bool {
        self.has(Self::SYMLINK_ICONV)
    }

    /// A list may end with an error flag even at protocol 30.
    pub fn safe_flist(self) -> bool {
        self.has(Self::SAFE_FLIST)
    }

    /// Items about hard links carry lists of extended attributes too.
    pub fn avoid_xattr_optim(self) -> bool {
        self.has(Self::AVOID_XATTR_OPTIM)
    }

    /// MD5 block sums hash the seed first.
    pub fn checksum_seed_fix(self) -> bool {
        self.has(Self::CHECKSUM_SEED_FIX)
    }

    /// A basis in the partial directory is updated in place.
    pub fn inplace_partial_dir(self) -> bool {
        self.has(Self::INPLACE_PARTIAL_DIR)
    }

    /// Entry flags are varints, and names are negotiated.
    pub fn varint_flist_flags(self) -> bool {
        self.has(Self::VARINT_FLIST_FLAGS)
    }

    /// The names of user 0 and group 0 travel in id lists.
    pub fn id0_names(self) -> bool {
        self.has(Self::ID0_NAMES)
    }

    /// Writes the flags. Protocol 30 and later only.
    pub fn put(self, out: &mut Vec<u8>) {
        put_varint(out, self.0 as i32);
    }

    /// Takes the flags.
    ///
    /// # Errors
    /// As for [`take_varint`].
    pub fn take(input: &mut &[u8]) -> Result<Self, Decode> {
        take_varint(input).map(|bits| Self(bits as u32))
    }
}

/// A digest for block sums and whole files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChecksumKind {
    /// XXH3 with 128 bits.
    Xxh128,
    /// XXH3 with 64 bits.
    Xxh3,
    /// XXH64.
    Xxh64,
    /// MD5.
    Md5,
    /// MD4.
    Md4,
    /// SHA-1.
    Sha1,
    /// No digest: one zero byte.
    None,
}

impl ChecksumKind {
    /// All, in canonical order. A client leaves out the last.
    pub const ORDER: [Self; 7] =
        [Self::Xxh128, Self::Xxh3, Self::Xxh64, Self::Md5, Self::Md4, Self::Sha1, Self::None];

    /// The name in a list and in `--checksum-choice`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Xxh128 => "xxh128",
            Self::Xxh3 => "xxh3",
            Self::Xxh64 => "xxh64",
            Self::Md5 => "md5",
            Self::Md4 => "md4",
            Self::Sha1 => "sha1",
            Self::None => "none",
        }
    }

    /// The digest of that name; `xxhash` is another one of `xxh64`.
    pub fn of(name: &[u8]) -> Option<Self> {
        if name.eq_ignore_ascii_case(b"xxhash") {
            return Some(Self::Xxh64);
        }
        Self::ORDER.into_iter().find(|kind| kind.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// The digest as people read it. XXH's are numbers: their bytes travel lowest first.
    pub fn shown(self, digest: &[u8]) -> Vec<u8> {
        let mut shown = digest.to_vec();
        if matches!(self, Self::Xxh128 | Self::Xxh3 | Self::Xxh64) {
            shown.reverse();
        }
        shown
    }

    /// Bytes of a digest.
    pub fn digest_len(self) -> usize {
        match self {
            Self::Xxh128 | Self::Md5 | Self::Md4 => 16,
            Self::Xxh3 | Self::Xxh64 => 8,
            Self::Sha1 => 20,
            Self::None => 1,
        }
    }

    /// The digest of a session that negotiates none.
    pub fn fallback(protocol: u8) -> Self {
        if protocol >= 30 { Self::Md5 } else { Self::Md4 }
    }
}

/// How literal data is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Zstandard, one stream for the session.
    Zstd,
    /// LZ4, independent blocks.
    Lz4,
    /// Deflate, without the matched blocks in its history.
    Zlibx,
    /// Deflate, with the matched blocks in its history.
    Zlib,
    /// Not at all.
    None,
}

impl Compression {
    /// All, in canonical order. A client leaves out the last.
    pub const ORDER: [Self; 5] = [Self::Zstd, Self::Lz4, Self::Zlibx, Self::Zlib, Self::None];

    /// The name in a list and in `--compress-choice`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zstd => "zstd",
            Self::Lz4 => "lz4",
            Self::Zlibx => "zlibx",
            Self::Zlib => "zlib",
            Self::None => "none",
        }
    }

    /// The compression of that name.
    pub fn of(name: &[u8]) -> Option<Self> {
        Self::ORDER.into_iter().find(|kind| kind.name().as_bytes().eq_ignore_ascii_case(name))
    }

    /// The level when the user names none.
    pub fn default_level(self) -> i32 {
        match self {
            Self::Zstd => 3,
            Self::Zlibx | Self::Zlib => 6,
            Self::Lz4 | Self::None => 0,
        }
    }
}

/// Writes a list of names.
pub fn put_names<'a>(out: &mut Vec<u8>, names: impl IntoIterator<Item = &'a str>) {
    let list = names.into_iter().collect::<Vec<_>>().join(" ");
    put_vstring(out, list.as_bytes());
}

/// Takes a list of names, to be split by [`checksums`] or [`compressions`].
///
/// # Errors
/// [`Decode::Incomplete`], or a list above [`MAX_NAMES_LEN`].
pub fn take_names<'a>(input: &mut &'a [u8]) -> Result<&'a [u8], Decode> {
    take_vstring(input, "list of names", MAX_NAMES_LEN)
}

fn words(list: &[u8]) -> impl Iterator<Item = &[u8]> {
    list.split(|&b| b == b' ').filter(|word| !word.is_empty())
}

/// The known names of a list of digests, in its order.
pub fn checksums(list: &[u8]) -> Vec<ChecksumKind> {
    words(list).filter_map(ChecksumKind::of).collect()
}

/// The known names of a list of compressions, in its order.
pub fn compressions(list: &[u8]) -> Vec<Compression> {
    words(list).filter_map(Compression::of).collect()
}

/// The first of the client's names that the server has as well: the rule for a client, and for a
/// server that wants to agree with every client.
///
/// # Errors
/// There is none; `what` and `offered` (the peer's list) go into the error.
pub fn choose<T: Copy + PartialEq>(
    client: &[T],
    server: &[T],
    what: &'static str,
    offered: &[u8],
) -> Result<T, Violation> {
    let common = client.iter().copied().find(|name| server.contains(name));
    common.ok_or_else(|| Violation::NothingInCommon { what, offered: printable(offered) })
}

/// Writes the checksum seed.
pub fn put_seed(out: &mut Vec<u8>, seed: i32) {
    put_int(out, seed);
}

/// Takes the checksum seed.
///
/// # Errors
/// [`Decode::Incomplete`].
pub fn take_seed(input: &mut &[u8]) -> Result<i32, Decode> {
    take_int(input)
}

/// Writes the version with which a remote-shell session starts.
pub fn put_version(out: &mut Vec<u8>, version: u8) {
    put_int(out, i32::from(version));
}

/// Takes the peer's version of a remote-shell session.
///
/// # Errors
/// [`Decode::Incomplete`], or a version outside 20..=40.
pub fn take_version(input: &mut &[u8]) -> Result<u8, Decode> {
    crate::int::whole(input, |rest| {
        let version = take_int(rest)?;
        Ok(crate::greeting::checked_version(i64::from(version))?)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_setup_is_that_of_the_captured_push() {
        let mut wire = Vec::new();
        CompatFlags(0x1ff).put(&mut wire);
        put_names(&mut wire, ChecksumKind::ORDER.map(ChecksumKind::name));
        put_seed(&mut wire, 12345);
        assert_eq!(wire, b"\x81\xff\x23xxh128 xxh3 xxh64 md5 md4 sha1 none\x39\x30\0\0");

        let mut input = wire.as_slice();
        let flags = CompatFlags::take(&mut input).unwrap();
        assert!(flags.inc_recurse() && flags.varint_flist_flags() && flags.id0_names());
        let list = take_names(&mut input).unwrap();
        assert_eq!(checksums(list), ChecksumKind::ORDER);
        assert_eq!(take_seed(&mut input), Ok(12345));
    }

    #[test]
    fn unknown_names_are_ignored_and_case_does_not_matter() {
        let known = [ChecksumKind::Xxh64, ChecksumKind::Md5];
        assert_eq!(checksums(b" blake9  XXHash  MD5"), known);
        assert_eq!(compressions(b"brotli ZLIB"), [Compression::Zlib]);
    }

    #[test]
    fn the_clients_order_decides() {
        use ChecksumKind::{Md4, Md5, Sha1, Xxh128};
        assert_eq!(choose(&[Md5, Xxh128], &[Xxh128, Md5], "checksum", b""), Ok(Md5));
        let none = choose(&[Md4], &[Sha1], "checksum", b"sha1").unwrap_err();
        assert_eq!(none.exit_code(), 4);
    }

    #[test]
    fn a_list_above_its_limit_is_refused() {
        let wire = [0x81, 0x00];
        assert!(matches!(take_names(&mut &wire[..]), Err(Decode::Invalid(_))));
    }

    #[test]
    fn a_shell_that_talks_is_no_peer() {
        assert_eq!(take_version(&mut &b"\x20\0\0\0"[..]), Ok(32));
        assert!(matches!(take_version(&mut &b"Last login"[..]), Err(Decode::Invalid(_))));
    }
}
