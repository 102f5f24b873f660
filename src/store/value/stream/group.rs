//! A consumer group: how far it has read, its consumers, and what is pending with each.
//!
//! Pending deliveries are found by id in the group and in their consumer, each in O(log n). Consumers have numbers, so
//! that a pending delivery need not repeat a name.
//!
//! Invariants: `digest` is the sum over the group and all that is in it; every pending delivery is in the group's list
//! and its id in the list of its consumer.

use super::digest::{self, PendingDigest};
use super::pages::Pages;
use crate::encoding::event::EventId;
use crate::store::memory::allocated;

/// A consumer group.
pub struct Group {
    /// Name of the group.
    pub name: Box<[u8]>,
    /// Greatest id delivered to a consumer.
    pub last_delivered: EventId,
    /// Number of events read, if it is known.
    pub read: Option<u64>,
    /// The consumers by their numbers; `None` where a number is free.
    consumers: Vec<Option<Box<Consumer>>>,
    free: Vec<u32>,
    by_name: Pages<u32>,
    pending: Pages<Pending>,
    pub(super) digest: u64,
    /// Total length of the consumers' names in bytes.
    pub(super) names: usize,
    /// Bytes of memory that the consumers take.
    consumer_memory: usize,
}

/// A consumer of a group.
pub struct Consumer {
    /// Name of the consumer.
    pub name: Box<[u8]>,
    /// When the consumer last asked for something.
    pub seen: u64,
    /// When the consumer last got something, if ever.
    pub active: Option<u64>,
    pub(super) pending: Pages<EventId>,
}

/// An event that was delivered and not acknowledged yet.
#[derive(Clone, Copy)]
pub struct Pending {
    /// Id of the event.
    pub id: EventId,
    /// When it was last delivered.
    pub delivered_at: u64,
    /// How often it was delivered.
    pub deliveries: u64,
    /// Number of the consumer that has it.
    pub(super) consumer: u32,
}

impl Consumer {
    fn memory(&self) -> usize {
        allocated(size_of::<Self>()) + allocated(self.name.len()) + self.pending.memory()
    }
}

impl Group {
    /// Makes a group without consumers.
    pub(super) fn new(name: &[u8], last_delivered: EventId, read: Option<u64>) -> Self {
        Self {
            name: name.into(),
            last_delivered,
            read,
            consumers: Vec::new(),
            free: Vec::new(),
            by_name: Pages::default(),
            pending: Pages::default(),
            digest: digest::group(name, last_delivered, read),
            names: 0,
            consumer_memory: 0,
        }
    }

    /// Bytes of memory that the group takes.
    pub(super) fn memory(&self) -> usize {
        let lists = allocated(self.consumers.capacity() * size_of::<Option<Box<Consumer>>>())
            + allocated(self.free.capacity() * size_of::<u32>());
        let own = allocated(size_of::<Self>()) + allocated(self.name.len());
        own + lists + self.by_name.memory() + self.pending.memory() + self.consumer_memory
    }

    /// Number of consumers.
    pub const fn consumer_count(&self) -> usize {
        self.by_name.len()
    }

    /// The consumers, by name.
    pub fn consumers(&self) -> impl Iterator<Item = &Consumer> {
        self.by_name.iter().filter_map(|number| self.consumer(*number))
    }

    /// The consumers' numbers, by name.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.by_name.iter().copied()
    }

    /// Consumer with this number.
    pub(super) fn consumer(&self, number: u32) -> Option<&Consumer> {
        self.consumers.get(number as usize)?.as_deref()
    }

    fn consumer_mut(&mut self, number: u32) -> Option<&mut Consumer> {
        self.consumers.get_mut(number as usize)?.as_deref_mut()
    }

    /// Consumer of this name.
    pub fn consumer_named(&self, name: &[u8]) -> Option<&Consumer> {
        self.number_of(name).and_then(|number| self.consumer(number))
    }

    /// Name of the consumer that has a pending delivery.
    pub fn owner(&self, pending: &Pending) -> &[u8] {
        self.name_of(pending.consumer)
    }

    /// Number of the consumer of this name.
    pub(super) fn number_of(&self, name: &[u8]) -> Option<u32> {
        let place = self.by_name.search(|number| self.name_of(*number).cmp(name)).ok()?;
        self.by_name.get(place).copied()
    }

    fn name_of(&self, number: u32) -> &[u8] {
        self.consumer(number).map_or(&[], |consumer| &consumer.name)
    }

    /// Number of pending deliveries.
    pub const fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// Pending delivery of an event.
    pub fn pending(&self, id: EventId) -> Option<&Pending> {
        self.pending.get(self.pending.search(|pending| pending.id.cmp(&id)).ok()?)
    }

    /// Pending deliveries of events with the id `from` or a greater one, in order.
    pub fn pending_from(&self, from: EventId) -> impl Iterator<Item = &Pending> {
        let (Ok(place) | Err(place)) = self.pending.search(|pending| pending.id.cmp(&from));
        self.pending.iter_from(place)
    }

    /// Last pending delivery.
    pub fn last_pending(&self) -> Option<&Pending> {
        self.pending.last()
    }

    /// Sets how far the group has read.
    pub(super) fn set(&mut self, last_delivered: EventId, read: Option<u64>) {
        let before = digest::group(&self.name, self.last_delivered, self.read);
        (self.last_delivered, self.read) = (last_delivered, read);
        self.exchange(before, digest::group(&self.name, last_delivered, read));
    }

    const fn exchange(&mut self, before: u64, after: u64) {
        self.digest = self.digest.wrapping_sub(before).wrapping_add(after);
    }

    /// Sets the times of a consumer, which is made if it is missing, and returns its number.
    pub(super) fn put_consumer(&mut self, name: &[u8], seen: u64, active: Option<u64>) -> u32 {
        let after = digest::consumer(&self.name, name, seen, active);
        let place = match self.by_name.search(|number| self.name_of(*number).cmp(name)) {
            Ok(place) => {
                let number = self.by_name.get(place).copied().unwrap_or_default();
                if let Some(consumer) = self.consumer_mut(number) {
                    let old = (consumer.seen, consumer.active);
                    (consumer.seen, consumer.active) = (seen, active);
                    self.exchange(digest::consumer(&self.name, name, old.0, old.1), after);
                }
                return number;
            }
            Err(place) => place,
        };
        let consumer = Box::new(Consumer { name: name.into(), seen, active, pending: Pages::default() });
        self.exchange(0, after);
        self.names += name.len();
        self.consumer_memory += consumer.memory();
        let number = if let Some(number) = self.free.pop() {
            self.consumers[number as usize] = Some(consumer);
            number
        } else {
            self.consumers.push(Some(consumer));
            (self.consumers.len() - 1) as u32
        };
        self.by_name.insert(place, number);
        number
    }

    /// Removes a consumer, if it exists, with what is pending with it.
    pub(super) fn remove_consumer(&mut self, name: &[u8]) {
        let Ok(place) = self.by_name.search(|number| self.name_of(*number).cmp(name)) else { return };
        let number = self.by_name.remove(place);
        let Some(consumer) = self.consumers.get_mut(number as usize).and_then(Option::take) else { return };
        self.free.push(number);
        self.names -= name.len();
        self.consumer_memory -= consumer.memory();
        self.exchange(digest::consumer(&self.name, name, consumer.seen, consumer.active), 0);
        let digest = PendingDigest::of(&self.name, name);
        for id in consumer.pending.iter() {
            if let Ok(place) = self.pending.search(|pending| pending.id.cmp(id)) {
                let Pending { id, delivered_at, deliveries, .. } = self.pending.remove(place);
                self.exchange(digest.delivery(id, delivered_at, deliveries), 0);
            }
        }
    }

    /// Makes an event pending with a consumer, and with no other.
    pub(super) fn put_pending(&mut self, new: Pending) {
        let place = self.pending.search(|pending| pending.id.cmp(&new.id));
        let mut had = None;
        match place {
            Ok(place) => {
                if let Some(pending) = self.pending.get_mut(place) {
                    had = Some(std::mem::replace(pending, new));
                }
            }
            Err(place) => self.pending.insert(place, new),
        }
        if let Some(old) = had {
            let before = self.digest_of(&old);
            self.exchange(before, 0);
            if old.consumer != new.consumer {
                self.forget(old.consumer, old.id);
            }
        }
        let after = self.digest_of(&new);
        self.exchange(0, after);
        let Some(consumer) = self.consumers.get_mut(new.consumer as usize).and_then(Option::as_deref_mut) else {
            return;
        };
        if let Err(place) = consumer.pending.search(|id| id.cmp(&new.id)) {
            let before = consumer.pending.memory();
            consumer.pending.insert(place, new.id);
            self.consumer_memory = self.consumer_memory - before + consumer.pending.memory();
        }
    }

    /// Removes the pending delivery of an event, if there is one.
    pub(super) fn remove_pending(&mut self, id: EventId) {
        let Ok(place) = self.pending.search(|pending| pending.id.cmp(&id)) else { return };
        let old = self.pending.remove(place);
        let before = self.digest_of(&old);
        self.exchange(before, 0);
        self.forget(old.consumer, id);
    }

    /// Takes an id off the list of a consumer.
    fn forget(&mut self, consumer: u32, id: EventId) {
        let Some(consumer) = self.consumers.get_mut(consumer as usize).and_then(Option::as_deref_mut) else { return };
        if let Ok(place) = consumer.pending.search(|other| other.cmp(&id)) {
            let before = consumer.pending.memory();
            consumer.pending.remove(place);
            self.consumer_memory = self.consumer_memory - before + consumer.pending.memory();
        }
    }

    fn digest_of(&self, pending: &Pending) -> u64 {
        let common = PendingDigest::of(&self.name, self.name_of(pending.consumer));
        common.delivery(pending.id, pending.delivered_at, pending.deliveries)
    }

    /// Number of parts of about the same size in which the group is freed.
    pub(super) fn parts(&self) -> usize {
        (self.pending.len() + self.by_name.len()) / 64
    }

    /// Frees a part of the group. Returns whether anything was left to be freed.
    pub(super) fn free_some(&mut self) -> bool {
        if self.pending.pop_page().is_some() {
            return true;
        }
        while self.consumers.pop_if(|consumer| consumer.is_none()).is_some() {}
        let Some(Some(consumer)) = self.consumers.last_mut() else { return false };
        let before = consumer.memory();
        if consumer.pending.pop_page().is_some() {
            self.consumer_memory = self.consumer_memory - before + consumer.memory();
        } else {
            self.consumer_memory -= before;
            self.consumers.pop();
        }
        true
    }
}

impl Consumer {
    /// Number of events that are pending with the consumer.
    pub const fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// Ids of events that are pending with the consumer, from `from` on, in order.
    pub fn pending_from(&self, from: EventId) -> impl Iterator<Item = EventId> {
        let (Ok(place) | Err(place)) = self.pending.search(|id| id.cmp(&from));
        self.pending.iter_from(place).copied()
    }
}
