//! Payload of a value of type stream in a snapshot entry; also what an edit contains that puts a whole stream.
//!
//! | bytes | what |
//! |---|---|
//! | 16 | greatest id that was ever added or set |
//! | 16 | greatest id that was deleted, 0-0 if none |
//! | 8 | number of events ever added |
//! | 8 | number of events |
//! | 8 | number of pending deliveries |
//! | 4 | number of consumer groups |
//! | … | the groups, by name |
//! | … | pending deliveries and events, in any order; the events among themselves in the order of their ids |
//!
//! A group:
//!
//! | bytes | what |
//! |---|---|
//! | 4 | length of the name |
//! | … | the name |
//! | 16 | greatest id delivered |
//! | 8 | number of events read, 2^64 - 1 if unknown |
//! | 4 | number of consumers |
//! | … | the consumers, by name: length of the name (4), the name, when it was last seen (8) and last got something (8; 2^64 - 1 if never) |
//!
//! A pending delivery begins with a byte 0: the group's number (4, from 0), the consumer's number in it (4), the
//! event's id (16), when it was delivered (8), how often (8). An event begins with a byte 1; its layout is that of
//! [`crate::encoding::event`].

use super::{EntryError, Head, STREAM, begin, length, take, take_slice};
use crate::encoding::event::{self, Event, EventId};

const PENDING: u8 = 0;
const EVENT: u8 = 1;
/// Number that stands for "unknown" and "never".
const NONE: u64 = u64::MAX;

/// Size of the numbers before the groups, in bytes.
pub const SUMMARY_BYTES: usize = 2 * EventId::BYTES + 3 * 8 + 4;
/// Size of a group without its name and its consumers, in bytes.
pub const GROUP_BYTES: usize = 4 + EventId::BYTES + 8 + 4;
/// Size of a consumer without its name, in bytes.
pub const CONSUMER_BYTES: usize = 4 + 8 + 8;
/// Size of a pending delivery, in bytes.
pub const PENDING_BYTES: usize = 1 + 4 + 4 + EventId::BYTES + 8 + 8;
/// Size of what stands before an event, in bytes.
pub const EVENT_MARK_BYTES: usize = 1;

/// Numbers of a whole stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Greatest id that was ever added or set.
    pub last: EventId,
    /// Greatest id that was deleted one by one.
    pub greatest_deleted: EventId,
    /// Number of events ever added.
    pub added: u64,
    /// Number of events.
    pub events: u64,
    /// Number of pending deliveries in all groups.
    pub pending: u64,
    /// Number of groups.
    pub groups: u32,
}

/// A consumer group in a snapshot entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryGroup<'a> {
    /// Name of the group.
    pub name: &'a [u8],
    /// Greatest id delivered to a consumer.
    pub last_delivered: EventId,
    /// Number of events read, if it is known.
    pub read: Option<u64>,
    consumers: &'a [u8],
    len: u32,
}

/// A consumer in a snapshot entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryConsumer<'a> {
    /// Name of the consumer.
    pub name: &'a [u8],
    /// When the consumer last asked for something.
    pub seen: u64,
    /// When the consumer last got something.
    pub active: Option<u64>,
}

/// An event that was delivered to a consumer, and not acknowledged yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryPending {
    /// Number of the group, in the order of the payload.
    pub group: u32,
    /// Number of the consumer in its group, in the order of the payload.
    pub consumer: u32,
    /// Id of the event.
    pub id: EventId,
    /// When it was last delivered.
    pub delivered_at: u64,
    /// How often it was delivered.
    pub deliveries: u64,
}

/// One of the parts of a payload behind its groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamPart<'a> {
    /// A pending delivery.
    Pending(EntryPending),
    /// An event.
    Event(Event<'a>),
}

/// A stream: the numbers in `summary`, and all that they announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EntryStream<'a> {
    /// Numbers of the stream.
    pub summary: Summary,
    groups: &'a [u8],
    parts: &'a [u8],
}

/// Appends the beginning of the entry of a key that holds a stream, whose payload has `payload` bytes. The caller must
/// append the payload: [`write_summary`], groups, pending deliveries and events.
///
/// # Panics
/// If the key has 4 GiB or more, which the limits on requests rule out.
pub fn begin_stream(out: &mut Vec<u8>, head: Head<'_>, payload: usize) {
    begin(out, head, STREAM, payload);
}

/// Appends the numbers with which a payload begins.
pub fn write_summary(out: &mut Vec<u8>, summary: &Summary) {
    out.extend_from_slice(&summary.last.to_bytes());
    out.extend_from_slice(&summary.greatest_deleted.to_bytes());
    for number in [summary.added, summary.events, summary.pending] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&summary.groups.to_le_bytes());
}

/// Appends a group up to its consumers, of which there are `consumers`.
///
/// # Panics
/// If the name has 4 GiB or more, which the limits on requests rule out.
pub fn write_group(out: &mut Vec<u8>, name: &[u8], last_delivered: EventId, read: Option<u64>, consumers: u32) {
    out.extend_from_slice(&length(name.len()));
    out.extend_from_slice(name);
    out.extend_from_slice(&last_delivered.to_bytes());
    out.extend_from_slice(&read.unwrap_or(NONE).to_le_bytes());
    out.extend_from_slice(&consumers.to_le_bytes());
}

/// Appends a consumer.
///
/// # Panics
/// If the name has 4 GiB or more, which the limits on requests rule out.
pub fn write_consumer(out: &mut Vec<u8>, name: &[u8], seen: u64, active: Option<u64>) {
    out.extend_from_slice(&length(name.len()));
    out.extend_from_slice(name);
    out.extend_from_slice(&seen.to_le_bytes());
    out.extend_from_slice(&active.unwrap_or(NONE).to_le_bytes());
}

/// Appends a pending delivery.
pub fn write_pending(out: &mut Vec<u8>, pending: &EntryPending) {
    out.push(PENDING);
    out.extend_from_slice(&pending.group.to_le_bytes());
    out.extend_from_slice(&pending.consumer.to_le_bytes());
    out.extend_from_slice(&pending.id.to_bytes());
    out.extend_from_slice(&pending.delivered_at.to_le_bytes());
    out.extend_from_slice(&pending.deliveries.to_le_bytes());
}

/// Appends an event of `len` fields.
///
/// # Panics
/// As [`event::write_event`].
pub fn write_stream_event<'f>(
    out: &mut Vec<u8>,
    id: EventId,
    len: usize,
    fields: impl Iterator<Item = (&'f [u8], &'f [u8])>,
) {
    out.push(EVENT);
    event::write_event(out, id, len, fields);
}

impl<'a> EntryStream<'a> {
    /// Reads a payload, which must contain exactly what its numbers announce.
    ///
    /// # Errors
    /// If it does not.
    pub fn read(payload: &'a [u8]) -> Result<Self, EntryError> {
        let rest = &mut { payload };
        let summary = Summary {
            last: EventId::from_bytes(take(rest)?),
            greatest_deleted: EventId::from_bytes(take(rest)?),
            added: u64::from_le_bytes(take(rest)?),
            events: u64::from_le_bytes(take(rest)?),
            pending: u64::from_le_bytes(take(rest)?),
            groups: u32::from_le_bytes(take(rest)?),
        };
        let groups = *rest;
        let (mut consumers, mut last) = (Vec::new(), None);
        for _ in 0..summary.groups {
            let group = group(rest)?;
            if last.replace(group.name).is_some_and(|last| last >= group.name) {
                return Err(EntryError("groups out of order"));
            }
            consumers.push(group.len);
        }
        let parts = *rest;
        check_parts(&summary, &consumers, parts)?;
        Ok(Self { summary, groups: &groups[..groups.len() - parts.len()], parts })
    }

    /// The groups, by name.
    pub fn groups(&self) -> impl Iterator<Item = EntryGroup<'a>> + use<'a> {
        let mut rest = self.groups;
        std::iter::from_fn(move || group(&mut rest).ok())
    }

    /// Pending deliveries and events.
    pub fn parts(&self) -> impl Iterator<Item = StreamPart<'a>> + use<'a> {
        let mut rest = self.parts;
        std::iter::from_fn(move || part(&mut rest).ok())
    }
}

impl<'a> EntryGroup<'a> {
    /// The consumers, by name.
    pub fn consumers(&self) -> impl Iterator<Item = EntryConsumer<'a>> + use<'a> {
        let mut rest = self.consumers;
        std::iter::from_fn(move || consumer(&mut rest).ok())
    }
}

fn check_parts(summary: &Summary, consumers: &[u32], mut rest: &[u8]) -> Result<(), EntryError> {
    let (mut events, mut pending, mut last) = (0, 0, EventId::ZERO);
    while !rest.is_empty() {
        match part(&mut rest)? {
            StreamPart::Pending(delivery) => {
                pending += 1;
                if consumers.get(delivery.group as usize).is_none_or(|count| delivery.consumer >= *count) {
                    return Err(EntryError("a pending delivery to nobody"));
                }
            }
            StreamPart::Event(event) => {
                events += 1;
                if event.id <= last {
                    return Err(EntryError("events out of order"));
                }
                last = event.id;
            }
        }
    }
    if last > summary.last {
        return Err(EntryError("an event beyond the greatest id"));
    }
    if (events, pending) == (summary.events, summary.pending) {
        Ok(())
    } else {
        Err(EntryError("another number of events than stated"))
    }
}

/// Removes and returns the first group of `rest`.
fn group<'a>(rest: &mut &'a [u8]) -> Result<EntryGroup<'a>, EntryError> {
    let name_len = u32::from_le_bytes(take(rest)?);
    let name = take_slice(rest, name_len.into())?;
    let last_delivered = EventId::from_bytes(take(rest)?);
    let read = Some(u64::from_le_bytes(take(rest)?)).filter(|read| *read != NONE);
    let len = u32::from_le_bytes(take(rest)?);
    let (consumers, mut last) = (*rest, None);
    for _ in 0..len {
        let consumer = consumer(rest)?;
        if last.replace(consumer.name).is_some_and(|last| last >= consumer.name) {
            return Err(EntryError("consumers out of order"));
        }
    }
    let consumers = &consumers[..consumers.len() - rest.len()];
    Ok(EntryGroup { name, last_delivered, read, consumers, len })
}

/// Removes and returns the first consumer of `rest`.
fn consumer<'a>(rest: &mut &'a [u8]) -> Result<EntryConsumer<'a>, EntryError> {
    let name_len = u32::from_le_bytes(take(rest)?);
    let name = take_slice(rest, name_len.into())?;
    let seen = u64::from_le_bytes(take(rest)?);
    let active = Some(u64::from_le_bytes(take(rest)?)).filter(|active| *active != NONE);
    Ok(EntryConsumer { name, seen, active })
}

/// Removes and returns the first pending delivery or event of `rest`.
fn part<'a>(rest: &mut &'a [u8]) -> Result<StreamPart<'a>, EntryError> {
    let [mark] = take(rest)?;
    Ok(match mark {
        PENDING => StreamPart::Pending(EntryPending {
            group: u32::from_le_bytes(take(rest)?),
            consumer: u32::from_le_bytes(take(rest)?),
            id: EventId::from_bytes(take(rest)?),
            delivered_at: u64::from_le_bytes(take(rest)?),
            deliveries: u64::from_le_bytes(take(rest)?),
        }),
        EVENT => StreamPart::Event(Event::take(rest).ok_or(EntryError("a malformed event"))?),
        _ => return Err(EntryError("an unknown part of a stream")),
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Entry, EntryValue};
    use super::*;
    use crate::ids::Db;

    fn sample() -> Vec<u8> {
        let mut out = Vec::new();
        let (last, greatest_deleted) = (EventId::new(9, 1), EventId::new(4, 0));
        write_summary(&mut out, &Summary { last, greatest_deleted, added: 7, events: 2, pending: 1, groups: 2 });
        write_group(&mut out, b"first", EventId::new(2, 0), Some(3), 1);
        write_consumer(&mut out, b"worker", 1000, None);
        write_group(&mut out, b"second", EventId::ZERO, None, 0);
        write_stream_event(&mut out, EventId::new(2, 0), 1, [(&b"a"[..], &b"1"[..])].into_iter());
        let pending = EntryPending { group: 0, consumer: 0, id: EventId::new(2, 0), delivered_at: 5, deliveries: 6 };
        write_pending(&mut out, &pending);
        write_stream_event(&mut out, last, 1, [(&b"a"[..], &b"2"[..])].into_iter());
        out
    }

    #[test]
    fn what_is_written_is_read() {
        let payload = sample();
        let sizes = SUMMARY_BYTES + 2 * GROUP_BYTES + 11 + CONSUMER_BYTES + 6 + PENDING_BYTES;
        assert_eq!(payload.len(), sizes + 2 * (EVENT_MARK_BYTES + event::event_bytes(1, 2)));
        let mut out = Vec::new();
        begin_stream(&mut out, Head { db: Db(1), key: b"key", expire_at: None }, payload.len());
        out.extend_from_slice(&payload);
        let entry = Entry::read(&mut &out[..]).unwrap();
        let EntryValue::Stream(stream) = entry.value else { panic!("not a stream") };
        let groups: Vec<_> = stream.groups().map(|g| (g.name, g.read, g.consumers().count())).collect();
        assert_eq!(groups, [(&b"first"[..], Some(3), 1), (b"second", None, 0)]);
        let ids: Vec<_> = stream
            .parts()
            .map(|part| match part {
                StreamPart::Pending(pending) => pending.deliveries,
                StreamPart::Event(event) => event.id.ms,
            })
            .collect();
        assert_eq!(ids, [2, 6, 9]);
    }

    #[test]
    fn a_payload_holds_exactly_what_its_numbers_say() {
        let good = sample();
        for end in 0..good.len() {
            assert!(EntryStream::read(&good[..end]).is_err(), "{end}");
        }
        // Events, pending deliveries, groups; the greatest id; a group's name; a consumer's number.
        let first_group = SUMMARY_BYTES + 4;
        for at in [40, 48, 56, 0, first_group] {
            for flip in [1, 8, 0x80] {
                let mut damaged = good.clone();
                damaged[at] ^= flip;
                if at == first_group && damaged[at] < b's' || at == 0 && damaged[at] > 9 {
                    continue;
                }
                assert!(EntryStream::read(&damaged).is_err(), "byte {at} as {}", damaged[at]);
            }
        }
    }
}
