//! Names that file systems allow and scripts get wrong.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use fastrand::Rng;

/// An ordinary or an odd name. Names that end in small numbers come back, so that things meet.
pub fn name(random: &mut Rng, serial: u64) -> OsString {
    let small = random.u8(0..30);
    let bytes = match random.u8(0..20) {
        0 => format!("with blank {small}").into_bytes(),
        1 => format!("line\nfeed{small}").into_bytes(),
        2 => [b"not\xff\xfeutf8-", small.to_string().as_bytes()].concat(),
        3 => long(serial),
        4 => format!("#hash{small}").into_bytes(),
        5 => format!("-dash{small}").into_bytes(),
        6 => format!("*[star{small}]?").into_bytes(),
        7 => format!("back\\slash\\#{small}").into_bytes(),
        8 => format!(" blank at both ends {small} ").into_bytes(),
        9 => format!("größe-漢字-{small}").into_bytes(),
        10 => format!(".dot{small}").into_bytes(),
        11 => format!("...{small}").into_bytes(),
        12 => format!("tab\tbell\x07quote'\"{small}").into_bytes(),
        13 => format!(";semicolon~{small}~").into_bytes(),
        14..17 => format!("f{small}").into_bytes(),
        _ => format!("n{serial}").into_bytes(),
    };
    OsString::from_vec(bytes)
}

fn long(serial: u64) -> Vec<u8> {
    let mut bytes = format!("long{serial}-").into_bytes();
    bytes.resize(255, b'x');
    bytes
}
