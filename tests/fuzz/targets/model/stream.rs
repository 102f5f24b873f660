//! What a stream should do, as maps; and changes of one at random.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use fastrand::Rng;
use rollbook::encoding::edit::{Assignment, Change, EventIds, PendingEvents, StreamChange};
use rollbook::encoding::entry::{
    EntryPending, EntryStream, StreamPart, Summary, write_consumer, write_group, write_pending, write_stream_event,
    write_summary,
};
use rollbook::encoding::event::{EventId, Events};
use rollbook::store::StreamRef;
use rollbook::time::UnixMillis;

/// Names and values of an event.
type Fields = Vec<(Vec<u8>, Vec<u8>)>;

/// A stream.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stream {
    last: EventId,
    greatest_deleted: EventId,
    added: u64,
    /// The events.
    pub events: BTreeMap<EventId, Fields>,
    groups: BTreeMap<Vec<u8>, Group>,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Group {
    last_delivered: EventId,
    read: Option<u64>,
    /// By name: when it was seen, and active.
    consumers: BTreeMap<Vec<u8>, (u64, Option<u64>)>,
    /// By event: the consumer, when, how often.
    pending: BTreeMap<EventId, (Vec<u8>, u64, u64)>,
}

impl Stream {
    /// The stream that a store holds; what it tells of itself in several ways must agree.
    pub fn of(stream: StreamRef<'_>) -> Self {
        let numbers = stream.numbers();
        let mut model = Self {
            last: numbers.last,
            greatest_deleted: numbers.greatest_deleted,
            added: numbers.added,
            ..Self::default()
        };
        let mut last = EventId::ZERO;
        let _: ControlFlow<()> = stream.visit(EventId::ZERO, EventId::MAX, |event| {
            assert!(event.id > std::mem::replace(&mut last, event.id), "events are in order");
            let fields: Fields = event.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
            assert_eq!(fields.len(), event.len());
            model.events.insert(event.id, fields);
            ControlFlow::Continue(())
        });
        let mut back = model.events.keys().rev();
        let _: ControlFlow<()> = stream.visit_back(EventId::ZERO, EventId::MAX, |event| {
            assert_eq!(Some(&event.id), back.next());
            ControlFlow::Continue(())
        });
        assert_eq!((back.next(), model.events.len()), (None, stream.len()));
        assert_eq!(stream.blocks().map(|block| block.len()).sum::<usize>(), stream.len());
        for (id, fields) in model.events.iter().step_by(7) {
            let event = stream.get(*id).expect("it was visited");
            assert!(event.fields().eq(fields.iter().map(|(name, value)| (&name[..], &value[..]))));
        }
        for group in stream.groups() {
            let mut own = Group { last_delivered: group.last_delivered, read: group.read, ..Group::default() };
            for pending in group.pending_from(EventId::ZERO) {
                let consumer = group.owner(pending).to_vec();
                own.pending.insert(pending.id, (consumer, pending.delivered_at, pending.deliveries));
            }
            assert_eq!(own.pending.len(), group.pending_count());
            for consumer in group.consumers() {
                own.consumers.insert(consumer.name.to_vec(), (consumer.seen, consumer.active));
                let ids = own.pending.iter().filter(|(_, pending)| *pending.0 == *consumer.name).map(|(id, _)| *id);
                assert!(consumer.pending_from(EventId::ZERO).eq(ids), "group and consumer disagree");
            }
            assert_eq!((own.consumers.len(), model.groups.len()), (group.consumer_count(), model.groups.len()));
            model.groups.insert(group.name.to_vec(), own);
        }
        assert_eq!(model.groups.len(), stream.group_count());
        let mut payload = Vec::new();
        stream.write_payload(&mut payload);
        assert_eq!(payload.len(), stream.payload_bytes());
        assert_eq!(Self::read(&payload), model, "what is written means something else");
        model
    }

    /// The stream in a payload.
    pub fn read(payload: &[u8]) -> Self {
        let stream = EntryStream::read(payload).expect("a whole payload");
        let Summary { last, greatest_deleted, added, .. } = stream.summary;
        let mut model = Self { last, greatest_deleted, added, ..Self::default() };
        let mut names = Vec::new();
        for group in stream.groups() {
            let consumers: Vec<_> = group.consumers().collect();
            names.push((group.name.to_vec(), consumers.iter().map(|c| c.name.to_vec()).collect::<Vec<_>>()));
            let consumers = consumers.iter().map(|c| (c.name.to_vec(), (c.seen, c.active))).collect();
            let own =
                Group { last_delivered: group.last_delivered, read: group.read, consumers, pending: BTreeMap::new() };
            model.groups.insert(group.name.to_vec(), own);
        }
        for part in stream.parts() {
            match part {
                StreamPart::Event(event) => {
                    let fields = event.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
                    model.events.insert(event.id, fields);
                }
                StreamPart::Pending(EntryPending { group, consumer, id, delivered_at, deliveries }) => {
                    let (group, consumers) = &names[group as usize];
                    let group = model.groups.get_mut(group).expect("a group of the payload");
                    group.pending.insert(id, (consumers[consumer as usize].clone(), delivered_at, deliveries));
                }
            }
        }
        model
    }

    /// The payload of this stream.
    pub fn payload(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let Self { last, greatest_deleted, added, events, groups } = self;
        let pending = groups.values().map(|group| group.pending.len() as u64).sum();
        let (events_len, groups_len) = (events.len() as u64, groups.len() as u32);
        let (last, greatest_deleted, added) = (*last, *greatest_deleted, *added);
        let summary = Summary { last, greatest_deleted, added, events: events_len, pending, groups: groups_len };
        write_summary(&mut out, &summary);
        for (name, group) in groups {
            write_group(&mut out, name, group.last_delivered, group.read, group.consumers.len() as u32);
            group.consumers.iter().for_each(|(name, (seen, active))| write_consumer(&mut out, name, *seen, *active));
        }
        for (id, fields) in events {
            let fields = fields.iter().map(|(name, value)| (&name[..], &value[..]));
            write_stream_event(&mut out, *id, fields.len(), fields);
        }
        for (group, number) in groups.values().zip(0..) {
            for (id, (consumer, delivered_at, deliveries)) in group.pending.iter().rev() {
                let consumer = group.consumers.keys().position(|name| name == consumer).expect("a consumer") as u32;
                let (delivered_at, deliveries) = (*delivered_at, *deliveries);
                write_pending(&mut out, &EntryPending { group: number, consumer, id: *id, delivered_at, deliveries });
            }
        }
        out
    }

    /// Whether a change makes the stream if it is missing.
    pub const fn is_made_by(change: &StreamChange<'_>) -> bool {
        matches!(change, StreamChange::AddEvents { .. } | StreamChange::PutGroup { .. })
    }

    /// Whether a change contradicts that there is no key.
    pub const fn is_needed_by(change: &StreamChange<'_>) -> bool {
        matches!(change, StreamChange::SetStreamIds { .. } | StreamChange::PutConsumer(_))
    }

    /// Applies a change; false if it contradicts the state.
    pub fn apply(&mut self, change: &StreamChange<'_>) -> bool {
        match change {
            StreamChange::AddEvents { events, added } => {
                if events.iter().next().is_some_and(|event| event.id <= self.last) {
                    return false;
                }
                for event in events.iter() {
                    let fields = event.fields().map(|(name, value)| (name.to_vec(), value.to_vec())).collect();
                    self.events.insert(event.id, fields);
                    self.last = event.id;
                }
                self.added = *added;
            }
            StreamChange::RemoveEvents { ids, greatest_deleted, pending_too } => {
                self.greatest_deleted = *greatest_deleted;
                for id in ids.iter() {
                    self.events.remove(&id);
                    let groups = self.groups.values_mut().filter(|_| *pending_too);
                    groups.for_each(|group| drop(group.pending.remove(&id)));
                }
            }
            StreamChange::TrimStream { through, pending_too } => {
                let gone: Vec<_> = self.events.range(..=*through).map(|(id, _)| *id).collect();
                for id in gone {
                    self.events.remove(&id);
                    let groups = self.groups.values_mut().filter(|_| *pending_too);
                    groups.for_each(|group| drop(group.pending.remove(&id)));
                }
            }
            StreamChange::SetStreamIds { last, greatest_deleted, added } => {
                if self.events.last_key_value().is_some_and(|(id, _)| id > last) {
                    return false;
                }
                (self.last, self.greatest_deleted, self.added) = (*last, *greatest_deleted, *added);
            }
            StreamChange::PutGroup { group, last_delivered, read } => {
                let group = self.groups.entry(group.to_vec()).or_default();
                (group.last_delivered, group.read) = (*last_delivered, *read);
            }
            StreamChange::RemoveGroup(name) => drop(self.groups.remove(&**name)),
            StreamChange::PutConsumer(put) => {
                let Some(group) = self.groups.get_mut(&*put.group) else { return false };
                group.consumers.insert(put.consumer.to_vec(), (put.seen, put.active));
                for (id, deliveries) in put.pending.iter() {
                    group.pending.insert(id, (put.consumer.to_vec(), put.delivered_at, deliveries));
                }
            }
            StreamChange::RemoveConsumer { group, consumer } => {
                if let Some(group) = self.groups.get_mut(&**group) {
                    group.consumers.remove(&**consumer);
                    group.pending.retain(|_, pending| pending.0 != **consumer);
                }
            }
            StreamChange::RemovePending { group, ids } => {
                if let Some(group) = self.groups.get_mut(&**group) {
                    ids.iter().for_each(|id| drop(group.pending.remove(&id)));
                }
            }
        }
        true
    }
}

/// A number that is mostly small.
fn skewed(random: &mut Rng, bits: u32) -> usize {
    let bits = random.u32(..bits);
    random.usize(..1 << bits)
}

/// Makes changes of streams.
#[derive(Default)]
pub struct Changes {
    /// Time of the newest event; grows.
    pub clock: u64,
}

impl Changes {
    /// An id of an event that was probably added.
    fn id(&self, random: &mut Rng) -> EventId {
        let age = skewed(random, 10) as u64;
        EventId::new(self.clock.saturating_sub(age), random.u64(..3))
    }

    fn ids(&self, random: &mut Rng) -> EventIds<'static> {
        (0..=skewed(random, 7)).map(|_| self.id(random)).collect()
    }

    fn events(&mut self, random: &mut Rng) -> Events<'static> {
        const NAMES: [&[u8]; 4] = [b"name", b"size", b"", b"a rather long name"];
        let mut events = Events::default();
        for _ in 0..skewed(random, 6) {
            self.clock += random.u64(1..4);
            let len = if random.u8(..4) == 0 { random.usize(1..5) } else { 2 };
            let value = vec![random.u8(..); skewed(random, 8)];
            let first = if random.u8(..4) == 0 { random.usize(..4) } else { 0 };
            let fields = (0..len).map(|field| (NAMES[(first + field) % 4], &value[..value.len() / (field + 1)]));
            events.push(EventId::new(self.clock, random.u64(..3)), len, fields);
        }
        events
    }

    fn group(random: &mut Rng) -> Vec<u8> {
        format!("group {}", random.u8(..3)).into_bytes()
    }

    fn consumer(random: &mut Rng) -> Vec<u8> {
        format!("consumer {}", skewed(random, 6)).into_bytes()
    }

    fn assignment(&self, random: &mut Rng) -> Assignment<'static> {
        let mut pending = PendingEvents::default();
        for _ in 0..skewed(random, 6) {
            pending.push(self.id(random), random.u64(..5));
        }
        Assignment {
            group: Self::group(random).into(),
            consumer: Self::consumer(random).into(),
            seen: random.u64(..100),
            active: random.bool().then(|| random.u64(..100)),
            pending,
            delivered_at: random.u64(..100),
        }
    }

    /// The next change.
    pub fn change(&mut self, random: &mut Rng, expire_at: Option<UnixMillis>) -> Change<'static> {
        let id = self.id(random);
        let read = random.bool().then(|| random.u64(..100));
        Change::Stream(match random.u8(..100) {
            ..28 => StreamChange::AddEvents { events: self.events(random), added: random.u64(..1000) },
            28..42 => {
                let (ids, pending_too) = (self.ids(random), random.bool());
                StreamChange::RemoveEvents { ids, greatest_deleted: id, pending_too }
            }
            42..52 => StreamChange::TrimStream { through: id, pending_too: random.bool() },
            52..55 => {
                let last = if random.bool() { EventId::new(self.clock, 9) } else { id };
                StreamChange::SetStreamIds { last, greatest_deleted: id, added: random.u64(..1000) }
            }
            55..65 => StreamChange::PutGroup { group: Self::group(random).into(), last_delivered: id, read },
            65..67 => StreamChange::RemoveGroup(Self::group(random).into()),
            67..85 => StreamChange::PutConsumer(Box::new(self.assignment(random))),
            85..88 => {
                let (group, consumer) = (Self::group(random).into(), Self::consumer(random).into());
                StreamChange::RemoveConsumer { group, consumer }
            }
            88..98 => StreamChange::RemovePending { group: Self::group(random).into(), ids: self.ids(random) },
            _ => {
                let mut model = Stream::default();
                for _ in 0..20 {
                    if let Change::Stream(change) = self.change(random, None) {
                        model.apply(&change);
                    }
                }
                return Change::PutStream { stream: model.payload().into(), expire_at };
            }
        })
    }
}
