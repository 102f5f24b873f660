//! A pack: about a dozen elements of a large hash or set that follow each other in the order of their hashes.

use super::Element;
use super::inline::{Inline, Place as InlinePlace, Short};
use crate::store::memory::allocated;
use crate::store::table::{Hash, Record, RecordRef, Seed};
use crate::store::value::form::Kind;
use crate::time::UnixMillis;

/// Elements of a pack. Short ones lie [`Inline`]; those that are long or expire, or that are too many, have a record
/// each, which keeps its address whatever becomes of the pack. An element that is set again goes to where it may lie
/// then.
///
/// A pack is one cache line in the directory.
#[derive(Default)]
#[repr(align(64))]
pub(super) struct Pack {
    inline: Inline,
    records: Box<[Record]>,
}

const _: () = assert!(size_of::<Pack>() == 64);

/// Number of elements, bytes of those that lie inline, and bytes of memory without that of records.
#[derive(Clone, Copy, Default)]
pub(super) struct Size {
    pub len: usize,
    pub inline_len: usize,
    pub memory: usize,
}

impl Size {
    /// Replaces the share of a part that had the size `before`, and has the size `after`.
    #[inline]
    pub const fn exchange(&mut self, before: Self, after: Self) {
        self.len = self.len + after.len - before.len;
        self.inline_len = self.inline_len + after.inline_len - before.inline_len;
        self.memory = self.memory + after.memory - before.memory;
    }
}

/// Place of an element.
enum Place {
    Inline(InlinePlace),
    Record(usize),
}

/// The bits of a hash that stand beside an element that lies inline.
const fn tag(hash: Hash) -> u8 {
    hash.high() as u8
}

impl Pack {
    /// Number of elements, bytes and memory.
    #[inline]
    pub fn size(&self) -> Size {
        let memory = self.inline.memory() + allocated(size_of_val(&*self.records));
        Size { len: self.len(), inline_len: self.inline.content_len(), memory }
    }

    /// Number of elements.
    #[inline]
    pub fn len(&self) -> usize {
        self.inline.len() + self.records.len()
    }

    /// Bytes of memory that the records take.
    pub fn records_memory(&self) -> usize {
        self.records.iter().map(Record::memory).sum()
    }

    #[inline]
    fn record_at(&self, hash: Hash, name: &[u8]) -> Option<usize> {
        self.records.iter().position(|record| record.hash16() == hash.high() && record.key() == name)
    }

    #[inline]
    fn place(&self, hash: Hash, name: &[u8]) -> Option<Place> {
        match self.inline.find(tag(hash), name) {
            Some(place) => Some(Place::Inline(place)),
            None => self.record_at(hash, name).map(Place::Record),
        }
    }

    #[inline]
    fn at(&self, place: &Place) -> Element<'_> {
        match place {
            Place::Inline(place) => Element::new(self.inline.at(*place)),
            Place::Record(index) => Element::of(&self.records[*index]),
        }
    }

    /// Finds an element.
    #[inline]
    pub fn find(&self, hash: Hash, name: &[u8]) -> Option<Element<'_>> {
        self.place(hash, name).map(|place| self.at(&place))
    }

    /// Record of an element, if it has one; one that expires does.
    pub fn record(&self, hash: Hash, name: &[u8]) -> Option<&Record> {
        self.record_at(hash, name).map(|index| &self.records[index])
    }

    /// The elements.
    pub fn iter(&self) -> impl Iterator<Item = Element<'_>> {
        let inline = self.inline.iter().map(|element| Element::new((element.name, element.value)));
        inline.chain(self.records.iter().map(Element::of))
    }

    /// The element of this number, if there are more.
    pub fn nth(&self, number: usize) -> Option<Element<'_>> {
        if number < self.len() { self.iter().nth(number) } else { None }
    }

    /// Sets an element. `before` is told what the element of this name was, if there is one; `memory` is what all
    /// records take. Returns the address of the element's record, if it has one.
    #[inline]
    pub fn set(
        &mut self,
        hash: Hash,
        element: Element<'_>,
        before: impl FnOnce(Option<Element<'_>>),
        memory: &mut usize,
    ) -> Option<RecordRef> {
        let place = self.place(hash, element.name);
        before(place.as_ref().map(|place| self.at(place)));
        match place {
            None => self.put(hash, element, memory),
            Some(Place::Inline(place)) => {
                let new = short(hash, element.name, element.value);
                if element.expire_at.is_none() && self.inline.replace(place, new) {
                    return None;
                }
                self.inline.remove(place);
                Some(self.push_record(record(hash, element), memory))
            }
            Some(Place::Record(index)) => {
                if self.put_inline(hash, element) {
                    self.remove_record(index, memory);
                    return None;
                }
                Some(self.change_record(index, memory, |record| {
                    record.set_bytes(element.value);
                    record.set_expire_at(element.expire_at);
                }))
            }
        }
    }

    /// Adds an element, unless there is one of its name. Returns whether it did.
    #[inline]
    pub fn add(&mut self, hash: Hash, element: Element<'_>, memory: &mut usize) -> bool {
        let is_new = self.place(hash, element.name).is_none();
        if is_new {
            self.put(hash, element, memory);
        }
        is_new
    }

    /// Changes when an element expires. `before` is told what the element was. Returns the address of the element's
    /// record, if it has one. `None` if there is no such element.
    pub fn set_expiry(
        &mut self,
        hash: Hash,
        name: &[u8],
        expire_at: Option<UnixMillis>,
        before: impl FnOnce(Element<'_>),
        memory: &mut usize,
    ) -> Option<RecordRef> {
        let place = self.place(hash, name)?;
        before(self.at(&place));
        match place {
            Place::Inline(_) if expire_at.is_none() => None,
            Place::Inline(inline) => {
                let record = record(hash, Element { expire_at, ..self.at(&place) });
                self.inline.remove(inline);
                Some(self.push_record(record, memory))
            }
            Place::Record(index) => {
                let record = &self.records[index];
                if expire_at.is_none() && self.inline.push(short(hash, record.key(), record.bytes())) {
                    self.remove_record(index, memory);
                    return None;
                }
                Some(self.change_record(index, memory, |record| record.set_expire_at(expire_at)))
            }
        }
    }

    /// Removes an element, if it exists. `before` is told what it was.
    pub fn remove(&mut self, hash: Hash, name: &[u8], before: impl FnOnce(Element<'_>), memory: &mut usize) {
        let Some(place) = self.place(hash, name) else { return };
        before(self.at(&place));
        match place {
            Place::Inline(place) => self.inline.remove(place),
            Place::Record(index) => self.remove_record(index, memory),
        }
    }

    /// Adds an element whose name no other has. Returns the address of its record, if it has one.
    #[inline]
    fn put(&mut self, hash: Hash, element: Element<'_>, memory: &mut usize) -> Option<RecordRef> {
        if self.put_inline(hash, element) { None } else { Some(self.push_record(record(hash, element), memory)) }
    }

    /// Adds an element to those that lie inline. Returns false, and changes nothing, if it may not.
    #[inline]
    fn put_inline(&mut self, hash: Hash, element: Element<'_>) -> bool {
        element.expire_at.is_none() && self.inline.push(short(hash, element.name, element.value))
    }

    fn push_record(&mut self, record: Record, memory: &mut usize) -> RecordRef {
        let reference = record.reference();
        *memory += record.memory();
        self.change_records(|records| {
            records.reserve_exact(1);
            records.push(record);
        });
        reference
    }

    /// Changes a record. Returns its new address.
    fn change_record(&mut self, index: usize, memory: &mut usize, change: impl FnOnce(&mut Record)) -> RecordRef {
        let record = &mut self.records[index];
        *memory -= record.memory();
        change(record);
        *memory += record.memory();
        record.reference()
    }

    fn remove_record(&mut self, index: usize, memory: &mut usize) {
        let removed = self.change_records(|records| records.swap_remove(index));
        *memory -= removed.memory();
    }

    /// Changes which records there are. They are few, and the allocator mostly leaves them where they are.
    fn change_records<R>(&mut self, change: impl FnOnce(&mut Vec<Record>) -> R) -> R {
        let mut records = std::mem::take(&mut self.records).into_vec();
        let result = change(&mut records);
        self.records = records.into_boxed_slice();
        result
    }

    /// Moves the elements for whose names `goes` holds to a new pack.
    pub fn split(&mut self, goes: impl Fn(&[u8]) -> bool) -> Self {
        let inline = self.inline.split(&goes);
        let records = std::mem::take(&mut self.records).into_vec();
        let (go, stay): (Vec<_>, Vec<_>) = records.into_iter().partition(|record| goes(record.key()));
        self.records = stay.into_boxed_slice();
        Self { inline, records: go.into_boxed_slice() }
    }

    /// Takes in the elements of another pack, which has none of the same name.
    pub fn absorb(&mut self, other: Self, seed: Seed, memory: &mut usize) {
        self.inline.make_room_for(&other.inline);
        for Short { tag, name, value } in other.inline.iter() {
            if !self.inline.push(Short { tag, name, value }) {
                self.push_record(record(seed.hash(name), Element::new((name, value))), memory);
            }
        }
        self.change_records(|records| records.extend(other.records));
    }

    /// Prefetches the elements that lie inline.
    #[inline]
    pub fn prefetch(&self) {
        self.inline.prefetch();
    }
}

const fn short<'a>(hash: Hash, name: &'a [u8], value: &'a [u8]) -> Short<'a> {
    Short { tag: tag(hash), name, value }
}

fn record(hash: Hash, element: Element<'_>) -> Record {
    let Element { name, value, expire_at } = element;
    Record::new(Kind::String, name, value, expire_at, 0).with_hash16(hash.high())
}
