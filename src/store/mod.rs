//! The data of one owner: the partitions on one core, as key → value in 16 databases. Pure and synchronous: nothing
//! here awaits, reads a clock or does I/O. Time and randomness are passed in (except the seed of the hash tables, which
//! has no visible effect).
//!
//! Data changes in one way only: [`Store::apply`]. Commands only *plan*: they read the store and return edits
//! (`commands`).
//!
//! | file | what it is |
//! |---|---|
//! | `table` | records (key and value in one allocation) found by key: a hash table that grows by a small piece at a time |
//! | `tree` | a sequence that is searched by comparison and by position |
//! | `value` | the types of values, a folder each, and the only places that tell types apart |
//! | `change`, `slot_map` | what a change of a key is given and answers; the keys of one slot in one database |
//! | `apply` | an edit, to the store |
//! | `query`, `expiry` | reading; finding keys whose time has come, and databases that nobody uses any more |
//! | `section`, `placement` | slots to and from snapshots; partitions to and from other stores |
//! | [`capture`], `pace` | a slot to a snapshot in slices, between edits; how long a slice is |
//! | `digest`, `memory` | what content adds up to; what it takes |
//! | `garbage`, `prefetch`, `lookahead` | freeing in slices; hints to the CPU; looking many keys up at once |
//!
//! Invariants: a store's totals (keys, expiring keys, memory) are the sums over its slots, and its partitions are
//! contiguous.

mod apply;
pub mod capture;
mod change;
mod digest;
mod expiry;
mod garbage;
mod lookahead;
mod memory;
#[cfg(test)]
#[path = "../../tests/fuzz/targets/model.rs"]
mod model;
mod pace;
mod placement;
mod prefetch;
mod query;
mod section;
mod slot_map;
mod table;
#[cfg(test)]
mod tests;
mod tree;
mod value;

use std::ops::Range;

pub use apply::ApplyError;
pub use digest::Digest;
pub use lookahead::Sought;
pub use value::{
    BlockRef, Consumer, EventRef, Group, HashRef, ListRef, LiveHash, Member, Numbers, Pending, Selection, SetForm,
    SetRef, SortedSetRef, StreamRef, Value,
};

use crate::config::Packing;
use crate::ids::{DATABASES, Partitions};
use crate::time::UnixMillis;
use expiry::ExpirySearch;
use garbage::Garbage;
use memory::allocated;
use slot_map::{NEVER, SlotMap, Tally};
use table::Seed;
pub use table::below;

/// Content of a key.
#[derive(Clone, Copy)]
pub struct Entry<'a> {
    /// Value of the key.
    pub value: Value<'a>,
    /// Time at which the key expires, if any.
    pub expire_at: Option<UnixMillis>,
}

/// Data of the partitions that one owner holds.
pub struct Store {
    partitions: Partitions,
    /// Number of the first slot held; the store holds `slots` consecutive slots.
    first_slot: u16,
    slots: u16,
    /// The databases. Each is created when it is first written to.
    databases: [Option<Database>; DATABASES as usize],
    memory: usize,
    /// Coarse time of use of what is written next; see [`Store::set_clock`].
    clock: u32,
    /// How large packed values may grow; see [`Store::set_packing`].
    packing: Packing,
    seed: Seed,
    /// Per partition, a time before which no key expires; see `expiry`.
    next_expiry: Vec<u64>,
    expiry: ExpirySearch,
    garbage: Garbage,
    /// Buffer in which packed values are assembled; kept to reuse its allocation.
    scratch: Vec<u8>,
}

/// The slots of a store in one database.
struct Database {
    slots: Vec<SlotMap>,
    keys: usize,
    expiring: usize,
    /// Whether it had no key when that was last looked at; see [`Store::free_unused`].
    was_empty: bool,
}

impl Store {
    /// Creates an empty store for the partitions numbered `owned`.
    pub fn new(partitions: Partitions, owned: Range<u16>) -> Self {
        let each = partitions.slots_each();
        let count = owned.end.saturating_sub(owned.start);
        Self {
            partitions,
            first_slot: owned.start * each,
            slots: count * each,
            databases: [const { None }; DATABASES as usize],
            memory: 0,
            clock: 0,
            packing: Packing::default(),
            seed: Seed::get(),
            next_expiry: vec![NEVER; usize::from(count)],
            expiry: ExpirySearch::default(),
            garbage: Garbage::default(),
            scratch: Vec::new(),
        }
    }
}

impl Database {
    fn new(slots: usize) -> Self {
        Self::of(std::iter::repeat_with(SlotMap::default).take(slots).collect())
    }

    /// Creates a database from these slots.
    fn of(slots: Vec<SlotMap>) -> Self {
        let mut database = Self { slots, keys: 0, expiring: 0, was_empty: false };
        (database.keys, database.expiring) = database.counts(0..database.slots.len());
        database
    }

    /// Number of keys, and of keys with an expiry, in some slots.
    fn counts(&self, slots: Range<usize>) -> (usize, usize) {
        let counts = self.slots[slots].iter().map(|map| (map.table.len(), map.expiring as usize));
        counts.fold((0, 0), |sum, map| (sum.0 + map.0, sum.1 + map.1))
    }

    /// Bytes of memory that `slots` empty slots take.
    const fn memory_of(slots: usize) -> usize {
        allocated(slots * size_of::<SlotMap>())
    }

    /// Bytes of memory that the slots and their tables take, without the keys.
    fn own_memory(&self) -> usize {
        Self::memory_of(self.slots.len()) + self.slots.iter().map(|map| map.table.memory()).sum::<usize>()
    }

    /// Adds an edit's tally to the database's totals.
    #[inline]
    const fn count(&mut self, tally: &Tally) {
        self.keys = self.keys.wrapping_add_signed(tally.keys);
        self.expiring = self.expiring.wrapping_add_signed(tally.expiring);
    }

    /// Empties some slots. Returns the bytes of memory freed immediately.
    fn clear(&mut self, slots: Range<usize>, garbage: &mut Garbage) -> usize {
        let (keys, expiring) = self.counts(slots.clone());
        (self.keys, self.expiring) = (self.keys - keys, self.expiring - expiring);
        self.slots[slots].iter_mut().map(|map| garbage.push(std::mem::take(map).table)).sum()
    }
}
