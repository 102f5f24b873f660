//! The first word of a record, which says what the rest is and how long.
//!
//! | bits | what |
//! |---|---|
//! | 30 | length of the value |
//! | 30 | length of the key |
//! | 3 | [`Kind`] |
//! | 1 | whether it expires |

use std::alloc::Layout;

use super::super::memory::allocated;

/// Where the coarse time of the last use stands in a record.
pub(super) const CLOCK: usize = size_of::<Head>();
/// Where the expiry stands, if there is one; else the key.
pub(super) const EXPIRY: usize = CLOCK + size_of::<u32>();
const EXPIRY_BYTES: usize = size_of::<u64>();

const LENGTH_BITS: u32 = 30;
const LENGTH_MASK: u64 = (1 << LENGTH_BITS) - 1;

/// Longest key and longest value.
pub(in crate::store) const MAX_LENGTH: usize = LENGTH_MASK as usize;

/// Above this size, records are given an eighth more than they need at most, so that one which grows bit by bit is seldom moved. Below, the
/// allocator does the same.
const SLACK_ABOVE: usize = 512 * 1024;

/// What the value's bytes are. Sets, sorted sets and lists will join; there is room for five more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Kind {
    String = 0,
    PackedHash = 1,
    TableHash = 2,
}

/// What a record is and how long its parts are.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(super) struct Head(u64);

impl Head {
    /// # Panics
    /// If a length is above [`MAX_LENGTH`].
    #[inline]
    pub fn new(kind: Kind, expires: bool, key_len: usize, value_len: usize) -> Self {
        assert!(key_len <= MAX_LENGTH && value_len <= MAX_LENGTH, "lengths are checked before a record is made");
        let flags = (u64::from(expires) << 3) | kind as u64;
        Self(value_len as u64 | (key_len as u64) << LENGTH_BITS | flags << (2 * LENGTH_BITS))
    }

    /// The same, but for the kind.
    pub fn with_kind(self, kind: Kind) -> Self {
        Self::new(kind, self.expires(), self.key_len(), self.value_len())
    }

    /// The same, but for the length of the value.
    pub fn with_value_len(self, value_len: usize) -> Self {
        Self::new(self.kind(), self.expires(), self.key_len(), value_len)
    }

    pub const fn value_len(self) -> usize {
        (self.0 & LENGTH_MASK) as usize
    }

    pub const fn key_len(self) -> usize {
        ((self.0 >> LENGTH_BITS) & LENGTH_MASK) as usize
    }

    pub const fn kind(self) -> Kind {
        match (self.0 >> (2 * LENGTH_BITS)) & 7 {
            0 => Kind::String,
            1 => Kind::PackedHash,
            _ => Kind::TableHash,
        }
    }

    pub const fn expires(self) -> bool {
        self.0 >> 63 != 0
    }

    /// Where the key begins.
    pub const fn key_at(self) -> usize {
        EXPIRY + if self.expires() { EXPIRY_BYTES } else { 0 }
    }

    /// Where the value begins.
    pub const fn value_at(self) -> usize {
        self.key_at() + self.key_len()
    }

    /// Where it ends.
    pub const fn end(self) -> usize {
        self.value_at() + self.value_len()
    }

    /// Size of the allocation: at least [`Self::end`].
    #[inline]
    const fn size(self) -> usize {
        let end = self.end();
        if end > SLACK_ABOVE { end.next_multiple_of(1 << (end.ilog2() - 3)) } else { end }
    }

    /// The allocation to ask for.
    #[inline]
    pub fn layout(self) -> Layout {
        Layout::from_size_align(self.size(), align_of::<Self>()).expect("two lengths of 30 bits are no overflow")
    }

    /// Bytes that the allocator sets aside for it.
    #[inline]
    pub const fn memory(self) -> usize {
        allocated(self.size())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_into_a_head_comes_out() {
        for kind in [Kind::String, Kind::PackedHash, Kind::TableHash] {
            for (expires, key_len, value_len) in [(false, 0, 0), (true, MAX_LENGTH, 1), (false, 1, MAX_LENGTH)] {
                let head = Head::new(kind, expires, key_len, value_len);
                assert_eq!((head.kind(), head.expires()), (kind, expires));
                assert_eq!((head.key_len(), head.value_len()), (key_len, value_len));
                assert_eq!(head.end(), 12 + if expires { 8 } else { 0 } + key_len + value_len);
                assert!(head.end() <= head.layout().size() && head.layout().size() <= head.memory());
            }
        }
    }

    #[test]
    fn a_string_that_grows_bit_by_bit_is_seldom_moved() {
        let sizes = (1 << 20..1 << 24).step_by(1000).map(|len| Head::new(Kind::String, false, 10, len).layout().size());
        let mut sizes: Vec<_> = sizes.collect();
        sizes.dedup();
        assert!(sizes.len() < 40);
    }
}
