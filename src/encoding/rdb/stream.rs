//! Streams: their events in listpacks, consumer groups, and what is pending.
//!
//! | listpack of events | |
//! |---|---|
//! | 3 numbers | number of events, of deleted events, of the names that follow |
//! | … | names of the first event's fields |
//! | 0 | |
//! | … | per event: flags (1: deleted, 2: it has the names above); what its two numbers are more than those of the listpack's id; number of fields and names unless flag 2 is set, each name with its value; how many elements these were |

use std::borrow::Cow;
use std::collections::HashMap;

use super::input::Input;
use super::listpack::Listpack;
use super::packed::Item;
use super::{RdbError, types};
use crate::encoding::edit::Fields;

/// Id of an event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventId {
    /// Milliseconds since the Unix epoch, if the server chose the id.
    pub ms: u64,
    /// Number among the events of the same millisecond.
    pub seq: u64,
}

/// A stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// The events, by id.
    pub events: Events,
    /// Greatest id that was ever added or set; none of `events` has a greater one.
    pub last: EventId,
    /// Greatest id that was deleted; 0-0 if none was.
    pub greatest_deleted: EventId,
    /// Number of events ever added.
    pub added: u64,
    /// The consumer groups, by name.
    pub groups: Vec<Group>,
}

/// Events in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Events {
    /// Id of each event, and its number of fields.
    heads: Vec<(EventId, u32)>,
    /// The fields of all events.
    fields: Fields<'static>,
}

/// An event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'e> {
    /// Id of the event.
    pub id: EventId,
    /// Names and values of its fields; at least one.
    pub fields: Vec<(&'e [u8], &'e [u8])>,
}

/// A consumer group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// Name of the group.
    pub name: Vec<u8>,
    /// Greatest id that was delivered to a consumer.
    pub last_delivered: EventId,
    /// Number of events read, if it is known.
    pub read: Option<u64>,
    /// The consumers, by name.
    pub consumers: Vec<Consumer>,
}

/// A consumer of a group.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Consumer {
    /// Name of the consumer.
    pub name: Vec<u8>,
    /// When the consumer last asked for something, in milliseconds since the Unix epoch.
    pub seen: u64,
    /// When the consumer last got something, if ever.
    pub active: Option<u64>,
    /// Events that were delivered to the consumer and not acknowledged, by id.
    pub pending: Vec<Pending>,
}

/// An event that was delivered and not acknowledged. It may be deleted by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    /// Id of the event.
    pub id: EventId,
    /// When it was delivered last, in milliseconds since the Unix epoch.
    pub delivered_at: u64,
    /// How often it was delivered.
    pub deliveries: u64,
}

impl Events {
    /// Adds an event, whose id must be greater than those of the others. It must have a field.
    pub fn push<'f>(&mut self, id: EventId, fields: impl Iterator<Item = (&'f [u8], &'f [u8])>) {
        let before = self.fields.len();
        fields.for_each(|(name, value)| self.fields.push(name, value));
        self.heads.push((id, (self.fields.len() - before) as u32));
    }

    /// Number of events.
    pub fn len(&self) -> usize {
        self.heads.len()
    }

    /// Whether there are no events.
    pub fn is_empty(&self) -> bool {
        self.heads.is_empty()
    }

    /// The events, by id.
    pub fn iter(&self) -> impl Iterator<Item = Event<'_>> {
        let mut fields = self.fields.iter();
        self.heads.iter().map(move |(id, len)| Event { id: *id, fields: fields.by_ref().take(*len as usize).collect() })
    }
}

const DELETED: i64 = 1;
const SAME_FIELDS: i64 = 2;

/// Reads a stream behind the byte of its type.
pub(super) fn read(kind: u8, input: &mut Input<'_>) -> Result<Stream, RdbError> {
    let mut stream = Stream::default();
    for _ in 0..input.count(2)? {
        let id = input.string()?;
        let id: [u8; 16] = id[..].try_into().map_err(|_| RdbError::Malformed("an id of another size"))?;
        let listpack = input.string()?;
        read_events(&mut stream.events, raw_id(id), &listpack, input)?;
    }
    let length = input.number()?;
    stream.last = id(input)?;
    if kind == types::STREAM_LISTPACKS {
        stream.added = length;
    } else {
        let _first = id(input)?;
        stream.greatest_deleted = id(input)?;
        stream.added = input.number()?;
    }
    if length != stream.events.len() as u64 {
        return Err(RdbError::Malformed("a stream with another number of events"));
    }
    if stream.events.heads.last().is_some_and(|(id, _)| *id > stream.last) {
        return Err(RdbError::Malformed("an event beyond the greatest id"));
    }
    for _ in 0..input.count(5)? {
        let group = group(kind, &stream, input)?;
        stream.groups.push(group);
    }
    stream.groups.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    if stream.groups.windows(2).any(|pair| pair[0].name == pair[1].name) {
        return Err(RdbError::Malformed("a group that occurs twice"));
    }
    Ok(stream)
}

/// An id as keys of listpacks and pending events have it.
const fn raw_id(bytes: [u8; 16]) -> EventId {
    let both = u128::from_be_bytes(bytes);
    EventId { ms: (both >> 64) as u64, seq: both as u64 }
}

fn id(input: &mut Input<'_>) -> Result<EventId, RdbError> {
    Ok(EventId { ms: input.number()?, seq: input.number()? })
}

const NEGATIVE: RdbError = RdbError::Malformed("a negative number of fields or events");

/// Adds the events of a listpack. Deleted ones take from the budget, too, so that it bounds the time.
fn read_events(events: &mut Events, base: EventId, bytes: &[u8], input: &mut Input<'_>) -> Result<(), RdbError> {
    let mut items = Listpack::new(bytes)?;
    let (mut live, mut deleted) = (integer(&mut items)?, integer(&mut items)?);
    let names_len = u64::try_from(integer(&mut items)?).map_err(|_| NEGATIVE)?;
    let mut names = Vec::new();
    for _ in 0..names_len {
        names.push(text(&mut items, input)?);
    }
    integer(&mut items)?;
    while let Some(flags) = items.next() {
        let flags = flags?.integer()?;
        let (ms, seq) = (integer(&mut items)?, integer(&mut items)?);
        let id = EventId { ms: base.ms.wrapping_add_signed(ms), seq: base.seq.wrapping_add_signed(seq) };
        let same = flags & SAME_FIELDS != 0;
        let len = if same { names.len() as i64 } else { integer(&mut items)? };
        if len <= 0 {
            return Err(NEGATIVE);
        }
        let before = events.fields.len();
        for at in 0..len as usize {
            let name = match names.get(at).filter(|_| same) {
                Some(name) => name.clone(),
                None => text(&mut items, input)?,
            };
            let value = text(&mut items, input)?;
            if flags & DELETED == 0 {
                input.spend(name.len())?;
                events.fields.push(&name, &value);
            }
        }
        if flags & DELETED == 0 {
            live -= 1;
            if events.heads.last().map_or(EventId::default(), |(id, _)| *id) >= id {
                return Err(RdbError::Malformed("events out of order"));
            }
            events.heads.push((id, (events.fields.len() - before) as u32));
        } else {
            deleted -= 1;
        }
        if integer(&mut items)? != if same { 3 + len } else { 4 + 2 * len } {
            return Err(RdbError::Malformed("an event of another size"));
        }
    }
    if (live, deleted) == (0, 0) { Ok(()) } else { Err(RdbError::Malformed("another number of events than stated")) }
}

/// The next element of a listpack, an integer.
fn integer(items: &mut Listpack<'_>) -> Result<i64, RdbError> {
    items.expect()?.integer()
}

/// The next element of a listpack as text.
fn text<'p>(items: &mut Listpack<'p>, input: &mut Input<'_>) -> Result<Cow<'p, [u8]>, RdbError> {
    let text = match items.expect()? {
        Item::Text(text) => Cow::Borrowed(text),
        Item::Integer(number) => Cow::Owned(itoa::Buffer::new().format(number).as_bytes().to_vec()),
    };
    input.spend(text.len())?;
    Ok(text)
}

fn group(kind: u8, stream: &Stream, input: &mut Input<'_>) -> Result<Group, RdbError> {
    let name = owned_string(input)?;
    let last_delivered = id(input)?;
    let read = match kind {
        types::STREAM_LISTPACKS => estimate_read(stream, last_delivered),
        _ => Some(input.number()?).filter(|read| *read != u64::MAX),
    };
    let mut pending = HashMap::new();
    for _ in 0..input.count(25)? {
        let id = raw_id(input.array()?);
        input.spend(0)?;
        let (delivered_at, deliveries) = (time_or_never(input)?.unwrap_or(0), input.number()?);
        if pending.insert(id, Pending { id, delivered_at, deliveries }).is_some() {
            return Err(RdbError::Malformed("a pending event that occurs twice"));
        }
    }
    let mut consumers = Vec::new();
    for _ in 0..input.count(10)? {
        consumers.push(consumer(kind, &mut pending, input)?);
    }
    consumers.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    if consumers.windows(2).any(|pair| pair[0].name == pair[1].name) {
        return Err(RdbError::Malformed("a consumer that occurs twice"));
    }
    if !pending.is_empty() {
        return Err(RdbError::Malformed("a pending event of no consumer"));
    }
    Ok(Group { name, last_delivered, read, consumers })
}

/// Reads a consumer, to which some of the group's pending events were delivered.
fn consumer(kind: u8, group: &mut HashMap<EventId, Pending>, input: &mut Input<'_>) -> Result<Consumer, RdbError> {
    let name = owned_string(input)?;
    let seen = time_or_never(input)?;
    let active = if kind == types::STREAM_LISTPACKS_3 { time_or_never(input)? } else { seen };
    let mut pending = Vec::new();
    for _ in 0..input.count(16)? {
        let id = raw_id(input.array()?);
        pending.push(group.remove(&id).ok_or(RdbError::Malformed("a pending event of two consumers or none"))?);
    }
    pending.sort_unstable_by_key(|pending| pending.id);
    Ok(Consumer { name, seen: seen.unwrap_or(0), active, pending })
}

fn owned_string(input: &mut Input<'_>) -> Result<Vec<u8>, RdbError> {
    let string = input.string()?;
    input.spend(string.len())?;
    Ok(string.into_owned())
}

/// A time, of which negative ones mean "never".
fn time_or_never(input: &mut Input<'_>) -> Result<Option<u64>, RdbError> {
    Ok(u64::try_from(input.millis()?).ok())
}

/// How many events a group has read that was delivered events up to `id`, in a stream of which no deletions are known.
fn estimate_read(stream: &Stream, id: EventId) -> Option<u64> {
    let first = stream.events.heads.first().map(|(id, _)| *id);
    match first {
        None => Some(0),
        _ if id == stream.last => Some(stream.added),
        Some(first) if id < first => Some(0),
        Some(first) if id == first => Some(1),
        Some(_) => None,
    }
}
