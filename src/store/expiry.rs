//! Finding keys whose time has come, without an index: each slot and each partition knows a time before which none of its keys expires,
//! and only slots whose time has come are looked through.
//!
//! What is found is only named; it goes with the edit that its owner then logs. A slot's time rises when it is looked through and
//! nothing due is in it any more.
//!
//! While a slot is looked through, over several calls perhaps, its own time starts anew at "never" and notes what is written meanwhile;
//! what the search has seen is in the cursor, and both are joined at the end. The same goes for partitions. Whoever drops the cursor
//! must call [`Store::restart_expiry`], which makes the times of that slot and partition "now".

use super::Store;
use super::slot_map::NEVER;
use crate::encoding::edit::UnixMillis;
use crate::ids::{DATABASES, Db, Slot};

/// How many slots with nothing due in them cost as much as a key.
const HINTS_PER_KEY: usize = 8;
/// How many keys a bucket has that is freed.
const KEYS_PER_BUCKET: usize = 7;

/// Where the search goes on.
#[derive(Clone, Copy, Default)]
pub(super) struct ExpiryCursor {
    /// Index of the partition.
    partition: usize,
    /// The search in the partition, if it has begun.
    within: Option<Within>,
}

#[derive(Clone, Copy)]
struct Within {
    /// Counts through the databases of the partition, and in each through the slots.
    step: usize,
    /// The table's cursor in the slot; 0 if that has not begun.
    inner: u64,
    /// The soonest expiry seen so far in the slot, and in the slots before it.
    slot_next: u64,
    partition_next: u64,
}

impl Store {
    /// Looks at about `budget` keys for such whose time has come and passes them to `found`; goes on next time where it ended. What has been
    /// deleted and is not yet freed comes first, at the same price. Returns whether all is done: a round completed, nothing left to free.
    pub fn expired(&mut self, now: UnixMillis, budget: usize, mut found: impl FnMut(Db, Slot, &[u8])) -> bool {
        if !self.garbage.is_empty() {
            self.memory -= self.garbage.free(budget.div_ceil(KEYS_PER_BUCKET));
            return false;
        }
        let mut budget = budget.saturating_mul(HINTS_PER_KEY);
        let mut at = std::mem::take(&mut self.expiry);
        while at.partition < self.next_expiry.len() {
            if at.within.is_some() || self.next_expiry[at.partition] <= now.get() {
                at.within = self.search_partition(now, &mut budget, at, &mut found);
                if at.within.is_some() {
                    self.expiry = at;
                    return false;
                }
            }
            at.partition += 1;
        }
        true
    }

    /// Where to go on in the partition, unless it has been gone through.
    fn search_partition(
        &mut self,
        now: UnixMillis,
        budget: &mut usize,
        at: ExpiryCursor,
        found: &mut impl FnMut(Db, Slot, &[u8]),
    ) -> Option<Within> {
        let each = usize::from(self.partitions.slots_each());
        let mut within = at.within.unwrap_or_else(|| {
            self.next_expiry[at.partition] = NEVER;
            Within { step: 0, inner: 0, slot_next: NEVER, partition_next: NEVER }
        });
        while within.step < usize::from(DATABASES) * each {
            if *budget == 0 {
                return Some(within);
            }
            let (db, index) = (within.step / each, at.partition * each + within.step % each);
            let Some(database) = &mut self.databases[db] else {
                within.step = (db + 1) * each;
                continue;
            };
            let map = &mut database.slots[index];
            *budget -= 1;
            if within.inner != 0 || map.next_expiry <= now.get() {
                if within.inner == 0 {
                    (map.next_expiry, within.slot_next) = (NEVER, NEVER);
                }
                let slot = Slot(self.first_slot + index as u16);
                let mut looked = 0;
                within.inner = map.table.scan(within.inner, 1, |record| {
                    looked += 1;
                    if let Some(time) = record.expire_at() {
                        within.slot_next = within.slot_next.min(time.get());
                        if time <= now {
                            found(Db(db as u8), slot, record.key());
                        }
                    }
                });
                *budget = budget.saturating_sub(looked * HINTS_PER_KEY);
                if within.inner != 0 {
                    continue;
                }
                map.next_expiry = map.next_expiry.min(within.slot_next);
            }
            within.partition_next = within.partition_next.min(map.next_expiry);
            within.step += 1;
        }
        self.next_expiry[at.partition] = self.next_expiry[at.partition].min(within.partition_next);
        None
    }

    /// Lets the search begin anew, because the slots it remembers are about to change places.
    pub(super) fn restart_expiry(&mut self) {
        let at = std::mem::take(&mut self.expiry);
        let Some(within) = at.within else { return };
        self.next_expiry[at.partition] = 0;
        let each = usize::from(self.partitions.slots_each());
        if let Some(Some(database)) = self.databases.get_mut(within.step / each) {
            database.slots[at.partition * each + within.step % each].next_expiry = 0;
        }
    }
}
