//! The digest of a list: a polynomial over its elements, in their order.
//!
//! The elements `e0`, `e1` … have the polynomial `P = Σ h(ei) · R^i` modulo 2^64, where `h(e) = mix(TYPE, xxh3(e))` and
//! `R` is odd. The list's digest is `mix(TYPE, P)`.
//!
//! `R` has an inverse, so that elements come and go at either end at the cost of these elements alone; and polynomials
//! of parts add up to that of the whole ([`Sum::then`]), so that a change in the middle costs its part and the number
//! of parts. It does not matter in which way a list got its elements. This file is part of the format on disk.

use xxhash_rust::xxh3::xxh3_64;

use crate::encoding::edit::End;
use crate::store::digest::mix;

/// What keeps lists distinct from values of other types.
const TYPE: u64 = u64::from_be_bytes(*b"\0\0\0\0list");
const R: u64 = 0xda94_2042_e4dd_58b5;
const _: () = assert!(R % 2 == 1, "only odd numbers have an inverse modulo 2^64");

/// Polynomial of a row of elements.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sum {
    value: u64,
    /// `R` to the power of the number of elements.
    power: u64,
}

impl Sum {
    /// The polynomial of no elements.
    pub const EMPTY: Self = Self { value: 0, power: 1 };

    /// The polynomial of one element.
    #[inline]
    pub fn of(element: &[u8]) -> Self {
        Self { value: mix(TYPE, xxh3_64(element)), power: R }
    }

    /// The polynomial of `len` elements that has this value.
    pub const fn from_value(value: u64, len: usize) -> Self {
        Self { value, power: power(len) }
    }

    /// The value of the polynomial.
    pub const fn value(self) -> u64 {
        self.value
    }

    /// The polynomial of these elements followed by others.
    #[inline]
    pub const fn then(self, next: Self) -> Self {
        let value = self.value.wrapping_add(self.power.wrapping_mul(next.value));
        Self { value, power: self.power.wrapping_mul(next.power) }
    }

    /// The polynomial with more elements at one end.
    #[inline]
    pub const fn with(self, end: End, more: Self) -> Self {
        match end {
            End::Left => more.then(self),
            End::Right => self.then(more),
        }
    }

    /// The polynomial without the elements at one end that have the polynomial `gone`.
    #[inline]
    pub const fn without(self, end: End, gone: Self) -> Self {
        let power = self.power.wrapping_mul(inverse(gone.power));
        let value = match end {
            End::Left => self.value.wrapping_sub(gone.value).wrapping_mul(inverse(gone.power)),
            End::Right => self.value.wrapping_sub(power.wrapping_mul(gone.value)),
        };
        Self { value, power }
    }

    /// The polynomial after the element at `index`, which had the polynomial `old`, was replaced by one with `new`.
    pub const fn exchange(self, index: usize, old: Self, new: Self) -> Self {
        let delta = new.value.wrapping_sub(old.value).wrapping_mul(power(index));
        Self { value: self.value.wrapping_add(delta), power: self.power }
    }
}

/// Digest of a list with this polynomial.
#[inline]
pub(super) fn of(sum: Sum) -> u64 {
    mix(TYPE, sum.value)
}

/// `R` to the power of `exponent`.
const fn power(mut exponent: usize) -> u64 {
    let (mut power, mut square) = (1u64, R);
    while exponent > 0 {
        if exponent % 2 == 1 {
            power = power.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        exponent /= 2;
    }
    power
}

/// The number that gives 1 if multiplied with `odd`.
const fn inverse(odd: u64) -> u64 {
    // An odd number is its own inverse modulo 8; each step of Newton's doubles the number of bits that are right.
    let mut inverse = odd;
    let mut bits = 3;
    while bits < u64::BITS {
        inverse = inverse.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(inverse)));
        bits *= 2;
    }
    inverse
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum_of(elements: &[&[u8]]) -> Sum {
        elements.iter().fold(Sum::EMPTY, |sum, element| sum.then(Sum::of(element)))
    }

    #[test]
    fn digests_on_disk_keep_their_meaning() {
        let sum = sum_of(&[b"first", b"", b"last"]);
        assert_eq!(of(sum), 11_848_128_380_260_803_757);
    }

    #[test]
    fn parts_add_up_and_come_off_again() {
        let (left, right) = (sum_of(&[b"a", b"b", b""]), sum_of(&[b"c", b"d"]));
        let whole = sum_of(&[b"a", b"b", b"", b"c", b"d"]);
        assert_eq!(left.then(right), whole);
        assert_eq!((right.with(End::Left, left), left.with(End::Right, right)), (whole, whole));
        assert_eq!((whole.without(End::Left, left), whole.without(End::Right, right)), (right, left));
        assert_eq!((whole.without(End::Left, whole), whole.without(End::Right, whole)), (Sum::EMPTY, Sum::EMPTY));
        assert_eq!(whole.exchange(3, Sum::of(b"c"), Sum::of(b"x")), sum_of(&[b"a", b"b", b"", b"x", b"d"]));
        assert_eq!(Sum::from_value(whole.value(), 5), whole);
    }

    #[test]
    fn order_and_number_of_elements_count() {
        let rows: [&[&[u8]]; 6] = [&[], &[b""], &[b"", b""], &[b"a", b"b"], &[b"b", b"a"], &[b"ab"]];
        for (n, row) in rows.iter().enumerate() {
            assert!(rows[..n].iter().all(|other| sum_of(other).value() != sum_of(row).value()));
        }
    }
}
