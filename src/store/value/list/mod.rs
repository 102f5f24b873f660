//! Lists, in two forms: packed bytes while small, then chunks, and packed again once they have become much smaller.
//!
//! | file | what it is |
//! |---|---|
//! | this one | reading a list in either form; its snapshot entry |
//! | `view` | the layout of elements in a row, which both forms share |
//! | `packed` | the packed form ([`Kind::PackedList`](super::form::Kind)) |
//! | `chunks`, `chunk`, `ends` | the large form ([`Structure::List`](super::form::Structure)); one chunk of it; its buffers |
//! | `edits` | what edits do to lists |
//! | `digest` | the digest of a list |
//! | `slices` | writing a large list to a snapshot in slices |

mod chunk;
pub(in crate::store) mod chunks;
mod digest;
mod edits;
mod ends;
mod packed;
pub(super) mod slices;
#[cfg(test)]
mod tests;
mod view;

use self::chunks::Chunks;
use self::digest::Sum;
use crate::encoding::edit::End;
use crate::encoding::entry::{self, Head};

pub(super) use edits::{check, insert, make, pop, push, remove, set};

/// A list, borrowed from its record.
#[derive(Clone, Copy)]
pub struct ListRef<'a>(Layout<'a>);

/// Form in which a list is stored.
#[derive(Clone, Copy)]
enum Layout<'a> {
    Packed(&'a [u8]),
    Chunks(&'a Chunks),
}

impl<'a> ListRef<'a> {
    /// List in these packed bytes.
    pub(super) const fn packed(packed: &'a [u8]) -> Self {
        Self(Layout::Packed(packed))
    }

    /// List in these chunks.
    pub(super) const fn chunks(chunks: &'a Chunks) -> Self {
        Self(Layout::Chunks(chunks))
    }

    /// Number of elements; never 0.
    #[expect(clippy::len_without_is_empty, reason = "a list without elements is no key")]
    pub fn len(self) -> usize {
        match self.0 {
            Layout::Packed(packed) => packed::view(packed).len(),
            Layout::Chunks(chunks) => chunks.len(),
        }
    }

    /// Total bytes of all elements.
    pub fn content_len(self) -> usize {
        match self.0 {
            Layout::Packed(packed) => packed::view(packed).bytes().len(),
            Layout::Chunks(chunks) => chunks.content_len(),
        }
    }

    /// The element at `index`, counted from 0 at the left, if there are so many.
    pub fn get(self, index: usize) -> Option<&'a [u8]> {
        match self.0 {
            Layout::Packed(packed) => {
                let view = packed::view(packed);
                (index < view.len()).then(|| view.get(index))
            }
            Layout::Chunks(chunks) => chunks.get(index),
        }
    }

    /// The elements from `index` on, to be walked from either end.
    pub fn iter_from(self, index: usize) -> impl DoubleEndedIterator<Item = &'a [u8]> + use<'a> {
        let (packed, chunks) = match self.0 {
            Layout::Packed(packed) => {
                let view = packed::view(packed);
                (Some(view.split_at(index.min(view.len())).1.iter()), None)
            }
            Layout::Chunks(chunks) => (None, Some(chunks.iter_from(index))),
        };
        packed.into_iter().flatten().chain(chunks.into_iter().flatten())
    }

    /// All elements, to be walked from either end.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = &'a [u8]> + use<'a> {
        self.iter_from(0)
    }

    /// Number of elements in the chunks that are cut off whole if `count` elements, of which there must be more, are
    /// removed from one end.
    fn cut_off(self, end: End, count: usize) -> usize {
        match self.0 {
            Layout::Packed(_) => 0,
            Layout::Chunks(chunks) => chunks.whole(end, count),
        }
    }

    /// Whether the list is small and packed ("listpack" in OBJECT ENCODING) rather than in chunks ("quicklist").
    pub const fn is_packed(self) -> bool {
        matches!(self.0, Layout::Packed(_))
    }

    fn sum(self) -> Sum {
        match self.0 {
            Layout::Packed(packed) => packed::sum(packed),
            Layout::Chunks(chunks) => chunks.sum(),
        }
    }

    /// Digest of the list.
    pub(super) fn digest(self) -> u64 {
        digest::of(self.sum())
    }

    /// Appends the snapshot entry of a key that holds this list.
    pub(super) fn write_entry(self, head: Head<'_>, out: &mut Vec<u8>) {
        entry::begin_list(out, head, self.len(), self.content_len());
        self.iter().for_each(|element| entry::write_element(out, element));
    }
}
