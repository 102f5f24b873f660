//! Finds expired keys, and expired fields of hashes, without an index of keys. Each slot and each partition knows a
//! time before which none of its keys expires and no field of its hashes; only slots whose time has come are searched.
//!
//! The search only reports keys and fields. Their owner then logs an edit that deletes them. If what was reported is
//! not deleted, its slot is searched again. A hash knows the least time of its fields, so that the search passes by
//! those with nothing due; a large one is reported part by part, in the order of times.
//!
//! A search of a slot may take several calls. When it starts, the slot's own time is reset to "never" and then records
//! what is written meanwhile; the cursor keeps the soonest expiry seen so far, and both are joined at the end.
//! Partitions work the same way. Whoever moves slots must first call [`Store::restart_expiry`], which sets the times of
//! the slot and partition under search to "now".

use super::Store;
use super::slot_map::{NEVER, SlotMap};
use super::value::hash::expiring::table::Position;
use super::value::{self, Value};
use crate::encoding::edit::{Change, Fields, Removal};
use crate::ids::{DATABASES, Db, Slot};
use crate::time::UnixMillis;

/// Number of slots with nothing due whose check costs as much as looking at one key.
const HINTS_PER_KEY: usize = 8;
/// Number of keys of a slot examined in one go.
const STEP: usize = 64;
/// Number of keys in a bucket that is freed.
const KEYS_PER_BUCKET: usize = 7;

/// State of the search between two calls.
#[derive(Default)]
pub(super) struct ExpirySearch {
    /// The partition being searched, and the position in it once the search of it has begun.
    partition: usize,
    within: Option<Within>,
    /// Slots in which expired keys were reported that may not have been deleted yet.
    found: Vec<Found>,
    /// Hashes whose expired fields were reported and may not have been deleted yet.
    found_in: Vec<DueHash>,
}

/// Position of the search within a partition.
struct Within {
    /// Counts through the databases of the partition, and through the slots within each.
    step: usize,
    /// Cursor of the slot's table; 0 if the slot has not been begun.
    inner: u64,
    /// Soonest expiry seen in the current slot among keys that are not yet due.
    slot_next: u64,
    /// Soonest expiry in the slots before the current one.
    partition_next: u64,
    /// Hashes that were passed and have expired fields that are not yet reported.
    hashes: Vec<DueHash>,
}

/// A hash with expired fields.
struct DueHash {
    db: usize,
    index: usize,
    key: Box<[u8]>,
    /// The last field that was reported, if any was.
    after: Option<Position>,
    /// The time of the search that found it.
    now: UnixMillis,
}

/// A slot of one database in which expired keys were found.
struct Found {
    db: usize,
    index: usize,
    /// Number of keys with an expiry once those found have been deleted.
    left: u32,
}

impl Store {
    /// Searches about `budget` keys and expired fields. Passes each expired key to `found`, and each key that holds
    /// expired fields, with the change that deletes what has expired. The next call continues from there. Deleted data
    /// that is not yet freed is freed first and counts against the budget. Returns whether there is nothing left to do:
    /// a round is complete and nothing waits to be freed.
    pub fn expired(
        &mut self,
        now: UnixMillis,
        budget: usize,
        mut found: impl FnMut(Db, Slot, &[u8], Change<'static>),
    ) -> bool {
        if !self.garbage.is_empty() {
            self.free(budget.div_ceil(KEYS_PER_BUCKET));
            return false;
        }
        self.look_again_where_found_stayed();
        let mut budget = budget.saturating_mul(HINTS_PER_KEY);
        while self.expiry.partition < self.next_expiry.len() {
            let due = self.next_expiry[self.expiry.partition] <= now.get();
            if (due || self.expiry.within.is_some()) && !self.search_partition(now, &mut budget, &mut found) {
                return false;
            }
            self.expiry.partition += 1;
        }
        self.expiry.partition = 0;
        self.free_unused();
        true
    }

    /// Frees the slots of databases that had no key at the last call and have none now. A database that is emptied and
    /// filled by turns so keeps its slots, or makes them anew once between two calls at most.
    pub fn free_unused(&mut self) {
        for place in &mut self.databases {
            let Some(database) = place else { continue };
            let is_empty = database.keys == 0;
            if is_empty && database.was_empty {
                self.memory -= database.own_memory();
                *place = None;
            } else {
                database.was_empty = is_empty;
            }
        }
    }

    /// Frees about `buckets` buckets of deleted data.
    pub fn free(&mut self, buckets: usize) {
        self.memory -= self.garbage.free(buckets);
    }

    /// Frees all deleted data at once.
    pub fn free_all(&mut self) {
        while !self.garbage.is_empty() {
            self.free(1);
        }
    }

    /// Continues the search of the current partition. Returns whether it is complete.
    fn search_partition(
        &mut self,
        now: UnixMillis,
        budget: &mut usize,
        found: &mut impl FnMut(Db, Slot, &[u8], Change<'static>),
    ) -> bool {
        let each = usize::from(self.partitions.slots_each());
        let partition = self.expiry.partition;
        let mut within = self.expiry.within.take().unwrap_or_else(|| {
            self.next_expiry[partition] = NEVER;
            Within { step: 0, inner: 0, slot_next: NEVER, partition_next: NEVER, hashes: Vec::new() }
        });
        while within.step < usize::from(DATABASES) * each || !within.hashes.is_empty() {
            if *budget == 0 {
                self.expiry.within = Some(within);
                return false;
            }
            if let Some(hash) = within.hashes.pop() {
                let (looked, rest) = self.search_hash(hash, *budget / HINTS_PER_KEY, found);
                within.hashes.extend(rest);
                *budget = budget.saturating_sub(looked * HINTS_PER_KEY);
                continue;
            }
            let (db, index) = (within.step / each, partition * each + within.step % each);
            let Some(next) = self.databases[db].as_ref().map(|database| database.slots[index].next_expiry) else {
                within.step = (db + 1) * each;
                continue;
            };
            *budget -= 1;
            if within.inner == 0 && next > now.get() {
                within.partition_next = within.partition_next.min(next);
                within.step += 1;
                continue;
            }
            let looked = self.search_slot(now, db, index, &mut within, found);
            *budget = budget.saturating_sub(looked * HINTS_PER_KEY);
        }
        self.next_expiry[partition] = self.next_expiry[partition].min(within.partition_next);
        true
    }

    /// Reports about `most` expired fields of a hash. Returns how many, and where to go on if there are more.
    fn search_hash(
        &mut self,
        mut hash: DueHash,
        most: usize,
        found: &mut impl FnMut(Db, Slot, &[u8], Change<'static>),
    ) -> (usize, Option<DueHash>) {
        let (db, slot) = (Db(hash.db as u8), Slot(self.first_slot + hash.index as u16));
        let Some(Value::Hash(value)) = self.get(db, slot, &hash.key).map(|entry| entry.value) else { return (1, None) };
        let mut fields = Fields::default();
        let more = value.due(hash.now, hash.after, most, &mut fields);
        let looked = fields.len() + 1;
        if !fields.is_empty() {
            found(db, slot, &hash.key, Change::ExpireFields(fields));
        }
        if more.is_some() {
            hash.after = more;
            return (looked, Some(hash));
        }
        self.expiry.found_in.push(hash);
        (looked, None)
    }

    /// Examines some keys of a slot. Returns how many.
    fn search_slot(
        &mut self,
        now: UnixMillis,
        db: usize,
        index: usize,
        within: &mut Within,
        found: &mut impl FnMut(Db, Slot, &[u8], Change<'static>),
    ) -> usize {
        let Some(database) = &mut self.databases[db] else { return 0 };
        let map = &mut database.slots[index];
        if within.inner == 0 {
            (map.next_expiry, within.slot_next) = (NEVER, NEVER);
        }
        let slot = Slot(self.first_slot + index as u16);
        let (mut looked, mut due) = (0, 0);
        within.inner = map.table.scan(within.inner, STEP, |record| {
            looked += 1;
            match record.expire_at() {
                Some(time) if time <= now => {
                    due += 1;
                    found(Db(db as u8), slot, record.key(), Change::Delete(Removal::Expired));
                    return;
                }
                Some(time) => within.slot_next = within.slot_next.min(time.get()),
                None => {}
            }
            match value::soonest_expiry(record) {
                Some(time) if time <= now => {
                    within.hashes.push(DueHash { db, index, key: record.key().into(), after: None, now });
                }
                Some(time) => within.slot_next = within.slot_next.min(time.get()),
                None => {}
            }
        });
        if due > 0 {
            match self.expiry.found.last_mut() {
                Some(last) if (last.db, last.index) == (db, index) => last.left = last.left.saturating_sub(due),
                _ => self.expiry.found.push(Found { db, index, left: map.expiring.saturating_sub(due) }),
            }
        }
        if within.inner == 0 {
            map.next_expiry = map.next_expiry.min(within.slot_next);
            within.partition_next = within.partition_next.min(map.next_expiry);
            within.step += 1;
        }
        looked
    }

    /// Sets the times to "now" where what was reported seems not to have been deleted, so that it is searched again.
    fn look_again_where_found_stayed(&mut self) {
        let each = usize::from(self.partitions.slots_each());
        for hash in std::mem::take(&mut self.expiry.found_in) {
            let Some(map) = self.map_at(hash.db, hash.index) else { continue };
            let record = map.table.find(self.seed.hash(&hash.key), &hash.key);
            if record.and_then(value::soonest_expiry).is_some_and(|at| at <= hash.now) {
                self.search_again(hash.db, hash.index);
            }
        }
        for found in self.expiry.found.drain(..) {
            let Some(database) = &mut self.databases[found.db] else { continue };
            let map = &mut database.slots[found.index];
            if map.expiring > found.left {
                map.next_expiry = 0;
                self.next_expiry[found.index / each] = 0;
            }
        }
    }

    /// Restarts the search, because the slots that its state refers to are about to move.
    pub(super) fn restart_expiry(&mut self) {
        self.look_again_where_found_stayed();
        let search = std::mem::take(&mut self.expiry);
        let Some(within) = search.within else { return };
        self.next_expiry[search.partition] = 0;
        let each = usize::from(self.partitions.slots_each());
        self.search_again(within.step / each, search.partition * each + within.step % each);
        within.hashes.iter().for_each(|hash| self.search_again(hash.db, hash.index));
    }

    /// Sets the time of a slot to "now", so that it is searched again.
    fn search_again(&mut self, db: usize, index: usize) {
        if let Some(Some(database)) = self.databases.get_mut(db) {
            database.slots[index].next_expiry = 0;
            self.next_expiry[index / usize::from(self.partitions.slots_each())] = 0;
        }
    }

    fn map_at(&self, db: usize, index: usize) -> Option<&SlotMap> {
        self.databases[db].as_ref().map(|database| &database.slots[index])
    }
}
