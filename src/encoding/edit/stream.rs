//! Edits of values of type stream: their events, groups and consumers, and how they are encoded as flatbuffers.

use std::borrow::Cow;

use flatbuffers::{Vector, WIPOffset};

use super::{Body, Builder, Change, EditError, UnixMillis, fb};
use crate::encoding::entry::EntryStream;
use crate::encoding::event::{EventId, Events};

/// Number that stands for "unknown" and "never".
const NONE: u64 = u64::MAX;
/// Size of a pending event, in bytes.
const PENDING: usize = EventId::BYTES + 8;

/// Ids of events in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventIds<'a>(Cow<'a, [u8]>);

impl EventIds<'_> {
    /// Adds an id.
    pub fn push(&mut self, id: EventId) {
        self.0.to_mut().extend_from_slice(&id.to_bytes());
    }

    /// Number of ids.
    pub fn len(&self) -> usize {
        self.0.len() / EventId::BYTES
    }

    /// Whether there are no ids.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ids, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = EventId> {
        self.0.as_chunks().0.iter().map(|id| EventId::from_bytes(*id))
    }
}

impl FromIterator<EventId> for EventIds<'static> {
    fn from_iter<I: IntoIterator<Item = EventId>>(ids: I) -> Self {
        let mut all = Self::default();
        ids.into_iter().for_each(|id| all.push(id));
        all
    }
}

/// Ids of events in a row, each with how often the event was delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PendingEvents<'a>(Cow<'a, [u8]>);

impl PendingEvents<'_> {
    /// Adds an event.
    pub fn push(&mut self, id: EventId, deliveries: u64) {
        let bytes = self.0.to_mut();
        bytes.extend_from_slice(&id.to_bytes());
        bytes.extend_from_slice(&deliveries.to_le_bytes());
    }

    /// Number of events.
    pub fn len(&self) -> usize {
        self.0.len() / PENDING
    }

    /// Whether there are no events.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The ids, with how often each was delivered.
    pub fn iter(&self) -> impl Iterator<Item = (EventId, u64)> {
        self.0.as_chunks::<PENDING>().0.iter().map(|row| {
            let [ms, seq, deliveries] = numbers(row);
            (EventId::new(ms, seq), deliveries)
        })
    }
}

fn numbers(row: &[u8; PENDING]) -> [u64; 3] {
    let (numbers, _) = row.as_chunks::<8>();
    std::array::from_fn(|at| u64::from_le_bytes(numbers[at]))
}

/// What a consumer has: its times, and events that are pending with it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assignment<'a> {
    /// Name of the consumer's group.
    pub group: Cow<'a, [u8]>,
    /// Name of the consumer, which is created if it is missing.
    pub consumer: Cow<'a, [u8]>,
    /// When the consumer last asked for something.
    pub seen: u64,
    /// When the consumer last got something, if ever.
    pub active: Option<u64>,
    /// Events that are pending with the consumer from now on, and with no other. Others of the consumer stay.
    pub pending: PendingEvents<'a>,
    /// When `pending` were delivered.
    pub delivered_at: u64,
}

/// Change of a part of the stream that a key holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamChange<'a> {
    /// These events are added to the end of the key's stream. The stream is created if it is missing; the key's expiry
    /// stays.
    AddEvents {
        /// The events; their ids are greater than all that the stream ever had.
        events: Events<'a>,
        /// Number of events ever added to the stream, including these.
        added: u64,
    },
    /// These events of the key's stream are deleted.
    RemoveEvents {
        /// Ids of the events.
        ids: EventIds<'a>,
        /// Greatest id that was deleted one by one so far.
        greatest_deleted: EventId,
        /// Whether what is pending of these events in any group is deleted as well.
        pending_too: bool,
    },
    /// The oldest events of the key's stream are deleted.
    TrimStream {
        /// Greatest id that may be deleted.
        through: EventId,
        /// Whether what is pending of these events in any group is deleted as well.
        pending_too: bool,
    },
    /// The key's stream gets these numbers.
    SetStreamIds {
        /// Greatest id that the stream ever had.
        last: EventId,
        /// Greatest id that was deleted one by one.
        greatest_deleted: EventId,
        /// Number of events ever added.
        added: u64,
    },
    /// The key's stream gets this consumer group, or the group these numbers. The stream is created if it is missing.
    PutGroup {
        /// Name of the group.
        group: Cow<'a, [u8]>,
        /// Greatest id delivered to a consumer.
        last_delivered: EventId,
        /// Number of events read, if it is known.
        read: Option<u64>,
    },
    /// The group of this name is deleted.
    RemoveGroup(Cow<'a, [u8]>),
    /// A group gets this consumer, or the consumer these times and pending events.
    PutConsumer(Box<Assignment<'a>>),
    /// A consumer is deleted, and what was pending with it.
    RemoveConsumer {
        /// Name of its group.
        group: Cow<'a, [u8]>,
        /// Name of the consumer.
        consumer: Cow<'a, [u8]>,
    },
    /// Events are no longer pending in a group.
    RemovePending {
        /// Name of the group.
        group: Cow<'a, [u8]>,
        /// Ids of the events.
        ids: EventIds<'a>,
    },
}

pub(super) fn decode_put(put: fb::PutStream<'_>) -> Result<Change<'_>, EditError> {
    let (stream, expire_at) = (put.stream().bytes(), UnixMillis::option_from_raw(put.expire_at_ms()));
    EntryStream::read(stream).map_err(|_| EditError::Meaningless("a malformed stream"))?;
    Ok(Change::PutStream { stream: Cow::Borrowed(stream), expire_at })
}

/// Decodes a change of a part of a stream, as the members of the union that no other type has.
pub(super) fn decode(edit: fb::Edit<'_>) -> Result<StreamChange<'_>, EditError> {
    const EMPTY: EditError = EditError::Meaningless("no change");
    Ok(match edit.change_type() {
        fb::Change::AddEvents => {
            let add = edit.change_as_add_events().ok_or(EMPTY)?;
            let events = Events::read(add.events().bytes()).ok_or(EditError::Meaningless("malformed events"))?;
            StreamChange::AddEvents { events, added: add.added() }
        }
        fb::Change::RemoveEvents => {
            let remove = edit.change_as_remove_events().ok_or(EMPTY)?;
            let (ids, greatest_deleted) = (ids(remove.ids()), id(remove.greatest_deleted()));
            StreamChange::RemoveEvents { ids, greatest_deleted, pending_too: remove.pending_too() }
        }
        fb::Change::TrimStream => {
            let trim = edit.change_as_trim_stream().ok_or(EMPTY)?;
            StreamChange::TrimStream { through: id(trim.through()), pending_too: trim.pending_too() }
        }
        fb::Change::SetStreamIds => {
            let set = edit.change_as_set_stream_ids().ok_or(EMPTY)?;
            let (last, greatest_deleted) = (id(set.last()), id(set.greatest_deleted()));
            StreamChange::SetStreamIds { last, greatest_deleted, added: set.added() }
        }
        fb::Change::PutGroup => {
            let put = edit.change_as_put_group().ok_or(EMPTY)?;
            let (group, last_delivered) = (Cow::Borrowed(put.group().bytes()), id(put.last_delivered()));
            StreamChange::PutGroup { group, last_delivered, read: Some(put.read()).filter(|read| *read != NONE) }
        }
        fb::Change::RemoveGroup => {
            let remove = edit.change_as_remove_group().ok_or(EMPTY)?;
            StreamChange::RemoveGroup(Cow::Borrowed(remove.group().bytes()))
        }
        fb::Change::PutConsumer => {
            let put = edit.change_as_put_consumer().ok_or(EMPTY)?;
            StreamChange::PutConsumer(Box::new(assignment(put)))
        }
        fb::Change::RemoveConsumer => {
            let remove = edit.change_as_remove_consumer().ok_or(EMPTY)?;
            let (group, consumer) = (remove.group().bytes(), remove.consumer().bytes());
            StreamChange::RemoveConsumer { group: Cow::Borrowed(group), consumer: Cow::Borrowed(consumer) }
        }
        fb::Change::RemovePending => {
            let remove = edit.change_as_remove_pending().ok_or(EMPTY)?;
            StreamChange::RemovePending { group: Cow::Borrowed(remove.group().bytes()), ids: ids(remove.ids()) }
        }
        _ => return Err(EditError::Meaningless("an unknown change")),
    })
}

fn assignment(put: fb::PutConsumer<'_>) -> Assignment<'_> {
    Assignment {
        group: Cow::Borrowed(put.group().bytes()),
        consumer: Cow::Borrowed(put.consumer().bytes()),
        seen: put.seen_ms(),
        active: Some(put.active_ms()).filter(|active| *active != NONE),
        pending: PendingEvents(Cow::Borrowed(put.pending().bytes())),
        delivered_at: put.delivered_at_ms(),
    }
}

fn id(id: &fb::EventId) -> EventId {
    EventId::new(id.ms(), id.seq())
}

fn ids(ids: Vector<'_, fb::EventId>) -> EventIds<'_> {
    EventIds(Cow::Borrowed(ids.bytes()))
}

pub(super) fn build_put(b: &mut Builder, stream: &[u8], expire_at: Option<UnixMillis>) -> Body {
    let expire_at_ms = UnixMillis::option_to_raw(expire_at);
    let stream = Some(b.create_vector::<u8>(stream));
    let put = fb::PutStream::create(b, &fb::PutStreamArgs { stream, expire_at_ms });
    (fb::Change::PutStream, put.as_union_value())
}

pub(super) fn build(b: &mut Builder, change: &StreamChange<'_>) -> Body {
    match change {
        StreamChange::AddEvents { events, added } => {
            let events = Some(b.create_vector::<u8>(events.as_bytes()));
            let add = fb::AddEvents::create(b, &fb::AddEventsArgs { events, added: *added });
            (fb::Change::AddEvents, add.as_union_value())
        }
        StreamChange::RemoveEvents { ids, greatest_deleted, pending_too } => {
            let (ids, greatest) = (build_ids(b, ids), raw(*greatest_deleted));
            let args = fb::RemoveEventsArgs { ids, greatest_deleted: Some(&greatest), pending_too: *pending_too };
            (fb::Change::RemoveEvents, fb::RemoveEvents::create(b, &args).as_union_value())
        }
        StreamChange::TrimStream { through, pending_too } => {
            let through = raw(*through);
            let args = fb::TrimStreamArgs { through: Some(&through), pending_too: *pending_too };
            (fb::Change::TrimStream, fb::TrimStream::create(b, &args).as_union_value())
        }
        StreamChange::SetStreamIds { last, greatest_deleted, added } => {
            let (last, greatest) = (raw(*last), raw(*greatest_deleted));
            let args = fb::SetStreamIdsArgs { last: Some(&last), greatest_deleted: Some(&greatest), added: *added };
            (fb::Change::SetStreamIds, fb::SetStreamIds::create(b, &args).as_union_value())
        }
        StreamChange::PutGroup { group, last_delivered, read } => {
            let (group, last) = (Some(b.create_vector::<u8>(group)), raw(*last_delivered));
            let args = fb::PutGroupArgs { group, last_delivered: Some(&last), read: read.unwrap_or(NONE) };
            (fb::Change::PutGroup, fb::PutGroup::create(b, &args).as_union_value())
        }
        StreamChange::RemoveGroup(group) => {
            let group = Some(b.create_vector::<u8>(group));
            (fb::Change::RemoveGroup, fb::RemoveGroup::create(b, &fb::RemoveGroupArgs { group }).as_union_value())
        }
        StreamChange::PutConsumer(assignment) => build_assignment(b, assignment),
        StreamChange::RemoveConsumer { group, consumer } => {
            let (group, consumer) = (Some(b.create_vector::<u8>(group)), Some(b.create_vector::<u8>(consumer)));
            let remove = fb::RemoveConsumer::create(b, &fb::RemoveConsumerArgs { group, consumer });
            (fb::Change::RemoveConsumer, remove.as_union_value())
        }
        StreamChange::RemovePending { group, ids } => {
            let (ids, group) = (build_ids(b, ids), Some(b.create_vector::<u8>(group)));
            let remove = fb::RemovePending::create(b, &fb::RemovePendingArgs { group, ids });
            (fb::Change::RemovePending, remove.as_union_value())
        }
    }
}

fn build_assignment(b: &mut Builder, put: &Assignment<'_>) -> Body {
    let rows = put.pending.0.as_chunks::<PENDING>().0.iter().map(|row| {
        let [ms, seq, deliveries] = numbers(row);
        fb::PendingEvent::new(ms, seq, deliveries)
    });
    let args = fb::PutConsumerArgs {
        pending: Some(b.create_vector_from_iter(rows)),
        group: Some(b.create_vector::<u8>(&put.group)),
        consumer: Some(b.create_vector::<u8>(&put.consumer)),
        seen_ms: put.seen,
        active_ms: put.active.unwrap_or(NONE),
        delivered_at_ms: put.delivered_at,
    };
    (fb::Change::PutConsumer, fb::PutConsumer::create(b, &args).as_union_value())
}

fn build_ids(b: &mut Builder, ids: &EventIds<'_>) -> Option<WIPOffset<Vector<'static, fb::EventId>>> {
    Some(b.create_vector_from_iter(ids.0.as_chunks().0.iter().map(|id| raw(EventId::from_bytes(*id)))))
}

fn raw(id: EventId) -> fb::EventId {
    fb::EventId::new(id.ms, id.seq)
}

/// One change of each kind, for tests.
#[cfg(test)]
pub(super) fn samples() -> Vec<Change<'static>> {
    use crate::encoding::entry::{Summary, write_summary};

    let (id, group) = (EventId::new(1_700_000_000_000, 3), Cow::Borrowed(&b"group"[..]));
    let mut events = Events::default();
    events.push(id, 2, [(&b"a"[..], &b"1"[..]), (b"", b"")].into_iter());
    let mut pending = PendingEvents::default();
    pending.push(id, 7);
    pending.push(EventId::MAX, u64::MAX);
    let ids: EventIds<'_> = [EventId::ZERO, id].into_iter().collect();
    let mut stream = Vec::new();
    write_summary(&mut stream, &Summary { last: id, ..Summary::default() });
    let consumer = Cow::Borrowed(&b"worker"[..]);
    let assignment = Assignment {
        group: group.clone(),
        consumer: consumer.clone(),
        seen: 5,
        active: Some(6),
        pending,
        delivered_at: 9,
    };
    let changes = [
        StreamChange::AddEvents { events, added: 7 },
        StreamChange::RemoveEvents { ids: ids.clone(), greatest_deleted: id, pending_too: true },
        StreamChange::TrimStream { through: id, pending_too: false },
        StreamChange::SetStreamIds { last: EventId::MAX, greatest_deleted: id, added: 9 },
        StreamChange::PutGroup { group: group.clone(), last_delivered: id, read: Some(0) },
        StreamChange::PutGroup { group: group.clone(), last_delivered: id, read: None },
        StreamChange::RemoveGroup(group.clone()),
        StreamChange::PutConsumer(Box::new(assignment)),
        StreamChange::PutConsumer(Box::new(Assignment { group: group.clone(), ..Assignment::default() })),
        StreamChange::RemoveConsumer { group: group.clone(), consumer },
        StreamChange::RemovePending { group, ids },
    ];
    let put = Change::PutStream { stream: stream.into(), expire_at: Some(UnixMillis::new(9)) };
    std::iter::once(put).chain(changes.map(Change::Stream)).collect()
}
