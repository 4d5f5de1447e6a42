//! `--iconv`: names on this machine have another character set than names on the wire, which are
//! UTF-8.

use driftless_fs::charset::{Charset, of_locale};

use crate::error::PushError;
use crate::options::TransferOptions;

const WIRE: &[u8] = b"UTF-8";

/// The conversion of this machine's names for the peer; `None` where names travel as they are.
///
/// # Errors
/// The C library does not know the character set.
pub(crate) fn to_wire(options: &TransferOptions) -> Result<Option<Charset>, PushError> {
    open(options, |local| (local, WIRE))
}

/// The conversion of the peer's names for this machine.
///
/// # Errors
/// As for [`to_wire`].
pub(crate) fn from_wire(options: &TransferOptions) -> Result<Option<Charset>, PushError> {
    open(options, |local| (WIRE, local))
}

fn open<'a>(
    options: &'a TransferOptions,
    direction: impl Fn(&'a [u8]) -> (&'a [u8], &'a [u8]),
) -> Result<Option<Charset>, PushError> {
    let Some(given) = &options.metadata.iconv else { return Ok(None) };
    // A server is told its own alone.
    let local = given.split(|&b| b == b',').next().unwrap_or_default();
    let (from, to) = direction(local);
    let named = |name: &[u8]| if name == b"." { of_locale() } else { name.to_vec() };
    match local {
        b"-" | b"" => Ok(None),
        _ => Charset::new(&named(from), &named(to)).map(Some).map_err(|_| {
            let text = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
            PushError::Charset { from: text(from), to: text(to) }
        }),
    }
}
