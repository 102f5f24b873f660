//! Bytes that are being read, and how much may still be decoded from them.

use std::borrow::Cow;

use super::{Limits, RdbError, lzf};

/// Marks in the first byte of a length.
pub(super) const BITS_32: u8 = 0x80;
pub(super) const BITS_64: u8 = 0x81;
/// Ways in which a string is encoded, in the lower bits of a first byte whose two highest are set.
const INTEGER_8: u8 = 0;
const INTEGER_16: u8 = 1;
const INTEGER_32: u8 = 2;
const COMPRESSED: u8 = 3;

/// What [`Input::spend`] counts for an element besides its bytes: the numbers that are stored with it.
const PER_ELEMENT: usize = 16;

/// The rest of a value.
#[derive(Debug)]
pub(super) struct Input<'a> {
    rest: &'a [u8],
    longest: usize,
    room: usize,
}

/// What stands where a length is expected.
enum Length {
    Plain(u64),
    Encoded(u8),
}

impl<'a> Input<'a> {
    pub(super) fn new(bytes: &'a [u8], limits: Limits) -> Self {
        // No element of an edit may be longer.
        let longest = limits.string.min(u32::MAX as usize);
        Self { rest: bytes, longest, room: limits.value }
    }

    /// For measuring, which decodes nothing.
    pub(super) const fn unlimited(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, longest: usize::MAX, room: usize::MAX }
    }

    /// Number of bytes that are left.
    pub(super) const fn left(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn take(&mut self, count: u64) -> Result<&'a [u8], RdbError> {
        let count = usize::try_from(count).map_err(|_| RdbError::Truncated)?;
        let (taken, after) = self.rest.split_at_checked(count).ok_or(RdbError::Truncated)?;
        self.rest = after;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N], RdbError> {
        let (taken, after) = self.rest.split_first_chunk().ok_or(RdbError::Truncated)?;
        self.rest = after;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, RdbError> {
        self.array().map(|[byte]| byte)
    }

    /// A time in milliseconds, signed.
    pub(super) fn millis(&mut self) -> Result<i64, RdbError> {
        self.array().map(i64::from_le_bytes)
    }

    fn length_or_encoding(&mut self) -> Result<Length, RdbError> {
        let first = self.byte()?;
        Ok(match (first >> 6, first) {
            (0b00, _) => Length::Plain(first.into()),
            (0b01, _) => Length::Plain(u16::from_be_bytes([first & 0x3f, self.byte()?]).into()),
            (_, BITS_32) => Length::Plain(u32::from_be_bytes(self.array()?).into()),
            (_, BITS_64) => Length::Plain(u64::from_be_bytes(self.array()?)),
            (0b11, _) => Length::Encoded(first & 0x3f),
            _ => return Err(RdbError::Malformed("an unknown form of a length")),
        })
    }

    /// A number in the form of a length.
    pub(super) fn number(&mut self) -> Result<u64, RdbError> {
        match self.length_or_encoding()? {
            Length::Plain(number) => Ok(number),
            Length::Encoded(_) => Err(RdbError::Malformed("an encoded string in the place of a number")),
        }
    }

    /// Number of elements of which each takes at least `least` bytes of what is left.
    pub(super) fn count(&mut self, least: u64) -> Result<u64, RdbError> {
        let count = self.number()?;
        match count.checked_mul(least) {
            Some(bytes) if bytes <= self.rest.len() as u64 => Ok(count),
            _ => Err(RdbError::Truncated),
        }
    }

    /// A string. It is borrowed unless it was encoded.
    pub(super) fn string(&mut self) -> Result<Cow<'a, [u8]>, RdbError> {
        let digits = |number: i32| Cow::Owned(itoa::Buffer::new().format(number).as_bytes().to_vec());
        Ok(match self.length_or_encoding()? {
            Length::Plain(length) => Cow::Borrowed(self.take(length)?),
            Length::Encoded(INTEGER_8) => digits(i8::from_le_bytes(self.array()?).into()),
            Length::Encoded(INTEGER_16) => digits(i16::from_le_bytes(self.array()?).into()),
            Length::Encoded(INTEGER_32) => digits(i32::from_le_bytes(self.array()?)),
            Length::Encoded(COMPRESSED) => {
                let (compressed, length) = (self.number()?, self.number()?);
                let compressed = self.take(compressed)?;
                let length = usize::try_from(length).ok().filter(|length| *length <= self.room);
                let length = length.ok_or(RdbError::TooLarge)?;
                let bytes = lzf::decompress(compressed, length);
                Cow::Owned(bytes.ok_or(RdbError::Malformed("a compressed string"))?)
            }
            Length::Encoded(_) => return Err(RdbError::Malformed("an unknown encoding of a string")),
        })
    }

    /// Skips a string without decoding it.
    pub(super) fn skip_string(&mut self) -> Result<(), RdbError> {
        let length = match self.length_or_encoding()? {
            Length::Plain(length) => length,
            Length::Encoded(width @ INTEGER_8..=INTEGER_32) => 1 << width,
            Length::Encoded(COMPRESSED) => {
                let compressed = self.number()?;
                self.number()?;
                compressed
            }
            Length::Encoded(_) => return Err(RdbError::Malformed("an unknown encoding of a string")),
        };
        self.take(length).map(drop)
    }

    /// Takes the room of an element of `length` bytes from the budget.
    ///
    /// # Errors
    /// If the element is too long or the budget is used up.
    pub(super) fn spend(&mut self, length: usize) -> Result<(), RdbError> {
        if length > self.longest {
            return Err(RdbError::TooLarge);
        }
        self.room = self.room.checked_sub(length.saturating_add(PER_ELEMENT)).ok_or(RdbError::TooLarge)?;
        Ok(())
    }
}
