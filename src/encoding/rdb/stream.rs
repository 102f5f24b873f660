//! Streams: their events in listpacks, consumer groups, and what is pending.
//!
//! | listpack of events | |
//! |---|---|
//! | 3 numbers | number of events, of deleted events, of the names that follow |
//! | … | names of the first event's fields |
//! | 0 | |
//! | … | per event: flags (1: deleted, 2: it has the names above); what its two numbers are more than those of the listpack's id; number of fields and names unless flag 2 is set, each name with its value; how many elements these were |
//!
//! A stream is read into the payload of a snapshot entry ([`EntryStream`](crate::encoding::entry::EntryStream)), which
//! is also what an edit contains: it is decoded once, into one buffer.

use std::borrow::Cow;

use super::input::Input;
use super::listpack::Listpack;
use super::packed::Item;
use super::{RdbError, types};
use crate::encoding::entry::{
    EntryPending, PENDING_BYTES, Summary, write_consumer, write_group, write_pending, write_stream_event, write_summary,
};
use crate::encoding::event::EventId;

/// Flags of an event in a listpack.
pub(super) const DELETED: i64 = 1;
pub(super) const SAME_FIELDS: i64 = 2;

/// Reads a stream behind the byte of its type, into the payload of a snapshot entry.
pub(super) fn read(kind: u8, input: &mut Input<'_>) -> Result<Vec<u8>, RdbError> {
    let mut events = Events::default();
    for _ in 0..input.count(2)? {
        let id = input.string()?;
        let id: [u8; EventId::BYTES] = id[..].try_into().map_err(|_| RdbError::Malformed("an id of another size"))?;
        let listpack = input.string()?;
        events.read(raw_id(id), &listpack, input)?;
    }
    let length = input.number()?;
    let mut summary = Summary { last: id(input)?, added: length, events: length, ..Summary::default() };
    if kind != types::STREAM_LISTPACKS {
        let _first = id(input)?;
        summary.greatest_deleted = id(input)?;
        summary.added = input.number()?;
    }
    if length != events.count {
        return Err(RdbError::Malformed("a stream with another number of events"));
    }
    if events.last > summary.last {
        return Err(RdbError::Malformed("an event beyond the greatest id"));
    }
    let mut groups = Vec::new();
    for _ in 0..input.count(5)? {
        groups.push(Group::read(kind, (events.first, &summary), input)?);
    }
    groups.sort_unstable_by(|one, other| one.name.cmp(&other.name));
    if groups.windows(2).any(|pair| pair[0].name == pair[1].name) {
        return Err(RdbError::Malformed("a group that occurs twice"));
    }
    summary.pending = groups.iter().map(|group| group.pending.len() as u64).sum();
    summary.groups = u32::try_from(groups.len()).map_err(|_| RdbError::TooLarge)?;
    let mut head = Vec::new();
    write_summary(&mut head, &summary);
    let mut payload = events.written;
    for (group, number) in groups.iter().zip(0..) {
        group.write(&mut head);
        group.pending.iter().for_each(|pending| write_pending(&mut payload, &group.entry_of(number, pending)));
    }
    // The groups come after the events in Redis's format and before them in ours.
    payload.splice(0..0, head);
    Ok(payload)
}

/// An id as keys of listpacks and pending events have it.
const fn raw_id(bytes: [u8; EventId::BYTES]) -> EventId {
    let both = u128::from_be_bytes(bytes);
    EventId::new((both >> 64) as u64, both as u64)
}

fn id(input: &mut Input<'_>) -> Result<EventId, RdbError> {
    Ok(EventId::new(input.number()?, input.number()?))
}

const NEGATIVE: RdbError = RdbError::Malformed("a negative number of fields or events");

/// Name and value of a field.
type Field<'p> = (Cow<'p, [u8]>, Cow<'p, [u8]>);

/// The events read so far.
#[derive(Default)]
struct Events {
    /// The events as a snapshot has them.
    written: Vec<u8>,
    count: u64,
    /// Ids of the first and of the last event; 0-0 if there is none.
    first: EventId,
    last: EventId,
}

impl Events {
    /// Adds the events of a listpack. Deleted ones take from the budget, too, so that it bounds the time.
    fn read(&mut self, base: EventId, bytes: &[u8], input: &mut Input<'_>) -> Result<(), RdbError> {
        let mut items = Listpack::new(bytes)?;
        let (mut live, mut deleted) = (integer(&mut items)?, integer(&mut items)?);
        let names_len = u64::try_from(integer(&mut items)?).map_err(|_| NEGATIVE)?;
        let (mut names, mut fields) = (Vec::new(), Vec::new());
        for _ in 0..names_len {
            names.push(text(&mut items, input)?);
        }
        integer(&mut items)?;
        while let Some(flags) = items.next() {
            let flags = flags?.integer()?;
            let (ms, seq) = (integer(&mut items)?, integer(&mut items)?);
            let id = EventId::new(base.ms.wrapping_add_signed(ms), base.seq.wrapping_add_signed(seq));
            let same = flags & SAME_FIELDS != 0;
            let len = if same { names.len() as i64 } else { integer(&mut items)? };
            if len <= 0 {
                return Err(NEGATIVE);
            }
            fields.clear();
            for at in 0..len as usize {
                let name = match names.get(at).filter(|_| same) {
                    Some(name) => {
                        input.spend(name.len())?;
                        name.clone()
                    }
                    None => text(&mut items, input)?,
                };
                fields.push((name, text(&mut items, input)?));
            }
            if flags & DELETED == 0 {
                live -= 1;
                self.push(id, &fields)?;
            } else {
                deleted -= 1;
            }
            if integer(&mut items)? != if same { 3 + len } else { 4 + 2 * len } {
                return Err(RdbError::Malformed("an event of another size"));
            }
        }
        if (live, deleted) == (0, 0) {
            Ok(())
        } else {
            Err(RdbError::Malformed("another number of events than stated"))
        }
    }

    fn push(&mut self, id: EventId, fields: &[Field<'_>]) -> Result<(), RdbError> {
        if id <= self.last {
            return Err(RdbError::Malformed("events out of order"));
        }
        if self.count == 0 {
            self.first = id;
        }
        (self.count, self.last) = (self.count + 1, id);
        let each = fields.iter().map(|(name, value)| (&name[..], &value[..]));
        write_stream_event(&mut self.written, id, fields.len(), each);
        Ok(())
    }
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

/// A consumer group.
struct Group<'a> {
    name: Cow<'a, [u8]>,
    last_delivered: EventId,
    read: Option<u64>,
    /// The consumers, in the order of the value.
    consumers: Vec<Consumer<'a>>,
    /// By the place of a consumer among `consumers`: its number in the order of the names.
    numbers: Vec<u32>,
    /// Pending deliveries, by id.
    pending: Vec<Pending>,
}

struct Consumer<'a> {
    name: Cow<'a, [u8]>,
    seen: u64,
    active: Option<u64>,
}

struct Pending {
    id: EventId,
    delivered_at: u64,
    deliveries: u64,
    /// Place of the consumer among those of the group.
    consumer: Option<u32>,
}

impl<'a> Group<'a> {
    /// Reads a group of a stream that has this first event and these numbers.
    fn read(kind: u8, (first, stream): (EventId, &Summary), input: &mut Input<'a>) -> Result<Self, RdbError> {
        let name = name(input)?;
        let last_delivered = id(input)?;
        let read = match kind {
            types::STREAM_LISTPACKS => estimate_read(first, stream, last_delivered),
            _ => Some(input.number()?).filter(|read| *read != u64::MAX),
        };
        let mut pending = Vec::new();
        for _ in 0..input.count(25)? {
            input.spend(PENDING_BYTES)?;
            let id = raw_id(input.array()?);
            let (delivered_at, deliveries) = (time_or_never(input)?.unwrap_or(0), input.number()?);
            pending.push(Pending { id, delivered_at, deliveries, consumer: None });
        }
        pending.sort_unstable_by_key(|pending| pending.id);
        if pending.windows(2).any(|pair| pair[0].id == pair[1].id) {
            return Err(RdbError::Malformed("a pending event that occurs twice"));
        }
        let mut consumers = Vec::new();
        for place in 0..input.count(10)? {
            let place = u32::try_from(place).map_err(|_| RdbError::TooLarge)?;
            consumers.push(Consumer::read(kind, place, &mut pending, input)?);
        }
        if pending.iter().any(|pending| pending.consumer.is_none()) {
            return Err(RdbError::Malformed("a pending event of no consumer"));
        }
        let mut group = Self { name, last_delivered, read, numbers: vec![0; consumers.len()], consumers, pending };
        let by_name = group.by_name();
        if by_name.windows(2).any(|pair| group.consumers[pair[0]].name == group.consumers[pair[1]].name) {
            return Err(RdbError::Malformed("a consumer that occurs twice"));
        }
        by_name.into_iter().zip(0..).for_each(|(place, number)| group.numbers[place] = number);
        Ok(group)
    }

    /// Places of the consumers, in the order of their names.
    fn by_name(&self) -> Vec<usize> {
        let mut places: Vec<_> = (0..self.consumers.len()).collect();
        places.sort_unstable_by_key(|place| &self.consumers[*place].name);
        places
    }

    /// Appends the group with its consumers.
    fn write(&self, out: &mut Vec<u8>) {
        write_group(out, &self.name, self.last_delivered, self.read, self.consumers.len() as u32);
        for place in self.by_name() {
            let Consumer { name, seen, active } = &self.consumers[place];
            write_consumer(out, name, *seen, *active);
        }
    }

    /// The entry of a pending delivery, in the group with this number.
    fn entry_of(&self, group: u32, pending: &Pending) -> EntryPending {
        let Pending { id, delivered_at, deliveries, consumer } = *pending;
        let consumer = consumer.map_or(0, |place| self.numbers[place as usize]);
        EntryPending { group, consumer, id, delivered_at, deliveries }
    }
}

impl<'a> Consumer<'a> {
    /// Reads the consumer at this place of its group, to which some of the group's pending events were delivered.
    fn read(kind: u8, place: u32, group: &mut [Pending], input: &mut Input<'a>) -> Result<Self, RdbError> {
        let name = name(input)?;
        let seen = time_or_never(input)?;
        let active = if kind == types::STREAM_LISTPACKS_3 { time_or_never(input)? } else { seen };
        for _ in 0..input.count(EventId::BYTES as u64)? {
            let id = raw_id(input.array()?);
            let pending = group.binary_search_by_key(&id, |pending| pending.id).ok().map(|at| &mut group[at]);
            match pending.filter(|pending| pending.consumer.is_none()) {
                Some(pending) => pending.consumer = Some(place),
                None => return Err(RdbError::Malformed("a pending event of two consumers or none")),
            }
        }
        Ok(Self { name, seen: seen.unwrap_or(0), active })
    }
}

fn name<'a>(input: &mut Input<'a>) -> Result<Cow<'a, [u8]>, RdbError> {
    let name = input.string()?;
    input.spend(name.len())?;
    Ok(name)
}

/// A time, of which negative ones mean "never".
fn time_or_never(input: &mut Input<'_>) -> Result<Option<u64>, RdbError> {
    Ok(u64::try_from(input.millis()?).ok())
}

/// How many events a group has read that was delivered events up to `id`, in a stream of which no deletions are known.
fn estimate_read(first: EventId, stream: &Summary, id: EventId) -> Option<u64> {
    match stream.events {
        0 => Some(0),
        _ if id == stream.last => Some(stream.added),
        _ if id < first => Some(0),
        _ if id == first => Some(1),
        _ => None,
    }
}
