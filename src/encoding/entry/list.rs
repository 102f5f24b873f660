//! Payload of a list in a snapshot entry.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | number of elements, at least 1 |
//! | … | per element, from the left: its length (4), its bytes |

use super::{EntryError, Head, LIST, begin, length, take, take_slice};

/// Size of the number of elements, in bytes.
const COUNT: usize = 8;
/// Size of the length before each element, in bytes.
const LENGTH: usize = 4;

/// Elements of a list: at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryElements<'a> {
    bytes: &'a [u8],
}

/// Appends the beginning of the entry of a key that holds a list of `count` elements. `content` is their total length
/// in bytes. The caller must append the elements with [`write_element`].
///
/// # Panics
/// If the key has 4 GiB or more, which the limits on requests rule out.
pub fn begin_list(out: &mut Vec<u8>, head: Head<'_>, count: usize, content: usize) {
    begin(out, head, LIST, COUNT + count * LENGTH + content);
    out.extend_from_slice(&(count as u64).to_le_bytes());
}

/// Appends one element of a list.
///
/// # Panics
/// If it has 4 GiB or more, which the limits on requests rule out.
pub fn write_element(out: &mut Vec<u8>, element: &[u8]) {
    out.extend_from_slice(&length(element.len()));
    out.extend_from_slice(element);
}

impl<'a> EntryElements<'a> {
    /// Reads a payload, which must contain exactly the number of elements that it announces.
    pub(super) fn read(payload: &'a [u8]) -> Result<Self, EntryError> {
        let mut bytes = payload;
        let count = u64::from_le_bytes(take(&mut bytes)?);
        if count == 0 {
            return Err(EntryError("a list without elements"));
        }
        let mut rest = bytes;
        for _ in 0..count {
            element(&mut rest)?;
        }
        if rest.is_empty() { Ok(Self { bytes }) } else { Err(EntryError("more elements than stated")) }
    }

    /// The elements, from the left.
    pub fn iter(&self) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let mut rest = self.bytes;
        std::iter::from_fn(move || element(&mut rest).ok())
    }
}

/// Removes and returns the first element of `rest`.
#[inline]
fn element<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], EntryError> {
    let length = u32::from_le_bytes(take(rest)?);
    take_slice(rest, length.into())
}
