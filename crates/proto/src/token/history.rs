//! What old zlib puts into its history for a matched block.
//!
//! Protocol reference, section "zlibx and zlib".

/// The longest stored block of deflate.
const STORED_LEN: usize = 0xffff;
/// Bytes of history that matter.
const WINDOW_LEN: usize = 32 * 1024;
/// A dictionary of the window's length or more would replace older history instead of adding to it.
const DICTIONARY_LEN: usize = 16 * 1024;

/// Hands the bytes that a matched block adds to the history to `add`, in pieces that fit a
/// dictionary.
pub(super) fn add_block<E>(
    data: &[u8],
    protocol: u8,
    mut add: impl FnMut(&[u8]) -> Result<(), E>,
) -> Result<(), E> {
    // Below protocol 31, rsync repeats the start of a block instead of going on past 65535 bytes.
    let stored: Vec<&[u8]> = match protocol {
        ..31 => data.chunks(STORED_LEN).map(|piece| &data[..piece.len()]).collect(),
        _ => vec![&data[data.len().saturating_sub(WINDOW_LEN)..]],
    };
    stored.into_iter().flat_map(|piece| piece.chunks(DICTIONARY_LEN)).try_for_each(&mut add)
}
