//! The other half of the search: tokens and a basis make content.

use crate::layout::Layout;
use crate::search::Token;

/// A token names a block that the basis has not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("block {0} is not in the basis")]
pub struct MissingBlock(pub u32);

/// Appends what `token` stands for to `content`.
///
/// # Errors
/// A block beyond the layout, or beyond `basis` when that is shorter than the layout says.
pub fn apply(
    token: Token<'_>,
    layout: &Layout,
    basis: &[u8],
    content: &mut Vec<u8>,
) -> Result<(), MissingBlock> {
    let bytes = match token {
        Token::Literal(bytes) => bytes,
        Token::Block(block) => block_of(layout, basis, block).ok_or(MissingBlock(block))?,
    };
    content.extend_from_slice(bytes);
    Ok(())
}

fn block_of<'a>(layout: &Layout, basis: &'a [u8], block: u32) -> Option<&'a [u8]> {
    let range = layout.range(block)?;
    basis.get(usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?)
}
