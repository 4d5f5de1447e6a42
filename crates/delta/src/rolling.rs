//! The rolling sum: the weak 32-bit sum of a window, cheap to move by one byte.
//!
//! Both halves are sums modulo 2^16 of bytes taken as signed numbers; see protocol reference,
//! "Rolling and strong block sums".

/// Windows are summed in rows of this many bytes, one 16-bit sum per column: the compiler turns a
/// row into a few vector additions, without a multiplication per byte.
const ROW: usize = 32;

/// The rolling sum of one window. It does not know the window's bytes or length.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Rolling {
    /// Sum of the bytes; only the low 16 bits count.
    plain: u32,
    /// Sum of the bytes, each times its distance from the window's end; only the low 16 bits count.
    weighted: u32,
}

impl Rolling {
    /// The sum of `window`.
    pub fn of(window: &[u8]) -> Self {
        let (rows, tail) = window.as_chunks::<ROW>();
        let mut columns = [0u16; ROW];
        // Adding the running column sums once per row weighs each row by its distance from the end.
        let mut by_row = [0u16; ROW];
        for row in rows {
            for column in 0..ROW {
                columns[column] = columns[column].wrapping_add(signed(row[column]) as u16);
                by_row[column] = by_row[column].wrapping_add(columns[column]);
            }
        }
        // A byte in column c of row r of R, T bytes in the tail, counts (R - r) * ROW - c + T times.
        let mut sum = Self::default();
        for column in 0..ROW {
            let all = u32::from(columns[column]);
            let offset = (tail.len() as u32).wrapping_sub(column as u32);
            sum.plain = sum.plain.wrapping_add(all);
            sum.weighted = sum
                .weighted
                .wrapping_add(u32::from(by_row[column]).wrapping_mul(ROW as u32))
                .wrapping_add(all.wrapping_mul(offset));
        }
        for (at, &byte) in tail.iter().enumerate() {
            let weight = (tail.len() - at) as u32;
            sum.plain = sum.plain.wrapping_add(signed(byte));
            sum.weighted = sum.weighted.wrapping_add(signed(byte).wrapping_mul(weight));
        }
        sum
    }

    /// Moves a window of `len` bytes on by one: `first` leaves it, `next` enters.
    #[inline(always)]
    pub fn roll(&mut self, len: u32, first: u8, next: u8) {
        let first = signed(first);
        self.plain = self.plain.wrapping_sub(first).wrapping_add(signed(next));
        self.weighted =
            self.weighted.wrapping_sub(len.wrapping_mul(first)).wrapping_add(self.plain);
    }

    /// The sum as signatures hold it.
    #[inline(always)]
    pub fn value(self) -> u32 {
        (self.plain & 0xffff) | (self.weighted << 16)
    }
}

#[inline(always)]
fn signed(byte: u8) -> u32 {
    byte as i8 as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, term by term.
    fn naive(window: &[u8]) -> u32 {
        let signed = |byte: &u8| i64::from(*byte as i8);
        let plain: i64 = window.iter().map(signed).sum();
        let weighted: i64 =
            window.iter().rev().zip(1i64..).map(|(byte, weight)| signed(byte) * weight).sum();
        (plain & 0xffff) as u32 | ((weighted & 0xffff) as u32) << 16
    }

    proptest! {
        #[test]
        fn a_sum_is_that_of_its_definition(window in proptest::collection::vec(any::<u8>(), 0..3000)) {
            prop_assert_eq!(Rolling::of(&window).value(), naive(&window));
        }

        #[test]
        fn rolling_on_equals_summing_anew(
            bytes in proptest::collection::vec(any::<u8>(), 2..400),
            len in 1usize..200,
        ) {
            let len = len.min(bytes.len() - 1);
            let mut sum = Rolling::of(&bytes[..len]);
            for at in 0..bytes.len() - len {
                sum.roll(len as u32, bytes[at], bytes[at + len]);
                prop_assert_eq!(sum.value(), Rolling::of(&bytes[at + 1..][..len]).value());
            }
        }
    }

    #[test]
    fn the_longest_block_of_extreme_bytes_does_not_overflow() {
        for byte in [0x7f, 0x80, 0xff] {
            let window = vec![byte; 131_072];
            assert_eq!(Rolling::of(&window).value(), naive(&window));
        }
    }
}
