//! The arithmetic of linear hashing: which part of a table a hash belongs to, and in which order parts are walked.
//!
//! With `n` parts and `2^(d-1) < n ≤ 2^d`, a hash belongs to the part given by its low `d` bits or, if that does not
//! exist yet, to the one given by its low `d - 1` bits. In the order of the *reversed* low bits a part is an interval,
//! and splitting it cuts the interval in two.

use super::Hash;

/// Interval of the order of a walk that one part of a table covers.
#[derive(Clone, Copy)]
pub(in crate::store) struct Interval {
    /// Index of the part.
    pub index: usize,
    /// Number of low bits of a hash that determine the part.
    pub bits: u32,
}

impl Interval {
    /// Interval of the part, out of `count`, to which a hash with these low bits belongs.
    pub const fn of(count: usize, low: u32) -> Self {
        let bits = count.next_power_of_two().trailing_zeros();
        let half = (1 << bits) / 2;
        let index = low as usize & ((1 << bits) - 1);
        if index >= count {
            Self { index: index - half, bits: bits - 1 }
        } else if index < half && index + half >= count {
            Self { index, bits: bits - 1 }
        } else {
            Self { index, bits }
        }
    }

    /// Interval of the part, out of `count`, that covers a turn of the walk.
    pub const fn at(count: usize, turn: u32) -> Self {
        Self::of(count, turn.reverse_bits())
    }

    /// First turn of the interval.
    pub const fn begins(self) -> u32 {
        (self.index as u32).reverse_bits()
    }

    /// First turn of the interval that comes next; `None` if this is the last one.
    pub fn next(self) -> Option<u32> {
        u32::try_from(u64::from(self.begins()) + (1u64 << (32 - self.bits))).ok()
    }
}

/// Index of the part, out of `count`, that a hash belongs to.
#[inline]
pub(in crate::store) const fn part_of(count: usize, hash: Hash) -> usize {
    Interval::of(count, hash.low()).index
}

/// Index of the part that a part was split from.
pub(in crate::store) const fn parent(part: usize) -> usize {
    part - (1 << part.ilog2())
}
