//! A small list as one run of bytes: the layout of its record's value.
//!
//! | bytes | what |
//! |---|---|
//! | 8 | value of the polynomial of the elements (see `digest`) |
//! | 4 | twice the number of elements, at least 1; plus 1 if lengths take four bytes |
//! | … | the elements in the layout of `view`: first their lengths, then their bytes |
//!
//! The polynomial is stored because a change at the left end needs it.

use super::digest::Sum;
use super::view::{NARROW, View, length, width};
use crate::store::table::Record;

/// Length of what precedes the elements' lengths.
const HEAD: usize = 12;
const COUNT: usize = 8;

fn head(packed: &[u8]) -> (u64, usize, bool) {
    let sum = packed.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
    let count = packed[COUNT..].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
    (sum, (count / 2) as usize, count % 2 == 1)
}

/// The elements.
#[inline]
pub(super) fn view(packed: &[u8]) -> View<'_> {
    let (_, count, wide) = head(packed);
    let (lengths, bytes) = packed[HEAD..].split_at(count * width(wide));
    View::new(lengths, wide, bytes)
}

/// The polynomial of the elements.
pub(super) fn sum(packed: &[u8]) -> Sum {
    let (sum, count, _) = head(packed);
    Sum::from_value(sum, count)
}

/// Packs elements that have this polynomial.
pub(super) fn pack(packed: &mut Vec<u8>, view: View<'_>, sum: Sum) {
    packed.clear();
    packed.extend_from_slice(&[0; HEAD]);
    packed.extend_from_slice(view.lengths());
    packed.extend_from_slice(view.bytes());
    write_head(packed, sum, view.len(), view.is_wide());
}

fn write_head(packed: &mut [u8], sum: Sum, count: usize, wide: bool) {
    packed[..COUNT].copy_from_slice(&sum.value().to_le_bytes());
    packed[COUNT..HEAD].copy_from_slice(&(2 * count as u32 + u32::from(wide)).to_le_bytes());
}

/// Whether the length of `element` can stand among the others.
pub(super) fn has_width_for(packed: &[u8], element: &[u8]) -> bool {
    element.len() <= NARROW || head(packed).2
}

/// Replaces `removed` elements of the record's list at `index` by `inserted`, in place; `sum` is the polynomial
/// afterwards. At least one element must be left. The length of `inserted` must have its width.
pub(super) fn splice(record: &mut Record, index: usize, removed: usize, inserted: Option<&[u8]>, sum: Sum) {
    let packed = record.bytes();
    let (view, (_, count, wide), old_len) = (view(packed), head(packed), packed.len());
    let width = width(wide);
    let (start, end) = (view.offset(index), view.offset(index + removed));
    let new_count = count - removed + usize::from(inserted.is_some());
    let element = inserted.unwrap_or_default();
    // What stays: head and lengths before `index`; lengths after it and bytes before it; bytes after it.
    let middle = HEAD + (index + removed) * width..HEAD + count * width + start;
    let tail = HEAD + count * width + end..old_len;
    let new_middle = HEAD + (index + usize::from(inserted.is_some())) * width;
    let new_element = new_middle + middle.len();
    let new_tail = new_element + element.len();
    let new_len = new_tail + tail.len();
    if new_len > old_len {
        record.resize(new_len);
    }
    if let Some(packed) = record.bytes_mut() {
        // The tail moves further to the right than the middle, or further to the left.
        if new_tail > tail.start {
            packed.copy_within(tail, new_tail);
            packed.copy_within(middle, new_middle);
        } else {
            packed.copy_within(middle, new_middle);
            packed.copy_within(tail, new_tail);
        }
        if let Some(element) = inserted {
            packed[HEAD + index * width..][..width].copy_from_slice(&length(element)[..width]);
            packed[new_element..][..element.len()].copy_from_slice(element);
        }
        write_head(packed, sum, new_count, wide);
    }
    if new_len < old_len {
        record.resize(new_len);
    }
}
