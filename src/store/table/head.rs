//! First word of a record: its form, and the lengths of its parts.
//!
//! | bits | what |
//! |---|---|
//! | 0–29 | string: its length. Any other form: length in 24 bits, then the form's number in 6 |
//! | 30–59 | length of the key |
//! | 60 | whether the value is something other than a string |
//! | 61, 62 | zeros |
//! | 63 | whether the key expires |
//!
//! Only strings can be long: other values are packed into at most [`MAX_PACKED`] bytes, or are an 8-byte address. That
//! leaves room for 64 forms. Form 0 is the address of a [`Structure`](crate::store::value::form::Structure); the other
//! numbers each stand for a [`Kind`].

use std::alloc::Layout;

use crate::store::memory::allocated;
use crate::store::value::form::{Form, Kind};

/// Offset of the coarse time of last use in a record.
pub(super) const CLOCK: usize = size_of::<Head>();
/// Offset of the expiry; without an expiry, offset of the key.
pub(super) const EXPIRY: usize = CLOCK + size_of::<u32>();
const EXPIRY_BYTES: usize = size_of::<u64>();

const LENGTH_BITS: u32 = 30;
const LENGTH_MASK: u64 = (1 << LENGTH_BITS) - 1;
const PACKED_BITS: u32 = 24;
const PACKED_MASK: u64 = (1 << PACKED_BITS) - 1;
const FORM_MASK: u64 = (1 << (LENGTH_BITS - PACKED_BITS)) - 1;
const STRUCTURE: u64 = 0;
const OTHER: u64 = 1 << (2 * LENGTH_BITS);
const EXPIRES: u64 = 1 << 63;

const _: () = assert!(Kind::ALL.len() as u64 <= FORM_MASK + 1 && Kind::String as u64 == STRUCTURE);

/// Maximum length of a key and of a string, in bytes.
pub(in crate::store) const MAX_LENGTH: usize = LENGTH_MASK as usize;
/// Maximum length of a value of any other kind, in bytes.
const MAX_PACKED: usize = PACKED_MASK as usize;

/// Records above this size get up to an eighth of spare room, so that one that grows bit by bit is seldom moved. Below
/// this size the allocator's size classes do the same.
const SLACK_ABOVE: usize = 512 * 1024;

/// Form of a record and lengths of its parts, packed into 8 bytes.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(super) struct Head(u64);

impl Head {
    /// Makes the head of a record with these parts. For a structure, `value_len` is the length of an address.
    ///
    /// # Panics
    /// If a length exceeds [`MAX_LENGTH`], or [`MAX_PACKED`] where that applies.
    #[inline]
    pub fn new(form: Form, expires: bool, key_len: usize, value_len: usize) -> Self {
        let (most, bits) = match form {
            Form::Bytes(Kind::String) => (MAX_LENGTH, 0),
            Form::Bytes(kind) => (MAX_PACKED, OTHER | (kind as u64) << PACKED_BITS),
            Form::Structure => (MAX_PACKED, OTHER | STRUCTURE << PACKED_BITS),
        };
        assert!(key_len <= MAX_LENGTH && value_len <= most, "lengths are checked before a record is made");
        let expires = if expires { EXPIRES } else { 0 };
        Self(value_len as u64 | (key_len as u64) << LENGTH_BITS | bits | expires)
    }

    /// Copy of this head with another form.
    pub fn with_form(self, form: Form) -> Self {
        Self::new(form, self.expires(), self.key_len(), self.value_len())
    }

    /// Copy of this head with another value length.
    pub fn with_value_len(self, value_len: usize) -> Self {
        Self::new(self.form(), self.expires(), self.key_len(), value_len)
    }

    pub const fn value_len(self) -> usize {
        (self.0 & if self.is_string() { LENGTH_MASK } else { PACKED_MASK }) as usize
    }

    pub const fn key_len(self) -> usize {
        ((self.0 >> LENGTH_BITS) & LENGTH_MASK) as usize
    }

    const fn is_string(self) -> bool {
        self.0 & OTHER == 0
    }

    /// Form of the value. [`Self::new`] writes only valid form numbers, so the look-up never fails.
    #[inline]
    pub const fn form(self) -> Form {
        if self.is_string() {
            return Form::Bytes(Kind::String);
        }
        match (self.0 >> PACKED_BITS) & FORM_MASK {
            STRUCTURE => Form::Structure,
            number => Form::Bytes(Kind::ALL[number as usize]),
        }
    }

    pub const fn expires(self) -> bool {
        self.0 & EXPIRES != 0
    }

    /// Offset of the key.
    pub const fn key_at(self) -> usize {
        EXPIRY + if self.expires() { EXPIRY_BYTES } else { 0 }
    }

    /// Offset of the value.
    pub const fn value_at(self) -> usize {
        self.key_at() + self.key_len()
    }

    /// Offset of the end of the value.
    pub const fn end(self) -> usize {
        self.value_at() + self.value_len()
    }

    /// Size of the allocation, at least [`Self::end`].
    #[inline]
    const fn size(self) -> usize {
        let end = self.end();
        if end > SLACK_ABOVE { end.next_multiple_of(1 << (end.ilog2() - 3)) } else { end }
    }

    /// Layout of the allocation.
    #[inline]
    pub fn layout(self) -> Layout {
        Layout::from_size_align(self.size(), align_of::<Self>()).expect("two lengths of 30 bits are no overflow")
    }

    /// Bytes that the allocator really sets aside for the record.
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
        for form in Kind::ALL.iter().map(|kind| Form::Bytes(*kind)).chain([Form::Structure]) {
            let most = if form == Form::Bytes(Kind::String) { MAX_LENGTH } else { MAX_PACKED };
            for (expires, key_len, value_len) in [(false, 0, 0), (true, MAX_LENGTH, 1), (false, 1, most)] {
                let head = Head::new(form, expires, key_len, value_len);
                assert_eq!((head.form(), head.expires()), (form, expires));
                assert_eq!((head.key_len(), head.value_len()), (key_len, value_len));
                assert_eq!(head.end(), 12 + if expires { 8 } else { 0 } + key_len + value_len);
                assert!(head.end() <= head.layout().size() && head.layout().size() <= head.memory());
                for other in [Form::Structure, Form::Bytes(Kind::PackedHash)] {
                    assert_eq!(head.with_value_len(8).with_form(other).form(), other);
                }
            }
        }
    }

    #[test]
    fn every_kind_stands_at_its_number() {
        for (number, kind) in Kind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, number);
        }
    }

    #[test]
    fn a_string_that_grows_bit_by_bit_is_seldom_moved() {
        let sizes = (1 << 20..1 << 24)
            .step_by(1000)
            .map(|len| Head::new(Form::Bytes(Kind::String), false, 10, len).layout().size());
        let mut sizes: Vec<_> = sizes.collect();
        sizes.dedup();
        assert!(sizes.len() < 40);
    }
}
