//! A block: events that follow each other, packed into one run of bytes.
//!
//! | bytes | what |
//! |---|---|
//! | 1–10 | number of the template's fields |
//! | … | per field: the length of its name, its name |
//! | … | the events |
//!
//! An event:
//!
//! | bytes | what |
//! |---|---|
//! | 1–10 | milliseconds of its id beyond those of the base |
//! | 1–10 | sequence number of its id; beyond that of the base if the milliseconds are the same |
//! | 1–10 | 0 if its fields have the template's names; else their number |
//! | … | per field: the length of its name and the name, if it is not the template's; the length of its value, the value |
//!
//! Numbers are in groups of 7 bits, the lowest first; the top bit says that more follow. The template is made of the
//! names of the event that began the block, and the base is its id; both stay when that event is deleted.

use std::ops::Range;

use crate::encoding::event::EventId;
use crate::store::memory::{allocated, shrink};

/// Events in one run of bytes, with what they add up to.
pub(super) struct Block {
    /// Id from which those of the events are counted; at most that of the first.
    pub base: EventId,
    /// Number of events, and number of those ever added.
    len: u32,
    added: u32,
    /// Sum of the events' digests.
    pub digest: u64,
    /// Size of the events in a snapshot, in bytes.
    pub written: usize,
    bytes: Vec<u8>,
}

/// An event, borrowed from its block.
#[derive(Clone, Copy)]
pub struct EventRef<'a> {
    /// Id of the event.
    pub id: EventId,
    len: usize,
    /// Names of the fields in the template; `None` if each stands before its value.
    names: Option<&'a [u8]>,
    fields: &'a [u8],
}

impl Block {
    /// Makes a block without events for one with this id and `len` fields of these names.
    pub fn new<'f>(base: EventId, len: usize, names: impl Iterator<Item = &'f [u8]>) -> Self {
        let mut bytes = Vec::new();
        put_number(&mut bytes, len as u64);
        names.for_each(|name| put_bytes(&mut bytes, name));
        Self { base, len: 0, added: 0, digest: 0, written: 0, bytes }
    }

    /// Number of events.
    pub const fn len(&self) -> usize {
        self.len as usize
    }

    /// Whether there are no events.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of events that were ever added.
    pub const fn added(&self) -> usize {
        self.added as usize
    }

    /// Number of bytes in use.
    pub const fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// Bytes of memory that the block's bytes take.
    pub const fn memory(&self) -> usize {
        allocated(self.bytes.capacity())
    }

    /// Gives back memory that is kept for more events.
    pub fn seal(&mut self) {
        shrink(&mut self.bytes, 0);
    }

    /// Adds an event behind the others; the caller adds its digest and size.
    pub fn push<'f>(&mut self, id: EventId, len: usize, fields: impl Iterator<Item = (&'f [u8], &'f [u8])> + Clone) {
        (self.len, self.added) = (self.len + 1, self.added + 1);
        let (count, mut names) = self.template();
        let same = count == len && fields.clone().all(|(name, _)| take_bytes(&mut names) == name);
        let ms = id.ms.wrapping_sub(self.base.ms);
        put_number(&mut self.bytes, ms);
        put_number(&mut self.bytes, if ms == 0 { id.seq.wrapping_sub(self.base.seq) } else { id.seq });
        put_number(&mut self.bytes, if same { 0 } else { len as u64 });
        for (name, value) in fields {
            if !same {
                put_bytes(&mut self.bytes, name);
            }
            put_bytes(&mut self.bytes, value);
        }
    }

    /// Removes the event with this id, if it is here, and returns its digest and size as `measure` tells them.
    pub fn remove(&mut self, id: EventId, measure: impl FnOnce(EventRef<'_>) -> (u64, usize)) -> Option<(u64, usize)> {
        let (range, event) = self.events().find(|(_, event)| event.id >= id).filter(|(_, event)| event.id == id)?;
        let (digest, written) = measure(event);
        self.bytes.drain(range);
        self.len -= 1;
        self.digest = self.digest.wrapping_sub(digest);
        self.written -= written;
        Some((digest, written))
    }

    /// Removes all events up to the id `through`, and returns their digest and size as `measure` tells them.
    pub fn trim(&mut self, through: EventId, measure: impl Fn(EventRef<'_>) -> (u64, usize)) -> (u64, usize) {
        let (mut digest, mut written, mut count, mut end) = (0u64, 0, 0, None);
        for (range, event) in self.events().take_while(|(_, event)| event.id <= through) {
            let (one, bytes) = measure(event);
            (digest, written, count) = (digest.wrapping_add(one), written + bytes, count + 1);
            end = Some(range.end);
        }
        let start = self.bytes.len() - self.body().1.len();
        if let Some(end) = end {
            self.bytes.drain(start..end);
        }
        self.len -= count;
        self.digest = self.digest.wrapping_sub(digest);
        self.written -= written;
        (digest, written)
    }

    /// The events in order.
    pub fn iter(&self) -> impl Iterator<Item = EventRef<'_>> {
        self.events().map(|(_, event)| event)
    }

    /// The events in order, each with its place in the bytes.
    fn events(&self) -> impl Iterator<Item = (Range<usize>, EventRef<'_>)> {
        let ((count, names), mut rest) = self.body();
        let (base, end) = (self.base, self.bytes.len());
        std::iter::from_fn(move || {
            let start = end - rest.len();
            let event = take_event(&mut rest, base, count, names)?;
            Some((start..end - rest.len(), event))
        })
    }

    /// Number of the template's fields, and their names.
    fn template(&self) -> (usize, &[u8]) {
        self.body().0
    }

    /// The template as [`Self::template`], and the bytes of the events.
    fn body(&self) -> ((usize, &[u8]), &[u8]) {
        let mut rest = &self.bytes[..];
        let count = take_number(&mut rest) as usize;
        let names = rest;
        for _ in 0..count {
            take_bytes(&mut rest);
        }
        ((count, &names[..names.len() - rest.len()]), rest)
    }
}

impl<'a> EventRef<'a> {
    /// Number of fields; never 0.
    #[expect(clippy::len_without_is_empty, reason = "an event has a field at least")]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Names and values of the fields, in the order in which they were given.
    pub fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone + use<'a> {
        let (mut names, mut fields) = (self.names, self.fields);
        (0..self.len).map(move |_| {
            let name = match &mut names {
                Some(names) => take_bytes(names),
                None => take_bytes(&mut fields),
            };
            (name, take_bytes(&mut fields))
        })
    }
}

/// Removes and returns the first event of `rest`.
fn take_event<'a>(rest: &mut &'a [u8], base: EventId, count: usize, names: &'a [u8]) -> Option<EventRef<'a>> {
    if rest.is_empty() {
        return None;
    }
    let (ms, seq, own) = (take_number(rest), take_number(rest), take_number(rest) as usize);
    let id = EventId::new(base.ms.wrapping_add(ms), if ms == 0 { base.seq.wrapping_add(seq) } else { seq });
    let (len, names) = if own == 0 { (count, Some(names)) } else { (own, None) };
    let fields = *rest;
    for _ in 0..if own == 0 { count } else { 2 * own } {
        take_bytes(rest);
    }
    Some(EventRef { id, len, names, fields: &fields[..fields.len() - rest.len()] })
}

#[inline]
fn put_number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

#[inline]
fn take_number(rest: &mut &[u8]) -> u64 {
    let (mut number, mut shift) = (0, 0);
    while let Some((&byte, after)) = rest.split_first() {
        *rest = after;
        number |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 || shift == 63 {
            break;
        }
        shift += 7;
    }
    number
}

#[inline]
fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_number(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[inline]
fn take_bytes<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let len = take_number(rest) as usize;
    let (bytes, after) = rest.split_at(len.min(rest.len()));
    *rest = after;
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    type Content = Vec<(Vec<u8>, Vec<u8>)>;

    fn content(event: EventRef<'_>) -> (EventId, Content) {
        (event.id, event.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect())
    }

    #[test]
    fn numbers_of_any_size_are_read_as_they_were_written() {
        for number in (0..64).flat_map(|bits| [1 << bits, (1 << bits) - 1]).chain([u64::MAX]) {
            let mut bytes = Vec::new();
            put_number(&mut bytes, number);
            bytes.push(0xff);
            let mut rest = &bytes[..];
            assert_eq!((take_number(&mut rest), rest), (number, &[0xff][..]));
        }
    }

    #[test]
    fn a_block_is_a_small_map() {
        let seed = fastrand::u64(..);
        let mut random = fastrand::Rng::with_seed(seed);
        const NAMES: [&[&[u8]]; 3] = [&[b"name", b"size"], &[b"size", b"name"], &[b"x"]];
        let measure = |event: EventRef<'_>| (event.id.seq, event.fields().count());
        for _ in 0..50 {
            let bits = random.u32(1..64);
            let mut id = EventId::new(random.u64(1..1 << bits), random.u64(..));
            let mut block = Block::new(id, 2, [&b"name"[..], b"size"].into_iter());
            let mut model = std::collections::BTreeMap::new();
            for step in 0..100u32 {
                let names = NAMES[random.usize(..NAMES.len())];
                let value = vec![b'v'; random.usize(..300)];
                let fields = names.iter().map(|name| (*name, &value[..]));
                block.push(id, names.len(), fields.clone());
                let (digest, written) = (id.seq, names.len());
                (block.digest, block.written) = (block.digest.wrapping_add(digest), block.written + written);
                model.insert(id, fields.map(|(name, value)| (name.to_vec(), value.to_vec())).collect::<Vec<_>>());
                let gone = *random.choice(&model.keys().copied().collect::<Vec<_>>()).unwrap();
                match random.u8(..12) {
                    0..4 => {
                        assert_eq!(block.remove(gone, measure).is_some(), model.remove(&gone).is_some());
                        assert!(block.remove(gone, measure).is_none());
                    }
                    4 => {
                        block.trim(gone, measure);
                        model.retain(|id, _| *id > gone);
                    }
                    _ => {}
                }
                assert!(block.iter().map(content).eq(model.clone()), "seed {seed}");
                assert_eq!((block.len(), block.added()), (model.len(), step as usize + 1));
                assert_eq!(block.written, model.values().map(Vec::len).sum::<usize>());
                assert_eq!(block.digest, model.keys().fold(0, |sum: u64, id| sum.wrapping_add(id.seq)));
                let Some(next) = (match random.u8(..3) {
                    0 => id.next(),
                    1 => id.seq.checked_add(random.u64(1..1 << 40)).map(|seq| EventId { seq, ..id }),
                    _ => id.ms.checked_add(random.u64(1..1 << 20)).map(|ms| EventId::new(ms, random.u64(..3))),
                }) else {
                    break;
                };
                id = next;
            }
        }
    }

    #[test]
    fn a_field_whose_name_is_in_the_template_takes_its_value_and_a_byte() {
        let mut block = Block::new(EventId::new(5, 0), 1, [&b"temperature"[..]].into_iter());
        let before = block.bytes();
        block.push(EventId::new(5, 0), 1, [(&b"temperature"[..], &b"21.5"[..])].into_iter());
        assert_eq!(block.bytes() - before, 3 + 1 + 4);
    }
}
