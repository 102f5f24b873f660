//! Listpacks: several elements in one string.
//!
//! | bytes | what |
//! |---|---|
//! | 4, 2 | size of the listpack, number of elements (65,535: unknown) |
//! | … | per element: what it is and its bytes; how many bytes these are, to be read backwards (1 to 5) |
//! | 1 | 255 |
//!
//! | first byte | element |
//! |---|---|
//! | `0nnnnnnn` | the integer `n` |
//! | `10nnnnnn` | a text of `n` bytes |
//! | `110nnnnn` | a signed integer of 13 bits, the lower 8 of them in the next byte |
//! | `1110nnnn` | a text whose length has 12 bits, the lower 8 of them in the next byte |
//! | `0xf0` | a text whose length is in the next 4 bytes |
//! | `0xf1` to `0xf4` | a signed integer of 2, 3, 4, 8 bytes |

use super::RdbError;
use super::packed::{END, Item, array, integer_24, take};

/// Size of the two numbers at the beginning.
const HEAD: usize = 6;

/// The elements of a listpack.
pub(super) struct Listpack<'p> {
    rest: &'p [u8],
    /// Number of elements that must still come, if it is known.
    count: Option<u16>,
}

impl<'p> Listpack<'p> {
    pub(super) fn new(bytes: &'p [u8]) -> Result<Self, RdbError> {
        let rest = &mut { bytes };
        let (size, count) = (u32::from_le_bytes(array(rest)?), u16::from_le_bytes(array(rest)?));
        if size as usize != bytes.len() {
            return Err(RdbError::Malformed("a listpack of another size"));
        }
        Ok(Self { rest, count: (count != u16::MAX).then_some(count) })
    }

    fn item(&mut self) -> Result<Option<Item<'p>>, RdbError> {
        const MISCOUNTED: RdbError = RdbError::Malformed("a listpack with another number of elements");
        let left = self.rest.len();
        let rest = &mut self.rest;
        let [first] = array(rest)?;
        let item = match (first >> 4, first) {
            (0..=7, _) => Item::Integer(first.into()),
            (8..=11, _) => Item::Text(take(rest, (first & 0x3f).into())?),
            (12 | 13, _) => {
                let [low] = array(rest)?;
                let bits = u16::from_be_bytes([first, low]) << 3;
                Item::Integer((bits.cast_signed() >> 3).into())
            }
            (14, _) => {
                let [low] = array(rest)?;
                Item::Text(take(rest, u16::from_be_bytes([first & 0x0f, low]).into())?)
            }
            (_, 0xf0) => {
                let length = u32::from_le_bytes(array(rest)?);
                Item::Text(take(rest, length as usize)?)
            }
            (_, 0xf1) => Item::Integer(i16::from_le_bytes(array(rest)?).into()),
            (_, 0xf2) => Item::Integer(integer_24(rest)?),
            (_, 0xf3) => Item::Integer(i32::from_le_bytes(array(rest)?).into()),
            (_, 0xf4) => Item::Integer(i64::from_le_bytes(array(rest)?)),
            (_, END) => {
                let is_whole = rest.is_empty() && self.count.is_none_or(|count| count == 0);
                return if is_whole { Ok(None) } else { Err(MISCOUNTED) };
            }
            _ => return Err(RdbError::Malformed("an unknown element of a listpack")),
        };
        let mut expected = [0; 5];
        let expected = back_length(left - rest.len(), &mut expected);
        if take(rest, expected.len())? != expected {
            return Err(RdbError::Malformed("a listpack whose sizes contradict each other"));
        }
        if let Some(count) = &mut self.count {
            *count = count.checked_sub(1).ok_or(MISCOUNTED)?;
        }
        Ok(Some(item))
    }

    /// The next element, which must exist.
    pub(super) fn expect(&mut self) -> Result<Item<'p>, RdbError> {
        self.item()?.ok_or(RdbError::Malformed("a listpack that ends too early"))
    }
}

impl<'p> Iterator for Listpack<'p> {
    type Item = Result<Item<'p>, RdbError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.item().transpose()
    }
}

/// The length of an element as it stands behind it: groups of 7 bits, the highest first; all but the first have the
/// highest bit set.
fn back_length(length: usize, bytes: &mut [u8; 5]) -> &[u8] {
    // One less than what would fit; Redis writes it so.
    let count = match length {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    };
    for (place, byte) in bytes[..count].iter_mut().rev().enumerate() {
        *byte = (length >> (7 * place)) as u8 & 0x7f | 0x80;
    }
    bytes[0] &= 0x7f;
    &bytes[..count]
}

/// A listpack that is being written.
#[derive(Debug)]
pub(super) struct Writer {
    bytes: Vec<u8>,
    count: usize,
}

impl Default for Writer {
    fn default() -> Self {
        Self { bytes: vec![0; HEAD], count: 0 }
    }
}

impl Writer {
    /// Size so far, in bytes.
    pub(super) const fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Appends an integer.
    pub(super) fn integer(&mut self, number: i64) {
        let start = self.bytes.len();
        let bytes = number.to_le_bytes();
        match number {
            0..=0x7f => self.bytes.push(bytes[0]),
            -0x1000..=0xfff => self.bytes.extend_from_slice(&[0xc0 | bytes[1] & 0x1f, bytes[0]]),
            _ => {
                self.bytes.push(0xf4);
                self.bytes.extend_from_slice(&bytes);
            }
        }
        self.end(start);
    }

    /// Appends a text.
    ///
    /// # Panics
    /// If it has 4 GiB or more, which the limits on requests rule out.
    pub(super) fn text(&mut self, text: &[u8]) {
        let start = self.bytes.len();
        if let Ok(short @ 0..0x40) = u8::try_from(text.len()) {
            self.bytes.push(0x80 | short);
        } else if text.len() < 0x1000 {
            self.bytes.extend_from_slice(&(0xe000 | text.len() as u16).to_be_bytes());
        } else {
            let length = u32::try_from(text.len()).expect("values are far shorter than 4 GiB");
            self.bytes.push(0xf0);
            self.bytes.extend_from_slice(&length.to_le_bytes());
        }
        self.bytes.extend_from_slice(text);
        self.end(start);
    }

    fn end(&mut self, start: usize) {
        let length = self.bytes.len() - start;
        self.bytes.extend_from_slice(back_length(length, &mut [0; 5]));
        self.count += 1;
    }

    /// Replaces the first element, which must be an integer of one byte, by a number that fits one byte.
    pub(super) fn set_first(&mut self, number: u8) {
        self.bytes[HEAD] = number & 0x7f;
    }

    /// The listpack; the writer is empty afterwards.
    pub(super) fn finish(&mut self) -> Vec<u8> {
        let mut bytes = std::mem::take(self).bytes_with_count();
        bytes.push(END);
        let size = u32::try_from(bytes.len()).expect("values are far shorter than 4 GiB");
        bytes[..4].copy_from_slice(&size.to_le_bytes());
        bytes
    }

    fn bytes_with_count(mut self) -> Vec<u8> {
        let count = u16::try_from(self.count).unwrap_or(u16::MAX);
        self.bytes[4..HEAD].copy_from_slice(&count.to_le_bytes());
        self.bytes
    }
}
