//! Edits of lists. A list is packed while it is small, has chunks when it outgrows that, and is packed again when it
//! has shrunk to half of that.

use std::ops::Range;

use super::chunk::{Chunk, Limit};
use super::chunks::Chunks;
use super::digest::{self, Sum};
use super::{ListRef, packed};
use crate::encoding::edit::{Elements, End, Ranges};
use crate::store::change::{Changed, Contradiction, Key, TOO_LONG, Tools, fit};
use crate::store::table::Record;
use crate::store::value::Value;
use crate::store::value::form::{Kind, Stored, Structure};
use crate::time::UnixMillis;

const NOT_A_LIST: Contradiction = "it does not hold a list";
const TOO_SHORT: Contradiction = "its list has fewer elements";

/// Checks that key and elements are short enough.
pub(in crate::store::value) fn check(key: Key<'_>, elements: &Elements<'_>) -> Result<(), Contradiction> {
    if fit(key.bytes) && elements.iter().all(fit) { Ok(()) } else { Err(TOO_LONG) }
}

/// Makes the record of a key that holds a list of these elements, each put at one end after the one before it. Returns
/// it with the list's digest.
pub(in crate::store::value) fn make<'e>(
    key: Key<'_>,
    end: End,
    elements: impl Iterator<Item = &'e [u8]>,
    expire_at: Option<UnixMillis>,
    tools: &mut Tools<'_>,
) -> (Record, u64) {
    let limit = Limit::of(&tools.packing);
    let (mut chunk, mut bytes, mut elements) = (Chunk::new(), 0, elements.peekable());
    while let Some(element) = elements.next_if(|element| limit.admits(chunk.len() + 1, bytes + element.len())) {
        bytes += element.len();
        chunk.push(end, element, Sum::of(element));
    }
    if elements.peek().is_none() {
        packed::pack(tools.scratch, chunk.view(), chunk.sum());
        let record = Record::new(Kind::PackedList, key.bytes, tools.scratch, expire_at, tools.clock);
        return (record, digest::of(chunk.sum()));
    }
    let mut chunks = Chunks::of(chunk);
    elements.for_each(|element| chunks.push(end, element, limit));
    let digest = digest::of(chunks.sum());
    (in_chunks(key, chunks, expire_at, tools.clock), digest)
}

fn in_chunks(key: Key<'_>, chunks: Chunks, expire_at: Option<UnixMillis>, clock: u32) -> Record {
    Record::with_structure(key.bytes, Box::new(Structure::List(chunks)), expire_at, clock)
}

/// The list that the record holds.
fn list_of(record: &Record) -> Result<ListRef<'_>, Contradiction> {
    match Value::of(record) {
        Value::List(list) => Ok(list),
        _ => Err(NOT_A_LIST),
    }
}

/// The chunks of the record's list, which gets them if it is packed; `None` if the record holds no list.
fn chunks_of<'r>(key: Key<'_>, record: &'r mut Record) -> Option<&'r mut Chunks> {
    if let Stored::Bytes(Kind::PackedList, packed) = record.stored() {
        let chunks = Chunks::of(Chunk::of(packed::view(packed), packed::sum(packed)));
        record.replace(in_chunks(key, chunks, record.expire_at(), record.clock()));
    }
    match record.structure_mut() {
        Some(Structure::List(chunks)) => Some(chunks),
        _ => None,
    }
}

/// Changes the record's packed list by way of a chunk.
fn rework(record: &mut Record, packed: &mut Vec<u8>, change: impl FnOnce(&mut Chunk)) {
    let mut chunk = Chunk::of(packed::view(record.bytes()), packed::sum(record.bytes()));
    change(&mut chunk);
    packed::pack(packed, chunk.view(), chunk.sum());
    record.set_bytes(packed);
}

/// Packs the record's list if it has chunks and has become small.
fn pack_if_small(record: &mut Record, tools: &mut Tools<'_>) {
    let Stored::Structure(Structure::List(chunks)) = record.stored() else { return };
    let limit = Limit::of(&tools.packing).halved();
    if let Some(chunk) = chunks.only_chunk()
        && limit.admits(chunk.len(), chunks.content_len())
    {
        packed::pack(tools.scratch, chunk.view(), chunk.sum());
        let expire_at = record.expire_at();
        record.replace(Record::new(Kind::PackedList, record.key(), tools.scratch, expire_at, record.clock()));
    }
}

/// Result of a change of the record's list, which had the polynomial `before`.
fn grown(record: &Record, before: Sum) -> Result<Changed, Contradiction> {
    let after = list_of(record)?.sum();
    Ok(Changed::by(digest::of(after).wrapping_sub(digest::of(before))))
}

/// Puts elements at one end of the record's list.
///
/// # Errors
/// If the record holds no list, or an element is too long.
pub(in crate::store::value) fn push(
    key: Key<'_>,
    record: &mut Record,
    end: End,
    elements: &Elements<'_>,
    tools: &mut Tools<'_>,
) -> Result<Changed, Contradiction> {
    check(key, elements)?;
    let list = list_of(record)?;
    let (before, len, limit) = (list.sum(), list.len(), Limit::of(&tools.packing));
    let bytes = list.content_len() + elements.iter().map(<[u8]>::len).sum::<usize>();
    let mut all = elements.iter();
    match (all.next(), all.next()) {
        (None, _) => return Ok(Changed::default()),
        _ if !list.is_packed() || !limit.admits(len + elements.len(), bytes) => {
            if let Some(chunks) = chunks_of(key, record) {
                elements.iter().for_each(|element| chunks.push(end, element, limit));
            }
        }
        (Some(element), None) if packed::has_width_for(record.bytes(), element) => {
            let at = if end == End::Left { 0 } else { len };
            packed::splice(record, at, 0, Some(element), before.with(end, Sum::of(element)));
        }
        _ => rework(record, tools.scratch, |chunk| {
            elements.iter().for_each(|element| chunk.push(end, element, Sum::of(element)));
        }),
    }
    grown(record, before)
}

/// Removes `count` elements from one end of the record's list.
///
/// # Errors
/// If the record holds no list, or one of fewer elements.
pub(in crate::store::value) fn pop(
    key: Key<'_>,
    record: &mut Record,
    end: End,
    count: u64,
    tools: &mut Tools<'_>,
) -> Result<Changed, Contradiction> {
    let list = list_of(record)?;
    let (before, len) = (list.sum(), list.len());
    let count = usize::try_from(count).ok().filter(|count| *count <= len).ok_or(TOO_SHORT)?;
    if count == len {
        return Ok(Changed { is_empty: true, ..Changed::default() });
    }
    if list.is_packed() {
        let at = if end == End::Left { 0 } else { len - count };
        let gone = packed::view(record.bytes()).split_at(at).1.split_at(count).0.sum();
        packed::splice(record, at, count, None, before.without(end, gone));
        return grown(record, before);
    }
    let removed = chunks_of(key, record).and_then(|chunks| chunks.pop(end, count));
    pack_if_small(record, tools);
    let replaced = removed.map(|chunks| Box::new(Structure::List(chunks)));
    Ok(Changed { replaced, ..grown(record, before)? })
}

/// Replaces one element of the record's list.
///
/// # Errors
/// If the record holds no list, the list has no such element, or the new one is too long.
pub(in crate::store::value) fn set(
    key: Key<'_>,
    record: &mut Record,
    index: u64,
    element: &[u8],
    tools: &mut Tools<'_>,
) -> Result<Changed, Contradiction> {
    let list = list_of(record)?;
    let (before, len, limit) = (list.sum(), list.len(), Limit::of(&tools.packing));
    let index = usize::try_from(index).map_err(|_| TOO_SHORT)?;
    let old = list.get(index).ok_or(TOO_SHORT)?;
    if !fit(element) {
        return Err(TOO_LONG);
    }
    if !list.is_packed() || !limit.admits(len, list.content_len() - old.len() + element.len()) {
        if let Some(chunks) = chunks_of(key, record) {
            chunks.set(index, element, limit);
        }
        pack_if_small(record, tools);
    } else if packed::has_width_for(record.bytes(), element) {
        let sum = before.exchange(index, Sum::of(old), Sum::of(element));
        packed::splice(record, index, 1, Some(element), sum);
    } else {
        let (old, new) = (Sum::of(old), Sum::of(element));
        rework(record, tools.scratch, |chunk| chunk.set(index, element, old, new));
    }
    grown(record, before)
}

/// Inserts an element into the record's list, so that it is at `index`.
///
/// # Errors
/// If the record holds no list, the list has fewer elements than `index`, or the new one is too long.
pub(in crate::store::value) fn insert(
    key: Key<'_>,
    record: &mut Record,
    index: u64,
    element: &[u8],
    tools: &mut Tools<'_>,
) -> Result<Changed, Contradiction> {
    let list = list_of(record)?;
    let (before, len, limit) = (list.sum(), list.len(), Limit::of(&tools.packing));
    let index = usize::try_from(index).ok().filter(|index| *index <= len).ok_or(TOO_SHORT)?;
    if !fit(element) {
        return Err(TOO_LONG);
    }
    if !list.is_packed() || !limit.admits(len + 1, list.content_len() + element.len()) {
        if let Some(chunks) = chunks_of(key, record) {
            chunks.insert(index, element, limit);
        }
    } else {
        rework(record, tools.scratch, |chunk| chunk.insert(index, element));
    }
    grown(record, before)
}

/// Removes elements from the record's list.
///
/// # Errors
/// If the record holds no list, or one of fewer elements, or the ranges do not ascend.
pub(in crate::store::value) fn remove(
    key: Key<'_>,
    record: &mut Record,
    ranges: &Ranges<'_>,
    tools: &mut Tools<'_>,
) -> Result<Changed, Contradiction> {
    let list = list_of(record)?;
    let (before, len, limit) = (list.sum(), list.len(), Limit::of(&tools.packing));
    let count = removed_by(ranges, len).ok_or(TOO_SHORT)?;
    if count == len {
        return Ok(Changed { is_empty: true, ..Changed::default() });
    }
    if list.is_packed() {
        let cuts: Vec<_> = spans(ranges).collect();
        rework(record, tools.scratch, |chunk| chunk.remove(&cuts));
    } else {
        if let Some(chunks) = chunks_of(key, record) {
            chunks.remove(spans(ranges), limit);
        }
        pack_if_small(record, tools);
    }
    grown(record, before)
}

/// Indexes of the elements in these ranges, which were checked by [`removed_by`].
pub(super) fn spans(ranges: &Ranges<'_>) -> impl Iterator<Item = Range<usize>> {
    ranges.iter().map(|(first, count)| first as usize..(first + count) as usize)
}

/// Number of elements in these ranges; `None` if they do not ascend, or go beyond a list of `len` elements.
pub(super) fn removed_by(ranges: &Ranges<'_>, len: usize) -> Option<usize> {
    let (mut end, mut removed) = (0, 0);
    for (first, count) in ranges.iter() {
        let next = first.checked_add(count).filter(|next| first >= end && *next <= len as u64)?;
        (end, removed) = (next, removed + count as usize);
    }
    Some(removed)
}
