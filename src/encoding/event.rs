//! Events: the entries of a value of type stream, as edits and snapshots contain them.
//!
//! | bytes | what |
//! |---|---|
//! | 16 | the id: milliseconds (8), sequence number (8) |
//! | 4 | number of fields, at least 1 |
//! | … | per field: length of its name (4), length of its value (4), its name, its value |
//!
//! All numbers are little-endian. Redis's word for an event is *entry*; here an entry is a key in a snapshot.

use std::borrow::Cow;
use std::fmt;

/// Id of an event: a time and a number that tells events of the same time apart. Ids of a stream only ever grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// Milliseconds since the Unix epoch, if the server chose the id.
    pub ms: u64,
    /// Number among the events of the same millisecond.
    pub seq: u64,
}

impl EventId {
    /// The smallest id, which no event has.
    pub const ZERO: Self = Self::new(0, 0);
    /// The greatest id.
    pub const MAX: Self = Self::new(u64::MAX, u64::MAX);
    /// Size of an encoded id, in bytes.
    pub const BYTES: usize = 16;

    /// Makes an id of its parts.
    pub const fn new(ms: u64, seq: u64) -> Self {
        Self { ms, seq }
    }

    /// The id that follows this one; `None` after the greatest.
    pub const fn next(self) -> Option<Self> {
        match (self.seq.checked_add(1), self.ms.checked_add(1)) {
            (Some(seq), _) => Some(Self::new(self.ms, seq)),
            (None, Some(ms)) => Some(Self::new(ms, 0)),
            (None, None) => None,
        }
    }

    /// The id before this one; `None` before the smallest.
    pub const fn previous(self) -> Option<Self> {
        match (self.seq.checked_sub(1), self.ms.checked_sub(1)) {
            (Some(seq), _) => Some(Self::new(self.ms, seq)),
            (None, Some(ms)) => Some(Self::new(ms, u64::MAX)),
            (None, None) => None,
        }
    }

    /// The encoded id.
    pub fn to_bytes(self) -> [u8; Self::BYTES] {
        (u128::from(self.seq) << 64 | u128::from(self.ms)).to_le_bytes()
    }

    /// Decodes an id.
    pub const fn from_bytes(bytes: [u8; Self::BYTES]) -> Self {
        let both = u128::from_le_bytes(bytes);
        Self::new(both as u64, (both >> 64) as u64)
    }

    /// The id as clients see it, `ms-seq`.
    pub fn text(self) -> IdText {
        let mut text = IdText { bytes: [0; IdText::MOST], len: 0 };
        let mut digits = itoa::Buffer::new();
        text.push(digits.format(self.ms).as_bytes());
        text.push(b"-");
        text.push(digits.format(self.seq).as_bytes());
        text
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.ms, self.seq)
    }
}

/// Text of an [`EventId`], without an allocation.
pub struct IdText {
    bytes: [u8; Self::MOST],
    len: usize,
}

impl IdText {
    /// Length of the longest id: two numbers of 20 digits and what is between them.
    const MOST: usize = 41;

    fn push(&mut self, more: &[u8]) {
        self.bytes[self.len..][..more.len()].copy_from_slice(more);
        self.len += more.len();
    }

    /// The text.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// Size of the numbers before an event's fields, in bytes.
const HEAD: usize = EventId::BYTES + 4;
/// Size of the two lengths before each name, in bytes.
const LENGTHS: usize = 8;

/// One encoded event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Id of the event.
    pub id: EventId,
    fields: &'a [u8],
    len: usize,
}

impl<'a> Event<'a> {
    /// Removes and returns the first event of `rest`; `None` if `rest` does not begin with one.
    pub(super) fn take(rest: &mut &'a [u8]) -> Option<Self> {
        let (id, after) = rest.split_first_chunk()?;
        let (len, after) = after.split_first_chunk()?;
        let (id, len) = (EventId::from_bytes(*id), u32::from_le_bytes(*len) as usize);
        let mut end = after;
        for _ in 0..len {
            take_field(&mut end)?;
        }
        *rest = end;
        (len > 0).then(|| Self { id, fields: &after[..after.len() - end.len()], len })
    }

    /// Number of fields; never 0.
    #[expect(clippy::len_without_is_empty, reason = "an event has a field at least")]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Names and values of the fields, in the order in which they were given.
    pub fn fields(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> + Clone + use<'a> {
        let mut rest = self.fields;
        std::iter::from_fn(move || take_field(&mut rest))
    }
}

fn take_field<'a>(rest: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let (name_len, after) = rest.split_first_chunk()?;
    let (value_len, after) = after.split_first_chunk()?;
    let (name, after) = after.split_at_checked(u32::from_le_bytes(*name_len) as usize)?;
    let (value, after) = after.split_at_checked(u32::from_le_bytes(*value_len) as usize)?;
    *rest = after;
    Some((name, value))
}

/// Appends an event of `len` fields.
///
/// # Panics
/// If a name or value has 4 GiB or more, which the limits on requests rule out.
pub fn write_event<'f>(out: &mut Vec<u8>, id: EventId, len: usize, fields: impl Iterator<Item = (&'f [u8], &'f [u8])>) {
    let length = |len: usize| u32::try_from(len).expect("requests are far shorter than 4 GiB").to_le_bytes();
    out.extend_from_slice(&id.to_bytes());
    out.extend_from_slice(&length(len));
    for (name, value) in fields {
        out.extend_from_slice(&length(name.len()));
        out.extend_from_slice(&length(value.len()));
        out.extend_from_slice(name);
        out.extend_from_slice(value);
    }
}

/// Size in bytes of an encoded event of `len` fields, whose names and values have `content` bytes.
pub const fn event_bytes(len: usize, content: usize) -> usize {
    HEAD + len * LENGTHS + content
}

/// Encoded events, in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events<'a>(Cow<'a, [u8]>);

impl<'a> Events<'a> {
    /// Events that [`write_event`] wrote, in the order of their ids.
    pub const fn trusted(bytes: &'a [u8]) -> Self {
        Self(Cow::Borrowed(bytes))
    }

    /// Checks encoded events; `None` if they are malformed or not in order.
    pub fn read(bytes: &'a [u8]) -> Option<Self> {
        let (mut rest, mut last) = (bytes, EventId::ZERO);
        while !rest.is_empty() {
            let event = Event::take(&mut rest)?;
            if event.id <= last {
                return None;
            }
            last = event.id;
        }
        Some(Self::trusted(bytes))
    }

    /// Adds an event; its id must be greater than those of the others.
    ///
    /// # Panics
    /// As [`write_event`].
    pub fn push<'f>(&mut self, id: EventId, len: usize, fields: impl Iterator<Item = (&'f [u8], &'f [u8])>) {
        write_event(self.0.to_mut(), id, len, fields);
    }

    /// The events.
    pub fn iter(&self) -> impl Iterator<Item = Event<'_>> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || Event::take(&mut rest))
    }

    /// The encoded events.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_ordered_and_have_neighbours() {
        let id = EventId::new;
        for (one, other) in [(id(0, 0), id(0, 1)), (id(3, u64::MAX), id(4, 0)), (id(u64::MAX, 0), id(u64::MAX, 1))] {
            assert_eq!((one.next(), other.previous()), (Some(other), Some(one)));
            assert!(one < other);
            assert_eq!(EventId::from_bytes(one.to_bytes()), one);
        }
        assert_eq!((EventId::MAX.next(), EventId::ZERO.previous()), (None, None));
        for one in [EventId::ZERO, EventId::MAX, id(1_700_000_000_000, 5)] {
            assert_eq!(one.text().as_bytes(), one.to_string().as_bytes());
        }
    }

    #[test]
    fn events_out_of_order_or_without_fields_are_refused() {
        let fields = [(&b"name"[..], &b"value"[..]), (b"", b"")];
        let mut events = Events::default();
        events.push(EventId::new(1, 1), 2, fields.into_iter());
        let one = events.as_bytes().len();
        assert_eq!(one, event_bytes(2, 9));
        events.push(EventId::new(1, 2), 1, fields.into_iter().take(1));
        let read = Events::read(events.as_bytes()).unwrap();
        assert_eq!(read.iter().map(|event| (event.id.seq, event.len())).collect::<Vec<_>>(), [(1, 2), (2, 1)]);
        assert!(read.iter().next().unwrap().fields().eq(fields));
        for end in 0..events.as_bytes().len() {
            assert_eq!(Events::read(&events.as_bytes()[..end]).is_some(), end == 0 || end == one, "{end}");
        }
        let mut twice = events.clone();
        twice.push(EventId::new(1, 2), 1, fields.into_iter().take(1));
        assert!(Events::read(twice.as_bytes()).is_none());
        let mut bare = Events::default();
        bare.push(EventId::new(1, 1), 0, fields.into_iter().take(0));
        assert!(Events::read(bare.as_bytes()).is_none());
    }
}
