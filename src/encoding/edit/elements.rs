//! Byte strings in a row, as edits of sets and lists contain them, and how they are encoded as flatbuffers.

use std::borrow::Cow;

use flatbuffers::{Vector, WIPOffset};

use super::{Builder, EditError};

/// Byte strings in a row: members of a set, or elements of a list, stored in one byte buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Elements<'a> {
    /// Per element: its length, 4 bytes, little-endian.
    lengths: Cow<'a, [u8]>,
    bytes: Cow<'a, [u8]>,
}

const LENGTH: usize = 4;

impl Elements<'_> {
    /// Adds an element.
    ///
    /// # Panics
    /// If it has 4 GiB or more, which the limits on requests rule out.
    pub fn push(&mut self, element: &[u8]) {
        let length = u32::try_from(element.len()).expect("requests are far shorter than 4 GiB");
        self.lengths.to_mut().extend_from_slice(&length.to_le_bytes());
        self.bytes.to_mut().extend_from_slice(element);
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.lengths.len() / LENGTH
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.lengths.is_empty()
    }

    /// The elements, in the order in which they were added.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        let mut rest = &self.bytes[..];
        self.lengths.as_chunks::<LENGTH>().0.iter().map(move |length| {
            let (element, after) = rest.split_at(u32::from_le_bytes(*length) as usize);
            rest = after;
            element
        })
    }

    /// Whether the lengths add up to the bytes; iteration relies on it.
    fn is_consistent(&self) -> bool {
        let lengths = self.lengths.as_chunks::<LENGTH>().0.iter();
        lengths.map(|length| u64::from(u32::from_le_bytes(*length))).sum::<u64>() == self.bytes.len() as u64
    }
}

/// Reusable buffer in which elements are assembled. Reused, it seldom allocates.
#[derive(Debug, Default)]
pub struct ElementsBuffer(Elements<'static>);

impl ElementsBuffer {
    /// Removes all elements.
    pub fn clear(&mut self) {
        self.0.lengths.to_mut().clear();
        self.0.bytes.to_mut().clear();
    }

    /// Adds an element.
    ///
    /// # Panics
    /// If it has 4 GiB or more, which the limits on requests rule out.
    pub fn push(&mut self, element: &[u8]) {
        self.0.push(element);
    }

    /// The elements that have been added.
    pub fn elements(&self) -> Elements<'_> {
        Elements { lengths: Cow::Borrowed(&self.0.lengths), bytes: Cow::Borrowed(&self.0.bytes) }
    }

    /// Capacity of the buffer in bytes.
    pub fn capacity(&self) -> usize {
        let room = |bytes: &Cow<'static, [u8]>| match bytes {
            Cow::Owned(bytes) => bytes.capacity(),
            Cow::Borrowed(_) => 0,
        };
        room(&self.0.lengths) + room(&self.0.bytes)
    }
}

/// Reads elements from a verified flatbuffer.
pub(super) fn decode<'a>(lengths: Vector<'a, u32>, bytes: Vector<'a, u8>) -> Result<Elements<'a>, EditError> {
    let elements = Elements { lengths: Cow::Borrowed(lengths.bytes()), bytes: Cow::Borrowed(bytes.bytes()) };
    if elements.is_consistent() {
        Ok(elements)
    } else {
        Err(EditError::Meaningless("elements of other lengths than stated"))
    }
}

type Offsets = (Option<WIPOffset<Vector<'static, u32>>>, Option<WIPOffset<Vector<'static, u8>>>);

/// Writes elements as the two vectors `lengths` and `bytes` of a table.
pub(super) fn build(b: &mut Builder, elements: &Elements<'_>) -> Offsets {
    let (lengths, _) = elements.lengths.as_chunks::<LENGTH>();
    b.start_vector::<u32>(lengths.len());
    for length in lengths.iter().rev() {
        b.push(u32::from_le_bytes(*length));
    }
    let lengths = b.end_vector(lengths.len());
    (Some(lengths), Some(b.create_vector::<u8>(&elements.bytes)))
}
