//! The partitions that a store holds, and moving partitions between stores.

use std::ops::Range;

use super::garbage::Garbage;
use super::slot_map::{NEVER, SlotMap};
use super::{Database, Store};
use crate::ids::{PartitionId, Slot};

impl Store {
    /// Numbers of the partitions that this store holds.
    pub const fn owned(&self) -> Range<u16> {
        let each = self.partitions.slots_each();
        self.first_slot / each..(self.first_slot + self.slots) / each
    }

    /// Index of a slot within this store; `None` if the store does not hold it.
    #[inline]
    pub(super) fn index(&self, slot: Slot) -> Option<usize> {
        let index = slot.0.checked_sub(self.first_slot)?;
        (index < self.slots).then_some(usize::from(index))
    }

    /// Index of a slot's partition within this store, which must hold it.
    #[inline]
    pub(super) fn partition_index(&self, slot: Slot) -> usize {
        usize::from(self.partitions.of(slot).0 - self.partitions.of(Slot(self.first_slot)).0)
    }

    /// Indexes of a partition's slots within this store; `None` if it does not hold the partition.
    pub(super) fn slot_range(&self, partition: PartitionId) -> Option<Range<usize>> {
        if !self.owned().contains(&partition.0) {
            return None;
        }
        let slots = self.partitions.slots(partition);
        Some(usize::from(slots.start - self.first_slot)..usize::from(slots.end - self.first_slot))
    }

    /// Moves `partitions` out into a new store. They must be the first or the last ones of this store, or none, or all.
    ///
    /// # Panics
    ///
    /// If `partitions` is any other range.
    pub fn split_off(&mut self, partitions: Range<u16>) -> Self {
        let owned = self.owned();
        let mut other = Self::new(self.partitions, partitions.clone());
        if partitions.is_empty() {
            return other;
        }
        assert!(owned.start <= partitions.start && partitions.end <= owned.end, "partitions are in the store");
        assert!(
            owned.start == partitions.start || partitions.end == owned.end,
            "partitions are at an end of the store"
        );
        self.restart_expiry();
        let range = usize::from(partitions.start - owned.start)..usize::from(partitions.end - owned.start);
        other.next_expiry = self.next_expiry.drain(range.clone()).collect();
        let each = usize::from(self.partitions.slots_each());
        let slots = range.start * each..range.end * each;
        for (from, to) in self.databases.iter_mut().zip(&mut other.databases) {
            if let Some(database) = from {
                *to = Some(Database::of(database.slots.drain(slots.clone()).collect()));
            }
        }
        self.slots -= other.slots;
        if owned.start == partitions.start {
            self.first_slot += other.slots;
        }
        self.recount();
        other.recount();
        other
    }

    /// Moves in all partitions of another store, which must be adjacent to this store's (unless one of the two is
    /// empty).
    ///
    /// # Panics
    ///
    /// If the partitions are not adjacent, or the two stores divide slots into partitions differently.
    pub fn merge(&mut self, mut other: Self) {
        assert_eq!(self.partitions, other.partitions, "both stores are of one data directory");
        if other.slots == 0 {
            return;
        }
        self.restart_expiry();
        other.restart_expiry();
        if self.slots == 0 || other.first_slot < self.first_slot {
            std::mem::swap(self, &mut other);
        }
        if other.slots == 0 {
            return;
        }
        assert_eq!(self.first_slot + self.slots, other.first_slot, "the partitions border on each other");
        self.next_expiry.append(&mut other.next_expiry);
        let (mine, theirs) = (usize::from(self.slots), usize::from(other.slots));
        for (into, from) in self.databases.iter_mut().zip(other.databases) {
            if into.is_none() && from.is_none() {
                continue;
            }
            let from = from.unwrap_or_else(|| Database::new(theirs));
            into.get_or_insert_with(|| Database::new(mine)).slots.extend(from.slots);
        }
        self.slots += other.slots;
        self.recount();
    }

    /// Drops all content of a partition if this store holds it. The mirror does this before it loads another snapshot.
    pub fn clear_partition(&mut self, partition: PartitionId) {
        let Some(range) = self.slot_range(partition) else { return };
        self.restart_expiry();
        let index = usize::from(partition.0 - self.owned().start);
        for database in self.databases.iter_mut().flatten() {
            self.memory -= database.clear(range.clone(), &mut self.garbage);
        }
        self.next_expiry[index] = NEVER;
    }

    /// Recounts keys and memory from the slots, after slots were added or removed.
    fn recount(&mut self) {
        self.garbage = Garbage::default();
        self.memory = 0;
        for database in self.databases.iter_mut().flatten() {
            *database = Database::of(std::mem::take(&mut database.slots));
            self.memory += Database::memory_of(database.slots.len());
            self.memory += database.slots.iter().map(SlotMap::memory).sum::<usize>();
        }
    }
}
