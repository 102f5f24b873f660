//! Reads of a store: single keys, many keys, totals. The caller must check whether a key has expired.

use super::digest;
use super::slot_map::{SlotMap, entry_of};
use super::table::{Record, below};
use super::value;
use super::{Digest, Entry, Store};
use crate::config::Packing;
use crate::encoding::entry::Head;
use crate::ids::{Db, PartitionId, Slot};

impl Store {
    #[inline]
    pub(super) fn map(&self, db: Db, slot: Slot) -> Option<&SlotMap> {
        self.databases[usize::from(db.0)].as_ref()?.slots.get(self.index(slot)?)
    }

    /// The key maps of `slot`, one for each database that has been written to.
    pub(super) fn maps(&self, slot: Slot) -> impl Iterator<Item = (Db, &SlotMap)> {
        let index = self.index(slot);
        Db::all()
            .zip(&self.databases)
            .filter_map(move |(db, database)| Some((db, database.as_ref()?.slots.get(index?)?)))
    }

    #[inline]
    fn record(&self, db: Db, slot: Slot, key: &[u8]) -> Option<&Record> {
        self.map(db, slot)?.table.find(self.seed.hash(key), key)
    }

    /// Content of the key, even if it has expired.
    #[inline]
    pub fn get(&self, db: Db, slot: Slot, key: &[u8]) -> Option<Entry<'_>> {
        self.record(db, slot, key).map(entry_of)
    }

    /// Returns the key's content like [`Self::get`] and sets its time of last use to `now_s`, a coarse clock in
    /// seconds. This is no edit: the time of use is not part of the state.
    #[inline]
    pub fn get_used(&self, db: Db, slot: Slot, key: &[u8], now_s: u32) -> Option<Entry<'_>> {
        let record = self.record(db, slot, key)?;
        // Most uses follow another within the same second: skipping the store then leaves the cache line clean.
        if record.clock() != now_s {
            record.touch(now_s);
        }
        Some(entry_of(record))
    }

    /// Sets the coarse clock (seconds) that keys written from now on get as time of last use.
    #[inline]
    pub const fn set_clock(&mut self, now_s: u32) {
        self.clock = now_s;
    }

    /// Sets how large packed values may grow; applies to values that are written from now on.
    pub const fn set_packing(&mut self, packing: Packing) {
        self.packing = packing;
    }

    /// How large packed values may grow.
    pub const fn packing(&self) -> &Packing {
        &self.packing
    }

    /// Coarse time of last use, as set by [`Self::get_used`] and [`Self::set_clock`].
    pub fn last_use(&self, db: Db, slot: Slot, key: &[u8]) -> Option<u32> {
        self.record(db, slot, key).map(|record| record.clock())
    }

    /// Bytes of memory that the key takes (MEMORY USAGE), including its share of the tables.
    pub fn memory_of(&self, db: Db, slot: Slot, key: &[u8]) -> Option<usize> {
        let map = self.map(db, slot)?;
        let record = map.table.find(self.seed.hash(key), key)?;
        Some(value::memory(record) + map.table.memory() / map.table.len().max(1))
    }

    /// Bytes that the key's entry takes in a snapshot. The entry is made for it.
    pub fn entry_len(&self, db: Db, slot: Slot, key: &[u8]) -> Option<usize> {
        let Entry { value, expire_at } = self.get(db, slot, key)?;
        let mut entry = Vec::new();
        value.write_entry(Head { db, key, expire_at }, &mut entry);
        Some(entry.len())
    }

    /// Number of deleted databases and large values that wait to be freed.
    pub fn unfreed(&self) -> usize {
        self.garbage.len()
    }

    /// Number of keys in `db`, including expired ones not yet deleted.
    pub fn len(&self, db: Db) -> usize {
        self.databases[usize::from(db.0)].as_ref().map_or(0, |database| database.keys)
    }

    /// Whether `db` has no keys.
    pub fn is_empty(&self, db: Db) -> bool {
        self.len(db) == 0
    }

    /// Number of keys in `db` that have an expiry.
    pub fn expiring(&self, db: Db) -> usize {
        self.databases[usize::from(db.0)].as_ref().map_or(0, |database| database.expiring)
    }

    /// Bytes of memory taken by all data, including tables and the allocator's rounding.
    pub const fn used_memory(&self) -> usize {
        self.memory
    }

    /// Visits about `count` keys of one slot from `cursor` on (0 begins). Returns the next cursor, 0 at the slot's end;
    /// cursors are below 2^48. A key that exists throughout the scan is visited at least once, however many others come
    /// and go between calls; some may be visited twice.
    pub fn scan_slot(
        &self,
        db: Db,
        slot: Slot,
        cursor: u64,
        count: usize,
        mut visit: impl FnMut(&[u8], Entry<'_>),
    ) -> u64 {
        let Some(map) = self.map(db, slot) else { return 0 };
        map.table.scan(cursor, count, |record| visit(record.key(), entry_of(record)))
    }

    /// A random key from `db`, uniformly distributed; `random` returns uniform 64-bit numbers.
    pub fn random_key(&self, db: Db, mut random: impl FnMut() -> u64) -> Option<(Slot, &[u8])> {
        let database = self.databases[usize::from(db.0)].as_ref()?;
        let mut left = (database.keys > 0).then(|| below(random(), database.keys))?;
        for (index, map) in database.slots.iter().enumerate() {
            if left < map.table.len() {
                let slot = Slot(self.first_slot + index as u16);
                return map.table.random(random).map(|record| (slot, record.key()));
            }
            left -= map.table.len();
        }
        None
    }

    /// Every key in `db`, including expired ones, beginning with slot `first`.
    pub fn keys_from(&self, db: Db, first: Slot) -> impl Iterator<Item = (&[u8], Entry<'_>)> {
        let slots = self.databases[usize::from(db.0)].as_ref().map_or(&[][..], |database| &database.slots);
        let (before, after) = slots.split_at(self.index(first).unwrap_or(0).min(slots.len()));
        let maps = after.iter().chain(before);
        maps.flat_map(|map| map.table.iter().map(|record| (record.key(), entry_of(record))))
    }

    /// Digest of a slot's content in all databases.
    pub fn digest(&self, slot: Slot) -> Digest {
        self.maps(slot).map(|(db, map)| Digest(digest::of_database(db, map.digest))).sum()
    }

    /// Digest of all content.
    pub fn digest_of_all(&self) -> Digest {
        (self.first_slot..self.first_slot + self.slots).map(|slot| self.digest(Slot(slot))).sum()
    }

    /// Digests of a partition's slots, in order. For a partition not in this store, the digests of empty slots.
    pub fn digests(&self, partition: PartitionId) -> Vec<u64> {
        self.partitions.slots(partition).map(|slot| self.digest(Slot(slot)).0).collect()
    }
}
