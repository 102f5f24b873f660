//! Looking keys up before they are needed. A look-up touches three places in memory, each of which names the next: the
//! slot's map, a bucket of its table, the record. Taken step by step for many keys at once, their waits become three,
//! not three for each key.

use super::table::Hash;
use super::{Store, prefetch};
use crate::ids::{Db, Slot};

/// A key that is about to be looked up.
#[derive(Clone, Copy, Debug)]
pub struct Sought {
    db: Db,
    slot: Slot,
    hash: Hash,
}

impl Store {
    /// Step 1 for `key`: has its slot's map fetched.
    #[inline]
    pub fn seek(&self, db: Db, slot: Slot, key: &[u8]) -> Sought {
        let hash = self.seed.hash(key);
        if let Some(map) = self.map(db, slot) {
            prefetch::line(map);
        }
        Sought { db, slot, hash }
    }

    /// Step 2: has the bucket fetched that the key would be in.
    #[inline]
    pub fn seek_bucket(&self, sought: &Sought) {
        if let Some(map) = self.map(sought.db, sought.slot) {
            map.table.prefetch(sought.hash);
        }
    }

    /// Step 3: has the record fetched that is likely to be the key's.
    #[inline]
    pub fn seek_record(&self, sought: &Sought) {
        if let Some(map) = self.map(sought.db, sought.slot) {
            map.table.prefetch_record(sought.hash);
        }
    }
}
