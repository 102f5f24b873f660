//! The edit is the only way data changes: the live core, recovery and the mirror all apply edits with this code.
//!
//! An edit states what holds afterwards, so removing something absent changes nothing and is no error. These edits
//! contradict the state and are errors: hash fields on a string, string bytes on a hash, an expiry for a missing key, a
//! move of a missing key.

use std::ops::Range;

use super::change::{Contradiction, Key, MISSING, TOO_LONG, Tools, fit};
use super::garbage::Garbage;
use super::slot_map::{SlotMap, Tally};
use super::table::Record;
use super::value;
use super::value::form::Structure;
use super::{Database, Store};
use crate::encoding::edit::{Change, Edit};
use crate::encoding::slot::slot_of;
use crate::ids::{Db, PartitionId, Slot};

/// Error for an edit that contradicts the state: either a bug in this program, or a log that belongs to other data.
#[derive(Debug, thiserror::Error)]
#[error("edit contradicts the state of {what}: {why}")]
pub struct ApplyError {
    what: Box<str>,
    why: &'static str,
}

impl ApplyError {
    #[cold]
    pub(super) fn key(key: &[u8], why: &'static str) -> Self {
        Self { what: format!("key \"{}\"", key.escape_ascii()).into(), why }
    }

    #[cold]
    pub(super) fn slot(slot: Slot, why: &'static str) -> Self {
        Self { what: format!("slot {slot}").into(), why }
    }

    #[cold]
    fn partition(partition: PartitionId) -> Self {
        Self { what: format!("partition {partition}").into(), why: NOT_HERE }
    }
}

/// Steps of freeing deleted data with each edit ([`Garbage::free`](super::garbage::Garbage::free)). An edit adds one
/// record and a step frees up to seven, so freeing keeps up.
const STEPS_PER_EDIT: usize = 1;

const ITSELF: Contradiction = "it is moved to itself";
pub(super) const NOT_HERE: &str = "it is not in this store";

impl Store {
    /// Applies an edit to every slot that it touches.
    ///
    /// Returns an error, and changes nothing, if the edit contradicts the state or its partition is not in this store.
    #[inline]
    pub fn apply(&mut self, edit: &Edit<'_>) -> Result<(), ApplyError> {
        match edit {
            Edit::Key { db, slot, key, change } => self.apply_change(*db, *slot, key, change),
            Edit::Flush { partition, db } => self.flush(*db, self.indexes(*partition)?),
            Edit::SwapDb { partition, a, b } => self.swap(*a, *b, self.indexes(*partition)?),
            Edit::Barrier { .. } => Ok(()),
        }
    }

    /// Applies an edit to one slot only and leaves the rest of its partition as it is. Recovery needs this where a
    /// snapshot was written slot by slot, so that some slots contain the edit already.
    ///
    /// # Errors
    /// As [`Self::apply`].
    pub fn apply_to_slot(&mut self, edit: &Edit<'_>, slot: Slot) -> Result<(), ApplyError> {
        let index = self.index(slot).ok_or_else(|| ApplyError::slot(slot, NOT_HERE))?;
        match edit {
            Edit::Key { db, slot: own, key, change } if *own == slot => self.apply_change(*db, slot, key, change),
            Edit::Flush { partition, db } if self.partitions.of(slot) == *partition => {
                self.flush(*db, index..index + 1)
            }
            Edit::SwapDb { partition, a, b } if self.partitions.of(slot) == *partition => {
                self.swap(*a, *b, index..index + 1)
            }
            _ => Ok(()),
        }
    }

    fn indexes(&self, partition: PartitionId) -> Result<Range<usize>, ApplyError> {
        self.slot_range(partition).ok_or_else(|| ApplyError::partition(partition))
    }

    fn apply_change(&mut self, db: Db, slot: Slot, key: &[u8], change: &Change<'_>) -> Result<(), ApplyError> {
        let index = self.index(slot).ok_or_else(|| ApplyError::slot(slot, NOT_HERE))?;
        let result = if let Change::Move { to_db, to_key } = change {
            self.move_value((db, key), (*to_db, to_key), slot, index)
        } else {
            let key = Key::new(self.seed, key);
            self.in_map(db, slot, index, |map, tools, tally, garbage| map.apply(key, change, tools, tally, garbage))
        };
        if !self.garbage.is_empty() {
            self.memory -= self.garbage.free(STEPS_PER_EDIT);
        }
        result.map_err(|why| ApplyError::key(key, why))
    }

    /// Changes the keys of one slot in one database, which is created if it is missing, and adds the change to the
    /// totals.
    #[inline]
    fn in_map<R>(
        &mut self,
        db: Db,
        slot: Slot,
        index: usize,
        change: impl FnOnce(&mut SlotMap, &mut Tools<'_>, &mut Tally, &mut Garbage) -> R,
    ) -> R {
        let partition = self.partition_index(slot);
        let slots = usize::from(self.slots);
        let database = self.databases[usize::from(db.0)].get_or_insert_with(|| {
            self.memory += Database::memory_of(slots);
            Database::new(slots)
        });
        let map = &mut database.slots[index];
        let mut tally = Tally::new();
        let tools =
            &mut Tools { seed: self.seed, clock: self.clock, packing: self.packing, scratch: &mut self.scratch };
        let result = change(map, tools, &mut tally, &mut self.garbage);
        self.next_expiry[partition] = self.next_expiry[partition].min(map.next_expiry);
        database.count(&tally);
        self.memory = self.memory.wrapping_add_signed(tally.memory);
        result
    }

    /// Moves a value to another key, with its expiry. A structure goes over as it is, in the same time however large it
    /// is; what the other key held is set aside to be freed in slices.
    fn move_value(
        &mut self,
        from: (Db, &[u8]),
        to: (Db, &[u8]),
        slot: Slot,
        index: usize,
    ) -> Result<(), Contradiction> {
        if !fit(to.1) {
            return Err(TOO_LONG);
        }
        if from == to {
            return Err(ITSELF);
        }
        let to_slot = slot_of(to.1);
        let to_index = self.index(to_slot).ok_or(NOT_HERE)?;
        let (source, target) = (Key::new(self.seed, from.1), Key::new(self.seed, to.1));
        let taken = self.in_map(from.0, slot, index, |map, _, tally, _| map.take(source, tally));
        let (record, digest) = taken.ok_or(MISSING)?;
        let record = record.renamed(target.bytes);
        record.touch(self.clock);
        self.in_map(to.0, to_slot, to_index, |map, tools, tally, garbage| {
            map.delete(target, tally, garbage);
            map.add(target, record, digest, tools.seed, tally);
        });
        Ok(())
    }

    /// Takes the record of a key out, if the key exists. It still counts as used memory, until [`Self::discard`].
    pub(super) fn set_aside(&mut self, db: Db, slot: Slot, key: &[u8]) -> Option<Record> {
        let (index, key) = (self.index(slot)?, Key::new(self.seed, key));
        let (record, _) = self.in_map(db, slot, index, |map, _, tally, _| map.take(key, tally))?;
        self.memory += value::memory(&record);
        Some(record)
    }

    /// Frees a record that was set aside: its structure, if it has a large one, in slices.
    pub(super) fn discard(&mut self, mut record: Record) {
        self.memory -= record.memory();
        if let Some(structure) = record.take_structure() {
            self.discard_structure(*structure);
        }
    }

    /// Frees a structure that no key holds any more, in slices if it is large.
    pub(super) fn discard_structure(&mut self, structure: Structure) {
        self.memory -= self.garbage.push_structure(structure);
    }

    fn flush(&mut self, db: Db, range: Range<usize>) -> Result<(), ApplyError> {
        self.restart_expiry();
        if let Some(database) = &mut self.databases[usize::from(db.0)] {
            self.memory -= database.clear(range, &mut self.garbage);
        }
        Ok(())
    }

    fn swap(&mut self, a: Db, b: Db, range: Range<usize>) -> Result<(), ApplyError> {
        if a == b || [a, b].iter().all(|db| self.databases[usize::from(db.0)].is_none()) {
            return Ok(());
        }
        self.restart_expiry();
        let slots = usize::from(self.slots);
        for db in [a, b] {
            self.databases[usize::from(db.0)].get_or_insert_with(|| {
                self.memory += Database::memory_of(slots);
                Database::new(slots)
            });
        }
        let places = [usize::from(a.0), usize::from(b.0)];
        if let Ok([Some(a), Some(b)]) = self.databases.get_disjoint_mut(places) {
            let ((a_keys, a_expiring), (b_keys, b_expiring)) = (a.counts(range.clone()), b.counts(range.clone()));
            (a.keys, b.keys) = (a.keys - a_keys + b_keys, b.keys - b_keys + a_keys);
            (a.expiring, b.expiring) = (a.expiring - a_expiring + b_expiring, b.expiring - b_expiring + a_expiring);
            a.slots[range.clone()].swap_with_slice(&mut b.slots[range]);
        }
        Ok(())
    }
}
