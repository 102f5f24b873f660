//! The data of one owner: the partitions that live on a core, as key → value in 16 databases. Pure and synchronous: nothing here
//! awaits, reads a clock or does I/O; time and chance come in from outside.
//!
//! Data changes in one way only: [`Store::apply`]. Commands *plan*: they read the store and answer with edits (`commands`).

pub mod commands;

use std::ops::ControlFlow;

use crate::encoding::edit::{Edit, UnixMillis};
use crate::ids::{Db, PartitionId, Partitions, Slot};

/// An order-independent digest of content; contents add up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Digest(pub u64);

/// An edit that contradicts the state that it is applied to: a bug here, or a log that is not this data's.
#[derive(Debug, thiserror::Error)]
#[error("edit contradicts the state of key {key:?}: {why}")]
pub struct ApplyError {
    key: String,
    why: &'static str,
}

/// The partitions of one owner.
pub struct Store;

/// A key's content.
pub struct Entry<'a> {
    pub value: Value<'a>,
    pub expire_at: Option<UnixMillis>,
}

/// A value, borrowed. Sets, sorted sets and lists will join.
pub enum Value<'a> {
    String(&'a [u8]),
    Hash(HashRef<'a>),
}

/// A hash, borrowed.
#[derive(Clone, Copy)]
pub struct HashRef<'a>(std::marker::PhantomData<&'a ()>);

impl<'a> HashRef<'a> {
    /// Number of fields; never 0.
    pub fn len(self) -> usize {
        todo!()
    }
    pub fn get(self, field: &[u8]) -> Option<&'a [u8]> {
        todo!()
    }
    /// Calls `visit` with every field and value until it breaks.
    pub fn for_each<B>(self, visit: impl FnMut(&'a [u8], &'a [u8]) -> ControlFlow<B>) -> ControlFlow<B> {
        todo!()
    }
    /// For HSCAN: visits about `count` fields from `cursor` on (0 begins), returns the next cursor (0 = end).
    /// Fields that are there all along are visited, however many come and go between calls.
    pub fn scan(self, cursor: u64, count: usize, visit: impl FnMut(&'a [u8], &'a [u8])) -> u64 {
        todo!()
    }
    /// A field at random, `random` being a uniform 64-bit number.
    pub fn random_field(self, random: u64) -> (&'a [u8], &'a [u8]) {
        todo!()
    }
    /// True while it is small and packed ("listpack" in OBJECT ENCODING), false once it is a table ("hashtable").
    pub fn is_packed(self) -> bool {
        todo!()
    }
}

impl Store {
    /// An empty store that owns `owned` (partition numbers).
    pub fn new(partitions: Partitions, owned: std::ops::Range<u16>) -> Self {
        todo!()
    }

    /// The key's content, whether or not its time has come.
    pub fn get(&self, db: Db, slot: Slot, key: &[u8]) -> Option<Entry<'_>> {
        todo!()
    }
    /// Hints the CPU that `key` is about to be looked up.
    pub fn prefetch(&self, db: Db, slot: Slot, key: &[u8]) {
        todo!()
    }
    /// Notes that the key was used (for OBJECT IDLETIME); `now_s` is a coarse clock in seconds. No edit: not part of the state.
    pub fn touch(&self, db: Db, slot: Slot, key: &[u8], now_s: u32) {
        todo!()
    }
    /// Coarse time of the last use.
    pub fn last_use(&self, db: Db, slot: Slot, key: &[u8]) -> Option<u32> {
        todo!()
    }
    /// Bytes of memory that the key takes (MEMORY USAGE).
    pub fn memory_of(&self, db: Db, slot: Slot, key: &[u8]) -> Option<usize> {
        todo!()
    }

    /// The one way in which data changes. Live core, recovery and mirror share it.
    pub fn apply(&mut self, edit: &Edit<'_>) -> Result<(), ApplyError> {
        todo!()
    }

    /// Keys in `db`.
    pub fn len(&self, db: Db) -> usize {
        todo!()
    }
    /// Keys in `db` that will expire.
    pub fn expiring(&self, db: Db) -> usize {
        todo!()
    }
    /// Bytes of memory taken by all data (allocator classes and tables included).
    pub fn used_memory(&self) -> usize {
        todo!()
    }

    /// Keys of one slot from `cursor` on (0 begins), about `count`; returns the next cursor, 0 at the slot's end. The cursor is below 2^48.
    pub fn scan_slot(&self, db: Db, slot: Slot, cursor: u64, count: usize, visit: impl FnMut(&[u8], Entry<'_>)) -> u64 {
        todo!()
    }
    /// A key at random from `db`.
    pub fn random_key(&self, db: Db, random: impl FnMut() -> u64) -> Option<(Slot, &[u8])> {
        todo!()
    }
    /// Looks at no more than `budget` keys (and cheap hints) for keys whose time has come and passes them to `found`; goes on next time where it ended.
    /// Returns whether a whole round was completed.
    pub fn expired(&mut self, now: UnixMillis, budget: usize, found: impl FnMut(Db, Slot, &[u8])) -> bool {
        todo!()
    }

    /// The digest of a slot's content over all databases.
    pub fn digest(&self, slot: Slot) -> Digest {
        todo!()
    }
    /// Digests of a partition's slots, in order.
    pub fn digests(&self, partition: PartitionId) -> Vec<u64> {
        todo!()
    }

    /// Appends the entries of a slot, all databases, as `encoding::entry` writes them; returns their number.
    pub fn write_section(&self, slot: Slot, out: &mut Vec<u8>) -> u64 {
        todo!()
    }
    /// Fills an empty slot with `count` entries that [`Self::write_section`] wrote.
    pub fn load_section(&mut self, slot: Slot, count: u64, entries: &[u8]) -> Result<(), ApplyError> {
        todo!()
    }
    /// Takes partitions out, to live in another store (the checkpoint node hands them to its threads), and puts them in.
    pub fn split_off(&mut self, partitions: std::ops::Range<u16>) -> Self {
        todo!()
    }
    pub fn merge(&mut self, other: Self) {
        todo!()
    }
    /// Drops all content of a partition (the mirror, before it loads another snapshot).
    pub fn clear_partition(&mut self, partition: PartitionId) {
        todo!()
    }
}
