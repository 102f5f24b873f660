//! Looks keys up before they are needed. A look-up touches three places in memory, each of which leads to the next: the
//! slot's map, a bucket of its table, the record. Doing each step for many keys at once costs three cache-miss waits in
//! all, not three per key.

use super::table::Hash;
use super::{Store, prefetch};
use crate::ids::{Db, Slot};

/// A key that is about to be looked up, between the steps.
#[derive(Clone, Copy, Debug)]
pub struct Sought {
    db: Db,
    slot: Slot,
    hash: Hash,
}

impl Store {
    /// Step 1: prefetches the map of the key's slot.
    #[inline]
    pub fn seek(&self, db: Db, slot: Slot, key: &[u8]) -> Sought {
        let hash = self.seed.hash(key);
        if let Some(map) = self.map(db, slot) {
            prefetch::line(map);
        }
        Sought { db, slot, hash }
    }

    /// Step 2: prefetches the bucket that the key would be in.
    #[inline]
    pub fn seek_bucket(&self, sought: &Sought) {
        if let Some(map) = self.map(sought.db, sought.slot) {
            map.table.prefetch(sought.hash);
        }
    }

    /// Step 3: prefetches the record that is probably the key's.
    #[inline]
    pub fn seek_record(&self, sought: &Sought) {
        if let Some(map) = self.map(sought.db, sought.slot) {
            map.table.prefetch_record(sought.hash);
        }
    }
}
