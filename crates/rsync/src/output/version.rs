//! `--version`: whose behaviour this is, and what it can.

use driftless_proto::auth::Digest;
use driftless_proto::setup::{ChecksumKind, Compression};

use crate::COMPATIBLE;

/// The newest protocol that is spoken.
const PROTOCOL: u8 = 32;

/// What the program can; `None` where there is nothing to say but a number.
const ABILITIES: &[(&str, &str, Ability)] = &[
    ("64-bit files", "file_bits", Ability::Bits(64)),
    ("64-bit inums", "inum_bits", Ability::Bits(64)),
    ("64-bit timestamps", "timestamp_bits", Ability::Bits(64)),
    ("64-bit long ints", "long_int_bits", Ability::Bits(64)),
    ("socketpairs", "socketpairs", Ability::Is(true)),
    ("symlinks", "symlinks", Ability::Is(true)),
    ("symtimes", "symtimes", Ability::Is(true)),
    ("hardlinks", "hardlinks", Ability::Is(true)),
    ("hardlink-specials", "hardlink_specials", Ability::Is(true)),
    ("hardlink-symlinks", "hardlink_symlinks", Ability::Is(true)),
    ("IPv6", "IPv6", Ability::Is(true)),
    ("atimes", "atimes", Ability::Is(true)),
    ("batchfiles", "batchfiles", Ability::Is(true)),
    ("inplace", "inplace", Ability::Is(true)),
    ("append", "append", Ability::Is(true)),
    ("ACLs", "ACLs", Ability::Is(true)),
    ("xattrs", "xattrs", Ability::Is(true)),
    ("optional secluded-args", "secluded_args", Ability::Word("optional")),
    ("iconv", "iconv", Ability::Is(true)),
    ("prealloc", "prealloc", Ability::Is(true)),
    ("stop-at", "stop_at", Ability::Is(true)),
    ("no crtimes", "crtimes", Ability::Is(false)),
];

#[derive(Debug, Clone, Copy)]
enum Ability {
    Bits(u8),
    Is(bool),
    Word(&'static str),
}

/// The first line, which scripts read.
pub fn first_line() -> String {
    format!("rsync  version {COMPATIBLE}  protocol version {PROTOCOL}")
}

/// What `-V` prints.
pub fn text() -> String {
    let names: Vec<&str> = ABILITIES.iter().map(|(name, ..)| *name).collect();
    let mut text = format!(
        "{}\ndriftless {}, compatible with rsync {COMPATIBLE}\nCapabilities:\n",
        first_line(),
        env!("CARGO_PKG_VERSION")
    );
    for line in names.chunks(5) {
        text.push_str(&format!("    {}\n", line.join(", ")));
    }
    let checksums = checksums().join(" ").replace("xxh64", "xxh64 (xxhash)");
    for (title, list) in [
        ("Checksum list", checksums),
        ("Compress list", compressions().join(" ")),
        ("Daemon auth list", digests().join(" ")),
    ] {
        text.push_str(&format!("{title}:\n    {list}\n"));
    }
    text
}

/// What `-VV` prints.
pub fn json() -> String {
    let abilities: Vec<String> = ABILITIES
        .iter()
        .map(|(_, key, ability)| match ability {
            Ability::Bits(bits) => format!("    \"{key}\": {bits}"),
            Ability::Is(is) => format!("    \"{key}\": {is}"),
            Ability::Word(word) => format!("    \"{key}\": \"{word}\""),
        })
        .collect();
    let list = |names: Vec<&str>| {
        let quoted: Vec<String> = names.iter().map(|name| format!("\"{name}\"")).collect();
        quoted.join(", ")
    };
    format!(
        "{{\n  \"program\": \"rsync\",\n  \"version\": \"{COMPATIBLE}\",\n  \"protocol\": \
         \"{PROTOCOL}.0\",\n  \"implementation\": \"driftless {}\",\n  \"capabilities\": \
         {{\n{}\n  }},\n  \"checksum_list\": [\n    {}\n  ],\n  \"compress_list\": [\n    {}\n  \
         ],\n  \"daemon_auth_list\": [\n    {}\n  ]\n}}\n",
        env!("CARGO_PKG_VERSION"),
        abilities.join(",\n"),
        list(checksums()),
        list(compressions()),
        list(digests()),
    )
}

fn checksums() -> Vec<&'static str> {
    ChecksumKind::ORDER.iter().map(|kind| kind.name()).collect()
}

fn compressions() -> Vec<&'static str> {
    let mut names: Vec<&str> = Compression::ORDER.iter().map(|kind| kind.name()).collect();
    if !names.contains(&"none") {
        names.push("none");
    }
    names
}

fn digests() -> Vec<&'static str> {
    Digest::PREFERENCE.iter().map(|digest| digest.name()).collect()
}
