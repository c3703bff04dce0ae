//! CRC-32C of two pieces put together, by the sums of each.
//!
//! A batch's checksum covers its header, which changes with each transmission, and its records,
//! which do not. The records are read once; the header is put in front of them by arithmetic on the
//! two sums.
//!
//! Appending `n` zero bits to a message multiplies its remainder by `x^n`; so the sum of `a ++ b` is
//! `crc(a) * x^(8 * len(b)) + crc(b)`, modulo Castagnoli's polynomial (RFC 3720, appendix B.4).

/// Castagnoli's polynomial, lowest power in the highest bit, as the sums are kept.
const POLYNOMIAL: u32 = 0x82f6_3b78;

/// `x^0` in that order of bits.
const ONE: u32 = 1 << 31;

/// `x^(2^n)` by `n`.
const POWERS: [u32; 64] = powers();

/// The sum of `first` and `second` in a row, whose second part has `second_size` bytes.
pub(super) fn combine(first: u32, second: u32, second_size: usize) -> u32 {
    let mut shift = ONE;
    let mut size = second_size;
    // Eight bits a byte: begin at x^(2^3).
    let mut power = 3;
    while size > 0 {
        if size & 1 == 1 {
            shift = multiply(POWERS[power], shift);
        }
        size >>= 1;
        power += 1;
    }
    multiply(shift, first) ^ second
}

/// The product of two polynomials, modulo [`POLYNOMIAL`].
const fn multiply(a: u32, mut b: u32) -> u32 {
    let mut product = 0;
    let mut bit = ONE;
    while bit > 0 {
        if a & bit != 0 {
            product ^= b;
        }
        b = if b & 1 == 1 { (b >> 1) ^ POLYNOMIAL } else { b >> 1 };
        bit >>= 1;
    }
    product
}

const fn powers() -> [u32; 64] {
    let mut powers = [ONE >> 1; 64];
    let mut n = 1;
    while n < powers.len() {
        powers[n] = multiply(powers[n - 1], powers[n - 1]);
        n += 1;
    }
    powers
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn large_parts_combine_as_one() {
        let bytes: Vec<u8> = (0..3_000_000_u32).map(|index| index.to_le_bytes()[0]).collect();
        for cut in [0, 1, 40, 65_536, 2_999_999, 3_000_000] {
            let (first, second) = bytes.split_at(cut);
            let combined = combine(crc32c::crc32c(first), crc32c::crc32c(second), second.len());
            assert_eq!(combined, crc32c::crc32c(&bytes), "{cut}");
        }
    }

    proptest! {
        #[test]
        fn parts_combine_as_one(
            first in proptest::collection::vec(any::<u8>(), 0..200),
            second in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            let combined =
                combine(crc32c::crc32c(&first), crc32c::crc32c(&second), second.len());
            prop_assert_eq!(combined, crc32c::crc32c(&[first, second].concat()));
        }
    }
}
