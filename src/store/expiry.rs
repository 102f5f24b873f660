//! Finding keys whose time has come, without an index: each slot and each partition knows a time before which none of
//! its keys expires, and only slots whose time has come are looked through.
//!
//! What is found is only named; it goes with the edit that its owner then logs. Should it not go, its slot is looked
//! through again.
//!
//! While a slot is looked through, over several calls perhaps, its own time starts anew at "never" and notes what is
//! written meanwhile; what the search has seen is in the cursor, and both are joined at the end. The same goes for
//! partitions. Whoever moves slots must call [`Store::restart_expiry`] before, which makes the times of that slot and
//! partition "now".

use super::Store;
use super::slot_map::NEVER;
use crate::ids::{DATABASES, Db, Slot};
use crate::time::UnixMillis;

/// How many slots with nothing due in them cost as much as a key.
const HINTS_PER_KEY: usize = 8;
/// How many keys of a slot are looked at in one go.
const STEP: usize = 64;
/// How many keys a bucket has that is freed.
const KEYS_PER_BUCKET: usize = 7;

/// What the search remembers from one call to the next.
#[derive(Default)]
pub(super) struct ExpirySearch {
    /// The partition under way, and the place in it if it has been begun.
    partition: usize,
    within: Option<Within>,
    /// Where keys have been found that are not known to be gone.
    found: Vec<Found>,
}

/// Where the search goes on in a partition.
#[derive(Clone, Copy)]
struct Within {
    /// Counts through the databases of the partition, and in each through the slots.
    step: usize,
    /// The table's cursor in the slot; 0 if that has not begun.
    inner: u64,
    /// The soonest expiry, of keys not yet due, in the slot so far.
    slot_next: u64,
    /// The soonest in the slots before it.
    partition_next: u64,
}

/// A slot of a database in which something was found.
struct Found {
    db: usize,
    index: usize,
    /// How many keys with an expiry are left once it has gone.
    left: u32,
}

impl Store {
    /// Looks at about `budget` keys for such whose time has come and passes them to `found`; goes on next time where it
    /// ended. What has been deleted and is not yet freed comes first, at the same price. Returns whether all is done: a
    /// round completed, nothing left to free.
    pub fn expired(&mut self, now: UnixMillis, budget: usize, mut found: impl FnMut(Db, Slot, &[u8])) -> bool {
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
        true
    }

    /// Frees as much of what has been deleted as there is in about `buckets` buckets.
    pub fn free(&mut self, buckets: usize) {
        self.memory -= self.garbage.free(buckets);
    }

    /// Goes on in the partition under way; returns whether it has been gone through.
    fn search_partition(
        &mut self,
        now: UnixMillis,
        budget: &mut usize,
        found: &mut impl FnMut(Db, Slot, &[u8]),
    ) -> bool {
        let each = usize::from(self.partitions.slots_each());
        let partition = self.expiry.partition;
        let mut within = self.expiry.within.take().unwrap_or_else(|| {
            self.next_expiry[partition] = NEVER;
            Within { step: 0, inner: 0, slot_next: NEVER, partition_next: NEVER }
        });
        while within.step < usize::from(DATABASES) * each {
            if *budget == 0 {
                self.expiry.within = Some(within);
                return false;
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

    /// Looks at some keys of a slot and returns how many.
    fn search_slot(
        &mut self,
        now: UnixMillis,
        db: usize,
        index: usize,
        within: &mut Within,
        found: &mut impl FnMut(Db, Slot, &[u8]),
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
                    found(Db(db as u8), slot, record.key());
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

    /// Makes the times "now" where keys that were found do not seem to have gone.
    fn look_again_where_found_stayed(&mut self) {
        let each = usize::from(self.partitions.slots_each());
        for found in self.expiry.found.drain(..) {
            let Some(database) = &mut self.databases[found.db] else { continue };
            let map = &mut database.slots[found.index];
            if map.expiring > found.left {
                map.next_expiry = 0;
                self.next_expiry[found.index / each] = 0;
            }
        }
    }

    /// Lets the search begin anew, because the slots it remembers are about to change places.
    pub(super) fn restart_expiry(&mut self) {
        self.look_again_where_found_stayed();
        let search = std::mem::take(&mut self.expiry);
        let Some(within) = search.within else { return };
        self.next_expiry[search.partition] = 0;
        let each = usize::from(self.partitions.slots_each());
        if let Some(Some(database)) = self.databases.get_mut(within.step / each) {
            database.slots[search.partition * each + within.step % each].next_expiry = 0;
        }
    }
}
