//! Elements in a row, in the layout that the packed form and chunks share: their lengths, and apart from them their
//! bytes. Lengths take one byte each, or four if one of the elements is longer than 255 bytes.
//!
//! With the lengths apart, an element is found at the cost of adding up bytes, from either end.

use super::digest::Sum;

/// Length of the longest element whose length takes one byte.
pub(super) const NARROW: usize = u8::MAX as usize;

/// Number of bytes that a length takes.
#[inline]
pub(super) const fn width(wide: bool) -> usize {
    if wide { size_of::<u32>() } else { 1 }
}

/// The bytes of a length; the first [`width`] of them count.
#[inline]
pub(super) const fn length(element: &[u8]) -> [u8; size_of::<u32>()] {
    (element.len() as u32).to_le_bytes()
}

/// Lengths of elements.
#[derive(Clone, Copy)]
enum Lengths<'a> {
    Narrow(&'a [u8]),
    Wide(&'a [[u8; 4]]),
}

impl<'a> Lengths<'a> {
    #[inline]
    const fn len(self) -> usize {
        match self {
            Self::Narrow(lengths) => lengths.len(),
            Self::Wide(lengths) => lengths.len(),
        }
    }

    #[inline]
    fn get(self, index: usize) -> usize {
        match self {
            Self::Narrow(lengths) => usize::from(lengths[index]),
            Self::Wide(lengths) => u32::from_le_bytes(lengths[index]) as usize,
        }
    }

    #[inline]
    fn split_at(self, index: usize) -> (Self, Self) {
        match self {
            Self::Narrow(lengths) => {
                let (left, right) = lengths.split_at(index);
                (Self::Narrow(left), Self::Narrow(right))
            }
            Self::Wide(lengths) => {
                let (left, right) = lengths.split_at(index);
                (Self::Wide(left), Self::Wide(right))
            }
        }
    }

    fn total(self) -> usize {
        match self {
            // 16 million bytes of 255 are the most that a `u32` can add up; chunks and packed lists have fewer.
            Self::Narrow(lengths) => lengths.iter().map(|length| u32::from(*length)).sum::<u32>() as usize,
            Self::Wide(lengths) => lengths.iter().map(|length| u32::from_le_bytes(*length) as usize).sum(),
        }
    }

    const fn bytes(self) -> &'a [u8] {
        match self {
            Self::Narrow(lengths) => lengths,
            Self::Wide(lengths) => lengths.as_flattened(),
        }
    }
}

/// Elements in a row, borrowed.
#[derive(Clone, Copy)]
pub(super) struct View<'a> {
    lengths: Lengths<'a>,
    bytes: &'a [u8],
}

impl<'a> View<'a> {
    /// The elements with these lengths, [`width`] bytes each, and these bytes.
    #[inline]
    pub const fn new(lengths: &'a [u8], wide: bool, bytes: &'a [u8]) -> Self {
        let lengths = if wide { Lengths::Wide(lengths.as_chunks().0) } else { Lengths::Narrow(lengths) };
        Self { lengths, bytes }
    }

    /// Number of elements.
    #[inline]
    pub const fn len(self) -> usize {
        self.lengths.len()
    }

    /// Whether lengths take four bytes.
    pub const fn is_wide(self) -> bool {
        matches!(self.lengths, Lengths::Wide(_))
    }

    /// The lengths, as bytes.
    pub const fn lengths(self) -> &'a [u8] {
        self.lengths.bytes()
    }

    /// The bytes of all elements.
    #[inline]
    pub const fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Position of an element, or of the end, among the bytes.
    pub fn offset(self, index: usize) -> usize {
        let (left, right) = self.lengths.split_at(index);
        if left.len() <= right.len() { left.total() } else { self.bytes.len() - right.total() }
    }

    /// The element at `index`, which must exist.
    pub fn get(self, index: usize) -> &'a [u8] {
        &self.bytes[self.offset(index)..][..self.lengths.get(index)]
    }

    /// Splits the elements before `index` from the others.
    #[inline]
    pub fn split_at(self, index: usize) -> (Self, Self) {
        let (left, right) = self.lengths.split_at(index);
        let (left_bytes, right_bytes) = self.bytes.split_at(self.offset(index));
        (Self { lengths: left, bytes: left_bytes }, Self { lengths: right, bytes: right_bytes })
    }

    /// The elements, from the left.
    #[inline]
    pub const fn iter(self) -> Iter<'a> {
        Iter(self)
    }

    /// The polynomial of the elements.
    pub fn sum(self) -> Sum {
        self.iter().fold(Sum::EMPTY, |sum, element| sum.then(Sum::of(element)))
    }
}

/// Iterator over elements, from either end.
#[derive(Clone)]
pub(super) struct Iter<'a>(View<'a>);

impl<'a> Iterator for Iter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        let View { lengths, bytes } = &mut self.0;
        if lengths.len() == 0 {
            return None;
        }
        let (element, rest) = bytes.split_at(lengths.get(0));
        (*lengths, *bytes) = (lengths.split_at(1).1, rest);
        Some(element)
    }

    #[inline]
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.0.len(), Some(self.0.len()))
    }
}

impl DoubleEndedIterator for Iter<'_> {
    #[inline]
    fn next_back(&mut self) -> Option<Self::Item> {
        let View { lengths, bytes } = &mut self.0;
        let last = lengths.len().checked_sub(1)?;
        let (rest, element) = bytes.split_at(bytes.len() - lengths.get(last));
        (*lengths, *bytes) = (lengths.split_at(last).0, rest);
        Some(element)
    }
}
