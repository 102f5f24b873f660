//! Edits of lists, and how they are encoded as flatbuffers.

use std::borrow::Cow;

use super::elements::{self, Elements};
use super::{Body, Builder, Change, EditError, UnixMillis, fb};

/// An end of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Where the first element is.
    Left,
    /// Where the last element is.
    Right,
}

impl End {
    /// The other end.
    pub const fn opposite(self) -> Self {
        match self {
            Self::Left => Self::Right,
            Self::Right => Self::Left,
        }
    }
}

/// Ranges of elements of a list, stored in one byte buffer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges<'a> {
    /// Per range: index of its first element and number of elements, 8 bytes each, little-endian.
    bytes: Cow<'a, [u8]>,
}

const RANGE: usize = 16;

impl Ranges<'_> {
    /// Adds a range. Ranges must be added in ascending order, and must not overlap.
    pub fn push(&mut self, first: u64, count: u64) {
        let bytes = self.bytes.to_mut();
        bytes.extend_from_slice(&first.to_le_bytes());
        bytes.extend_from_slice(&count.to_le_bytes());
    }

    /// Number of ranges.
    pub fn len(&self) -> usize {
        self.bytes.len() / RANGE
    }

    /// Whether there are no ranges.
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Index of the first element and number of elements of each range.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (u64, u64)> {
        self.bytes.as_chunks::<RANGE>().0.iter().map(|range| {
            let number = |at: usize| u64::from_le_bytes(*range[at..].first_chunk().expect("a range has two numbers"));
            (number(0), number(8))
        })
    }
}

impl End {
    fn decode(end: fb::End) -> Result<Self, EditError> {
        match end {
            fb::End::Left => Ok(Self::Left),
            fb::End::Right => Ok(Self::Right),
            _ => Err(EditError::Meaningless("an unknown end of a list")),
        }
    }

    const fn encode(self) -> fb::End {
        match self {
            Self::Left => fb::End::Left,
            Self::Right => fb::End::Right,
        }
    }
}

pub(super) fn decode_put(put: fb::PutList<'_>) -> Result<Change<'_>, EditError> {
    let expire_at = UnixMillis::option_from_raw(put.expire_at_ms());
    Ok(Change::PutList { elements: elements::decode(put.lengths(), put.bytes())?, expire_at })
}

pub(super) fn decode_push(push: fb::PushElements<'_>) -> Result<Change<'_>, EditError> {
    let end = End::decode(push.end())?;
    Ok(Change::PushElements { end, elements: elements::decode(push.lengths(), push.bytes())? })
}

pub(super) fn decode_pop(pop: fb::PopElements<'_>) -> Result<Change<'_>, EditError> {
    Ok(Change::PopElements { end: End::decode(pop.end())?, count: pop.count() })
}

pub(super) fn decode_set(set: fb::SetElement<'_>) -> Change<'_> {
    Change::SetElement { index: set.index(), value: Cow::Borrowed(set.value().bytes()) }
}

pub(super) fn decode_insert(insert: fb::InsertElement<'_>) -> Change<'_> {
    Change::InsertElement { index: insert.index(), value: Cow::Borrowed(insert.value().bytes()) }
}

pub(super) fn decode_remove(remove: fb::RemoveElements<'_>) -> Result<Change<'_>, EditError> {
    let ranges = Ranges { bytes: Cow::Borrowed(remove.ranges().bytes()) };
    let mut end = 0u64;
    for (first, count) in ranges.iter() {
        if first < end || count == 0 {
            return Err(EditError::Meaningless("ranges that do not ascend"));
        }
        end = first.checked_add(count).ok_or(EditError::Meaningless("a range without an end"))?;
    }
    Ok(Change::RemoveElements(ranges))
}

pub(super) fn build_put(b: &mut Builder, elements: &Elements<'_>, expire_at: Option<UnixMillis>) -> Body {
    let expire_at_ms = UnixMillis::option_to_raw(expire_at);
    let (lengths, bytes) = elements::build(b, elements);
    let put = fb::PutList::create(b, &fb::PutListArgs { lengths, bytes, expire_at_ms });
    (fb::Change::PutList, put.as_union_value())
}

pub(super) fn build_push(b: &mut Builder, end: End, elements: &Elements<'_>) -> Body {
    let (lengths, bytes) = elements::build(b, elements);
    let push = fb::PushElements::create(b, &fb::PushElementsArgs { end: end.encode(), lengths, bytes });
    (fb::Change::PushElements, push.as_union_value())
}

pub(super) fn build_pop(b: &mut Builder, end: End, count: u64) -> Body {
    let pop = fb::PopElements::create(b, &fb::PopElementsArgs { end: end.encode(), count });
    (fb::Change::PopElements, pop.as_union_value())
}

pub(super) fn build_set(b: &mut Builder, index: u64, value: &[u8]) -> Body {
    let value = Some(b.create_vector::<u8>(value));
    let set = fb::SetElement::create(b, &fb::SetElementArgs { index, value });
    (fb::Change::SetElement, set.as_union_value())
}

pub(super) fn build_insert(b: &mut Builder, index: u64, value: &[u8]) -> Body {
    let value = Some(b.create_vector::<u8>(value));
    let insert = fb::InsertElement::create(b, &fb::InsertElementArgs { index, value });
    (fb::Change::InsertElement, insert.as_union_value())
}

pub(super) fn build_remove(b: &mut Builder, ranges: &Ranges<'_>) -> Body {
    b.start_vector::<fb::ElementRange>(ranges.len());
    for (first, count) in ranges.iter().rev() {
        b.push(fb::ElementRange::new(first, count));
    }
    let offset = b.end_vector(ranges.len());
    let remove = fb::RemoveElements::create(b, &fb::RemoveElementsArgs { ranges: Some(offset) });
    (fb::Change::RemoveElements, remove.as_union_value())
}
