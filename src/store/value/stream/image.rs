//! A stream from and to the payload of a snapshot entry, in one go.

use std::ops::ControlFlow;

use super::group::{Group, Pending};
use super::{EventStream, Numbers, StreamRef};
use crate::encoding::entry::{
    CONSUMER_BYTES, EntryPending, EntryStream, GROUP_BYTES, Head, PENDING_BYTES, SUMMARY_BYTES, StreamPart, Summary,
    begin_stream, write_consumer, write_group, write_pending, write_stream_event, write_summary,
};
use crate::encoding::event::EventId;
use crate::store::change::{Contradiction, Key, TOO_LONG, Tools, fit};
use crate::store::table::Record;
use crate::store::value::form::Structure;
use crate::time::UnixMillis;

const MALFORMED: Contradiction = "its stream is malformed";

/// Checks limits that decoding does not enforce.
pub(in crate::store::value) fn check(stream: &EntryStream<'_>) -> bool {
    stream.groups().all(|group| fit(group.name) && group.consumers().all(|consumer| fit(consumer.name)))
        && stream.parts().all(|part| match part {
            StreamPart::Pending(_) => true,
            StreamPart::Event(event) => event.fields().all(|(name, value)| fit(name) && fit(value)),
        })
}

/// Makes the record of a key that holds the stream in this payload. Returns it with the stream's digest.
///
/// # Errors
/// If the payload is malformed, or something in it is too long.
pub(in crate::store::value) fn put(
    key: Key<'_>,
    payload: &[u8],
    expire_at: Option<UnixMillis>,
    tools: &Tools<'_>,
) -> Result<(Record, u64), Contradiction> {
    let stream = EntryStream::read(payload).map_err(|_| MALFORMED)?;
    if fit(key.bytes) && check(&stream) { Ok(make(key, &stream, expire_at, tools)) } else { Err(TOO_LONG) }
}

/// Makes the record of a key that holds this stream, which has been checked. Returns it with the stream's digest.
pub(in crate::store::value) fn make(
    key: Key<'_>,
    from: &EntryStream<'_>,
    expire_at: Option<UnixMillis>,
    tools: &Tools<'_>,
) -> (Record, u64) {
    let stream = EventStream::load(from, tools);
    let digest = stream.digest;
    let structure = Box::new(Structure::Stream(Box::new(stream)));
    (Record::with_structure(key.bytes, structure, expire_at, tools.clock), digest)
}

impl EventStream {
    fn load(from: &EntryStream<'_>, tools: &Tools<'_>) -> Self {
        let Summary { last, greatest_deleted, added, .. } = from.summary;
        let mut stream = Self::new(Numbers { last, greatest_deleted, added });
        // Per group, the numbers of its consumers in the order of the payload.
        let mut groups: Vec<(Box<Group>, Vec<u32>)> = Vec::new();
        for group in from.groups() {
            let mut own = Box::new(Group::new(group.name, group.last_delivered, group.read));
            let numbers = group.consumers().map(|c| own.put_consumer(c.name, c.seen, c.active)).collect();
            groups.push((own, numbers));
        }
        for part in from.parts() {
            match part {
                StreamPart::Event(event) => {
                    stream.push(event.id, event.len(), event.fields(), &tools.packing);
                }
                StreamPart::Pending(EntryPending { group, consumer, id, delivered_at, deliveries }) => {
                    if let Some((group, numbers)) = groups.get_mut(group as usize)
                        && let Some(consumer) = numbers.get(consumer as usize)
                    {
                        group.put_pending(Pending { id, delivered_at, deliveries, consumer: *consumer });
                    }
                }
            }
        }
        for (group, _) in groups {
            stream.digest = stream.digest.wrapping_add(group.digest);
            stream.group_memory += group.memory();
            stream.groups.push(group);
        }
        stream
    }

    /// Numbers with which the payload begins.
    pub(super) fn summary(&self) -> Summary {
        let Numbers { last, greatest_deleted, added } = self.numbers;
        Summary {
            last,
            greatest_deleted,
            added,
            events: self.len as u64,
            pending: self.groups.iter().map(|group| group.pending_count() as u64).sum(),
            groups: self.groups.len() as u32,
        }
    }

    /// Size of the payload in bytes.
    pub(super) fn payload_bytes(&self) -> usize {
        let group = |group: &Group| {
            let consumers = group.consumer_count() * CONSUMER_BYTES + group.names;
            GROUP_BYTES + group.name.len() + consumers + group.pending_count() * PENDING_BYTES
        };
        SUMMARY_BYTES + self.written + self.groups.iter().map(|one| group(one)).sum::<usize>()
    }

    /// Appends the payload up to its pending deliveries and events.
    pub(super) fn write_groups(&self, out: &mut Vec<u8>) {
        write_summary(out, &self.summary());
        for group in self.groups.iter() {
            let Group { name, last_delivered, read, .. } = &**group;
            write_group(out, name, *last_delivered, *read, group.consumer_count() as u32);
            group.consumers().for_each(|consumer| write_consumer(out, &consumer.name, consumer.seen, consumer.active));
        }
    }

    fn write_payload(&self, out: &mut Vec<u8>) {
        self.write_groups(out);
        for (group, number) in self.groups.iter().zip(0..) {
            let positions = group.positions();
            for pending in group.pending_from(EventId::ZERO) {
                write_pending(out, &entry_of(number, &positions, pending));
            }
        }
        let _: ControlFlow<()> = StreamRef(self).visit(EventId::ZERO, EventId::MAX, |event| {
            write_stream_event(out, event.id, event.len(), event.fields());
            ControlFlow::Continue(())
        });
    }
}

/// The entry of a pending delivery in the group with this number, whose consumers have these positions.
pub(super) fn entry_of(group: u32, positions: &[u32], pending: &Pending) -> EntryPending {
    let Pending { id, delivered_at, deliveries, consumer } = *pending;
    let consumer = positions.get(consumer as usize).copied().unwrap_or_default();
    EntryPending { group, consumer, id, delivered_at, deliveries }
}

impl Group {
    /// By number of a consumer: its position among all, by name.
    pub(super) fn positions(&self) -> Vec<u32> {
        let mut positions = Vec::new();
        for (number, position) in self.numbers().zip(0..) {
            let number = number as usize;
            positions.resize(positions.len().max(number + 1), 0);
            positions[number] = position;
        }
        positions
    }
}

impl StreamRef<'_> {
    /// Numbers of the stream, as a snapshot begins with them.
    pub fn summary(self) -> Summary {
        self.0.summary()
    }

    /// Size of the stream in a snapshot, in bytes.
    pub fn payload_bytes(self) -> usize {
        self.0.payload_bytes()
    }

    /// Appends the stream as a snapshot has it, for an edit that puts it under another key.
    pub fn write_payload(self, out: &mut Vec<u8>) {
        self.0.write_payload(out);
    }

    /// Appends the snapshot entry of a key that holds this stream.
    pub(in crate::store::value) fn write_entry(self, head: Head<'_>, out: &mut Vec<u8>) {
        begin_stream(out, head, self.0.payload_bytes());
        self.0.write_payload(out);
    }

    /// Digest of the stream.
    pub(in crate::store::value) const fn digest(self) -> u64 {
        self.0.digest
    }
}
